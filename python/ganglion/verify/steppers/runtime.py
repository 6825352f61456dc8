"""The file in the C++ runtime, on one of its engines."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from ganglion import runtime
from ganglion.verify.steppers import onnx, torchscript

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from ganglion.contract import Contract
    from ganglion.runtime import Policy
    from ganglion.runtime.engines import EngineName
    from ganglion.verify.steppers.base import Floats

_SAME_AS = {"onnxruntime": onnx.ENGINE, "libtorch": torchscript.ENGINE}
"""Engines that Python has, too."""


class PilotStepper:
    """Steps what the C++ runtime has loaded, the code that flies on the robot.

    Args:
        pilot: the loaded policy.
        engine: name of its engine.
    """

    action_only = False

    def __init__(self, pilot: Policy, engine: str) -> None:
        self._pilot = pilot
        self._batch = pilot.batch
        self.name = f"C++ {engine}"
        self.engine = _SAME_AS.get(engine, engine)
        self._outputs = len(pilot.contract.outputs)

    @property
    def contract(self) -> Contract:
        """What it steps."""
        return self._pilot.contract

    def reset(self, rows: NDArray[np.bool_]) -> None:
        """Restores the initial state of the rows that are set."""
        self._pilot.reset(rows)

    def step(self, observation: Floats) -> tuple[Sequence[Floats], Floats | None]:
        """One step of all rows."""
        actions = self._pilot.step(observation)
        others = [self._pilot.output(index) for index in range(1, self._outputs)]
        outputs = [np.array(values, dtype=np.float32).reshape(self._batch, -1) for values in (actions, *others)]
        return outputs, np.array(self._pilot.state(), dtype=np.float32).reshape(self._batch, -1)


class RuntimeStepper(PilotStepper):
    """Steps a file on an engine that `ganglion.load` runs it on.

    Args:
        path: the artifact.
        engine: name of an engine that opens it.
        batch: number of rows; None for what `ganglion.load` takes.
        state: for a file without a contract, see `ganglion.load`.
        action: for a file without a contract, see `ganglion.load`.
        observation: for a file without a contract, see `ganglion.load`.
        trust: see `ganglion.load`.

    Raises:
        ArtifactError, EngineUnavailableError: as `ganglion.load`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        engine: EngineName,
        batch: int | None,
        state: Mapping[str, str] | None = None,
        action: str | None = None,
        observation: int | Mapping[str, int] | None = None,
        trust: bool = False,
    ) -> None:
        # The self-test would refuse a file that misses its golden trajectory; here the report is to show where, as it
        # shows the findings, once for all engines.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            pilot = runtime.load(
                path,
                engine=engine,
                self_test=False,
                batch=batch,
                state=state,
                action=action,
                observation=observation,
                trust=trust,
            )
        super().__init__(pilot, engine)
