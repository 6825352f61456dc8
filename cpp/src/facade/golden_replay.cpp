#include "facade/golden_replay.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <span>
#include <vector>

#include "ganglion/error.hpp"
#include "io/sha256.hpp"

namespace ganglion::detail {

namespace {

/// Fills one batch from the recorded rows: row r replays row r % rows.
struct GoldenStep {
  const Golden& golden;
  std::size_t step;
  std::size_t batch;

  [[nodiscard]] std::size_t record(std::size_t row) const { return step * golden.rows + row % golden.rows; }

  void observation(std::span<float> to) const {
    const std::size_t size = to.size() / batch;
    for (std::size_t row = 0; row < batch; ++row) {
      std::copy_n(golden.observation.begin() + static_cast<std::ptrdiff_t>(record(row) * size), size,
                  to.begin() + static_cast<std::ptrdiff_t>(row * size));
    }
  }

  void reset(std::span<std::uint8_t> to) const {
    for (std::size_t row = 0; row < batch; ++row) to[row] = golden.reset[record(row)];
  }

  /// What float32 itself may make of a recorded output, as an absolute difference.
  [[nodiscard]] double rounding(std::size_t output) const {
    return golden.rounding && !golden.rounding->empty() ? (*golden.rounding)[output] : 0.0;
  }
};

/// Infinite where either is not finite.
double distance(float found, float expected) {
  const double error = std::abs(double{found} - double{expected});
  return std::isfinite(error) ? error : std::numeric_limits<double>::infinity();
}

/// Compares all outputs of one step with the recording and notes the first element beyond the tolerance.
void compare(const ReplayedPolicy& policy, const GoldenStep& at, SelfTest& result) {
  const std::size_t output_size = policy.contract.output_size();
  std::size_t first = 0;
  for (std::size_t i = 0; i < policy.contract.outputs.size(); ++i) {
    const std::span<const float> found = policy.output(i);
    const std::size_t size = policy.contract.outputs[i].size;
    for (std::size_t j = 0; j < found.size(); ++j) {
      const std::size_t row = j / size;
      const std::size_t element = first + j % size;
      const std::size_t index = at.record(row) * output_size + element;
      const double difference = distance(found[j], at.golden.outputs[index]);
      const double error = difference / std::max(1.0, std::abs(double{at.golden.outputs[index]}));
      result.max_error = std::max(result.max_error, error);
      if (result.ok && error > at.golden.tolerance && difference > at.rounding(index)) {
        result.ok = false;
        result.step = at.step;
        result.row = row;
        result.element = element;
      }
    }
    first += size;
  }
}

/// The digests of the recorded rows on the native engine: outputs and state of a row, step by step.
class RowBits {
 public:
  explicit RowBits(std::size_t rows) : digests_(rows) {}

  void add(const ReplayedPolicy& policy) {
    for (std::size_t row = 0; row < digests_.size(); ++row) {
      const auto take = [&](std::span<const float> all) {
        const std::size_t size = all.size() / policy.batch;
        digests_[row].update(std::as_bytes(all.subspan(row * size, size)));
      };
      for (std::size_t i = 0; i < policy.contract.outputs.size(); ++i) take(policy.output(i));
      take(policy.state());
    }
  }

  [[nodiscard]] std::vector<std::string> hex_digests() {
    std::vector<std::string> all;
    for (Sha256& digest : digests_) all.push_back(digest.hex_digest());
    return all;
  }

 private:
  std::vector<Sha256> digests_;
};

std::string scientific(double value) {
  std::array<char, 32> text{};
  static_cast<void>(std::snprintf(text.data(), text.size(), "%.3g", value));
  return text.data();
}

}  // namespace

SelfTest replay_golden(const ReplayedPolicy& policy) {
  SelfTest result;
  result.ok = true;
  const Contract& contract = policy.contract;
  if (!contract.golden) {
    result.message = "the artifact carries no golden trajectory; nothing was replayed";
    return result;
  }
  const Golden& golden = *contract.golden;
  result.tolerance = golden.tolerance;
  std::vector<float> observation(policy.batch * contract.observation_size());
  std::vector<float> action(policy.batch * contract.action_size());
  std::vector<std::uint8_t> rows(policy.batch);
  std::vector<double> durations;
  RowBits bits(policy.is_native ? std::min(policy.batch, golden.rows) : 0);
  for (std::size_t step = 0; step < golden.steps; ++step) {
    const GoldenStep at{golden, step, policy.batch};
    at.observation(observation);
    at.reset(rows);
    if (policy.reset_rows(rows) != Status::ok) break;
    const auto begin = std::chrono::steady_clock::now();
    const Status status = policy.step(observation, action);
    const std::chrono::duration<double, std::micro> duration = std::chrono::steady_clock::now() - begin;
    durations.push_back(duration.count());
    if (status != Status::ok) {
      result.ok = false;
      result.step = step;
      result.message = "the self-test failed at step " + std::to_string(step) +
                       " of the golden trajectory: " + ganglion::to_string(status);
      if (status == Status::engine_failure) result.message += ": " + policy.engine_error();
      return result;
    }
    compare(policy, at, result);
    bits.add(policy);
    ++result.steps;
  }
  std::sort(durations.begin(), durations.end());
  result.median_step_us = durations[durations.size() / 2];
  result.worst_step_us = durations.back();
  result.message =
      result.ok ? "replayed " + std::to_string(result.steps) + " steps, largest error " + scientific(result.max_error)
                : "the self-test missed the golden trajectory: first at step " + std::to_string(result.step) +
                      ", row " + std::to_string(result.row) + ", output element " + std::to_string(result.element) +
                      "; the largest error is " + scientific(result.max_error) + ", the tolerance " +
                      scientific(result.tolerance) +
                      (golden.rounding && !golden.rounding->empty() ? " or, by element, what rounding does" : "") +
                      "; export the policy again on the machine that trained it";
  result.bits = bits.hex_digests();
  if (!result.ok || golden.bits.empty() || result.bits.empty()) return result;
  const auto differs = std::ranges::mismatch(result.bits, golden.bits).in1;
  if (differs == result.bits.end()) {
    result.message += ", bit for bit as recorded";
    return result;
  }
  result.ok = false;
  result.row = static_cast<std::size_t>(differs - result.bits.begin());
  result.message = "the self-test missed the recorded bits in row " + std::to_string(result.row) +
                   ", though no output is beyond the tolerance (largest error " + scientific(result.max_error) +
                   "): this build of ganglion does not compute what cpp/NUMERICS.md says, or the file was written by "
                   "another version of it; compile or export the policy again";
  return result;
}

std::size_t choose_batch(const std::string& name, const Contract& contract, std::size_t wanted) {
  if (contract.batch && wanted != 0 && wanted != *contract.batch) {
    throw Error(ErrorCode::bad_option, "'" + name + "': a batch of " + std::to_string(wanted) +
                                           " was asked for but the artifact is fixed to " +
                                           std::to_string(*contract.batch) + "; export it with batch=None for any");
  }
  // Beyond this, sizes of buffers could overflow.
  constexpr std::size_t largest_batch = std::size_t{1} << 24;
  if (wanted > largest_batch) {
    throw Error(ErrorCode::bad_option, "'" + name + "': a batch of " + std::to_string(wanted) + " is too large");
  }
  return contract.batch.value_or(wanted == 0 ? 1 : wanted);
}

}  // namespace ganglion::detail
