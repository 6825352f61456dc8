"""One node of an ONNX graph while it is lowered, and the table of those who know how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ganglion.compiler.builder import FLOAT, Builder, Symbol, Tensor, size_of
from ganglion.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    Lowering = Callable[["Site"], Tensor | tuple[Tensor, ...]]
    _L = TypeVar("_L", bound=Lowering)

LOWERINGS: dict[str, Lowering] = {}
"""For each ONNX operator the function that lowers it; filled by the modules `lower_*`."""

_REQUIRED = object()


def lowers(*operators: str) -> Callable[[_L], _L]:
    """Registers a function as the lowering of ONNX operators."""

    def register(function: _L) -> _L:
        LOWERINGS.update(dict.fromkeys(operators, function))
        return function

    return register


@dataclass(frozen=True, eq=False)
class Site:
    """A node with its inputs.

    Attributes:
        builder: where its operations go.
        operator: ONNX operator.
        name: how to call the node in a message.
        inputs: its inputs; None where an optional one is not given.
        attributes: its attributes as Python values (text as `str`, tensors as arrays).
        outputs: names of its outputs, `""` where not wanted.
        opset: version of the operator set.
    """

    builder: Builder
    operator: str
    name: str
    inputs: Sequence[Tensor | None]
    attributes: Mapping[str, Any]
    outputs: Sequence[str]
    opset: int

    def refuse(self, why: str) -> ExportError:
        """The exception to raise where the node cannot be lowered."""
        return ExportError(f"node '{self.name}' ({self.operator}): {why}")

    def has(self, index: int) -> bool:
        """Whether there is an input of this number."""
        return index < len(self.inputs) and self.inputs[index] is not None

    def tensor(self, index: int) -> Tensor:
        """An input that must be there."""
        found = self.inputs[index] if index < len(self.inputs) else None
        if found is None:
            raise self.refuse(f"input {index} is missing")
        return found

    def symbol(self, index: int) -> Symbol:
        """An input that must be computed at run time."""
        found = self.tensor(index)
        if not isinstance(found, Symbol):
            raise self.refuse(
                "its data is constant but a parameter is computed; the native engine needs it the other way"
            )
        return found

    def array(self, index: int, what: str) -> NDArray[Any]:
        """An input that must be known at compile time."""
        found = self.tensor(index)
        if isinstance(found, Symbol):
            raise self.refuse(
                f"its {what} is computed from the observation or the state; the native engine needs it as a constant"
            )
        return found

    def integers(self, index: int, what: str) -> list[int]:
        """A list of integers that must be known at compile time."""
        return [int(number) for number in np.ravel(self.array(index, what))]

    def attribute(self, key: str, default: Any = _REQUIRED) -> Any:
        """An attribute, or its default."""
        if key in self.attributes:
            return self.attributes[key]
        if default is _REQUIRED:
            raise self.refuse(f"attribute '{key}' is missing")
        return default

    def axes(self, key: str, index: int, rank: int) -> list[int] | None:
        """Axes that are an attribute in older operator sets and an input in newer ones; None if not given."""
        if self.has(index):
            given = self.integers(index, key)
        elif key in self.attributes:
            given = list(self.attributes[key])
        else:
            return None
        return [self.axis(axis, rank) for axis in given]

    def axis(self, axis: int, rank: int) -> int:
        """An axis counted from the front."""
        if not -rank <= axis < rank:
            raise self.refuse(f"axis {axis} of a tensor with {rank} axes")
        return axis % rank

    def unary(self, function: str, x: Tensor, kind: str = FLOAT, **parameters: float | None) -> Tensor:
        """An elementwise function of a computed tensor."""
        if x.shape and 0 in x.shape:
            return np.zeros(x.shape, np.float32)
        value = self.builder.vector(x)
        outputs = self.builder.emit(
            "unary", [value], [self.builder.sizes[value]], None, function=function, **parameters
        )
        return self.builder.symbol(outputs[0], x.shape, kind)

    def binary(self, function: str, a: Tensor, b: Tensor, kind: str = FLOAT) -> Tensor:
        """An elementwise function of two tensors, at least one of them computed, with broadcasting."""
        shape = self.broadcast(a, b)
        if 0 in shape:
            return np.zeros(shape, np.float32)
        values = [self.operand(tensor, shape) for tensor in (a, b)]
        outputs = self.builder.emit("binary", values, [size_of(shape)], function=function)
        return self.builder.symbol(outputs[0], shape, kind)

    def operand(self, tensor: Tensor, shape: tuple[int, ...]) -> int:
        """The value of an operand of an elementwise operation: of one element, or broadcast to `shape`."""
        if isinstance(tensor, Symbol):
            size = tensor.address.size
            same = size > 0 and bool((tensor.address == tensor.address.flat[0]).all())
            one = Symbol(tensor.address.ravel()[:1]) if same else None
            return self.builder.vector(one or Symbol(np.broadcast_to(tensor.address, shape)))
        if tensor.size > 0 and bool((tensor == tensor.flat[0]).all()):
            return self.builder.constant(np.ravel(tensor)[:1])
        return self.builder.constant(np.broadcast_to(tensor, shape))

    def broadcast(self, *tensors: Tensor) -> tuple[int, ...]:
        """The common shape of the operands of an elementwise operation."""
        try:
            return np.broadcast_shapes(*(tensor.shape for tensor in tensors))
        except ValueError as error:
            raise self.refuse(f"shapes {[list(tensor.shape) for tensor in tensors]} do not fit together") from error
