#pragma once

// Lists of words, and errors that name a file.

#include <algorithm>
#include <span>
#include <string>
#include <string_view>

#include "ganglion/error.hpp"

namespace ganglion::detail {

[[nodiscard]] inline bool is_digit(char letter) { return letter >= '0' && letter <= '9'; }

[[nodiscard]] inline bool is_one_of(std::span<const char* const> words, std::string_view word) {
  return std::any_of(words.begin(), words.end(), [word](const char* known) { return word == known; });
}

/// Whether a text of words between blanks holds the word.
[[nodiscard]] inline bool has_word(std::string_view text, std::string_view word) {
  for (std::size_t at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) {
    const std::size_t end = at + word.size();
    if ((at == 0 || text[at - 1] == ' ') && (end == text.size() || text[end] == ' ')) return true;
  }
  return false;
}

/// Does `work`; an `Error` that it throws names the file.
template <class Work>
auto naming(const std::string& file, const Work& work) {
  try {
    return work();
  } catch (const Error& error) {
    throw Error(error.code(), "'" + file + "': " + error.what());
  }
}

}  // namespace ganglion::detail
