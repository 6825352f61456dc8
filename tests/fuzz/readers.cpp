// Bytes of unknown honesty go through every reader of the io room and those of raw states; a .ganglion file that loads
// is stepped on every instruction set of this machine. Whatever is wrong with the bytes must come out as
// ganglion::Error: any other exception, a crash, and whatever a sanitizer sees is a finding.
//
// Built with libFuzzer (make fuzz) or with corpus_runner.cpp (any compiler, part of the C++ tests).

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "container.hpp"
#include "fuzzing.hpp"
#include "ganglion/native_policy.hpp"
#include "io/artifact.hpp"
#include "io/bytes.hpp"
#include "io/ganglion_file.hpp"
#include "io/hints.hpp"
#include "io/onnx/reading.hpp"
#include "native/kernels/choice.hpp"
#include "native/model.hpp"
#include "wiring/raw_recording.hpp"

namespace {

using ganglion::Contract;
using ganglion::Error;
using ganglion::NativePolicy;
namespace detail = ganglion::detail;
namespace native = ganglion::native;
namespace realtime = ganglion::realtime;
namespace wiring = ganglion::wiring;

/// Calls `read`; an `Error` is an answer like any other.
template <class Read>
void answered(const Read& read) {
  try {
    read();
  } catch (const Error& error) {
    if (std::strlen(error.what()) == 0) std::abort();  // a refusal is a sentence
  }
}

void read_record(detail::ContractRecord (*read)(std::span<const std::byte>), std::span<const std::byte> bytes) {
  answered([&] {
    const detail::ContractRecord record = read(bytes);
    if (record.json) static_cast<void>(Contract::from_json(*record.json));
  });
}

/// As a file of another exporter, whatever contract it carries.
void read_foreign(std::span<const std::byte> bytes) {
  answered([&] { static_cast<void>(detail::read_foreign_onnx(bytes, {}, {}).to_json()); });
}

void read_hints(std::string_view text) {
  answered([&] { static_cast<void>(detail::parse_hints(text, "policy.onnx.yaml")); });
}

void read_contract(std::string_view text) {
  answered([&] {
    // What has been read can be written, and reads the same again.
    const std::string once = Contract::from_json(text).to_json();
    if (Contract::from_json(once).to_json() != once) std::abort();
  });
}

/// As a recording of raw states, and as one array of it: an archive has digests that few changed files fit.
void read_raw(std::span<const std::byte> bytes) {
  answered([&] {
    const wiring::RawRecording recording = wiring::read_raw(bytes, "states");
    const ganglion::RawState state = recording.state(recording.steps() - 1, recording.rows() - 1);
    static_cast<void>(state.as_float("q"));
  });
  answered([&] {
    const wiring::Npy array = wiring::read_npy(std::string(detail::as_text(bytes)), "it");
    if (array.has_numbers()) static_cast<void>(array.numbers());
  });
}

/// A rough number of multiplications in one step. A small file may honestly ask for hours of work, which would only
/// keep the fuzzer from finding anything.
double work_of(const detail::GanglionFile& file) {
  double work = 0.0;
  for (const native::Value& value : file.program.values) work += static_cast<double>(value.size);
  for (const native::Op& op : file.program.ops) {
    work += static_cast<double>(op.rows) * static_cast<double>(op.columns) * static_cast<double>(op.inner + 1);
    const native::Convolution& conv = op.conv;
    const double padded = static_cast<double>(conv.pad_top + conv.height + conv.pad_bottom) *
                          static_cast<double>(conv.pad_left + conv.width + conv.pad_right);
    const double kernel = static_cast<double>(conv.kernel_height) * static_cast<double>(conv.kernel_width);
    work += static_cast<double>(conv.in_channels) * padded * (static_cast<double>(conv.out_channels) * kernel + 1);
    for (const native::Index index : {op.weight, op.bias, op.index}) {
      if (index != native::none) work += static_cast<double>(file.program.tensors[index].bytes.size());
    }
  }
  const auto& golden = file.contract.golden;
  const double rows = std::max<double>(static_cast<double>(file.contract.batch.value_or(2)), golden ? 3.0 : 1.0);
  return work * rows * (golden ? static_cast<double>(golden->steps + 2) : 2.0);
}

/// Numbers that a robot sends, and numbers that it should not.
constexpr std::array<float, 10> samples{0.0F, 0.5F, -1.0F, 3.0F, -1e-3F, 1e30F, -3e38F, 1e-41F, 16777216.F, -2.5F};

std::vector<float> observation_of(std::size_t size, std::size_t step) {
  std::vector<float> observation(size);
  for (std::size_t i = 0; i < size; ++i) observation[i] = step == 0 ? 0.25F : samples[(i + step) % samples.size()];
  return observation;
}

void step_policy(std::span<const std::byte> bytes, std::size_t batch) {
  ganglion::NativeOptions options;
  options.warmup_steps = 1;
  options.self_test = false;
  options.batch = batch;
  NativePolicy policy = NativePolicy::load(bytes, options);
  const std::size_t rows = policy.batch();
  std::vector<float> action(rows * policy.contract().action_size());
  const auto check_finite = [&](std::span<const float> values) {
    // A step that is not ok leaves action and state as they were, so both stay finite for ever.
    if (!std::all_of(values.begin(), values.end(), [](float value) { return std::isfinite(value); })) std::abort();
  };
  for (std::size_t step = 0; step < 2; ++step) {
    const auto observation = observation_of(rows * policy.contract().observation_size(), step);
    static_cast<void>(policy.step(observation, action));
    check_finite(action);
    check_finite(policy.state());
    static_cast<void>(policy.set_state(policy.state()));
  }
  static_cast<void>(policy.reset(std::vector<std::uint8_t>(rows, 1)));
  static_cast<void>(policy.output(policy.contract().outputs.size()));
  policy.reset();
  static_cast<void>(policy.self_test());
  static_cast<void>(policy.clone());
}

/// The kernels that the policy does not use on this machine.
void step_on(ganglion::Isa isa, const detail::GanglionFile& file, std::size_t batch) {
  const native::KernelTable* kernels = native::kernels_for(isa);
  if (kernels == nullptr) return;
  auto observation = observation_of(batch * file.contract.observation_size(), 1);
  std::array<std::vector<float>, 2> state;
  std::array<std::vector<float>, 2> outputs;
  for (auto& buffer : state) buffer.assign(batch * file.contract.hidden_size(), 0.5F);
  for (auto& buffer : outputs) buffer.resize(batch * file.contract.output_size());
  const auto session = native::Session::make(
      native::Model::make(file.program, batch, *kernels, false),
      {observation.data(), {state[0].data(), state[1].data()}, {outputs[0].data(), outputs[1].data()}});
  for (std::size_t step = 0; step < 2; ++step) session->run(step);
}

void read_native(std::span<const std::byte> bytes) {
  answered([&] {
    constexpr double affordable = 1 << 20;
    const detail::GanglionFile file = detail::read_ganglion(bytes);
    if (work_of(file) > affordable) return;
    const std::size_t batch = file.contract.batch.value_or(2);
    step_policy(bytes, batch);
    for (const ganglion::Isa isa : ganglion::every_isa) {
      step_on(isa, file, batch);
    }
  });
}

using Random = std::minstd_rand;

/// Replaces one number of a JSON text by one that is next to it, extreme, or somewhere else in the text. Most of what a
/// file can lie about is a number.
void edit_number(std::string& text, Random& random) {
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  std::vector<std::pair<std::size_t, std::size_t>> numbers;  // begin and length
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (!is_digit(text[i]) || (i != 0 && (std::isalpha(static_cast<unsigned char>(text[i - 1])) || text[i - 1] == '.')))
      continue;
    const std::size_t begin = i;
    while (i < text.size() && is_digit(text[i])) ++i;
    if (i - begin < 10) numbers.emplace_back(begin, i - begin);
  }
  if (numbers.empty()) return;
  const auto [begin, length] = numbers[random() % numbers.size()];
  const auto [other, other_length] = numbers[random() % numbers.size()];
  const std::uint64_t number = std::stoull(text.substr(begin, length));
  const std::array<std::uint64_t, 8> edits{number + 1, number - 1,  number * 2,  number + 16,
                                           0,          1ULL << 24U, 1ULL << 32U, 1ULL << 63U};
  const std::size_t which = random() % (2 * edits.size());
  text.replace(begin, length, which < edits.size() ? std::to_string(edits[which]) : text.substr(other, other_length));
}

/// Replaces one element of the data as `edit_number` does.
void edit_element(std::string& data, Random& random) {
  if (data.size() < sizeof(std::uint32_t)) return;
  const std::size_t at = random() % (data.size() / sizeof(std::uint32_t)) * sizeof(std::uint32_t);
  std::uint32_t element = 0;
  std::memcpy(&element, data.data() + at, sizeof element);
  const std::array<std::uint32_t, 8> edits{element + 1, element - 1, element + 16, 0,
                                           UINT32_MAX,  0x7F800000U, 0x7FC00000U,  0x7F7FFFFFU};
  element = edits[random() % edits.size()];
  std::memcpy(data.data() + at, &element, sizeof element);
}

/// A .ganglion file with one part changed; length and digest are put right.
std::string mutated_part(fuzz::Container container, Random random) {
  std::string* const texts[] = {&container.program, &container.program, &container.tensors, &container.contract};
  const std::size_t choice = random() % 8;
  if (choice < 4) {
    edit_number(*texts[choice], random);
    if (random() % 2 == 0) edit_number(*texts[random() % std::size(texts)], random);
  } else if (choice == 4) {
    edit_element(container.data, random);
  } else {
    std::string& part = choice == 5 ? container.data : *texts[random() % std::size(texts)];
    const std::size_t size = part.size();
    part.resize(size + 64);
    part.resize(LLVMFuzzerMutate(reinterpret_cast<std::uint8_t*>(part.data()), size, part.size()));
  }
  return fuzz::close_container(std::move(container));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // A copy of its own size: a read past the end leaves the block, and AddressSanitizer sees it.
  const std::vector<std::byte> copy(reinterpret_cast<const std::byte*>(data),
                                    reinterpret_cast<const std::byte*>(data) + size);
  const std::span<const std::byte> bytes(copy);
  read_native(bytes);
  read_record(detail::read_onnx, bytes);
  read_record(detail::read_torchscript, bytes);
  read_foreign(bytes);
  read_hints(detail::as_text(bytes));
  read_contract(detail::as_text(bytes));
  read_raw(bytes);
  return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t most, unsigned seed) {
  if (seed % 4 != 0) {
    if (auto container = fuzz::open_container(std::as_bytes(std::span(data, size)))) {
      const std::string file = mutated_part(*std::move(container), Random(seed));
      if (file.size() <= most) {
        std::copy(file.begin(), file.end(), data);
        return file.size();
      }
    }
  }
  return LLVMFuzzerMutate(data, size, most);
}
