#pragma once

#include <cstddef>

#include "facade/c_interface/handles.hpp"
#include "facade/c_interface/set_up.hpp"
#include "ganglion.h"
#include "ganglion/contract.hpp"

namespace ganglion::c_interface {

/// The contract of a policy; where there is none, one with what the options say in its place. Throws `Refused`.
inline Contract contract_of(const ganglion_policy* policy, std::size_t action_size, double period_s) {
  if (policy != nullptr) {
    if (action_size != 0) {
      throw Refused(GANGLION_ERROR_BAD_OPTION, "'action_size' is for calls without a policy; leave it zero");
    }
    Contract contract = held_in(policy, "policy").policy.contract();
    if (period_s != 0.0) contract.period_s = period_s;
    return contract;
  }
  Contract contract;
  contract.outputs.emplace_back().size = action_size;
  if (period_s != 0.0) contract.period_s = period_s;
  return contract;
}

}  // namespace ganglion::c_interface
