#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ganglion/contract.hpp"

namespace ganglion {

/// Something in a file that its user should know of; none of it keeps the policy from running.
struct Finding {
  std::string code;  ///< stable, for example "gru-linear-before-reset"; docs/DIALECTS.md lists them
  std::string sentence;
};

/// What the file calls a state slot.
struct StateNames {
  std::string input;   ///< the tensor that takes the state; a buffer in a TorchScript module
  std::string output;  ///< the tensor that gives the next state
};

/// How a file was understood: its own contract, or what was recognised by names, shapes and connections.
struct Reading {
  Contract contract;
  std::string dialect = "ganglion";         ///< "rsl_rl", "rl_games", ...; "ganglion" where the file carries a contract
  std::vector<StateNames> state;            ///< one per slot of the contract
  std::map<std::string, double> constants;  ///< inputs that always hold one value, such as a sequence length of 1
  std::map<std::string, std::size_t> batch_axes;  ///< of tensors with further dynamic axes, each one step long
  std::string signer;              ///< Ed25519 public key of who signed the file, in hexadecimal; empty for nobody
  std::vector<std::string> notes;  ///< one sentence for each thing that was recognised
  std::vector<Finding> findings;

  /// The JSON document that Python reads; with_golden: with the golden run, which is most of it.
  [[nodiscard]] std::string to_json(bool with_golden = true) const;
};

/// Elements of the observation of a TorchScript file, under "", or of each of several under its name.
using ObservationSizes = std::map<std::string, std::size_t>;

/// What the user knows better than the names in a file without a contract. The file `<policy>.yaml` beside a policy,
/// for example `walker.onnx.yaml`, says the same:
///
///     state:
///       h_in: h_out
///     constants:
///       seq_lens: 1
///     action: continuous_actions
///     observation: 48
struct ReadingHints {
  /// State inputs and the outputs that feed them: exactly these, every other input is an observation. None: recognise.
  std::optional<std::vector<std::pair<std::string, std::string>>> state{};
  std::map<std::string, double> constants{};
  /// The output that is the action. None: recognise.
  std::optional<std::string> action{};
  /// Of several observations the file has a map. Empty: recognise.
  ObservationSizes observation{};
};

}  // namespace ganglion
