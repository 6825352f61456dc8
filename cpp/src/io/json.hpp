#pragma once

// JSON of unknown honesty.

#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace ganglion::detail {

using Json = nlohmann::json;

/// Parses strictly: a key that stands twice in one object, or too deep a nesting, is refused. `what` names the text in
/// the sentence of the `Error` (bad_artifact).
[[nodiscard]] Json parse_json(std::string_view text, const char* what);

/// A name from a file for use in a sentence: quoted, control characters replaced, cut where it is long.
[[nodiscard]] std::string in_quotes(std::string_view name);
/// The parts behind each other; a sum of strings makes the same in ten times the code.
[[nodiscard]] std::string text_of(std::initializer_list<std::string_view> parts);
/// A value as JSON, cut where it is long.
[[nodiscard]] std::string shortened(const Json& value);

}  // namespace ganglion::detail
