#include "facade/engine_choice.hpp"

#include <string>
#include <string_view>
#include <type_traits>

#include "engines/open.hpp"
#include "facade/native_engine.hpp"
#include "ganglion/error.hpp"

namespace ganglion::detail {

#define GANGLION_ENGINE(name, suffix, realtime_safe) OpenEngine open_##name;
GANGLION_ENGINES(GANGLION_ENGINE)
#undef GANGLION_ENGINE

namespace {

EngineModel* open_on(Engine engine, const OpenRequest& request, Failure& failure) {
  switch (engine) {
    case Engine::automatic:
      break;
#define GANGLION_ENGINE(name, suffix, realtime_safe) \
  case Engine::name:                                 \
    return open_##name(request, failure);
      GANGLION_ENGINES(GANGLION_ENGINE)
#undef GANGLION_ENGINE
  }
  return nullptr;
}

/// The option <engine>_library; empty where there is none of that name.
std::filesystem::path library_for(Engine engine, LoadOptions options) {
  const std::string option = std::string(to_string(engine)) + "_library";
  std::filesystem::path library;
  for_each_option(options, [&](std::string_view name, const auto& value, const char*) {
    if constexpr (std::is_same_v<std::decay_t<decltype(value)>, std::filesystem::path>) {
      if (name == option) library = value;
    }
  });
  return library;
}

ErrorCode code_of(FailureKind kind) {
  switch (kind) {
    case FailureKind::unavailable:
      return ErrorCode::engine_unavailable;
    case FailureKind::bad_contract:
      return ErrorCode::bad_contract;
    case FailureKind::none:
    case FailureKind::bad_program:
      break;
  }
  return ErrorCode::engine_failure;
}

}  // namespace

void raise(const std::filesystem::path& path, const Failure& failure) {
  throw Error(code_of(failure.kind), "'" + path.string() + "': " + failure.sentence.c_str());
}

Engine engine_for(const std::filesystem::path& path, const char* suffix, Engine wanted) {
  std::string able;
  for (const EngineTraits& row : engine_table) {
    if (std::string_view(row.suffix) != suffix) continue;
    if (wanted == Engine::automatic || wanted == row.engine) return row.engine;
    able += std::string(row.name) + " or ";
  }
  const char* const compile = wanted == Engine::native ? "; compile it to .ganglion (ganglion compile)" : "";
  throw Error(ErrorCode::bad_option, "'" + path.string() + "': engine " + to_string(wanted) + " does not run " +
                                         path.extension().string() + " files; use " + able + "automatic" + compile);
}

const native::KernelTable* kernels_of(Engine engine, const std::filesystem::path& path, const LoadOptions& options) {
  if (engine != Engine::native) return nullptr;
  if (options.threads != 1) {
    throw Error(ErrorCode::bad_option, "'" + path.string() +
                                           "': the native engine computes a step on the thread that calls it; load it "
                                           "with threads=1, and step several policies on several threads");
  }
  return &kernels_asked_for(path.string(), options.isa);
}

std::shared_ptr<EngineModel> open_model(const std::filesystem::path& path, Engine engine,
                                        const native::KernelTable* kernels, Artifact& artifact,
                                        const LoadOptions& options) {
  if (artifact.kind == ArtifactKind::torchscript && !options.trust) {
    check_torchscript_program(artifact.bytes, path.string());
  }
  const std::filesystem::path library = library_for(engine, options);
  native::Program* const program = artifact.program ? &*artifact.program : nullptr;
  Failure failure;
  EngineModel* model =
      open_on(engine, {path, artifact.bytes, library, options.threads, options.lock_memory, kernels, program}, failure);
  if (model == nullptr) raise(path, failure);
  return std::shared_ptr<EngineModel>(model);
}

}  // namespace ganglion::detail
