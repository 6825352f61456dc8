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
#include <string_view>
#include <type_traits>
#include <vector>

#include "arrays.hpp"
#include "flight.hpp"
#include "functions.hpp"
#include "io/artifact.hpp"
#include "io/boundary.hpp"
#include "io/hints.hpp"
#include "io/program/program.hpp"
#include "verbs.hpp"

namespace py = pybind11;

namespace {

using ganglion::bindings::copy;
using ganglion::bindings::Flags;
using ganglion::bindings::Floats;
using ganglion::bindings::view;
using ganglion::bindings::written;
using ganglion::detail::at_boundary;

/// The elements of a float32 array in C order of the shape [size] or [batch, size], [size] for one row alone; null for
/// any other object. The shape is compared by its numbers, without objects of Python in between.
float* elements_of(py::handle object, std::size_t batch, std::size_t size, bool written) {
  namespace detail = py::detail;
  const auto& numpy = detail::npy_api::get();
  if (!numpy.PyArray_Check_(object.ptr())) return nullptr;
  const auto* const array = detail::array_proxy(object.ptr());
  constexpr int needed = detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_ | detail::npy_api::NPY_ARRAY_ALIGNED_;
  const int flags = needed | (written ? detail::npy_api::NPY_ARRAY_WRITEABLE_ : 0);
  if ((array->flags & flags) != flags) return nullptr;
  if (detail::array_descriptor_proxy(array->descr)->type_num != detail::npy_api::NPY_FLOAT_) return nullptr;
  if (detail::array_descriptor_proxy(array->descr)->byteorder == '>') return nullptr;
  const auto is = [&](int axis, std::size_t wanted) {
    return static_cast<std::size_t>(array->dimensions[axis]) == wanted;
  };
  const bool fits = array->nd == 1 ? batch == 1 && is(0, size) : array->nd == 2 && is(0, batch) && is(1, size);
  return fits ? reinterpret_cast<float*>(array->data) : nullptr;
}

/// A step from array to array. False, and nothing done, where the arrays are not plain enough or the step is refused:
/// `step` then says why.
bool step_in_place(ganglion::Policy& policy, py::handle observation, py::handle action) {
  const std::size_t batch = policy.batch();
  const std::size_t inputs = policy.contract().observation_size();
  const std::size_t outputs = policy.contract().action_size();
  const float* const from = elements_of(observation, batch, inputs, false);
  float* const to = elements_of(action, batch, outputs, true);
  if (from == nullptr || to == nullptr) return false;
  if (py::detail::array_proxy(observation.ptr())->nd != py::detail::array_proxy(action.ptr())->nd) return false;
  const py::gil_scoped_release release;
  return policy.step({from, batch * inputs}, {to, batch * outputs}) == ganglion::Status::ok;
}

/// A value of Python as an option. None is not asked for: it leaves the default.
template <class Value>
void take(const py::object& given, Value& value) {
  if constexpr (std::is_same_v<Value, ganglion::Engine>) {
    const auto name = given.cast<std::string>();
    const auto engine = ganglion::engine_named(name);
    if (!engine) throw py::value_error("there is no engine '" + name + "'");
    value = *engine;
  } else if constexpr (std::is_same_v<Value, ganglion::Isa>) {
    const auto name = given.cast<std::string>();
    const auto isa = ganglion::isa_named(name);
    if (!isa) throw py::value_error("there is no instruction set '" + name + "'");
    value = *isa;
  } else {
    value = given.cast<Value>();
  }
}

ganglion::LoadOptions make_options(const py::dict& given) {
  ganglion::LoadOptions options;
  options.self_test = false;  // ganglion.runtime runs it, to hand the result on in its exception
  std::size_t known = 0;
  ganglion::for_each_option(options, [&](const char* name, auto& value, const char*) {
    if (!given.contains(name)) return;
    ++known;
    if (const py::object one = given[name]; !one.is_none()) take(one, value);
  });
  if (known != given.size()) throw py::type_error("LoadOptions: there is no such option; see load_options()");
  return options;
}

/// Every option by its name: the default, and what it says.
py::dict load_options() {
  py::dict table;
  ganglion::LoadOptions defaults;
  ganglion::for_each_option(defaults, [&](const char* name, const auto& value, const char* what) {
    using Value = std::decay_t<decltype(value)>;
    py::object shown = py::none();  // of what Python leaves to the runtime with a None
    if constexpr (std::is_same_v<Value, ganglion::Engine> || std::is_same_v<Value, ganglion::Isa>) {
      shown = py::str(to_string(value));
    } else if constexpr (std::is_same_v<Value, int> || std::is_same_v<Value, bool>) {
      shown = py::cast(value);
    }
    table[name] = py::make_tuple(shown, what);
  });
  return table;
}

/// An enumeration of Python with every enumerator that `to_string` knows; they have no gaps.
template <class Enumeration>
void bind_enumeration(py::module_& module, const char* name) {
  py::enum_<Enumeration> bound(module, name);
  for (int value = 0; to_string(static_cast<Enumeration>(value)) != std::string_view("unknown"); ++value) {
    bound.value(to_string(static_cast<Enumeration>(value)), static_cast<Enumeration>(value));
  }
}

void bind_engines(py::module_& module) {
  using ganglion::EngineTraits;
  py::class_<EngineTraits>(module, "EngineTraits", "One row of the table of engines.")
      .def_readonly("name", &EngineTraits::name)
      .def_readonly("suffix", &EngineTraits::suffix, "Of the files that it opens.")
      .def_readonly("realtime_safe", &EngineTraits::realtime_safe,
                    "Its step takes no heap, no lock and no system call.");
  module.def("engines", [] { return std::vector(ganglion::engine_table.begin(), ganglion::engine_table.end()); });
}

void bind_policy(py::module_& module) {
  using ganglion::Policy;
  py::class_<Policy> bound(module, "Policy", "ganglion::Policy; see ganglion.Policy.");
  ganglion::bindings::bind_verbs<Policy>(bound);
  bound
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
      .def("step_in_place", &step_in_place, py::arg("observation"), py::arg("action"))
      .def(
          "burn_in",
          [](Policy& policy, const Floats& observations) {
            const std::span<const float> values = view(observations);
            const py::gil_scoped_release release;
            const ganglion::BurnIn done = policy.burn_in(values);
            return std::pair(done.status, done.steps);
          },
          py::arg("observations").noconvert())
      .def(
          "reading_json", [](const Policy& policy, bool with_golden) { return policy.reading().to_json(with_golden); },
          py::arg("with_golden"))
      .def("self_test", &Policy::self_test, py::call_guard<py::gil_scoped_release>())
      .def("clone", &Policy::clone, py::call_guard<py::gil_scoped_release>())
      .def_property_readonly("batch", &Policy::batch)
      .def_property_readonly("engine", [](const Policy& policy) { return to_string(policy.engine()); })
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
      .def_readonly("bits", &SelfTest::bits, "Digests of the recorded rows on the native engine; empty on others.")
      .def_readonly("message", &SelfTest::message, "One sentence.")
      .def("__repr__", [](const SelfTest& test) {
        return "SelfTest(ok=" + std::string(test.ok ? "True" : "False") + ", " + test.message + ")";
      });
}

/// What is valid in a program: the one judge for both languages.
void bind_program(py::module_& module) {
  module.def("functions", [] { return ganglion::bindings::functions; });
  module.def("vocabulary_json", [] { return at_boundary("program", &ganglion::detail::vocabulary_json); });
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
        at_boundary("program", [&] { ganglion::detail::check_program(program, seen); });
      },
      py::arg("program"), py::arg("tensors"));
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
      // What another library says may hold any bytes.
      const std::string_view text = error.what();
      const auto sentence = py::reinterpret_steal<py::object>(
          PyUnicode_DecodeUTF8(text.data(), static_cast<py::ssize_t>(text.size()), "replace"));
      PyErr_SetObject(error_type.ptr(), py::make_tuple(to_string(error.code()), sentence).ptr());
    }
  });

  bind_enumeration<ganglion::Status>(module, "Status");
  bind_engines(module);
  py::class_<ganglion::ReadingHints>(module, "ReadingHints")
      .def(py::init([](std::optional<std::vector<std::pair<std::string, std::string>>> state,
                       std::map<std::string, double> constants, std::optional<std::string> action,
                       std::map<std::string, std::size_t> observation) {
             return ganglion::ReadingHints{std::move(state), std::move(constants), std::move(action),
                                           std::move(observation)};
           }),
           py::kw_only(), py::arg("state"), py::arg("constants"), py::arg("action"), py::arg("observation"))
      .def_readonly("state", &ganglion::ReadingHints::state)
      .def_readonly("action", &ganglion::ReadingHints::action)
      .def_readonly("observation", &ganglion::ReadingHints::observation);
  module.def(
      "suffix_of",
      [](const py::bytes& file, const std::string& name) {
        const auto bytes = std::as_bytes(std::span(std::string_view(file)));
        return ganglion::detail::suffix_of(ganglion::detail::kind_of(bytes, name));
      },
      py::arg("file"), py::arg("name"));
  module.def("hints_for", &ganglion::detail::hints_for, py::arg("policy"), py::arg("given"));
  py::class_<ganglion::LoadOptions>(module, "LoadOptions").def(py::init(&make_options), py::arg("options"));
  module.def("load_options", &load_options);
  bind_self_test(module);
  ganglion::bindings::bind_recorder(module);
  bind_policy(module);
  bind_program(module);
  ganglion::bindings::bind_flight(module);
  ganglion::bindings::bind_replay(module);
  ganglion::bindings::bind_switch(module);
  ganglion::bindings::bind_wiring(module);
  module.def("native_instruction_set", &ganglion::native_instruction_set);
  module.def(
      "check_torchscript",
      [](const py::bytes& file, const std::string& name) {
        const auto bytes = std::as_bytes(std::span(std::string_view(file)));
        const py::gil_scoped_release release;
        at_boundary(name, [&] { ganglion::detail::check_torchscript_program(bytes, name); });
      },
      py::arg("file"), py::arg("name"));
  module.def(
      "explain_json",
      [](const std::filesystem::path& path, const ganglion::LoadOptions& options) {
        return ganglion::explain(path, options).to_json();
      },
      py::arg("path"), py::arg("options"), py::call_guard<py::gil_scoped_release>());
  module.def(
      "explain_bytes_json",
      [](const py::bytes& file, const std::string& name, const ganglion::LoadOptions& options) {
        const auto bytes = std::as_bytes(std::span(std::string_view(file)));
        const py::gil_scoped_release release;
        return ganglion::explain(bytes, name, options).to_json();
      },
      py::arg("file"), py::arg("name"), py::arg("options"));
  module.def(
      "explain_onnx_json",
      [](const py::bytes& file, const std::string& name, const ganglion::ReadingHints& hints) {
        const auto bytes = std::as_bytes(std::span(std::string_view(file)));
        const py::gil_scoped_release release;
        return ganglion::explain_onnx(bytes, name, hints).to_json();
      },
      py::arg("file"), py::arg("name"), py::arg("hints"));
}
