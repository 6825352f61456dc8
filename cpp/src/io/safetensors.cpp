#include "io/safetensors.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <set>
#include <utility>

#include "ganglion/error.hpp"
#include "io/bytes.hpp"
#include "io/json.hpp"

namespace ganglion::detail {

namespace {

static_assert(std::endian::native == std::endian::little, "tensors are little-endian and used as they are");

constexpr std::uint64_t largest_header = 100'000'000;  // the limit of the safetensors library

struct DtypeEntry {
  native::Dtype dtype;
  const char* name;
  std::size_t width;
};

constexpr std::array<DtypeEntry, 4> dtypes{{{native::Dtype::f32, "F32", 4},
                                            {native::Dtype::f16, "F16", 2},
                                            {native::Dtype::i8, "I8", 1},
                                            {native::Dtype::i32, "I32", 4}}};

[[noreturn]] void refuse_file(const std::string& why) {
  throw Error(ErrorCode::bad_artifact, "the .ganglion file is damaged: " + why + "; export the policy again");
}

struct Extent {
  std::size_t begin;
  std::size_t end;
  std::string name;
};

/// One entry of the header; `section` is the data section.
native::Tensor tensor_of(const std::string& name, const Json& entry, std::span<const std::byte> section,
                         std::vector<Extent>& extents) {
  const std::string what = "tensor " + in_quotes(name);
  if (!entry.is_object() || entry.size() != 3 || !entry.contains("dtype") || !entry.contains("shape") ||
      !entry.contains("data_offsets")) {
    refuse_file(what + " needs dtype, shape and data_offsets, no more and no less");
  }
  const auto* const known = std::find_if(dtypes.begin(), dtypes.end(), [&](const DtypeEntry& candidate) {
    return entry.at("dtype").is_text(candidate.name);
  });
  if (known == dtypes.end())
    refuse_file(what + " has dtype " + shortened(entry.at("dtype")) + "; F32, F16, I8 or I32 is needed");
  native::Tensor tensor;
  tensor.dtype = known->dtype;
  const auto number = [&](const Json& value) {
    if (!value.is_number_unsigned()) refuse_file(what + " has a size or offset " + shortened(value));
    return value.get<std::uint64_t>();
  };
  const Json& offsets = entry.at("data_offsets");
  if (!entry.at("shape").is_array() || !offsets.is_array() || offsets.size() != 2) {
    refuse_file(what + " needs a list as shape and two data_offsets");
  }
  std::uint64_t bytes = known->width;
  for (const Json& axis : entry.at("shape")) {
    const std::uint64_t size = number(axis);
    if (size == 0 || size > section.size() / bytes) refuse_file(what + " has a shape that does not fit into the file");
    bytes *= size;
    tensor.shape.push_back(static_cast<std::size_t>(size));
  }
  const std::uint64_t begin = number(offsets.items().front());
  const std::uint64_t end = number(offsets.items().back());
  if (begin > end || end > section.size() || end - begin != bytes) {
    refuse_file(what + " of " + std::to_string(bytes) + " bytes is said to lie at " + std::to_string(begin) + " to " +
                std::to_string(end) + " of " + std::to_string(section.size()) + " bytes");
  }
  tensor.bytes = section.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(bytes));
  extents.push_back({static_cast<std::size_t>(begin), static_cast<std::size_t>(end), name});
  return tensor;
}

void check_extents(std::vector<Extent> extents, std::size_t size) {
  std::sort(extents.begin(), extents.end(),
            [](const Extent& a, const Extent& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
  std::size_t position = 0;
  for (const Extent& extent : extents) {
    if (extent.begin != position) {
      refuse_file("tensor " + in_quotes(extent.name) + " starts at byte " + std::to_string(extent.begin) +
                  " of the data; without hole and overlap it would at " + std::to_string(position));
    }
    position = extent.end;
  }
  if (position != size) {
    refuse_file("the tensors end at byte " + std::to_string(position) + " of the data, which has " +
                std::to_string(size));
  }
}

}  // namespace

const char* name_of(native::Dtype dtype) {
  for (const DtypeEntry& entry : dtypes) {
    if (entry.dtype == dtype) return entry.name;
  }
  return "unknown";
}

Safetensors read_safetensors(std::span<const std::byte> bytes) {
  ByteReader reader(bytes, "the .ganglion file");
  const std::uint64_t length = reader.little_endian(8);
  if (length > largest_header) {
    throw Error(ErrorCode::bad_artifact,
                "the content is not a .ganglion file (a safetensors file): it announces a header of " +
                    std::to_string(length) + " bytes; write it with ganglion.export");
  }
  const Json header = parse_json(as_text(reader.take(length)), "the header of the .ganglion file");
  const auto section = bytes.subspan(reader.position());
  if (!header.is_object()) refuse_file("its header is not a JSON object");
  Safetensors file;
  std::vector<Extent> extents;
  for (const auto& [name, entry] : header.members()) {
    if (name == "__metadata__") {
      if (!entry.is_object()) refuse_file("__metadata__ is not an object");
      for (const auto& [key, text] : entry.members()) {
        if (!text.is_string()) refuse_file("an entry of __metadata__ is not a string");
        file.metadata.emplace(key, text.get<std::string>());
      }
    } else {
      file.tensors.emplace(name, tensor_of(name, entry, section, extents));
    }
  }
  check_extents(std::move(extents), section.size());
  return file;
}

}  // namespace ganglion::detail
