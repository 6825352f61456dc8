// Long runs of the recorded artifacts, with resets and drawn actions: the same bits on every instruction set of this
// CPU, in every batch, and as recorded in tests/golden/bits.txt, which every architecture reads. cpp/NUMERICS.md is the
// law.

#include <array>
#include <cstdint>
#include <fstream>
#include <ganglion/policy.hpp>
#include <iostream>
#include <map>
#include <sstream>

#include "check.hpp"
#include "io/sha256.hpp"

namespace {

using ganglion::Isa;
using ganglion::LoadOptions;
using ganglion::Policy;
using ganglion::Status;
using ganglion::detail::Sha256;

constexpr std::array names{"categorical", "gaussian",   "gru_batch4",  "lstm",
                           "rnn_any",     "rsl_rl_gru", "rsl_rl_lstm", "signed"};
constexpr std::array drawing{"categorical", "gaussian"};
constexpr std::size_t few = 2000;
#if defined(GANGLION_SHORT)  // a sanitizer makes steps slow
constexpr std::size_t steps = few;
#else
constexpr std::size_t steps = 60'000;
#endif

/// Numbers that are the same everywhere: a row of them for each row of the batch.
class Stream {
 public:
  explicit Stream(std::uint64_t row) : state_(0x9E3779B97F4A7C15U * (row + 1)) {}

  std::uint32_t next() {
    state_ = state_ * 6364136223846793005U + 1442695040888963407U;
    return static_cast<std::uint32_t>(state_ >> 33U);
  }
  /// In [-2, 2), exact.
  float number() { return static_cast<float>(static_cast<std::int32_t>(next() >> 7U) - (1 << 23)) * 0x1p-22F; }

 private:
  std::uint64_t state_;
};

struct Digests {
  std::string few;
  std::string all;
  bool operator==(const Digests&) const = default;
};

/// The digests of every row: over its actions and its states.
std::vector<Digests> run(const std::string& name, const LoadOptions& options) {
  Policy policy = Policy::load(std::string(GANGLION_ARTIFACTS "/") + name + ".ganglion", options);
  const std::size_t batch = policy.batch();
  const std::size_t size = policy.contract().observation_size();
  std::vector<Stream> streams;
  for (std::size_t row = 0; row < batch; ++row) streams.emplace_back(row);
  std::vector<Sha256> digests(batch);
  std::vector<Digests> result(batch);
  std::vector<float> observation(batch * size);
  std::vector<float> action(batch * policy.contract().action_size());
  std::vector<std::uint8_t> resets(batch);
  for (std::size_t step = 0; step < steps; ++step) {
    for (std::size_t row = 0; row < batch; ++row) {
      resets[row] = streams[row].next() % 512 == 0 ? 1 : 0;
      for (std::size_t i = 0; i < size; ++i) observation[row * size + i] = streams[row].number();
    }
    CHECK_EQUAL(policy.reset(resets), Status::ok);
    CHECK_EQUAL(policy.step(observation, action), Status::ok);
    for (std::size_t row = 0; row < batch; ++row) {
      const auto part = [&](std::span<const float> all) {
        return std::as_bytes(all.subspan(row * (all.size() / batch), all.size() / batch));
      };
      digests[row].update(part(action));
      digests[row].update(part(policy.state()));
      if (step + 1 == few) result[row].few = Sha256(digests[row]).hex_digest();
    }
  }
  for (std::size_t row = 0; row < batch; ++row) result[row].all = digests[row].hex_digest();
  return result;
}

/// Lines of "<artifact> <steps> <digest>".
std::map<std::string, std::string> recorded() {
  std::map<std::string, std::string> lines;
  std::ifstream file(GANGLION_ARTIFACTS "/../bits.txt");
  for (std::string line; std::getline(file, line);) {
    const std::size_t end = line.rfind(' ');
    if (!line.starts_with('#') && end != std::string::npos) lines[line.substr(0, end)] = line.substr(end + 1);
  }
  return lines;
}

void check_artifact(const std::string& name, std::optional<std::uint64_t> seed) {
  const std::map<std::string, std::string> known = recorded();
  std::map<std::size_t, Digests> rows;
  for (const Isa isa : ganglion::every_isa) {
#if defined(__aarch64__)
    if (isa == Isa::baseline) continue;  // is neon
#endif
    LoadOptions options;
    options.isa = isa;
    options.sample_seed = seed;
    options.warmup_steps = 0;
    std::vector<std::size_t> batches{0};
    try {
      if (!Policy::load(std::string(GANGLION_ARTIFACTS "/") + name + ".ganglion", options).contract().batch) {
        batches = {0, 3, 8};
      }
    } catch (const ganglion::Error& error) {
      CHECK(check::contains(error.what(), "this CPU has not got"));
      continue;
    }
    for (const std::size_t batch : batches) {
      options.batch = batch;
      const std::vector<Digests> found = run(name, options);
      for (std::size_t row = 0; row < found.size(); ++row) {
        const auto [at, is_new] = rows.emplace(row, found[row]);
        check::report(at->second == found[row], "the bits are the same", __FILE__, __LINE__,
                      name + " on " + to_string(isa) + ", batch " + std::to_string(found.size()) + ", row " +
                          std::to_string(row));
      }
    }
  }
  const std::string title = name + (seed ? " drawn " : " ");
  for (const auto& [count, digest] : {std::pair{few, rows.at(0).few}, {steps, rows.at(0).all}}) {
    const std::string key = title + std::to_string(count);
    const auto line = known.find(key);
    check::report(line != known.end() && line->second == digest, "the bits are those of bits.txt", __FILE__, __LINE__,
                  key + " " + digest);
  }
}

}  // namespace

TEST_CASE("long runs have the same bits everywhere") {
  for (const char* const name : names) check_artifact(name, std::nullopt);
  for (const char* const name : drawing) check_artifact(name, 7);
}

int main() {
  const int result = check::run_all();
  for (const Isa isa : ganglion::every_isa) {
    LoadOptions options;
    options.isa = isa;
    try {
      static_cast<void>(Policy::load(GANGLION_ARTIFACTS "/lstm.ganglion", options));
    } catch (const ganglion::Error& error) {
      std::cout << "not run: " << error.what() << '\n';
    }
  }
  return result;
}
