#include "io/onnx/reading.hpp"

#include <algorithm>
#include <array>
#include <iterator>

#include "ganglion/error.hpp"
#include "io/dialects.hpp"
#include "io/json.hpp"
#include "io/onnx/dependence.hpp"
#include "io/onnx/ports.hpp"

namespace ganglion::detail {

namespace {

class Recogniser {
 public:
  Recogniser(OnnxGraph graph, const ReadingHints& hints)
      : graph_(std::move(graph)),
        flow_(graph_),
        dependence_(graph_, flow_),
        hints_(hints),
        links_(recurrent_links(graph_, flow_)) {}

  Reading read() {
    for (const OnnxPort& port : graph_.inputs) check_shape(port);
    for (OnnxPort& port : graph_.outputs) {
      check_shape(port);
      if (port.shape.size() < 2 || port.shape.back() >= 0) continue;
      if (const auto size = flow_.last_axis(graph_, port.name)) port.shape.back() = *size;
    }
    take_constants();
    if (hints_.state) {
      pair_as_told(*hints_.state);
    } else {
      pair_by_name_and_graph();
      pair_by_shape();
    }
    take_observations();
    take_state();
    take_outputs();
    fix_batch();
    read_metadata(graph_, reading_);
    if (reading_.dialect == "ganglion") reading_.dialect = dialect_;
    find_defects(graph_, flow_, dependence_, reading_);
    return std::move(reading_);
  }

 private:
  struct Pair {
    const OnnxPort* input = nullptr;
    const OnnxPort* output = nullptr;  ///< none for a counter of steps
    std::string slot;
    std::string why;
    bool batch_first = false;
  };

  static void check_shape(const OnnxPort& port) {
    if (!port.has_shape) {
      refuse("tensor " + in_quotes(port.name) + " does not state its shape; export the policy with static shapes",
             "shape");
    }
  }

  [[nodiscard]] const OnnxPort* output(std::string_view name) const {
    const auto found = std::find_if(graph_.outputs.begin(), graph_.outputs.end(),
                                    [name](const OnnxPort& port) { return port.name == name; });
    return found == graph_.outputs.end() ? nullptr : &*found;
  }

  [[nodiscard]] std::vector<std::string> output_names() const {
    std::vector<std::string> names;
    for (const OnnxPort& port : graph_.outputs) names.push_back(port.name);
    return names;
  }

  [[nodiscard]] bool is_constant(const OnnxPort& port) const { return reading_.constants.contains(port.name); }
  [[nodiscard]] bool is_state(const OnnxPort& port) const {
    return std::any_of(pairs_.begin(), pairs_.end(), [&](const Pair& pair) { return pair.input == &port; });
  }
  [[nodiscard]] bool is_next_state(const OnnxPort& port) const {
    return std::any_of(pairs_.begin(), pairs_.end(), [&](const Pair& pair) { return pair.output == &port; });
  }

  void take_constants() {
    for (const auto& [name, value] : hints_.constants) {
      const auto found = std::find_if(graph_.inputs.begin(), graph_.inputs.end(),
                                      [&name = name](const OnnxPort& port) { return port.name == name; });
      if (found == graph_.inputs.end()) {
        refuse("a constant was given for the input " + in_quotes(name) + ", which the graph does not have",
               "constant-unknown");
      }
      reading_.constants[name] = value;
    }
    for (const OnnxPort& port : graph_.inputs) {
      if (is_constant(port) || is_told_state(port)) continue;
      const bool is_float = port.type == OnnxType::float32;
      if (!is_float && is_step_counter(port.name)) {
        pairs_.push_back({&port, nullptr, "step_count", "", false});
        continue;
      }
      const std::optional<NamedConstant> known = named_constant(port.name);
      if (is_float && !(known && can_be_constant(port, *known))) continue;
      if (!known) {
        refuse("input " + in_quotes(port.name) + " is " + to_string(port.type) +
                   ", not float32, and its name does not say what to feed; export the policy in float32, or state a "
                   "constant value for it in the file <policy>.yaml",
               "input-type");
      }
      reading_.constants[port.name] = known->value;
      reading_.notes.push_back("input " + port.name + " (" + to_string(port.type) + ") is always " +
                               (known->value == 0.0 ? "0: " : "1: ") + known->why);
      if (port.name.starts_with("seq_len")) dialect_ = "rllib";
    }
  }

  [[nodiscard]] bool is_told_state(const OnnxPort& port) const {
    return hints_.state && std::any_of(hints_.state->begin(), hints_.state->end(),
                                       [&](const auto& told) { return told.first == port.name; });
  }

  /// RLlib counts names off a list, so that a state can be called like a length: what starts a cell is no constant.
  [[nodiscard]] bool can_be_constant(const OnnxPort& port, const NamedConstant& known) const {
    const bool starts_cell =
        std::any_of(links_.begin(), links_.end(), [&](const StateLink& link) { return link.input == port.name; });
    if (starts_cell) return false;
    return !known.per_row || port.shape.size() < 2 || vector_of(port).size == 1;
  }

  void pair_as_told(const std::vector<std::pair<std::string, std::string>>& told) {
    for (const auto& [input, next] : told) {
      const auto found = std::find_if(graph_.inputs.begin(), graph_.inputs.end(),
                                      [&input = input](const OnnxPort& port) { return port.name == input; });
      const OnnxPort* partner = output(next);
      if (found == graph_.inputs.end() || partner == nullptr) {
        std::vector<std::string> inputs;
        for (const OnnxPort& port : graph_.inputs) inputs.push_back(port.name);
        std::string pair = input;
        pair.append(":").append(next);
        refuse("the state " + in_quotes(pair) + " names a tensor that is not there; the inputs are " +
                   quoted_list(inputs) + ", the outputs " + quoted_list(output_names()),
               "state-unknown");
      }
      check_partner(*found, *partner);
      const std::optional<NamedState> named = named_state(input);
      pairs_.push_back(
          {&*found, partner, named ? named->slot : input, "as you said", named.has_value() && named->batch_first});
    }
  }

  static void check_partner(const OnnxPort& input, const OnnxPort& output) {
    if (input.type != OnnxType::float32 || output.type != OnnxType::float32 || !same_shape(input, output)) {
      refuse("input " + in_quotes(input.name) + " is " + to_string(input.type) + " " + shape_text(input.shape) +
                 " but output " + in_quotes(output.name) + " is " + to_string(output.type) + " " +
                 shape_text(output.shape) + "; a state and its next value are float32 of the same shape",
             "state-shape");
    }
  }

  [[noreturn]] static void refuse_unfed(const OnnxPort& port, const std::string& missing) {
    refuse("input " + in_quotes(port.name) + " looks like a state, but " + missing +
               ", so its state would never be fed back; export the policy with its next state as an output, or say "
               "which one it is (--state " +
               port.name + ":OUTPUT)",
           "state-not-fed");
  }

  [[noreturn]] static void refuse_ambiguous(const std::string& first, const std::string& second) {
    refuse("the state can be read in two ways: " + first + ", or " + second +
               "; say which one holds: --state INPUT:OUTPUT",
           "state-ambiguous");
  }

  void pair_by_name_and_graph() {
    for (const OnnxPort& port : graph_.inputs) {
      if (is_constant(port) || is_state(port)) continue;
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
        add_pair({&port, output(linked[0]), port.name, "by the connections of the graph", false});
      } else if (linked.size() > 1) {
        refuse_ambiguous(port.name + ":" + linked[0], port.name + ":" + linked[1]);
      } else if (starts_cell) {
        refuse_unfed(port, "no output carries the next state of the cell that it starts");
      }
    }
  }

  void pair_named(const OnnxPort& port, const NamedState& named, const std::vector<std::string>& linked) {
    const OnnxPort* partner = nullptr;
    for (const std::string& name : named.partners) {
      if (partner == nullptr) partner = output(name);
    }
    const bool has_link = !linked.empty();
    const auto agrees = [&](const OnnxPort* candidate) {
      return std::find(linked.begin(), linked.end(), candidate->name) != linked.end();
    };
    if (partner == nullptr && linked.size() != 1) {
      refuse_unfed(port, "there is no output " + in_quotes(named.partners.front()));
    }
    if (partner != nullptr && has_link && !agrees(partner)) {
      refuse_ambiguous(port.name + ":" + partner->name + " by the names",
                       port.name + ":" + linked[0] + " by the connections of the graph");
    }
    const bool by_name = partner != nullptr;
    if (!by_name) partner = output(linked[0]);
    if (dialect_ == "unknown") dialect_ = named.dialect;
    const char* why = has_link ? "by their names; the connections of the graph agree" : "by their names";
    if (!by_name) why = "by the connections of the graph";
    add_pair({&port, partner, named.slot, why, named.batch_first});
  }

  void add_pair(Pair pair) {
    check_partner(*pair.input, *pair.output);
    for (const Pair& other : pairs_) {
      if (other.output == pair.output) {
        refuse_ambiguous(other.input->name + ":" + pair.output->name, pair.input->name + ":" + pair.output->name);
      }
      if (other.slot == pair.slot) pair.slot = pair.input->name;
    }
    pairs_.push_back(std::move(pair));
  }

  /// What neither name nor recurrent node tells: an input that looks like a state and the one output of its shape.
  void pair_by_shape() {
    for (const OnnxPort& port : graph_.inputs) {
      if (is_constant(port) || is_state(port) || !looks_like_state(port)) continue;
      std::vector<const OnnxPort*> fitting;
      for (const OnnxPort& candidate : graph_.outputs) {
        if (is_next_state(candidate) || is_action_name(candidate.name) || candidate.type != OnnxType::float32 ||
            !same_shape(port, candidate) || !dependence_.depends(candidate.name, port.name)) {
          continue;
        }
        fitting.push_back(&candidate);
      }
      if (fitting.empty()) refuse_unfed(port, "no output of its shape depends on it");
      if (fitting.size() > 1) refuse_ambiguous(port.name + ":" + fitting[0]->name, port.name + ":" + fitting[1]->name);
      unique_.push_back({&port, fitting[0], port.name, "by their shapes alone", false});
    }
    for (Pair& pair : unique_) add_pair(std::move(pair));
  }

  [[nodiscard]] static bool looks_like_state(const OnnxPort& port) {
    constexpr std::array words{"state", "hidden", "cell", "memory", "rnn", "lstm", "gru", "hx", "cx"};
    const bool is_named = std::any_of(words.begin(), words.end(),
                                      [&](const char* word) { return port.name.find(word) != std::string::npos; });
    const bool is_observation = port.name.find("obs") != std::string::npos;
    return is_named && !is_observation && port.shape.size() >= 2;
  }

  void take_observations() {
    for (const OnnxPort& port : graph_.inputs) {
      if (is_constant(port) || is_state(port)) continue;
      reading_.contract.inputs.push_back(vector_of(port));
      const auto axis = batch_axis_of(port);
      if (reading_.contract.inputs.size() == 1) unbatched_ = !axis;
      const std::int64_t batch = axis ? port.shape[*axis] : 1;
      if (reading_.contract.inputs.size() == 1 && batch > 0) reading_.contract.batch = static_cast<std::size_t>(batch);
      reading_.notes.push_back("input " + port.name + " " + shape_text(port.shape) + " is an observation of " +
                               count_of(reading_.contract.inputs.back().size, "element"));
    }
    if (reading_.contract.inputs.empty())
      refuse("the graph has no observation input beside its state", "no-observation");
  }

  void take_state() {
    for (const Pair& pair : pairs_) {
      if (pair.output == nullptr) {
        reading_.contract.state.push_back({pair.slot, {1}});
        reading_.contract.initial_state.push_back(0.0F);
        reading_.state.push_back({pair.input->name, ""});
        reading_.notes.push_back("input " + pair.input->name +
                                 " counts the steps since reset(), which sets it to zero");
        continue;
      }
      const auto& shape = pair.input->shape;
      const Layout layout = layout_of(*pair.input, state_batch_axis(pair));
      StateSlot slot{pair.slot, {}};
      if (layout.outer > 1 || shape.size() == 3) slot.shape = {layout.outer, layout.inner};
      if (layout.outer == 1 && pair.batch_first && shape.size() == 3 && shape[1] != 1) slot.shape = {layout.inner};
      if (slot.shape.empty()) slot.shape = {layout.inner};
      reading_.contract.initial_state.insert(reading_.contract.initial_state.end(), slot.size(), 0.0F);
      reading_.state.push_back({pair.input->name, pair.output->name});
      reading_.notes.push_back("input " + pair.input->name + " pairs with output " + pair.output->name + " (" +
                               pair.why + "): " + describe(pair, layout) +
                               "; initial value zeros, not stated in the file");
      reading_.contract.state.push_back(std::move(slot));
    }
  }

  /// [layers, batch, hidden], [batch, layers, hidden], [batch, hidden] or [hidden].
  [[nodiscard]] std::optional<std::size_t> state_batch_axis(const Pair& pair) const {
    const auto& shape = pair.input->shape;
    // torchrl exports single steps without any batch axis: an observation [n] and states [layers, hidden].
    if (shape.size() < 2 || (shape.size() == 2 && unbatched_)) return std::nullopt;
    if (shape.size() != 3) return 0;
    const bool first = shape[0] < 0;
    const bool second = shape[1] < 0;
    if (first != second) return first ? 0 : 1;
    return pair.batch_first ? 0 : 1;
  }

  [[nodiscard]] std::string describe(const Pair& pair, const Layout& layout) const {
    std::string kind = "state";
    for (const StateLink& link : links_) {
      if (link.input == pair.input->name) kind = link.kind;
    }
    const auto& shape = pair.input->shape;
    if (shape.size() == 3) {
      const bool behind_batch = layout.outer == 1 && pair.batch_first;
      const std::size_t layers = behind_batch ? static_cast<std::size_t>(shape[1]) : layout.outer;
      return kind + ", " + count_of(layers, "layer") + ", " + count_of(layout.outer * layout.inner / layers, "unit");
    }
    return kind + ", " + count_of(layout.outer * layout.inner, "element");
  }

  void take_outputs() {
    std::vector<const OnnxPort*> open;
    for (const OnnxPort& port : graph_.outputs) {
      if (!is_next_state(port)) open.push_back(&port);
    }
    ganglion::detail::take_outputs(graph_, flow_, dependence_, open, hints_, reading_);
    const std::string& action = reading_.contract.outputs[0].name;
    if (dialect_ == "unknown" && output("version_number") != nullptr && output("memory_size") != nullptr) {
      dialect_ = "mlagents";
    }
    if (dialect_ == "unknown" && reading_.contract.inputs[0].name == "obs" && action == "actions") dialect_ = "rsl_rl";
  }

  /// Any number of rows only where every tensor that is read or fed says so.
  void fix_batch() {
    if (reading_.contract.batch) return;
    const auto is_one = [](const OnnxPort& port, std::optional<std::size_t> axis) {
      return axis && port.shape[*axis] == 1;
    };
    const auto is_read = [this](const OnnxPort& port) {
      return std::any_of(reading_.contract.outputs.begin(), reading_.contract.outputs.end(),
                         [&](const TensorSpec& spec) { return spec.name == port.name; });
    };
    bool one_row = std::any_of(graph_.outputs.begin(), graph_.outputs.end(), [&](const OnnxPort& port) {
      return is_read(port) && is_one(port, batch_axis_of(port));
    });
    for (const Pair& pair : pairs_) {
      if (pair.output == nullptr) continue;
      const auto axis = state_batch_axis(pair);
      one_row = one_row || is_one(*pair.input, axis) || is_one(*pair.output, axis);
    }
    if (!one_row) return;
    reading_.contract.batch = 1;
    reading_.notes.emplace_back("one row at a time: a state or an output is fixed to one");
  }

  OnnxGraph graph_;
  OnnxFlow flow_;
  Dependence dependence_;
  const ReadingHints& hints_;
  std::vector<StateLink> links_;
  std::vector<Pair> pairs_;
  std::vector<Pair> unique_;
  bool unbatched_ = false;
  std::string dialect_ = "unknown";
  Reading reading_;
};

}  // namespace

Reading read_foreign_onnx(std::span<const std::byte> bytes, const std::filesystem::path& folder,
                          const ReadingHints& hints) {
  OnnxGraph graph = read_onnx_graph(bytes);
  check_weights(graph, folder);
  return Recogniser(std::move(graph), hints).read();
}

}  // namespace ganglion::detail
