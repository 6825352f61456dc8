"""Names what an adapter does to observations: against those of the training, on the same moments."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ganglion._foundation.boundary import bounded
from ganglion._foundation.callable_module import make_callable as _make_callable
from ganglion.wiring.correction import Correction
from ganglion.wiring.edits import KINDS, Edit
from ganglion.wiring.observations import Observations, read_observations
from ganglion.wiring.paired.explain import explain as _explain
from ganglion.wiring.report import CannotTell, WiringReport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ganglion.wiring.observations import ObservationSource

__all__ = ["KINDS", "CannotTell", "Correction", "Edit", "Observations", "WiringReport", "read_observations", "wiring"]


@bounded(what="cannot be compared")
def wiring(
    trained: ObservationSource,
    found: ObservationSource,
    *,
    policy: Any | None = None,
    names: Sequence[str] = (),
    tolerance: float | None = None,
) -> WiringReport:
    """Explains what an adapter gave as a change of what the policy saw in training, on the same moments.

    Args:
        trained: what the policy saw: a `.npz` file with `observation [steps, n]` and where known `action`, `reset` and
            `names`; a file of `EpisodeBatch.save`, or the batch; the `.mcap` file of a flight; an array; or a mapping
            with the arrays of a `.npz` file.
        found: what the adapter gave, likewise.
        policy: a policy file, or a `Contract`: its element names are taken where the recordings have none.
        names: the same, said here.
        tolerance: the size of sensor noise, in units of the observation: its root mean square, and no value beyond six
            times it, is no difference. None: rounding of float32 alone.

    Returns:
        the report; `report.equal` is True only where nothing differs.

    Raises:
        ArtifactError: a recording cannot be used, or they are not of the same moments.
        EngineUnavailableError: gymnasium is not installed, which episodes need.
        ValueError: `tolerance` is out of its range.
        TypeError: a recording is none.
    """
    if tolerance is not None and not (math.isfinite(tolerance) and tolerance > 0.0):
        raise ValueError(f"tolerance must be positive and finite, not {tolerance}")
    if policy is not None and not names:
        names = _names_of(policy)
    return _explain(
        read_observations(trained, "trained", names), read_observations(found, "found", names), tolerance
    )


def _names_of(policy: Any) -> tuple[str, ...]:
    """Names of the observation's elements in a contract, or nothing."""
    if not hasattr(policy, "inputs"):
        from ganglion.runtime import inspect

        policy = inspect(policy)
    names = [name for spec in policy.inputs for name in spec.element_names]
    return tuple(names) if len(names) == policy.observation_size else ()


_make_callable(__name__)
