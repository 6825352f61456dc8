#include "io/dialects.hpp"

#include <algorithm>
#include <array>
#include <initializer_list>

#include "io/words.hpp"

namespace ganglion::detail {

namespace {

bool is_capital(char letter) { return letter >= 'A' && letter <= 'Z'; }
bool is_letter(char letter) { return is_capital(letter) || (letter >= 'a' && letter <= 'z'); }

/// The words and numbers of a name in small letters: "lstmState_0.out" has lstm, state, 0 and out.
std::vector<std::string> words_of(std::string_view name) {
  std::vector<std::string> words;
  char before = '_';
  for (const char here : name) {
    const bool is_part = is_letter(here) || is_digit(here);
    const bool begins = !(is_letter(before) || is_digit(before)) || is_digit(before) != is_digit(here) ||
                        (is_capital(here) && !is_capital(before));
    if (is_part && begins) words.emplace_back();
    if (is_part) words.back() += is_capital(here) ? static_cast<char>(here - 'A' + 'a') : here;
    before = here;
  }
  return words;
}

/// The words of a name without those of a list, one after the other.
std::string without(const std::vector<std::string>& words, std::string_view list) {
  std::string text;
  for (const std::string& word : words) {
    if (!has_word(list, word)) text += (text.empty() ? "" : " ") + word;
  }
  return text;
}

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

bool names_state(std::string_view input) {
  if (input.find("obs") != std::string_view::npos) return false;
  constexpr std::array parts{"state", "hidden", "cell", "memory", "rnn", "lstm", "gru", "hx", "cx"};
  return std::any_of(parts.begin(), parts.end(),
                     [input](const char* part) { return input.find(part) != std::string_view::npos; });
}

bool names_observation(std::string_view input) {
  const std::vector<std::string> words = words_of(input);
  return std::any_of(words.begin(), words.end(), [](const std::string& word) {
    return has_word(
        "obs observation observations action actions act command commands cmd goal target image images img camera "
        "depth vision visual rgb scan lidar imu proprio joint joints pos vel pose mask phase time height",
        word);
  });
}

int successor_rank(std::string_view input, std::string_view output) {
  const std::vector<std::string> from = words_of(input);
  const std::vector<std::string> to = words_of(output);
  constexpr int plain = 2;
  constexpr int likely = 1;
  constexpr std::string_view before = "in input prev previous last old init initial";
  const std::string stem = without(from, before);
  const bool has_letters = std::any_of(stem.begin(), stem.end(), is_letter);
  if (has_letters && input != output && stem == without(to, "out output next new updated final")) return plain;
  const std::string a = without(from, "");
  const std::string b = without(to, "");
  const auto ends = [&](std::string_view was, std::string_view is) {  // one ending in place of another
    return a.size() > was.size() && a.ends_with(was) && b == a.substr(0, a.size() - was.size()) + std::string(is);
  };
  if (ends("x", "y") || ends("in", "out") || (a.size() <= 2 && ends("", "n"))) return plain;
  if (!has_letters) return 0;
  // h0 and hn are [h, 0] and [hn], h_0 and h_n are [h, 0] and [h, n].
  if (ends(" 0", "n") || ends(" 0", " n") || ends(" 0", " 1") || ends("", " 1") || ends(" 1", "")) return likely;
  return ends("", " 1") || ends("", " plus 1") || ends(" t", " tp 1") || ends(" tm 1", " t") ? likely : 0;
}

std::optional<NamedConstant> named_constant(std::string_view input) {
  const auto is_one_of = [input](std::initializer_list<std::string_view> names) {
    return std::find(names.begin(), names.end(), input) != names.end();
  };
  // RLlib: the number of steps of each row.
  if (is_one_of({"seq_lens", "seq_len", "seq_length"})) return NamedConstant{1.0, "a step is one step long"};
  // The row begins an episode (TorchRL, sb3-contrib, DreamerV3), or its last one has ended (rl_games, CleanRL).
  if (is_one_of({"is_init", "dones", "done", "is_first", "episode_starts", "episode_start", "terminals", "terminated",
                 "terminations", "truncated", "truncations", "is_last", "is_terminal", "resets"})) {
    return NamedConstant{0.0, "reset() does its work"};
  }
  // The other way round: the row goes on with its episode (pytorch-a2c-ppo-acktr).
  if (is_one_of({"masks", "not_done", "not_dones"})) return NamedConstant{1.0, "reset() does its work"};
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

bool is_critic_name(std::string_view output) {
  const std::vector<std::string> words = words_of(output);
  return std::any_of(words.begin(), words.end(),
                     [](const std::string& word) {
                       return has_word(
                           "value values critic baseline vf vpred advantage advantages entropy logprob logprobs logp "
                           "logstd std sigma variance qvalue qvalues reward",
                           word);
                     }) ||
         output == "log_prob" || output == "log_probs" || output == "v";
}

}  // namespace ganglion::detail
