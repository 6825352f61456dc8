#include "io/onnx/reading.hpp"

#include <algorithm>
#include <array>
#include <iterator>

#include "ganglion/error.hpp"
#include "io/dialects.hpp"
#include "io/json.hpp"
#include "io/onnx/dependence.hpp"
#include "io/onnx/pairing.hpp"
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
        links_(recurrent_links(graph_, flow_)),
        pairing_(graph_, flow_, dependence_, links_, reading_.constants) {}

  Reading read() {
    find_batch_axes(graph_);
    for (const OnnxPort& port : graph_.inputs) check_shape(port);
    for (OnnxPort& port : graph_.outputs) {
      check_shape(port);
      if (port.shape.size() < 2 || port.shape.back() >= 0) continue;
      if (const auto size = flow_.last_axis(graph_, port.name)) port.shape.back() = *size;
    }
    take_constants();
    if (hints_.state) {
      pairing_.pair_as_told(*hints_.state);
    } else {
      pairing_.recognise(hints_.action);
    }
    if (dialect_ == "unknown") dialect_ = pairing_.dialect();
    take_observations();
    take_state();
    take_outputs();
    fix_batch();
    tell_batch_axes();
    read_metadata(graph_, reading_);
    if (reading_.dialect == "ganglion") reading_.dialect = dialect_;
    find_defects(graph_, flow_, dependence_, reading_);
    return std::move(reading_);
  }

 private:
  static void check_shape(const OnnxPort& port) {
    if (!port.has_shape) {
      refuse("tensor " + in_quotes(port.name) + " does not state its shape; export the policy with static shapes",
             "shape");
    }
  }

  [[nodiscard]] static bool is_empty(const OnnxPort& port) {
    return std::find(port.shape.begin(), port.shape.end(), 0) != port.shape.end();
  }

  [[nodiscard]] const OnnxPort* output(std::string_view name) const {
    const auto found = std::find_if(graph_.outputs.begin(), graph_.outputs.end(),
                                    [name](const OnnxPort& port) { return port.name == name; });
    return found == graph_.outputs.end() ? nullptr : &*found;
  }

  [[nodiscard]] bool is_constant(const OnnxPort& port) const { return reading_.constants.contains(port.name); }

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
      if (is_empty(port)) {
        reading_.constants[port.name] = 0.0;
        reading_.notes.push_back("input " + port.name + " " + shape_text(port.shape) + " has no elements");
        continue;
      }
      if (port.type == OnnxType::uint8) {
        take_bytes(port);
        continue;
      }
      const bool is_float = port.type == OnnxType::float32;
      if (!is_float && is_step_counter(port.name)) {
        pairing_.take_counter(port);
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

  /// An image of a camera: the runtime makes bytes of the float32 that it is given.
  void take_bytes(const OnnxPort& port) {
    reading_.findings.push_back(
        {"observation-of-bytes",
         "input " + in_quotes(port.name) +
             " takes bytes: give whole numbers from 0 to 255 for it, as float32; fractions are cut off, so that an "
             "image whose pixels were divided by 255 before would be black"});
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

  void take_observations() {
    for (const OnnxPort& port : graph_.inputs) {
      if (is_constant(port) || pairing_.is_state(port)) continue;
      reading_.contract.inputs.push_back(vector_of(port));
      if (TensorSpec& spec = reading_.contract.inputs.back(); port.type == OnnxType::uint8) {
        spec.low.assign(spec.size, 0.0);
        spec.high.assign(spec.size, 255.0);
      }
      const auto axis = batch_axis_of(port);
      if (reading_.contract.inputs.size() == 1) unbatched_ = !axis;
      const std::int64_t batch = axis ? port.shape[*axis] : 1;
      if (reading_.contract.inputs.size() == 1 && batch > 0) reading_.contract.batch = static_cast<std::size_t>(batch);
      reading_.notes.push_back("input " + port.name + " " + shape_text(port.shape) + " is an observation of " +
                               count_of(reading_.contract.inputs.back().size, "element"));
      check_total(reading_.contract.observation_size(), "observation");
    }
    if (!reading_.contract.inputs.empty()) return;
    const auto empty = std::find_if(graph_.inputs.begin(), graph_.inputs.end(), is_empty);
    if (empty != graph_.inputs.end()) {
      refuse("tensor " + in_quotes(empty->name) + " has the shape " + shape_text(empty->shape) +
                 ", so that there is nothing to observe",
             "shape");
    }
    refuse("the graph has no observation input beside its state", "no-observation");
  }

  /// A file of a few bytes can announce as much as it likes; memory is taken for what is behind this.
  static void check_total(std::size_t elements, const char* what) {
    constexpr std::size_t largest = std::size_t{1} << 22;
    if (elements > largest) {
      refuse("its " + std::string(what) + " has more than " + std::to_string(largest) +
                 " elements; no policy for a robot "
                 "is that large",
             "shape");
    }
  }

  void take_state() {
    for (const PortPair& pair : pairing_.pairs()) {
      if (pair.output == nullptr) {
        reading_.contract.state.push_back({pair.slot, {1}});
        reading_.contract.initial_state.push_back(0.0F);
        reading_.state.push_back({pair.input->name, ""});
        reading_.notes.push_back("input " + pair.input->name +
                                 " counts the steps since reset(), which sets it to zero");
        continue;
      }
      const auto& shape = pair.input->shape;
      const auto axis = state_batch_axis(pair);
      const Layout layout = layout_of(*pair.input, axis);
      StateSlot slot{pair.slot, {}};
      if (layout.outer > 1 || shape.size() == 3) slot.shape = {layout.outer, layout.inner};
      if (axis == 0 && shape.size() == 3 && shape[1] != 1) slot.shape = {layout.inner};
      if (slot.shape.empty()) slot.shape = {layout.inner};
      check_total(reading_.contract.initial_state.size() + slot.size(), "state");
      reading_.contract.initial_state.insert(reading_.contract.initial_state.end(), slot.size(), 0.0F);
      reading_.state.push_back({pair.input->name, pair.output->name});
      reading_.notes.push_back("input " + pair.input->name + " pairs with output " + pair.output->name + " (" +
                               pair.why + "): " + describe(pair, layout) +
                               "; initial value zeros, not stated in the file");
      reading_.contract.state.push_back(std::move(slot));
    }
  }

  /// [layers, batch, hidden], [batch, layers, hidden], [batch, hidden] or [hidden].
  [[nodiscard]] std::optional<std::size_t> state_batch_axis(const PortPair& pair) const {
    const auto& shape = pair.input->shape;
    // torchrl exports single steps without any batch axis: an observation [n] and states [layers, hidden].
    if (shape.size() < 2 || (shape.size() == 2 && unbatched_)) return std::nullopt;
    if (shape.size() != 3) return 0;
    if (pair.input->batch_axis) return pair.input->batch_axis;
    const bool first = shape[0] < 0;
    const bool second = shape[1] < 0;
    if (first != second) return first ? 0 : 1;
    // A history [batch, steps, elements] beside observations of as many rows.
    const auto rows = static_cast<std::int64_t>(reading_.contract.batch.value_or(0));
    return pair.batch_first || (shape[1] != rows && shape[0] == rows) ? 0 : 1;
  }

  [[nodiscard]] std::string describe(const PortPair& pair, const Layout& layout) const {
    std::string kind = "state";
    for (const StateLink& link : links_) {
      if (link.input == pair.input->name) kind = link.kind;
    }
    const auto& shape = pair.input->shape;
    if (shape.size() == 3 && (pair.batch_first || state_batch_axis(pair) == 1)) {
      const bool behind_batch = layout.outer == 1 && pair.batch_first;
      const std::size_t layers = behind_batch ? static_cast<std::size_t>(shape[1]) : layout.outer;
      return kind + ", " + count_of(layers, "layer") + ", " + count_of(layout.outer * layout.inner / layers, "unit");
    }
    return kind + ", " + count_of(layout.outer * layout.inner, "element");
  }

  void take_outputs() {
    std::vector<const OnnxPort*> open;
    for (const OnnxPort& port : graph_.outputs) {
      if (!pairing_.is_next_state(port)) open.push_back(&port);
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
    for (const PortPair& pair : pairing_.pairs()) {
      if (pair.output == nullptr) continue;
      const auto axis = state_batch_axis(pair);
      one_row = one_row || is_one(*pair.input, axis) || is_one(*pair.output, axis);
    }
    if (!one_row) return;
    reading_.contract.batch = 1;
    reading_.notes.emplace_back("one row at a time: a state or an output is fixed to one");
  }

  /// The engine takes the first dynamic axis for the batch where it is not told otherwise.
  void tell_batch_axes() {
    for (const auto* ports : {&graph_.inputs, &graph_.outputs}) {
      for (const OnnxPort& port : *ports) {
        if (!port.batch_axis) continue;
        reading_.batch_axes[port.name] = *port.batch_axis;
        reading_.notes.push_back("axis " + std::to_string(*port.batch_axis) + " of " + port.name + " " +
                                 shape_text(port.shape) + " is the batch, the other dynamic one is a step of time");
      }
    }
  }

  OnnxGraph graph_;
  OnnxFlow flow_;
  Dependence dependence_;
  const ReadingHints& hints_;
  std::vector<StateLink> links_;
  bool unbatched_ = false;
  std::string dialect_ = "unknown";
  Reading reading_;
  StatePairing pairing_;
};

}  // namespace

Reading read_foreign_onnx(std::span<const std::byte> bytes, const std::filesystem::path& folder,
                          const ReadingHints& hints) {
  OnnxGraph graph = read_onnx_graph(bytes);
  check_weights(graph, folder);
  return Recogniser(std::move(graph), hints).read();
}

}  // namespace ganglion::detail
