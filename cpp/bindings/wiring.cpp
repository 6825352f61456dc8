#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl/filesystem.h>

#include <ganglion/adapter_check.hpp>
#include <span>
#include <string>

#include "arrays.hpp"
#include "flight.hpp"
#include "wiring/raw_recording.hpp"

namespace py = pybind11;

namespace ganglion::bindings {

void bind_wiring(py::module_& module) {
  py::class_<RawState>(module, "RawState", "ganglion::RawState; see ganglion.wiring.check_adapter.")
      .def(
          "__getitem__",
          [](const RawState& state, const std::string& name) {
            const std::span<const double> numbers = state[name];
            return py::array_t<double>(static_cast<py::ssize_t>(numbers.size()), numbers.data());
          },
          py::arg("name"), "The array of that name in this step, float64.")
      .def("__contains__", &RawState::has, py::arg("name"))
      .def_property_readonly("step", &RawState::step)
      .def_property_readonly("row", &RawState::row, "Which robot of a recording of several.")
      .def_property_readonly("reset", &RawState::reset, "Whether an episode begins with this step.");
  py::class_<wiring::RawRecording>(module, "RawRecording", "Recorded raw states.")
      .def(py::init([](const std::filesystem::path& path) { return wiring::read_raw(path); }), py::arg("path"))
      .def_property_readonly("steps", &wiring::RawRecording::steps)
      .def_property_readonly("rows", &wiring::RawRecording::rows)
      .def("state", &wiring::RawRecording::state, py::arg("step"), py::arg("row"), py::keep_alive<0, 1>())
      .def(
          "write",
          [](const wiring::RawRecording& recording, const std::filesystem::path& path, const Floats& observations,
             std::size_t observation_size) { recording.write(path, view(observations), observation_size); },
          py::arg("path"), py::arg("observations"), py::arg("observation_size"),
          "Writes what an adapter made of the states, [steps, rows, observation_size].");
}

}  // namespace ganglion::bindings
