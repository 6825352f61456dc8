#pragma once

// Which input of a graph takes a state, and which output gives the next one.

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "io/dialects.hpp"
#include "io/onnx/ports.hpp"
#include "io/onnx/reading.hpp"

namespace ganglion::detail {

struct PortPair {
  const OnnxPort* input = nullptr;
  const OnnxPort* output = nullptr;  ///< none for a counter of steps
  std::string slot;
  std::string why;
  bool batch_first = false;
};

/// Pairs by names, by recurrent nodes and the gates of cells, and by shapes, in this order. Refuses what stays open.
class StatePairing {
 public:
  /// `constants` holds the inputs that always have one value; it may grow until one of the two verbs is called.
  StatePairing(const OnnxGraph& graph, const OnnxFlow& flow, const Dependence& dependence,
               const std::vector<StateLink>& links, const std::map<std::string, double>& constants)
      : graph_(graph), flow_(flow), dependence_(dependence), links_(links), constants_(constants) {}

  /// A counter of steps.
  void take_counter(const OnnxPort& port) { pairs_.push_back({&port, nullptr, "step_count", "", false}); }
  void pair_as_told(const std::vector<std::pair<std::string, std::string>>& told);
  /// `action` is the output that the user named, where he did.
  void recognise(const std::optional<std::string>& action);

  [[nodiscard]] const std::vector<PortPair>& pairs() const { return pairs_; }
  /// "unknown" where no name tells.
  [[nodiscard]] const std::string& dialect() const { return dialect_; }
  [[nodiscard]] bool is_state(const OnnxPort& port) const;
  [[nodiscard]] bool is_next_state(const OnnxPort& port) const;

 private:
  using Ports = std::vector<const OnnxPort*>;

  [[nodiscard]] const OnnxPort* output(std::string_view name) const;
  /// Whether nothing says yet what the input is.
  [[nodiscard]] bool is_open(const OnnxPort& port) const { return open_[index_of(port)]; }
  [[nodiscard]] std::size_t index_of(const OnnxPort& input) const {
    return static_cast<std::size_t>(&input - graph_.inputs.data());
  }
  [[nodiscard]] Ports open_inputs() const;
  [[nodiscard]] bool leaves_action(const Ports& taken) const;
  [[nodiscard]] bool leaves_observation(const OnnxPort& port) const;
  [[nodiscard]] bool depends_on_another(const OnnxPort& port, const OnnxPort& output) const;
  [[nodiscard]] Ports next_values_of(const OnnxPort& port) const;
  [[nodiscard]] bool goes_through_gates(const OnnxPort& port, const OnnxPort& output) const;
  [[nodiscard]] const OnnxPort* first_of(const Ports& candidates) const;
  [[nodiscard]] std::string remedy(const Ports& inputs) const;

  void pair_by_dialect();
  void pair_named(const OnnxPort& port, const NamedState& named, const std::vector<std::string>& linked);
  void pair_by_plain_names();
  void pair_by_gates();
  void pair_by_shape();
  void refuse_look_alikes() const;
  void add(PortPair pair);

  const OnnxGraph& graph_;
  const OnnxFlow& flow_;
  const Dependence& dependence_;
  const std::vector<StateLink>& links_;
  const std::map<std::string, double>& constants_;
  std::optional<std::string> action_;
  std::vector<PortPair> pairs_;
  std::vector<bool> open_;          ///< by the position of the input
  std::vector<std::size_t> gated_;  ///< pairs that were found by the gates of a cell
  std::string dialect_ = "unknown";
};

}  // namespace ganglion::detail
