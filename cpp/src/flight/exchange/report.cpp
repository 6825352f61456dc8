#include "flight/exchange/report.hpp"

#include <bit>
#include <sstream>

namespace ganglion {

const char* to_string(StateHandOver state) noexcept {
  constexpr const char* names[] = {"fresh", "burned_in", "copied"};
  return names[static_cast<std::size_t>(state)];
}

const char* to_string(SwitchPhase phase) noexcept {
  constexpr const char* names[] = {"flying", "shadowing", "blending", "returning", "keeping"};
  return names[static_cast<std::size_t>(phase)];
}

const char* to_string(SwitchOutcome outcome) noexcept {
  constexpr const char* names[] = {"none", "took_over", "diverged", "failed", "withdrawn", "rolled_back"};
  return names[static_cast<std::size_t>(outcome)];
}

std::string SwitchReport::sentence() const {
  std::ostringstream text;
  text << to_string(phase) << ", step " << steps << "; the newest candidate ";
  const auto farthest = [&] {
    text << difference << " in element " << element << " of row " << row << " at step " << step;
  };
  switch (outcome) {
    case SwitchOutcome::none:
      if (phase == SwitchPhase::flying) return to_string(phase) + std::string(", step ") + std::to_string(steps);
      text << "has agreed for " << agreeing << " steps in a row, and was off by at most ";
      farthest();
      break;
    case SwitchOutcome::took_over:
      text << "took over, and had been off by at most ";
      farthest();
      break;
    case SwitchOutcome::diverged:
      text << "was rejected: it was off by ";
      farthest();
      break;
    case SwitchOutcome::failed:
      text << "was rejected: it answered " << to_string(status) << " at step " << step;
      break;
    case SwitchOutcome::withdrawn:
      text << "was withdrawn";
      break;
    case SwitchOutcome::rolled_back:
      text << "was rolled back";
      break;
  }
  return text.str();
}

namespace flight {

void PublishedReport::publish(const SwitchReport& report) noexcept GANGLION_NONBLOCKING {
  const std::uint64_t writes = writes_.load(std::memory_order_relaxed);
  const std::array<std::uint64_t, count> words{static_cast<std::uint64_t>(report.phase) |
                                                   static_cast<std::uint64_t>(report.outcome) << 8 |
                                                   static_cast<std::uint64_t>(report.status) << 16,
                                               report.steps,
                                               report.exchanges,
                                               report.rejections,
                                               report.roll_backs,
                                               report.agreeing,
                                               report.step,
                                               report.row,
                                               report.element,
                                               std::bit_cast<std::uint32_t>(report.difference)};
  writes_.store(writes + 1, std::memory_order_relaxed);
  for (std::size_t i = 0; i < count; ++i) words_[i].store(words[i], std::memory_order_release);
  writes_.store(writes + 2, std::memory_order_release);
}

SwitchReport PublishedReport::read() const noexcept GANGLION_NONBLOCKING {
  std::array<std::uint64_t, count> words{};
  while (true) {
    const std::uint64_t before = writes_.load(std::memory_order_acquire);
    for (std::size_t i = 0; i < count; ++i) words[i] = words_[i].load(std::memory_order_acquire);
    if (before % 2 == 0 && writes_.load(std::memory_order_relaxed) == before) break;
  }
  return {.phase = static_cast<SwitchPhase>(words[0] & 0xFF),
          .outcome = static_cast<SwitchOutcome>(words[0] >> 8 & 0xFF),
          .status = static_cast<Status>(words[0] >> 16 & 0xFF),
          .steps = words[1],
          .exchanges = words[2],
          .rejections = words[3],
          .roll_backs = words[4],
          .agreeing = words[5],
          .step = words[6],
          .row = static_cast<std::size_t>(words[7]),
          .element = static_cast<std::size_t>(words[8]),
          .difference = std::bit_cast<float>(static_cast<std::uint32_t>(words[9]))};
}

}  // namespace flight

}  // namespace ganglion
