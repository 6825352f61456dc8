#include "facade/c_interface/set_up.hpp"

#include <algorithm>
#include <exception>
#include <new>

#include "ganglion/error.hpp"

namespace ganglion::c_interface {

namespace {

/// Of UTF-8, a byte inside of a character.
constexpr bool continues(char byte) noexcept { return (static_cast<unsigned char>(byte) & 0xC0U) == 0x80U; }

const char* says(ganglion_status status) noexcept {
  switch (status) {
    case GANGLION_CALL_NULL_POINTER:
      return " is null; pass a pointer";
    case GANGLION_CALL_BAD_HANDLE:
      return " is no such handle, or was destroyed before";
    case GANGLION_CALL_BAD_STRUCT:
      return " has a field 'size' that is the size of no such struct; call its _init function, or set it to sizeof";
    case GANGLION_CALL_NEWER_STRUCT:
      return " has a field set that this library does not know; take a newer libganglion, or leave the field zero";
    default:
      return " makes no sense";
  }
}

}  // namespace

void Message::say(std::string_view sentence) const noexcept {
  if (text == nullptr || size == 0) return;
  std::size_t length = std::min(sentence.size(), size - 1);
  while (length > 0 && length < sentence.size() && continues(sentence[length])) --length;
  sentence.copy(text, length);
  text[length] = '\0';
}

void require(ganglion_status status, const char* what) {
  if (status != GANGLION_OK) throw Refused(status, std::string("'") + what + "'" + says(status));
}

ganglion_status caught(const char* call, const Message& message) noexcept {
  try {
    try {
      throw;
    } catch (const Error& error) {
      message.say(error.what());
      return GANGLION_ERROR_FILE_NOT_FOUND + static_cast<ganglion_status>(error.code());
    } catch (const Refused& refused) {
      message.say(std::string(call) + ": " + refused.what());
      return refused.status();
    } catch (const std::bad_alloc&) {
      message.say("there is not enough memory; close other programs, or use a smaller policy or batch");
      return GANGLION_ERROR_OUT_OF_MEMORY;
    } catch (const std::exception& error) {
      message.say(std::string(call) + ": " + error.what());
      return GANGLION_CALL_INTERNAL;
    }
  } catch (...) {
    message.say("a fault of ganglion; please report it");
    return GANGLION_CALL_INTERNAL;
  }
}

ganglion_status give_text(const std::string& text, char* to, std::size_t size, std::size_t* needed) {
  if (needed != nullptr) *needed = text.size() + 1;
  if (size < text.size() + 1) {
    throw Refused(GANGLION_CALL_BUFFER_TOO_SMALL, "the text takes " + std::to_string(text.size() + 1) +
                                                      " bytes and the buffer has " + std::to_string(size) +
                                                      "; call again with a larger one");
  }
  require_pointer(to, "text");
  std::copy_n(text.c_str(), text.size() + 1, to);
  return GANGLION_OK;
}

}  // namespace ganglion::c_interface
