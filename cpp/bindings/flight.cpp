#include "flight.hpp"

#include <pybind11/stl.h>

#include <ganglion/action_guard.hpp>
#include <ganglion/cadence.hpp>
#include <ganglion/contract.hpp>
#include <ganglion/observation_monitor.hpp>

#include "arrays.hpp"
#include "realtime/tape.hpp"

namespace ganglion::bindings {

namespace py = pybind11;

namespace {

/// What the flight reads of a contract.
Contract about(std::size_t actions, std::optional<double> period_s, std::vector<double> low, std::vector<double> high) {
  Contract contract;
  TensorSpec action;
  action.size = actions;
  action.low = std::move(low);
  action.high = std::move(high);
  contract.outputs.push_back(std::move(action));
  contract.period_s = period_s;
  return contract;
}

void bind_time(py::module_& module) {
  py::class_<Cadence>(module, "Cadence", "ganglion::Cadence; see ganglion.Cadence.")
      .def(py::init([](std::size_t actions, std::optional<double> period_s, double loop_period_s, bool is_linear,
                       std::size_t rows) {
             const Between between = is_linear ? Between::linear : Between::hold;
             return Cadence(about(actions, period_s, {}, {}), loop_period_s,
                            {.period_s = std::nullopt, .between = between, .rows = rows});
           }),
           py::arg("actions"), py::arg("period_s"), py::arg("loop_period_s"), py::arg("is_linear"), py::arg("rows"))
      .def("due", &Cadence::due, py::arg("now_ns"))
      .def(
          "take", [](Cadence& cadence, const Floats& action) { return to_string(cadence.take(view(action))); },
          py::arg("action").noconvert())
      .def(
          "action",
          [](const Cadence& cadence, std::int64_t now_ns, Floats& out) { return cadence.action(now_ns, written(out)); },
          py::arg("now_ns"), py::arg("out").noconvert())
      .def("reset", &Cadence::reset)
      .def_property_readonly("period_s", &Cadence::period_s)
      .def_property_readonly("skipped", &Cadence::skipped);
  py::class_<TickStatistics>(module, "TickStatistics", "ganglion::TickStatistics; see ganglion.TickMonitor.")
      .def_readonly("ticks", &TickStatistics::ticks)
      .def_readonly("early", &TickStatistics::early)
      .def_readonly("late", &TickStatistics::late)
      .def_readonly("missed", &TickStatistics::missed)
      .def_readonly("clock_set_back", &TickStatistics::clock_set_back)
      .def_readonly("longest_run", &TickStatistics::longest_run)
      .def_readonly("mean_s", &TickStatistics::mean_s)
      .def_readonly("shortest_s", &TickStatistics::shortest_s)
      .def_readonly("longest_s", &TickStatistics::longest_s)
      .def_readonly("off_ns", &TickStatistics::off_ns);
  py::class_<TickMonitor>(module, "TickMonitor", "ganglion::TickMonitor; see ganglion.TickMonitor.")
      .def(py::init([](std::optional<double> period_s, double tolerance, double mismatch_tolerance) {
             const TickOptions options{.tolerance = tolerance, .mismatch_tolerance = mismatch_tolerance};
             return period_s ? TickMonitor(*period_s, options) : TickMonitor(Contract{}, options);
           }),
           py::arg("period_s"), py::arg("tolerance"), py::arg("mismatch_tolerance"))
      .def(
          "tick", [](TickMonitor& monitor, std::int64_t now_ns) { return to_string(monitor.tick(now_ns)); },
          py::arg("now_ns"))
      .def("statistics", [](const TickMonitor& monitor) { return monitor.statistics(); })
      .def("mismatch",
           [](const TickMonitor& monitor) -> std::optional<std::string> {
             if (!monitor.mismatch()) return std::nullopt;
             return monitor.mismatch()->sentence();
           })
      .def("attach", &TickMonitor::attach, py::arg("recorder"))
      .def("reset", &TickMonitor::reset);
}

void bind_guard(py::module_& module) {
  const auto named = [](GuardStatus status) {
    return std::pair<std::string, std::size_t>(to_string(status.reason), status.element);
  };
  py::class_<ActionGuard>(module, "ActionGuard", "ganglion::ActionGuard; see ganglion.ActionGuard.")
      .def(py::init([](std::size_t actions, std::optional<double> period_s, std::vector<double> rate,
                       std::vector<double> low, std::vector<double> high, double blend_s, std::vector<double> damping,
                       double longest_hold_s, std::optional<double> longest_tick_s) {
             GuardOptions options;
             options.rate = std::move(rate);
             options.blend_s = blend_s;
             options.damping = std::move(damping);
             options.longest_hold_s = longest_hold_s;
             options.longest_tick_s = longest_tick_s;
             return ActionGuard(about(actions, period_s, std::move(low), std::move(high)), options);
           }),
           py::kw_only(), py::arg("actions"), py::arg("period_s"), py::arg("rate"), py::arg("low"), py::arg("high"),
           py::arg("blend_s"), py::arg("damping"), py::arg("longest_hold_s"), py::arg("longest_tick_s"))
      .def(
          "engage", [](ActionGuard& guard, const Floats& position) { return guard.engage(view(position)); },
          py::arg("position").noconvert())
      .def(
          "apply",
          [named](ActionGuard& guard, const Floats& action, std::int64_t now_ns, Floats& out) {
            return named(guard.apply(view(action), now_ns, written(out)));
          },
          py::arg("action").noconvert(), py::arg("now_ns"), py::arg("out").noconvert())
      .def(
          "hold",
          [named](ActionGuard& guard, std::int64_t now_ns, Floats& out) {
            return named(guard.hold(now_ns, written(out)));
          },
          py::arg("now_ns"), py::arg("out").noconvert())
      .def("attach", &ActionGuard::attach, py::arg("recorder"))
      .def("disengage", &ActionGuard::disengage);
}

void bind_monitor(py::module_& module) {
  py::class_<ElementCounts>(module, "ElementCounts", "ganglion::ElementCounts; see ganglion.ObservationMonitor.")
      .def_readonly("outside", &ElementCounts::outside)
      .def_readonly("jumped", &ElementCounts::jumped)
      .def_readonly("not_finite", &ElementCounts::not_finite);
  py::class_<WorstElement>(module, "WorstElement", "ganglion::WorstElement; see ganglion.ObservationMonitor.")
      .def_readonly("element", &WorstElement::element)
      .def_property_readonly("name", [](const WorstElement& worst) { return std::string(worst.name); })
      .def_readonly("counts", &WorstElement::counts)
      .def_readonly("value", &WorstElement::value)
      .def_readonly("low", &WorstElement::low)
      .def_readonly("high", &WorstElement::high)
      .def_readonly("change", &WorstElement::change);
  py::class_<ObservationMonitor>(module, "ObservationMonitor",
                                 "ganglion::ObservationMonitor; see ganglion.ObservationMonitor.")
      .def(py::init([](const std::string& contract, double margin, double change_factor, std::optional<double> period_s,
                       std::optional<std::size_t> rows) {
             return ObservationMonitor(
                 Contract::from_json(contract),
                 {.margin = margin, .change_factor = change_factor, .period_s = period_s, .rows = rows});
           }),
           py::arg("contract"), py::kw_only(), py::arg("margin"), py::arg("change_factor"), py::arg("period_s"),
           py::arg("rows"))
      .def(
          "check",
          [](ObservationMonitor& monitor, const Floats& observation) {
            return to_string(monitor.check(view(observation)));
          },
          py::arg("observation").noconvert())
      .def("plausible", &ObservationMonitor::plausible, py::arg("seconds"))
      // Its name lives in the monitor.
      .def("worst", &ObservationMonitor::worst, py::keep_alive<0, 1>())
      .def("counts",
           [](const ObservationMonitor& monitor) {
             std::vector<ElementCounts> counts;
             for (std::size_t i = 0; i < monitor.size(); ++i) counts.push_back(monitor.counts(i));
             return counts;
           })
      .def_property_readonly("checks", &ObservationMonitor::checks)
      .def_property_readonly("size", &ObservationMonitor::size)
      .def_property_readonly("rows", &ObservationMonitor::rows)
      .def("sentence", &ObservationMonitor::sentence)
      .def("reset", [](ObservationMonitor& monitor) { monitor.reset(); })
      .def(
          "reset_rows",
          [](ObservationMonitor& monitor, const Flags& rows) {
            return monitor.reset(std::span<const std::uint8_t>(rows.data(), static_cast<std::size_t>(rows.size())));
          },
          py::arg("rows").noconvert());
}

/// The names of an enumeration up to its last enumerator, by their numbers: a recording holds the numbers.
template <class Enumeration>
std::vector<std::string> names_to(Enumeration last) {
  std::vector<std::string> names;
  for (int value = 0; value <= static_cast<int>(last); ++value) {
    names.emplace_back(to_string(static_cast<Enumeration>(value)));
  }
  return names;
}

}  // namespace

void bind_flight(py::module_& module) {
  bind_time(module);
  bind_guard(module);
  bind_monitor(module);
  module.def("event_kind_names", [] { return names_to(realtime::EventKind::rolled_back); });
  module.def("tick_names", [] { return names_to(Tick::clock_set_back); });
  module.def("guard_reason_names", [] { return names_to(GuardReason::not_engaged); });
}

}  // namespace ganglion::bindings
