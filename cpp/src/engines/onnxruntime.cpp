#include "engines/onnxruntime.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "engines/inferred_signature.hpp"
#include "engines/onnxruntime_api.hpp"
#include "engines/shared_library.hpp"
#include "engines/tensor_copy.hpp"

namespace ganglion::detail {

namespace {

// Set-up code of this file throws; the public entry points turn it into a `Failure`.
class Refusal : public std::runtime_error {
 public:
  Refusal(FailureKind kind, const std::string& sentence) : std::runtime_error(sentence), kind_(kind) {}
  [[nodiscard]] FailureKind kind() const { return kind_; }

 private:
  FailureKind kind_;
};

template <typename Function>
auto guarded(Failure& failure, const Function& function) noexcept -> decltype(function()) {
  try {
    return function();
  } catch (const Refusal& refusal) {
    failure.set(refusal.kind(), refusal.what());
  } catch (const std::exception& error) {
    failure.set(FailureKind::bad_program, error.what());
  }
  return nullptr;
}

/// A C API object that is released with its owner.
template <typename T>
using Handle = std::unique_ptr<T, void (*)(T*)>;

/// The library and its one environment: ONNX Runtime allows one per process and wants it to outlive every session.
struct Library {
  const ort::Api api;
  ort::Env* env = nullptr;
  ort::MemoryInfo* memory = nullptr;
  ort::Allocator* allocator = nullptr;

  explicit Library(const void* const* table) : api(table) {
    check(api.CreateEnv(ort::severity_fatal, "ganglion", &env));
    check(api.CreateCpuMemoryInfo(ort::device_allocator, ort::memory_default, &memory));
    check(api.GetAllocatorWithDefaultOptions(&allocator));
  }

  void check(ort::Status* status, FailureKind kind = FailureKind::bad_program) const {
    if (status == nullptr) return;
    const std::string sentence = api.GetErrorMessage(status);
    api.ReleaseStatus(status);
    throw Refusal(kind, sentence);
  }
};

const Library& library_at(const std::filesystem::path& path) {
  std::string why;
  void* address =
      load_function(path, "GANGLION_ONNXRUNTIME", {"libonnxruntime.so.1", "libonnxruntime.so"}, "OrtGetApiBase", why);
  if (address == nullptr) {
    throw Refusal(FailureKind::unavailable,
                  "ONNX Runtime was not found (" + why +
                      "): install it (pip install 'ganglion[onnx]'), or name its libonnxruntime.so in "
                      "LoadOptions::onnxruntime_library or in the environment variable GANGLION_ONNXRUNTIME");
  }
  const auto* base = reinterpret_cast<const ort::ApiBase* (*)()>(address)();
  const void* const* table = base->get_api(ort::api_version);
  if (table == nullptr) {
    throw Refusal(FailureKind::unavailable,
                  std::string("ONNX Runtime ") + base->get_version() + " is too old: version 1.17 or newer is needed");
  }
  // Never destroyed: sessions may live in static storage and would outlast it. One per library file.
  static std::vector<std::pair<const void* const*, std::unique_ptr<const Library>>>& libraries =
      *new std::vector<std::pair<const void* const*, std::unique_ptr<const Library>>>();
  static std::mutex& mutex = *new std::mutex();
  const std::scoped_lock lock(mutex);
  for (const auto& [known, library] : libraries) {
    if (known == table) return *library;
  }
  return *libraries.emplace_back(table, std::make_unique<const Library>(table)).second;
}

struct Port {
  std::string name;
  std::vector<std::int64_t> shape;  ///< negative where dynamic
};

/// The declared shape with `batch` for dynamic axes, checked against the elements that the contract promises.
std::vector<std::int64_t> concrete_shape(const Port& port, const TensorView& view, std::size_t batch) {
  std::vector<std::int64_t> shape = port.shape;
  std::size_t count = 1;
  for (std::int64_t& axis : shape) {
    if (axis < 0) axis = static_cast<std::int64_t>(batch);
    count *= static_cast<std::size_t>(axis);
  }
  bool fits = count == batch * view.size();
  if (fits && batch > 1) {
    // The batch axis must stand right behind the `outer` elements.
    fits = false;
    std::size_t before = 1;
    for (const std::int64_t axis : shape) {
      fits |= before == view.outer && std::cmp_equal(axis, batch);
      before *= static_cast<std::size_t>(axis);
    }
  }
  if (!fits) {
    std::string text;
    for (const std::int64_t axis : port.shape) text += (text.empty() ? "" : ", ") + std::to_string(axis);
    throw Refusal(FailureKind::bad_contract,
                  "tensor '" + port.name + "' is [" + text + "] in the program, which does not hold " +
                      std::to_string(view.size()) + " elements for each of " + std::to_string(batch) + " batch rows");
  }
  return shape;
}

class OrtSession final : public Session {
 public:
  OrtSession(const Library& library, std::shared_ptr<ort::Session> session, const std::vector<Port>& inputs,
             const std::vector<Port>& outputs, const Signature& signature, const Buffers& buffers)
      : library_(library),
        session_(std::move(session)),
        batch_(signature.batch),
        buffers_(buffers),
        run_options_(nullptr, library.api.ReleaseRunOptions) {
    ort::RunOptions* run_options = nullptr;
    library_.check(library_.api.CreateRunOptions(&run_options));
    run_options_.reset(run_options);
    for (int phase = 0; phase < 2; ++phase) {
      ort::IoBinding* binding = nullptr;
      library_.check(library_.api.CreateIoBinding(session_.get(), &binding));
      bindings_.emplace_back(binding, library_.api.ReleaseIoBinding);
    }
    bind_observation(inputs, signature);
    bind_state(inputs, outputs, signature);
    bind_outputs(outputs, signature);
  }

  bool run(std::size_t phase) noexcept override {
    for (const Staged& staged : staged_inputs_) gather(staged.place, batch_, staged.rows[phase], staged.tensor);
    ort::Status* status = library_.api.RunWithBinding(session_.get(), run_options_.get(), bindings_[phase].get());
    if (status != nullptr) {
      error_.set(library_.api.GetErrorMessage(status));
      library_.api.ReleaseStatus(status);
      return false;
    }
    for (const Staged& staged : staged_outputs_) scatter(staged.place, batch_, staged.tensor, staged.rows[phase]);
    return true;
  }

  [[nodiscard]] const char* last_error() const noexcept override { return error_.c_str(); }

 private:
  /// A tensor whose file order differs from the flat order: it is copied on the way. rows[p]: its flat vector in phase
  /// p.
  struct Staged {
    TensorPlace place;
    std::array<float*, 2> rows;
    float* tensor;
  };

  ort::Value* value(float* data, const Port& port, const TensorView& view) {
    const std::vector<std::int64_t> shape = concrete_shape(port, view, batch_);
    ort::Value* result = nullptr;
    library_.check(library_.api.CreateTensorWithDataAsOrtValue(library_.memory, data,
                                                               batch_ * view.size() * sizeof(float), shape.data(),
                                                               shape.size(), ort::element_float, &result));
    values_.emplace_back(result, library_.api.ReleaseValue);
    return result;
  }

  static const Port& port(const std::vector<Port>& ports, const std::string& name, const char* what) {
    const auto found = std::find_if(ports.begin(), ports.end(), [&name](const Port& p) { return p.name == name; });
    if (found == ports.end()) {
      throw Refusal(FailureKind::bad_contract,
                    std::string("the program has no ") + what + " '" + name + "', which the contract names");
    }
    return *found;
  }

  /// Binds one tensor in both phases, in place where the orders agree; `rows[p]` is its flat vector in phase p.
  template <typename Bind>
  void bind_tensor(const Port& port, const TensorView& view, const TensorPlace& place, std::array<float*, 2> rows,
                   std::vector<Staged>& staged, Bind bind) {
    if (is_in_place(place, batch_)) {
      for (std::size_t phase = 0; phase < 2; ++phase) {
        library_.check(bind(bindings_[phase].get(), port.name.c_str(), value(rows[phase] + place.offset, port, view)));
      }
      return;
    }
    float* tensor = staging_.emplace_back(std::make_unique<float[]>(batch_ * view.size())).get();
    const ort::Value* bound = value(tensor, port, view);
    for (const auto& binding : bindings_) library_.check(bind(binding.get(), port.name.c_str(), bound));
    staged.push_back({place, rows, tensor});
  }

  void bind_observation(const std::vector<Port>& inputs, const Signature& signature) {
    auto* rows = const_cast<float*>(buffers_.observation);  // the C API takes no const data; it does not write here
    for_each_place(signature.inputs, [&](const TensorView& view, const TensorPlace& place) {
      bind_tensor(port(inputs, view.name, "input"), view, place, {rows, rows}, staged_inputs_, library_.api.BindInput);
    });
    if (inputs.size() > signature.inputs.size() + signature.state.size()) {
      throw Refusal(FailureKind::bad_contract, "the program has " + std::to_string(inputs.size()) +
                                                   " inputs but the contract names only " +
                                                   std::to_string(signature.inputs.size() + signature.state.size()));
    }
  }

  void bind_state(const std::vector<Port>& inputs, const std::vector<Port>& outputs, const Signature& signature) {
    const auto [a, b] = buffers_.state;
    for_each_place(signature.state, [&](const TensorView& view, const TensorPlace& place) {
      bind_tensor(port(inputs, std::string(view.name) + "_in", "input"), view, place, {a, b}, staged_inputs_,
                  library_.api.BindInput);
      bind_tensor(port(outputs, std::string(view.name) + "_out", "output"), view, place, {b, a}, staged_outputs_,
                  library_.api.BindOutput);
    });
  }

  void bind_outputs(const std::vector<Port>& outputs, const Signature& signature) {
    std::size_t offset = 0;
    for (const TensorView& view : signature.outputs) {
      // Each output is a whole tensor of its own, so it always lies in place.
      const TensorPlace place{1, view.size(), 0, view.size()};
      bind_tensor(port(outputs, view.name, "output"), view, place,
                  {buffers_.outputs[1] + offset, buffers_.outputs[0] + offset}, staged_outputs_,
                  library_.api.BindOutput);
      offset += batch_ * view.size();
    }
  }

  const Library& library_;
  std::shared_ptr<ort::Session> session_;
  std::size_t batch_;
  Buffers buffers_;
  Handle<ort::RunOptions> run_options_;
  std::vector<Handle<ort::Value>> values_;
  std::vector<Handle<ort::IoBinding>> bindings_;  // one per phase
  std::vector<std::unique_ptr<float[]>> staging_;
  std::vector<Staged> staged_inputs_;
  std::vector<Staged> staged_outputs_;
  Sentence error_;
};

class OrtModel final : public Model {
 public:
  OrtModel(const Library& library, const char* path, int threads) : library_(library) {
    ort::SessionOptions* options = nullptr;
    library_.check(library_.api.CreateSessionOptions(&options));
    const Handle<ort::SessionOptions> owner(options, library_.api.ReleaseSessionOptions);
    library_.check(library_.api.SetSessionLogSeverityLevel(options, ort::severity_fatal));
    library_.check(library_.api.SetSessionGraphOptimizationLevel(options, ort::optimise_all));
    library_.check(library_.api.SetSessionExecutionMode(options, ort::execution_sequential));
    library_.check(library_.api.SetIntraOpNumThreads(options, threads));
    library_.check(library_.api.SetInterOpNumThreads(options, 1));
    // A spinning thread takes the core that the controller needs.
    library_.check(library_.api.AddSessionConfigEntry(options, "session.intra_op.allow_spinning", "0"));
    library_.check(library_.api.AddSessionConfigEntry(options, "session.inter_op.allow_spinning", "0"));
    ort::Session* session = nullptr;
    library_.check(library_.api.CreateSession(library_.env, path, options, &session));
    session_ = {session, library_.api.ReleaseSession};

    const ort::Api& api = library_.api;
    read_ports(inputs_, api.SessionGetInputCount, api.SessionGetInputName, api.SessionGetInputTypeInfo, "input");
    read_ports(outputs_, api.SessionGetOutputCount, api.SessionGetOutputName, api.SessionGetOutputTypeInfo, "output");
  }

  const Signature* infer(Failure& failure) noexcept override {
    return guarded(failure, [this] { return infer_signature(); });
  }

  Session* bind(const Signature& signature, const Buffers& buffers, Failure& failure) noexcept override {
    return guarded(failure, [&] { return new OrtSession(library_, session_, inputs_, outputs_, signature, buffers); });
  }

 private:
  template <typename Count, typename Name, typename Info>
  void read_ports(std::vector<Port>& ports, Count get_count, Name get_name, Info get_info, const char* what) {
    const ort::Api& api = library_.api;
    std::size_t count = 0;
    library_.check(get_count(session_.get(), &count));
    for (std::size_t i = 0; i < count; ++i) {
      Port port;
      char* name = nullptr;
      library_.check(get_name(session_.get(), i, library_.allocator, &name));
      port.name = name;
      library_.check(api.AllocatorFree(library_.allocator, name));

      ort::TypeInfo* info = nullptr;
      library_.check(get_info(session_.get(), i, &info));
      const Handle<ort::TypeInfo> owner(info, api.ReleaseTypeInfo);
      const ort::TensorInfo* tensor = nullptr;  // owned by `info`
      library_.check(api.CastTypeInfoToTensorInfo(info, &tensor));
      int type = 0;
      if (tensor != nullptr) library_.check(api.GetTensorElementType(tensor, &type));
      if (type != ort::element_float) {
        throw Refusal(FailureKind::bad_program,
                      std::string(what) + " '" + port.name + "' is not a float32 tensor; export the policy in float32");
      }
      std::size_t rank = 0;
      library_.check(api.GetDimensionsCount(tensor, &rank));
      port.shape.resize(rank);
      library_.check(api.GetDimensions(tensor, port.shape.data(), rank));
      ports.push_back(std::move(port));
    }
  }

  /// rsl_rl / Isaac Lab names: obs, h_in, c_in -> actions, h_out, c_out; h and c are [layers, batch, hidden].
  const Signature* infer_signature() {
    inferred_ = {};
    std::vector<const Port*> fed_back;
    bool batch_known = false;
    const auto note_batch = [&](std::int64_t axis) {
      if (batch_known) return;
      batch_known = true;
      inferred_.batch = axis < 0 ? 0 : static_cast<std::size_t>(axis);
    };
    for (const Port& input : inputs_) {
      if (!input.name.ends_with("_in")) {
        inferred_.inputs.push_back(vector_view(input));
        note_batch(input.shape.size() == 2 ? input.shape[0] : 1);
        continue;
      }
      const std::string slot = input.name.substr(0, input.name.size() - 3);
      const auto partner = std::find_if(outputs_.begin(), outputs_.end(),
                                        [&slot](const Port& output) { return output.name == slot + "_out"; });
      if (partner == outputs_.end() || partner->shape.size() != input.shape.size()) {
        throw Refusal(FailureKind::bad_contract, "input '" + input.name + "' has no output '" + slot +
                                                     "_out' of the same shape, so its state would never be fed back; "
                                                     "export the policy with its next state as an output");
      }
      fed_back.push_back(&*partner);
      inferred_.state.push_back(state_view(input, slot));
    }
    for (const Port& output : outputs_) {
      if (std::find(fed_back.begin(), fed_back.end(), &output) != fed_back.end()) continue;
      const TensorView view = vector_view(output);
      const bool is_action = output.name == "actions" || output.name == "action";
      inferred_.outputs.insert(is_action ? inferred_.outputs.begin() : inferred_.outputs.end(), view);
    }
    if (inferred_.inputs.empty() || inferred_.outputs.empty()) {
      throw Refusal(FailureKind::bad_contract,
                    "the program has no observation input or no action output beside its state");
    }
    std::size_t hidden_size = 0;
    for (const TensorView& slot : inferred_.state) hidden_size += slot.size();
    inferred_.initial_state.assign(hidden_size, 0.0F);
    return inferred_.finish();
  }

  static std::size_t fixed_axis(const Port& port, std::size_t axis) {
    if (port.shape[axis] < 1) {
      throw Refusal(FailureKind::bad_contract, "axis " + std::to_string(axis) + " of tensor '" + port.name +
                                                   "' has no fixed size; only the batch axis may be dynamic");
    }
    return static_cast<std::size_t>(port.shape[axis]);
  }

  TensorView vector_view(const Port& port) {
    if (port.shape.empty() || port.shape.size() > 2) {
      throw Refusal(FailureKind::bad_contract, "tensor '" + port.name + "' has " + std::to_string(port.shape.size()) +
                                                   " axes; [size] or [batch, size] is needed");
    }
    return inferred_.view(port.name, 1, fixed_axis(port, port.shape.size() - 1));
  }

  TensorView state_view(const Port& port, const std::string& slot) {
    if (port.shape.size() == 3) return inferred_.view(slot, fixed_axis(port, 0), fixed_axis(port, 2));
    if (port.shape.size() == 2) return inferred_.view(slot, 1, fixed_axis(port, 1));
    throw Refusal(FailureKind::bad_contract, "state '" + port.name + "' has " + std::to_string(port.shape.size()) +
                                                 " axes; [layers, batch, hidden] or [batch, size] is needed");
  }

  const Library& library_;
  std::shared_ptr<ort::Session> session_;
  std::vector<Port> inputs_;
  std::vector<Port> outputs_;
  InferredSignature inferred_;
};

}  // namespace

Model* open_onnxruntime(const std::filesystem::path& library, const char* path, int threads,
                        Failure& failure) noexcept {
  return guarded(failure, [&]() -> Model* { return new OrtModel(library_at(library), path, threads); });
}

}  // namespace ganglion::detail
