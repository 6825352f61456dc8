#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace ganglion::detail {

using PublicKey = std::array<std::uint8_t, 32>;
using Signature = std::array<std::uint8_t, 64>;

/// Whether a signature of a message was made with the private half of a key: Ed25519 of RFC 8032. The arithmetic of the
/// curve is Monocypher's.
[[nodiscard]] bool is_signed_by(const PublicKey& key, const Signature& signature, std::span<const std::byte> message);

}  // namespace ganglion::detail
