"""A policy is exchanged while it flies."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from ganglion import _core
from ganglion._foundation.core_errors import core_errors
from ganglion.runtime.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from ganglion.contract import Contract
    from ganglion.flight.recorder import FlightRecorder


@dataclass(frozen=True)
class SwitchReport:
    """What a switch is doing, and what became of its newest candidate.

    Attributes:
        phase: `"flying"`, `"shadowing"` (a candidate runs beside), `"blending"`, `"returning"` (one of the two failed
            in a blend), or `"keeping"` (the new one flies, the old one still runs).
        outcome: `"none"` yet, `"took_over"`, `"diverged"`, `"failed"`, `"withdrawn"` or `"rolled_back"`.
        status: what a candidate answered that failed.
        steps: in all.
        exchanges: candidates that took over.
        rejections: those that did not.
        roll_backs: how often the one before flew again.
        agreeing: steps in a row in which the two agreed, until now.
        step: where the candidate was farthest from the flying policy, by its gate; or the step that it failed in.
        row: of the batch, as the two below.
        element: of the action.
        difference: in the unit of that element.
        sentence: all of it, for a log.
    """

    phase: str
    outcome: str
    status: str
    steps: int
    exchanges: int
    rejections: int
    roll_backs: int
    agreeing: int
    step: int
    row: int
    element: int
    difference: float
    sentence: str


class PolicySwitch:
    """Exchanges the policy of a loop while it flies.

    Another thread loads a candidate and stages it; the loop runs it beside the flying policy on the same observations,
    and exchanges the two when their actions agree, or on command, with a blend between their actions. `step`, `reset`,
    `state` and the like are the loop's; `stage` and `collect` are for another thread; `take_over`, `roll_back` and
    `report` for all of them.

    Args:
        policy: flies first. The switch takes a copy of it, with its state; as of candidates.
    """

    def __init__(self, policy: Policy) -> None:
        with core_errors():
            self._core = _core.PolicySwitch(policy._core)
        # Names and shapes of the flying policy are those of every other one.
        self._verbs = Policy(cast("_core.Policy", self._core))
        self._recorder: FlightRecorder | None = None

    def stage(
        self,
        candidate: Policy,
        *,
        gate: float | Sequence[float] | None = None,
        agreeing_steps: int = 100,
        patience: int = 5000,
        blend_steps: int = 50,
        blend_s: float | None = None,
        keep_steps: int = 1000,
        state: Literal["fresh", "burned_in", "copied"] = "burned_in",
    ) -> None:
        """Hands a candidate to the loop, which takes it up in its next step. Not for the loop's own thread.

        A candidate that already runs is withdrawn, and a policy that was kept for a roll-back goes.

        Args:
            candidate: fed, read and timed as the policy that flies. Its state is where it begins.
            gate: most that an action may differ for the two to agree, in its unit: one number per element, or one for
                all. None: it takes over on command alone.
            agreeing_steps: so many steps in a row must agree.
            patience: it is rejected where that has not come after so many steps; needs a gate.
            blend_steps: steps on the way from the action of the old policy to that of the new one.
            blend_s: the same in seconds, by the period of the contract; None for `blend_steps`.
            keep_steps: so long the old policy goes on running, for a roll-back.
            state: what the candidate remembers when it takes over: `"fresh"`, nothing; `"burned_in"`, what it saw while
                it ran beside the flying one; `"copied"`, what that one remembered when it began to, and what came
                since.

        Raises:
            GanglionError: its inputs, outputs, rows or period are others, its state cannot be copied, or a number makes
                no sense; nothing changed.
        """
        gates = [] if gate is None else [float(value) for value in np.atleast_1d(np.asarray(gate, np.float64))]
        with core_errors():
            self._core.stage(
                candidate._core,
                gate=gates,
                agreeing_steps=agreeing_steps,
                patience=patience,
                blend_steps=blend_steps,
                blend_s=blend_s,
                keep_steps=keep_steps,
                state=state,
            )

    def collect(self) -> int:
        """Frees the policies that the loop is done with, and says how many; `stage` does it, too."""
        return self._core.collect()

    def take_over(self) -> None:
        """The candidate takes over in the next step, agreeing or not; nothing where there is none."""
        self._core.take_over()

    def roll_back(self) -> None:
        """The policy before the newest candidate flies alone from the next step on, without a blend.

        It ran on with the same observations. A candidate that has not taken over is withdrawn.
        """
        self._core.roll_back()

    def report(self) -> SwitchReport:
        """As it was after the last step."""
        found = self._core.report()
        return SwitchReport(**{field.name: getattr(found, field.name) for field in fields(SwitchReport)})

    def attach(self, recorder: FlightRecorder) -> None:
        """Records what flies, and every candidate that is staged from now on. Before the loop runs.

        Raises:
            GanglionError: see `Policy.attach`.
        """
        with core_errors():
            self._core.attach(recorder._core)
        self._recorder = recorder  # candidates need it

    def detach(self) -> None:
        """Candidates that are staged from now on are not recorded."""
        self._core.detach()
        self._recorder = None

    def step(
        self, observation: ArrayLike | Mapping[str, ArrayLike], out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Runs one control step and returns the action; see `Policy.step`.

        Raises:
            StepError, ValueError, TypeError: see `Policy.step`.
        """
        return self._verbs.step(observation, out)

    def reset(self, rows: ArrayLike | None = None) -> None:
        """Restores the initial state of every policy that runs; see `Policy.reset`."""
        self._verbs.reset(rows)

    def set_applied_action(self, action: ArrayLike) -> None:
        """Tells every policy that runs what was executed in place of its last action; see `Policy`.

        Raises:
            GanglionError, StepError: see `Policy.set_applied_action`.
        """
        self._verbs.set_applied_action(action)

    def output(self, which: int | str) -> NDArray[np.float32]:
        """Returns a copy of one output of the flying policy; see `Policy.output`."""
        return self._verbs.output(which)

    def state(self) -> NDArray[np.float32]:
        """Returns a copy of the state of the flying policy, `[hidden_size]` or `[batch, hidden_size]`."""
        state = self._core.state()
        return state if self.batch == 1 else state.reshape(self.batch, -1)

    @property
    def contract(self) -> Contract:
        """Of the policy that flies."""
        return self._verbs._read(with_golden=True).contract  # anew: another policy may fly by now

    @property
    def batch(self) -> int:
        """Rows of one step."""
        return self._core.batch
