"""A graph that was written for several rows, as the operations of one: what the first row of its results needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion.compiler.builder import Builder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ganglion.compiler.builder import Node

    _Mask = NDArray[np.bool_]

_ELEMENTWISE = ("unary", "binary", "where")
_GIVE_A_ROW = ("softmax", "log_softmax", "layer_norm")
_GIVE_A_NUMBER = ("reduce", "argmax")


class Needed:
    """The operations that some values need, and of each operation only those elements and rows.

    Whoever asks for one row of a batch gets what that row is computed from, and nothing of the others.

    Args:
        old: all operations.
        results: the values that are asked for, whole.
    """

    def __init__(self, old: Builder, results: Sequence[int]) -> None:
        self._old = old
        self._masks: dict[int, _Mask] = {}
        for value in results:
            self._need(value, np.ones(old.sizes[value], np.bool_))
        for node in reversed(old.nodes):
            written = [self.mask(value) for value in node.outputs]
            if any(mask.any() for mask in written):
                for value, mask in zip(node.outputs, written, strict=True):
                    self._need(value, _computed(node, mask))
                for value, mask in zip(node.inputs, self._read(node), strict=True):
                    self._need(value, mask)

    def mask(self, value: int) -> _Mask:
        """Which elements of a value are needed."""
        return self._masks.get(value, np.zeros(self._old.sizes[value], np.bool_))

    def _need(self, value: int, mask: _Mask) -> None:
        self._masks[value] = self.mask(value) | mask

    def _read(self, node: Node) -> list[_Mask]:
        """Which elements of its inputs an operation reads to give what is needed of its output."""
        wanted, sizes = self.mask(node.outputs[0]), [self._old.sizes[value] for value in node.inputs]
        if node.kind in _ELEMENTWISE:
            return [wanted if size > 1 else np.ones(1, np.bool_) for size in sizes]
        if node.kind == "gather":
            together = np.zeros(sum(sizes), np.bool_)
            together[node.tensors["index"][wanted]] = True
            return np.split(together, np.cumsum(sizes)[:-1])
        whole = [np.ones(size, np.bool_) for size in sizes]
        if (rows := _rows(node, wanted)) is not None:
            whole[0] = np.repeat(rows, sizes[0] // len(rows))
        return whole

    def rebuilt(self, inputs: Sequence[int], results: Sequence[int]) -> tuple[Builder, list[int], list[int]]:
        """Emits what is needed again.

        Args:
            inputs: values that nothing writes; they stay whole.
            results: the values that were asked for.

        Returns:
            The operations, and the values that inputs and results have become.
        """
        new = Builder()
        found = [new.new_value(self._old.sizes[value]) for value in inputs]
        places: dict[int, NDArray[np.int64]] = {
            old: new.symbol(value, (-1,)).address for old, value in zip(inputs, found, strict=True)
        }
        for value, elements in self._old.constants.items():
            if self.mask(value).any():
                places[value] = new.addresses(elements)
        for node in self._old.nodes:
            if any(self.mask(value).any() for value in node.outputs):
                self._emit(new, node, places)
        return new, found, [new.vector(new.view(places[value])) for value in results]

    def _emit(self, new: Builder, node: Node, places: dict[int, NDArray[np.int64]]) -> None:
        masks = [self.mask(value) for value in node.outputs]
        if node.kind == "gather":
            index = node.tensors["index"][masks[0]]
            together = np.concatenate([self._places(value, places) for value in node.inputs])
            _put(places, node.outputs[0], masks[0], together[index])
            return
        read = zip(node.inputs, self._read(node), strict=True)
        inputs = [new.vector(new.view(self._places(value, places)[mask])) for value, mask in read]
        attributes: dict[str, Any] = dict(node.attributes)
        if (rows := _rows(node, masks[0])) is not None:
            attributes["rows"] = int(rows.sum())
        outputs = new.emit(node.kind, inputs, [int(mask.sum()) for mask in masks], node.tensors, **attributes)
        for old, mask, value in zip(node.outputs, masks, outputs, strict=True):
            _put(places, old, mask, new.symbol(value, (-1,)).address)

    def _places(self, value: int, places: dict[int, NDArray[np.int64]]) -> NDArray[np.int64]:
        return places.get(value, np.full(self._old.sizes[value], -1, np.int64))


def _put(places: dict[int, NDArray[np.int64]], value: int, mask: _Mask, addresses: NDArray[np.int64]) -> None:
    places[value] = np.full(len(mask), -1, np.int64)
    places[value][mask] = addresses


def _rows(node: Node, mask: _Mask) -> _Mask | None:
    """Which rows of its first input an operation needs; None if it does not work row by row."""
    if node.kind in _GIVE_A_NUMBER:
        return mask
    if node.kind in _GIVE_A_ROW or node.kind == "matmul":
        return np.asarray(mask.reshape(node.attributes["rows"], -1).any(axis=1))
    return None


def _computed(node: Node, mask: _Mask) -> _Mask:
    """Which elements an operation computes where these are needed."""
    if node.kind in (*_ELEMENTWISE, *_GIVE_A_NUMBER, "gather"):
        return mask
    rows = _rows(node, mask)
    return np.ones_like(mask) if rows is None else np.repeat(rows, len(mask) // len(rows))
