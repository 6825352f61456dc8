"""When a policy is to step in a loop that runs faster than it was trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from ganglion import _core
from ganglion._foundation.core_errors import core_errors
from ganglion.errors import StepError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from ganglion.contract import Contract


class Cadence:
    """Says when a policy must step in a faster loop: 50 Hz in a loop of 1 kHz, ratios that are no whole numbers, too.

    The state of the policy advances at the trained rate only.

    Args:
        contract: of the policy: its period and the size of its action.
        loop_period_s: one tick of the loop, in seconds.
        period_s: of the policy, in seconds; None for that of the contract.
        between: what `action` gives between two steps: the newest action, or the line to it from the one before, which
            arrives when the next step is due.
        rows: robots in one policy.

    Raises:
        GanglionError: neither contract nor argument has a period, a period is not a positive number, or the loop is
            slower than the policy.
        ValueError: `between` is neither `"hold"` nor `"linear"`.
    """

    def __init__(
        self,
        contract: Contract,
        loop_period_s: float,
        *,
        period_s: float | None = None,
        between: Literal["hold", "linear"] = "hold",
        rows: int = 1,
    ) -> None:
        if between not in ("hold", "linear"):
            raise ValueError(f"between is 'hold' or 'linear', not {between!r}")
        size = contract.outputs[0].size
        self._shape = (size,) if rows == 1 else (rows, size)
        period = contract.period_s if period_s is None else period_s
        with core_errors():
            self._core = _core.Cadence(size, period, loop_period_s, between == "linear", rows)

    @property
    def period_s(self) -> float:
        """Period of the policy, in seconds."""
        return self._core.period_s

    @property
    def skipped(self) -> int:
        """Steps that the loop was too late for; they are not made up for."""
        return self._core.skipped

    def due(self, now_ns: int) -> bool:
        """True in the ticks in which the policy must step: the nearest ones to the times that its period gives."""
        return self._core.due(now_ns)

    def take(self, action: ArrayLike) -> None:
        """Takes over the action of the step that was due.

        Args:
            action: `[action_size]`, or `[rows, action_size]`.

        Raises:
            StepError: wrong shape, or an element is not finite; nothing was taken over.
        """
        array = np.ascontiguousarray(action, np.float32)
        status = self._core.take(array) if array.shape == self._shape else "bad_size"
        if status != "ok":
            raise StepError(status, f"the action has shape {array.shape}; finite numbers {self._shape} are needed")

    def action(self, now_ns: int) -> NDArray[np.float32] | None:
        """What to do now, `[action_size]` or `[rows, action_size]`; None before the first action."""
        out = np.empty(self._shape, np.float32)
        return out if self._core.action(now_ns, out) else None

    def reset(self) -> None:
        """Begins anew: the next tick is due. To be called with the policy's own reset."""
        self._core.reset()
