// Which output is the action, and which others are read.

#include <algorithm>
#include <charconv>

#include "io/dialects.hpp"
#include "io/json.hpp"
#include "io/onnx/ports.hpp"
#include "io/onnx/reading.hpp"

namespace ganglion::detail {

namespace {

/// "3", or "[0, 1]"; "" where the file does not say it at once.
std::string constant_text(const OnnxGraph& graph, const OnnxFlow& flow, const std::string& output) {
  constexpr std::size_t longest = 8;
  const OnnxTensor* const tensor = flow.constant(graph, output);
  const auto values = tensor == nullptr ? std::nullopt : tensor->values();
  if (!values || values->empty() || values->size() > longest) return "";
  std::string text;
  for (const double value : *values) {
    char buffer[32];
    const auto [end, error] = std::to_chars(buffer, buffer + sizeof buffer, static_cast<float>(value));
    text += (text.empty() ? "" : ", ") + std::string(buffer, error == std::errc() ? end : buffer);
  }
  return values->size() == 1 ? text : "[" + text + "]";
}

std::string with_space(const std::string& text) { return text.empty() ? "" : " " + text; }

class OutputChoice {
 public:
  OutputChoice(const OnnxGraph& graph, const OnnxFlow& flow, const Dependence& dependence,
               std::vector<const OnnxPort*> open, Reading& reading)
      : graph_(graph),
        flow_(flow),
        dependence_(dependence),
        open_(std::move(open)),
        observed_(observed_inputs(graph, flow, dependence, reading)),
        reading_(reading) {}

  void take(const ReadingHints& hints) {
    drop_what_is_not_made();
    const OnnxPort& action = hints.action ? told(*hints.action) : recognised();
    reading_.contract.outputs.push_back(vector_of(action));
    note_action(action, hints.action.has_value());
    for (const OnnxPort* port : open_) {
      if (port != &action) take_beside(*port, action);
    }
    if (!is_live(action)) find_constant(action);
    if (!hints.action && is_critic_name(action.name)) find_critic(action);
    if (const OnnxNode* node = dependence_.draw(action.name)) find_draw(action, *node);
  }

 private:
  void drop_what_is_not_made() {
    std::erase_if(open_, [this](const OnnxPort* port) {
      const bool is_made = flow_.maker(port->name) != nullptr || graph_.initializers.contains(port->name) ||
                           dependence_.depends(port->name, port->name);
      if (!is_made) reading_.notes.push_back(text_of({"output ", port->name, " is made by no node and is not read"}));
      return !is_made;
    });
  }

  [[nodiscard]] static bool can_be_read(const OnnxPort& port) {
    return port.type == OnnxType::float32 || is_index(port.type);
  }
  /// Whether it has a row wherever the action has one.
  [[nodiscard]] static bool has_rows_of(const OnnxPort& port, const OnnxPort& action) {
    const auto axis = batch_axis_of(port);
    const auto action_axis = batch_axis_of(action);
    if (!action_axis || !axis) return !action_axis;
    return action.shape[*action_axis] >= 0 || port.shape[*axis] < 0;
  }
  /// Whether the observation has any bearing on it.
  [[nodiscard]] bool is_live(const OnnxPort& port) const { return dependence_.depends_on_any(port.name, observed_); }

  [[nodiscard]] std::string names_of_open() const {
    std::vector<std::string> names;
    for (const OnnxPort* port : open_) names.push_back(port->name);
    return quoted_list(names);
  }

  [[nodiscard]] const OnnxPort& told(const std::string& name) const {
    const auto found =
        std::find_if(open_.begin(), open_.end(), [&name](const OnnxPort* port) { return port->name == name; });
    if (found == open_.end()) {
      const bool is_state = std::any_of(reading_.state.begin(), reading_.state.end(),
                                        [&name](const StateNames& names) { return names.output == name; });
      refuse(text_of({"the action ", in_quotes(name),
                      is_state ? " is the next value of a state" : " names an output that is not there",
                      "; the outputs that can be it are ", names_of_open()}),
             "action-unknown");
    }
    refuse_other_types(**found);
    return **found;
  }

  static void refuse_other_types(const OnnxPort& port) {
    if (can_be_read(port)) return;
    refuse("output " + in_quotes(port.name) + " is " + to_string(port.type) +
               ", neither float32 nor an index; export the policy with float32 actions",
           "output-type");
  }

  /// A known name, else the first float32 output, else the first of indices, else what a critic says; what depends on
  /// no observation comes behind all that does.
  [[nodiscard]] const OnnxPort& recognised() const {
    const OnnxPort* best = nullptr;
    std::vector<int> best_place;
    for (const OnnxPort* port : open_) {
      const std::optional<int> rank = action_rank(port->name, is_index(port->type));
      if (rank) refuse_other_types(*port);
      if (!can_be_read(*port)) continue;
      const int nameless = is_critic_name(port->name) ? 200 : 100;
      const std::vector<int> place{is_live(*port) ? 0 : 1, rank.value_or(nameless), is_index(port->type) ? 1 : 0};
      if (best == nullptr || place < best_place) {
        best = port;
        best_place = place;
      }
    }
    if (best == nullptr) refuse("the graph has no action output beside its state", "no-action");
    return *best;
  }

  void note_action(const OnnxPort& action, bool is_told) {
    const std::size_t size = reading_.contract.outputs[0].size;
    std::string sentence = "output " + action.name + " is the action, " +
                           (is_index(action.type) ? std::to_string(size) + (size == 1 ? " index" : " indices")
                                                  : count_of(size, "element"));
    if (is_told) {
      sentence += ", as you said";
    } else if (!is_action_name(action.name)) {
      const bool is_first = open_.front() == &action;
      sentence += is_first ? "; it is the first output that is no state"
                           : "; it is the first output that is no state and depends on an observation";
    }
    reading_.notes.push_back(sentence);
  }

  void take_beside(const OnnxPort& port, const OnnxPort& action) {
    const std::optional<int> rank = action_rank(port.name, is_index(port.type));
    if (const OnnxNode* node = dependence_.draw(port.name)) {
      reading_.notes.push_back(text_of({"output ", port.name, " is drawn anew in every step (node ",
                                        in_quotes(node->label()), ", ", node->op, ") and is not read"}));
    } else if (port.type != OnnxType::float32 && !(is_index(port.type) && rank)) {
      reading_.notes.push_back(text_of({"output ", port.name, " is ", to_string(port.type), " and is not read"}));
    } else if (!is_live(port) && !has_rows_of(port, action)) {
      // It cannot be given for several rows, and there is nothing to give: it never changes.
      reading_.notes.push_back(text_of({"output ", port.name, " is the constant",
                                        with_space(constant_text(graph_, flow_, port.name)), " and is not read"}));
    } else {
      reading_.contract.outputs.push_back(vector_of(port));
      if (rank && is_live(port)) {
        reading_.notes.push_back(text_of({"output ", port.name, " looks like an action, too; it is read beside it"}));
      }
    }
  }

  void find_constant(const OnnxPort& action) {
    reading_.findings.push_back(
        {"action-constant",
         text_of(
             {"the action ", in_quotes(action.name), " is the constant",
              with_space(constant_text(graph_, flow_, action.name)),
              ": it depends on no observation; say which output is the action (--action OUTPUT, or 'action: OUTPUT' ",
              "in the file <policy>.yaml); the outputs are ", names_of_open()})});
  }

  void find_critic(const OnnxPort& action) {
    reading_.findings.push_back(
        {"action-critic",
         text_of(
             {"the output ", in_quotes(action.name),
              " is taken for the action, as nothing else can be it, but is called as what a critic says, or as how ",
              "an action is drawn; export the actor, or say that it is the action (--action ", action.name, ")"})});
  }

  void find_draw(const OnnxPort& action, const OnnxNode& node) {
    std::string remedy = "export the policy without sampling (its mean, or its best index)";
    for (const OnnxPort* port : open_) {
      if (port == &action || !can_be_read(*port) || !is_live(*port) || dependence_.draw(port->name) != nullptr)
        continue;
      if (!same_shape(*port, action)) continue;
      remedy =
          text_of({"the output ", in_quotes(port->name), " has its shape and draws nothing: --action ", port->name});
      break;
    }
    reading_.findings.push_back(
        {"random-node",
         text_of({"the node ", in_quotes(node.label()), " (", node.op, ") draws the action ", in_quotes(action.name),
                  " anew in every step: two equal steps differ, no run can be repeated, and no seed ", "reaches it; ",
                  remedy})});
  }

  const OnnxGraph& graph_;
  const OnnxFlow& flow_;
  const Dependence& dependence_;
  std::vector<const OnnxPort*> open_;
  std::vector<bool> observed_;
  Reading& reading_;
};

}  // namespace

std::vector<bool> observed_inputs(const OnnxGraph& graph, const OnnxFlow& flow, const Dependence& dependence,
                                  const Reading& reading) {
  std::vector<bool> observed(graph.inputs.size(), false);
  const auto mark = [&](std::string_view name) {
    for (std::size_t i = 0; i < graph.inputs.size(); ++i) {
      if (graph.inputs[i].name == name) observed[i] = true;
    }
  };
  for (const TensorSpec& input : reading.contract.inputs) mark(input.name);
  std::vector<const StateNames*> open;
  for (const StateNames& names : reading.state) open.push_back(&names);
  for (bool moved = true; moved;) {
    moved = std::erase_if(open, [&](const StateNames* names) {
              // A counter of steps, or a clock, changes by itself: what it drives is no constant.
              const bool moves = names->output.empty() || (dependence.depends(names->output, names->input) &&
                                                           flow.origin(names->output) != names->input);
              const bool carries = moves || dependence.depends_on_any(names->output, observed);
              if (carries) mark(names->input);
              return carries;
            }) > 0;
  }
  return observed;
}

void take_outputs(const OnnxGraph& graph, const OnnxFlow& flow, const Dependence& dependence,
                  const std::vector<const OnnxPort*>& open, const ReadingHints& hints, Reading& reading) {
  OutputChoice(graph, flow, dependence, open, reading).take(hints);
}

}  // namespace ganglion::detail
