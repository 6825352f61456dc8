// What exploy and mjlab write into the metadata of their ONNX files.

#include <algorithm>
#include <charconv>
#include <string_view>

#include "ganglion/error.hpp"
#include "io/json.hpp"
#include "io/onnx/reading.hpp"

namespace ganglion::detail {

namespace {

std::vector<std::string> split(const std::string& csv) {
  std::vector<std::string> parts;
  std::size_t begin = 0;
  for (std::size_t comma = csv.find(','); comma != std::string::npos; comma = csv.find(',', begin)) {
    parts.push_back(csv.substr(begin, comma - begin));
    begin = comma + 1;
  }
  parts.push_back(csv.substr(begin));
  return parts;
}

/// Names the elements where the counts agree; otherwise the names stay in the provenance, and the user is told.
void name_elements(TensorSpec& spec, std::vector<std::string> names, const std::string& key, Reading& reading) {
  if (names.size() == spec.size) {
    spec.element_names = std::move(names);
    return;
  }
  reading.findings.push_back({"names-do-not-fit", "the metadata " + in_quotes(key) + " has " +
                                                      std::to_string(names.size()) + " names but tensor " +
                                                      in_quotes(spec.name) + " has " + std::to_string(spec.size) +
                                                      " elements; they are kept in the provenance only"});
}

/// mjlab, `exporter_utils.py`: lists are joined by commas, numbers rounded to three decimals.
void read_mjlab(const std::map<std::string, std::string>& metadata, Reading& reading) {
  reading.dialect = "mjlab";
  name_elements(reading.contract.outputs[0], split(metadata.at("joint_names")), "joint_names", reading);
  reading.notes.emplace_back(
      "metadata of mjlab: joint_names name the action; gains, action scale and default positions are in the "
      "provenance, as the file has them (rounded to three decimals by mjlab)");
}

Json value_of(const std::string& text) {
  try {
    return parse_json(text, "metadata");
  } catch (const Error&) {
    return {};  // one entry, the date, is plain text among the JSON
  }
}

/// The longest key that is the name of the tensor, or a group that it belongs to.
const std::string* component_of(const std::string& tensor, const std::map<std::string, std::string>& metadata) {
  const std::string* best = nullptr;
  for (const auto& [key, value] : metadata) {
    const bool belongs = tensor == key || tensor.starts_with(key + ".");
    if (belongs && (best == nullptr || key.size() > best->size())) best = &key;
  }
  return best;
}

void read_component(const std::string& key, const Json& value, TensorSpec& spec, Reading& reading) {
  for (const char* list : {"names", "joint_names"}) {
    const Json* const found = value.find(list);
    if (found == nullptr || !found->is_array()) continue;
    std::vector<std::string> names;
    for (const Json& name : *found) names.push_back(name.is_string() ? name.get<std::string>() : name.dump());
    name_elements(spec, std::move(names), key, reading);
  }
  const Json* const ranges = value.find("ranges");
  if (ranges == nullptr || !ranges->is_object() || ranges->size() != spec.size) return;
  std::vector<double> low;
  std::vector<double> high;
  std::vector<std::string> names;
  // exploy's order of a planar velocity; other commands are not known to have ranges.
  for (const char* axis : {"lin_vel_x", "lin_vel_y", "ang_vel_z"}) {
    const Json* const range = ranges->find(axis);
    if (range == nullptr || !range->is_array() || range->size() != 2) return;
    const Json& lowest = range->items().front();
    const Json& highest = range->items().back();
    if (!lowest.is_number() || !highest.is_number()) return;
    low.push_back(lowest.get<double>());
    high.push_back(highest.get<double>());
    names.emplace_back(axis);
  }
  if (low.size() != spec.size) return;
  spec.low = std::move(low);
  spec.high = std::move(high);
  spec.element_names = std::move(names);
  spec.units = {"m/s", "m/s", "rad/s"};
}

/// exploy, `exporter/core`: JSON by the name of a tensor or of the group in front of its last dot.
void read_exploy(const std::map<std::string, std::string>& metadata, Reading& reading) {
  reading.dialect = "exploy";
  if (const auto rate = metadata.find("update_rate"); rate != metadata.end()) {
    const Json value = value_of(rate->second);
    if (value.is_number() && value.get<double>() > 0.0) reading.contract.period_s = 1.0 / value.get<double>();
  }
  for (auto* specs : {&reading.contract.inputs, &reading.contract.outputs}) {
    for (TensorSpec& spec : *specs) {
      const std::string* key = component_of(spec.name, metadata);
      if (key == nullptr) continue;
      const Json value = value_of(metadata.at(*key));
      if (value.is_object()) read_component(*key, value, spec, reading);
    }
  }
  reading.notes.emplace_back(
      "metadata of exploy: names, ranges and the update rate are in the contract, all of it is in "
      "the provenance");
}

}  // namespace

void read_metadata(const OnnxGraph& graph, Reading& reading) {
  for (const auto& [key, value] : graph.metadata) reading.contract.provenance["onnx." + key] = value;
  if (!graph.producer.empty()) reading.contract.provenance["producer"] = graph.producer;
  if (graph.metadata.contains("exploy_version")) {
    read_exploy(graph.metadata, reading);
  } else if (graph.metadata.contains("joint_names") && graph.metadata.contains("action_scale")) {
    read_mjlab(graph.metadata, reading);
  }
}

}  // namespace ganglion::detail
