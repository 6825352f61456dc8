#include "native/model.hpp"

#include <algorithm>
#include <cstring>
#include <functional>
#include <new>
#include <utility>

#include "native/convolution.hpp"
#include "native/pack.hpp"
#include "realtime/guards.hpp"

namespace ganglion::native {

namespace {

constexpr std::size_t absent = SIZE_MAX;

std::size_t number(auto enumerator) { return static_cast<std::size_t>(enumerator); }

/// Pieces of one block of memory, asked for first and filled once the block is there.
class Pieces {
 public:
  std::size_t add(std::size_t bytes, std::function<void(std::byte*)> fill) {
    const std::size_t offset = size_;
    size_ += realtime::round_up(bytes, realtime::cache_line);
    fills_.emplace_back(offset, std::move(fill));
    return offset;
  }

  [[nodiscard]] std::size_t size() const { return size_; }

  void fill(std::byte* base) const {
    for (const auto& [offset, fill] : fills_) fill(base + offset);
  }

 private:
  std::size_t size_ = 0;
  std::vector<std::pair<std::size_t, std::function<void(std::byte*)>>> fills_;
};

/// Where the pieces of one step lie: weights in the stream, the others behind all weights.
struct StepPieces {
  std::size_t weights = absent;
  std::size_t bias = absent;
  std::size_t scale = absent;
  std::size_t correction = absent;
  std::size_t index = absent;
  std::size_t convolution = absent;
};

}  // namespace

class Builder {
 public:
  Builder(const Program& program, std::size_t batch, const KernelTable& kernels)
      : program_(program), batch_(batch), kernels_(kernels) {}

  std::shared_ptr<const Model> build(bool lock_memory) {
    std::vector<std::size_t> constants(program_.values.size(), 0);
    for (std::size_t value = 0; value < constants.size(); ++value) {
      if (program_.values[value].constant == none) continue;
      constants[value] = add_floats(program_.tensors[program_.values[value].constant]) / sizeof(float);
    }
    std::vector<std::size_t> scratch;
    for (const Op& op : program_.ops) scratch.push_back(scratch_of(op));
    std::optional<Plan> plan = make_plan(program_, batch_, constants, std::move(scratch));
    if (!plan) return nullptr;
    plan_ = std::move(*plan);
    for (std::size_t i = 0; i < program_.ops.size(); ++i) add_op(i);
    for (const Copy& copy : plan_.final_copies) add_copy(copy);

    auto model = std::make_shared<Model>();
    model->memory_ = realtime::Memory(stream_.size() + others_.size());
    if (!model->memory_.valid()) return nullptr;
    stream_.fill(model->memory_.data());
    others_.fill(model->memory_.data() + stream_.size());
    model->convolutions_ = std::move(convolutions_);
    resolve(*model);
    model->steps_ = std::move(steps_);
    model->arena_floats_ = plan_.arena_floats;
    model->guards_ = std::move(plan_.guards);
    model->lock_memory_ = lock_memory;
    if (lock_memory && !model->memory_.lock()) return nullptr;
    return model;
  }

 private:
  // ---- pieces ----

  std::size_t add_floats(const Tensor& tensor) {
    return others_.add(tensor.bytes.size(), [&tensor](std::byte* to) { copy_floats(tensor, to); });
  }

  static void copy_floats(const Tensor& tensor, std::byte* to) {
    const std::size_t count = tensor.bytes.size() / sizeof(float);
    for (std::size_t i = 0; i < count; ++i) reinterpret_cast<float*>(to)[i] = float_at(tensor, i);
  }

  /// Floats in the order of the packed rows; `read(vector, row)`.
  template <class T, class Read>
  std::size_t add_ordered(const std::vector<Index>& rows, Read read) {
    return others_.add(rows.size() * sizeof(T), [rows, read, lanes = kernels_.lanes](std::byte* to) {
      for (std::size_t i = 0; i < rows.size(); ++i) {
        if (rows[i] != none) reinterpret_cast<T*>(to)[i] = read(i / lanes, rows[i]);
      }
    });
  }

  [[nodiscard]] const Tensor* tensor(Index index) const { return index == none ? nullptr : &program_.tensors[index]; }

  // ---- steps ----

  [[nodiscard]] std::size_t size_of(Index value) const { return program_.values[value].size; }

  PlannedStep& add_step(Kernel kernel, std::initializer_list<Place> in, std::initializer_list<Place> out) {
    PlannedStep& planned = steps_.emplace_back();
    pieces_.emplace_back();
    planned.step.run = kernel;
    planned.step.batch = batch_;
    for (const Place& place : in) planned.in[planned.inputs++] = place;
    for (const Place& place : out) planned.out[planned.outputs++] = place;
    return planned;
  }

  /// A step with the operands of an operation.
  PlannedStep& add_step(Kernel kernel, const Op& op) {
    PlannedStep& planned = add_step(kernel, {}, {});
    for (const Index value : op.in) {
      planned.step.in_size[planned.inputs] = size_of(value);
      planned.in[planned.inputs++] = plan_.places[value];
    }
    for (const Index value : op.out) planned.out[planned.outputs++] = plan_.places[value];
    planned.step.size = size_of(op.out[0]);
    planned.step.rows = op.rows;
    planned.step.columns = op.columns;
    planned.step.inner = op.inner;
    return planned;
  }

  void set_function(PlannedStep& planned, const Function& function) const {
    planned.step.unary = kernels_.unary[number(function.unary)];
    planned.step.alpha = function.alpha;
    planned.step.beta = function.beta;
  }

  /// Weight, bias, scale and correction of the newest step; answers how the weight is packed.
  Packing add_matrix(const Op& op, const RowOrder& order, std::size_t split) {
    const MatrixSource source{tensor(op.weight), tensor(op.scale)};
    const Packing packing = packing_of(*source.weight, op.activations);
    const std::size_t group = group_of(packing, kernels_);
    StepPieces& pieces = pieces_.back();
    pieces.weights = stream_.add(packed_size(source, order, packing, group, split),
                                 [=](std::byte* to) { pack(source, order, packing, group, split, to); });
    if (packing == Packing::i8 || packing == Packing::i8_dot) {
      pieces.scale = add_ordered<float>(
          order.rows, [&scale = *source.scale](std::size_t, Index row) { return float_at(scale, row); });
    }
    if (packing == Packing::i8_dot) {
      pieces.correction = add_ordered<std::int32_t>(
          order.rows, [source](std::size_t, Index row) { return weight_sum(source, row, 0, source.columns()); });
    }
    return packing;
  }

  static std::int32_t weight_sum(const MatrixSource& source, std::size_t row, std::size_t begin, std::size_t end) {
    std::int32_t sum = 0;
    for (std::size_t k = begin; k < end; ++k) {
      sum += static_cast<std::int32_t>(float_at(*source.weight, row * source.columns() + k));
    }
    return sum;
  }

  void add_bias(const RowOrder& order, Index bias) {
    pieces_.back().bias = add_ordered<float>(order.rows, [bias = tensor(bias)](std::size_t, Index row) {
      return bias == nullptr ? 0.0F : float_at(*bias, row);
    });
  }

  void add_op(std::size_t i) {
    const Op& op = program_.ops[i];
    scratch_ = plan_.scratch[i];
    switch (op.kind) {
      case OpKind::affine:
      case OpKind::rnn:
        return add_affine(op);
      case OpKind::lstm:
        return add_lstm(op);
      case OpKind::gru:
        return op.linear_before_reset ? add_gru(op) : add_gru_by_parts(op);
      case OpKind::unary:
        if (op.function.unary == Unary::identity)
          return add_copy({place(op.in[0]), place(op.out[0]), size_of(op.in[0])});
        return set_function(add_step(kernels_.unary_rows, op), op.function);
      case OpKind::binary:
        add_step(kernels_.binary[number(op.binary)], op);
        return;
      case OpKind::reduce:
        add_step(kernels_.reduce[number(op.reduce)], op);
        return;
      case OpKind::conv1d:
      case OpKind::conv2d:
        return add_convolution(op);
      case OpKind::gather:
        return add_gather(i, op);
#define GANGLION_PLAIN_OPERATION(id, ...) \
  case OpKind::id:                        \
    return add_plain(kernels_.id, op);
#include "native/vocabulary.def"
    }
  }

  [[nodiscard]] const Place& place(Index value) const { return plan_.places[value]; }

  /// A plain tensor in the stream of weights.
  std::size_t stream_offset_of(Index index) {
    const Tensor& source = program_.tensors[index];
    return stream_.add(source.bytes.size(), [&source](std::byte* to) { copy_floats(source, to); });
  }

  static bool is_convolution(const Op& op) { return op.kind == OpKind::conv1d || op.kind == OpKind::conv2d; }

  static bool is_plain(OpKind kind) {
    constexpr bool plain[] = {
#define GANGLION_OPERATION(id, ...) false,
#define GANGLION_PLAIN_OPERATION(id, ...) true,
#include "native/vocabulary.def"
    };
    return plain[number(kind)];
  }

  void add_plain(Kernel kernel, const Op& op) {
    add_step(kernel, op).step.alpha = op.epsilon;
    if (op.weight != none) pieces_.back().weights = stream_offset_of(op.weight);
    if (op.bias != none) pieces_.back().bias = add_floats(program_.tensors[op.bias]);
  }

  void add_affine(const Op& op) {
    PlannedStep& planned = add_step(nullptr, op);
    set_function(planned, op.function);
    const RowOrder order = affine_rows(0, planned.step.size, kernels_);
    finish_matrix(planned, kernels_.affine, add_matrix(op, order, planned.step.in_size[0]), op);
    add_bias(order, op.bias);
  }

  /// Chooses the kernel by the packing; integer kernels get their scaled input first.
  void finish_matrix(PlannedStep& planned, const Kernel (&kernels)[packing_count], Packing packing, const Op& op) {
    planned.step.run = kernels[number(packing)];
    if (packing != Packing::i8_dot) return;
    planned.has_scratch = true;
    planned.scratch = scratch_;
    planned.step.inner = op.activations == Activations::int8 ? 8 : 16;
    planned.step.columns = integer_input_floats(op);
  }

  void add_lstm(const Op& op) {
    PlannedStep& planned = add_step(nullptr, op);
    const RowOrder order = cell_rows(planned.step.size, 4, kernels_);
    finish_matrix(planned, kernels_.lstm, add_matrix(op, order, planned.step.in_size[0]), op);
    add_bias(order, op.bias);
  }

  void add_gru(const Op& op) {
    PlannedStep& planned = add_step(nullptr, op);
    const std::size_t units = planned.step.size;
    const RowOrder order = cell_rows(units, 3, kernels_);
    finish_matrix(planned, kernels_.gru, add_matrix(op, order, planned.step.in_size[0]), op);
    // Four sums: r, z, n of the input, n of the state. The last one's weights are the other columns of n's.
    const RowOrder biases = cell_rows(units, 4, kernels_);
    pieces_.back().bias = add_ordered<float>(
        biases.rows, [units, bias = tensor(op.bias), recurrent = tensor(op.recurrent_bias)](std::size_t, Index row) {
          if (row >= 3 * units) return recurrent == nullptr ? 0.0F : float_at(*recurrent, row - 3 * units);
          return bias == nullptr ? 0.0F : float_at(*bias, row);
        });
    if (pieces_.back().correction == absent) return;
    const MatrixSource source{tensor(op.weight), tensor(op.scale)};
    const std::size_t inputs = size_of(op.in[0]);
    pieces_.back().correction = add_ordered<std::int32_t>(biases.rows, [=](std::size_t, Index row) {
      if (row >= 3 * units) return weight_sum(source, row - units, inputs, source.columns());
      return weight_sum(source, row, 0, row < 2 * units ? source.columns() : inputs);
    });
  }

  /// n = tanh(Wx x + b_in + U (r * h) + b_hn): the gates first, then r * h, the candidate, and the mix.
  void add_gru_by_parts(const Op& op) {
    const std::size_t units = size_of(op.out[0]);
    const std::size_t inputs = size_of(op.in[0]);
    const auto part = [&](std::size_t which) { return Place{Area::arena, scratch_ + which * units, 4 * units}; };
    // The integer kernels of the two halves would need a scratch of their own; floats do.
    Op plain = op;
    plain.activations = Activations::float32;

    const RowOrder gates = affine_rows(0, 2 * units, kernels_);
    add_two_input_affine({place(op.in[0]), place(op.in[1])}, part(0), 2 * units, inputs, units, plain, gates,
                         {Unary::sigmoid, 0.0F, 0.0F});
    add_bias(gates, op.bias);

    PlannedStep& product = add_step(kernels_.binary[number(Binary::mul)], {part(0), place(op.in[1])}, {part(2)});
    product.step.in_size[0] = product.step.in_size[1] = product.step.size = units;

    const RowOrder candidate = affine_rows(2 * units, units, kernels_);
    add_two_input_affine({place(op.in[0]), part(2)}, part(3), units, inputs, units, plain, candidate,
                         {Unary::tanh, 0.0F, 0.0F});
    pieces_.back().bias = add_ordered<float>(
        candidate.rows, [units, bias = tensor(op.bias), recurrent = tensor(op.recurrent_bias)](std::size_t, Index row) {
          return (bias == nullptr ? 0.0F : float_at(*bias, row)) +
                 (recurrent == nullptr ? 0.0F : float_at(*recurrent, row - 2 * units));
        });

    add_step(kernels_.blend, {part(1), part(3), place(op.in[1])}, {place(op.out[0])}).step.size = units;
  }

  void add_two_input_affine(std::initializer_list<Place> in, const Place& out, std::size_t size, std::size_t first,
                            std::size_t second, const Op& op, const RowOrder& order, const Function& function) {
    PlannedStep& planned = add_step(nullptr, in, {out});
    planned.step.in_size[0] = first;
    planned.step.in_size[1] = second;
    planned.step.size = size;
    set_function(planned, function);
    planned.step.run = kernels_.affine[number(add_matrix(op, order, first))];
  }

  void add_convolution(const Op& op) {
    const ConvolutionPlan plan = plan_convolution(op.conv, kernels_);
    PlannedStep& planned = add_step(plan.by_channels ? kernels_.convolve_channels : kernels_.convolve_places, op);
    planned.has_scratch = true;
    planned.scratch = scratch_;
    const MatrixSource source{tensor(op.weight), nullptr};
    planned.step.inner = source.columns();
    const RowOrder order = channel_order(plan, kernels_);
    pieces_.back().weights =
        stream_.add(packed_size(source, order, Packing::f32, 1, source.columns()),
                    [=](std::byte* to) { pack(source, order, Packing::f32, 1, source.columns(), to); });
    add_bias(order, op.bias);
    add_index(tap_offsets(plan));
    pieces_.back().convolution = convolutions_.size();
    convolutions_.push_back(plan);
  }

  void add_copy(const Copy& copy) { add_step(kernels_.copy, {copy.from}, {copy.to}).step.size = copy.size; }

  void add_gather(std::size_t i, const Op& op) {
    const GatherPlan& gather = plan_.gathers[i];
    for (const Copy& copy : gather.copies) add_copy(copy);
    for (const Pick& pick : gather.picks) {
      add_step(kernels_.pick, {pick.from}, {place(op.out[0])}).step.size = pick.index.size() / 2;
      add_index(pick.index);
    }
    if (!gather.indexed || !gather.picks.empty()) return;
    add_step(kernels_.gather, {gather.source}, {place(op.out[0])}).step.size = size_of(op.out[0]);
    const Tensor& index = program_.tensors[op.index];
    pieces_.back().index = others_.add(
        index.bytes.size(), [&index](std::byte* to) { std::memcpy(to, index.bytes.data(), index.bytes.size()); });
  }

  void add_index(std::vector<std::int32_t> numbers) {
    const std::size_t bytes = numbers.size() * sizeof(std::int32_t);
    pieces_.back().index = others_.add(
        bytes, [numbers = std::move(numbers), bytes](std::byte* to) { std::memcpy(to, numbers.data(), bytes); });
  }

  /// Floats that an operation needs beside its operands.
  [[nodiscard]] std::size_t scratch_of(const Op& op) const {
    if (is_convolution(op)) return plan_convolution(op.conv, kernels_).scratch;
    if (op.kind == OpKind::gru && !op.linear_before_reset) return batch_ * 4 * size_of(op.out[0]);
    if (op.weight == none || is_plain(op.kind)) return 0;
    if (packing_of(program_.tensors[op.weight], op.activations) != Packing::i8_dot) return 0;
    return batch_ * integer_input_floats(op);
  }

  /// Per row of the batch: the scale of the input in a line of its own, then its integers of 16 bits, room for a whole
  /// vector behind the last ones.
  [[nodiscard]] std::size_t integer_input_floats(const Op& op) const {
    std::size_t slots = realtime::round_up(size_of(op.in[0]), kernels_.group);
    if (op.kind != OpKind::affine) slots += realtime::round_up(size_of(op.in[1]), kernels_.group);
    return (realtime::cache_line + 2 * realtime::round_up(slots + kernels_.lanes, realtime::cache_line)) /
           sizeof(float);
  }

  // ---- addresses ----

  void resolve(const Model& model) {
    const std::byte* const stream = model.memory_.data();
    const std::byte* const others = stream + stream_.size();
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      Step& step = steps_[i].step;
      const StepPieces& pieces = pieces_[i];
      if (pieces.weights != absent) step.weights = stream + pieces.weights;
      if (pieces.bias != absent) step.bias = reinterpret_cast<const float*>(others + pieces.bias);
      // Kernels that need no scale still compute its address.
      step.scale = pieces.scale != absent ? reinterpret_cast<const float*>(others + pieces.scale) : step.bias;
      if (pieces.correction != absent) {
        step.correction = reinterpret_cast<const std::int32_t*>(others + pieces.correction);
      }
      if (pieces.index != absent) step.index = reinterpret_cast<const std::int32_t*>(others + pieces.index);
      if (pieces.convolution != absent) step.extra = &model.convolutions_[pieces.convolution];
    }
    // Constants are read from the block, too.
    for (PlannedStep& planned : steps_) {
      for (std::uint8_t in = 0; in < planned.inputs; ++in) {
        if (planned.in[in].area == Area::constants) planned.in[in].offset += stream_.size() / sizeof(float);
      }
    }
  }

  const Program& program_;
  std::size_t batch_;
  const KernelTable& kernels_;
  Plan plan_;
  Pieces stream_;
  Pieces others_;
  std::vector<PlannedStep> steps_;
  std::vector<StepPieces> pieces_;
  std::vector<ConvolutionPlan> convolutions_;
  std::size_t scratch_ = 0;
};

std::shared_ptr<const Model> Model::make(const Program& program, std::size_t batch, const KernelTable& kernels,
                                         bool lock_memory) {
  return Builder(program, batch, kernels).build(lock_memory);
}

std::unique_ptr<Session> Session::make(std::shared_ptr<const Model> model, const SessionBuffers& buffers) {
  realtime::Memory arena(model->arena_floats() * sizeof(float));
  if (!arena.valid() || (model->lock_memory() && !arena.lock())) return nullptr;
  return std::unique_ptr<Session>(new Session(std::move(model), std::move(arena), buffers));
}

Session::Session(std::shared_ptr<const Model> model, realtime::Memory arena, const SessionBuffers& buffers)
    : model_(std::move(model)), arena_(std::move(arena)) {
  for (const Guard& guard : model_->guards()) {
    realtime::poison(arena_.data() + guard.offset * sizeof(float), guard.size * sizeof(float));
  }
  for (std::size_t phase = 0; phase < 2; ++phase) {
    // Kernels do not write to what they read: the casts only spare a second kind of operand.
    std::array<float*, area_count> bases{};
    bases[number(Area::constants)] = reinterpret_cast<float*>(model_->memory().data());
    bases[number(Area::observation)] = const_cast<float*>(buffers.observation);
    bases[number(Area::state)] = buffers.state[phase];
    bases[number(Area::next_state)] = buffers.state[1 - phase];
    bases[number(Area::next_outputs)] = buffers.outputs[1 - phase];
    bases[number(Area::arena)] = reinterpret_cast<float*>(arena_.data());
    const auto operand = [&](const Place& place) {
      return Operand{bases[number(place.area)] + place.offset, place.stride};
    };
    for (const PlannedStep& planned : model_->steps()) {
      Step step = planned.step;
      step.backwards = phase == 1;
      for (std::uint8_t i = 0; i < planned.inputs; ++i) step.in[i] = operand(planned.in[i]);
      for (std::uint8_t i = 0; i < planned.outputs; ++i) step.out[i] = operand(planned.out[i]);
      if (planned.has_scratch) step.scratch = bases[number(Area::arena)] + planned.scratch;
      steps_[phase].push_back(step);
    }
  }
}

void Session::run(std::size_t phase) noexcept GANGLION_NONBLOCKING {
  for (const Step& step : steps_[phase]) step.run(step);
}

}  // namespace ganglion::native
