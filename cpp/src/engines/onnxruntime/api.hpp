#pragma once

// Our own declaration of the few functions of ONNX Runtime's C API that we call. The API is one table of function
// pointers that only ever grows at its end, so a position, once published, keeps its meaning. Version 17 of the table
// (ONNX Runtime 1.17) has all of them. tests/cpp/onnxruntime_slots.cpp compares every position with the official
// header where that is installed.

#include <cstddef>
#include <cstdint>

namespace ganglion::detail::ort {

struct Status;
struct Env;
struct Session;
struct SessionOptions;
struct RunOptions;
struct TypeInfo;
struct TensorInfo;
struct MemoryInfo;
struct Value;
struct Allocator;
struct IoBinding;

inline constexpr std::uint32_t api_version = 17;
inline constexpr int severity_fatal = 4;
inline constexpr int optimise_all = 99;
inline constexpr int execution_sequential = 0;
inline constexpr int element_float = 1;
inline constexpr int element_uint8 = 2;
inline constexpr int element_int32 = 6;
inline constexpr int element_int64 = 7;
inline constexpr int element_bool = 9;
inline constexpr int device_allocator = 0;
inline constexpr int memory_default = 0;

struct ApiBase {
  const void* const* (*get_api)(std::uint32_t version);
  const char* (*get_version)();
};

// X(name in OrtApi, position, result, parameters...)
#define GANGLION_ORT_FUNCTIONS(X)                                                                               \
  X(GetErrorMessage, 2, const char*, const Status*)                                                             \
  X(CreateEnv, 3, Status*, int severity, const char* name, Env**)                                               \
  X(CreateSessionFromArray, 8, Status*, const Env*, const void* file, std::size_t bytes, const SessionOptions*, \
    Session**)                                                                                                  \
  X(CreateSessionOptions, 10, Status*, SessionOptions**)                                                        \
  X(SetSessionExecutionMode, 13, Status*, SessionOptions*, int mode)                                            \
  X(SetSessionLogSeverityLevel, 22, Status*, SessionOptions*, int severity)                                     \
  X(SetSessionGraphOptimizationLevel, 23, Status*, SessionOptions*, int level)                                  \
  X(SetIntraOpNumThreads, 24, Status*, SessionOptions*, int threads)                                            \
  X(SetInterOpNumThreads, 25, Status*, SessionOptions*, int threads)                                            \
  X(SessionGetInputCount, 30, Status*, const Session*, std::size_t*)                                            \
  X(SessionGetOutputCount, 31, Status*, const Session*, std::size_t*)                                           \
  X(SessionGetInputTypeInfo, 33, Status*, const Session*, std::size_t index, TypeInfo**)                        \
  X(SessionGetOutputTypeInfo, 34, Status*, const Session*, std::size_t index, TypeInfo**)                       \
  X(SessionGetInputName, 36, Status*, const Session*, std::size_t index, Allocator*, char**)                    \
  X(SessionGetOutputName, 37, Status*, const Session*, std::size_t index, Allocator*, char**)                   \
  X(CreateRunOptions, 39, Status*, RunOptions**)                                                                \
  X(CreateTensorWithDataAsOrtValue, 49, Status*, const MemoryInfo*, void* data, std::size_t bytes,              \
    const std::int64_t* shape, std::size_t rank, int element_type, Value**)                                     \
  X(CastTypeInfoToTensorInfo, 55, Status*, const TypeInfo*, const TensorInfo**)                                 \
  X(GetTensorElementType, 60, Status*, const TensorInfo*, int*)                                                 \
  X(GetDimensionsCount, 61, Status*, const TensorInfo*, std::size_t*)                                           \
  X(GetDimensions, 62, Status*, const TensorInfo*, std::int64_t*, std::size_t count)                            \
  X(CreateCpuMemoryInfo, 69, Status*, int allocator_type, int memory_type, MemoryInfo**)                        \
  X(AllocatorFree, 76, Status*, Allocator*, void*)                                                              \
  X(GetAllocatorWithDefaultOptions, 78, Status*, Allocator**)                                                   \
  X(ReleaseStatus, 93, void, Status*)                                                                           \
  X(ReleaseMemoryInfo, 94, void, MemoryInfo*)                                                                   \
  X(ReleaseSession, 95, void, Session*)                                                                         \
  X(ReleaseValue, 96, void, Value*)                                                                             \
  X(ReleaseRunOptions, 97, void, RunOptions*)                                                                   \
  X(ReleaseTypeInfo, 98, void, TypeInfo*)                                                                       \
  X(ReleaseSessionOptions, 100, void, SessionOptions*)                                                          \
  X(AddSessionConfigEntry, 130, Status*, SessionOptions*, const char* key, const char* value)                   \
  X(RunWithBinding, 133, Status*, Session*, const RunOptions*, const IoBinding*)                                \
  X(CreateIoBinding, 134, Status*, Session*, IoBinding**)                                                       \
  X(ReleaseIoBinding, 135, void, IoBinding*)                                                                    \
  X(BindInput, 136, Status*, IoBinding*, const char* name, const Value*)                                        \
  X(BindOutput, 137, Status*, IoBinding*, const char* name, const Value*)

/// The functions by name, taken out of the library's table.
struct Api {
#define GANGLION_ORT_MEMBER(name, slot, result, ...) result (*name)(__VA_ARGS__) = nullptr;
  GANGLION_ORT_FUNCTIONS(GANGLION_ORT_MEMBER)
#undef GANGLION_ORT_MEMBER

  explicit Api(const void* const* table) {
#define GANGLION_ORT_TAKE(name, slot, result, ...) \
  name = reinterpret_cast<result (*)(__VA_ARGS__)>(const_cast<void*>(table[slot]));
    GANGLION_ORT_FUNCTIONS(GANGLION_ORT_TAKE)
#undef GANGLION_ORT_TAKE
  }
};

}  // namespace ganglion::detail::ort
