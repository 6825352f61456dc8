#include "wiring/raw_recording.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

#include "ganglion/error.hpp"
#include "io/boundary.hpp"
#include "io/bytes.hpp"
#include "io/first_bytes.hpp"
#include "io/words.hpp"
#include "wiring/flight_states.hpp"

namespace ganglion::wiring {

namespace {

bool is_by_step(const Npy& array, std::size_t steps) { return !array.shape.empty() && array.shape[0] == steps; }

std::string text_of(const std::vector<std::size_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

}  // namespace

RawRecording::RawRecording(std::string name, Arrays arrays) : name_(std::move(name)), arrays_(std::move(arrays)) {
  steps_ = count_steps();
  if (steps_ == 0) refuse("it has no steps");
  const Npy* const observation = find(observation_name);
  const Npy* const reset = find(reset_name);
  // Of several robots the observations have an axis more, and so have the resets.
  if (observation != nullptr && observation->shape.size() == 3) {
    has_rows_ = true;
    rows_ = observation->shape[1];
  } else if (observation == nullptr && reset != nullptr && reset->shape.size() == 2) {
    has_rows_ = true;
    rows_ = reset->shape[1];
  }
  if (rows_ == 0) refuse("it has no robots");
  read_resets();
}

std::size_t RawRecording::count_steps() const {
  for (const std::string_view name : {observation_name, reset_name, action_name}) {
    const Npy* const array = find(name);
    if (array != nullptr && !array->shape.empty()) return array->shape[0];
  }
  const std::string* first = nullptr;
  std::size_t steps = 0;
  for (const auto& [name, array] : arrays_) {
    if (!array.has_numbers() || array.shape.empty()) continue;
    if (first != nullptr && array.shape[0] != steps) {
      refuse("'" + *first + "' has " + std::to_string(steps) + " steps and '" + name + "' has " +
             std::to_string(array.shape[0]) + "; record them together, or add 'reset', one for each step");
    }
    first = &name;
    steps = array.shape[0];
  }
  if (first == nullptr) refuse("it has no array of numbers; record raw states with ganglion.wiring.record");
  return steps;
}

void RawRecording::read_resets() {
  resets_.assign(steps_ * rows_, false);
  for (std::size_t row = 0; row < rows_; ++row) resets_[row] = true;
  const Npy* const reset = find(reset_name);
  if (reset == nullptr) return;
  if (!reset->has_numbers()) refuse("'reset' holds no numbers");
  const std::vector<double> values = reset->numbers();
  const std::size_t rows = std::max<std::size_t>(rows_, 1);  // it is
  const bool is_for_all = values.size() == steps_;
  if (!is_by_step(*reset, steps_) || (!is_for_all && values.size() != steps_ * rows_)) {
    refuse("'reset' is " + text_of(reset->shape) + "; it must be [" + std::to_string(steps_) + "] or [" +
           std::to_string(steps_) + ", " + std::to_string(rows_) + "]");
  }
  for (std::size_t i = 0; i < resets_.size(); ++i) {
    const double value = values[is_for_all ? i / rows : i];
    if (value != 0.0 && value != 1.0) refuse("'reset' holds something else than zeros and ones");
    if (value == 1.0) resets_[i] = true;
  }
}

RawState RawRecording::state(std::size_t step, std::size_t row) const {
  return {*this, step, row, resets_[step * rows_ + row]};
}

bool RawRecording::has(std::string_view array) const {
  const Npy* const found = find(array);
  return found != nullptr && array != observation_name && found->has_numbers();
}

std::span<const double> RawRecording::at(std::string_view array, std::size_t step, std::size_t row) const {
  const Numbers& found = numbers(array);
  return std::span(found.wide).subspan((found.is_by_row ? step * rows_ + row : step) * found.size, found.size);
}

std::span<const float> RawRecording::float_at(std::string_view array, std::size_t step, std::size_t row) const {
  Numbers& found = numbers(array);
  if (found.narrow.size() != found.wide.size()) {
    found.narrow.resize(found.wide.size());
    std::transform(found.wide.begin(), found.wide.end(), found.narrow.begin(),
                   [](double number) { return static_cast<float>(number); });
  }
  return std::span(found.narrow).subspan((found.is_by_row ? step * rows_ + row : step) * found.size, found.size);
}

RawRecording::Numbers& RawRecording::numbers(std::string_view array) const {
  if (const auto known = numbers_.find(array); known != numbers_.end()) return known->second;
  const std::string name(array);
  if (array == observation_name) {
    refuse("'observation' is what training saw, and no raw state: the adapter is to make it of the others");
  }
  const Npy* const found = find(array);
  if (found == nullptr) {
    std::string others;
    for (const auto& [other, _] : arrays_) {
      if (has(other)) others += (others.empty() ? "'" : ", '") + other + "'";
    }
    refuse("it has no '" + name + "'; it has " + (others.empty() ? "nothing" : others));
  }
  if (!found->has_numbers()) refuse("'" + name + "' holds no numbers; record it as float32 or float64");
  if (!is_by_step(*found, steps_)) {
    refuse("'" + name + "' is " + text_of(found->shape) + "; a state has one entry for each of the " +
           std::to_string(steps_) + " steps");
  }
  Numbers made;
  made.is_by_row = has_rows_ && found->shape.size() > 1 && found->shape[1] == rows_;
  if (has_rows_ && !made.is_by_row && rows_ > 1) {
    refuse("'" + name + "' is " + text_of(found->shape) + "; of " + std::to_string(rows_) +
           " robots it must be [steps, robots, n]");
  }
  made.wide = found->numbers();
  made.size = made.wide.size() / (steps_ * (made.is_by_row ? rows_ : 1));
  return numbers_.emplace(name, std::move(made)).first->second;
}

void RawRecording::write(const std::filesystem::path& path, std::span<const float> observations,
                         std::size_t observation_size) const {
  const std::string name = path.string();
  detail::at_boundary(name, [&] {
    Arrays arrays = taken_over(observation_size);
    std::vector<std::size_t> shape{steps_};
    if (has_rows_) shape.push_back(rows_);
    shape.push_back(observation_size);
    arrays.insert_or_assign(std::string(observation_name),
                            make_npy("<f4", std::move(shape), std::as_bytes(observations)));
    write_npz(path, arrays);
  });
}

Arrays RawRecording::taken_over(std::size_t observation_size) const {
  Arrays taken;
  for (const std::string_view name : {reset_name, action_name}) {
    if (const Npy* const array = find(name)) taken.emplace(name, *array);
  }
  const Npy* const names = find(names_name);
  if (names != nullptr && names->shape == std::vector{observation_size}) taken.emplace(names_name, *names);
  return taken;
}

const Npy* RawRecording::find(std::string_view array) const {
  const auto found = arrays_.find(array);
  return found == arrays_.end() ? nullptr : &found->second;
}

void RawRecording::refuse(const std::string& why) const {
  throw Error(ErrorCode::bad_artifact, "'" + name_ + "': " + why);
}

RawRecording read_raw(const std::filesystem::path& path) {
  const std::string name = path.string();
  return detail::at_boundary(name, [&] { return read_raw(detail::read_file(path, largest_recording), name); });
}

RawRecording read_raw(std::span<const std::byte> bytes, const std::string& name) {
  return detail::at_boundary(name, [&] {
    Arrays arrays = detail::naming(name, [&] {
      if (is_flight(bytes)) return read_flight_states(bytes);
      if (detail::is_zip(bytes)) return read_npz(bytes);
      throw Error(ErrorCode::bad_artifact,
                  "it is neither a .npz of raw states (ganglion.wiring.record, numpy.savez) nor a .mcap "
                  "(FlightRecorder)");
    });
    return RawRecording(name, std::move(arrays));
  });
}

}  // namespace ganglion::wiring
