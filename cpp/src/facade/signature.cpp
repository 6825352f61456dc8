#include "facade/signature.hpp"

#include <algorithm>
#include <iterator>
#include <string>
#include <string_view>

namespace ganglion::detail {

ReadingSignature::ReadingSignature(const Reading& reading, std::size_t batch) {
  const Contract& contract = reading.contract;
  const auto vector_view = [](const TensorSpec& spec) { return TensorView{spec.name.c_str(), 1, spec.size}; };
  std::transform(contract.inputs.begin(), contract.inputs.end(), std::back_inserter(inputs_), vector_view);
  std::transform(contract.outputs.begin(), contract.outputs.end(), std::back_inserter(outputs_), vector_view);
  for (const StateSlot& slot : contract.state) {
    // [layers, hidden] has its batch axis in the middle, every other shape in front (docs/DESIGN.md, section 4).
    const std::size_t outer = slot.shape.size() == 2 ? slot.shape[0] : 1;
    state_.push_back({slot.name.c_str(), outer, slot.size() / outer});
  }
  for (const StateNames& names : reading.state) {
    ports_.push_back({names.input.c_str(), names.output.empty() ? nullptr : names.output.c_str()});
  }
  for (const auto& [name, value] : reading.constants) constants_.push_back({name.c_str(), value});
  for (const auto& [name, axis] : reading.batch_axes) batch_axes_.push_back({name.c_str(), axis});
  signature_ = {inputs_, outputs_, state_, contract.initial_state.data(), batch, ports_, constants_, batch_axes_};
}

Reading reading_of(Contract contract, bool is_sealed, std::string signer) {
  Reading reading;
  reading.signer = std::move(signer);
  reading.contract = std::move(contract);
  if (!is_sealed) {
    reading.findings.push_back(
        {"contract-unsealed",
         "the contract is of format 1, which has no digest over names, units, bounds, period and "
         "initial state: a change of them would not be noticed; export the policy again"});
  }
  if (!reading.contract.golden) {
    reading.findings.push_back({"golden-missing",
                                "the file carries no golden trajectory, so no load can check that it still does what "
                                "its policy did; write it with ganglion.export or ganglion compile"});
  }
  // A file that was made of another one keeps what was found there: "finding:<code>", ":2" behind the second of a code.
  constexpr std::string_view kept = "finding:";
  for (const auto& [key, sentence] : reading.contract.provenance) {
    if (!key.starts_with(kept)) continue;
    const std::string rest = key.substr(kept.size());
    reading.findings.push_back({rest.substr(0, rest.find(':')), sentence});
  }
  for (const StateSlot& slot : reading.contract.state) reading.state.push_back({slot.name + "_in", slot.name + "_out"});
  return reading;
}

Reading reading_of(const Inference& inference) {
  const Signature& signature = inference.signature;
  Reading reading;
  reading.dialect = inference.dialect;
  Contract& contract = reading.contract;
  const auto spec = [](const TensorView& view) {
    TensorSpec result;
    result.name = view.name;
    result.size = view.size();
    return result;
  };
  std::transform(signature.inputs.begin(), signature.inputs.end(), std::back_inserter(contract.inputs), spec);
  std::transform(signature.outputs.begin(), signature.outputs.end(), std::back_inserter(contract.outputs), spec);
  for (const TensorView& slot : signature.state) {
    contract.state.push_back({slot.name, {slot.outer, slot.inner}});
    reading.state.push_back({slot.name, slot.name});
  }
  contract.initial_state.assign(signature.initial_state, signature.initial_state + contract.hidden_size());
  if (signature.batch != 0) contract.batch = signature.batch;
  reading.notes.assign(inference.notes.begin(), inference.notes.end());
  for (const InferredFinding& finding : inference.findings)
    reading.findings.push_back({finding.code, finding.sentence});
  return reading;
}

}  // namespace ganglion::detail
