"""Names what an adapter does to observations: against those of the training, on the same moments."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ganglion._foundation.boundary import bounded
from ganglion._foundation.callable_module import make_callable as _make_callable
from ganglion.contract import Contract
from ganglion.errors import ArtifactError
from ganglion.wiring.correction import Correction
from ganglion.wiring.edits import KINDS, Edit
from ganglion.wiring.observations import Observations, read_observations
from ganglion.wiring.paired.explain import explain as _explain
from ganglion.wiring.profiling import profile
from ganglion.wiring.report import CannotTell, WiringReport
from ganglion.wiring.unpaired import compare as _compare

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ganglion.wiring.observations import ObservationSource

__all__ = [
    "KINDS",
    "CannotTell",
    "Correction",
    "Edit",
    "Observations",
    "WiringReport",
    "profile",
    "read_observations",
    "wiring",
]


@bounded(what="cannot be compared")
def wiring(
    trained: ObservationSource | None = None,
    found: ObservationSource | None = None,
    *,
    policy: Any | None = None,
    names: Sequence[str] = (),
    tolerance: float | None = None,
) -> WiringReport:
    """Explains what an adapter gave as a change of what the policy saw in training.

    On the same moments, or, without `trained`, by statistics: the log of a robot against the observation profile in the
    policy's file, which `profile` writes; such edits have a `confidence`.

    Args:
        trained: what the policy saw: a `.npz` file with `observation [steps, n]` and where known `action`, `reset` and
            `names`; a file of `EpisodeBatch.save`, or the batch; the `.mcap` file of a flight; an array; or a mapping
            with the arrays of a `.npz` file. None: `policy` says what observations looked like.
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
    if found is None:
        raise TypeError("wiring() wants found: what the adapter gave, or the log of the robot")
    contract = None if policy is None else _contract_of(policy)
    if contract is not None and not names:
        names = _names_of(contract)
    if trained is None:
        return _without_pairs(policy, contract, read_observations(found, "found"), names)
    return _explain(read_observations(trained, "trained", names), read_observations(found, "found", names), tolerance)


def _without_pairs(policy: Any, contract: Contract | None, found: Observations, names: Sequence[str]) -> WiringReport:
    if contract is None:
        raise TypeError(
            "wiring() wants trained: what the policy saw on the same moments, or policy: a file with a profile"
        )
    label = "the contract" if policy is contract else f"'{policy}'"
    if contract.observation_profile is None:
        raise ArtifactError(
            f"{label} has no observation profile, so nothing tells what observations looked like in training: "
            "ganglion profile POLICY --recording TRAINING.npz puts one in"
        )
    return _compare(contract.observation_profile, found, label, names)


def _contract_of(policy: Any) -> Contract:
    if isinstance(policy, Contract):
        return policy
    from ganglion.runtime import inspect

    return inspect(policy)


def _names_of(contract: Contract) -> tuple[str, ...]:
    """Names of the observation's elements in a contract, or nothing."""
    names = [name for spec in contract.inputs for name in spec.element_names]
    return tuple(names) if len(names) == contract.observation_size else ()


_make_callable(__name__)
