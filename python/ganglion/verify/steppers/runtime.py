"""The file in the C++ runtime, on one of its engines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ganglion import runtime

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from ganglion.runtime.engines import EngineName
    from ganglion.verify.steppers.base import Floats


class RuntimeStepper:
    """Steps the file in the C++ runtime, the code that flies on the robot.

    Args:
        path: the artifact.
        engine: name of an engine that opens it.
        batch: number of rows.
        state: for a file without a contract, see `ganglion.load`.
        action: for a file without a contract, see `ganglion.load`.
        trust: see `ganglion.load`.

    Raises:
        ArtifactError, EngineUnavailableError: as `ganglion.load`.
    """

    action_only = False

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        engine: EngineName,
        batch: int,
        state: Mapping[str, str] | None = None,
        action: str | None = None,
        trust: bool = False,
    ) -> None:
        # The self-test would refuse a file that misses its golden trajectory; here the report is to show where.
        self._pilot = runtime.load(
            path, engine=engine, self_test=False, batch=batch, state=state, action=action, trust=trust
        )
        self._batch = batch
        self.name = f"C++ {engine}"
        self._outputs = len(self._pilot.contract.outputs)

    def reset(self, rows: NDArray[np.bool_]) -> None:
        """Restores the initial state of the rows that are set."""
        self._pilot.reset(rows)

    def step(self, observation: Floats) -> tuple[Sequence[Floats], Floats | None]:
        """One step of all rows."""
        actions = self._pilot.step(observation)
        others = [self._pilot.output(index) for index in range(1, self._outputs)]
        outputs = [np.array(values, dtype=np.float32).reshape(self._batch, -1) for values in (actions, *others)]
        return outputs, np.array(self._pilot.state(), dtype=np.float32).reshape(self._batch, -1)
