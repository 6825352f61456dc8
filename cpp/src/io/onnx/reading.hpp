#pragma once

// ONNX files of other exporters: no contract inside, but names, shapes, connections and metadata to read one from.

#include <cstddef>
#include <filesystem>
#include <span>
#include <vector>

#include "ganglion/reading.hpp"
#include "io/onnx/dependence.hpp"
#include "io/onnx/graph.hpp"

namespace ganglion::detail {

/// Recognises state, observations and actions. `folder` is where external weights would lie. Throws `Error`
/// (bad_artifact, bad_contract) with a sentence that ends in a stable code, for example "[state-not-fed]".
[[nodiscard]] Reading read_foreign_onnx(std::span<const std::byte> bytes, const std::filesystem::path& folder,
                                        const ReadingHints& hints);

/// Takes the outputs out of a model that nothing in it makes, which no engine but ours puts up with; all others stay.
/// Throws `Error` (bad_artifact) where the bytes are damaged.
void drop_outputs_of_nothing(std::vector<std::byte>& model);

/// How the next state comes out of the recurrent nodes of a graph.
struct StateLink {
  std::string input;
  std::string output;  ///< empty where no output of the graph has the next state
  const char* kind;    ///< "LSTM hidden state", ...
};

/// The links between graph inputs that start a recurrent node and graph outputs that carry its next state.
[[nodiscard]] std::vector<StateLink> recurrent_links(const OnnxGraph& graph, const OnnxFlow& flow);

/// Refuses weights that are missing or not finite.
void check_weights(const OnnxGraph& graph, const std::filesystem::path& folder);

/// Chooses the action among the outputs that are no next state, and says which others are read. Inputs and state are in
/// the reading already.
void take_outputs(const OnnxGraph& graph, const OnnxFlow& flow, const Dependence& dependence,
                  const std::vector<const OnnxPort*>& open, const ReadingHints& hints, Reading& reading);

/// Which inputs of the graph, by position, change from step to step: the observation, and the state that holds
/// something of it or moves by itself.
[[nodiscard]] std::vector<bool> observed_inputs(const OnnxGraph& graph, const OnnxFlow& flow,
                                                const Dependence& dependence, const Reading& reading);

/// Appends findings about recurrent nodes that start from a constant, or run over several steps at once.
void find_lost_memory(const OnnxGraph& graph, const OnnxFlow& flow, const Dependence& dependence, Reading& reading);

/// Appends what is suspicious: see docs/DIALECTS.md for the codes.
void find_defects(const OnnxGraph& graph, const OnnxFlow& flow, const Dependence& dependence, Reading& reading);

/// Takes names, units, bounds and the period out of the metadata of exploy and mjlab; every entry is kept word for word
/// in the provenance.
void read_metadata(const OnnxGraph& graph, Reading& reading);

}  // namespace ganglion::detail
