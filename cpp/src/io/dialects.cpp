#include "io/dialects.hpp"

#include <algorithm>
#include <array>
#include <initializer_list>

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

std::optional<NamedConstant> named_constant(std::string_view input) {
  const auto is_one_of = [input](std::initializer_list<std::string_view> names) {
    return std::find(names.begin(), names.end(), input) != names.end();
  };
  // RLlib: the number of steps of each row.
  if (is_one_of({"seq_lens", "seq_len", "seq_length"})) return NamedConstant{1.0, "a step is one step long"};
  // The row begins an episode (TorchRL, sb3-contrib, DreamerV3), or its last one has ended (rl_games, CleanRL).
  if (is_one_of({"is_init", "dones", "done", "is_first", "episode_starts", "episode_start"})) {
    return NamedConstant{0.0, "reset() does its work"};
  }
  // ML-Agents: one element for each discrete action.
  if (is_one_of({"action_masks", "action_mask"})) return NamedConstant{1.0, "every action is allowed", false};
  return std::nullopt;
}

bool is_step_counter(std::string_view input) {
  return input == "ctx.step_count";  // exploy: its graph runs the net in every n-th step
}

std::optional<int> action_rank(std::string_view output, bool is_index) {
  // ML-Agents: what is drawn comes before what is not, and of discrete actions the older files have log-probabilities.
  if (output == "deterministic_continuous_actions") return 0;
  if (output == "continuous_actions") return 1;
  if (is_index && output == "deterministic_discrete_actions") return 2;
  if (is_index && output.ends_with("discrete_actions")) return 3;
  constexpr std::array names{"actions", "action", "mu", "mean", "loc"};
  if (std::find(names.begin(), names.end(), output) != names.end()) return 4;
  return std::nullopt;
}

bool is_action_name(std::string_view output) {
  return action_rank(output, false).has_value() || action_rank(output, true).has_value();
}

}  // namespace ganglion::detail
