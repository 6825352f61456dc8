#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>
#include <ganglion/flight_recorder.hpp>
#include <span>

#include "arrays.hpp"

namespace ganglion::bindings {

/// What ganglion.Policy asks of what it stands on: a policy, or a switch between policies.
template <class AnyPolicy, class Class>
void bind_verbs(Class& bound) {
  namespace py = pybind11;
  bound
      .def(
          "step",
          [](AnyPolicy& policy, const Floats& observation, Floats& action) {
            const std::span<float> out = written(action);
            const py::gil_scoped_release release;
            return policy.step(view(observation), out);
          },
          py::arg("observation").noconvert(), py::arg("action").noconvert())
      .def("reset", py::overload_cast<>(&AnyPolicy::reset))
      .def(
          "reset_rows",
          [](AnyPolicy& policy, const Flags& rows) {
            return policy.reset(std::span(rows.data(), static_cast<std::size_t>(rows.size())));
          },
          py::arg("rows").noconvert())
      .def(
          "output", [](const AnyPolicy& policy, std::size_t index) { return copy(policy.output(index)); },
          py::arg("index"))
      .def("state", [](const AnyPolicy& policy) { return copy(policy.state()); })
      .def(
          "set_state", [](AnyPolicy& policy, const Floats& state) { return policy.set_state(view(state)); },
          py::arg("state").noconvert())
      .def(
          "set_applied_action",
          [](AnyPolicy& policy, const Floats& action) { return policy.set_applied_action(view(action)); },
          py::arg("action").noconvert())
      .def("attach", &AnyPolicy::attach, py::arg("recorder"));
}

}  // namespace ganglion::bindings
