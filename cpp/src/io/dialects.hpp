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

/// The value of an input that is no observation, such as a sequence length, or none.
[[nodiscard]] std::optional<NamedConstant> named_constant(std::string_view input);

/// True for an input that counts the steps since the reset.
[[nodiscard]] bool is_step_counter(std::string_view input);

/// How telling the name of an output is that exporters give to the action, the lower the better; none for other names.
/// `is_index`: the output holds integers.
[[nodiscard]] std::optional<int> action_rank(std::string_view output, bool is_index);

/// True where the name is one that exporters give to an action.
[[nodiscard]] bool is_action_name(std::string_view output);

}  // namespace ganglion::detail
