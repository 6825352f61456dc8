#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "flight/mcap/file.hpp"
#include "flight/mcap/records.hpp"
#include "ganglion/flight_recorder.hpp"

namespace ganglion::flight {

/// One kind of messages: where they stand and what is in them.
struct Topic {
  std::string name;         ///< "/policy0/step"
  std::string schema_name;  ///< "ganglion_msgs/msg/Policy0Step"
  std::string schema;       ///< its text, ros2msg
};

/// An MCAP file while it is written. Everything throws as `GrowingFile` does.
class McapWriter {
 public:
  McapWriter(const std::filesystem::path& path, bool overwrite);

  /// Topics are numbered in the order in which they are added, from 0 on.
  void add(Topic topic);
  [[nodiscard]] std::size_t topics() const noexcept { return topics_.size(); }
  /// `body`: CDR without its first four bytes.
  void message(std::uint32_t topic, std::uint32_t sequence, std::uint64_t time_ns, std::span<const std::byte> body);
  void attachment(const std::string& name, std::span<const std::byte> bytes, std::uint64_t time_ns);
  void metadata(const std::string& name, const Texts& texts);
  /// Puts the messages so far into the file.
  void flush();
  void sync() { file_.sync(); }
  /// Index and end; nothing may follow.
  void finish();
  /// Writes a finished file once more, with compressed chunks, and replaces it.
  void compress(Compression compression);

  [[nodiscard]] std::string astray() const { return file_.astray(); }
  /// Bytes that wait for a flush.
  [[nodiscard]] std::size_t waiting() const noexcept { return chunk_.size(); }
  /// Messages in the file.
  [[nodiscard]] std::uint64_t written() const noexcept { return written_; }
  [[nodiscard]] std::uint64_t bytes() const noexcept { return file_.size(); }
  [[nodiscard]] std::uint64_t chunks() const noexcept { return chunks_.size(); }

 private:
  struct Times {
    std::uint64_t first = UINT64_MAX;
    std::uint64_t last = 0;

    void take(std::uint64_t time) noexcept;
    void take(const Times& other) noexcept;
  };
  using Places = std::vector<std::pair<std::uint64_t, std::uint64_t>>;  ///< time, offset in the chunk
  struct Channel {
    Topic topic;
    std::uint16_t schema = 0;
    bool is_known = false;  ///< its records are in a chunk
    std::uint64_t messages = 0;
    Places places{};  ///< of its messages in the chunk that is being filled
  };
  struct Chunk {
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
    std::uint64_t records = 0;  ///< bytes as they are in the file
    std::uint64_t size = 0;     ///< the same before compression
    std::uint32_t crc = 0;
    Times times{};
    std::vector<std::pair<std::uint16_t, std::uint64_t>> indexes{};  ///< channel, offset
    std::uint64_t indexes_length = 0;
  };
  struct Attachment {
    std::uint64_t offset;
    std::uint64_t length;
    std::uint64_t time;
    std::uint64_t size;
    std::string name;
  };
  struct Metadata {
    std::uint64_t offset;
    std::uint64_t length;
    std::string name;
  };

  static void put_chunk(Bytes& to, const Chunk& chunk, std::span<const std::byte> records, Compression compression);
  static void put_schema(Bytes& to, const Channel& channel);
  void put_channel(Bytes& to, std::size_t number) const;
  [[nodiscard]] bool is_first_of_schema(std::size_t number) const;
  [[nodiscard]] std::uint16_t schemas() const;
  /// Index, footer and the last bytes, for a file that has so many bytes before them.
  [[nodiscard]] Bytes summary(std::uint64_t offset, Compression compression) const;

  GrowingFile file_;
  std::vector<Channel> topics_;
  Bytes chunk_;
  Times chunk_times_;
  std::uint64_t chunk_messages_ = 0;
  std::uint64_t written_ = 0;
  std::vector<Chunk> chunks_;
  std::vector<Attachment> attachments_;
  std::vector<Metadata> metadata_;
};

}  // namespace ganglion::flight
