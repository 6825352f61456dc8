"""Where in its episode a step lies."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class StepType(IntEnum):
    """Position of a step in its episode, as garage's `StepType`.

    A step type is an integer: arrays of them are integer arrays, and `array == StepType.TERMINAL` works elementwise.

    * `FIRST`: the first step of an episode.
    * `MID`: neither first nor last.
    * `TERMINAL`: the last step; the environment ended the episode, nothing follows.
    * `TIMEOUT`: the last step; only the time ran out, the value of what would follow still counts.
    """

    FIRST = 0
    MID = 1
    TERMINAL = 2
    TIMEOUT = 3

    @classmethod
    def get_step_type(cls, step_cnt: int | None, max_episode_length: int | None, done: bool) -> StepType:
        """Returns the type of a step; the first rule that fits wins.

        1. `step_cnt >= max_episode_length`: `TIMEOUT`, even when the environment is done.
        2. `done`: `TERMINAL`.
        3. `step_cnt` is 1: `FIRST`; above: `MID`.

        Source: garage, `_dtypes.py`, `StepType.get_step_type`.

        Args:
            step_cnt: how many steps the episode has with this one, from 1; None only where no rule looks at it.
            max_episode_length: the largest number of steps of one episode, or None where there is no limit.
            done: whether the environment ended the episode.

        Raises:
            TypeError: `step_cnt` is None and a rule needs it.
            ValueError: `step_cnt` is below 1 in an episode that goes on.
        """
        if step_cnt is None and not (max_episode_length is None and done):
            raise TypeError("get_step_type: step_cnt must be an int, not None; was `reset()` called?")
        if max_episode_length is not None and step_cnt is not None and step_cnt >= max_episode_length:
            return cls.TIMEOUT
        if done or step_cnt is None:
            return cls.TERMINAL
        if step_cnt < 1:
            raise ValueError(f"get_step_type: step_cnt must be at least 1, not {step_cnt}; was `reset()` called?")
        return cls.FIRST if step_cnt == 1 else cls.MID


def as_step_types(label: str, values: NDArray[Any]) -> NDArray[np.uint8]:
    """Returns step types as `uint8`, without a copy where they already are.

    Args:
        label: what messages call them.
        values: `[N]` integers, or objects that are all `StepType`s or ints.

    Raises:
        ValueError: another dtype, or a value that is no `StepType`.
    """
    if values.dtype.kind in "iu":
        integers = values
    elif values.dtype == object and all(_is_integer(value) for value in values.flat):
        integers = values.astype(np.int64)
    else:
        found = "objects that are no StepType" if values.dtype == object else f"dtype {values.dtype}"
        raise ValueError(f"{label} has {found}, expected StepType members or integers from 0 to 3")
    if integers.size and (int(integers.min()) < 0 or int(integers.max()) > max(StepType)):
        raise ValueError(
            f"{label} has values from {integers.min()} to {integers.max()}, expected StepType members or integers from "
            "0 to 3"
        )
    return integers.astype(np.uint8, copy=False)


def _is_integer(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
