#pragma once

// Who signed a contract, and with it program and weights, and whose signature a user insists on.

#include <filesystem>
#include <string>
#include <string_view>

namespace ganglion::detail {

/// Throws `Error` (digest_mismatch) unless the signature in a contract's text is that of the text, made with the
/// private half of the key. Both are in hexadecimal, as the text has them.
void check_signature(std::string_view text, std::string_view public_key, std::string_view signature);

/// Throws `Error`: where `keys` names a file with public keys (PEM), and `signer` is none of them.
void check_signer(const std::string& signer, const std::filesystem::path& keys, const std::string& file);

}  // namespace ganglion::detail
