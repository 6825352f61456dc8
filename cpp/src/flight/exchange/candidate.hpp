#pragma once

// What a switch asks of a candidate. Set-up only.

#include <cstddef>
#include <string>
#include <vector>

#include "ganglion/contract.hpp"
#include "ganglion/policy_switch.hpp"

namespace ganglion::flight {

/// The options of an exchange, checked, as the loop needs them.
struct Exchange {
  std::vector<float> gate;  ///< [action_size], or none: on command alone
  std::size_t agreeing_steps = 1;
  std::size_t patience = 0;
  std::size_t blend_steps = 0;
  std::size_t keep_steps = 0;
  StateHandOver state = StateHandOver::burned_in;
};

/// Throws `Error` (bad_option), with a sentence: an option makes no sense for this candidate.
[[nodiscard]] Exchange exchange_of(const Contract& candidate, const SwitchOptions& options);

/// Throws `Error` (bad_option), with a sentence: the candidate is fed, read or timed otherwise than the policies before
/// it.
void check_same_seat(const Contract& seat, std::size_t rows, const Contract& candidate, std::size_t its_rows);

/// Throws `Error` (bad_option), with a sentence: the state of one means nothing to the other.
void check_same_state(const Contract& flying, const Contract& candidate);

/// Whether a policy can be told what was executed in place of its action.
[[nodiscard]] bool remembers_action(const Contract& contract);

}  // namespace ganglion::flight
