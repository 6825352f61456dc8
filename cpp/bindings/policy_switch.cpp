#include <pybind11/stl.h>

#include <ganglion/policy.hpp>
#include <ganglion/policy_switch.hpp>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "flight.hpp"
#include "verbs.hpp"

namespace py = pybind11;

namespace ganglion::bindings {

namespace {

StateHandOver hand_over_named(const std::string& name) {
  for (const StateHandOver each : {StateHandOver::fresh, StateHandOver::burned_in, StateHandOver::copied}) {
    if (name == to_string(each)) return each;
  }
  throw py::value_error("the state is 'fresh', 'burned_in' or 'copied', not '" + name + "'");
}

}  // namespace

void bind_switch(py::module_& module) {
  using Switch = PolicySwitch<Policy>;
  py::class_<SwitchReport>(module, "SwitchReport", "ganglion::SwitchReport; see ganglion.flight.")
      .def_property_readonly("phase", [](const SwitchReport& report) { return to_string(report.phase); })
      .def_property_readonly("outcome", [](const SwitchReport& report) { return to_string(report.outcome); })
      .def_property_readonly("status", [](const SwitchReport& report) { return to_string(report.status); })
      .def_readonly("steps", &SwitchReport::steps)
      .def_readonly("exchanges", &SwitchReport::exchanges)
      .def_readonly("rejections", &SwitchReport::rejections)
      .def_readonly("roll_backs", &SwitchReport::roll_backs)
      .def_readonly("agreeing", &SwitchReport::agreeing)
      .def_readonly("step", &SwitchReport::step)
      .def_readonly("row", &SwitchReport::row)
      .def_readonly("element", &SwitchReport::element)
      .def_readonly("difference", &SwitchReport::difference)
      .def_property_readonly("sentence", &SwitchReport::sentence);
  py::class_<Switch> bound(module, "PolicySwitch", "ganglion::PolicySwitch; see ganglion.PolicySwitch.");
  bind_verbs<Switch>(bound);
  bound.def(py::init([](const Policy& policy) { return std::make_unique<Switch>(policy.clone()); }), py::arg("policy"))
      .def(
          "stage",
          [](Switch& flight, const Policy& candidate, std::vector<double> gate, std::size_t agreeing_steps,
             std::size_t patience, std::size_t blend_steps, std::optional<double> blend_s, std::size_t keep_steps,
             const std::string& state) {
            SwitchOptions options;
            options.gate = std::move(gate);
            options.agreeing_steps = agreeing_steps;
            options.patience = patience;
            options.blend_steps = blend_steps;
            options.blend_s = blend_s;
            options.keep_steps = keep_steps;
            options.state = hand_over_named(state);
            const py::gil_scoped_release release;
            flight.stage(candidate.clone(), options);
          },
          py::arg("candidate"), py::kw_only(), py::arg("gate"), py::arg("agreeing_steps"), py::arg("patience"),
          py::arg("blend_steps"), py::arg("blend_s"), py::arg("keep_steps"), py::arg("state"))
      .def("collect", &Switch::collect, py::call_guard<py::gil_scoped_release>())
      .def("detach", &Switch::detach)
      .def("take_over", &Switch::take_over)
      .def("roll_back", &Switch::roll_back)
      .def("report", &Switch::report)
      // A refused step counts here, and may be one of the candidate's: it is not tried twice.
      .def(
          "step_in_place", [](Switch&, const py::object&, const py::object&) { return false; }, py::arg("observation"),
          py::arg("action"))
      .def(
          "reading_json",
          [](const Switch& flight, bool with_golden) { return flight.policy().reading().to_json(with_golden); },
          py::arg("with_golden"))
      .def_property_readonly("batch", [](const Switch& flight) { return flight.policy().batch(); });
}

}  // namespace ganglion::bindings
