#include <pthread.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "engines/onnxruntime/api.hpp"
#include "engines/onnxruntime/tensor_copy.hpp"
#include "engines/open.hpp"
#include "engines/shared_library.hpp"

namespace ganglion::detail {

namespace {

// Set-up code of this file throws; the public entry points turn it into a `Failure`.
class OrtRefusal : public std::runtime_error {
 public:
  OrtRefusal(FailureKind kind, const std::string& sentence) : std::runtime_error(sentence), kind_(kind) {}
  [[nodiscard]] FailureKind kind() const { return kind_; }

 private:
  FailureKind kind_;
};

template <typename Function>
auto guarded(Failure& failure, const Function& function) noexcept -> decltype(function()) {
  try {
    return function();
  } catch (const OrtRefusal& refusal) {
    failure.set(refusal.kind(), refusal.what());
  } catch (const std::exception& error) {
    failure.set(FailureKind::bad_program, error.what());
  }
  return nullptr;
}

/// How often this process has forked since the library was opened. A child has none of the threads that ONNX Runtime
/// started, so a session of its parent can neither run there nor be released: that would wait for them.
// NOLINTNEXTLINE(cppcoreguidelines-avoid-non-const-global-variables): the handler of a fork is given nothing
std::atomic<unsigned> forks{0};
static_assert(std::atomic<unsigned>::is_always_lock_free);

/// Releases a C API object, but not in a child of the process that made it: there it stays until the end.
template <typename T>
class Release {
 public:
  Release() = default;
  // NOLINTNEXTLINE(*-explicit-constructor): a Handle is made of an object and what releases it
  Release(void (*release)(T*)) : release_(release) {}
  void operator()(T* object) const {
    if (born_ == forks.load(std::memory_order_relaxed)) release_(object);
  }

 private:
  void (*release_)(T*) = nullptr;
  unsigned born_ = forks.load(std::memory_order_relaxed);
};

/// A C API object that is released with its owner.
template <typename T>
using Handle = std::unique_ptr<T, Release<T>>;

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
    throw OrtRefusal(kind, sentence);
  }
};

const Library& library_at(const std::filesystem::path& path) {
  std::string why;
  void* address =
      load_function(path, "GANGLION_ONNXRUNTIME", {"libonnxruntime.so.1", "libonnxruntime.so"}, "OrtGetApiBase", why);
  if (address == nullptr) {
    throw OrtRefusal(FailureKind::unavailable,
                     "ONNX Runtime was not found (" + why +
                         "): install it (pip install 'ganglion[onnx]'), or name its libonnxruntime.so in "
                         "LoadOptions::onnxruntime_library or in the environment variable GANGLION_ONNXRUNTIME");
  }
  const auto* base = reinterpret_cast<const ort::ApiBase* (*)()>(address)();
  const void* const* table = base == nullptr ? nullptr : base->get_api(ort::api_version);
  if (table == nullptr) {
    throw OrtRefusal(FailureKind::unavailable, std::string("ONNX Runtime ") +
                                                   (base == nullptr ? "without a version" : base->get_version()) +
                                                   " is too old: version 1.17 or newer is needed");
  }
  // Never destroyed: sessions may live in static storage and would outlast it. One per library file.
  static std::vector<std::pair<const void* const*, std::unique_ptr<const Library>>>& libraries =
      *new std::vector<std::pair<const void* const*, std::unique_ptr<const Library>>>();
  static std::mutex& mutex = *new std::mutex();
  static const int watches_forks = pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1); });
  static_cast<void>(watches_forks);
  const std::scoped_lock lock(mutex);
  for (const auto& [known, library] : libraries) {
    if (known == table) return *library;
  }
  return *libraries.emplace_back(table, std::make_unique<const Library>(table)).second;
}

struct Port {
  std::string name;
  std::vector<std::int64_t> shape;          ///< negative where dynamic
  int type;                                 ///< an `ort::element_...`, or one that we do not know
  std::optional<std::size_t> batch_axis{};  ///< where it is not the first dynamic one
};

std::vector<Port> with_batch_axes(std::vector<Port> ports, std::span<const BatchAxis> told) {
  for (const BatchAxis& known : told) {
    for (Port& port : ports) {
      if (port.name == known.name) port.batch_axis = known.axis;
    }
  }
  return ports;
}

std::string shape_text(const Port& port) {
  std::string text;
  for (const std::int64_t axis : port.shape) text += (text.empty() ? "" : ", ") + std::to_string(axis);
  return "[" + text + "]";
}

/// The declared shape with `batch` in the axis that is told, else in the first dynamic one behind the `outer` elements,
/// and one step in every other, checked against the elements that the contract promises.
std::vector<std::int64_t> concrete_shape(const Port& port, const TensorView& view, std::size_t batch) {
  std::vector<std::int64_t> shape = port.shape;
  std::size_t count = 1;
  bool has_batch = false;
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    if (shape[axis] < 0) {
      const bool is_batch = port.batch_axis ? axis == *port.batch_axis : !has_batch && count == view.outer;
      shape[axis] = is_batch ? static_cast<std::int64_t>(batch) : 1;
      has_batch |= is_batch;
    }
    count *= static_cast<std::size_t>(shape[axis]);
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
    throw OrtRefusal(FailureKind::bad_contract, "tensor '" + port.name + "' is " + shape_text(port) +
                                                    " in the program, which does not hold " +
                                                    std::to_string(view.size()) + " elements for each of " +
                                                    std::to_string(batch) + " batch rows");
  }
  return shape;
}

/// Memory of a tensor that is no part of a vector: constants that go in, and integers that come out.
class FilledTensor {
 public:
  FilledTensor(const Port& port, std::size_t batch) : type_(port.type), shape_(port.shape) {
    std::optional<std::size_t> batch_axis = port.batch_axis;
    for (std::size_t axis = 0; axis < shape_.size(); ++axis) {
      if (shape_[axis] < 0) {
        if (!batch_axis) batch_axis = axis;
        shape_[axis] = axis == batch_axis ? static_cast<std::int64_t>(batch) : 1;
      }
      count_ *= static_cast<std::size_t>(shape_[axis]);
    }
    if (width() == 0 || count_ > (std::size_t{1} << 24)) {
      throw OrtRefusal(FailureKind::bad_contract, "input '" + port.name + "' " + shape_text(port) +
                                                      " of element type " + std::to_string(port.type) +
                                                      " cannot be fed with a constant");
    }
    data_.resize(std::max<std::size_t>(count_ * width(), 1));  // an address, even where there is no element
  }

  void fill(double value) noexcept {
    for (std::size_t i = 0; i < count_; ++i) {
      std::byte* const to = data_.data() + i * width();
      if (type_ == ort::element_float) store(to, static_cast<float>(value));
      if (type_ == ort::element_int32) store(to, static_cast<std::int32_t>(value));
      if (type_ == ort::element_int64) store(to, static_cast<std::int64_t>(value));
      if (type_ == ort::element_bool) store(to, static_cast<std::uint8_t>(value != 0.0));
    }
  }

  /// Fills a tensor of bytes: fractions are cut off, and what is no byte becomes the nearest one.
  void copy_from(const float* from) noexcept {
    for (std::size_t i = 0; i < count_; ++i) {
      data_[i] = static_cast<std::byte>(static_cast<std::uint8_t>(std::clamp(from[i], 0.0F, 255.0F)));
    }
  }

  /// The integers of an output as float32.
  void copy_to(float* to) const noexcept {
    for (std::size_t i = 0; i < count_; ++i) {
      const std::byte* const from = data_.data() + i * width();
      to[i] = type_ == ort::element_int32 ? static_cast<float>(load<std::int32_t>(from))
                                          : static_cast<float>(load<std::int64_t>(from));
    }
  }

  [[nodiscard]] void* data() noexcept { return data_.data(); }
  [[nodiscard]] std::size_t bytes() const noexcept { return count_ * width(); }
  [[nodiscard]] std::size_t count() const noexcept { return count_; }
  [[nodiscard]] const std::vector<std::int64_t>& shape() const noexcept { return shape_; }
  [[nodiscard]] int type() const noexcept { return type_; }

 private:
  [[nodiscard]] std::size_t width() const noexcept {
    switch (type_) {
      case ort::element_float:
      case ort::element_int32:
        return 4;
      case ort::element_int64:
        return 8;
      case ort::element_bool:
      case ort::element_uint8:
        return 1;
      default:
        return 0;
    }
  }

  template <typename T>
  static void store(std::byte* to, T value) noexcept {
    std::memcpy(to, &value, sizeof value);
  }

  template <typename T>
  static T load(const std::byte* from) noexcept {
    T value{};
    std::memcpy(&value, from, sizeof value);
    return value;
  }

  int type_;
  std::vector<std::int64_t> shape_;
  std::size_t count_ = 1;
  std::vector<std::byte> data_;
};

class OrtSession final : public EngineSession {
 public:
  OrtSession(const Library& library, std::shared_ptr<ort::Session> session, const std::vector<Port>& all_inputs,
             const std::vector<Port>& all_outputs, const Signature& signature, const Buffers& buffers)
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
    const std::vector<Port> inputs = with_batch_axes(all_inputs, signature.batch_axes);
    const std::vector<Port> outputs = with_batch_axes(all_outputs, signature.batch_axes);
    bind_observation(inputs, signature);
    bind_constants(inputs, signature);
    bind_state(inputs, outputs, signature);
    bind_outputs(outputs, signature);
  }

  bool run(std::size_t phase) noexcept override {
    if (born_ != forks.load(std::memory_order_relaxed)) {
      error_.set("ONNX Runtime does not survive a fork: load the policy in the child, after the fork");
      return false;
    }
    if (counter_ && !count(phase)) return false;
    for (const Staged& staged : staged_inputs_) gather(staged.place, batch_, staged.rows[phase], staged.tensor);
    for (const Bytes& bytes : bytes_) {
      gather(bytes.place, batch_, buffers_.observation, bytes.floats.get());
      bytes.tensor->copy_from(bytes.floats.get());
    }
    ort::Status* status = library_.api.RunWithBinding(session_.get(), run_options_.get(), bindings_[phase].get());
    if (status != nullptr) {
      error_.set(library_.api.GetErrorMessage(status));
      library_.api.ReleaseStatus(status);
      return false;
    }
    for (const Staged& staged : staged_outputs_) scatter(staged.place, batch_, staged.tensor, staged.rows[phase]);
    for (const Indices& indices : indices_) indices.tensor->copy_to(indices.rows[phase]);
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

  /// An output of integers, which become float32; rows[p]: where they go in phase p.
  struct Indices {
    std::unique_ptr<FilledTensor> tensor;
    std::array<float*, 2> rows;
  };

  /// An observation of bytes, made of the float32 that the runtime is given.
  struct Bytes {
    TensorPlace place;
    std::unique_ptr<float[]> floats;
    std::unique_ptr<FilledTensor> tensor;
  };

  /// A slot that counts steps, and the tensor that the program reads it from.
  struct StepCounter {
    FilledTensor tensor;
    std::array<float*, 2> slot;
  };

  [[nodiscard]] bool count(std::size_t phase) noexcept {
    // Beyond this, adding one to a float32 changes nothing.
    constexpr float largest = 16777216.0F;
    const float steps = *counter_->slot[phase];
    if (steps >= largest) {
      error_.set("the program counts its steps, and can count no further; reset() the policy");
      return false;
    }
    counter_->tensor.fill(steps);
    *counter_->slot[1 - phase] = steps + 1.0F;
    return true;
  }

  ort::Value* value(float* data, const Port& port, const TensorView& view) {
    if (port.type != ort::element_float) {
      throw OrtRefusal(FailureKind::bad_program,
                       "'" + port.name + "' is not a float32 tensor; export the policy in float32");
    }
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
      throw OrtRefusal(FailureKind::bad_contract,
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
      const Port& input = port(inputs, view.name, "input");
      if (input.type == ort::element_uint8) {
        bind_bytes(input, view, place);
      } else {
        bind_tensor(input, view, place, {rows, rows}, staged_inputs_, library_.api.BindInput);
      }
    });
    const std::size_t named = signature.inputs.size() + signature.state.size() + signature.constants.size();
    if (inputs.size() > named) {
      throw OrtRefusal(FailureKind::bad_contract, "the program has " + std::to_string(inputs.size()) +
                                                      " inputs but the contract names only " + std::to_string(named));
    }
  }

  /// Binds a tensor that is no part of a float32 vector; its memory stays where it is.
  template <typename Bind>
  void bind_filled(const Port& port, FilledTensor& tensor, Bind bind) {
    ort::Value* filled = nullptr;
    library_.check(library_.api.CreateTensorWithDataAsOrtValue(library_.memory, tensor.data(), tensor.bytes(),
                                                               tensor.shape().data(), tensor.shape().size(),
                                                               tensor.type(), &filled));
    values_.emplace_back(filled, library_.api.ReleaseValue);
    for (const auto& binding : bindings_) library_.check(bind(binding.get(), port.name.c_str(), filled));
  }

  void bind_bytes(const Port& port, const TensorView& view, const TensorPlace& place) {
    Port concrete = port;
    concrete.shape = concrete_shape(port, view, batch_);
    auto tensor = std::make_unique<FilledTensor>(concrete, batch_);
    bind_filled(port, *tensor, library_.api.BindInput);
    bytes_.push_back({place, std::make_unique<float[]>(batch_ * view.size()), std::move(tensor)});
  }

  void bind_indices(const Port& port, const TensorView& view, std::array<float*, 2> rows) {
    Port concrete = port;
    concrete.shape = concrete_shape(port, view, batch_);
    auto tensor = std::make_unique<FilledTensor>(concrete, batch_);
    bind_filled(port, *tensor, library_.api.BindOutput);
    indices_.push_back({std::move(tensor), rows});
  }

  void bind_constants(const std::vector<Port>& inputs, const Signature& signature) {
    for (const ConstantInput& constant : signature.constants) {
      const Port& input = port(inputs, constant.name, "input");
      FilledTensor& tensor = *constants_.emplace_back(std::make_unique<FilledTensor>(input, batch_));
      tensor.fill(constant.value);
      bind_filled(input, tensor, library_.api.BindInput);
    }
  }

  void bind_counter(const Port& input, const TensorPlace& place) {
    const auto [a, b] = buffers_.state;
    counter_ =
        std::make_unique<StepCounter>(StepCounter{FilledTensor(input, batch_), {a + place.offset, b + place.offset}});
    if (batch_ != 1 || counter_->tensor.count() != 1) {
      throw OrtRefusal(FailureKind::bad_contract, "input '" + input.name + "' counts the steps of one row only");
    }
    bind_filled(input, counter_->tensor, library_.api.BindInput);
  }

  void bind_state(const std::vector<Port>& inputs, const std::vector<Port>& outputs, const Signature& signature) {
    const auto [a, b] = buffers_.state;
    std::size_t slot = 0;
    for_each_place(signature.state, [&](const TensorView& view, const TensorPlace& place) {
      const StatePorts& names = signature.ports[slot++];
      const Port& input = port(inputs, names.input, "input");
      if (names.output == nullptr) {
        bind_counter(input, place);
        return;
      }
      bind_tensor(input, view, place, {a, b}, staged_inputs_, library_.api.BindInput);
      bind_tensor(port(outputs, names.output, "output"), view, place, {b, a}, staged_outputs_, library_.api.BindOutput);
    });
  }

  void bind_outputs(const std::vector<Port>& outputs, const Signature& signature) {
    std::size_t offset = 0;
    for (const TensorView& view : signature.outputs) {
      // Each output is a whole tensor of its own, so it always lies in place.
      const TensorPlace place{1, view.size(), 0, view.size()};
      const std::array<float*, 2> rows{buffers_.outputs[1] + offset, buffers_.outputs[0] + offset};
      const Port& output = port(outputs, view.name, "output");
      if (output.type == ort::element_int32 || output.type == ort::element_int64) {
        bind_indices(output, view, rows);
      } else {
        bind_tensor(output, view, place, rows, staged_outputs_, library_.api.BindOutput);
      }
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
  std::vector<std::unique_ptr<FilledTensor>> constants_;
  std::unique_ptr<StepCounter> counter_;
  std::vector<Bytes> bytes_;
  std::vector<Indices> indices_;
  std::vector<Staged> staged_inputs_;
  std::vector<Staged> staged_outputs_;
  unsigned born_ = forks.load(std::memory_order_relaxed);
  Sentence error_;
};

class OrtModel final : public EngineModel {
 public:
  OrtModel(const Library& library, const OpenRequest& request) : library_(library) {
    ort::SessionOptions* options = nullptr;
    library_.check(library_.api.CreateSessionOptions(&options));
    const Handle<ort::SessionOptions> owner(options, library_.api.ReleaseSessionOptions);
    library_.check(library_.api.SetSessionLogSeverityLevel(options, ort::severity_fatal));
    library_.check(library_.api.SetSessionGraphOptimizationLevel(options, ort::optimise_all));
    library_.check(library_.api.SetSessionExecutionMode(options, ort::execution_sequential));
    library_.check(library_.api.SetIntraOpNumThreads(options, request.threads));
    library_.check(library_.api.SetInterOpNumThreads(options, 1));
    // A spinning thread takes the core that the controller needs.
    library_.check(library_.api.AddSessionConfigEntry(options, "session.intra_op.allow_spinning", "0"));
    library_.check(library_.api.AddSessionConfigEntry(options, "session.inter_op.allow_spinning", "0"));
    // Where weights lie that another exporter left beside the model.
    const std::filesystem::path folder = request.path.has_parent_path() ? request.path.parent_path() : ".";
    library_.check(library_.api.AddSessionConfigEntry(options, "session.model_external_initializers_file_folder_path",
                                                      folder.c_str()));
    ort::Session* session = nullptr;
    library_.check(
        library_.api.CreateSessionFromArray(library_.env, request.file.data(), request.file.size(), options, &session));
    session_ = {session, Release<ort::Session>(library_.api.ReleaseSession)};

    const ort::Api& api = library_.api;
    read_ports(inputs_, api.SessionGetInputCount, api.SessionGetInputName, api.SessionGetInputTypeInfo);
    read_ports(outputs_, api.SessionGetOutputCount, api.SessionGetOutputName, api.SessionGetOutputTypeInfo);
  }

  EngineSession* bind(const Signature& signature, const Buffers& buffers, Failure& failure) noexcept override {
    return guarded(failure, [&] { return new OrtSession(library_, session_, inputs_, outputs_, signature, buffers); });
  }

 private:
  template <typename Count, typename Name, typename Info>
  void read_ports(std::vector<Port>& ports, Count get_count, Name get_name, Info get_info) {
    const ort::Api& api = library_.api;
    std::size_t count = 0;
    library_.check(get_count(session_.get(), &count));
    for (std::size_t i = 0; i < count; ++i) {
      Port port{};
      char* name = nullptr;
      library_.check(get_name(session_.get(), i, library_.allocator, &name));
      port.name = name;
      library_.check(api.AllocatorFree(library_.allocator, name));

      ort::TypeInfo* info = nullptr;
      library_.check(get_info(session_.get(), i, &info));
      const Handle<ort::TypeInfo> owner(info, api.ReleaseTypeInfo);
      const ort::TensorInfo* tensor = nullptr;  // owned by `info`
      library_.check(api.CastTypeInfoToTensorInfo(info, &tensor));
      if (tensor == nullptr) throw OrtRefusal(FailureKind::bad_program, "'" + port.name + "' is no tensor");
      library_.check(api.GetTensorElementType(tensor, &port.type));
      std::size_t rank = 0;
      library_.check(api.GetDimensionsCount(tensor, &rank));
      port.shape.resize(rank);
      library_.check(api.GetDimensions(tensor, port.shape.data(), rank));
      ports.push_back(std::move(port));
    }
  }

  const Library& library_;
  std::shared_ptr<ort::Session> session_;
  std::vector<Port> inputs_;
  std::vector<Port> outputs_;
};

}  // namespace

OpenEngine open_onnxruntime;

/// With the libonnxruntime found at `request.library`, else at $GANGLION_ONNXRUNTIME, else by the loader.
EngineModel* open_onnxruntime(const OpenRequest& request, Failure& failure) noexcept {
  return guarded(failure, [&]() -> EngineModel* { return new OrtModel(library_at(request.library), request); });
}

}  // namespace ganglion::detail
