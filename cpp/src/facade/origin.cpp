#include "facade/origin.hpp"

#include "ganglion/error.hpp"
#include "io/json.hpp"
#include "io/sha256.hpp"
#include "realtime/xxh64.hpp"

namespace ganglion::detail {

namespace {

std::string hints_json(const ReadingHints& hints) {
  Json::Object members;
  if (hints.action) members.push_back({"action", *hints.action});
  if (!hints.constants.empty()) members.push_back({"constants", hints.constants});
  if (!hints.observation.empty()) members.push_back({"observation", hints.observation});
  if (hints.state) {
    Json pairs = Json::array();
    for (const auto& [input, output] : *hints.state) pairs.push_back(std::vector<std::string>{input, output});
    members.push_back({"state", std::move(pairs)});
  }
  return members.empty() ? "" : Json(std::move(members)).dump();
}

[[noreturn]] void refuse(const Origin& origin, const std::string& why) {
  throw Error(ErrorCode::recording_failed, "'" + origin.name + "' cannot be recorded: " + why +
                                               "; the recording would not hold the policy that flies. Load it again "
                                               "from a file that stays as it is");
}

/// The file, which is still what was loaded.
std::vector<std::byte> file_of(const Origin& origin, const Contract& flying) {
  if (!origin.bytes.empty()) return origin.bytes;
  Artifact now;
  try {
    now = read_artifact(origin.name);
  } catch (const Error& error) {
    refuse(origin, error.what());
  }
  const bool is_same = origin.fingerprint == 0 ? now.contract && now.contract->to_json() == flying.to_json()
                                               : (realtime::xxh64(now.bytes) | 1U) == origin.fingerprint;
  if (!is_same) refuse(origin, "the file was changed after it was loaded");
  return std::move(now.bytes);
}

}  // namespace

std::shared_ptr<const Origin> origin_of(const std::string& name, const Artifact& artifact, bool is_in_memory,
                                        const ReadingHints& hints) {
  Origin origin{.name = name, .kind = artifact.kind};
  if (is_in_memory) origin.bytes = artifact.bytes;
  if (!artifact.contract) {
    origin.hints = hints_json(hints);
    origin.fingerprint = realtime::xxh64(artifact.bytes) | 1U;
  }
  return std::make_shared<const Origin>(std::move(origin));
}

RecordedPolicy recorded(const Origin& origin, const Reading& reading, const realtime::Loop& loop, Engine engine,
                        const char* isa) {
  if (loop.tape() != nullptr && loop.tape()->tape().is_open()) {
    throw Error(ErrorCode::bad_option,
                "'" + origin.name + "' is recorded already; close that recording before another one begins");
  }
  RecordedPolicy policy{.contract = &reading.contract,
                        .file = origin.name,
                        .suffix = suffix_of(origin.kind),
                        .bytes = file_of(origin, reading.contract),
                        .engine = ganglion::to_string(engine),
                        .isa = isa,
                        .hints = origin.hints,
                        .sizes = loop.sizes()};
  Sha256 digest;
  digest.update(policy.bytes);
  policy.sha256 = digest.hex_digest();
  if (loop.sampler() != nullptr) policy.sample_seed = loop.sampler()->seed();
  return policy;
}

}  // namespace ganglion::detail
