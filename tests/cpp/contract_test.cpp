#include <cmath>
#include <ganglion/contract.hpp>
#include <ganglion/error.hpp>
#include <limits>

#include "check.hpp"
#include "io/stored_contract.hpp"

namespace {

using ganglion::Contract;
using ganglion::ErrorCode;
using ganglion::detail::sealed;

Contract example() {
  Contract contract;
  contract.inputs = {{"obs", 2, {"position", "angle"}, {"m", "rad"}, {-1.0, -INFINITY}, {1.0, INFINITY}}};
  contract.outputs = {{"actions", 1, {}, {}, {}, {}}};
  contract.state = {{"h", {1, 2}}};
  contract.initial_state = {0.1F, -0.2F};
  contract.batch = 1;
  contract.period_s = 0.002;
  contract.provenance = {{"trainer", "a \"quoted\" name"}};
  contract.sha256 = "00";
  contract.golden = ganglion::Golden{2, 1, {1.0F, 2.0F, 3.0F, 0.1F}, {0, 1}, {0.5F, 1e-30F}, 1e-5};
  return contract;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  if (at == std::string::npos) throw std::runtime_error("'" + from + "' is not in " + text);
  return text.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE("a contract survives JSON without loss") {
  const std::string text = example().to_json();
  const Contract back = Contract::from_json(text);
  CHECK_EQUAL(back.to_json(), text);
  CHECK_EQUAL(back.initial_state[0], 0.1F);
  CHECK_EQUAL(back.golden->observation[3], 0.1F);
  CHECK_EQUAL(back.golden->outputs[1], 1e-30F);
  CHECK(std::isinf(back.inputs[0].high[1]) && back.inputs[0].low[1] < 0.0);
  CHECK_EQUAL(back.observation_size(), 2U);
  CHECK_EQUAL(back.hidden_size(), 2U);
}

TEST_CASE("a newer format is refused with what to do") {
  const std::string text = replaced(example().to_json(), "\"format\":2", "\"format\":3");
  CHECK_ERROR(Contract::from_json(text), ErrorCode::newer_format, "install a newer ganglion");
}

TEST_CASE("damaged contracts are refused") {
  const std::string text = example().to_json();
  const auto damage = [&](const std::string& from, const std::string& to, const char* says) {
    CHECK_ERROR(Contract::from_json(sealed(replaced(text, from, to))), ErrorCode::bad_artifact, says);
  };
  damage("\"format\":2", "\"format\":0", "format number");
  damage("\"format\":2", "\"format\":\"2\"", "format number");
  damage("\"contract_sha256\"", "\"contract_sha255\"", "'contract_sha256', is missing");
  damage("\"dtype\":\"float32\"", "\"dtype\":\"float32\",\"batch\":1", "the key 'batch' twice");
  damage("{", "[", "damaged JSON");
  damage("\"batch\":1", "\"batch\":-1", "batch");
  damage("\"batch\":1", "\"batch\":0", "batch");
  damage("\"batch\":1", "\"batch\":65537", "from 1 to 65536");
  damage("\"dtype\":\"float32\"", "\"dtype\":\"float64\"", "float32");
  damage("\"size\":2", "\"size\":99999999999", "size");
  damage("\"size\":2", "\"size\":3", "names, units or bounds");
  damage("\"shape\":[1,2]", "\"shape\":[1,3]", "initial_state");
  damage("\"shape\":[1,2]", "\"shape\":[16777216,16777216]", "too large");
  damage("\"steps\":2", "\"steps\":3", "do not fill");
  damage("\"tolerance\":1e-05", "\"tolerance\":-1", "tolerance");
  damage("\"reset\":[0,1]", "\"reset\":[0,\"x\"]", "damaged JSON");
  damage("\"period_s\":0.002", "\"period_s\":-0.002", "period_s");
  damage("\"outputs\"", "\"no_outputs\"", "damaged JSON");
  CHECK_ERROR(Contract::from_json(sealed(replaced(text, "-0.20000000298023224", "1e60"))), ErrorCode::bad_artifact,
              "not finite");
}

TEST_CASE("the digest in a contract covers all of its text, of whatever form") {
  const std::string text = example().to_json();
  std::size_t accepted = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string flipped = text;
      flipped[at] = static_cast<char>(flipped[at] ^ (1 << bit));
      accepted += check::caught<ganglion::Error>([&] { static_cast<void>(Contract::from_json(flipped)); }).empty();
    }
  }
  CHECK_EQUAL(accepted, 0U);
  CHECK_ERROR(Contract::from_json(replaced(text, "0.002", "8.002")), ErrorCode::digest_mismatch,
              "export the policy again");
  // The same numbers, written in another way: another text.
  CHECK_ERROR(Contract::from_json(replaced(text, "1e-05", "0.00001")), ErrorCode::digest_mismatch, "its own digest");
  // Another writer's spaces and unknown fields are covered as they stand.
  const std::string foreign = sealed(replaced(replaced(text, "\":", "\" : "), "{", "{ \"a_new_field\" : [1, 2],"));
  CHECK_EQUAL(Contract::from_json(foreign).to_json(), text);
  CHECK_ERROR(Contract::from_json(replaced(foreign, "[1, 2]", "[1, 3]")), ErrorCode::digest_mismatch, "its own digest");
  // The first format had none.
  const std::string first = replaced(replaced(text, "\"format\":2", "\"format\":1"), "\"contract_sha256\"", "\"x\"");
  CHECK(!ganglion::detail::read_contract(first).is_sealed);
  CHECK(ganglion::detail::read_contract(text).is_sealed);
}

TEST_CASE("an action map survives JSON without loss, and may be empty or unknown") {
  Contract contract = example();
  CHECK(contract.to_json().find("action_map") == std::string::npos);
  CHECK(Contract::from_json(contract.to_json()).action_map->empty());
  contract.action_map = {{true, {0.1}, {-1e-30}, {-INFINITY}, {0.5}}, {}};
  const std::string text = contract.to_json();
  const Contract back = Contract::from_json(text);
  CHECK_EQUAL(back.to_json(), text);
  CHECK_EQUAL(back.action_map->size(), 2U);
  CHECK(back.action_map->front().squash && back.action_map->front().scale[0] == 0.1);
  CHECK(std::isinf(back.action_map->front().low[0]));
  const auto damage = [&](const std::string& from, const std::string& to, const char* says) {
    CHECK_ERROR(Contract::from_json(sealed(replaced(text, from, to))), ErrorCode::bad_artifact, says);
  };
  damage("\"scale\":[0.1]", "\"scale\":[0.1,0.1]", "list of 2 numbers; the action has 1 elements");
  damage("\"low\":[null]", "\"low\":[2.0]", "lower bound above");
  damage("\"squash\":true", "\"squash\":1", "damaged JSON");
  damage("\"offset\":[-1e-30]", "\"offset\":[null]", "damaged JSON");
  damage("\"action_map\":[", "\"action_map\":7,\"x\":[", "list of at most 16");
  contract.action_map = std::vector<ganglion::ActionStage>(17);
  CHECK_ERROR(Contract::from_json(contract.to_json()), ErrorCode::bad_artifact, "list of at most 16");
  contract.action_map.reset();
  CHECK(!Contract::from_json(contract.to_json()).action_map);
}

TEST_CASE("a contract cut anywhere is refused, never half-read") {
  const std::string text = example().to_json();
  for (std::size_t length = 0; length < text.size(); ++length) {
    CHECK_ERROR(Contract::from_json(text.substr(0, length)), ErrorCode::bad_artifact, "contract");
  }
}

int main() { return check::run_all(); }
