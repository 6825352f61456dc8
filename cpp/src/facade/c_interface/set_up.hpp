#pragma once

// Where exceptions end: set-up calls do their work behind `set_up`.

#include <cstddef>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include "facade/c_interface/handle.hpp"
#include "facade/c_interface/structs.hpp"
#include "ganglion.h"

namespace ganglion::c_interface {

/// The caller's buffer for a sentence.
struct Message {
  char* text;
  std::size_t size;

  /// As much of it as there is room for, cut between two characters.
  void say(std::string_view sentence) const noexcept;
};

/// A call that makes no sense.
class Refused final : public std::runtime_error {
 public:
  Refused(ganglion_status status, const std::string& sentence) : std::runtime_error(sentence), status_(status) {}

  [[nodiscard]] ganglion_status status() const noexcept { return status_; }

 private:
  ganglion_status status_;
};

/// Throws `Refused` where that is no success; `what` is the argument.
void require(ganglion_status status, const char* what);

template <class Pointer>
void require_pointer(const Pointer* pointer, const char* what) {
  if (pointer == nullptr) require(GANGLION_CALL_NULL_POINTER, what);
}

/// An array of the caller's; none may be null.
template <class Element>
std::span<Element> array_of(Element* elements, std::size_t count, const char* what) {
  if (count != 0) require_pointer(elements, what);
  return {elements, count};
}

/// The number of an enumeration, up to the last one.
template <class Enumeration>
Enumeration enumerator_of(std::int32_t number, Enumeration last, const char* what) {
  if (number < 0 || number > static_cast<std::int32_t>(last)) {
    throw Refused(GANGLION_ERROR_BAD_OPTION, std::string("'") + what + "' is " + std::to_string(number) +
                                                 ", which is none of its values; ganglion.h lists them");
  }
  return static_cast<Enumeration>(number);
}

template <class AnyHandle>
auto& held_in(AnyHandle* handle, const char* what) {
  require(checked(handle), what);
  return handle->get();
}

/// The fields of a caller's struct; the defaults where there is none.
template <class Struct>
Struct taken(const Struct* given, const Struct& defaults, const char* what) {
  Struct known = defaults;
  require(take(given, known), what);
  return known;
}

/// The status of the exception that is being handled; its sentence goes into the message.
ganglion_status caught(const char* call, const Message& message) noexcept;

/// Does `work`, which answers a status; whatever it throws is a status, too.
template <class Work>
ganglion_status set_up(const char* call, const Message& message, const Work& work) noexcept {
  message.say({});
  try {
    return work();
  } catch (...) {
    return caught(call, message);
  }
}

/// Makes a handle of what `work` gives.
template <class AnyHandle, class Work>
ganglion_status make_handle(const char* call, AnyHandle** made, const Message& message, const Work& work) noexcept {
  if (made == nullptr) {
    return set_up(call, message, []() -> ganglion_status {
      throw Refused(GANGLION_CALL_NULL_POINTER, "'the place for the new handle' is null; pass a pointer");
    });
  }
  *made = nullptr;
  return set_up(call, message, [&] {
    *made = work();
    return GANGLION_OK;
  });
}

/// Hands out a whole text, or none of it.
ganglion_status give_text(const std::string& text, char* to, std::size_t size, std::size_t* needed);

}  // namespace ganglion::c_interface
