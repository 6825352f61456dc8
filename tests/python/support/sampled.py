"""Which cases `make test` leaves to `WHOLE=1 make test`, which CI runs.

A test marked `sampled(n)` has more cases than a developer waits for: n of them are run with `--sample`, spread over its
parameters. What is marked `whole` is left out. Without the option every case is run.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    import pytest

_GOLDEN = 0.6180339887498949
"""Multiples of it, modulo 1, lie apart from each other, however many there are (Weyl)."""


def left_out(items: Sequence[pytest.Item]) -> set[pytest.Item]:
    """The tests that `--sample` leaves out.

    Raises:
        ValueError: a test is marked `sampled` and has no parameters.
    """
    cases: dict[str, list[Any]] = {}
    for item in items:
        if item.get_closest_marker("sampled") is not None:
            cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    out = {item for item in items if item.get_closest_marker("whole") is not None}
    for name, several in cases.items():
        (count,) = several[0].get_closest_marker("sampled").args
        if any(not hasattr(one, "callspec") for one in several):
            raise ValueError(f"{name} is marked sampled({count}) and has no parameters")
        chosen = spread([frozenset(one.callspec.indices.items()) for one in several], count)
        out |= {one for place, one in enumerate(several) if place not in chosen}
    return out


def spread(cases: Sequence[frozenset[Hashable]], count: int) -> list[int]:
    """Places of `count` of the cases: those whose values were taken least often, the first ones lying apart.

    Each case is the set of its (parameter, value). Every value is in one of them where `count` is large enough:
    each-choice coverage (Ammann and Offutt, Introduction to Software Testing).
    """
    left = sorted(range(len(cases)), key=lambda place: place * _GOLDEN % 1)
    taken: Counter[Hashable] = Counter()
    chosen: list[int] = []
    while left and len(chosen) < count:
        best = min(left, key=lambda place: sum(taken[one] for one in cases[place]))
        left.remove(best)
        taken.update(cases[best])
        chosen.append(best)
    return chosen
