"""World for body where nothing in the observation tells the orientation: a vector that no longer goes with anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ganglion.wiring.unpaired.candidates import Candidate
from ganglion.wiring.unpaired.distance import Explanation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ganglion.wiring.unpaired.distance import Distance
    from ganglion.wiring.unpaired.terms import Terms

    Doubles = NDArray[np.float64]
    Integers = NDArray[np.int64]

_MEDIAN = 5
_PRIOR = 12.0
_SAME_LENGTH = 0.35
"""Logarithm of the root mean square length: it stays as it was when a vector is turned."""

_LOOSE = 0.35
"""So large a share of what it went with in training, in correlations squared, a turned vector keeps at most."""

_WENT = 0.15
"""The largest correlation in training has to be this strong, or there is nothing to lose."""

_ROUND = 0.9
"""Logarithm of the spreads of the two horizontal elements: a heading turns through all directions."""

_LEVEL = 9.0
"""The distance of the vertical element, which stays where it was."""


def unknown_headings(distance: Distance, layout: Terms, strange: Doubles) -> Iterator[Candidate]:
    """Vectors in the world's frame that training has in the base's."""
    trained, found = distance.trained, distance.found
    if trained.correlation is None or found.correlation is None or any(one.size == 4 for one in trained.unit_norm):
        return
    known = {one.first for one in trained.unit_norm if one.size == 3}
    far = distance.of(Explanation.nothing(distance.size), np.arange(distance.size))
    for term in layout.terms:
        if len(term) != 3 * layout.frames or int(term[0]) in known or not distance.moves[term].all():
            continue
        if np.any(trained.change[_MEDIAN][term] <= 1e-6 * trained.spread[term]):
            continue  # A command, which stands for seconds, is nothing that is measured.
        vectors = term.reshape(-1, 3)
        flat, upright = vectors[:, :2].reshape(-1), vectors[:, 2]
        before, after = _length(trained.mean, trained.spread, term), _length(found.mean, found.spread, term)
        others = distance.moves.copy()
        others[term] = False
        went = trained.correlation[np.ix_(flat, others)]
        goes = found.correlation[np.ix_(flat, others)]
        sizes = found.spread[vectors[:, :2]].mean(0)
        gain = float(strange[flat].sum()) - float(np.maximum(far[upright] - _LEVEL, 0.0).sum())
        gain = gain / layout.frames - _PRIOR  # the frames of a history say one thing
        if (
            abs(np.log(after / before) - distance.activity) < _SAME_LENGTH
            and np.abs(went).max() > _WENT
            and (goes**2).sum() < _LOOSE * (went**2).sum()
            and abs(np.log(sizes[0] / sizes[1])) < _ROUND
            and gain > 0.0
        ):
            value = {"kind": "world_for_body", "quaternion": [], "known_by": "length alone"}
            yield Candidate(
                *("frame", term, value, Explanation.nothing(distance.size), 0.0),
                credit=gain,
                lost="nothing in the observation tells the orientation that would turn a vector back",
            )


def _length(mean: NDArray[np.floating], spread: NDArray[np.floating], term: Integers) -> float:
    return float(np.sqrt((mean[term].astype(np.float64) ** 2 + spread[term].astype(np.float64) ** 2).sum()))
