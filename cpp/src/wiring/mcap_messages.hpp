#pragma once

// The messages of an MCAP file whose fields have a fixed size, of unknown honesty (mcap.dev/spec).

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>

namespace ganglion::wiring {

/// Where the fields of a message are: of a ROS 2 schema of numbers and arrays of a fixed size.
struct MessageLayout {
  struct Field {
    std::string type{};
    std::size_t offset = 0;  ///< behind the four bytes that say how it is encoded
    std::size_t count = 0;
  };
  std::map<std::string, Field, std::less<>> fields{};
  std::size_t size = 0;

  [[nodiscard]] const Field* find(std::string_view name, std::string_view type) const;
};

/// Calls `take` with every message in the order of the file: its topic, its layout, and its fields, which are as long
/// as the layout says. `wanted` says of a topic whether its messages matter. Throws `Error` (bad_artifact).
void for_each_message(std::span<const std::byte> bytes, const std::function<bool(std::string_view topic)>& wanted,
                      const std::function<void(const std::string& topic, const MessageLayout& layout,
                                               std::span<const std::byte> fields)>& take);

}  // namespace ganglion::wiring
