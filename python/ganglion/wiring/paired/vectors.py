"""Names what was done to quaternions and vectors where single elements already explain the numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ganglion.wiring.paired.naming import Naming
    from ganglion.wiring.paired.pair import Pair

_UNIT = 1e-4
_CONSTANT = 1e-3
_DOWN = 0.5


def quaternions(naming: Naming) -> None:
    """Orders, conjugates, and signs of all four."""
    covered = {cover.elements: cover.rows for cover in naming.model.covers}
    for elements, places, order in _closed(naming, 4):
        if not _is_unit(naming.pair, places) or _holds_vector(naming, places):
            continue
        if order in ((1, 2, 3, 0), (3, 0, 1, 2)):
            names = ("wxyz", "xyzw") if order == (1, 2, 3, 0) else ("xyzw", "wxyz")
            naming.add("quaternion_order", elements, {"trained": names[0], "found": names[1]})
            for j, i in zip(elements, places, strict=True):
                naming.moved.pop(j, None)
                if i != naming.model.base[j]:
                    naming.moved[j] = i
        part = naming.pair.trained[:, places]
        moving = {j for j, k in zip(elements, order, strict=True) if np.abs(part[:, k]).max() > _UNIT}
        negative = {j for j in elements if j in naming.negative}
        reals = [elements[order.index(end)] for end in (0, 3)]  # where w can stand
        vectors = [moving - {real} for real in reals]
        if negative and negative == moving:
            naming.add("sign", elements, {"double_cover": len(naming.pair.found)})
        elif negative and negative in vectors:
            real = reals[vectors.index(negative)]
            naming.add("quaternion_conjugate", [j for j in elements if j != real], "conjugate")
        else:
            negative = set()
        naming.negative -= negative
        if elements in covered:
            naming.add("sign", elements, {"double_cover": covered[elements]})


def gravity(naming: Naming, *, down: bool = False) -> None:
    """Vectors of constant length that point the other way.

    Args:
        naming: what is to be named.
        down: those alone that point down in training; before quaternions, which of a robot in a plane look alike.
    """
    found: list[int] = []
    for elements, places, _ in _closed(naming, 3):
        part = naming.pair.trained[naming.pair.settled][:, places]
        moving = {j for j, i in zip(elements, places, strict=True) if np.ptp(naming.pair.trained[:, i]) > 0.0}
        if not moving or not moving <= naming.negative or not _is_constant(naming.pair, places):
            continue
        if not down or float(part[:, 2].mean()) < -_DOWN * float(np.linalg.norm(part, axis=1).mean()):
            found += elements
            naming.negative -= set(elements)
    if found:
        naming.add("frame", found, {"kind": "negated_gravity"})


def mounted(naming: Naming) -> None:
    """Vectors turned by quarter turns: an order and signs that only a rotation has."""
    fits = naming.model.fits
    turned: list[tuple[tuple[int, ...], tuple[tuple[float, ...], ...], bool]] = []
    for elements, places, order in _closed(naming, 3):
        if not any(j in naming.moved or j in naming.negative for j in elements):
            continue
        if any(naming.model.base[j] != i for j, i in zip(elements, places, strict=True)):
            continue
        matrix = np.zeros((3, 3))
        for k, j in enumerate(elements):
            fit = fits[j]
            assert fit is not None
            matrix[k, order[k]] = -1.0 if j in naming.negative else 1.0
        if np.linalg.det(matrix) < 0.0 or not (matrix < 0.0).any():
            continue
        quads = range(max(0, places[0] - 3), places[0] + 3)
        if any(_is_unit(naming.pair, tuple(range(i, i + 4))) for i in quads):
            continue
        vector = _is_constant(naming.pair, places) or _named_xyz(naming, places)
        turned.append((elements, tuple(map(tuple, matrix.tolist())), vector))
    taken: set[int] = set()
    edits: dict[tuple[tuple[float, ...], ...], list[int]] = {}
    known = {matrix_ for _, matrix_, sure in turned if sure}
    # What others do too is likelier; else a turn about the height axis is, as of a sensor that is mounted flat.
    for elements, matrix_, sure in sorted(
        turned, key=lambda one: (not one[2], one[1] not in known, one[1][2][2] != 1.0)
    ):
        diagonal = all(matrix_[k][k] != 0.0 for k in range(3))
        near = {j for j in range(elements[0] - 2, elements[0] + 5) if j in naming.moved} - set(elements)
        # Names would tell a vector; without them two signs are two signs.
        if taken & set(elements) or (not sure and (naming.names or diagonal or (matrix_ not in edits and near))):
            continue
        taken |= set(elements)
        edits.setdefault(matrix_, []).extend(elements)
        for j in elements:
            naming.moved.pop(j, None)
            naming.negative.discard(j)
    for matrix_, changed in edits.items():
        naming.add("frame", sorted(changed), {"kind": "fixed", "matrix": [list(row) for row in matrix_]})


def _closed(naming: Naming, size: int) -> Iterator[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]:
    """Neighbours in found that hold neighbours of trained and nothing else: elements, places, and their order."""
    fits, width = naming.model.fits, naming.pair.trained.shape[1]
    for j in range(len(fits) - size + 1):
        sources = [
            naming.moved.get(k, -1 if fit is None else fit.source) for k, fit in enumerate(fits[j : j + size], j)
        ]
        first = min(sources)
        if (naming.model.base[j : j + size] < 0).any():
            continue
        if first >= 0 and first + size <= width and sorted(sources) == list(range(first, first + size)):
            order = tuple(source - first for source in sources)
            yield tuple(range(j, j + size)), tuple(range(first, first + size)), order


def _is_unit(pair: Pair, places: tuple[int, ...]) -> bool:
    if places[-1] >= pair.trained.shape[1]:
        return False
    part = pair.trained[pair.settled][:, places]
    return bool(np.abs(np.linalg.norm(part, axis=1) - 1.0).max() <= _UNIT and np.ptp(part, axis=0).max() > _CONSTANT)


def _holds_vector(naming: Naming, places: tuple[int, ...]) -> bool:
    """Whether four neighbours are a vector beside something that does not move: of a robot in a plane they look alike.

    Names tell it, or a vector that points down; the last of a quaternion hardly ever does.
    """
    for at, beside in ((0, 3), (1, 0)):
        if naming.names and _named_xyz(naming, places[at : at + 3]):
            return not _ends(naming, places[beside]).endswith(("w", "real", "0"))
        part = naming.pair.trained[naming.pair.settled][:, places[at : at + 3]]
        length = np.linalg.norm(part, axis=1)
        if float(np.ptp(length)) <= _CONSTANT and float(part[:, 2].mean()) < -_DOWN:
            return True
    return False


def _is_constant(pair: Pair, places: tuple[int, ...]) -> bool:
    part = pair.trained[pair.settled][:, places]
    length = np.linalg.norm(part, axis=1)
    longest = float(length.max(initial=0.0))
    moving = int((np.ptp(part, axis=0) > _CONSTANT * longest).sum())
    return longest > 0.0 and float(np.ptp(length)) <= _CONSTANT * longest and moving >= 2


def _named_xyz(naming: Naming, places: tuple[int, ...]) -> bool:
    if not naming.names:
        return False
    ends = [_ends(naming, i) for i in places]
    return all(end.endswith(axis) for end, axis in zip(ends, "xyz", strict=True))


def _ends(naming: Naming, place: int) -> str:
    """A name without the age of its frame."""
    return naming.names[place].partition("@")[0].lower()
