// Compares our positions in ONNX Runtime's function table with the official header. Nothing here runs: it compiles or
// it does not.

#include <onnxruntime_c_api.h>

#include "engines/onnxruntime/api.hpp"

#define GANGLION_ORT_COMPARE(name, slot, result, ...) \
  static_assert(offsetof(OrtApi, name) == (slot) * sizeof(void*), "OrtApi::" #name " is at another position");
GANGLION_ORT_FUNCTIONS(GANGLION_ORT_COMPARE)

namespace ort = ganglion::detail::ort;
static_assert(ort::api_version <= ORT_API_VERSION);
static_assert(ort::severity_fatal == ORT_LOGGING_LEVEL_FATAL);
static_assert(ort::optimise_all == ORT_ENABLE_ALL);
static_assert(ort::execution_sequential == ORT_SEQUENTIAL);
static_assert(ort::element_float == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT);
static_assert(ort::device_allocator == OrtArenaAllocator || ort::device_allocator == OrtDeviceAllocator);
static_assert(ort::memory_default == OrtMemTypeDefault);
