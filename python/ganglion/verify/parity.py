"""Compares two runs of one trajectory, element by element."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ganglion._foundation.comparison import errors, first
from ganglion._foundation.rounding import LEAST, lost
from ganglion.verify.steppers.base import tensors_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ganglion.contract import Contract
    from ganglion.verify.steppers.base import Run


_BLOCK_ELEMENTS = 1 << 18
"""So many elements are compared at a time, in float64."""


@dataclass(frozen=True)
class Divergence:
    """The first element of a tensor that differs by more than the tolerance.

    Attributes:
        engine: which implementation differs from the reference, in words.
        output: name of the output, or `"state"`.
        step: first divergent step, counted from 0.
        row: first divergent batch row of that step.
        element: first divergent element of that row.
        element_name: its name in the contract, or for a state its slot and index; empty where unknown.
        expected: value of the reference.
        found: value of the engine; NaN also where its run had stopped before.
        exact: what the float64 run gives; None where there is none.
        allowed: |difference| from it that rounding may make; 0 where it was not measured.
    """

    engine: str
    output: str
    step: int
    row: int
    element: int
    element_name: str
    expected: float
    found: float
    exact: float | None = None
    allowed: float = 0.0

    def __str__(self) -> str:
        name = f" ({self.element_name})" if self.element_name else ""
        return (
            f"{self.engine}: {self.output}[{self.element}]{name} differs first at step {self.step}, row {self.row}: "
            f"expected {self.expected:.9g}, found {self.found:.9g}{self._blame()}"
        )

    def _blame(self) -> str:
        """How far both are from float64, and which of them is farther than rounding takes it."""
        if self.exact is None:
            return ""
        mine, its = abs(self.found - self.exact), abs(self.expected - self.exact)
        said = f"; float64 gives {self.exact:.9g}: the reference is {its:.2g} away from it, {self.engine} {mine:.2g}"
        if self.allowed <= 0.0 or not (math.isfinite(self.found) and math.isfinite(self.expected)):
            return said
        wrong = [who for who, off in (("the reference", its), (self.engine, mine)) if not off <= self.allowed]
        return f"{said}; rounding may do {self.allowed:.2g}, so {' and '.join(wrong)} " + (
            "are wrong" if len(wrong) > 1 else "is wrong"
        )


@dataclass(frozen=True, eq=False)
class TensorComparison:
    """How far one output, or the state, is from the reference.

    Attributes:
        name: name of the output, or `"state"`.
        max_absolute_error: largest `|found - expected|`; infinite where either value is not finite.
        max_relative_error: largest `|found - expected| / |expected|` over elements with `|expected| > 1e-3`: below
            that, a ratio says more about the closeness to zero than about the error.
        error_per_step: `[steps]`, largest `|found - expected| / max(1, |expected|)` of each step; this is what the
            tolerance is compared with.
        first_divergence: None where every element is within the tolerance, or within what rounding does.
        by_rounding: how many elements are beyond the tolerance, and no farther from float64 than rounding takes them.
        from_float64_per_step: `[steps]`, largest `|found - exact| / max(1, |exact|)` of each step, the distance to the
            float64 run; None where there is none.
        reference_from_float64_per_step: that of the reference.
    """

    name: str
    max_absolute_error: float
    max_relative_error: float
    error_per_step: NDArray[np.float64]
    first_divergence: Divergence | None
    by_rounding: int = 0
    from_float64_per_step: NDArray[np.float64] | None = None
    reference_from_float64_per_step: NDArray[np.float64] | None = None

    @property
    def max_error(self) -> float:
        """The largest element of `error_per_step`."""
        return float(self.error_per_step.max())

    @property
    def from_float64(self) -> float | None:
        """The largest element of `from_float64_per_step`."""
        return _largest(self.from_float64_per_step)

    @property
    def reference_from_float64(self) -> float | None:
        """The largest element of `reference_from_float64_per_step`."""
        return _largest(self.reference_from_float64_per_step)

    def growth(self, windows: int = 20) -> list[float]:
        """The largest error in each of at most `windows` equal parts of the trajectory, in order of time."""
        parts = np.array_split(self.error_per_step, min(windows, len(self.error_per_step)))
        return [float(part.max()) for part in parts]


def _largest(per_step: NDArray[np.float64] | None) -> float | None:
    return None if per_step is None else float(per_step.max())


@dataclass(frozen=True, eq=False)
class Comparison:
    """One implementation against the reference.

    Attributes:
        engine: which implementation, in words.
        outputs: one entry per output that both give, in contract order.
        state: the state after each step, or None where one of the two hides it or there is none.
        failure: why the run stopped early, or None.
    """

    engine: str
    outputs: tuple[TensorComparison, ...]
    state: TensorComparison | None
    failure: str | None

    @property
    def tensors(self) -> tuple[TensorComparison, ...]:
        """All outputs, then the state where it was compared."""
        return self.outputs if self.state is None else (*self.outputs, self.state)

    @property
    def ok(self) -> bool:
        """True where the run is complete and everything compared is within the tolerance."""
        return self.failure is None and self.first_divergence is None

    @property
    def first_divergence(self) -> Divergence | None:
        """The earliest divergence; at the same step, an output before the state."""
        found = [tensor.first_divergence for tensor in self.tensors if tensor.first_divergence is not None]
        return min(found, key=lambda divergence: divergence.step, default=None)


@dataclass(frozen=True, eq=False)
class Judge:
    """What is accepted of a difference.

    Attributes:
        tolerance: largest accepted `|found - expected| / max(1, |expected|)`.
        exact: the float64 run, or None.
        allowed: by name of the output, and `"state"`: `[steps, batch, size]`, how far from the float64 run (from the
            reference where there is none) an element may be beside that; see `rounding.allowance`.
    """

    tolerance: float
    exact: Run | None = None
    allowed: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def lost(self, reference: Run, contract: Contract) -> float:
        """The share of all steps and rows in which float32 holds no element of any output."""
        names = [spec.name for spec in contract.outputs if spec.name in self.allowed and spec.name in reference.outputs]
        if not names:
            return 0.0
        truth = reference if self.exact is None else self.exact
        gone = [lost(truth.outputs[name], self.allowed[name]) for name in names]
        return float(np.logical_and.reduce(gone).mean())


def compare(
    reference: Run,
    candidate: Run,
    contract: Contract,
    *,
    tolerance: float = LEAST,
    judge: Judge | None = None,
) -> Comparison:
    """Compares a run with the reference run of the same trajectory.

    An element diverges where `|found - expected| > tolerance * max(1, |expected|)` and one of the two is farther from
    the float64 run than the judge allows, or where either is not finite.

    Args:
        reference: what is expected.
        candidate: what is judged; of all rows, or of the first ones.
        contract: names of outputs, elements and state slots.
        tolerance: the largest accepted error, where there is no judge.
        judge: what is accepted.
    """
    judge = Judge(tolerance) if judge is None else judge
    outputs = tuple(
        _compare_tensor(
            candidate.name,
            spec.name,
            spec.element_names,
            reference.outputs[spec.name],
            candidate.outputs[spec.name],
            judge,
        )
        for spec in contract.outputs
        if spec.name in reference.outputs and spec.name in candidate.outputs
    )
    state = None
    if reference.state is not None and candidate.state is not None and contract.hidden_size:
        names = tuple(f"{slot.name}[{index}]" for slot in contract.state for index in range(slot.size))
        state = _compare_tensor(candidate.name, "state", names, reference.state, candidate.state, judge)
    return Comparison(candidate.name, outputs, state, candidate.failure)


def _compare_tensor(
    engine: str,
    name: str,
    element_names: tuple[str, ...],
    expected: NDArray[np.float32],
    found: NDArray[np.float32],
    judge: Judge,
) -> TensorComparison:
    rows = found.shape[1]
    expected = expected[:, :rows]
    exact = None if judge.exact is None else tensors_of(judge.exact).get(name)
    allowed = judge.allowed.get(name)
    block = max(1, _BLOCK_ELEMENTS // max(1, math.prod(found.shape[1:])))
    largest_absolute = largest_relative = 0.0
    by_rounding = 0
    own_per_step: list[NDArray[np.float64]] = []
    its_per_step: list[NDArray[np.float64]] = []
    per_step, divergence = [], None
    for start in range(0, len(found), block):
        here, there = found[start : start + block], expected[start : start + block]
        absolute, scaled = errors(here, there)
        magnitude = np.where(np.isfinite(absolute), np.abs(there.astype(np.float64)), 1.0)
        relative = np.where(magnitude > 1e-3, absolute / np.maximum(magnitude, 1e-3), 0.0)
        largest_absolute = max(largest_absolute, float(absolute.max()))
        largest_relative = max(largest_relative, float(relative.max()))
        per_step.append(scaled.max(axis=(1, 2)))
        beyond = scaled > judge.tolerance
        accepted = np.zeros_like(beyond)
        if exact is not None:
            true = exact[start : start + block, :rows]
            off, reference_off = errors(here, true), errors(there, true)
            own_per_step.append(off.scaled.max(axis=(1, 2)))
            its_per_step.append(reference_off.scaled.max(axis=(1, 2)))
        if allowed is not None:
            limit = allowed[start : start + block, :rows]
            worst = absolute if exact is None else np.maximum(off.absolute, reference_off.absolute)
            accepted = beyond & (worst <= limit) & np.isfinite(absolute)
        by_rounding += int(accepted.sum())
        beyond &= ~accepted
        at = first(beyond)
        if divergence is None and at is not None:
            divergence = Divergence(
                engine=engine,
                output=name,
                step=start + at[0],
                row=at[1],
                element=at[2],
                element_name=element_names[at[2]] if element_names else "",
                expected=float(there[at]),
                found=float(here[at]),
                exact=None if exact is None else float(true[at]),
                allowed=0.0 if allowed is None else float(limit[at]),
            )
    own, its = (np.concatenate(steps) if steps else None for steps in (own_per_step, its_per_step))
    return TensorComparison(
        name=name,
        max_absolute_error=largest_absolute,
        max_relative_error=largest_relative,
        error_per_step=np.concatenate(per_step),
        first_divergence=divergence,
        by_rounding=by_rounding,
        from_float64_per_step=own,
        reference_from_float64_per_step=its,
    )
