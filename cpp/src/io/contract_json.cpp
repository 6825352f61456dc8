#include <cmath>
#include <limits>

#include "ganglion/error.hpp"
#include "io/boundary.hpp"
#include "io/json.hpp"
#include "io/profile_json.hpp"
#include "io/signer.hpp"
#include "io/stored_contract.hpp"

namespace ganglion {

namespace {

using detail::Json;

constexpr int newest_format = 2;
// Larger sizes are damage, not policies; the limit also keeps products of sizes from overflowing.
constexpr std::size_t largest_size = std::size_t{1} << 24;
// What a file may ask for at a load: rows of one step, and rows that the self-test replays, all steps together.
constexpr std::size_t largest_batch = std::size_t{1} << 16;
constexpr std::size_t most_replayed = std::size_t{1} << 22;
constexpr std::size_t longest_text = 100'000'000;  // as long as the header of a .ganglion file
constexpr std::size_t most_stages = 16;

[[noreturn]] void refuse_contract(const std::string& why) {
  throw Error(ErrorCode::bad_artifact, "contract: " + why + "; export the policy again");
}

std::size_t read_size(const Json& value, const char* what, std::size_t largest = largest_size) {
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() == 0 || value.get<std::uint64_t>() > largest) {
    refuse_contract(std::string(what) + " must be a whole number from 1 to " + std::to_string(largest) + ", not " +
                    value.dump());
  }
  return value.get<std::size_t>();
}

std::vector<float> read_floats(const Json& values, const char* what) {
  std::vector<float> floats;
  floats.reserve(values.size());
  for (const Json& value : values) {
    const auto number = static_cast<float>(value.get<double>());
    if (!std::isfinite(number)) refuse_contract(std::string(what) + " has an element that is not finite");
    floats.push_back(number);
  }
  return floats;
}

// JSON has no infinity: an unbounded element is null.
std::vector<double> read_bounds(const Json& values, double unbounded) {
  std::vector<double> bounds;
  for (const Json& value : values) bounds.push_back(value.is_null() ? unbounded : value.get<double>());
  return bounds;
}

Json write_bounds(const std::vector<double>& bounds) {
  Json values = Json::array();
  for (const double bound : bounds) values.push_back(std::isfinite(bound) ? Json(bound) : Json(nullptr));
  return values;
}

/// What has a name and a shape: a state slot, a tensor whose shape is told.
StateSlot read_shaped(const Json& document, const std::string& what) {
  StateSlot shaped{document.at("name").get<std::string>(), {}};
  for (const Json& axis : document.at("shape")) {
    shaped.shape.push_back(read_size(axis, ("the axis of a " + what).c_str()));
    if (shaped.size() > largest_size) refuse_contract(what + " '" + shaped.name + "' is too large");
  }
  return shaped;
}

std::vector<TensorSpec> read_tensors(const Json& documents) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  std::vector<TensorSpec> specs;
  for (const Json& document : documents) {
    TensorSpec spec;
    spec.name = document.at("name").get<std::string>();
    spec.size = read_size(document.at("size"), "a tensor's size");
    if (document.contains("shape")) {
      const StateSlot shaped = read_shaped(document, "tensor");
      spec.shape = shaped.shape;
      if (shaped.size() != spec.size) {
        refuse_contract("the shape of tensor '" + spec.name + "' does not hold " + std::to_string(spec.size) +
                        " elements");
      }
    }
    spec.element_names = document.at("element_names").get<std::vector<std::string>>();
    spec.units = document.at("units").get<std::vector<std::string>>();
    spec.low = read_bounds(document.at("low"), -infinity);
    spec.high = read_bounds(document.at("high"), infinity);
    for (const std::size_t count : {spec.element_names.size(), spec.units.size(), spec.low.size(), spec.high.size()}) {
      if (count != 0 && count != spec.size) {
        refuse_contract("tensor '" + spec.name + "' has " + std::to_string(spec.size) + " elements but a list of " +
                        std::to_string(count) + " names, units or bounds");
      }
    }
    specs.push_back(std::move(spec));
  }
  if (specs.empty()) refuse_contract("at least one input and one output are needed");
  return specs;
}

Json write_tensors(const std::vector<TensorSpec>& specs) {
  Json documents = Json::array();
  for (const TensorSpec& spec : specs) {
    Json document{{"name", spec.name},
                  {"size", spec.size},
                  {"element_names", spec.element_names},
                  {"units", spec.units},
                  {"low", write_bounds(spec.low)},
                  {"high", write_bounds(spec.high)}};
    if (!spec.shape.empty()) document["shape"] = spec.shape;
    documents.push_back(std::move(document));
  }
  return documents;
}

std::vector<StateSlot> read_slots(const Json& documents) {
  std::vector<StateSlot> slots;
  for (const Json& document : documents) slots.push_back(read_shaped(document, "state slot"));
  return slots;
}

Golden read_golden(const Json& document, std::size_t observation_size, std::size_t output_size) {
  Golden golden;
  golden.steps = read_size(document.at("steps"), "the golden trajectory's steps");
  golden.rows = read_size(document.at("rows"), "the golden trajectory's rows");
  golden.observation = read_floats(document.at("observation"), "the golden observation");
  golden.outputs = read_floats(document.at("outputs"), "the golden outputs");
  for (const Json& flag : document.at("reset")) golden.reset.push_back(flag.get<double>() != 0.0 ? 1 : 0);
  golden.tolerance = document.at("tolerance").get<double>();
  if (document.contains("rounding")) golden.rounding = read_floats(document.at("rounding"), "the golden rounding");
  if (document.contains("bits")) {
    for (const Json& digest : document.at("bits")) golden.bits.push_back(digest.get<std::string>());
  }
  if (!golden.bits.empty() && golden.bits.size() != golden.rows) {
    refuse_contract("the golden trajectory's bits must be one digest for each of its " + std::to_string(golden.rows) +
                    " rows");
  }
  const std::size_t count = golden.steps * golden.rows;
  if (golden.observation.size() != count * observation_size || golden.outputs.size() != count * output_size ||
      golden.reset.size() != count ||
      (golden.rounding && !golden.rounding->empty() && golden.rounding->size() != count * output_size)) {
    refuse_contract("the golden trajectory's arrays do not fill " + std::to_string(golden.steps) + " steps of " +
                    std::to_string(golden.rows) + " rows");
  }
  if (!std::isfinite(golden.tolerance) || golden.tolerance <= 0.0) {
    refuse_contract("the golden trajectory's tolerance must be positive and finite");
  }
  return golden;
}

Json write_golden(const Golden& golden) {
  const auto doubles = [](const auto& values) { return std::vector<double>(values.begin(), values.end()); };
  Json document{{"steps", golden.steps},
                {"rows", golden.rows},
                {"observation", doubles(golden.observation)},
                {"reset", golden.reset},
                {"outputs", doubles(golden.outputs)},
                {"tolerance", golden.tolerance}};
  if (golden.rounding) document["rounding"] = doubles(*golden.rounding);
  if (!golden.bits.empty()) document["bits"] = golden.bits;
  return document;
}

std::vector<double> read_factors(const Json& values) {
  auto factors = values.get<std::vector<double>>();
  for (const double factor : factors) {
    if (!std::isfinite(factor)) refuse_contract("action_map has a scale or offset that is not finite");
  }
  return factors;
}

ActionStage read_stage(const Json& document, std::size_t action_size) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  ActionStage stage;
  stage.squash = document.at("squash").get<bool>();
  stage.scale = read_factors(document.at("scale"));
  stage.offset = read_factors(document.at("offset"));
  stage.low = read_bounds(document.at("low"), -infinity);
  stage.high = read_bounds(document.at("high"), infinity);
  for (const auto* const list : {&stage.scale, &stage.offset, &stage.low, &stage.high}) {
    if (!list->empty() && list->size() != action_size) {
      refuse_contract("action_map has a list of " + std::to_string(list->size()) + " numbers; the action has " +
                      std::to_string(action_size) + " elements");
    }
  }
  for (std::size_t i = 0; i < stage.low.size() && i < stage.high.size(); ++i) {
    if (stage.low[i] > stage.high[i]) refuse_contract("action_map has a lower bound above the upper bound");
  }
  return stage;
}

std::optional<std::vector<ActionStage>> read_action_map(const Json& document, std::size_t action_size) {
  const Json* const found = document.find("action_map");
  if (found == nullptr) return std::vector<ActionStage>();
  if (found->is_null()) return std::nullopt;
  if (!found->is_array() || found->size() > most_stages) {
    refuse_contract("action_map must be a list of at most " + std::to_string(most_stages) + " stages");
  }
  std::vector<ActionStage> stages;
  for (const Json& stage : *found) stages.push_back(read_stage(stage, action_size));
  return stages;
}

Json write_action_map(const std::vector<ActionStage>& stages) {
  Json documents = Json::array();
  for (const ActionStage& stage : stages) {
    documents.push_back(Json{{"squash", stage.squash},
                             {"scale", stage.scale},
                             {"offset", stage.offset},
                             {"low", write_bounds(stage.low)},
                             {"high", write_bounds(stage.high)}});
  }
  return documents;
}

void check_format(const Json& document) {
  if (!document.is_object()) refuse_contract("the JSON document is not an object");
  const Json* const format = document.find("format");
  if (format == nullptr || !format->is_number_unsigned() || format->get<std::uint64_t>() == 0) {
    refuse_contract("its format number is missing or not a positive whole number");
  }
  if (format->get<std::uint64_t>() > newest_format) {
    throw Error(ErrorCode::newer_format,
                "contract: format " + format->dump() + " is newer than format " + std::to_string(newest_format) +
                    ", the newest this version of ganglion reads; install a newer ganglion, or export the policy "
                    "again with this one");
  }
}

/// False where the text is of the first format, which had no digest over itself.
bool check_seal(std::string_view text, const Json& document) {
  const Json* const seal = document.find(detail::seal_key);
  if (seal == nullptr) {
    if (document.at("format").get<std::uint64_t>() == 1) return false;
    refuse_contract(std::string("its digest over itself, '") + detail::seal_key + "', is missing");
  }
  const std::optional<std::string> found = detail::seal_of(text);
  if (!found || !seal->is_text(*found)) {
    throw Error(ErrorCode::digest_mismatch,
                "contract: its text does not match its own digest" +
                    (found ? " (SHA-256 " + *found + " found, " + detail::shortened(*seal) + " expected)" : "") +
                    ": the file was damaged or edited after export; export the policy again");
  }
  return true;
}

/// The key that the contract is signed with; empty for none.
std::string read_signer(std::string_view text, const Json& document) {
  const Json* const signature = document.find("signature");
  if (signature == nullptr) return {};
  auto key = signature->at("public_key").get<std::string>();
  detail::check_signature(text, key, signature->at(detail::signature_key).get<std::string>());
  return key;
}

Contract contract_of(const Json& document) {
  Contract contract;
  contract.inputs = read_tensors(document.at("inputs"));
  contract.outputs = read_tensors(document.at("outputs"));
  contract.state = read_slots(document.at("state"));
  contract.initial_state = read_floats(document.at("initial_state"), "the initial state");
  if (contract.initial_state.size() != contract.hidden_size()) {
    refuse_contract("the state slots hold " + std::to_string(contract.hidden_size()) +
                    " elements but initial_state has " + std::to_string(contract.initial_state.size()));
  }
  if (const Json& batch = document.at("batch"); !batch.is_null())
    contract.batch = read_size(batch, "batch", largest_batch);
  if (const Json& period = document.at("period_s"); !period.is_null()) {
    contract.period_s = period.get<double>();
    if (!(*contract.period_s > 0.0)) refuse_contract("period_s must be positive, not " + period.dump());
  }
  if (const Json& dtype = document.at("dtype"); !dtype.is_text("float32"))
    refuse_contract("dtype " + dtype.dump() + " is not float32");
  contract.provenance = document.at("provenance").get<std::map<std::string, std::string>>();
  if (const Json& digest = document.at("sha256"); !digest.is_null()) contract.sha256 = digest.get<std::string>();
  contract.action_map = read_action_map(document, contract.action_size());
  if (const Json& golden = document.at("golden"); !golden.is_null()) {
    contract.golden = read_golden(golden, contract.observation_size(), contract.output_size());
    if (contract.golden->steps * contract.batch.value_or(1) > most_replayed) {
      refuse_contract("a golden trajectory of " + std::to_string(contract.golden->steps) + " steps for a batch of " +
                      std::to_string(contract.batch.value_or(1)) + " is longer than any self-test (" +
                      std::to_string(most_replayed) + " rows)");
    }
  }
  if (const Json* const found = document.find("observation_profile"); found != nullptr && !found->is_null()) {
    const ObservationProfile& profile = contract.observation_profile.emplace(detail::read_profile(*found));
    if (profile.size != contract.observation_size() ||
        (profile.actions != 0 && profile.actions != contract.action_size())) {
      refuse_contract("observation_profile is of " + std::to_string(profile.size) + " observation and " +
                      std::to_string(profile.actions) + " action elements; the contract says " +
                      std::to_string(contract.observation_size()) + " and " + std::to_string(contract.action_size()) +
                      ": it is of another policy");
    }
  }
  return contract;
}

Json write_slots(const std::vector<StateSlot>& slots) {
  Json documents = Json::array();
  for (const StateSlot& slot : slots) documents.push_back(Json{{"name", slot.name}, {"shape", slot.shape}});
  return documents;
}

/// The document with zeros for its digest over itself.
Json write_contract(const Contract& contract) {
  const auto or_null = [](const auto& value) { return value ? Json(*value) : Json(nullptr); };
  const std::vector<double> initial_state(contract.initial_state.begin(), contract.initial_state.end());
  Json document{{"format", newest_format},
                {detail::seal_key, std::string(detail::seal_digits, '0')},
                {"inputs", write_tensors(contract.inputs)},
                {"outputs", write_tensors(contract.outputs)},
                {"state", write_slots(contract.state)},
                {"initial_state", initial_state},
                {"batch", or_null(contract.batch)},
                {"period_s", or_null(contract.period_s)},
                {"dtype", "float32"},
                {"provenance", contract.provenance},
                {"sha256", contract.sha256.empty() ? Json(nullptr) : Json(contract.sha256)},
                {"golden", contract.golden ? write_golden(*contract.golden) : Json(nullptr)}};
  if (!contract.action_map) {
    document["action_map"] = nullptr;
  } else if (!contract.action_map->empty()) {
    document["action_map"] = write_action_map(*contract.action_map);
  }
  if (contract.observation_profile) {
    document["observation_profile"] = detail::write_profile(*contract.observation_profile);
  }
  return document;
}

}  // namespace

detail::StoredContract detail::read_contract(std::string_view text) {
  if (text.size() > longest_text) refuse_contract("it has more than " + std::to_string(longest_text) + " bytes");
  try {
    const Json document = parse_json(text, "contract: damaged JSON: the text");
    check_format(document);
    const bool is_sealed = check_seal(text, document);
    return {ganglion::contract_of(document), is_sealed, read_signer(text, document)};
  } catch (const Json::Mismatch& error) {
    refuse_contract(std::string("damaged JSON: ") + error.what());
  }
}

Contract Contract::from_json(std::string_view text) {
  return detail::at_boundary("contract", [&] { return detail::read_contract(text).contract; });
}

std::string Contract::to_json() const {
  // Names of other exporters may hold any bytes.
  return detail::at_boundary("contract", [this] { return detail::sealed(write_contract(*this).dump()); });
}

}  // namespace ganglion
