"""Loading and stepping artifacts: the C++ runtime, the same code that flies on the robot. Needs numpy alone."""

from ganglion.runtime.engines import EngineInfo, cpu_features, engines
from ganglion.runtime.policy import Policy, SelfTest, explain, inspect, load

__all__ = ["EngineInfo", "Policy", "SelfTest", "cpu_features", "engines", "explain", "inspect", "load"]
