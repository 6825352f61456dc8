"""Filters of actions as parts of a policy, so that a controller applies none of its own."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ganglion.contract import StateSlot
from ganglion.policies._tensors import as_vector, check_last_axis
from ganglion.policies.cores import Core
from ganglion.policies.kept import kept

if TYPE_CHECKING:
    from collections.abc import Sequence


@kept()
class ActionFilter(Core):
    """Smooths, limits and delays actions, in this order; whatever is not asked for is left out.

    * `low_pass_hz`: a first-order low-pass, `y += a (x - y)` with `a = 1 - exp(-2 pi f T)`, the exact answer of an
      RC element to an action that is held for a period;
    * `butterworth_hz`: a second-order Butterworth low-pass, by the bilinear transform with the corner frequency kept.
      It is computed as two trapezoidal integrators (Zavalishin 2018, "The art of VA filter design", section 4.1), whose
      state stays well conditioned in float32 where the corner is far below the rate;
    * `rate_limit_per_s`: `y` follows `x` by at most that much in a second, up or down;
    * `delay_steps`: `y` is the `x` of that many steps before.

    Behind a reset the filter is at rest: at `start`, or at the first action that it sees.

    Args:
        size: number of elements of an action.
        period_s: control period in seconds; needed by all but a delay, and then also that of the contract.
        low_pass_hz: corner frequency of the first-order low-pass, in Hz, below half of the rate.
        butterworth_hz: corner frequency of the Butterworth low-pass, likewise.
        rate_limit_per_s: largest change in units of the action per second; one number, or one per element.
        delay_steps: whole steps.
        start: where the filter rests behind a reset: `[size]` or one number; None for the first action.

    Raises:
        TypeError: `size` or `delay_steps` is no int.
        ValueError: a number is out of its range, nothing or both low-passes are asked for, or `period_s` is missing.
    """

    _limit: Tensor | None
    _start: Tensor | None

    def __init__(
        self,
        size: int,
        *,
        period_s: float | None = None,
        low_pass_hz: float | None = None,
        butterworth_hz: float | None = None,
        rate_limit_per_s: float | Sequence[float] | Tensor | None = None,
        delay_steps: int = 0,
        start: float | Sequence[float] | Tensor | None = None,
    ) -> None:
        super().__init__()
        _check_whole("size", size, 1)
        _check_whole("delay_steps", delay_steps, 0)
        self.input_size = self.output_size = size
        self.period_s = None if period_s is None else _positive("period_s", period_s)
        given = {"low_pass_hz": low_pass_hz, "butterworth_hz": butterworth_hz, "rate_limit_per_s": rate_limit_per_s}
        self._settings = {"period_s": period_s, **given, "delay_steps": delay_steps or None, "start": start}
        self.delay_steps = delay_steps
        if low_pass_hz is not None and butterworth_hz is not None:
            raise ValueError("ActionFilter: give low_pass_hz or butterworth_hz, not both")
        if low_pass_hz is None and butterworth_hz is None and rate_limit_per_s is None and not delay_steps:
            raise ValueError(
                "ActionFilter: nothing to do; give low_pass_hz, butterworth_hz, rate_limit_per_s or delay_steps"
            )
        self._weight = None if low_pass_hz is None else -math.expm1(-2.0 * self._angle("low_pass_hz", low_pass_hz))
        self._gain = None if butterworth_hz is None else math.tan(self._angle("butterworth_hz", butterworth_hz))
        limit = None
        if rate_limit_per_s is not None:
            limit = _spread("rate_limit_per_s", rate_limit_per_s, size) * self._period("rate_limit_per_s")
            if not bool((limit > 0.0).all()):
                raise ValueError(f"ActionFilter: rate_limit_per_s must be positive, not {rate_limit_per_s}")
        self.register_buffer("_limit", limit, persistent=False)
        self.register_buffer("_start", None if start is None else _spread("start", start, size), persistent=False)

    @property
    def state_layout(self) -> tuple[StateSlot, ...]:
        """What each stage keeps, and `filter_started`, 0 until there was an action, where no `start` is given."""
        sizes = {
            "filter_slope": self._gain is not None,
            "filter_level": self._gain is not None or self._weight is not None,
            "filter_limited": self._limit is not None,
            "filter_delayed": self.delay_steps,
        }
        slots = tuple(StateSlot(name, (count * self.input_size,)) for name, count in sizes.items() if count)
        return (*slots, *((StateSlot("filter_started", (1,)),) if self._start is None else ()))

    def initial_state(self) -> tuple[Tensor, ...]:
        """Returns the state of a filter that rests at `start`; zeros without one."""
        if self._start is None:
            return super().initial_state()
        return tuple(part.squeeze(0) for part in self._rest(self._start.unsqueeze(0)))

    def forward(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Filters one action; see `Core.forward`.

        Raises:
            TypeError: `x` is no tensor.
            ValueError: its last axis has another size.
        """
        check_last_axis("ActionFilter", x, self.input_size)
        flags: tuple[Tensor, ...] = ()
        if self._start is None:
            *kept, started = state
            state = tuple(torch.where(started > 0.5, old, at) for old, at in zip(kept, self._rest(x), strict=True))
            flags = (started.clamp(1.0, 1.0),)  # made from the flag itself: a file for any rows has as many of it
        old, new, y = list(state), [], x
        if self._gain is not None:
            a1 = 1.0 / (1.0 + self._gain * (self._gain + math.sqrt(2.0)))
            slope, level = old.pop(0), old.pop(0)
            ahead = y - level
            middle = a1 * slope + self._gain * a1 * ahead
            y = level + self._gain * middle
            new += [2.0 * middle - slope, 2.0 * y - level]
        if self._weight is not None:
            level = old.pop(0)
            y = level + self._weight * (y - level)
            new.append(y)
        if self._limit is not None:
            last = old.pop(0)
            y = torch.minimum(torch.maximum(y, last - self._limit), last + self._limit)
            new.append(y)
        if self.delay_steps:
            waiting = torch.cat((old.pop(0), y), -1)
            y = waiting[..., : self.input_size]
            new.append(waiting[..., self.input_size :])
        return y, (*new, *flags)

    def reset_parameters(self) -> None:
        """Does nothing: there are none."""

    def extra_repr(self) -> str:
        """Text of the settings for `repr`."""
        said = (f"{name}={value}" for name, value in self._settings.items() if value is not None)
        return ", ".join((str(self.input_size), *said))

    def _rest(self, x: Tensor) -> tuple[Tensor, ...]:
        """The state in which every stage gives `x` and goes on giving it."""
        state = []
        if self._gain is not None:
            state += [torch.zeros_like(x), x]
        state += [x] * ((self._weight is not None) + (self._limit is not None))
        return (*state, *((x.repeat(1, self.delay_steps),) if self.delay_steps else ()))

    def _period(self, needed_by: str) -> float:
        if self.period_s is None:
            raise ValueError(f"ActionFilter: {needed_by} needs period_s, the control period in seconds")
        return self.period_s

    def _angle(self, label: str, frequency_hz: float) -> float:
        """Half of the phase that a frequency turns in a period."""
        period_s = self._period(label)
        highest_hz = 0.5 / period_s
        if not _positive(label, frequency_hz) < highest_hz:
            raise ValueError(
                f"ActionFilter: {label} must be below {highest_hz:g} Hz, half of the rate, not {frequency_hz:g}"
            )
        return math.pi * frequency_hz * period_s


def _check_whole(label: str, value: int, least: int) -> None:
    if type(value) is not int:
        raise TypeError(f"ActionFilter: {label} must be an int, not {value!r}")
    if value < least:
        raise ValueError(f"ActionFilter: {label} must be at least {least}, not {value}")


def _positive(label: str, value: float) -> float:
    if not (value > 0.0 and math.isfinite(value)):
        raise ValueError(f"ActionFilter: {label} must be positive and finite, not {value}")
    return float(value)


def _spread(label: str, values: float | Sequence[float] | Tensor, size: int) -> Tensor:
    # A number of NumPy is no float.
    given = torch.as_tensor(values, dtype=torch.get_default_dtype())
    found = as_vector(given.reshape(1) if given.ndim == 0 else given, label)
    if len(found) not in (1, size):
        raise ValueError(f"ActionFilter: {label} has {len(found)} elements but the action has {size}")
    if not bool(found.isfinite().all()):
        raise ValueError(f"ActionFilter: {label} must be finite")
    return found.expand(size).clone()
