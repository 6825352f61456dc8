// Raw states through an adapter: what it is given in which order, every kind of array, and files that are none. That
// NumPy reads what is written, and that a flight is read, is in tests/python/wiring/test_adapter_check.py.

#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <ganglion/adapter_check.hpp>
#include <limits>
#include <string>
#include <vector>

#include "check.hpp"
#include "wiring/npz.hpp"

namespace {

namespace fs = std::filesystem;
namespace wiring = ganglion::wiring;
using ganglion::Error;
using ganglion::ErrorCode;
using ganglion::RawState;

/// A folder that is gone afterwards.
struct Folder {
  fs::path path = fs::temp_directory_path() / ("ganglion-adapter-" + std::to_string(getpid()));
  Folder() { fs::create_directories(path); }
  ~Folder() { fs::remove_all(path); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
};

template <class Number>
wiring::Npy array(const char* descr, std::vector<std::size_t> shape, const std::vector<Number>& numbers) {
  return wiring::make_npy(descr, std::move(shape), std::as_bytes(std::span(numbers)));
}

std::string text_of(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

wiring::Arrays read(const fs::path& path) {
  const std::string text = text_of(path);
  return wiring::read_npz(std::as_bytes(std::span(text.data(), text.size())));
}

/// Three steps of two joints, the last one after a reset.
wiring::Arrays three_steps() {
  wiring::Arrays arrays;
  arrays.emplace("qpos", array<double>("<f8", {3, 2}, {0.1, 1.0, 2.0, 3.0, 4.0, 5.0}));
  arrays.emplace("action", array<float>("<f4", {3, 1}, {7.0F, 8.0F, 9.0F}));
  arrays.emplace("reset", array<std::uint8_t>("|b1", {3}, {0, 0, 1}));
  return arrays;
}

TEST_CASE("an adapter with a memory is given steps in order, and told of resets before them") {
  const Folder folder;
  wiring::write_npz(folder.path / "raw.npz", three_steps());
  float last = -1.0F;
  std::string order;
  const auto done = ganglion::check_adapter(
      folder.path / "raw.npz", folder.path / "out.npz", 2,
      [&](const RawState& raw, std::span<float> observation) {
        order += std::to_string(raw.step()) + (raw.reset() ? "r" : "") + " ";
        observation[0] = static_cast<float>(raw["qpos"][1]);
        observation[1] = last;
        last = raw.as_float("action")[0];
      },
      [&] {
        order += "reset ";
        last = 0.0F;
      });
  CHECK_EQUAL(order, "reset 0r 1 reset 2r ");
  CHECK_EQUAL(done.steps, 3U);
  CHECK_EQUAL(done.rows, 1U);
  CHECK_EQUAL(done.resets, 2U);
  const wiring::Arrays found = read(folder.path / "out.npz");
  CHECK_EQUAL(found.at("observation").numbers(), (std::vector<double>{1.0, 0.0, 3.0, 7.0, 5.0, 0.0}));
  CHECK_EQUAL(found.at("observation").shape, (std::vector<std::size_t>{3, 2}));
  CHECK_EQUAL(found.at("action").numbers(), (std::vector<double>{7.0, 8.0, 9.0}));
  CHECK_EQUAL(found.at("reset").numbers(), (std::vector<double>{0.0, 0.0, 1.0}));
  CHECK(!found.contains("qpos"));
}

TEST_CASE("several robots come one after the other, each from its beginning") {
  const Folder folder;
  wiring::Arrays arrays;
  arrays.emplace("observation", array<float>("<f4", {2, 3, 1}, {0, 0, 0, 0, 0, 0}));
  arrays.emplace("q", array<double>("<f8", {2, 3, 1}, {1, 2, 3, 4, 5, 6}));
  arrays.emplace("reset", array<std::uint8_t>("|b1", {2, 3}, {1, 1, 1, 0, 1, 0}));
  wiring::write_npz(folder.path / "raw.npz", arrays);
  int resets = 0;
  const auto done = ganglion::check_adapter(
      folder.path / "raw.npz", folder.path / "out.npz", 1,
      [&](const RawState& raw, std::span<float> observation) {
        observation[0] = static_cast<float>(100 * raw.row()) + raw.as_float("q")[0] + 0.5F * static_cast<float>(resets);
      },
      [&] { ++resets; });
  CHECK_EQUAL(done.rows, 3U);
  CHECK_EQUAL(done.resets, 4U);
  const wiring::Npy found = read(folder.path / "out.npz").at("observation");
  CHECK_EQUAL(found.shape, (std::vector<std::size_t>{2, 3, 1}));
  CHECK_EQUAL(found.numbers(), (std::vector<double>{1.5, 103.0, 205.0, 4.5, 106.5, 208.0}));
}

TEST_CASE("every kind of number, in both byte orders and both orders of the axes") {
  const auto numbers = [](const wiring::Npy& made) { return wiring::read_npy(made.text, "it").numbers(); };
  CHECK_EQUAL(numbers(array<std::int16_t>("<i2", {2}, {-3, 300})), (std::vector<double>{-3, 300}));
  CHECK_EQUAL(numbers(array<std::uint64_t>("<u8", {1}, {std::uint64_t{1} << 40})),
              (std::vector<double>{1099511627776.}));
  // binary16: 1.5, -2^-24, infinity
  const auto halves = numbers(array<std::uint16_t>("<f2", {3}, {0x3E00, 0x8001, 0x7C00}));
  CHECK_EQUAL(halves[0], 1.5);
  CHECK_EQUAL(halves[1], -std::ldexp(1.0, -24));
  CHECK(std::isinf(halves[2]));
  CHECK_EQUAL(numbers(array<std::uint8_t>(">i2", {2}, {0x01, 0x02, 0xFF, 0xFE})), (std::vector<double>{258, -2}));
  wiring::Npy columns = array<float>("<f4", {2, 3}, {1, 4, 2, 5, 3, 6});
  columns.text.replace(columns.text.find("False"), 5, "True ");
  CHECK_EQUAL(numbers(columns), (std::vector<double>{1, 2, 3, 4, 5, 6}));
}

TEST_CASE("bad input is named, and nothing is written") {
  const Folder folder;
  const fs::path raw = folder.path / "raw.npz";
  const fs::path out = folder.path / "out.npz";
  wiring::write_npz(raw, three_steps());
  std::ofstream(out) << "kept";
  const auto run = [&](const ganglion::Adapter& adapter, std::size_t size = 1) {
    return ganglion::check_adapter(raw, out, size, adapter);
  };
  const auto reads = [](const char* name) {
    return [name](const RawState& state, std::span<float> observation) { observation[0] = state.as_float(name)[0]; };
  };
  CHECK_ERROR(run(reads("qvel")), ErrorCode::bad_artifact, "no 'qvel'; it has 'action', 'qpos', 'reset'");
  CHECK_ERROR(run(reads("observation")), ErrorCode::bad_artifact, "what training saw");
  CHECK_ERROR(run(reads("qpos"), 2), ErrorCode::bad_option, "element 1 in step 0: it did not write it");
  const auto divides = [](const RawState& state, std::span<float> observation) {
    observation[0] = 1.0F / (static_cast<float>(state.step()) - 1.0F);
  };
  CHECK_ERROR(run(divides), ErrorCode::bad_option, "element 0 in step 1: it is NaN or infinite");
  CHECK_ERROR(run(reads("qpos"), 0), ErrorCode::bad_option, "observation_size is 0");
  CHECK_ERROR(ganglion::check_adapter(folder.path / "none.npz", out, 1, reads("qpos")), ErrorCode::file_not_found,
              "no such file");
  const auto thrown = check::caught<std::out_of_range>(
      [&] { run([](const RawState&, std::span<float>) { throw std::out_of_range("mine"); }); });
  CHECK_EQUAL(thrown.size(), 1U);
  CHECK_EQUAL(text_of(out), "kept");

  const std::string whole = text_of(raw);
  for (std::size_t length = 1; length < whole.size(); length += 7) {
    std::ofstream(raw, std::ios::binary) << whole.substr(0, length);
    CHECK(check::caught<Error>([&] { run(reads("qpos")); }).size() == 1);
  }
  std::string flipped = whole;
  flipped[whole.find("\x9A\x99\x99")] ^= 1;  // a bit of qpos
  std::ofstream(raw, std::ios::binary) << flipped;
  CHECK_ERROR(run(reads("qpos")), ErrorCode::bad_artifact, "array 'qpos' is damaged");
  std::ofstream(raw, std::ios::binary) << "no recording";
  CHECK_ERROR(run(reads("qpos")), ErrorCode::bad_artifact, "neither a .npz of raw states");

  wiring::Arrays arrays = three_steps();
  arrays.emplace("qvel", array<float>("<f4", {2, 1}, {1, 2}));
  wiring::write_npz(raw, arrays);
  CHECK_ERROR(run(reads("qvel")), ErrorCode::bad_artifact, "'qvel' is [2, 1]; a state has one entry for each of the 3");
  arrays.erase("reset");
  arrays.erase("action");
  wiring::write_npz(raw, arrays);
  CHECK_ERROR(run(reads("qvel")), ErrorCode::bad_artifact, "'qpos' has 3 steps and 'qvel' has 2");
  wiring::write_npz(raw, three_steps());
  CHECK_ERROR(ganglion::check_adapter(raw, folder.path / "no" / "out.npz", 1, reads("qpos")),
              ErrorCode::recording_failed, "out.npz' cannot be written");
  for (const auto& entry : fs::directory_iterator(folder.path)) CHECK(entry.path().filename().string()[0] != '.');
}

}  // namespace

int main() { return check::run_all(); }
