#pragma once

#include <dlfcn.h>

#include <cstdint>
#include <ganglion/policy.hpp>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "caches.hpp"
#include "heap_counter.hpp"
#include "observations.hpp"
#include "times.hpp"
#include "weight_floor.hpp"

namespace ganglion::tools {

/// What takes its turn in every round: hot, in a row, and cold, with empty caches before each run.
class Contender {
 public:
  Contender() = default;
  Contender(const Contender&) = delete;
  Contender& operator=(const Contender&) = delete;
  virtual ~Contender() = default;

  void reserve(std::size_t hot, std::size_t cold) {
    hot_.reserve(hot);
    cold_.reserve(cold);
  }

  void run(int steps) {
    reset();
    for (int i = 0; i < steps; ++i) {
      const std::uint64_t before = heap_allocations();
      run_once(static_cast<std::size_t>(i), hot_);
      allocations_ += heap_allocations() - before;
    }
  }

  void run_cold(int steps, const Caches& caches) {
    for (int i = 0; i < steps; ++i) {
      caches.evict();
      run_once(static_cast<std::size_t>(i), cold_);
    }
  }

  void finish(double clock) {
    hot_.finish(clock);
    cold_.finish(clock);
  }

  [[nodiscard]] const Times& hot() const { return hot_; }
  [[nodiscard]] const Times& cold() const { return cold_; }
  [[nodiscard]] double allocations_per_step() const {
    return static_cast<double>(allocations_) / static_cast<double>(hot_.count());
  }

 private:
  virtual void reset() {}
  /// The i-th run of a turn, measured: what it takes and nothing else.
  virtual void run_once(std::size_t i, Times& times) = 0;

  Times hot_;
  Times cold_;
  std::uint64_t allocations_ = 0;
};

/// A policy with random observations, the same ones in every run of the program.
class Stepper : public Contender {
 public:
  Stepper(std::string file, std::string engine, std::size_t rows, std::size_t observations, std::size_t actions)
      : file_(std::move(file)),
        engine_(std::move(engine)),
        rows_(rows),
        observations_(rows * observations),
        action_(rows * actions) {}

  [[nodiscard]] const std::string& file() const { return file_; }
  [[nodiscard]] const std::string& engine() const { return engine_; }
  [[nodiscard]] std::size_t rows() const { return rows_; }

 protected:
  [[nodiscard]] std::span<const float> observation(std::size_t i) const { return observations_.at(i); }
  [[nodiscard]] std::span<float> action() { return action_; }

 private:
  std::string file_;
  std::string engine_;
  std::size_t rows_;
  Observations observations_;
  std::vector<float> action_;
};

/// A file on an engine of ours.
class FileStepper : public Stepper {
 public:
  /// What loading it takes, beside what a step takes.
  struct Load {
    double milliseconds;
    std::size_t resident_bytes;
  };

  FileStepper(const std::string& file, Policy policy, Load load)
      : Stepper(file, to_string(policy.engine()), policy.batch(), policy.contract().observation_size(),
                policy.contract().action_size()),
        policy_(std::move(policy)),
        load_(load) {}

  [[nodiscard]] const Load& load() const { return load_; }

 protected:
  [[nodiscard]] Policy& policy() { return policy_; }

 private:
  /// Before the i-th step of a turn, outside of what is measured.
  virtual void settle(std::size_t) {}

  void reset() override {
    settle(0);
    policy_.reset();
  }
  void run_once(std::size_t i, Times& times) override {
    if (i > 0) settle(i);
    const std::span<const float> given = observation(i);
    const std::span<float> taken = action();
    Status status = Status::ok;
    times.measure([&] { status = policy_.step(given, taken); });
    if (status != Status::ok) throw std::runtime_error("'" + file() + "': a step answered " + to_string(status));
  }

  Policy policy_;
  Load load_;
};

/// Somebody's own step in a shared library: a `policy.hpp`, or hand-written code to compare with. It exports, with C
/// linkage, `const size_t bench_observation_size`, `const size_t bench_action_size`, `void bench_reset(void)` and
/// `int bench_step(const float* observation, float* action)`, which answers 0.
class LibraryStepper : public Stepper {
 public:
  /// Throws std::runtime_error where the library cannot be opened or lacks one of them.
  [[nodiscard]] static std::unique_ptr<LibraryStepper> open(const std::string& path) {
    void* const library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);  // stays open as long as the program runs
    if (library == nullptr) throw std::runtime_error("'" + path + "' cannot be opened: " + dlerror());
    return std::unique_ptr<LibraryStepper>(new LibraryStepper(path, library));
  }

 private:
  using Step = int(const float*, float*);

  LibraryStepper(const std::string& path, void* library)
      : Stepper(path, "library", 1, *symbol<const std::size_t>(path, library, "bench_observation_size"),
                *symbol<const std::size_t>(path, library, "bench_action_size")),
        reset_(symbol<void()>(path, library, "bench_reset")),
        step_(symbol<Step>(path, library, "bench_step")) {}

  template <class Kind>
  [[nodiscard]] static Kind* symbol(const std::string& path, void* library, const char* name) {
    auto* const found = reinterpret_cast<Kind*>(dlsym(library, name));
    if (found == nullptr) throw std::runtime_error("'" + path + "' does not export " + name);
    return found;
  }

  void reset() override { reset_(); }
  void run_once(std::size_t i, Times& times) override {
    const float* const given = observation(i).data();
    float* const taken = action().data();
    int status = 0;
    times.measure([&] { status = step_(given, taken); });
    if (status != 0) throw std::runtime_error("'" + file() + "': a step answered " + std::to_string(status));
  }

  void (*reset_)();
  Step* step_;
};

/// The weights alone, read once per step.
class Floor : public Contender {
 public:
  explicit Floor(std::size_t bytes) : weights_(bytes) {}

  [[nodiscard]] std::size_t bytes() const { return weights_.bytes(); }

 private:
  void run_once(std::size_t, Times& times) override {
    times.measure([&] { weights_.read(); });
  }

  WeightFloor weights_;
};

}  // namespace ganglion::tools
