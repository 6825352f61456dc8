"""The parity matrix: every kind of policy, through every file and engine, one row and several with masked resets.

Observations are drawn over their bounds, and recorded: episodes of the policy in a small environment.
`ganglion.verify.matrix()` is the function; this module needs all that an export and a training need, so that it is
imported by its name only.
"""

from __future__ import annotations

import itertools
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion._foundation.callable_module import make_callable as _make_callable
from ganglion.contract import bounds_of
from ganglion.errors import EngineUnavailableError, GanglionError
from ganglion.runtime import engines_for
from ganglion.verify import verify
from ganglion.verify.steppers.policy import remembering

try:
    import gymnasium

    from ganglion.export import export
    from ganglion.policies.catalogue import example, names
    from ganglion.training import LocalSampler, PolicyAgent
except ImportError as error:
    raise EngineUnavailableError(f"the matrix exports policies ({error}); install ganglion[torch,onnx]") from error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from ganglion.data import EpisodeBatch
    from ganglion.policies import RecurrentPolicy

__all__ = ["Cell", "matrix", "record"]

SUFFIXES = (".pt", ".onnx", ".ganglion")
ROWS = (1, 3)
FIXED = (".onnx",)
"""Kinds of files whose graph is another one where the batch is fixed."""

_RECORDED_STEPS = 120
_LONGEST_EPISODE = 30
_WIDEST = 3.0
"""Observations without bounds stay within this."""


@dataclass(frozen=True)
class Cell:
    """One implementation of one policy against its Python original.

    Attributes:
        policy: kind of policy, a name of the catalogue.
        suffix: kind of file.
        batch: rows that the file was exported for; None for any number.
        rows: rows of one step.
        source: where the observations come from: `"drawn"` or `"recorded"`.
        implementation: what ran the file, in words.
        error: largest `|found - expected| / max(1, |expected|)` of all outputs and the state; NaN where it did not run.
        problem: None where all is well.
    """

    policy: str
    suffix: str
    batch: int | None
    rows: int
    source: str
    implementation: str
    error: float
    problem: str | None


def matrix(
    kinds: Sequence[str] | None = None, *, steps: int = 2000, tick: Callable[[str, int, int], None] | None = None
) -> Iterator[list[Cell]]:
    """Exports and verifies every kind of policy; yields the cells of one kind after the other.

    Args:
        kinds: names of the catalogue; None for all.
        steps: steps of one drawn run; recorded ones have 120 or a few more in all, or as many if that is less.
        tick: called with (what is going on, kinds done, kinds in all).

    Raises:
        ValueError: a kind is not in the catalogue.
    """
    wanted = names() if kinds is None else tuple(kinds)
    unknown = sorted(set(wanted) - set(names()))
    if unknown:
        raise ValueError(f"policy '{unknown[0]}' is not one of {', '.join(names())}")
    for done, kind in enumerate(wanted):
        if tick is not None:
            tick("policies", done, len(wanted))
        policy = example(kind)
        episodes = record(policy, min(steps, _RECORDED_STEPS))
        files = [(suffix, None) for suffix in SUFFIXES] + [(suffix, ROWS[-1]) for suffix in FIXED]
        with remembering():
            cells = [one for suffix, rows in files for one in _cells(kind, policy, suffix, rows, steps, episodes)]
        yield cells
    if tick is not None:
        tick("policies", len(wanted), len(wanted))


def record(policy: RecurrentPolicy, steps: int) -> EpisodeBatch:
    """Records episodes of a policy in an environment with its sizes, and with the actions and hidden states.

    Args:
        policy: who acts, without noise.
        steps: least number of steps.
    """
    agent = PolicyAgent(policy)
    make_env = partial(_Echo, policy)
    with LocalSampler(agent, make_env, envs_per_worker=4, seed=0) as sampler:
        return sampler.obtain_episodes(0, steps)


class _Echo(gymnasium.Env[Any, Any]):
    """A noisy walk of the observation within its bounds, which the action pushes; episodes end by chance."""

    def __init__(self, policy: RecurrentPolicy) -> None:
        low, high = bounds_of(policy.input_specs)
        self._low, self._high = np.maximum(low, -_WIDEST), np.minimum(high, _WIDEST)
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, low.shape, np.float32)
        size, spec = policy.output_specs[0].size, policy.env_spec
        flat = gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float32)
        self.action_space = spec.action_space if spec.action_size == size else flat
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begins an episode anywhere."""
        super().reset(seed=seed, options=options)
        self._steps = 0
        self._walk = self.np_random.normal(size=self._low.shape)
        return self._observation(), {}

    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Goes on a step."""
        self._steps += 1
        push = np.resize(np.tanh(np.reshape(action, -1)), self._walk.shape)
        self._walk = 0.9 * self._walk + 0.2 * push + 0.4 * self.np_random.normal(size=self._walk.shape)
        is_over = bool(self.np_random.random() < 1.0 / _LONGEST_EPISODE)
        return self._observation(), 0.0, is_over, not is_over and self._steps == _LONGEST_EPISODE, {}

    def _observation(self) -> NDArray[np.float32]:
        share = 0.5 * (1.0 + np.tanh(self._walk))
        observation: NDArray[np.float32] = (self._low + share * (self._high - self._low)).astype(np.float32)
        return observation


def _cells(
    kind: str, policy: RecurrentPolicy, suffix: str, batch: int | None, steps: int, episodes: EpisodeBatch
) -> Iterator[Cell]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"policy{suffix}"
        try:
            export(policy, path, batch=batch)
        except GanglionError as error:
            yield Cell(kind, suffix, batch, 0, "drawn", "export", float("nan"), str(error))
            return
        engines = engines_for(path)
        recorded = {"recording": episodes, "recorded_actions": "actions"}
        trajectories: tuple[tuple[str, dict[str, Any]], ...] = (("drawn", {"steps": steps}), ("recorded", recorded))
        for rows, (source, trajectory) in itertools.product(ROWS if batch is None else (batch,), trajectories):
            try:
                report = verify(path, policy, batch=rows, engines=engines, **trajectory)
            except GanglionError as error:
                yield Cell(kind, suffix, batch, rows, source, "verify", float("nan"), str(error))
                continue
            for run, comparison in zip(report.runs, report.comparisons, strict=True):
                errors = [tensor.max_error for tensor in comparison.tensors]
                problem = None if comparison.ok else comparison.failure or str(comparison.first_divergence)
                yield Cell(kind, suffix, batch, rows, source, run.name, max(errors), problem)


_make_callable(__name__)
