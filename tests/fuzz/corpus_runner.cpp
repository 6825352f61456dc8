// Stands in for libFuzzer with any compiler: every file of the corpus as it is, then so many mutations of each. The
// same run every time.
//
//   fuzz_readers MUTATIONS_PER_FILE FOLDER...

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "fuzzing.hpp"
#include "io/bytes.hpp"

namespace {

namespace fs = std::filesystem;

std::mt19937 generator(1);  // NOLINT: libFuzzer's interface has no place for it

std::size_t below(std::size_t end) { return std::uniform_int_distribution<std::size_t>(0, end - 1)(generator); }

std::vector<fs::path> files_in(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

void run_file(const fs::path& path, int mutations) {
  // A sanitizer's report does not say which input it was.
  std::cout << path.filename().string() << std::endl;
  const auto bytes = ganglion::detail::read_file(path);
  const std::vector<std::uint8_t> original(reinterpret_cast<const std::uint8_t*>(bytes.data()),
                                           reinterpret_cast<const std::uint8_t*>(bytes.data()) + bytes.size());
  LLVMFuzzerTestOneInput(original.data(), original.size());
  std::vector<std::uint8_t> copy;
  for (int i = 0; i < mutations; ++i) {
    copy = original;
    std::size_t size = copy.size();
    copy.resize(size + 1024);
    for (std::size_t times = 1 + below(3); times > 0; --times) {
      size = LLVMFuzzerCustomMutator(copy.data(), size, copy.size(), static_cast<unsigned>(generator()));
    }
    LLVMFuzzerTestOneInput(copy.data(), size);
  }
}

}  // namespace

std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t most) {
  constexpr std::array<const char*, 8> pieces{"0", "1", "-1", "16777216", "4294967295", "null", "[]", "1e999"};
  if (size == 0) return 0;
  const std::size_t at = below(size);
  switch (below(5)) {
    case 0:
      data[at] = static_cast<std::uint8_t>(data[at] ^ 1U << below(8));
      return size;
    case 1:
      data[at] = static_cast<std::uint8_t>(below(256));
      return size;
    case 2: {  // a digit becomes another one: still JSON, and often still a program
      std::uint8_t* const digit =
          std::find_if(data + at, data + size, [](std::uint8_t c) { return c >= '0' && c <= '9'; });
      if (digit != data + size) *digit = static_cast<std::uint8_t>('0' + below(10));
      return size;
    }
    case 3: {
      const std::size_t count = std::min(size - at, 1 + below(16));
      std::memmove(data + at, data + at + count, size - at - count);
      return size - count;
    }
    default: {
      const char* const piece = pieces[below(pieces.size())];
      const std::size_t count = std::strlen(piece);
      if (size + count > most) return size;
      std::memmove(data + at + count, data + at, size - at);
      std::memcpy(data + at, piece, count);
      return size + count;
    }
  }
}

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "usage: fuzz_readers MUTATIONS_PER_FILE FOLDER...\n";
    return 2;
  }
  std::size_t files = 0;
  for (int i = 2; i < argc; ++i) {
    for (const fs::path& path : files_in(argv[i])) {
      run_file(path, std::atoi(argv[1]));
      ++files;
    }
  }
  std::cout << files << " files\n";
  return files == 0 ? 1 : 0;
}
