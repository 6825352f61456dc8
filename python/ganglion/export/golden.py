"""The golden trajectory: a short recorded run of the Python policy that every later load replays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ganglion._foundation.comparison import first_difference
from ganglion._foundation.observations import draw_observations, golden_size
from ganglion._foundation.recordings import read_episodes
from ganglion._foundation.rounding import LEAST, MOST, allowance, beyond, lost, several
from ganglion.contract import NOTHING_BESIDE, Contract, Golden
from ganglion.errors import ArtifactError, ExportError
from ganglion.policies.scripting.preparation import widened

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import nn

    from ganglion._foundation.recordings import RecordingSource


def recorded_observations(
    contract: Contract, recording: RecordingSource, steps: int, rows: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Takes a piece of recorded episodes for every row, around the beginning of an episode.

    Row `r` has the beginning of episode `r + 1` at step `steps // 2 + r`, and before it what was recorded before it;
    behind the last episode the first one follows.

    Args:
        contract: gives the observation size.
        recording: an `EpisodeBatch`, or the path of a recording.
        steps: number of steps.
        rows: number of batch rows.

    Returns:
        Observations `[steps, rows, observation_size]`, and `[steps, rows]` where an episode begins.

    Raises:
        ArtifactError: the recording cannot be read, or its observations have another size.
        ExportError: it has fewer than `steps` steps.
    """
    episodes = read_episodes(recording, contract.observation_size)
    total = len(episodes.observations)
    if total < steps:
        raise ExportError(
            f"{episodes.label}: {total} recorded steps; a golden trajectory of {steps} needs as many. Record more"
        )
    begin = episodes.starts[(1 + np.arange(rows)) % len(episodes.lengths)]
    taken = (np.arange(steps)[:, None] + begin - (steps // 2 + np.arange(rows))) % total
    return episodes.observations[taken], episodes.begins(taken)


def record(
    policy: nn.Module,
    contract: Contract,
    *,
    steps: int,
    seed: int,
    tolerance: float | None,
    recording: RecordingSource | None = None,
) -> Golden:
    """Records the golden trajectory of a prepared policy.

    Row `r` is reset at step `steps // 2 + r`, so that replaying it checks the reset of single rows too.

    Args:
        policy: a prepared policy in eval mode on the CPU.
        contract: gives sizes, bounds, batch and initial state.
        steps: number of steps, at least `GOLDEN_STEPS`; images have fewer, see `golden_size`.
        seed: seed of the observations.
        tolerance: largest accepted `|difference| / max(1, |recorded|)` of a replay; None for 1e-5 or, where it can do
            more to an element, what rounding can do along this trajectory, see `_foundation.rounding`.
        recording: where the observations come from, see `recorded_observations`; None to draw them.

    Raises:
        ArtifactError: the recording cannot be read, or its observations have another size.
        ExportError: the recording is too short, the policy gives an output that is not finite, or rounding alone makes
            of its outputs whatever it likes.
    """
    steps, rows = golden_size(contract.observation_size, steps, contract.batch)
    if recording is None:
        observation = draw_observations(contract, steps, rows, seed)
        reset = np.zeros((steps, rows), dtype=np.bool_)
        reset[steps // 2 + np.arange(rows), np.arange(rows)] = True
    else:
        observation, reset = recorded_observations(contract, recording, steps, rows)

    def run(observation: NDArray[np.float32]) -> NDArray[np.float32]:
        return _run(_step_of(policy), contract, observation, reset)

    whole = run(observation)
    outputs = whole[:, :, : contract.output_size]
    finite = np.isfinite(outputs).all(axis=(1, 2))
    if not finite.all():
        raise ExportError(
            f"the policy gives an output that is not finite at step {int(np.argmin(finite))} of the golden "
            "trajectory; look for NaN weights, or narrow the bounds of the observation space"
        )
    if tolerance is None:
        try:
            truth = _run(_step_of(widened(policy)), contract, observation, reset, np.float64)
        except Exception:  # a policy whose own code insists on float32
            truth = whole
        runs = several(run, observation, whole)
        allowed = allowance(truth, runs, reset, contract.hidden_size)[:, :, : outputs.shape[2]]
        if lost(truth[:, :, : outputs.shape[2]], allowed).all():
            raise ExportError(
                "float32 does not hold this policy: along the golden trajectory rounding alone changes every output by "
                f"more than {MOST:.0%} of its range, so nothing could be proven of the file; are its weights or the "
                "bounds of its observations right? A tolerance that is given is taken as it is"
            )
        tolerance, rounding = LEAST, beyond(outputs, LEAST, allowed)
    else:
        rounding = NOTHING_BESIDE
    try:
        return Golden(observation, reset, outputs, tolerance, rounding)
    except ArtifactError as error:
        raise ExportError(f"the golden trajectory cannot be stored: {error}") from error


def replay(step: Callable[..., Sequence[NDArray[np.float32]]], contract: Contract, what: str, rows: int) -> None:
    """Replays the golden trajectory of `contract` and compares.

    Args:
        step: `(observation [rows, n], hidden [rows, hidden_size]) -> (outputs..., new hidden)`, all float32 arrays.
        contract: with its golden trajectory.
        what: name of the tested thing for the message.
        rows: number of rows that `step` is called with; row `r` replays the recorded row `r % golden.rows`.

    Raises:
        ExportError: an output differs by more than the tolerance; names step, row, element and difference.
    """
    golden = contract.golden
    assert golden is not None
    recorded_row = np.arange(rows) % golden.rows
    whole = _run(step, contract, golden.observation[:, recorded_row], golden.reset[:, recorded_row])
    compare(whole[:, :, : contract.output_size], contract, what)


def compare(outputs: NDArray[np.float32], contract: Contract, what: str) -> None:
    """Compares outputs `[steps, rows, output_size]` with the golden trajectory of `contract`.

    Raises:
        ExportError: see `replay`.
    """
    golden = contract.golden
    assert golden is not None
    rows = np.arange(outputs.shape[1]) % golden.rows
    allowed = None if golden.allowed is None else golden.allowed[:, rows]
    difference = first_difference(outputs, golden.outputs[:, rows], golden.tolerance, allowed)
    if difference is not None:
        where = difference.sentence(contract.output_place(difference.element))
        raise ExportError(f"{what} differs from the Python policy: {where}. Nothing was written")


def _step_of(policy: nn.Module) -> Callable[[NDArray[Any], NDArray[Any]], list[NDArray[Any]]]:
    def step(observation: NDArray[Any], hidden: NDArray[Any]) -> list[NDArray[Any]]:
        result = policy(torch.from_numpy(observation), torch.from_numpy(hidden))
        return [tensor.numpy() for tensor in result]

    return step


def _run(
    step: Callable[..., Sequence[NDArray[Any]]],
    contract: Contract,
    observation: NDArray[np.float32],
    reset: NDArray[np.bool_],
    precision: type[np.floating[Any]] = np.float32,
) -> NDArray[Any]:
    """Outputs and state side by side, `[steps, rows, output_size + hidden_size]`."""
    initial = np.asarray(contract.initial_state, dtype=np.float32).astype(precision)
    hidden = np.tile(initial, (observation.shape[1], 1))
    outputs = []
    for observed, flags in zip(observation, reset, strict=True):
        hidden = np.where(flags[:, None], initial, hidden)
        *current, hidden = step(np.ascontiguousarray(observed, precision), hidden)
        outputs.append(np.concatenate((*current, hidden), axis=1))
    return np.stack(outputs)
