#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "ganglion/policy_switch.hpp"
#include "ganglion/realtime.hpp"

namespace ganglion::flight {

/// A report that one thread writes without waiting, and any other reads as a whole.
class PublishedReport {
 public:
  void publish(const SwitchReport& report) noexcept GANGLION_NONBLOCKING;
  [[nodiscard]] SwitchReport read() const noexcept GANGLION_NONBLOCKING;

 private:
  static constexpr std::size_t count = 10;

  // Odd while the words are being written. Words are released and acquired one by one, so that whoever sees a new one
  // sees the odd number, too; a fence would do, but ThreadSanitizer knows of none.
  std::atomic<std::uint64_t> writes_ = 0;
  std::array<std::atomic<std::uint64_t>, count> words_{};
};

}  // namespace ganglion::flight
