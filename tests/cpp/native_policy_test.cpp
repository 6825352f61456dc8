// NativePolicy: the same verbs as Policy, from a path or from bytes, with weights shared by clones.

#include <cmath>
#include <cstring>
#include <fstream>
#include <ganglion/native_policy.hpp>
#include <ganglion/policy.hpp>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "burn_in.hpp"
#include "check.hpp"
#include "moved_from.hpp"

namespace {

namespace fs = std::filesystem;
using ganglion::ErrorCode;
using ganglion::NativeOptions;
using ganglion::NativePolicy;
using ganglion::Status;
using Floats = std::vector<float>;

fs::path artifact(const std::string& name) { return fs::path(GANGLION_ARTIFACTS) / (name + ".ganglion"); }

std::vector<std::byte> bytes_of(const fs::path& path) {
  std::vector<std::byte> bytes(fs::file_size(path));
  std::ifstream file(path, std::ios::binary);
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  return bytes;
}

bool same_bytes(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

Floats wave(std::size_t size, int step) {
  Floats values(size);
  for (std::size_t i = 0; i < size; ++i) {
    values[i] = std::sin(0.3F * static_cast<float>(step) + static_cast<float>(i));
  }
  return values;
}

template <class AnyPolicy>
Floats fly(AnyPolicy& policy, int steps) {
  Floats action(policy.batch() * policy.contract().action_size());
  Floats all;
  for (int step = 0; step < steps; ++step) {
    const Status status = policy.step(wave(policy.batch() * policy.contract().observation_size(), step), action);
    CHECK_EQUAL(status, Status::ok);
    all.insert(all.end(), action.begin(), action.end());
  }
  return all;
}

}  // namespace

TEST_CASE("a path, bytes and the facade give the same numbers, bit for bit") {
  for (const char* name : {"lstm", "gru_batch4", "rnn_any", "rsl_rl_lstm", "rsl_rl_gru"}) {
    NativePolicy native = NativePolicy::load(artifact(name));
    std::vector<std::byte> bytes = bytes_of(artifact(name));
    NativePolicy from_bytes = NativePolicy::load(bytes);
    std::fill(bytes.begin(), bytes.end(), std::byte{0xFF});  // the file may go away
    ganglion::Policy facade = ganglion::Policy::load(artifact(name));
    ganglion::Policy facade_from_bytes = ganglion::Policy::load(bytes_of(artifact(name)), name);
    const Floats expected = fly(native, 100);
    CHECK(same_bytes(fly(from_bytes, 100), expected));
    CHECK(same_bytes(fly(facade, 100), expected));
    CHECK(same_bytes(fly(facade_from_bytes, 100), expected));
    CHECK(same_bytes(native.state(), facade.state()));
    CHECK(same_bytes(native.output(0), facade.output(0)));
    CHECK(native.self_test().ok);
    CHECK(native.self_test().steps >= 64U);
  }
}

TEST_CASE("a batch of any size equals its rows") {
  NativeOptions options;
  for (const std::size_t batch : {1U, 2U, 3U, 5U, 9U}) {
    options.batch = batch;
    NativePolicy together = NativePolicy::load(artifact("rnn_any"), options);
    CHECK_EQUAL(together.batch(), batch);
    options.batch = 1;
    NativePolicy alone = NativePolicy::load(artifact("rnn_any"), options);
    const std::size_t inputs = together.contract().observation_size();
    const std::size_t outputs = together.contract().action_size();
    const Floats observation = wave(batch * inputs, 3);
    Floats actions(batch * outputs);
    CHECK_EQUAL(together.step(observation, actions), Status::ok);
    for (std::size_t row = 0; row < batch; ++row) {
      Floats action(outputs);
      alone.reset();
      CHECK_EQUAL(alone.step(std::span(observation).subspan(row * inputs, inputs), action), Status::ok);
      for (std::size_t i = 0; i < outputs; ++i) CHECK(std::abs(action[i] - actions[row * outputs + i]) < 1e-6F);
    }
  }
}

TEST_CASE("refused steps keep the action, the state and the outputs") {
  NativePolicy policy = NativePolicy::load(artifact("faulty"));
  Floats action(1);
  CHECK_EQUAL(policy.step(Floats{2.0F, 0.1F}, action), Status::ok);
  const Floats state(policy.state().begin(), policy.state().end());
  const Floats output(policy.output(0).begin(), policy.output(0).end());
  const auto refused = [&](const Floats& observation, Status expected) {
    action[0] = -7.0F;
    CHECK_EQUAL(policy.step(observation, action), expected);
    CHECK_EQUAL(action[0], -7.0F);
    CHECK(same_bytes(policy.state(), state));
    CHECK(same_bytes(policy.output(0), output));
  };
  refused({1.0F}, Status::bad_size);
  refused({NAN, 0.0F}, Status::non_finite_observation);
  refused({1.0F, INFINITY}, Status::non_finite_observation);
  refused({1.0F, 1000.0F}, Status::non_finite_action);   // infinite action
  refused({1.0F, -1000.0F}, Status::non_finite_action);  // infinite state
  CHECK_EQUAL(policy.set_state(Floats{INFINITY}), Status::non_finite_state);
  CHECK_EQUAL(policy.set_state(Floats{1.0F, 2.0F}), Status::bad_size);
  CHECK(same_bytes(policy.state(), state));
  CHECK_EQUAL(policy.reset(std::vector<std::uint8_t>(2)), Status::bad_size);
  CHECK_EQUAL(policy.set_state(policy.state()), Status::ok);  // its own memory
}

TEST_CASE("a burn-in is so many steps, and stops at the first one that is refused") {
  for (const char* name : {"lstm", "gru_batch4"}) check_burn_in(NativePolicy::load(artifact(name)));
}

TEST_CASE("clones share weights, own their state, and step in threads of their own") {
  NativePolicy policy = NativePolicy::load(artifact("lstm"));
  fly(policy, 5);
  std::vector<NativePolicy> twins;
  for (int i = 0; i < 4; ++i) twins.push_back(policy.clone());
  CHECK(same_bytes(twins[0].state(), policy.state()));
  CHECK(same_bytes(twins[0].output(0), policy.output(0)));
  const Floats expected = fly(policy, 50);
  std::vector<Floats> found(twins.size());
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < twins.size(); ++i) {
    threads.emplace_back([&, i] { found[i] = fly(twins[i], 50); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Floats& actions : found) CHECK(same_bytes(actions, expected));
  policy = std::move(twins[0]);
  policy.reset();
  CHECK(same_bytes(policy.state(), policy.contract().initial_state));
}

TEST_CASE("locked memory works or is refused with a sentence") {
  NativeOptions options;
  options.lock_memory = true;
  const auto errors = check::caught<ganglion::Error>([&] {
    NativePolicy locked = NativePolicy::load(artifact("lstm"), options);
    NativePolicy plain = NativePolicy::load(artifact("lstm"));
    CHECK(same_bytes(fly(locked, 10), fly(plain, 10)));
  });
  if (!errors.empty()) {
    CHECK_EQUAL(errors[0].code(), ErrorCode::engine_failure);
    CHECK(check::contains(errors[0].what(), "ulimit -l"));
  }
}

TEST_CASE("what is no native artifact is refused") {
  CHECK_ERROR(NativePolicy::load(fs::path(GANGLION_ARTIFACTS) / "lstm.onnx"), ErrorCode::bad_option,
              "ganglion compile");
  CHECK_ERROR(NativePolicy::load(artifact("missing")), ErrorCode::file_not_found, "no such file");
  CHECK_ERROR(NativePolicy::load(std::span<const std::byte>()), ErrorCode::bad_artifact, "truncated");
  NativeOptions options;
  options.batch = 2;
  CHECK_ERROR(NativePolicy::load(artifact("lstm"), options), ErrorCode::bad_option, "fixed to 1");
  options.batch = std::size_t{1} << 20;
  options.warmup_steps = -1;
  CHECK_ERROR(NativePolicy::load(artifact("rnn_any"), options), ErrorCode::bad_option, "warmup_steps");
  CHECK(std::string(ganglion::native_instruction_set()).size() >= 4);
}

TEST_CASE("what is suspicious about a file is known to whoever embeds it, too") {
  const NativePolicy policy = NativePolicy::load(artifact("lstm"));
  const ganglion::Policy facade = ganglion::Policy::load(artifact("lstm"));
  CHECK_EQUAL(policy.reading().to_json(), facade.reading().to_json());
  const std::vector<std::byte> old = bytes_of(fs::path(GANGLION_FUZZ_CORPUS) / "good_small.ganglion");
  const NativePolicy bare = NativePolicy::load(old);
  CHECK(!bare.reading().findings.empty());
}

TEST_CASE("a policy that was moved from says so") {
  check_moved_from(NativePolicy::load(artifact("lstm")), [](const NativePolicy&) {});
}

TEST_CASE("a robot takes files of its own lab only") {
  NativeOptions options;
  options.public_key = fs::path(GANGLION_ARTIFACTS) / "signed.pub.pem";
  NativePolicy signed_policy = NativePolicy::load(artifact("signed"), options);
  NativePolicy plain = NativePolicy::load(artifact("lstm"));
  CHECK(same_bytes(fly(signed_policy, 10), fly(plain, 10)));
  CHECK_ERROR(NativePolicy::load(artifact("lstm"), options), ErrorCode::not_signed, "ganglion sign");
  CHECK_ERROR(NativePolicy::load(bytes_of(artifact("lstm")), options), ErrorCode::not_signed, "is not signed");
  ganglion::LoadOptions load;
  load.public_key = options.public_key;
  CHECK(ganglion::Policy::load(artifact("signed"), load).reading().signer.size() == 64);
  CHECK_ERROR(ganglion::explain(artifact("lstm"), load), ErrorCode::not_signed, "is not signed");
  options.public_key = artifact("lstm");
  CHECK_ERROR(NativePolicy::load(artifact("signed"), options), ErrorCode::bad_option, "holds no public key");
}

int main() { return check::run_all(); }
