#include "io/inflate.hpp"

#include <algorithm>
#include <array>
#include <cstdint>

namespace ganglion::detail {

namespace {

constexpr unsigned longest_code = 15;
constexpr std::size_t literal_codes = 288;
constexpr std::size_t distance_codes = 30;

/// A canonical Huffman code: how many codes there are of each length, and their symbols in the order of the codes.
class Code {
 public:
  explicit Code(std::span<const std::uint8_t> lengths) {
    for (const std::uint8_t length : lengths) ++counts_[length];
    counts_[0] = 0;
    std::array<std::uint16_t, longest_code + 1> offsets{};
    for (unsigned length = 1; length < longest_code; ++length)
      offsets[length + 1] = static_cast<std::uint16_t>(offsets[length] + counts_[length]);
    for (std::size_t symbol = 0; symbol < lengths.size(); ++symbol) {
      if (lengths[symbol] != 0) symbols_[offsets[lengths[symbol]]++] = static_cast<std::uint16_t>(symbol);
    }
    int left = 1;
    for (unsigned length = 1; length <= longest_code; ++length) {
      left = 2 * left - counts_[length];
      if (left < 0) return;
    }
    valid_ = true;
  }

  /// Whether no code stands for two symbols; a code may be incomplete.
  [[nodiscard]] bool valid() const { return valid_; }

  template <class Bits>
  [[nodiscard]] std::optional<std::size_t> symbol(Bits& bits) const {
    int code = 0;
    int first = 0;
    int index = 0;
    for (unsigned length = 1; length <= longest_code; ++length) {
      const std::optional<std::uint32_t> bit = bits.take(1);
      if (!bit) return std::nullopt;
      code |= static_cast<int>(*bit);
      const int count = counts_[length];
      if (code - count < first) return symbols_[static_cast<std::size_t>(index + code - first)];
      index += count;
      first = (first + count) << 1;
      code <<= 1;
    }
    return std::nullopt;
  }

 private:
  std::array<std::uint16_t, longest_code + 1> counts_{};
  std::array<std::uint16_t, literal_codes> symbols_{};
  bool valid_ = false;
};

class Bits {
 public:
  explicit Bits(std::span<const std::byte> stream) : stream_(stream) {}

  /// The next bits, the first of them lowest; none at the end of the stream. At most 24.
  [[nodiscard]] std::optional<std::uint32_t> take(unsigned count) {
    while (held_ < count) {
      if (next_ == stream_.size()) return std::nullopt;
      buffer_ |= static_cast<std::uint32_t>(stream_[next_++]) << held_;
      held_ += 8;
    }
    const std::uint32_t value = buffer_ & ((1U << count) - 1U);
    buffer_ >>= count;
    held_ -= count;
    return value;
  }

  void drop_to_byte() {
    buffer_ = 0;
    held_ = 0;
  }

 private:
  std::span<const std::byte> stream_;
  std::size_t next_ = 0;
  std::uint32_t buffer_ = 0;
  unsigned held_ = 0;
};

class Inflater {
 public:
  Inflater(std::span<const std::byte> stream, std::size_t size) : bits_(stream), size_(size) {}

  [[nodiscard]] std::optional<std::string> run() {
    for (std::uint32_t last = 0; last == 0;) {
      const auto header = bits_.take(3);
      if (!header) return std::nullopt;
      last = *header & 1U;
      if (!block(*header >> 1U)) return std::nullopt;
    }
    if (text_.size() != size_) return std::nullopt;
    return std::move(text_);
  }

 private:
  [[nodiscard]] bool block(std::uint32_t kind) {
    if (kind == 0) return stored();
    if (kind == 1) return packed(fixed_literals(), Code(std::array<std::uint8_t, distance_codes>(fives())));
    return kind == 2 && dynamic();
  }

  [[nodiscard]] bool stored() {
    bits_.drop_to_byte();
    const auto length = bits_.take(16);
    const auto inverted = bits_.take(16);
    if (!length || !inverted || *length != (~*inverted & 0xFFFFU)) return false;
    for (std::uint32_t i = 0; i < *length; ++i) {
      const auto byte = bits_.take(8);
      if (!byte || !put(static_cast<char>(*byte))) return false;
    }
    return true;
  }

  static Code fixed_literals() {
    std::array<std::uint8_t, literal_codes> lengths{};
    const auto fill = [&lengths](std::size_t begin, std::size_t end, std::uint8_t length) {
      for (std::size_t i = begin; i < end; ++i) lengths[i] = length;
    };
    fill(0, 144, 8);
    fill(144, 256, 9);
    fill(256, 280, 7);
    fill(280, literal_codes, 8);
    return Code(lengths);
  }

  static std::array<std::uint8_t, distance_codes> fives() {
    std::array<std::uint8_t, distance_codes> lengths{};
    lengths.fill(5);
    return lengths;
  }

  [[nodiscard]] bool dynamic() {
    static constexpr std::array<std::uint8_t, 19> order{16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                                        11, 4,  12, 3, 13, 2, 14, 1, 15};
    const auto header = bits_.take(14);
    if (!header) return false;
    const std::size_t literals = 257 + (*header & 31U);
    const std::size_t distances = 1 + ((*header >> 5U) & 31U);
    const std::size_t lengths_of_lengths = 4 + (*header >> 10U);
    if (literals > 286 || distances > distance_codes) return false;
    std::array<std::uint8_t, 19> short_lengths{};
    for (std::size_t i = 0; i < lengths_of_lengths; ++i) {
      const auto length = bits_.take(3);
      if (!length) return false;
      short_lengths[order[i]] = static_cast<std::uint8_t>(*length);
    }
    const Code code(short_lengths);
    if (!code.valid()) return false;
    std::array<std::uint8_t, literal_codes + distance_codes> lengths{};
    for (std::size_t filled = 0; filled < literals + distances;) {
      const auto symbol = code.symbol(bits_);
      if (!symbol) return false;
      if (*symbol < 16) {
        lengths[filled++] = static_cast<std::uint8_t>(*symbol);
        continue;
      }
      if (*symbol == 16 && filled == 0) return false;
      const std::uint8_t repeated = *symbol == 16 ? lengths[filled - 1] : std::uint8_t{0};
      constexpr std::array<unsigned, 3> widths{2, 3, 7};  // of the symbols 16, 17 and 18
      const auto more = bits_.take(widths[*symbol - 16]);
      if (!more) return false;
      const std::size_t times = *more + (*symbol == 18 ? 11U : 3U);
      if (filled + times > literals + distances) return false;
      std::fill_n(lengths.begin() + static_cast<std::ptrdiff_t>(filled), times, repeated);
      filled += times;
    }
    const std::span<const std::uint8_t> all(lengths);
    return packed(Code(all.first(literals)), Code(all.subspan(literals, distances)));
  }

  [[nodiscard]] bool packed(const Code& literals, const Code& distances) {
    static constexpr std::array<std::uint16_t, 29> length_base{3,  4,  5,  6,   7,   8,   9,   10,  11, 13,
                                                               15, 17, 19, 23,  27,  31,  35,  43,  51, 59,
                                                               67, 83, 99, 115, 131, 163, 195, 227, 258};
    static constexpr std::array<std::uint16_t, distance_codes> distance_base{
        1,   2,   3,   4,   5,   7,    9,    13,   17,   25,   33,   49,   65,    97,    129,
        193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
    if (!literals.valid() || !distances.valid()) return false;
    while (true) {
      const auto symbol = literals.symbol(bits_);
      if (!symbol) return false;
      if (*symbol == 256) return true;
      if (*symbol < 256) {
        if (!put(static_cast<char>(*symbol))) return false;
        continue;
      }
      const std::size_t length_symbol = *symbol - 257;
      if (length_symbol >= length_base.size()) return false;
      const unsigned more_length =
          length_symbol < 8 || length_symbol == 28 ? 0 : static_cast<unsigned>(length_symbol / 4 - 1);
      const auto length_bits = bits_.take(more_length);
      const auto distance_symbol = distances.symbol(bits_);
      if (!length_bits || !distance_symbol || *distance_symbol >= distance_base.size()) return false;
      const unsigned more_distance = *distance_symbol < 4 ? 0 : static_cast<unsigned>(*distance_symbol / 2 - 1);
      const auto distance_bits = bits_.take(more_distance);
      if (!distance_bits) return false;
      const std::size_t distance = distance_base[*distance_symbol] + *distance_bits;
      if (distance > text_.size()) return false;
      for (std::size_t i = length_base[length_symbol] + *length_bits; i > 0; --i) {
        if (!put(text_[text_.size() - distance])) return false;
      }
    }
  }

  [[nodiscard]] bool put(char byte) {
    if (text_.size() == size_) return false;
    text_ += byte;
    return true;
  }

  Bits bits_;
  std::size_t size_;
  std::string text_;
};

}  // namespace

std::optional<std::string> inflate(std::span<const std::byte> stream, std::size_t size) {
  return Inflater(stream, size).run();
}

}  // namespace ganglion::detail
