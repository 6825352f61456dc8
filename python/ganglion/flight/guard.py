"""What the motors get for an action of a policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ganglion import _core
from ganglion._foundation.core_errors import core_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from ganglion.contract import Contract
    from ganglion.flight.recorder import FlightRecorder

_REFUSED = ("bad_size", "not_engaged")


@dataclass(frozen=True)
class GuardStatus:
    """What a guard did to an action; of several reasons the one that stands last.

    Attributes:
        reason: `"none"`, `"blending"`, `"clamped"`, `"limited"`, `"clock_set_back"` (nothing moved), `"holding"` (the
            policy gave no finite action), or `"expired"` (for too long: stop the robot).
        element: the first one that the reason is about.
    """

    reason: str
    element: int


class ActionGuard:
    """Stands between a policy and the motors: no element changes faster than its rate, whatever the policy says.

    At engage, at an exchange of policies and after a fault. Clamps to the bounds of the contract, blends in, holds.
    Where a list is asked for, one number stands for all elements.

    Args:
        contract: of the policy: size and bounds of its action, and its period.
        rate: most that an element may change, in its unit per second.
        low: lower bounds; None for those of the contract.
        high: upper bounds; None for those of the contract.
        blend_s: from where the robot is to what the policy says, in seconds, after `engage`.
        damping: the action to go to where the policy gave none for too long; None to stay.
        longest_hold_s: so long the last action is held where the policy gives none, in seconds.
        longest_tick_s: a longer tick moves no farther, in seconds; None for two of the contract's periods.

    Raises:
        GanglionError: a list has the wrong length, a rate or a time is no positive number, a lower bound is above the
            upper one, or neither contract nor argument says how long a tick may be.
    """

    def __init__(
        self,
        contract: Contract,
        *,
        rate: float | Sequence[float],
        low: float | Sequence[float] | None = None,
        high: float | Sequence[float] | None = None,
        blend_s: float = 1.0,
        damping: float | Sequence[float] | None = None,
        longest_hold_s: float = 0.1,
        longest_tick_s: float | None = None,
    ) -> None:
        action = contract.outputs[0]
        self._shape = (action.size,)
        with core_errors():
            self._core = _core.ActionGuard(
                actions=action.size,
                period_s=contract.period_s,
                rate=_listed(rate),
                low=_listed(action.low if low is None else low),
                high=_listed(action.high if high is None else high),
                blend_s=blend_s,
                damping=_listed(damping),
                longest_hold_s=longest_hold_s,
                longest_tick_s=longest_tick_s,
            )

    def engage(self, position: ArrayLike) -> None:
        """Begins where the robot is.

        Args:
            position: `[action_size]`, what the action would have to be for the robot to stay where it is.

        Raises:
            ValueError: wrong shape, or an element is not finite; nothing changed.
        """
        array = np.ascontiguousarray(position, np.float32)
        if array.shape != self._shape or not self._core.engage(array):
            raise ValueError(f"a position is {self._shape} finite numbers; got {array!r}")

    def apply(self, action: ArrayLike, now_ns: int) -> tuple[NDArray[np.float32], GuardStatus]:
        """What the motors get for an action of the policy, `[action_size]`, and what was done to it.

        Raises:
            ValueError: wrong shape, or `engage` was not called.
        """
        array, out = np.ascontiguousarray(action, np.float32), np.empty(self._shape, np.float32)
        return out, self._checked(self._core.apply(array, now_ns, out), array.shape)

    def hold(self, now_ns: int) -> tuple[NDArray[np.float32], GuardStatus]:
        """What the motors get where the policy gave no action, `[action_size]`, and how long that may go on.

        Raises:
            ValueError: `engage` was not called.
        """
        out = np.empty(self._shape, np.float32)
        return out, self._checked(self._core.hold(now_ns, out), self._shape)

    def attach(self, recorder: FlightRecorder) -> None:
        """Records what every `apply` and `hold` gives from now on, as `/guard`.

        Raises:
            GanglionError: the recording is closed.
        """
        with core_errors():
            self._core.attach(recorder._core)

    def disengage(self) -> None:
        """The next `apply` is refused."""
        self._core.disengage()

    def _checked(self, status: tuple[str, int], shape: tuple[int, ...]) -> GuardStatus:
        if status[0] in _REFUSED:
            raise ValueError(f"{status[0]}: the action has shape {shape}, {self._shape} is needed, after engage()")
        return GuardStatus(*status)


def _listed(given: float | Sequence[float] | None) -> list[float]:
    if given is None:
        return []
    return [float(value) for value in np.atleast_1d(np.asarray(given, np.float64))]
