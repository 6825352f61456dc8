#pragma once

// A program packed for one CPU and one batch size, and the sessions that run it.

#include <array>
#include <cstddef>
#include <memory>
#include <vector>

#include "native/kernels/table.hpp"
#include "native/plan.hpp"
#include "native/program.hpp"
#include "realtime/memory.hpp"

namespace ganglion::native {

/// A step before its session gave it addresses.
struct PlannedStep {
  Step step;
  Place in[3];
  Place out[2];
  std::uint8_t inputs = 0;
  std::uint8_t outputs = 0;
  bool has_scratch = false;
  std::size_t scratch = 0;  ///< floats from the start of the arena
};

/// Packed weights and the plan of a step; immutable, shared by sessions.
class Model {
 public:
  /// Null where memory is short or the program asks for an absurd amount of it. Reads the tensors of `program` only
  /// here: their bytes may go away afterwards.
  [[nodiscard]] static std::shared_ptr<const Model> make(const Program& program, std::size_t batch,
                                                         const KernelTable& kernels, bool lock_memory);

  [[nodiscard]] const std::vector<PlannedStep>& steps() const noexcept { return steps_; }
  [[nodiscard]] const realtime::Memory& memory() const noexcept { return memory_; }
  [[nodiscard]] std::size_t arena_floats() const noexcept { return arena_floats_; }
  [[nodiscard]] const std::vector<Guard>& guards() const noexcept { return guards_; }
  [[nodiscard]] bool lock_memory() const noexcept { return lock_memory_; }

 private:
  friend class Builder;
  std::vector<PlannedStep> steps_;
  std::vector<ConvolutionPlan> convolutions_;
  realtime::Memory memory_;
  std::size_t arena_floats_ = 0;
  std::vector<Guard> guards_;
  bool lock_memory_ = false;
};

/// Where a session reads and writes. In phase p it reads state[p] and writes state[1 - p] and outputs[1 - p].
struct SessionBuffers {
  const float* observation = nullptr;
  std::array<float*, 2> state{};
  std::array<float*, 2> outputs{};
};

/// A model with an arena and buffers of its own. One thread at a time.
class Session {
 public:
  /// Null where memory is short.
  [[nodiscard]] static std::unique_ptr<Session> make(std::shared_ptr<const Model> model, const SessionBuffers& buffers);

  void run(std::size_t phase) noexcept GANGLION_NONBLOCKING;

 private:
  Session(std::shared_ptr<const Model> model, realtime::Memory arena, const SessionBuffers& buffers);

  std::shared_ptr<const Model> model_;
  realtime::Memory arena_;
  std::array<std::vector<Step>, 2> steps_;  ///< by phase
};

}  // namespace ganglion::native
