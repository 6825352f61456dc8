"""Which matrix turns vectors into others, and whether that is a rotation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Doubles = NDArray[np.float64]

_ALONE = 0.1
"""What is less beside the largest of a row may be noise."""

_NO_DIRECTION = 1e-3

_SQUARE = 0.05
"""A matrix that is this close to a rotation, times a factor, is meant as one."""


def least_squares(x: Doubles, y: Doubles) -> tuple[Doubles, Doubles] | None:
    """Matrix and offset of least squares, or None."""
    mx, my = x.mean(axis=0), y.mean(axis=0)
    if len(x) <= x.shape[1]:
        return None
    solution = np.linalg.lstsq(x - mx, y - my, rcond=1e-7)[0].T
    return solution, my - solution @ mx


def nearest_rotation(x: Doubles, y: Doubles) -> Doubles | None:
    """The orthogonal matrix, times a factor, that turns x into y best (Kabsch, Acta Crystallographica A32, 1976).

    Without any part in one direction it is the rotation; with none in two directions it is not known: None.
    """
    left, values, right = np.linalg.svd(y.T @ x)
    rank = int((values > _NO_DIRECTION**2 * values[0]).sum())
    if rank < len(values) - 1:
        return None
    if rank < len(values) and np.linalg.det(left @ right) < 0.0:
        left[:, -1] *= -1.0
    rotation: Doubles = left @ right * math.sqrt(float((y * y).sum()) / float((x * x).sum()))
    return rotation


def as_rotation(matrix: Doubles) -> Doubles | None:
    """The orthogonal matrix that a matrix is, but for a factor of each row; None where it is none.

    A direction in which nothing moved leaves a zero: any rotation does there, and the smallest is taken.
    """
    values = np.linalg.svd(matrix, compute_uv=False)
    rank = int((values > _NO_DIRECTION * values[0]).sum())
    if rank == len(matrix):
        length = np.linalg.norm(matrix, axis=1, keepdims=True)
        matrix = matrix / length
    elif rank:
        matrix = matrix / values[:rank].mean()
    left, values, right = np.linalg.svd(matrix)
    if not rank or np.abs(values[:rank] - 1.0).max() > _SQUARE:
        return None
    if rank == len(matrix):
        rotation: Doubles = left @ right
    else:
        # What moved spans one room before and another behind; the rest goes the shortest way.
        rest, other = right[rank:].T, left[:, rank:]
        u, _, v = np.linalg.svd(other.T @ rest)
        rotation = left[:, :rank] @ right[:rank] + other @ u @ v @ rest.T
        if np.linalg.det(rotation) < 0.0:
            u[:, -1] *= -1.0
            rotation = left[:, :rank] @ right[:rank] + other @ u @ v @ rest.T
    return np.where(np.abs(rotation) < 1e-9, 0.0, rotation)


def columns_alone(matrix: Doubles) -> list[int] | None:
    """Which column each row of a matrix is made of, where that is one alone and each is used once; else None."""
    size = np.abs(matrix)
    most = size.argmax(axis=1)
    rest = size.copy()
    rest[np.arange(len(size)), most] = 0.0
    if sorted(most) != list(range(len(size))) or (rest.max(axis=1) > _ALONE * size.max(axis=1)).any():
        return None
    return [int(k) for k in most]
