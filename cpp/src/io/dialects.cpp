#include "io/dialects.hpp"

#include <algorithm>
#include <array>

namespace ganglion::detail {

namespace {

/// The part between a prefix and a suffix, or none.
std::optional<std::string> between(std::string_view name, std::string_view prefix, std::string_view suffix) {
  if (name.size() <= prefix.size() + suffix.size() || !name.starts_with(prefix) || !name.ends_with(suffix)) {
    return std::nullopt;
  }
  name.remove_prefix(prefix.size());
  name.remove_suffix(suffix.size());
  return std::string(name);
}

}  // namespace

std::optional<NamedState> named_state(std::string_view input) {
  const std::string name(input);
  // exploy: memory.<x>.in -> memory.<x>.out
  if (const auto slot = between(input, "memory.", ".in")) {
    return NamedState{"exploy", *slot, {"memory." + *slot + ".out"}};
  }
  // RLlib: state_in_0, ... -> state_out_0, ...; the list as one name with torch's own counter behind it.
  for (const std::string_view prefix : {"state_in_", "state_ins_", "state_ins"}) {
    if (!input.starts_with(prefix)) continue;
    std::string partner = name;
    partner.replace(partner.find("_in"), 3, "_out");
    return NamedState{"rllib", name, {partner}, true};
  }
  // TorchRL: recurrent_state, recurrent_state_h, ... -> next_recurrent_state, ...; the key ("next", x) flattened.
  if (input.starts_with("recurrent_state")) {
    return NamedState{
        "torchrl", name, {"next_" + name, "next." + name, "next/" + name, "('next', '" + name + "')"}, true};
  }
  // rl_games: an input and an output of one name; torch's exporter then counts the input, out_state.1 -> out_state.
  const auto counted = between(input, "", ".1");
  if (counted && counted->find("state") != std::string::npos) return NamedState{"rl_games", *counted, {*counted}};
  // rsl_rl, Isaac Lab: h_in -> h_out, c_in -> c_out; ganglion names every slot in this way.
  if (const auto slot = between(input, "", "_in")) {
    return NamedState{*slot == "h" || *slot == "c" ? "rsl_rl" : "generic", *slot, {*slot + "_out"}};
  }
  return std::nullopt;
}

std::optional<double> named_constant(std::string_view input) {
  // RLlib: the number of steps of each row; TorchRL: the row begins a trajectory, which reset() says in its own way;
  // rl_games: the row has ended.
  if (input == "seq_lens" || input == "seq_len" || input == "seq_length") return 1.0;
  if (input == "is_init" || input == "dones" || input == "done" || input == "is_first") return 0.0;
  return std::nullopt;
}

bool is_step_counter(std::string_view input) {
  return input == "ctx.step_count";  // exploy: its graph runs the net in every n-th step
}

bool is_action_name(std::string_view output) {
  constexpr std::array names{"actions", "action", "mu", "mean", "loc"};
  return std::find(names.begin(), names.end(), output) != names.end();
}

}  // namespace ganglion::detail
