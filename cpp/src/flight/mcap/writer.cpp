#include "flight/mcap/writer.hpp"

#include <algorithm>
#include <array>

#include "flight/mcap/compressor.hpp"
#include "flight/mcap/crc32.hpp"
#include "ganglion/error.hpp"
#include "ganglion/version.hpp"

namespace ganglion::flight {

namespace {

constexpr std::string_view magic = "\x89MCAP0\r\n";
constexpr std::size_t footer_fields = 20;

void put_footer(Bytes& to, std::uint64_t summary, std::uint64_t offsets, std::uint32_t crc) {
  put_record(to, Opcode::footer, [&] {
    put_number(to, summary);
    put_number(to, offsets);
    put_number(to, crc);
  });
  put(to, bytes_of(magic));
}

void put_data_end(Bytes& to) {
  put_record(to, Opcode::data_end, [&] { put_number(to, std::uint32_t{0}); });
}

Bytes begin_of_file() {
  Bytes begin;
  put(begin, bytes_of(magic));
  put_record(begin, Opcode::header, [&] {
    put_text(begin, "ros2");
    put_text(begin, std::string("ganglion ") + version);
  });
  return begin;
}

/// What stands at the end of the file while it is written.
Bytes open_end() {
  Bytes end;
  put_data_end(end);
  put_footer(end, 0, 0, 0);
  return end;
}

/// Numbers in pairs, with the bytes that they take before them.
template <class Pairs>
void put_pairs(Bytes& to, const Pairs& pairs) {
  using Pair = Pairs::value_type;
  put_number(to, static_cast<std::uint32_t>(pairs.size() * (sizeof(Pair::first) + sizeof(Pair::second))));
  for (const auto& [first, second] : pairs) {
    put_number(to, first);
    put_number(to, second);
  }
}

}  // namespace

void McapWriter::Times::take(std::uint64_t time) noexcept {
  first = std::min(first, time);
  last = std::max(last, time);
}

void McapWriter::Times::take(const Times& other) noexcept {
  first = std::min(first, other.first);
  last = std::max(last, other.last);
}

McapWriter::McapWriter(const std::filesystem::path& path, bool overwrite)
    : file_(path, overwrite, begin_of_file(), open_end()) {}

void McapWriter::add(Topic topic) {
  const auto same = std::find_if(topics_.begin(), topics_.end(),
                                 [&](const Channel& other) { return other.topic.schema_name == topic.schema_name; });
  const std::size_t schema = same != topics_.end() ? same->schema : topics_.size() + 1;
  topics_.push_back({.topic = std::move(topic), .schema = static_cast<std::uint16_t>(schema)});
}

bool McapWriter::is_first_of_schema(std::size_t number) const { return topics_[number].schema == number + 1; }

std::uint16_t McapWriter::schemas() const {
  std::size_t count = 0;
  for (std::size_t i = 0; i < topics_.size(); ++i) count += is_first_of_schema(i) ? 1 : 0;
  return static_cast<std::uint16_t>(count);
}

void McapWriter::put_schema(Bytes& to, const Channel& channel) {
  put_record(to, Opcode::schema, [&] {
    put_number(to, channel.schema);
    put_text(to, channel.topic.schema_name);
    put_text(to, "ros2msg");
    put_text(to, channel.topic.schema);
  });
}

void McapWriter::put_channel(Bytes& to, std::size_t number) const {
  put_record(to, Opcode::channel, [&] {
    put_number(to, static_cast<std::uint16_t>(number + 1));
    put_number(to, topics_[number].schema);
    put_text(to, topics_[number].topic.name);
    put_text(to, "cdr");
    put_texts(to, {});
  });
}

void McapWriter::message(std::uint32_t topic, std::uint32_t sequence, std::uint64_t time_ns,
                         std::span<const std::byte> body) {
  constexpr std::array cdr{std::byte{0}, std::byte{1}, std::byte{0}, std::byte{0}};
  Channel& channel = topics_.at(topic);
  if (!channel.is_known) {
    put_schema(chunk_, channel);
    put_channel(chunk_, topic);
    channel.is_known = true;
  }
  channel.places.emplace_back(time_ns, chunk_.size());
  put_record(chunk_, Opcode::message, [&] {
    put_number(chunk_, static_cast<std::uint16_t>(topic + 1));
    put_number(chunk_, sequence);
    put_number(chunk_, time_ns);
    put_number(chunk_, time_ns);
    put(chunk_, cdr);
    put(chunk_, body);
  });
  chunk_times_.take(time_ns);
  ++channel.messages;
  ++chunk_messages_;
}

void McapWriter::put_chunk(Bytes& to, const Chunk& chunk, std::span<const std::byte> records, Compression compression) {
  put_record(to, Opcode::chunk, [&] {
    put_number(to, chunk.times.first);
    put_number(to, chunk.times.last);
    put_number(to, chunk.size);
    put_number(to, chunk.crc);
    put_text(to, name_of(compression));
    put_number(to, static_cast<std::uint64_t>(records.size()));
    put(to, records);
  });
}

void McapWriter::flush() {
  if (chunk_messages_ == 0) return;
  Chunk chunk{.offset = file_.size(),
              .records = chunk_.size(),
              .size = chunk_.size(),
              .crc = crc32(chunk_),
              .times = chunk_times_};
  Bytes piece;
  piece.reserve(chunk_.size() + 16 * chunk_messages_ + 32 * topics_.size() + 128);
  put_chunk(piece, chunk, chunk_, Compression::none);
  chunk.length = piece.size();
  for (std::size_t i = 0; i < topics_.size(); ++i) {
    if (topics_[i].places.empty()) continue;
    const auto number = static_cast<std::uint16_t>(i + 1);
    chunk.indexes.emplace_back(number, chunk.offset + piece.size());
    put_record(piece, Opcode::message_index, [&] {
      put_number(piece, number);
      put_pairs(piece, topics_[i].places);
    });
  }
  chunk.indexes_length = piece.size() - chunk.length;
  file_.append(piece);
  chunks_.push_back(std::move(chunk));
  for (Channel& channel : topics_) channel.places.clear();
  chunk_.clear();
  chunk_times_ = {};
  written_ += std::exchange(chunk_messages_, 0);
}

void McapWriter::attachment(const std::string& name, std::span<const std::byte> bytes, std::uint64_t time_ns) {
  flush();
  Bytes piece;
  piece.reserve(bytes.size() + name.size() + 128);
  put_record(piece, Opcode::attachment, [&] {
    put_number(piece, time_ns);
    put_number(piece, time_ns);
    put_text(piece, name);
    put_text(piece, "application/octet-stream");
    put_number(piece, static_cast<std::uint64_t>(bytes.size()));
    put(piece, bytes);
    put_number(piece, crc32(std::span(piece).subspan(record_prefix)));
  });
  const std::uint64_t offset = file_.size();
  file_.append(piece);
  attachments_.push_back({offset, piece.size(), time_ns, bytes.size(), name});
}

void McapWriter::metadata(const std::string& name, const Texts& texts) {
  flush();
  Bytes piece;
  put_record(piece, Opcode::metadata, [&] {
    put_text(piece, name);
    put_texts(piece, texts);
  });
  const std::uint64_t offset = file_.size();
  file_.append(piece);
  metadata_.push_back({offset, piece.size(), name});
}

Bytes McapWriter::summary(std::uint64_t offset, Compression compression) const {
  Bytes all;
  put_data_end(all);
  const std::size_t begin = all.size();
  std::vector<std::pair<Opcode, std::pair<std::uint64_t, std::uint64_t>>> groups;
  const auto group = [&](Opcode opcode, const auto& fill) {
    const std::size_t from = all.size();
    fill();
    if (all.size() != from) groups.push_back({opcode, {offset + from, all.size() - from}});
  };
  group(Opcode::schema, [&] {
    for (std::size_t i = 0; i < topics_.size(); ++i) {
      if (is_first_of_schema(i)) put_schema(all, topics_[i]);
    }
  });
  group(Opcode::channel, [&] {
    for (std::size_t i = 0; i < topics_.size(); ++i) put_channel(all, i);
  });
  group(Opcode::statistics, [&] {
    put_record(all, Opcode::statistics, [&] {
      Times times;
      std::vector<std::pair<std::uint16_t, std::uint64_t>> counts;
      std::uint64_t messages = 0;
      for (const Chunk& chunk : chunks_) times.take(chunk.times);
      for (std::size_t i = 0; i < topics_.size(); ++i) {
        messages += topics_[i].messages;
        counts.emplace_back(static_cast<std::uint16_t>(i + 1), topics_[i].messages);
      }
      put_number(all, messages);
      put_number(all, schemas());
      put_number(all, static_cast<std::uint32_t>(topics_.size()));
      put_number(all, static_cast<std::uint32_t>(attachments_.size()));
      put_number(all, static_cast<std::uint32_t>(metadata_.size()));
      put_number(all, static_cast<std::uint32_t>(chunks_.size()));
      put_number(all, chunks_.empty() ? 0 : times.first);
      put_number(all, times.last);
      put_pairs(all, counts);
    });
  });
  group(Opcode::chunk_index, [&] {
    for (const Chunk& chunk : chunks_) {
      put_record(all, Opcode::chunk_index, [&] {
        put_number(all, chunk.times.first);
        put_number(all, chunk.times.last);
        put_number(all, chunk.offset);
        put_number(all, chunk.length);
        put_pairs(all, chunk.indexes);
        put_number(all, chunk.indexes_length);
        put_text(all, name_of(compression));
        put_number(all, chunk.records);
        put_number(all, chunk.size);
      });
    }
  });
  group(Opcode::attachment_index, [&] {
    for (const Attachment& attachment : attachments_) {
      put_record(all, Opcode::attachment_index, [&] {
        put_number(all, attachment.offset);
        put_number(all, attachment.length);
        put_number(all, attachment.time);
        put_number(all, attachment.time);
        put_number(all, attachment.size);
        put_text(all, attachment.name);
        put_text(all, "application/octet-stream");
      });
    }
  });
  group(Opcode::metadata_index, [&] {
    for (const Metadata& metadata : metadata_) {
      put_record(all, Opcode::metadata_index, [&] {
        put_number(all, metadata.offset);
        put_number(all, metadata.length);
        put_text(all, metadata.name);
      });
    }
  });
  const std::size_t offsets = all.size();
  for (const auto& [opcode, place] : groups) {
    put_record(all, Opcode::summary_offset, [&] {
      put_number(all, opcode);
      put_number(all, place.first);
      put_number(all, place.second);
    });
  }
  // The sum goes over the summary and over the footer up to itself.
  Bytes footer;
  put_footer(footer, offset + begin, offset + offsets, 0);
  const auto summed = std::span(footer).first(record_prefix + footer_fields - sizeof(std::uint32_t));
  const std::uint32_t crc = crc32(summed, crc32(std::span(all).subspan(begin)));
  put_footer(all, offset + begin, offset + offsets, crc);
  return all;
}

void McapWriter::finish() {
  flush();
  file_.finish(summary(file_.size(), Compression::none));
}

void McapWriter::compress(Compression compression) {
  const auto compressed = compressor(compression);
  const std::filesystem::path path = file_.path();
  GrowingFile smaller(path.string() + ".part", true, begin_of_file(), open_end());
  try {
    // Everything in the order in which it stands in the file.
    struct Piece {
      std::uint64_t offset;
      std::uint64_t length;
      Chunk* chunk;
      std::uint64_t* moved;
    };
    std::vector<Piece> pieces;
    for (Chunk& chunk : chunks_) pieces.push_back({chunk.offset, chunk.length, &chunk, &chunk.offset});
    for (Attachment& one : attachments_) pieces.push_back({one.offset, one.length, nullptr, &one.offset});
    for (Metadata& one : metadata_) pieces.push_back({one.offset, one.length, nullptr, &one.offset});
    std::sort(pieces.begin(), pieces.end(), [](const Piece& a, const Piece& b) { return a.offset < b.offset; });
    const auto read = [&](std::uint64_t offset, std::uint64_t length) {
      Bytes bytes(length);
      file_.read(offset, bytes);
      return bytes;
    };
    for (const Piece& piece : pieces) {
      *piece.moved = smaller.size();
      if (piece.chunk == nullptr) {
        smaller.append(read(piece.offset, piece.length));
        continue;
      }
      Chunk& chunk = *piece.chunk;
      // The records end where the chunk ends.
      const Bytes records = compressed(read(piece.offset + piece.length - chunk.size, chunk.size));
      const Bytes indexes = read(piece.offset + piece.length, chunk.indexes_length);
      Bytes whole;
      put_chunk(whole, chunk, records, compression);
      const std::uint64_t by = chunk.offset + whole.size() - (piece.offset + piece.length);
      for (auto& [channel, offset] : chunk.indexes) offset += by;
      chunk.length = whole.size();
      chunk.records = records.size();
      put(whole, indexes);
      smaller.append(whole);
    }
    smaller.finish(summary(smaller.size(), compression));
    smaller.sync();
    smaller.rename_to(path);
  } catch (...) {
    smaller.remove();
    throw;
  }
}

}  // namespace ganglion::flight
