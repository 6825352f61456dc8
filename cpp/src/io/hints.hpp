#pragma once

// The file `<policy>.yaml` beside a policy: how to read it.

#include <filesystem>
#include <string_view>

#include "ganglion/reading.hpp"

namespace ganglion::detail {

/// `given`, completed by the file beside `policy`, where there is one. Throws `Error` (bad_option) naming file and
/// line.
[[nodiscard]] ReadingHints hints_for(const std::filesystem::path& policy, const ReadingHints& given);

/// The text of such a file; `name` stands for it in messages.
[[nodiscard]] ReadingHints parse_hints(std::string_view text, const std::string& name);

}  // namespace ganglion::detail
