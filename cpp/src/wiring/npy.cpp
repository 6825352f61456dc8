#include "wiring/npy.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <numeric>
#include <optional>

#include "ganglion/error.hpp"
#include "io/words.hpp"

namespace ganglion::wiring {

namespace {

using namespace std::string_view_literals;

constexpr std::string_view magic = "\x93NUMPY"sv;
constexpr std::size_t most_axes = 32;

[[noreturn]] void refuse_array(const std::string& what, const std::string& why) {
  throw Error(ErrorCode::bad_artifact, what + ": " + why + "; record it again with numpy.savez");
}

/// What stands behind a key of the header, which is the text of a Python dictionary.
std::optional<std::string_view> value_of(std::string_view header, std::string_view key) {
  const std::size_t at = header.find("'" + std::string(key) + "':");
  if (at == std::string_view::npos) return std::nullopt;
  std::string_view rest = header.substr(at + key.size() + 3);
  rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
  return rest;
}

/// The number that a text begins with, which is taken off it; none where it has no digits, or too many.
std::optional<std::size_t> take_number(std::string_view& text) {
  constexpr std::size_t most_digits = 18;
  std::size_t digits = 0;
  std::size_t number = 0;
  while (digits < text.size() && detail::is_digit(text[digits])) {
    if (digits == most_digits) return std::nullopt;
    number = 10 * number + static_cast<std::size_t>(text[digits++] - '0');
  }
  if (digits == 0) return std::nullopt;
  text.remove_prefix(digits);
  return number;
}

std::optional<std::vector<std::size_t>> shape_of(std::string_view text) {
  if (!text.starts_with('(')) return std::nullopt;
  text.remove_prefix(1);
  std::vector<std::size_t> shape;
  while (true) {
    while (text.starts_with(' ') || text.starts_with(',')) text.remove_prefix(1);
    if (text.starts_with(')')) return shape;
    const std::optional<std::size_t> axis = take_number(text);
    if (!axis || shape.size() == most_axes) return std::nullopt;
    shape.push_back(*axis);
  }
}

/// How many bytes an array has; none where no memory is that large.
std::optional<std::size_t> bytes_of(const Npy& array) {
  std::size_t bytes = array.width;
  for (const std::size_t axis : array.shape) {
    if (axis != 0 && bytes > std::numeric_limits<std::size_t>::max() / axis) return std::nullopt;
    bytes *= axis;
  }
  return bytes;
}

template <class Number>
double number_at(const char* from, bool is_swapped) {
  std::array<char, sizeof(Number)> bytes{};
  std::memcpy(bytes.data(), from, bytes.size());
  if (is_swapped) std::reverse(bytes.begin(), bytes.end());
  Number number{};
  std::memcpy(&number, bytes.data(), sizeof(number));
  return static_cast<double>(number);
}

/// A number of IEEE binary16.
double half_at(const char* from, bool is_swapped) {
  const auto bits = static_cast<unsigned>(number_at<std::uint16_t>(from, is_swapped));
  const unsigned exponent = (bits >> 10U) & 31U;
  const unsigned mantissa = bits & 1023U;
  double size = 0.0;
  if (exponent == 31U) {
    size = mantissa == 0 ? std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
  } else {
    const unsigned digits = exponent == 0 ? mantissa : mantissa + 1024U;
    size = std::ldexp(static_cast<double>(digits), (exponent == 0 ? 1 : static_cast<int>(exponent)) - 25);
  }
  return (bits & 0x8000U) != 0 ? -size : size;
}

using Reader = double (*)(const char*, bool);

Reader reader_of(char kind, std::size_t width) {
  struct Row {
    char kind;
    std::size_t width;
    Reader read;
  };
  static constexpr Row rows[] = {
      {'f', 8, number_at<double>},        {'f', 4, number_at<float>},         {'f', 2, half_at},
      {'b', 1, number_at<std::uint8_t>},  {'i', 1, number_at<std::int8_t>},   {'i', 2, number_at<std::int16_t>},
      {'i', 4, number_at<std::int32_t>},  {'i', 8, number_at<std::int64_t>},  {'u', 1, number_at<std::uint8_t>},
      {'u', 2, number_at<std::uint16_t>}, {'u', 4, number_at<std::uint32_t>}, {'u', 8, number_at<std::uint64_t>},
  };
  for (const Row& row : rows) {
    if (row.kind == kind && row.width == width) return row.read;
  }
  return nullptr;
}

}  // namespace

bool Npy::has_numbers() const { return reader_of(kind, width) != nullptr; }

std::vector<double> Npy::numbers() const {
  const Reader read = reader_of(kind, width);
  const std::size_t count = (text.size() - begin) / width;
  std::vector<double> found(count);
  const char* const from = text.data() + begin;
  if (!is_fortran) {
    for (std::size_t i = 0; i < count; ++i) found[i] = read(from + i * width, is_big_endian);
    return found;
  }
  std::vector<std::size_t> index(shape.size(), 0);
  for (std::size_t i = 0; i < count; ++i) {  // as the elements lie: the first index runs fastest
    std::size_t to = 0;
    for (std::size_t axis = 0; axis < shape.size(); ++axis) to = to * shape[axis] + index[axis];
    found[to] = read(from + i * width, is_big_endian);
    for (std::size_t axis = 0; axis < shape.size() && ++index[axis] == shape[axis]; ++axis) index[axis] = 0;
  }
  return found;
}

Npy read_npy(std::string text, const std::string& what) {
  const std::string_view all = text;
  if (!all.starts_with(magic) || all.size() < magic.size() + 4) refuse_array(what, "it is no array of numpy.save");
  const auto byte = [all](std::size_t at) { return static_cast<std::size_t>(static_cast<unsigned char>(all[at])); };
  const std::size_t version = byte(magic.size());
  if (version < 1 || version > 3) refuse_array(what, "its format " + std::to_string(version) + " is not known");
  const std::size_t digits = version == 1 ? 2 : 4;
  const std::size_t header_at = magic.size() + 2 + digits;
  if (all.size() < header_at) refuse_array(what, "its header is cut");
  std::size_t length = 0;
  for (std::size_t i = digits; i-- > 0;) length = length * 256 + byte(magic.size() + 2 + i);
  if (length > all.size() - header_at) refuse_array(what, "its header is cut");
  const std::string_view header = all.substr(header_at, length);
  const auto descr = value_of(header, "descr");
  const auto order = value_of(header, "fortran_order");
  const auto shape_text = value_of(header, "shape");
  const auto shape = shape_text ? shape_of(*shape_text) : std::nullopt;
  if (!descr || !order || !shape) refuse_array(what, "its header is damaged");
  // '<f8'; what is no such word is a list of fields
  if (descr->size() < 4 || (*descr)[0] != '\'' || "<>|="sv.find((*descr)[1]) == std::string_view::npos) {
    refuse_array(what, "it holds records, not numbers");
  }
  std::string_view width_text = descr->substr(3);
  const std::optional<std::size_t> width = take_number(width_text);
  Npy array{.kind = (*descr)[2], .width = width.value_or(0)};
  if (array.kind == 'O') refuse_array(what, "it holds Python objects, which are a program");
  constexpr std::size_t longest = 1U << 20U;
  if (array.width == 0 || array.width > longest) refuse_array(what, "its elements have no size");
  if (array.kind == 'U') array.width *= 4;
  array.is_big_endian = (*descr)[1] == '>';
  array.is_fortran = order->starts_with("True");
  array.shape = *shape;
  array.begin = header_at + length;
  const std::size_t there = all.size() - array.begin;
  if (bytes_of(array) != there) {
    refuse_array(what, "its header announces another number of elements than the " + std::to_string(there) +
                           " bytes that are there; it is truncated or damaged");
  }
  array.text = std::move(text);
  return array;
}

Npy make_npy(std::string_view descr, std::vector<std::size_t> shape, std::span<const std::byte> elements) {
  std::string axes;
  for (const std::size_t axis : shape) axes += std::to_string(axis) + ", ";
  std::string header = "{'descr': '" + std::string(descr) + "', 'fortran_order': False, 'shape': (" + axes + "), }";
  constexpr std::size_t alignment = 64;  // of the elements: what numpy.save writes
  const std::size_t begin = magic.size() + 4;
  header.append(alignment - (begin + header.size() + 1) % alignment, ' ');
  header += '\n';
  Npy array{.kind = descr[1], .width = static_cast<std::size_t>(descr[2] - '0'), .shape = std::move(shape)};
  array.text = std::string(magic) + std::string("\1\0", 2);
  array.text += static_cast<char>(header.size() & 255U);
  array.text += static_cast<char>(header.size() >> 8U);
  array.text += header;
  array.begin = array.text.size();
  array.text.append(reinterpret_cast<const char*>(elements.data()), elements.size());
  return array;
}

}  // namespace ganglion::wiring
