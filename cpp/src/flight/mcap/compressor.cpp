#include "flight/mcap/compressor.hpp"

#include <initializer_list>
#include <string>

#include "engines/shared_library.hpp"
#include "ganglion/error.hpp"

namespace ganglion::flight {

namespace {

constexpr const char* not_compressed = "the recording is whole, and not compressed: ";
constexpr const char* not_unpacked = "the recording cannot be unpacked: ";

template <class Function>
Function* function_of(const char* library, const char* variable, const char* name, const char* what = not_compressed) {
  std::string why;
  void* const found = detail::load_function({}, variable, {library}, name, why);
  if (found != nullptr) return reinterpret_cast<Function*>(found);
  throw Error(ErrorCode::engine_unavailable, std::string(what) + library + " was not found (" + why +
                                                 "); install it, or set " + variable + " to its path");
}

[[noreturn]] void refuse(const char* name, const char* why) {
  throw Error(ErrorCode::recording_failed, std::string(not_compressed) + name + " says " + why);
}

std::function<Bytes(std::span<const std::byte>)> zstd() {
  constexpr int level = 3;
  const auto find = [](auto* type, const char* name) {
    return function_of<std::remove_pointer_t<decltype(type)>>("libzstd.so.1", "GANGLION_ZSTD", name);
  };
  using Bound = std::size_t(std::size_t);
  using Compress = std::size_t(void*, std::size_t, const void*, std::size_t, int);
  using IsError = unsigned(std::size_t);
  using ErrorName = const char*(std::size_t);
  auto* const bound = find(static_cast<Bound*>(nullptr), "ZSTD_compressBound");
  auto* const compress = find(static_cast<Compress*>(nullptr), "ZSTD_compress");
  auto* const is_error = find(static_cast<IsError*>(nullptr), "ZSTD_isError");
  auto* const error_name = find(static_cast<ErrorName*>(nullptr), "ZSTD_getErrorName");
  return [=](std::span<const std::byte> block) {
    Bytes result(bound(block.size()));
    const std::size_t size = compress(result.data(), result.size(), block.data(), block.size(), level);
    if (is_error(size) != 0) refuse("libzstd", error_name(size));
    result.resize(size);
    return result;
  };
}

std::function<Bytes(std::span<const std::byte>)> lz4() {
  const auto find = [](auto* type, const char* name) {
    return function_of<std::remove_pointer_t<decltype(type)>>("liblz4.so.1", "GANGLION_LZ4", name);
  };
  using Bound = std::size_t(std::size_t, const void*);
  using Compress = std::size_t(void*, std::size_t, const void*, std::size_t, const void*);
  using IsError = unsigned(std::size_t);
  using ErrorName = const char*(std::size_t);
  auto* const bound = find(static_cast<Bound*>(nullptr), "LZ4F_compressFrameBound");
  auto* const compress = find(static_cast<Compress*>(nullptr), "LZ4F_compressFrame");
  auto* const is_error = find(static_cast<IsError*>(nullptr), "LZ4F_isError");
  auto* const error_name = find(static_cast<ErrorName*>(nullptr), "LZ4F_getErrorName");
  return [=](std::span<const std::byte> block) {
    Bytes result(bound(block.size(), nullptr));
    const std::size_t size = compress(result.data(), result.size(), block.data(), block.size(), nullptr);
    if (is_error(size) != 0) refuse("liblz4", error_name(size));
    result.resize(size);
    return result;
  };
}

bool unpack_zstd(std::span<const std::byte> block, Bytes& into) {
  using Decompress = std::size_t(void*, std::size_t, const void*, std::size_t);
  auto* const decompress = function_of<Decompress>("libzstd.so.1", "GANGLION_ZSTD", "ZSTD_decompress", not_unpacked);
  return decompress(into.data(), into.size(), block.data(), block.size()) == into.size();
}

bool unpack_lz4(std::span<const std::byte> block, Bytes& into) {
  const auto find = [](auto* type, const char* name) {
    return function_of<std::remove_pointer_t<decltype(type)>>("liblz4.so.1", "GANGLION_LZ4", name, not_unpacked);
  };
  using Create = std::size_t(void**, unsigned);
  using Free = std::size_t(void*);
  using Decompress = std::size_t(void*, void*, std::size_t*, const void*, std::size_t*, const void*);
  constexpr unsigned version = 100;  // LZ4F_VERSION
  auto* const create = find(static_cast<Create*>(nullptr), "LZ4F_createDecompressionContext");
  auto* const free = find(static_cast<Free*>(nullptr), "LZ4F_freeDecompressionContext");
  auto* const decompress = find(static_cast<Decompress*>(nullptr), "LZ4F_decompress");
  void* context = nullptr;
  if (create(&context, version) != 0 || context == nullptr) return false;
  std::size_t read = block.size();
  std::size_t written = into.size();
  // What is left to be read, or a negative error; in one call, because all of it is in memory.
  const std::size_t left = decompress(context, into.data(), &written, block.data(), &read, nullptr);
  free(context);
  return left == 0 && written == into.size();
}

}  // namespace

Bytes decompressed(std::string_view compression, std::span<const std::byte> block, std::size_t size) {
  Bytes result(size);
  const bool is_known = compression == "zstd" || compression == "lz4";
  if (!is_known || !(compression == "zstd" ? unpack_zstd(block, result) : unpack_lz4(block, result))) {
    throw Error(ErrorCode::bad_artifact,
                is_known ? "a chunk of the recording is damaged; copy the file again"
                         : "the recording is packed by '" + std::string(compression) + "'; zstd and lz4 are read");
  }
  return result;
}

const char* name_of(Compression compression) noexcept {
  constexpr const char* names[] = {"", "zstd", "lz4"};
  return names[static_cast<std::size_t>(compression)];
}

std::function<Bytes(std::span<const std::byte>)> compressor(Compression compression) {
  return compression == Compression::zstd ? zstd() : lz4();
}

}  // namespace ganglion::flight
