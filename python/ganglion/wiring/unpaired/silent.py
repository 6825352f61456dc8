"""What a log does not tell, and what in it nothing explains."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ganglion.wiring.edits import Edit
from ganglion.wiring.report import CannotTell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ganglion.wiring.unpaired.distance import Distance, Explanation

_TOLD = 3.0
"""A change that would cost less does not show."""

_STRANGE = 45.0
"""No healthy element is so far from its profile."""


def silent(distance: Distance, base: Explanation, names: Sequence[str]) -> tuple[CannotTell, ...]:
    """The elements of which the log does not hold enough, and what to do."""
    trained, found = distance.trained, distance.found
    moved = trained.spread[base.source] > 0.0
    still = np.flatnonzero(moved & (found.spread <= 0.02 * np.abs(base.factor) * trained.spread[base.source]))
    never = np.flatnonzero(~moved)
    said = []
    if len(still):
        said.append(
            _cannot(
                still,
                names,
                "stood still in the log and moved in training: their order, sign and scale do not show. Move each of "
                "them: lift the robot and move each leg once, turn and tilt the base, give each command once",
            )
        )
    if len(never):
        said.append(
            _cannot(
                never,
                names,
                "never moved in training, so the profile knows nothing of them but their value: record a training run "
                "in which they do",
            )
        )
    everything, trusted = np.arange(distance.size), np.ones(distance.size)
    flipped = base.changed(everything, factor=-1.0)
    cost = distance.alone(base, flipped, everything, trusted) - distance.alone(base, base, everything, trusted)
    quiet = np.flatnonzero((cost < _TOLD) & distance.moves & ~np.isin(everything, still))
    if len(quiet):
        said.append(
            _cannot(
                quiet,
                names,
                "look the same with the other sign: nothing that was recorded goes with them. Give a longer log, with "
                "actions and with commands to all sides",
            )
        )
    return tuple(said)


def unexplained(distance: Distance, far: NDArray[np.float64], names: Sequence[str]) -> list[Edit]:
    """An edit for what is far from the profile when all edits are undone."""
    strange = np.flatnonzero(far > _STRANGE)
    if not len(strange):
        return []
    worst = int(far.argmax())
    trained, found = distance.trained, distance.found
    elements = tuple(int(element) for element in strange)
    sentence = (
        f"no edit explains what these look like: {_name(worst, names)} has mean {found.mean[worst]:.3g} and spread "
        f"{found.spread[worst]:.3g}, in training {trained.mean[worst]:.3g} and {trained.spread[worst]:.3g}; compare "
        "the adapter with training on the same states: ganglion wiring TRAINED.npz ADAPTER.npz"
    )
    value = {"closest": "unexplained", "of": worst, "gain": 1.0, "offset": 0.0}
    told = tuple(names[element] for element in elements) if names else ()
    return [Edit("unexplained", elements, told, value, round(float(far[worst]), 3), sentence, 0.0)]


def _cannot(elements: NDArray[np.int64], names: Sequence[str], sentence: str) -> CannotTell:
    places = tuple(int(element) for element in elements)
    return CannotTell(places, tuple(names[place] for place in places) if names else (), sentence)


def _name(element: int, names: Sequence[str]) -> str:
    return f"'{names[element]}'" if names else f"element {element}"
