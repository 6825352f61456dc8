#pragma once

#include <pybind11/pybind11.h>

namespace ganglion::bindings {

/// What stands around a step, for ganglion.flight.
void bind_flight(pybind11::module_& module);
/// The flight recorder, and what a replay computes as it does. Before what is attached to it.
void bind_recorder(pybind11::module_& module);
/// What has a recorded flight again, for ganglion.replay.
void bind_replay(pybind11::module_& module);
/// The exchange of policies in flight, for ganglion.PolicySwitch. After the policy's own class.
void bind_switch(pybind11::module_& module);
/// Recorded raw states, for ganglion.wiring.
void bind_wiring(pybind11::module_& module);

}  // namespace ganglion::bindings
