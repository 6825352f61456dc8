#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace ganglion::detail {

/// SHA-256 (FIPS 180-4), fed piece by piece.
class Sha256 {
 public:
  Sha256() : Sha256(true) {}
  /// With the instructions that the CPU has for it, where it has them; or without.
  explicit Sha256(bool with_instructions);

  void update(std::span<const std::byte> bytes);
  /// The digest in lower-case hexadecimal; the object is used up.
  [[nodiscard]] std::string hex_digest();

 private:
  using State = std::array<std::uint32_t, 8>;
  using Compress = void(State& state, const std::byte* blocks, std::size_t count);

  static Compress compress_plainly;
  static Compress compress_with_instructions;
  static bool cpu_has_instructions() noexcept;

  Compress* compress_;
  State state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<std::byte, 64> block_{};
  std::uint64_t length_ = 0;
};

}  // namespace ganglion::detail
