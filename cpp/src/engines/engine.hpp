#pragma once

// The wall between the facade and a third-party inference library. Only plain data crosses it: the LibTorch side is a
// library of its own, loaded at run time and possibly built with another C++ ABI.

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>

namespace ganglion::detail {

/// A named vector (outer 1) or state slot. With batch rows a state slot [outer, inner] is a tensor
/// [outer, batch, inner] inside a file, and the slice [batch, outer * inner] of the flat state outside of it.
struct TensorView {
  const char* name;
  std::size_t outer;
  std::size_t inner;

  [[nodiscard]] std::size_t size() const noexcept { return outer * inner; }
};

/// What the file calls a state slot: the input that takes it and the output that gives it back.
struct StatePorts {
  const char* input;
  const char* output;  ///< null for a slot that counts steps: the engine adds one itself
};

/// An input that always holds the same value, such as the sequence length 1.
struct ConstantInput {
  const char* name;
  double value;
};

/// Which axis of a tensor with several dynamic ones is the batch.
struct BatchAxis {
  const char* name;
  std::size_t axis;
};

/// The part of a contract that an engine needs, as plain data; the owner keeps the arrays alive.
struct Signature {
  std::span<const TensorView> inputs;
  std::span<const TensorView> outputs;
  std::span<const TensorView> state;
  const float* initial_state;           ///< [hidden_size]
  std::size_t batch;                    ///< 0 in an inferred signature: any
  std::span<const StatePorts> ports{};  ///< one per state slot, where the file keeps its state in tensors
  std::span<const ConstantInput> constants{};
  std::span<const BatchAxis> batch_axes{};  ///< of every other tensor it is the first dynamic one
};

/// How many elements an observation of a file has; named "" where there is one.
struct NamedSize {
  const char* name;
  std::size_t size;
};

/// What the user said of a file without a contract.
struct InferenceHints {
  const std::span<const char* const>* state_names;  ///< of what holds the state, and all of it; null: recognise
  std::span<const NamedSize> observation;
};

/// Something suspicious, with its stable code.
struct InferredFinding {
  const char* code;
  const char* sentence;
};

/// What an engine recognised in a file that says nothing of itself, and how, for a human reader.
struct Inference {
  Signature signature{};
  const char* dialect = "";            ///< "rsl_rl", "legged_gym", "pyrado", ... or "unknown"
  std::span<const char* const> notes;  ///< one sentence each
  std::span<const InferredFinding> findings{};
};

/// Where a session reads and writes. Fixed addresses, owned by the facade for as long as the session lives.
/// In phase p a session reads state[p] and writes state[1 - p] and outputs[1 - p].
struct Buffers {
  const float* observation;       ///< [batch, sum of input sizes]
  std::array<float*, 2> state;    ///< [batch, hidden_size]
  std::array<float*, 2> outputs;  ///< output after output, each [batch, size]
};

enum class FailureKind : std::uint8_t { none, unavailable, bad_program, bad_contract };

/// A sentence that is kept without going to the heap; cut where it is too long.
class Sentence {
 public:
  void set(const char* text) noexcept { static_cast<void>(std::snprintf(text_.data(), text_.size(), "%s", text)); }
  [[nodiscard]] const char* c_str() const noexcept { return text_.data(); }

 private:
  std::array<char, 1024> text_{};
};

/// An error that crosses the wall: no exception does.
struct Failure {
  FailureKind kind = FailureKind::none;
  Sentence sentence;

  void set(FailureKind new_kind, const char* text) noexcept {
    kind = new_kind;
    sentence.set(text);
  }
};

/// One bound instance of a model. Not shared between threads.
class EngineSession {
 public:
  EngineSession() = default;
  EngineSession(const EngineSession&) = delete;
  EngineSession& operator=(const EngineSession&) = delete;
  virtual ~EngineSession() = default;

  /// False when the library failed; the buffers of the other phase then hold garbage and this phase's are untouched.
  [[nodiscard]] virtual bool run(std::size_t phase) noexcept = 0;
  /// The library's sentence about the last failed run; for set-up messages.
  [[nodiscard]] virtual const char* last_error() const noexcept = 0;
};

/// A loaded file; immutable, shared by the sessions made from it.
class EngineModel {
 public:
  EngineModel() = default;
  EngineModel(const EngineModel&) = delete;
  EngineModel& operator=(const EngineModel&) = delete;
  virtual ~EngineModel() = default;

  /// What a file without a contract seems to be; null with `failure` set where the readings are none or several.
  /// The answer is owned by the model. Only for files that the runtime cannot read by itself; the others do not come
  /// here.
  [[nodiscard]] virtual const Inference* infer(const InferenceHints& /*hints*/, Failure& failure) noexcept {
    failure.set(FailureKind::bad_contract, "this engine recognises nothing in a file without a contract");
    return nullptr;
  }
  /// A new session, owned by the caller; null with `failure` set where program and signature disagree.
  [[nodiscard]] virtual EngineSession* bind(const Signature& signature, const Buffers& buffers,
                                            Failure& failure) noexcept = 0;
};

/// Opens a file in memory, which may go away afterwards; null with `failure` set.
using OpenEngineModel = EngineModel* (*)(const char* file, std::size_t bytes, int threads, Failure& failure) noexcept;

/// Name of the `OpenEngineModel` function that a LibTorch engine library exports. The number changes with this header.
inline constexpr const char* libtorch_entry_point = "ganglion_open_libtorch_5";

}  // namespace ganglion::detail
