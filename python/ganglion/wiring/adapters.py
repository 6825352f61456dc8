"""Recorded raw states through an adapter that is written in Python; `ganglion/adapter_check.hpp` is its twin in C++."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion import _core
from ganglion._core import RawState
from ganglion._foundation.core_errors import core_errors
from ganglion.errors import GanglionError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray


__all__ = ["RawState", "check_adapter"]


def check_adapter(
    raw: str | os.PathLike[str],
    adapter: Callable[[RawState], ArrayLike],
    output: str | os.PathLike[str],
    *,
    on_reset: Callable[[], Any] | None = None,
) -> None:
    """Replays recorded raw states through an adapter, and writes what it makes of them.

    What is written is the one side of `ganglion.wiring(trained=raw, found=output)`. Steps come in their order, one
    robot after the other.

    Args:
        raw: a `.npz` of `record`, or of `numpy.savez` with arrays `[steps, n]` (of several robots `[steps, rows, n]`);
            or the `.mcap` of a `FlightRecorder` whose channels are the states.
        adapter: called with the state of a step, `state["qpos"]` (float64 `[n]`), `state.step`, `state.row` and
            `state.reset` (an episode begins); gives the observation, `[n]`. `state["action"]` is the answer to the
            observation of the same step: an adapter that shows the action before keeps it for the next one.
        output: the `.npz` with `observation`, float32, and with `reset`, `action` and `names` of `raw`.
        on_reset: called where an episode begins, before the step, so that the adapter forgets what was.

    Raises:
        ArtifactError: `raw` is missing, damaged, or has no state of the name that the adapter asks for.
        GanglionError: the adapter gives another number of elements than before, or one that is no finite number; or
            `output` cannot be written.
    """
    with core_errors():
        recording = _core.RawRecording(raw)
        observations: NDArray[np.float32] | None = None
        for row in range(recording.rows):
            for step in range(recording.steps):
                state = recording.state(step, row)
                if state.reset and on_reset is not None:
                    on_reset()
                observation = np.asarray(adapter(state), np.float32).reshape(-1)
                if observations is None:
                    observations = np.zeros((recording.steps, recording.rows, observation.size), np.float32)
                _check(observation, observations.shape[2], step)
                observations[step, row] = observation
        assert observations is not None  # a recording has steps
        recording.write(output, observations, observations.shape[2])


def _check(observation: NDArray[np.float32], size: int, step: int) -> None:
    if observation.size != size or size == 0:
        raise GanglionError(
            f"the adapter gave {observation.size} elements in step {step}"
            + (f"; it gave {size} before" if observation.size != size else "; the policy takes at least one")
        )
    if not np.isfinite(observation).all():
        element = int(np.argmin(np.isfinite(observation)))
        raise GanglionError(
            f"the adapter gave no number for element {element} in step {step}: it is NaN or infinite; look at what it "
            "divides by"
        )
