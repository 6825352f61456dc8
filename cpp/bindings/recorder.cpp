#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include <ganglion/flight_recorder.hpp>
#include <span>
#include <string_view>

#include "arrays.hpp"
#include "flight.hpp"
#include "realtime/xxh64.hpp"

namespace py = pybind11;

namespace ganglion::bindings {

void bind_recorder(py::module_& module) {
  py::enum_<Compression>(module, "Compression")
      .value("none", Compression::none)
      .value("zstd", Compression::zstd)
      .value("lz4", Compression::lz4);
  py::class_<RecorderStatistics>(module, "RecorderStatistics", "ganglion::RecorderStatistics; see ganglion.flight.")
      .def_readonly("events", &RecorderStatistics::events)
      .def_readonly("dropped", &RecorderStatistics::dropped)
      .def_readonly("bytes", &RecorderStatistics::bytes)
      .def_readonly("error", &RecorderStatistics::error);
  py::class_<RecorderChannel>(module, "RecorderChannel", "ganglion::RecorderChannel; see ganglion.flight.")
      .def(
          "record",
          [](RecorderChannel& channel, const Floats& values) { return channel.record(view(values)) == Status::ok; },
          py::arg("values").noconvert());
  py::class_<FlightRecorder>(module, "FlightRecorder", "ganglion::FlightRecorder; see ganglion.FlightRecorder.")
      .def_static(
          "open",
          [](const std::filesystem::path& path, double seconds, double snapshot_s, bool overwrite) {
            return FlightRecorder::open(path, {.seconds = seconds, .snapshot_s = snapshot_s, .overwrite = overwrite});
          },
          py::arg("path"), py::kw_only(), py::arg("seconds"), py::arg("snapshot_s"), py::arg("overwrite"))
      .def("channel", &FlightRecorder::channel, py::arg("name"), py::arg("size"))
      .def("set_time", &FlightRecorder::set_time, py::arg("now_ns"))
      .def("flush", &FlightRecorder::flush, py::call_guard<py::gil_scoped_release>())
      .def("statistics", &FlightRecorder::statistics)
      .def("close", &FlightRecorder::close, py::arg("compression"), py::call_guard<py::gil_scoped_release>());
  module.def(
      "xxh64",
      [](const py::bytes& bytes) {
        const auto text = static_cast<std::string_view>(bytes);
        return realtime::xxh64(std::as_bytes(std::span(text.data(), text.size())));
      },
      py::arg("bytes"), "XXH64 with the seed 0: the digest of a state in a recording.");
}

}  // namespace ganglion::bindings
