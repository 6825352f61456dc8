#include "io/onnx/pairing.hpp"

#include <algorithm>
#include <array>
#include <map>

#include "io/json.hpp"
#include "io/words.hpp"

namespace ganglion::detail {

namespace {

void check_partner(const OnnxPort& input, const OnnxPort& output) {
  if (input.type != OnnxType::float32 || output.type != OnnxType::float32 || !same_shape(input, output)) {
    refuse(text_of({"input ", in_quotes(input.name), " is ", to_string(input.type), " ", shape_text(input.shape),
                    " but output ", in_quotes(output.name), " is ", to_string(output.type), " ",
                    shape_text(output.shape), "; a state and its next value are float32 of the same shape"}),
           "state-shape");
  }
}

[[noreturn]] void refuse_unfed(const OnnxPort& port, const std::string& missing) {
  refuse(text_of({"input ", in_quotes(port.name), " looks like a state, but ", missing,
                  ", so its state would never be fed back; export the policy with its next state as an output, or say ",
                  "which one it is (--state ", port.name, ":OUTPUT, or --state none where it is no state)"}),
         "state-not-fed");
}

[[noreturn]] void refuse_ambiguous(const std::string& first, const std::string& second,
                                   const std::string& remedy = "--state INPUT:OUTPUT") {
  refuse(text_of({"the state can be read in two ways: ", first, ", or ", second, "; say which one holds: ", remedy}),
         "state-ambiguous");
}

std::string pair_text(const OnnxPort& input, std::string_view output) { return text_of({input.name, ":", output}); }

}  // namespace

const OnnxPort* StatePairing::output(std::string_view name) const {
  const auto found = std::find_if(graph_.outputs.begin(), graph_.outputs.end(),
                                  [name](const OnnxPort& port) { return port.name == name; });
  return found == graph_.outputs.end() ? nullptr : &*found;
}

bool StatePairing::is_state(const OnnxPort& port) const {
  return std::any_of(pairs_.begin(), pairs_.end(), [&](const PortPair& pair) { return pair.input == &port; });
}

bool StatePairing::is_next_state(const OnnxPort& port) const {
  return std::any_of(pairs_.begin(), pairs_.end(), [&](const PortPair& pair) { return pair.output == &port; });
}

StatePairing::Ports StatePairing::open_inputs() const {
  Ports open;
  for (const OnnxPort& port : graph_.inputs) {
    if (is_open(port)) open.push_back(&port);
  }
  return open;
}

/// Whether an output stays that can be the action when these, too, are next states.
bool StatePairing::leaves_action(const Ports& taken) const {
  return std::any_of(graph_.outputs.begin(), graph_.outputs.end(), [&](const OnnxPort& port) {
    return !is_next_state(port) && std::find(taken.begin(), taken.end(), &port) == taken.end() &&
           (port.type == OnnxType::float32 || is_index(port.type)) && !is_critic_name(port.name);
  });
}

bool StatePairing::leaves_observation(const OnnxPort& port) const {
  const auto others = std::count(open_.begin(), open_.end(), true) - (is_open(port) ? 1 : 0);
  return others > 0;
}

bool StatePairing::depends_on_another(const OnnxPort& port, const OnnxPort& output) const {
  std::vector<bool> others = open_;
  others[index_of(port)] = false;
  return dependence_.depends_on_any(output.name, others);
}

/// Outputs that may be the next value of an input: of its shape, and computed from it and from something else; for what
/// sounds like a state, from it alone where there is no other.
StatePairing::Ports StatePairing::next_values_of(const OnnxPort& port) const {
  Ports found;
  Ports by_itself;
  for (const OnnxPort& candidate : graph_.outputs) {
    const bool is_taken = is_next_state(candidate) || is_action_name(candidate.name) ||
                          is_critic_name(candidate.name) || (action_ && *action_ == candidate.name);
    if (is_taken || port.type != OnnxType::float32 || candidate.type != OnnxType::float32 ||
        !same_shape(port, candidate) || !dependence_.depends(candidate.name, port.name)) {
      continue;
    }
    (depends_on_another(port, candidate) ? found : by_itself).push_back(&candidate);
  }
  return found.empty() && names_state(port.name) ? by_itself : found;
}

/// Whether the output holds on to the input as LSTM and GRU cells do: c' = f c + i g, h' = (1 - z) n + z h. Between the
/// two lie a product with what is computed from inputs and a sum with such, and nothing that bends.
bool StatePairing::goes_through_gates(const OnnxPort& port, const OnnxPort& output) const {
  constexpr std::array passing{"Identity", "Reshape", "Squeeze",        "Unsqueeze", "Transpose",
                               "Cast",     "Flatten", "Slice",          "Split",     "Gather",
                               "Concat",   "Expand",  "QuantizeLinear", "Where",     "DequantizeLinear"};
  constexpr std::array products{"Mul", "QLinearMul"};
  constexpr std::array sums{"Add", "Sub", "Sum", "QLinearAdd"};
  constexpr unsigned multiplied = 1;
  constexpr unsigned added = 2;
  std::vector<bool> moving;
  for (const OnnxPort& input : graph_.inputs) moving.push_back(!constants_.contains(input.name));
  const auto meets_another = [&](const OnnxNode& node, std::string_view here) {
    return std::any_of(node.inputs.begin(), node.inputs.end(), [&](std::string_view other) {
      return other != here && dependence_.depends_on_any(other, moving);
    });
  };
  using Place = std::pair<std::string_view, unsigned>;
  std::map<std::string_view, std::int64_t> seen;  // by value, a bit for each that was met
  std::vector<Place> open{{port.name, 0}};
  while (!open.empty()) {
    const auto [here, met] = open.back();
    open.pop_back();
    std::int64_t& visits = seen[here];
    if ((visits >> met & 1) != 0) continue;
    visits |= std::int64_t{1} << met;
    if (here == output.name && met == (multiplied | added)) return true;
    for (const OnnxNode* node : flow_.users(here)) {
      unsigned kind = is_one_of(products, node->op) ? multiplied : 0;
      if (is_one_of(sums, node->op)) kind = added;
      if (kind == 0 && !is_one_of(passing, node->op)) continue;
      const unsigned next = met | (kind != 0 && meets_another(*node, here) ? kind : 0);
      for (const std::string_view value : node->outputs) open.emplace_back(value, next);
    }
  }
  return false;
}

/// Of the outputs that may be the other state of a cell the one that all others are computed from; null where none is.
const OnnxPort* StatePairing::first_of(const Ports& candidates) const {
  for (const OnnxPort* candidate : candidates) {
    const std::string_view own = flow_.origin(candidate->name);
    const bool leads = std::all_of(candidates.begin(), candidates.end(), [&](const OnnxPort* other) {
      const auto sources = reached(other->name, [this](std::string_view here, const auto& push) {
        const OnnxNode* node = flow_.maker(here);
        if (node != nullptr) std::for_each(node->inputs.begin(), node->inputs.end(), push);
      });
      return other == candidate || sources.contains(own);
    });
    if (leads) return candidate;
  }
  return nullptr;
}

/// "--state h0:hn --state c0:cn": the inputs and their outputs in the order of both.
std::string StatePairing::remedy(const Ports& inputs) const {
  std::string text;
  Ports used;
  for (const OnnxPort* input : inputs) {
    for (const OnnxPort* candidate : next_values_of(*input)) {
      if (std::find(used.begin(), used.end(), candidate) != used.end()) continue;
      used.push_back(candidate);
      if (!leaves_action(used)) {
        used.pop_back();
        continue;
      }
      text += text_of({text.empty() ? "--state " : " --state ", pair_text(*input, candidate->name)});
      break;
    }
  }
  for (const PortPair& pair : pairs_) {
    if (pair.output == nullptr) continue;
    text += text_of({text.empty() ? "--state " : " --state ", pair_text(*pair.input, pair.output->name)});
  }
  return text;
}

void StatePairing::pair_as_told(const std::vector<std::pair<std::string, std::string>>& told) {
  for (const auto& [input, next] : told) {
    const auto found = std::find_if(graph_.inputs.begin(), graph_.inputs.end(),
                                    [&input = input](const OnnxPort& port) { return port.name == input; });
    const OnnxPort* partner = output(next);
    if (found == graph_.inputs.end() || partner == nullptr) {
      std::vector<std::string> inputs;
      std::vector<std::string> outputs;
      for (const OnnxPort& port : graph_.inputs) inputs.push_back(port.name);
      for (const OnnxPort& port : graph_.outputs) outputs.push_back(port.name);
      refuse(text_of({"the state ", in_quotes(text_of({input, ":", next})),
                      " names a tensor that is not there; the inputs are ", quoted_list(inputs), ", the outputs ",
                      quoted_list(outputs)}),
             "state-unknown");
    }
    check_partner(*found, *partner);
    const std::optional<NamedState> named = named_state(input);
    pairs_.push_back(
        {&*found, partner, named ? named->slot : input, "as you said", named.has_value() && named->batch_first});
  }
}

void StatePairing::recognise(const std::optional<std::string>& action) {
  // Every input may belong to every output, which is too much work where somebody wrote hundreds of both.
  constexpr std::size_t most_compared = 64;
  const bool is_policy = graph_.inputs.size() <= most_compared && graph_.outputs.size() <= most_compared;
  action_ = action;
  for (const OnnxPort& port : graph_.inputs) open_.push_back(!constants_.contains(port.name) && !is_state(port));
  pair_by_dialect();
  if (is_policy) pair_by_plain_names();
  if (is_policy) pair_by_gates();
  pair_by_shape();
  if (is_policy) refuse_look_alikes();
  // In the order of the inputs, whatever told them; a counter stays in front.
  std::vector<PortPair> ordered;
  const auto take = [&](const auto& belongs) {
    for (PortPair& pair : pairs_) {
      if (belongs(pair)) ordered.push_back(std::move(pair));
    }
  };
  take([](const PortPair& pair) { return pair.output == nullptr; });
  for (const OnnxPort& port : graph_.inputs) {
    take([&port](const PortPair& pair) { return pair.output != nullptr && pair.input == &port; });
  }
  pairs_ = std::move(ordered);
}

/// Names of a dialect, and inputs that start a recurrent node.
void StatePairing::pair_by_dialect() {
  for (const OnnxPort& port : graph_.inputs) {
    if (!is_open(port)) continue;
    std::vector<std::string> linked;
    bool starts_cell = false;
    for (const StateLink& link : links_) {
      if (link.input != port.name) continue;
      starts_cell = true;
      if (!link.output.empty()) linked.push_back(link.output);
    }
    if (const std::optional<NamedState> named = named_state(port.name)) {
      pair_named(port, *named, linked);
    } else if (linked.size() == 1) {
      add({&port, output(linked[0]), port.name, "by the connections of the graph", false});
    } else if (linked.size() > 1) {
      refuse_ambiguous(pair_text(port, linked[0]), pair_text(port, linked[1]));
    } else if (starts_cell) {
      refuse_unfed(port, "no output carries the next state of the cell that it starts");
    }
  }
}

void StatePairing::pair_named(const OnnxPort& port, const NamedState& named, const std::vector<std::string>& linked) {
  const OnnxPort* partner = nullptr;
  for (const std::string& name : named.partners) {
    if (partner == nullptr) partner = output(name);
  }
  const bool has_link = !linked.empty();
  const auto agrees = [&](const OnnxPort* candidate) {
    return std::find(linked.begin(), linked.end(), candidate->name) != linked.end();
  };
  if (partner == nullptr && linked.size() != 1) {
    refuse_unfed(port, text_of({"there is no output ", in_quotes(named.partners.front())}));
  }
  if (partner != nullptr && has_link && !agrees(partner)) {
    refuse_ambiguous(text_of({pair_text(port, partner->name), " by the names"}),
                     text_of({pair_text(port, linked[0]), " by the connections of the graph"}));
  }
  const bool by_name = partner != nullptr;
  if (!by_name) partner = output(linked[0]);
  if (dialect_ == "unknown") dialect_ = named.dialect;
  const char* why = has_link ? "by their names; the connections of the graph agree" : "by their names";
  if (!by_name) why = "by the connections of the graph";
  add({&port, partner, named.slot, why, named.batch_first});
}

void StatePairing::add(PortPair pair) {
  check_partner(*pair.input, *pair.output);
  for (const PortPair& other : pairs_) {
    if (other.output == pair.output) {
      refuse_ambiguous(pair_text(*other.input, pair.output->name), pair_text(*pair.input, pair.output->name));
    }
    if (other.slot == pair.slot) pair.slot = pair.input->name;
  }
  open_[index_of(*pair.input)] = false;
  pairs_.push_back(std::move(pair));
}

/// h0 and hn, hx and hy, lstm_h and lstm_h_out: no dialect, but plain where shape and graph agree.
void StatePairing::pair_by_plain_names() {
  std::vector<PortPair> found;
  Ports taken;
  for (const OnnxPort* port : open_inputs()) {
    if (names_observation(port->name)) continue;
    int best = 0;
    Ports partners;
    for (const OnnxPort* candidate : next_values_of(*port)) {
      const int rank = successor_rank(port->name, candidate->name);
      if (rank < std::max(best, 1)) continue;
      if (rank > best) partners.clear();
      best = rank;
      partners.push_back(candidate);
    }
    if (partners.size() != 1) continue;
    found.push_back({port, partners[0], port->name, "by their names, and the graph agrees", false});
    taken.push_back(partners[0]);
  }
  // What would leave no action, or no observation, is none; and no output feeds two.
  if (!leaves_action(taken) || found.size() == open_inputs().size()) return;
  for (const OnnxPort* next : taken) {
    if (std::count(taken.begin(), taken.end(), next) > 1) return;
  }
  for (PortPair& pair : found) add(std::move(pair));
}

/// Cells that are written out in products and sums.
void StatePairing::pair_by_gates() {
  const Ports inputs = open_inputs();
  std::vector<std::pair<const OnnxPort*, const OnnxPort*>> gated;
  for (const OnnxPort* port : inputs) {
    if (names_observation(port->name)) continue;
    for (const OnnxPort* candidate : next_values_of(*port)) {
      if (goes_through_gates(*port, *candidate)) gated.emplace_back(port, candidate);
    }
  }
  Ports taken;
  for (const auto& [input, next] : gated) taken.push_back(next);
  if (!leaves_action(taken)) return;
  for (const auto& [input, next] : gated) {
    const auto shares = [&, input = input, next = next](const auto& other) {
      return (other.first == input) != (other.second == next);
    };
    if (std::any_of(gated.begin(), gated.end(), shares) || !leaves_observation(*input)) continue;
    gated_.push_back(pairs_.size());
    add({input, next, input->name, "by the gates of the cell that they are part of", false});
  }
}

/// What neither names nor cells tell: an input that looks like a state, and the one output of its shape. Beside a cell
/// state that was found, what is left of its shape is the hidden state.
void StatePairing::pair_by_shape() {
  std::vector<PortPair> unique;
  for (const OnnxPort* port : open_inputs()) {
    if (!leaves_observation(*port)) continue;
    const Ports fitting = next_values_of(*port);
    const bool is_beside_cell = std::any_of(gated_.begin(), gated_.end(), [&](std::size_t index) {
      return same_shape(*pairs_[index].input, *port) && !names_observation(port->name);
    });
    const OnnxPort* const other_state = is_beside_cell ? first_of(fitting) : nullptr;
    if (other_state != nullptr && leaves_action({other_state})) {
      unique.push_back({port, other_state, port->name, "the cell's other state, by its shape", false});
    } else if (names_state(port->name) && port->shape.size() >= 2) {
      if (fitting.empty()) refuse_unfed(*port, "no output of its shape depends on it");
      if (fitting.size() > 1) {
        refuse_ambiguous(pair_text(*port, fitting[0]->name), pair_text(*port, fitting[1]->name),
                         text_of({remedy(open_inputs()), " (the outputs in this order, or in another)"}));
      }
      unique.push_back({port, fitting[0], port->name, "by their shapes alone", false});
    }
  }
  for (PortPair& pair : unique) add(std::move(pair));
}

/// An input and an output that may be a state and its next value, under names that say nothing: asked, not guessed.
void StatePairing::refuse_look_alikes() const {
  Ports alike;
  for (const OnnxPort* port : open_inputs()) {
    if (names_observation(port->name) || !leaves_observation(*port)) continue;
    const Ports fitting = next_values_of(*port);
    const auto leaves = [this](const OnnxPort* next) { return leaves_action({next}); };
    if (std::any_of(fitting.begin(), fitting.end(), leaves)) alike.push_back(port);
  }
  if (alike.empty()) return;
  // Something is observed, and that comes first in most files.
  if (alike.size() == open_inputs().size()) alike.erase(alike.begin());
  const OnnxPort& port = *alike.front();
  const OnnxPort& next = *next_values_of(port).front();
  refuse(
      text_of({"input ", in_quotes(port.name), " ", shape_text(port.shape), " and output ", in_quotes(next.name),
               " look like a state and its next value: they have one shape, and the output depends on the input and ",
               "on another; say what they are: ", remedy(alike), ", or, where there is no state, --state none"}),
      "state-ambiguous");
}

}  // namespace ganglion::detail
