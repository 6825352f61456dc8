#pragma once

// Takes a .ganglion file apart and puts it together again, so that a mutation can reach what lies behind the length of
// the header and the digest.

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace fuzz {

/// The texts and the data of a .ganglion file; nothing of them needs to make sense.
struct Container {
  std::string tensors;   ///< the header's entries but for __metadata__, as a JSON object
  std::string contract;  ///< metadata "ganglion"
  std::string program;   ///< metadata "ganglion_program"
  std::string data;      ///< the bytes behind the header
};

/// None where the bytes are not even a header with both metadata entries.
[[nodiscard]] std::optional<Container> open_container(std::span<const std::byte> file);

/// The file, with a fitting length and, where the contract is one, the digests that it asks for.
[[nodiscard]] std::string close_container(Container container);

}  // namespace fuzz
