"""Loading and stepping artifacts: the C++ runtime, the same code that flies on the robot. Needs numpy alone."""

from ganglion.runtime.engines import EngineInfo, cpu_features, engine_names, engines, engines_for
from ganglion.runtime.policy import Policy, SelfTest, explain, inspect, load

__all__ = [
    "EngineInfo",
    "Policy",
    "SelfTest",
    "cpu_features",
    "engine_names",
    "engines",
    "engines_for",
    "explain",
    "inspect",
    "load",
]
