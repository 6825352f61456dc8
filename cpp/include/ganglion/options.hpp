#pragma once

// The engines, and what a load can be told. Each stands here once; the facade, the tools, Python and the tests read it
// from here. docs/EXTENDING.md says what else an engine takes.

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>

#include "ganglion/isa.hpp"
#include "ganglion/reading.hpp"

namespace ganglion {

// name, suffix of the files that it opens, whether its step takes no heap, no lock and no system call. Of several
// engines for one suffix, the first is the automatic one.
#define GANGLION_ENGINES(ENGINE)      \
  ENGINE(native, ".ganglion", true)   \
  ENGINE(onnxruntime, ".onnx", false) \
  ENGINE(libtorch, ".pt", false)

enum class Engine : std::uint8_t {
  automatic,
#define GANGLION_ENGINE(name, suffix, realtime_safe) name,
  GANGLION_ENGINES(GANGLION_ENGINE)
#undef GANGLION_ENGINE
};

/// One row of the table of engines.
struct EngineTraits {
  Engine engine;
  const char* name;
  const char* suffix;  ///< of the files that it opens, ".onnx"
  bool realtime_safe;  ///< its step takes no heap, no lock and no system call
};

inline constexpr std::array engine_table{
#define GANGLION_ENGINE(name, suffix, realtime_safe) EngineTraits{Engine::name, #name, suffix, realtime_safe},
    GANGLION_ENGINES(GANGLION_ENGINE)
#undef GANGLION_ENGINE
};

/// The row of an engine; null for `automatic`.
[[nodiscard]] constexpr const EngineTraits* traits_of(Engine engine) noexcept {
  for (const EngineTraits& row : engine_table) {
    if (row.engine == engine) return &row;
  }
  return nullptr;
}

/// "automatic", "native", ...; a string with static storage.
[[nodiscard]] constexpr const char* to_string(Engine engine) noexcept {
  const EngineTraits* const row = traits_of(engine);
  return row == nullptr ? "automatic" : row->name;
}

/// The inverse of `to_string`; none for any other name.
[[nodiscard]] constexpr std::optional<Engine> engine_named(std::string_view name) noexcept {
  if (name == "automatic") return Engine::automatic;
  for (const EngineTraits& row : engine_table) {
    if (name == row.name) return row.engine;
  }
  return std::nullopt;
}

// type, name, default, what it says
#define GANGLION_NATIVE_OPTIONS(OPTION)                                                                              \
  OPTION(int, warmup_steps, 20, "steps run at load; they leave no trace in the state")                               \
  OPTION(bool, self_test, true, "check that the file still follows its golden trajectory, and refuse it where not")  \
  OPTION(std::size_t, batch, 0, "rows for an artifact that takes any number; 0: what the contract says, else 1")     \
  OPTION(bool, lock_memory, false, "native: mlock weights and buffers; refuses to load where that is not allowed")   \
  OPTION(Isa, isa, Isa::automatic,                                                                                   \
         "native: the instruction set of its kernels; automatic: what the environment variable GANGLION_ISA says, "  \
         "else the fastest of this CPU. The bits are the same")                                                      \
  OPTION(std::optional<std::uint64_t>, sample_seed, std::nullopt,                                                    \
         "draw actions with this seed, from mean and log_std or from logits, and take them through the action map; " \
         "none: the mean, the best index")                                                                           \
  OPTION(std::filesystem::path, public_key, {},                                                                      \
         "file with Ed25519 public keys (PEM): refuse a file that is signed with none of them; empty: take any file")

#define GANGLION_LOAD_OPTIONS(OPTION)                                                                                  \
  OPTION(Engine, engine, Engine::automatic, "what runs it; automatic: by the kind of the file")                        \
  OPTION(int, threads, 1, "threads inside one step; the native engine has one")                                        \
  GANGLION_NATIVE_OPTIONS(OPTION)                                                                                      \
  OPTION(bool, trust, false, "LibTorch: run a .pt file whose program has what no policy needs; it may do all you may") \
  OPTION(ReadingHints, hints, {},                                                                                      \
         "what the names in a file without a contract do not tell; see also the YAML file beside it")                  \
  OPTION(std::filesystem::path, onnxruntime_library, {},                                                               \
         "libonnxruntime to open; empty: the environment variable GANGLION_ONNXRUNTIME, then the loader's path")       \
  OPTION(std::filesystem::path, libtorch_library, {},                                                                  \
         "libganglion_libtorch to open; empty: the environment variable GANGLION_LIBTORCH, then the loader's path")

#define GANGLION_OPTION(type, name, value, what) type name = value;

struct NativeOptions {
  GANGLION_NATIVE_OPTIONS(GANGLION_OPTION)
};

struct LoadOptions {
  GANGLION_LOAD_OPTIONS(GANGLION_OPTION)
};

#undef GANGLION_OPTION

/// Calls `visit(name, field, what)` for every option, for those who offer them under their names.
template <class Visit>
void for_each_option(LoadOptions& options, const Visit& visit) {
#define GANGLION_OPTION(type, name, value, what) visit(#name, options.name, what);
  GANGLION_LOAD_OPTIONS(GANGLION_OPTION)
#undef GANGLION_OPTION
}

}  // namespace ganglion
