#pragma once

// Names in other exporters' files: which output feeds which state input, and which inputs are constants.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ganglion::detail {

/// A state input as one dialect names it.
struct NamedState {
  const char* dialect;
  std::string slot;                   ///< name of the state slot
  std::vector<std::string> partners;  ///< names that the output with the next state may have
  bool batch_first = false;           ///< [batch, layers, hidden] in place of [layers, batch, hidden]
};

/// What the name of an input says, or none where it says nothing.
[[nodiscard]] std::optional<NamedState> named_state(std::string_view input);

/// An input that always holds one value in single steps.
struct NamedConstant {
  double value = 0.0;
  const char* why = "";  ///< for a human reader
  bool per_row = true;   ///< one element for each row; else any number
};

/// Whether an input of a name that no dialect knows sounds like a state: "hidden", "lstm_c", "memory".
[[nodiscard]] bool names_state(std::string_view input);

/// Whether a name says that the input is something that a robot sees or is told: "obs_1", "prev_action", "command".
[[nodiscard]] bool names_observation(std::string_view input);

/// How plainly `output` is `input` one step later: 2 for hx and hy, x_in and x_out, x and next_x; 1 for h0 and hn, m0
/// and m1, which may be numbers of layers; else 0.
[[nodiscard]] int successor_rank(std::string_view input, std::string_view output);

/// The value of an input that is no observation, such as a sequence length, or none.
[[nodiscard]] std::optional<NamedConstant> named_constant(std::string_view input);

/// True for an input that counts the steps since the reset.
[[nodiscard]] bool is_step_counter(std::string_view input);

/// How telling the name of an output is that exporters give to the action, the lower the better; none for other names.
/// `is_index`: the output holds integers.
[[nodiscard]] std::optional<int> action_rank(std::string_view output, bool is_index);

/// True where the name is one that exporters give to an action.
[[nodiscard]] bool is_action_name(std::string_view output);

/// True for names of what a critic says, or of how an action is drawn: "value", "q_values", "log_std". None of it can
/// be commanded.
[[nodiscard]] bool is_critic_name(std::string_view output);

}  // namespace ganglion::detail
