"""Collects the operations of a program while a graph is walked.

A tensor of the graph is an array (known at compile time) or a `Symbol`: computed at run time, held as the addresses of
its elements. Whatever only moves elements (Reshape, Transpose, Slice, Concat, ...) is indexing of addresses, and
becomes an operation only where another operation needs the elements side by side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ganglion.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

FLOAT, INTEGER, BOOLEAN = "float", "integer", "boolean"


@dataclass(frozen=True, eq=False)
class Symbol:
    """A tensor that is computed at run time.

    Attributes:
        address: for each element of the tensor where it lies: first address of a value, plus position in it.
        kind: `FLOAT`, `INTEGER` or `BOOLEAN`; the elements are float32 in any case.
    """

    address: NDArray[np.int64]
    kind: str = FLOAT

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor, with an axis of one where the graph has its batch axis."""
        return self.address.shape


Tensor: TypeAlias = "Symbol | NDArray[Any]"


@dataclass(eq=False)
class Node:
    """An operation that may still change; see `program.Op`. Tensors are held by role, as arrays."""

    kind: str
    inputs: list[int]
    outputs: list[int]
    tensors: dict[str, NDArray[Any]] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)


class Builder:
    """A program under construction.

    Attributes:
        sizes: number of elements of each value.
        constants: elements of those values that are constant.
        nodes: operations in order.
    """

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.constants: dict[int, NDArray[np.float32]] = {}
        self.nodes: list[Node] = []
        self._first: list[int] = [0]
        self._known: dict[tuple[Any, ...], list[int]] = {}
        self.producers: dict[int, Node] = {}

    def new_value(self, size: int) -> int:
        """Adds a value that something else writes."""
        self.sizes.append(size)
        self._first.append(self._first[-1] + size)
        return len(self.sizes) - 1

    def constant(self, elements: NDArray[Any]) -> int:
        """The value that holds these elements, in C order.

        Raises:
            ExportError: an integer is too large for float32, or an element is a NaN.
        """
        vector = np.ascontiguousarray(elements, np.float32).ravel()
        if elements.dtype.kind in "iu" and not np.array_equal(vector.astype(np.float64), elements.ravel()):
            raise ExportError("an integer constant is beyond 16,777,216, where float32 has no whole numbers")
        if np.isnan(vector).any():
            raise ExportError("a constant has a NaN")
        key = ("constant", vector.tobytes())
        if key not in self._known:
            value = self.new_value(vector.size)
            self.constants[value] = vector
            self._known[key] = [value]
        return self._known[key][0]

    def emit(
        self,
        kind: str,
        inputs: Sequence[int],
        sizes: Sequence[int],
        tensors: Mapping[str, NDArray[Any]] | None = None,
        **attributes: Any,
    ) -> list[int]:
        """Adds an operation, or finds the same one.

        Args:
            kind: name of the operation.
            inputs: values that it reads.
            sizes: number of elements of each value that it writes.
            tensors: its tensors by role.
            attributes: its attributes.

        Returns:
            The values that it writes.
        """
        tensors = dict(tensors or {})
        key = (kind, *inputs, repr(attributes), *((role, id(tensor)) for role, tensor in tensors.items()))
        if kind == "gather":
            key = (kind, *inputs, tensors["index"].tobytes())
        if key not in self._known:
            node = Node(kind, list(inputs), [self.new_value(size) for size in sizes], tensors, attributes)
            self.nodes.append(node)
            self.producers.update((value, node) for value in node.outputs)
            self._known[key] = node.outputs
        return list(self._known[key])

    def symbol(self, value: int, shape: Sequence[int], kind: str = FLOAT) -> Symbol:
        """A whole value as a tensor of some shape."""
        first = self._first[value]
        return Symbol(np.arange(first, first + self.sizes[value]).reshape(shape), kind)

    def addresses(self, tensor: Tensor) -> NDArray[np.int64]:
        """Addresses of the elements of a tensor; those of a known one are put into a constant."""
        if isinstance(tensor, Symbol):
            return tensor.address
        if tensor.size == 0:
            return np.zeros(tensor.shape, np.int64)
        return self.symbol(self.constant(tensor), tensor.shape).address

    def address_of(self, value: float) -> int:
        """Where an element stands that always is this number."""
        return int(self.addresses(scalar(value))[0])

    def view(self, address: NDArray[np.int64], kind: str = FLOAT) -> Tensor:
        """The tensor with these addresses: an array if all its elements are constant, or if there are none."""
        values = self._values(address)
        if all(value in self.constants for value in values):
            dtype = {FLOAT: np.float32, INTEGER: np.int64, BOOLEAN: np.bool_}[kind]
            result: NDArray[Any] = np.zeros(address.shape, dtype)
            for value in values:
                inside = (address >= self._first[value]) & (address < self._first[value + 1])
                result[inside] = self.constants[value][address[inside] - self._first[value]]
            return result
        return Symbol(address, kind)

    def vector(self, tensor: Tensor) -> int:
        """The value that holds the elements of a tensor side by side, in C order; gathers them if need be."""
        if not isinstance(tensor, Symbol):
            return self.constant(tensor)
        address = tensor.address.ravel()
        values = self._values(address)
        if len(values) == 1:
            value = values[0]
            if address.size == self.sizes[value] and np.array_equal(address, self.symbol(value, (-1,)).address):
                return value
        index, start = np.empty(address.size, np.int32), 0
        for value in values:
            first, end = self._first[value], self._first[value + 1]
            inside = (address >= first) & (address < end)
            index[inside] = address[inside] - first + start
            start += self.sizes[value]
        return self.emit("gather", values, [address.size], {"index": index})[0]

    def _values(self, address: NDArray[np.int64]) -> list[int]:
        """The values that the addresses lie in, in order of their first appearance."""
        owners = np.searchsorted(self._first, address.ravel(), side="right") - 1
        found, positions = np.unique(owners, return_index=True)
        return [int(value) for value in found[np.argsort(positions)]]


def scalar(value: float) -> NDArray[np.float32]:
    """A known tensor of one element, for operands."""
    return np.full(1, value, np.float32)


def kind_of(*tensors: Tensor) -> str:
    """The kind of the first that is computed; of numbers where all are known."""
    return next((tensor.kind for tensor in tensors if isinstance(tensor, Symbol)), FLOAT)


def size_of(shape: Sequence[int]) -> int:
    """Number of elements of a tensor of this shape."""
    return math.prod(shape)
