#include "wiring/mcap_messages.hpp"

#include <array>
#include <optional>
#include <utility>

#include "flight/mcap/compressor.hpp"
#include "flight/mcap/crc32.hpp"
#include "flight/mcap/records.hpp"
#include "ganglion/error.hpp"
#include "io/bytes.hpp"

namespace ganglion::wiring {

namespace {

using detail::ByteReader;
using flight::Opcode;

constexpr std::size_t magic_size = 8;
constexpr std::size_t encapsulation = 4;  // CDR, little-endian
constexpr std::uint64_t largest_chunk = std::uint64_t{1} << 28U;

[[noreturn]] void refuse_damaged(const std::string& why) {
  throw Error(ErrorCode::bad_artifact, "the recording is damaged: " + why + "; copy the file again");
}

std::optional<std::size_t> size_of(std::string_view type) {
  static constexpr std::pair<std::string_view, std::size_t> sizes[] = {
      {"bool", 1},  {"byte", 1},   {"char", 1},  {"int8", 1},   {"uint8", 1},   {"int16", 2},  {"uint16", 2},
      {"int32", 4}, {"uint32", 4}, {"int64", 8}, {"uint64", 8}, {"float32", 4}, {"float64", 8}};
  for (const auto& [name, size] : sizes) {
    if (name == type) return size;
  }
  return std::nullopt;
}

/// The next word of a line, which is taken off it.
std::string_view take_word(std::string_view& line) {
  line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
  const std::string_view word = line.substr(0, line.find(' '));
  line.remove_prefix(word.size());
  return word;
}

/// Null where a field has no fixed size: another program's schema.
std::optional<MessageLayout> layout_of(std::string_view schema) {
  constexpr std::size_t most_elements = std::size_t{1} << 26U;
  MessageLayout layout;
  while (!schema.empty()) {
    std::string_view line = schema.substr(0, schema.find('\n'));
    schema.remove_prefix(std::min(line.size() + 1, schema.size()));
    line = line.substr(0, line.find('#'));
    std::string_view type = take_word(line);
    const std::string_view name = take_word(line);
    if (type.empty()) continue;
    std::size_t count = 1;
    if (const std::size_t bracket = type.find('['); bracket != std::string_view::npos) {
      count = 0;
      for (const char digit : type.substr(bracket + 1, type.find(']') - bracket - 1)) {
        if (digit < '0' || digit > '9' || count > most_elements) return std::nullopt;
        count = 10 * count + static_cast<std::size_t>(digit - '0');
      }
      type = type.substr(0, bracket);
    }
    const auto size = size_of(type);
    if (!size || name.empty() || count == 0 || count > most_elements) return std::nullopt;
    layout.size = (layout.size + *size - 1) / *size * *size;
    layout.fields.emplace(name, MessageLayout::Field{std::string(type), layout.size, count});
    layout.size += *size * count;
    if (layout.size > largest_chunk) return std::nullopt;
  }
  return layout;
}

std::string take_text(ByteReader& reader) { return std::string(detail::as_text(reader.take(reader.little_endian(4)))); }

class Pass {
 public:
  Pass(const std::function<bool(std::string_view)>& wanted,
       const std::function<void(const std::string&, const MessageLayout&, std::span<const std::byte>)>& take)
      : wanted_(wanted), take_(take) {}

  /// True at the end of the data; false where there is none.
  bool file(std::span<const std::byte> bytes) {
    ByteReader reader(bytes, "the recording");
    while (!reader.at_end()) {
      const auto opcode = static_cast<Opcode>(reader.little_endian(1));
      const auto fields = reader.take(reader.little_endian(8));
      if (opcode == Opcode::data_end) return true;
      if (opcode == Opcode::chunk) {
        chunk(fields);
      } else {
        record(opcode, fields);
      }
    }
    return false;
  }

 private:
  struct Channel {
    std::string topic{};
    std::optional<MessageLayout> layout{};  ///< none: not wanted, or not ours
  };

  void record(Opcode opcode, std::span<const std::byte> fields) {
    if (opcode == Opcode::schema) schema(fields);
    if (opcode == Opcode::channel) channel(fields);
    if (opcode == Opcode::message) message(fields);
  }

  void schema(std::span<const std::byte> fields) {
    ByteReader reader(fields, "a schema of the recording");
    const std::uint64_t id = reader.little_endian(2);
    static_cast<void>(take_text(reader));
    const std::string encoding = take_text(reader);
    const std::string text = take_text(reader);
    schemas_[id] = encoding == "ros2msg" ? layout_of(text) : std::nullopt;
  }

  void channel(std::span<const std::byte> fields) {
    ByteReader reader(fields, "a channel of the recording");
    const std::uint64_t id = reader.little_endian(2);
    const std::uint64_t schema = reader.little_endian(2);
    Channel made{take_text(reader)};
    const bool is_cdr = take_text(reader) == "cdr";
    const auto known = schemas_.find(schema);
    if (is_cdr && known != schemas_.end() && wanted_(made.topic)) made.layout = known->second;
    channels_[id] = std::move(made);
  }

  void message(std::span<const std::byte> fields) {
    ByteReader reader(fields, "a message of the recording");
    const auto channel = channels_.find(reader.little_endian(2));
    if (channel == channels_.end()) refuse_damaged("a message is of no channel");
    if (!channel->second.layout) return;
    static_cast<void>(reader.take(4 + 8 + 8 + encapsulation));
    const std::size_t size = channel->second.layout->size;
    take_(channel->second.topic, *channel->second.layout, reader.take(size));
    if (!reader.at_end()) refuse_damaged("a message on '" + channel->second.topic + "' is longer than its schema says");
  }

  void chunk(std::span<const std::byte> fields) {
    ByteReader reader(fields, "a chunk of the recording");
    static_cast<void>(reader.take(8 + 8));
    const std::uint64_t size = reader.little_endian(8);
    const auto crc = static_cast<std::uint32_t>(reader.little_endian(4));
    const std::string compression = take_text(reader);
    const auto block = reader.take(reader.little_endian(8));
    if (size > largest_chunk) refuse_damaged("a chunk announces " + std::to_string(size) + " bytes");
    flight::Bytes unpacked;
    std::span<const std::byte> records_in_it = block;
    if (!compression.empty()) {
      unpacked = flight::decompressed(compression, block, static_cast<std::size_t>(size));
      records_in_it = unpacked;
    }
    if (crc != 0 && flight::crc32(records_in_it) != crc) refuse_damaged("the CRC-32 of a chunk does not match");
    ByteReader inside(records_in_it, "a chunk of the recording");
    while (!inside.at_end()) {
      const auto opcode = static_cast<Opcode>(inside.little_endian(1));
      record(opcode, inside.take(inside.little_endian(8)));
    }
  }

  const std::function<bool(std::string_view)>& wanted_;
  const std::function<void(const std::string&, const MessageLayout&, std::span<const std::byte>)>& take_;
  std::map<std::uint64_t, std::optional<MessageLayout>> schemas_;
  std::map<std::uint64_t, Channel> channels_;
};

}  // namespace

const MessageLayout::Field* MessageLayout::find(std::string_view name, std::string_view type) const {
  const auto found = fields.find(name);
  return found == fields.end() || found->second.type != type ? nullptr : &found->second;
}

void for_each_message(
    std::span<const std::byte> bytes, const std::function<bool(std::string_view)>& wanted,
    const std::function<void(const std::string&, const MessageLayout&, std::span<const std::byte>)>& take) {
  Pass pass(wanted, take);
  if (!pass.file(bytes.subspan(magic_size))) {
    throw Error(ErrorCode::bad_artifact, "the recording was cut: its end is missing; copy it again, or close it");
  }
}

}  // namespace ganglion::wiring
