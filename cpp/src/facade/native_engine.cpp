#include "facade/native_engine.hpp"

#include <cstdlib>
#include <exception>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engines/open.hpp"
#include "ganglion/error.hpp"
#include "native/kernels/choice.hpp"
#include "native/model.hpp"

namespace ganglion::detail {

namespace {

class NativeSession final : public EngineSession {
 public:
  explicit NativeSession(std::unique_ptr<native::Session> session) : session_(std::move(session)) {}

  [[nodiscard]] bool run(std::size_t phase) noexcept override {
    session_->run(phase);
    return true;
  }
  [[nodiscard]] const char* last_error() const noexcept override { return ""; }

 private:
  std::unique_ptr<native::Session> session_;
};

class NativeModel final : public EngineModel {
 public:
  NativeModel(native::Program program, const native::KernelTable& kernels, bool lock_memory)
      : program_(std::move(program)), kernels_(kernels), lock_memory_(lock_memory) {}

  [[nodiscard]] EngineSession* bind(const Signature& signature, const Buffers& buffers,
                                    Failure& failure) noexcept override {
    try {
      // Packed once; every later session shares the weights and has the same batch.
      if (packed_ == nullptr) {
        packed_ = native::Model::make(program_, signature.batch, kernels_, lock_memory_);
        if (packed_ != nullptr) program_ = {};
      }
      if (packed_ != nullptr) {
        auto session = native::Session::make(packed_, {buffers.observation, buffers.state, buffers.outputs});
        if (session != nullptr) return new NativeSession(std::move(session));
      }
      // NOLINTNEXTLINE(bugprone-empty-catch): what follows says so
    } catch (const std::exception&) {
      // Memory, or a size that no vector can have. What is packed stays: other sessions have it, and the program is
      // gone.
    }
    failure.set(FailureKind::bad_program, too_little_memory(lock_memory_));
    return nullptr;
  }

 private:
  native::Program program_;
  const native::KernelTable& kernels_;
  bool lock_memory_;
  std::shared_ptr<const native::Model> packed_;
};

/// Where the slot prev_action begins in the state.
std::optional<std::size_t> applied_action_of(const Contract& contract) {
  std::size_t offset = 0;
  for (const StateSlot& slot : contract.state) {
    if (slot.name == "prev_action" && slot.size() == contract.action_size()) return offset;
    offset += slot.size();
  }
  return std::nullopt;
}

/// Where an output begins in the outputs of one row.
std::optional<std::size_t> place_of(const Contract& contract, std::string_view name, std::size_t size) {
  std::size_t offset = 0;
  for (const TensorSpec& spec : contract.outputs) {
    if (spec.name == name && spec.size == size) return offset;
    offset += spec.size;
  }
  return std::nullopt;
}

/// The parts of an action whose elements are drawn each for itself: element k from the output logits_k, the others
/// around the first output with the output log_std. Empty where outputs do not say so. Python: `drawn_parts` in
/// contract.py.
std::vector<realtime::Part> parts_of(const Contract& contract) {
  const std::size_t size = contract.action_size();
  std::vector<realtime::Part> parts;
  std::size_t normal = 0;
  if (contract.outputs[0].name != "actions") return parts;
  const auto behind_first = [&](const std::string& name, std::size_t& place) -> std::size_t {
    place = 0;
    for (std::size_t i = 1; i < contract.outputs.size(); ++i) {
      if (contract.outputs[i].name == name) return contract.outputs[i].size;
      place += contract.outputs[i].size;
    }
    return 0;
  };
  for (std::size_t element = 0; element < size; ++element) {
    realtime::Part part{realtime::Distribution::categorical, element, 0, 0, 0, 0};
    part.count = part.stride = behind_first("logits_" + std::to_string(element), part.place);
    if (part.count > 0) {
      parts.push_back(part);
    } else if (!parts.empty() && parts.back().distribution == realtime::Distribution::gaussian) {
      ++parts.back().count;
      ++normal;
    } else {
      parts.push_back({realtime::Distribution::gaussian, element, 1, 0, 0, normal++});
    }
  }
  std::size_t place = 0;
  if (normal == size || (normal > 0 && behind_first("log_std", place) != normal)) return {};
  for (realtime::Part& part : parts) {
    if (part.distribution != realtime::Distribution::gaussian) continue;
    part.place = place;
    part.stride = normal;
  }
  return parts;
}

std::optional<realtime::Distribution> distribution_of(const Contract& contract) {
  if (contract.outputs.size() < 2) return std::nullopt;
  const TensorSpec& first = contract.outputs[0];
  const TensorSpec& second = contract.outputs[1];
  if (first.name == "mean" && second.name == "log_std" && first.size == second.size) {
    return realtime::Distribution::gaussian;
  }
  if (first.size == 1 && second.name == "logits") return realtime::Distribution::categorical;
  if (!parts_of(contract).empty()) return realtime::Distribution::mixed;
  return std::nullopt;
}

realtime::Sampling sampling_of(const std::string& name, const Contract& contract, std::uint64_t seed) {
  const auto distribution = distribution_of(contract);
  if (!distribution) {
    throw Error(ErrorCode::bad_option, "'" + name +
                                           "': a seed was given to sample with, but the first outputs are neither mean "
                                           "and log_std nor an index and logits, and no logits_0, logits_1, ... stand "
                                           "for elements of actions; load it without a seed");
  }
  if (!contract.action_map) {
    throw Error(ErrorCode::bad_option,
                "'" + name +
                    "': a seed was given to sample with, but nothing says what becomes of a drawn action (squashing, "
                    "scaling, clipping) on its way to a command; load it without a seed, or export the policy with "
                    "ganglion, which writes that down");
  }
  return {*distribution,
          contract.outputs[1].size,
          seed,
          place_of(contract, "log_prob", 1),
          place_of(contract, "unmapped_mean", contract.action_size()).value_or(0),
          parts_of(contract)};
}

}  // namespace

OpenEngine open_native;

EngineModel* open_native(const OpenRequest& request, Failure& failure) noexcept {
  try {
    return new NativeModel(std::move(*request.program), *request.kernels, request.lock_memory);
  } catch (const std::bad_alloc&) {
    failure.set(FailureKind::bad_program, too_little_memory(request.lock_memory));
    return nullptr;
  }
}

const native::KernelTable& kernels_asked_for(const std::string& name, Isa isa) {
  std::string by = "the option isa";
  const char* const variable = std::getenv("GANGLION_ISA");
  if (isa == Isa::automatic && variable != nullptr && *variable != '\0') {
    by = "the environment variable GANGLION_ISA";
    const std::optional<Isa> named = isa_named(variable);
    if (!named) {
      std::string known = "automatic";
      for (const Isa each : every_isa) known += std::string(", ") + to_string(each);
      throw Error(ErrorCode::bad_option, "'" + name + "': " + by + " is '" + variable +
                                             "', which is no instruction set; set it to one of " + known);
    }
    isa = *named;
  }
  const native::KernelTable* const kernels = native::kernels_for(isa);
  if (kernels != nullptr) return *kernels;
  std::string known;
  for (const Isa each : every_isa) {
    if (native::kernels_for(each) != nullptr) known += (known.empty() ? "" : ", ") + std::string(to_string(each));
  }
  throw Error(ErrorCode::bad_option, "'" + name + "': " + by + " asks for " + to_string(isa) +
                                         ", which this CPU has not got; it has " + known);
}

realtime::Loop make_loop(const std::string& name, const Contract& contract, const native::KernelTable* kernels,
                         std::size_t batch, bool lock_memory, std::optional<std::uint64_t> sample_seed) {
  realtime::LoopShape shape;
  shape.batch = batch;
  shape.observation = contract.observation_size();
  shape.hidden = contract.hidden_size();
  for (const TensorSpec& spec : contract.outputs) shape.outputs.push_back(spec.size);
  shape.initial_state = contract.initial_state;
  if (contract.action_map) {
    shape.applied_action = applied_action_of(contract);
    shape.action_map = realtime::ActionMap(*contract.action_map, contract.action_size());
  }
  if (sample_seed) shape.sampling = sampling_of(name, contract, *sample_seed);
  const native::KernelTable& own = kernels != nullptr ? *kernels : *native::kernels_for(Isa::automatic);
  realtime::Loop loop(std::move(shape), {own.all_finite, kernels != nullptr ? own.take : own.take_as_it_is},
                      lock_memory);
  if (!loop.valid()) throw Error(ErrorCode::engine_failure, "'" + name + "': " + too_little_memory(lock_memory));
  return loop;
}

const char* too_little_memory(bool lock_memory) {
  return lock_memory ? "there is not enough memory, or the system does not let this process lock it (ulimit -l); use a "
                       "smaller batch, raise the limit, or load without lock_memory"
                     : "there is not enough memory for its weights, or its buffers would take more than 1 GiB; use a "
                       "smaller batch";
}

}  // namespace ganglion::detail
