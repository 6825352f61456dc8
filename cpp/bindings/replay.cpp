#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <ganglion/policy.hpp>
#include <utility>
#include <vector>

#include "arrays.hpp"
#include "flight.hpp"
#include "realtime/xxh64.hpp"

namespace py = pybind11;

namespace ganglion::bindings {

namespace {

using Bytes = py::array_t<std::uint8_t, py::array::c_style>;
using Digests = py::array_t<std::uint64_t, py::array::c_style>;

/// Memory of a whole run, of which each step has its part.
struct Column {
  float* values;
  std::size_t size;

  [[nodiscard]] std::span<float> at(std::size_t step) const { return {values + step * size, size}; }
};

Column column(Floats& array, std::size_t steps, std::size_t size) {
  if (static_cast<std::size_t>(array.size()) != steps * size) throw py::value_error("an array has the wrong size");
  return {array.mutable_data(), size};
}

/// Steps behind each other, as fast as they go: an hour of flight is millions of them.
void replay_steps(Policy& policy, Floats& observation, const Bytes& is_run, const std::vector<std::size_t>& indices,
                  Bytes& answers, std::vector<Floats>& outputs, Digests& digests) {
  const auto steps = static_cast<std::size_t>(is_run.size());
  const std::size_t rows = policy.batch();
  const Contract& contract = policy.contract();
  if (outputs.size() != indices.size() + 1 || std::cmp_not_equal(answers.size(), steps) ||
      std::cmp_not_equal(digests.size(), steps)) {
    throw py::value_error("an array is missing, or has the wrong size");
  }
  const Column given = column(observation, steps, rows * contract.observation_size());
  const Column action = column(outputs[0], steps, rows * contract.action_size());
  std::vector<Column> others;
  for (std::size_t i = 0; i < indices.size(); ++i) {
    others.push_back(column(outputs[i + 1], steps, rows * contract.outputs.at(indices[i]).size));
  }
  const std::uint8_t* const run = is_run.data();
  std::uint8_t* const answer = answers.mutable_data();
  std::uint64_t* const digest = digests.mutable_data();
  const py::gil_scoped_release release;
  for (std::size_t step = 0; step < steps; ++step) {
    if (run[step] != 0) {
      const Status status = policy.step(given.at(step), action.at(step));
      answer[step] = static_cast<std::uint8_t>(status);
      for (std::size_t i = 0; i < others.size() && status == Status::ok; ++i) {
        std::ranges::copy(policy.output(indices[i]), others[i].at(step).begin());
      }
    }
    digest[step] = realtime::xxh64(std::as_bytes(policy.state()));
  }
}

}  // namespace

void bind_replay(py::module_& module) {
  module.def("replay_steps", &replay_steps, py::arg("policy"), py::arg("observation").noconvert(), py::arg("is_run"),
             py::arg("indices"), py::arg("answers").noconvert(), py::arg("outputs"), py::arg("digests").noconvert(),
             "Steps a policy along recorded observations; of a refused step the outputs stay as they were.");
}

}  // namespace ganglion::bindings
