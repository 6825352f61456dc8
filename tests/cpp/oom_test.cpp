// Every allocation of a set-up function fails once, and from each of them on all do: the answer is an `Error`, and
// nothing stays behind. Whatever terminates ends this program; what is not counted here, AddressSanitizer sees in its
// preset. There and in an emulator, where a run takes long (GANGLION_SHORT), one allocation fails for every way to get
// to it: those of the same call stack, in a loop, differ in what the other builds count, all of them.

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <ganglion/native_policy.hpp>
#include <ganglion/policy.hpp>
#include <map>
#include <new>
#include <numeric>
#include <string>
#include <vector>

#include "check.hpp"
#include "io/artifact.hpp"
#include "io/boundary.hpp"
#include "io/program/program.hpp"
#if defined(GANGLION_SHORT)
#include <execinfo.h>
#endif

namespace {

namespace fs = std::filesystem;
using ganglion::Error;
using ganglion::ErrorCode;
using ganglion::NativePolicy;
using ganglion::Policy;

constexpr long never = -1;

// operator new has no object to keep its count in.
long until_failure = never;  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)
bool for_ever = false;       // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)
long asked = 0;              // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)
long alive = 0;              // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)

#if defined(GANGLION_SHORT)
/// The call stacks of allocations, as hashes; not in the heap that is watched.
struct Stacks {
  static constexpr long most = 1 << 16;
  std::size_t hashes[most] = {};
  bool looks = false;

  void see(long number) noexcept {
    if (!looks || number >= most) return;
    void* frames[128];
    const int depth = backtrace(frames, 128);
    std::size_t hash = 14695981039346656037U;
    for (int i = 0; i < depth; ++i) hash = (hash ^ reinterpret_cast<std::size_t>(frames[i])) * 1099511628211U;
    hashes[number] = hash;
  }
};
Stacks stacks;  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)
#endif

bool fails() noexcept {
#if defined(GANGLION_SHORT)
  stacks.see(asked);
#endif
  ++asked;
  if (until_failure == never) return false;
  if (until_failure > 0) {
    --until_failure;
    return false;
  }
  if (!for_ever) until_failure = never;
  return true;
}

void* take(std::size_t size, std::size_t alignment) noexcept {
  if (fails()) return nullptr;
  void* const block = std::aligned_alloc(alignment, (size / alignment + 1) * alignment);
  if (block != nullptr) ++alive;
  return block;
}

void give(void* block) noexcept {
  if (block != nullptr) --alive;
  std::free(block);
}

void* or_throw(void* block) {
  if (block == nullptr) throw std::bad_alloc();
  return block;
}

}  // namespace

void* operator new(std::size_t size) { return or_throw(take(size, __STDCPP_DEFAULT_NEW_ALIGNMENT__)); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return or_throw(take(size, static_cast<std::size_t>(alignment)));
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return take(size, __STDCPP_DEFAULT_NEW_ALIGNMENT__);
}
void* operator new(std::size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return take(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* block) noexcept { give(block); }
void operator delete(void* block, std::size_t) noexcept { give(block); }
void operator delete(void* block, std::align_val_t) noexcept { give(block); }
void operator delete(void* block, std::size_t, std::align_val_t) noexcept { give(block); }

namespace {

fs::path artifact(const std::string& name) { return fs::path(GANGLION_ARTIFACTS) / name; }

std::vector<std::byte> bytes_of(const fs::path& path) {
  std::vector<std::byte> bytes(fs::file_size(path));
  std::ifstream file(path, std::ios::binary);
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  return bytes;
}

struct Found {
  long errors = 0;
  long other = 0;    ///< exceptions that are no `Error`
  long left = 0;     ///< blocks that are still there
  long unnamed = 0;  ///< errors of one failure that do not say where
};

/// One run of `work` whose allocation `number`, and with `ever` all behind it, fails.
template <class Work>
void run(const Work& work, const std::string& name, long number, bool ever, Found& found) {
  const long before = alive;
  for_ever = ever;
  until_failure = number;
  try {
    work();
    until_failure = never;
  } catch (const Error& error) {
    until_failure = never;
    ++found.errors;
    if (!ever && !check::contains(error.what(), name)) ++found.unnamed;
  } catch (...) {
    until_failure = never;
    ++found.other;
  }
  found.left += alive - before;
}

/// Which of the allocations that `work` asks for shall fail: all, or the first and the last of each call stack.
template <class Work>
std::vector<long> points_of(const Work& work) {
  asked = 0;
#if defined(GANGLION_SHORT)
  stacks.looks = true;
  work();
  stacks.looks = false;
  const long all = asked;
  CHECK(all <= Stacks::most);
  std::map<std::size_t, std::pair<long, long>> ends;
  for (long number = 0; number < all; ++number) {
    ends.try_emplace(stacks.hashes[number], number, number).first->second.second = number;
  }
  std::vector<long> points;
  for (const auto& [hash, pair] : ends) {
    points.push_back(pair.first);
    if (pair.second != pair.first) points.push_back(pair.second);
  }
  std::sort(points.begin(), points.end());
#else
  work();
  std::vector<long> points(static_cast<std::size_t>(asked));
  std::iota(points.begin(), points.end(), 0L);
#endif
  return points;
}

template <class Work>
void attack(const std::string& name, const Work& work) {
  work();  // what is made once and kept
  const std::vector<long> points = points_of(work);
  const long all = static_cast<long>(points.size());
  CHECK(all > 0);
  Found found;
  for (const long number : points) {
    run(work, name, number, false, found);
    run(work, name, number, true, found);
  }
  const std::string detail = name + ": " + std::to_string(all) + " allocations, " + std::to_string(found.errors) +
                             " errors, " + std::to_string(found.other) + " others, " + std::to_string(found.left) +
                             " blocks left, " + std::to_string(found.unnamed) + " without a name";
  check::report(found.errors == 2 * all, "allocations that fail are errors", __FILE__, __LINE__, detail);
  check::report(found.other == 0, "every exception is an Error", __FILE__, __LINE__, detail);
  check::report(found.left == 0, "nothing stays behind", __FILE__, __LINE__, detail);
  // But where the name itself finds no memory: once for the load, and once for the self-test in it.
  check::report(found.unnamed <= 12, "the error names its file", __FILE__, __LINE__, detail);
}

}  // namespace

TEST_CASE("loads of the native engine") {
  for (const char* name : {"lstm", "gaussian", "gru_batch4"}) {
    const fs::path path = artifact(std::string(name) + ".ganglion");
    attack(path, [&] { static_cast<void>(NativePolicy::load(path)); });
    attack(path, [&] { static_cast<void>(Policy::load(path)); });
    const std::vector<std::byte> bytes = bytes_of(path);
    attack("memory.ganglion", [&] { static_cast<void>(Policy::load(bytes, "memory.ganglion")); });
  }
}

TEST_CASE("loads that draw") {
  const fs::path path = artifact("gaussian.ganglion");
  ganglion::LoadOptions options;
  options.sample_seed = 1;
  attack(path, [&] { static_cast<void>(Policy::load(path, options)); });
}

TEST_CASE("copies and self-tests") {
  const fs::path path = artifact("lstm.ganglion");
  const NativePolicy native = NativePolicy::load(path);
  attack(path, [&] { static_cast<void>(native.clone()); });
  attack(path, [&] { static_cast<void>(native.self_test()); });
  const Policy policy = Policy::load(path);
  attack(path, [&] { static_cast<void>(policy.clone()); });
  attack(path, [&] { static_cast<void>(policy.self_test()); });
  attack("", [&] { static_cast<void>(policy.reading().to_json()); });
}

TEST_CASE("a copy that found no memory leaves the policy as it was") {
  Policy policy = Policy::load(artifact("lstm.ganglion"));
  attack(artifact("lstm.ganglion"), [&] { static_cast<void>(policy.clone()); });
  Policy copy = policy.clone();
  const std::vector<float> observation(policy.contract().observation_size(), 0.5F);
  std::vector<float> own(policy.contract().action_size());
  std::vector<float> copied(own.size(), -7.0F);
  CHECK_EQUAL(policy.step(observation, own), ganglion::Status::ok);
  CHECK_EQUAL(copy.step(observation, copied), ganglion::Status::ok);
  CHECK(own == copied);
}

TEST_CASE("what a file is understood as") {
  for (const char* name : {"lstm.ganglion", "lstm.onnx", "rsl_rl_lstm.onnx", "rsl_rl_gru.onnx", "lstm.pt"}) {
    const fs::path path = artifact(name);
    attack(path, [&] { static_cast<void>(ganglion::explain(path)); });
  }
}

TEST_CASE("the program of a TorchScript file, read as text") {
  for (const char* name : {"lstm.pt", "rsl_rl_lstm.pt"}) {
    const std::vector<std::byte> bytes = bytes_of(artifact(name));
    attack(name, [&] {
      ganglion::detail::at_boundary(name, [&] { ganglion::detail::check_torchscript_program(bytes, name); });
    });
  }
}

TEST_CASE("files that are refused") {
  const std::vector<std::byte> bytes = bytes_of(fs::path(GANGLION_FUZZ_CORPUS) / "bad_weight_columns.ganglion");
  const auto load = [&] { CHECK_ERROR(Policy::load(bytes, "bad.ganglion"), ErrorCode::bad_artifact, "bad.ganglion"); };
  load();
  long errors = 0;
  const long before = alive;
  for (long number = 0; number < 400; ++number) {
    for_ever = number % 2 == 0;
    until_failure = number / 2;
    try {
      static_cast<void>(Policy::load(bytes, "bad.ganglion"));
    } catch (const Error&) {
      ++errors;
    }
    until_failure = never;
  }
  CHECK_EQUAL(errors, 400);
  CHECK_EQUAL(alive, before);
}

TEST_CASE("an exception that is not ours becomes an Error") {
  const auto boundary = [](const auto& work) { ganglion::detail::at_boundary("file.pt", work); };
  CHECK_ERROR(boundary([] { throw std::bad_alloc(); }), ErrorCode::out_of_memory, "'file.pt': there is not enough");
  CHECK_ERROR(boundary([] { throw std::length_error("a vector"); }), ErrorCode::bad_artifact, "'file.pt': a vector");
  CHECK_ERROR(boundary([] { throw 7; }), ErrorCode::bad_artifact, "'file.pt': something");
  CHECK_ERROR(boundary([] { throw Error(ErrorCode::bad_option, "ours"); }), ErrorCode::bad_option, "ours");
}

int main() { return check::run_all(); }
