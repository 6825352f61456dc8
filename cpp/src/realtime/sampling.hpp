#pragma once

// Random actions that can be had again: the noise of an element depends on nothing but seed, episode, step, row and
// element, and is the same, bit for bit, in C++ on every machine and in Python (ganglion/sampling.py).

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "ganglion/realtime.hpp"

namespace ganglion::realtime {

/// The block cipher Philox 4x32 with ten rounds (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
[[nodiscard]] std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter,
                                                  std::array<std::uint32_t, 2> key) noexcept GANGLION_NONBLOCKING;

/// What the noise of four elements is made of: block b has the elements from 4 b on. Different for 2^50 steps, 2^32
/// episodes, 2^24 rows and 2^22 blocks, the most that there are; the step's high bits stand above row and block.
[[nodiscard]] std::array<std::uint32_t, 4> noise_counter(std::uint64_t step, std::uint32_t episode, std::size_t row,
                                                         std::size_t block) noexcept GANGLION_NONBLOCKING;

/// The standard normal number at the quantile (bits + 1/2) / 2^32 (Wichura 1988, algorithm AS 241, PPND16).
[[nodiscard]] double standard_normal(std::uint32_t bits) noexcept GANGLION_NONBLOCKING;

/// The standard Gumbel number at that quantile: the largest of logit + Gumbel is a sample of the softmax.
[[nodiscard]] double standard_gumbel(std::uint32_t bits) noexcept GANGLION_NONBLOCKING;

/// What the first two outputs of a policy are: mean and log_std, or the best index and the logits; or that the elements
/// of an action are drawn from several outputs, each for itself.
enum class Distribution : std::uint8_t { gaussian, categorical, mixed };

/// Elements of a mixed action that are drawn together: neighbours that are normal, or one category.
struct Part {
  Distribution distribution = Distribution::gaussian;
  std::size_t element = 0;  ///< the first one, in the action
  std::size_t count = 0;    ///< how many parameters: one log_std for each element, or all logits of one
  std::size_t place = 0;    ///< where their output begins in the outputs of one row, behind the first output
  std::size_t stride = 0;   ///< size of that output
  std::size_t offset = 0;   ///< the first parameter in that output
};

struct Sampling {
  Distribution distribution = Distribution::gaussian;
  std::size_t parameters = 0;  ///< elements of the second output in one row
  std::uint64_t seed = 0;
  std::optional<std::size_t> log_prob;  ///< where in the outputs of one row the log probability stands, if it does
  std::size_t mean = 0;                 ///< where in the outputs of one row the mean stands to draw around
  std::vector<Part> parts;              ///< of a mixed action, in the order of its elements
};

/// Draws the actions of a batch and counts steps and episodes of every row. An episode begins with the first step after
/// a reset; resets without a step between them are one.
class ActionSampler {
 public:
  ActionSampler(Sampling sampling, std::size_t batch);

  /// Draws what the policy itself gives, before any action map. mean (or the best index): [batch, action_size];
  /// parameters, the second output: [batch, size]; action: as mean; log_prob: [batch] or null.
  void draw(std::span<const float> mean, const float* parameters, float* action,
            float* log_prob) const noexcept GANGLION_NONBLOCKING;
  [[nodiscard]] std::size_t mean() const noexcept GANGLION_NONBLOCKING { return sampling_.mean; }
  [[nodiscard]] std::optional<std::size_t> log_prob() const noexcept GANGLION_NONBLOCKING { return sampling_.log_prob; }
  [[nodiscard]] std::uint64_t seed() const noexcept { return sampling_.seed; }
  /// Where in the random numbers a row is.
  [[nodiscard]] std::uint64_t step_of(std::size_t row) const noexcept GANGLION_NONBLOCKING { return rows_[row].step; }
  [[nodiscard]] std::uint32_t episode_of(std::size_t row) const noexcept GANGLION_NONBLOCKING {
    return rows_[row].episode;
  }
  void count_step() noexcept GANGLION_NONBLOCKING;
  void reset(std::size_t row) noexcept GANGLION_NONBLOCKING;
  /// As if nothing had been drawn yet.
  void begin_again() noexcept;

 private:
  struct Row {
    std::uint64_t step = 0;
    std::uint32_t episode = 0;
  };

  [[nodiscard]] std::array<std::uint32_t, 4> bits(std::size_t row,
                                                  std::size_t block) const noexcept GANGLION_NONBLOCKING;
  /// All answer the log probability; `noise` is the number of the first noise of the step that they use.
  double draw_row(std::size_t row, std::span<const float> mean, const float* parameters,
                  float* action) const noexcept GANGLION_NONBLOCKING;
  double draw_gaussian(std::size_t row, std::size_t noise, std::span<const float> mean, const float* log_std,
                       float* action) const noexcept GANGLION_NONBLOCKING;
  double draw_category(std::size_t row, std::size_t noise, std::span<const float> logits,
                       float* action) const noexcept GANGLION_NONBLOCKING;

  Sampling sampling_;
  std::vector<Row> rows_;
};

}  // namespace ganglion::realtime
