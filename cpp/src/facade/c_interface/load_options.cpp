#include "facade/c_interface/load_options.hpp"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "facade/c_interface/set_up.hpp"
#include "ganglion/error.hpp"

namespace ganglion::c_interface {

namespace {

ganglion_load_options defaults() noexcept {
  const LoadOptions options;
  ganglion_load_options known{};
  known.size = sizeof(known);
  known.batch = options.batch;
  known.threads = options.threads;
  known.warmup_steps = options.warmup_steps;
  known.self_test = options.self_test ? 1 : 0;
  known.lock_memory = options.lock_memory ? 1 : 0;
  known.trust = options.trust ? 1 : 0;
  return known;
}

ganglion_hints no_hints() noexcept {
  ganglion_hints hints{};
  hints.size = sizeof(hints);
  return hints;
}

const char* text(const char* given, const char* what) {
  require_pointer(given, what);
  return given;
}

// One for each type of option: what C gives in its place.

void read(const char* given, Engine& option) {
  if (given == nullptr) return;
  const auto engine = engine_named(given);
  if (!engine) throw Error(ErrorCode::bad_option, std::string("there is no engine '") + given + "'");
  option = *engine;
}

void read(const char* given, Isa& option) {
  if (given == nullptr) return;
  const auto isa = isa_named(given);
  if (!isa) throw Error(ErrorCode::bad_option, std::string("there is no instruction set '") + given + "'");
  option = *isa;
}

void read(const char* given, std::filesystem::path& option) {
  if (given != nullptr) option = given;
}

void read(const std::uint64_t* given, std::optional<std::uint64_t>& option) {
  if (given != nullptr) option = *given;
}

void read(std::int32_t given, int& option) { option = given; }
void read(std::int32_t given, bool& option) { option = given != 0; }
void read(std::size_t given, std::size_t& option) { option = given; }

void read(const ganglion_hints* given, ReadingHints& option) {
  const ganglion_hints hints = taken(given, no_hints(), "hints");
  if (hints.state != nullptr) {
    option.state.emplace();
    for (const auto& pair : array_of(hints.state, hints.state_count, "hints.state")) {
      option.state->emplace_back(text(pair.input, "hints.state.input"), text(pair.output, "hints.state.output"));
    }
  } else if (hints.state_count != 0) {
    require(GANGLION_CALL_NULL_POINTER, "hints.state");
  }
  for (const auto& constant : array_of(hints.constants, hints.constant_count, "hints.constants")) {
    option.constants[text(constant.name, "hints.constants.name")] = constant.value;
  }
  if (hints.action != nullptr) option.action = hints.action;
  for (const auto& one : array_of(hints.observation, hints.observation_count, "hints.observation")) {
    option.observation[text(one.name, "hints.observation.name")] = one.elements;
  }
}

}  // namespace

LoadOptions load_options(const ganglion_load_options* given) {
  const ganglion_load_options known = taken(given, defaults(), "options");
  LoadOptions options;
  // A row of the table that C has no field for does not compile.
#define GANGLION_OPTION(type, name, value, what) read(known.name, options.name);
  GANGLION_LOAD_OPTIONS(GANGLION_OPTION)
#undef GANGLION_OPTION
  return options;
}

}  // namespace ganglion::c_interface

extern "C" {

ganglion_status ganglion_hints_init(ganglion_hints* hints, size_t size) noexcept {
  return ganglion::c_interface::give(ganglion::c_interface::no_hints(), hints, size);
}

ganglion_status ganglion_load_options_init(ganglion_load_options* options, size_t size) noexcept {
  return ganglion::c_interface::give(ganglion::c_interface::defaults(), options, size);
}
}
