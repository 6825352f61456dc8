// ganglion._core: the C++ runtime as it is, for Python. Names, shapes and messages are the business of
// ganglion.runtime; this file only moves bytes.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include <ganglion/native_policy.hpp>
#include <ganglion/policy.hpp>
#include <ganglion/version.hpp>
#include <map>
#include <string>
#include <vector>

#include "io/program/program.hpp"

namespace py = pybind11;

namespace {

using Floats = py::array_t<float, py::array::c_style>;
using Flags = py::array_t<std::uint8_t, py::array::c_style>;

std::span<const float> view(const Floats& array) { return {array.data(), static_cast<std::size_t>(array.size())}; }

Floats copy(std::span<const float> values) { return Floats(static_cast<py::ssize_t>(values.size()), values.data()); }

ganglion::LoadOptions make_options(ganglion::Engine engine, int threads, int warmup_steps, std::size_t batch,
                                   bool lock_memory, std::optional<std::uint64_t> sample_seed,
                                   ganglion::ReadingHints hints, const std::filesystem::path& onnxruntime_library,
                                   const std::filesystem::path& libtorch_library) {
  ganglion::LoadOptions options;
  options.engine = engine;
  options.threads = threads;
  options.warmup_steps = warmup_steps;
  options.self_test = false;  // ganglion.runtime runs it, to hand the result on in its exception
  options.batch = batch;
  options.lock_memory = lock_memory;
  options.sample_seed = sample_seed;
  options.hints = std::move(hints);
  options.onnxruntime_library = onnxruntime_library;
  options.libtorch_library = libtorch_library;
  return options;
}

void bind_policy(py::module_& module) {
  using ganglion::Policy;
  py::class_<Policy>(module, "Policy", "ganglion::Policy; see ganglion.Policy.")
      .def_static("load", py::overload_cast<const std::filesystem::path&, const ganglion::LoadOptions&>(&Policy::load),
                  py::arg("path"), py::arg("options"), py::call_guard<py::gil_scoped_release>())
      .def_static(
          "load_bytes",
          [](const py::bytes& file, const std::string& name, const ganglion::LoadOptions& options) {
            const auto bytes = std::as_bytes(std::span(std::string_view(file)));
            const py::gil_scoped_release release;
            return Policy::load(bytes, name, options);
          },
          py::arg("file"), py::arg("name"), py::arg("options"))
      .def(
          "step",
          [](Policy& policy, const Floats& observation, Floats& action) {
            const std::span<float> out(action.mutable_data(), static_cast<std::size_t>(action.size()));
            const py::gil_scoped_release release;
            return policy.step(view(observation), out);
          },
          py::arg("observation").noconvert(), py::arg("action").noconvert())
      .def("reset", py::overload_cast<>(&Policy::reset))
      .def(
          "reset_rows",
          [](Policy& policy, const Flags& rows) {
            return policy.reset(std::span(rows.data(), static_cast<std::size_t>(rows.size())));
          },
          py::arg("rows").noconvert())
      .def(
          "output", [](const Policy& policy, std::size_t index) { return copy(policy.output(index)); },
          py::arg("index"))
      .def("state", [](const Policy& policy) { return copy(policy.state()); })
      .def(
          "set_state", [](Policy& policy, const Floats& state) { return policy.set_state(view(state)); },
          py::arg("state").noconvert())
      .def(
          "set_applied_action",
          [](Policy& policy, const Floats& action) { return policy.set_applied_action(view(action)); },
          py::arg("action").noconvert())
      .def("reading_json", [](const Policy& policy) { return policy.reading().to_json(); })
      .def("self_test", &Policy::self_test, py::call_guard<py::gil_scoped_release>())
      .def("clone", &Policy::clone, py::call_guard<py::gil_scoped_release>())
      .def_property_readonly("batch", &Policy::batch)
      .def_property_readonly("engine", &Policy::engine)
      .def_property_readonly("realtime_safe", &Policy::realtime_safe);
}

void bind_self_test(py::module_& module) {
  using ganglion::SelfTest;
  py::class_<SelfTest>(module, "SelfTest", "The outcome of a replay of the golden trajectory.")
      .def_readonly("ok", &SelfTest::ok, "True when every replayed output was inside the tolerance.")
      .def_readonly("steps", &SelfTest::steps, "Steps replayed; 0 when the artifact carries no golden trajectory.")
      .def_readonly("max_error", &SelfTest::max_error, "Largest |difference| / max(1, |recorded|).")
      .def_readonly("tolerance", &SelfTest::tolerance, "Largest accepted error.")
      .def_readonly("step", &SelfTest::step, "First step beyond the tolerance.")
      .def_readonly("row", &SelfTest::row, "Batch row of the first element beyond the tolerance.")
      .def_readonly("element", &SelfTest::element, "Its index in the concatenated outputs.")
      .def_readonly("median_step_us", &SelfTest::median_step_us, "Median duration of a step, microseconds.")
      .def_readonly("worst_step_us", &SelfTest::worst_step_us, "Worst duration of a step, microseconds.")
      .def_readonly("message", &SelfTest::message, "One sentence.")
      .def("__repr__", [](const SelfTest& test) {
        return "SelfTest(ok=" + std::string(test.ok ? "True" : "False") + ", " + test.message + ")";
      });
}

/// What is valid in a program: the one judge for both languages.
void bind_program(py::module_& module) {
  module.def("vocabulary_json", &ganglion::detail::vocabulary_json);
  module.def(
      "check_program",
      [](const std::string& program, const std::map<std::string, py::array>& tensors) {
        std::vector<py::array> held;  // what is not in C order is copied, everything else looked at where it is
        std::map<std::string, ganglion::detail::ForeignTensor> seen;
        for (const auto& [name, given] : tensors) {
          held.push_back(py::array::ensure(given, py::array::c_style));
          const py::array& tensor = held.back();
          const std::vector<std::size_t> shape(tensor.shape(), tensor.shape() + tensor.ndim());
          const auto* bytes = static_cast<const std::byte*>(tensor.data());
          seen[name] = {py::str(tensor.dtype()), shape, {bytes, static_cast<std::size_t>(tensor.nbytes())}};
        }
        const py::gil_scoped_release release;
        ganglion::detail::check_program(program, seen);
      },
      py::arg("program"), py::arg("tensors"));
}

const char* code_name(ganglion::ErrorCode code) {
  switch (code) {
    case ganglion::ErrorCode::file_not_found:
      return "file_not_found";
    case ganglion::ErrorCode::bad_artifact:
      return "bad_artifact";
    case ganglion::ErrorCode::newer_format:
      return "newer_format";
    case ganglion::ErrorCode::digest_mismatch:
      return "digest_mismatch";
    case ganglion::ErrorCode::bad_contract:
      return "bad_contract";
    case ganglion::ErrorCode::bad_option:
      return "bad_option";
    case ganglion::ErrorCode::engine_unavailable:
      return "engine_unavailable";
    case ganglion::ErrorCode::engine_failure:
      return "engine_failure";
    case ganglion::ErrorCode::self_test_failed:
      return "self_test_failed";
  }
  return "unknown";
}

}  // namespace

PYBIND11_MODULE(_core, module) {
  module.doc() = "The C++ runtime of ganglion. Private: use ganglion.load and ganglion.inspect.";
  module.attr("__version__") = ganglion::version;

  static py::exception<ganglion::Error> error_type(module, "Error");
  error_type.doc() = "ganglion::Error; args are the code's name and the sentence.";
  py::register_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const ganglion::Error& error) {
      PyErr_SetObject(error_type.ptr(), py::make_tuple(code_name(error.code()), error.what()).ptr());
    }
  });

  py::enum_<ganglion::Status>(module, "Status")
      .value("ok", ganglion::Status::ok)
      .value("bad_size", ganglion::Status::bad_size)
      .value("non_finite_observation", ganglion::Status::non_finite_observation)
      .value("non_finite_action", ganglion::Status::non_finite_action)
      .value("engine_failure", ganglion::Status::engine_failure)
      .value("non_finite_state", ganglion::Status::non_finite_state);
  py::enum_<ganglion::Engine>(module, "Engine")
      .value("automatic", ganglion::Engine::automatic)
      .value("native", ganglion::Engine::native)
      .value("onnxruntime", ganglion::Engine::onnxruntime)
      .value("libtorch", ganglion::Engine::libtorch);
  py::class_<ganglion::ReadingHints>(module, "ReadingHints")
      .def(py::init([](std::optional<std::vector<std::pair<std::string, std::string>>> state,
                       std::map<std::string, double> constants) {
             return ganglion::ReadingHints{std::move(state), std::move(constants)};
           }),
           py::kw_only(), py::arg("state"), py::arg("constants"));
  py::class_<ganglion::LoadOptions>(module, "LoadOptions")
      .def(py::init(&make_options), py::kw_only(), py::arg("engine"), py::arg("threads"), py::arg("warmup_steps"),
           py::arg("batch"), py::arg("lock_memory"), py::arg("sample_seed"), py::arg("hints"),
           py::arg("onnxruntime_library"), py::arg("libtorch_library"));
  bind_self_test(module);
  bind_policy(module);
  bind_program(module);
  module.def("native_instruction_set", &ganglion::native_instruction_set);
  module.def(
      "explain_json",
      [](const std::filesystem::path& path, const ganglion::LoadOptions& options) {
        return ganglion::explain(path, options).to_json();
      },
      py::arg("path"), py::arg("options"), py::call_guard<py::gil_scoped_release>());
  module.def(
      "explain_onnx_json",
      [](const py::bytes& file, const std::string& name, const ganglion::ReadingHints& hints) {
        const auto bytes = std::as_bytes(std::span(std::string_view(file)));
        const py::gil_scoped_release release;
        return ganglion::explain_onnx(bytes, name, hints).to_json();
      },
      py::arg("file"), py::arg("name"), py::arg("hints"));
}
