"""From a program to the C++ of one step: a line or two per operation, and one block of memory for what lies between."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion.compiler import vocabulary
from ganglion.export.header import kernels as cpp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from ganglion.compiler.program import Op, Program

_PANEL_ROWS = 64
"""`panel_rows` of kernels.hpp."""

_MOST_RUNS = 8
"""A gather of more separate pieces than this goes through a table of indices."""

_C_TYPES = {"f4": "float", "i1": "std::int8_t", "u1": "std::uint8_t", "u2": "std::uint16_t", "u4": "std::uint32_t"}


@dataclass(frozen=True)
class Array:
    """A constant array of the header.

    Attributes:
        name: identifier in the namespace `weights`.
        values: flat; float32, int8 or unsigned.
    """

    name: str
    values: NDArray[Any]

    @property
    def c_type(self) -> str:
        """Type of an element."""
        return _C_TYPES[self.values.dtype.str[1:]]


@dataclass(frozen=True)
class Code:
    """What a program becomes.

    Attributes:
        lines: statements of one step, from `observation` and `state_` to `next`.
        arrays: the constants that they use.
        scratch_size: elements of the array `scratch_` that they work in.
        next_offset: where all outputs and then the whole next state lie in `scratch_` after the step.
    """

    lines: tuple[str, ...]
    arrays: tuple[Array, ...]
    scratch_size: int
    next_offset: int


@dataclass(frozen=True)
class _Place:
    """Where a value lies: `offset` elements behind the pointer `base`."""

    base: str
    offset: int

    def __str__(self) -> str:
        return f"{self.base} + {self.offset}" if self.offset else self.base

    def behind(self, offset: int) -> _Place:
        return _Place(self.base, self.offset + offset)


class _Scratch:
    """First-fit allocation inside one array."""

    def __init__(self) -> None:
        self._taken: dict[int, int] = {}
        self.size = 0

    def take(self, size: int) -> _Place:
        offset = 0
        for begin in sorted(self._taken):
            if begin - offset >= size:
                break
            offset = begin + self._taken[begin]
        self._taken[offset] = size
        self.size = max(self.size, offset + size)
        return _Place("scratch_", offset)

    def give_back(self, place: _Place) -> None:
        del self._taken[place.offset]


@dataclass(eq=False)
class _Writer:
    program: Program
    lines: list[str] = field(default_factory=list)
    arrays: dict[tuple[str, str], Array] = field(default_factory=dict)
    places: dict[int, _Place] = field(default_factory=dict)
    scratch: _Scratch = field(default_factory=_Scratch)
    temporary: list[_Place] = field(default_factory=list)

    def size(self, value: int) -> int:
        return self.program.values[value].size

    def take_output(self, op: Op, index: int = 0) -> _Place:
        value = op.outputs[index]
        self.places[value] = self.scratch.take(self.size(value))
        return self.places[value]

    def room(self, size: int) -> _Place:
        self.temporary.append(self.scratch.take(size))
        return self.temporary[-1]

    def array(self, key: tuple[str, str], name: str, values: NDArray[Any]) -> str:
        # Operations may share a tensor: the same tensor, packed the same way, is written once.
        if key not in self.arrays:
            self.arrays[key] = Array(name, np.ravel(values))
        return f"weights::{self.arrays[key].name}"

    def call(self, function: str, template: Sequence[object], *arguments: object) -> None:
        parameters = ", ".join(str(item).lower() if isinstance(item, bool) else str(item) for item in template)
        given = ", ".join("nullptr" if argument is None else str(argument) for argument in arguments)
        self.lines.append(f"detail::{function}<{parameters}>({given});")

    def vector(self, op: Op, number: int, role: str, rows: slice = slice(None)) -> str | None:
        """A float32 vector of an operation, or some of its elements."""
        if role not in op.tensors:
            return None
        tensor = op.tensors[role]
        part = "" if rows == slice(None) else f"_{rows.start or 0}"
        return self.array((tensor, f"vector{part}"), f"op{number}_{role}{part}", self.program.tensors[tensor][rows])

    def matrix(self, op: Op, number: int, rows: slice, columns: slice, part: str = "") -> tuple[str, str | None]:
        """A packed block of the weight of an operation, and the scales of its rows."""
        tensor = op.tensors["weight"]
        packed = _packed(self.program.tensors[tensor][rows, columns])
        weight = self.array((tensor, f"packed{part}"), f"op{number}_weight{part}", packed)
        return weight, self.vector(op, number, "scale", rows)

    def activate(self, place: _Place, size: int, activation: Mapping[str, Any]) -> None:
        parameters = {key: value for key, value in activation.items() if key != "name"}
        self.map(place, place, size, cpp.unary(activation["name"], parameters))

    def map(self, source: _Place, target: _Place, size: int, expression: str) -> None:
        self.call("map", (size,), source, target, f"[](float x) {{ return {expression}; }}")


def write_step(program: Program) -> Code:
    """Writes the C++ of one step of a program.

    Args:
        program: any program; float16 weights are written as float32.
    """
    writer = _Writer(program)
    _place_ends(writer)
    finished = _finished(program)
    for number, op in enumerate(program.ops):
        inputs = " ".join(str(writer.size(value)) for value in op.inputs)
        outputs = " ".join(str(writer.size(value)) for value in op.outputs)
        writer.lines.append(f"// {number}: {op.kind}, {inputs} -> {outputs}")
        _OPS.get(op.kind, _plain)(writer, op, number)
        for place in writer.temporary:
            writer.scratch.give_back(place)
        writer.temporary.clear()
        for value in finished[number]:
            writer.scratch.give_back(writer.places[value])
    results = (*program.outputs, *(port.output for port in program.state))
    total = sum(writer.size(value) for value in results)
    target = writer.scratch.take(total)
    writer.lines.append("// outputs and next state, side by side")
    offset = 0
    for value in results:
        writer.lines.append(f"detail::copy({writer.places[value]}, {target.behind(offset)}, {writer.size(value)});")
        offset += writer.size(value)
    return Code(tuple(writer.lines), tuple(writer.arrays.values()), writer.scratch.size, target.offset)


def _place_ends(writer: _Writer) -> None:
    program = writer.program
    for base, values in (("observation", program.inputs), ("state_", [port.input for port in program.state])):
        offset = 0
        for value in values:
            writer.places[value] = _Place(base, offset)
            offset += writer.size(value)
    for index, value_of in enumerate(program.values):
        if value_of.constant is not None:
            tensor = program.tensors[value_of.constant]
            name = writer.array((value_of.constant, "vector"), f"constant{index}", tensor)
            writer.places[index] = _Place(name, 0)


def _finished(program: Program) -> list[list[int]]:
    """For each operation the values whose memory nothing needs any more behind it; a view keeps what it looks at."""
    owner: dict[int, int] = {}
    last_use: dict[int, int] = {}
    for number, op in enumerate(program.ops):
        for value in op.inputs:
            if value in owner:
                last_use[owner[value]] = number
        view = _view(program, op) if op.kind == "gather" else None
        if view is None:
            owner.update((value, value) for value in op.outputs)
            last_use.update((value, number) for value in op.outputs)
        elif view[0] in owner:
            owner[op.outputs[0]] = owner[view[0]]
    for value in (*program.outputs, *(port.output for port in program.state)):
        last_use.pop(owner.get(value, -1), None)
    finished: list[list[int]] = [[] for _ in program.ops]
    for value, number in last_use.items():
        finished[number].append(value)
    return finished


def _view(program: Program, op: Op) -> tuple[int, int] | None:
    """Input and offset of a gather that is one contiguous piece of one input."""
    pieces = _pieces(program, op)
    return (pieces[0][0], pieces[0][1]) if len(pieces) == 1 else None


def _pieces(program: Program, op: Op) -> list[tuple[int, int, int]]:
    """A gather as contiguous pieces: input value, offset in it, size."""
    index = program.tensors[op.tensors["index"]].astype(np.int64)
    edges = np.cumsum([0, *(program.values[value].size for value in op.inputs)])
    source = np.searchsorted(edges, index, side="right") - 1
    breaks = np.flatnonzero((np.diff(index) != 1) | (np.diff(source) != 0)) + 1
    begins, ends = [0, *breaks.tolist()], [*breaks.tolist(), len(index)]
    return [
        (op.inputs[source[begin]], int(index[begin] - edges[source[begin]]), end - begin)
        for begin, end in zip(begins, ends, strict=True)
    ]


def _packed(weight: NDArray[Any]) -> NDArray[Any]:
    """Panels of rows, each panel column by column: the layout of `product` in kernels.hpp."""
    if weight.dtype == np.float16:
        weight = weight.astype(np.float32)
    panels = [weight[first : first + _PANEL_ROWS].T.ravel() for first in range(0, len(weight), _PANEL_ROWS)]
    return np.concatenate(panels)


def _affine(writer: _Writer, op: Op, number: int) -> None:
    columns, rows = writer.size(op.inputs[0]), writer.size(op.outputs[0])
    weight, scale = writer.matrix(op, number, slice(None), slice(None))
    source, target = writer.places[op.inputs[0]], writer.take_output(op)
    writer.call("product", (rows, columns, 0), weight, scale, writer.vector(op, number, "bias"), source, None, target)
    if "activation" in op.attributes:
        writer.activate(target, rows, op.attributes["activation"])


def _rnn(writer: _Writer, op: Op, number: int) -> None:
    columns, rows = (writer.size(value) for value in op.inputs)
    weight, scale = writer.matrix(op, number, slice(None), slice(None))
    x, h = (writer.places[value] for value in op.inputs)
    target = writer.take_output(op)
    writer.call("product", (rows, columns, rows), weight, scale, writer.vector(op, number, "bias"), x, h, target)
    writer.activate(target, rows, op.attributes["activation"])


def _lstm(writer: _Writer, op: Op, number: int) -> None:
    features, hidden = writer.size(op.inputs[0]), writer.size(op.inputs[1])
    weight, scale = writer.matrix(op, number, slice(None), slice(None))
    inputs = [writer.places[value] for value in op.inputs]
    targets = [writer.take_output(op, index) for index in range(2)]
    bias = writer.vector(op, number, "bias")
    writer.call("lstm", (features, hidden), weight, scale, bias, *inputs, *targets, writer.room(4 * hidden))


def _gru(writer: _Writer, op: Op, number: int) -> None:
    features, hidden = (writer.size(value) for value in op.inputs)
    x, h = (writer.places[value] for value in op.inputs)
    gates, candidate = slice(0, 2 * hidden), slice(2 * hidden, 3 * hidden)

    element = "std::int8_t" if "scale" in op.tensors else "float"

    def block(rows: slice, columns: slice, part: str, bias: str | None) -> str:
        weight, scale = writer.matrix(op, number, rows, columns, part)
        return f"detail::Matrix<{element}>{{{weight}, {scale or 'nullptr'}, {bias or 'nullptr'}}}"

    blocks = (
        block(gates, slice(None), "_gates", writer.vector(op, number, "bias", gates)),
        block(candidate, slice(0, features), "_from_x", writer.vector(op, number, "bias", candidate)),
        block(candidate, slice(features, None), "_from_h", writer.vector(op, number, "recurrent_bias")),
    )
    target = writer.take_output(op)
    before = bool(op.attributes["linear_before_reset"])
    writer.call("gru", (features, hidden, before), *blocks, x, h, target, writer.room(4 * hidden))


def _unary(writer: _Writer, op: Op, _: int) -> None:
    parameters = {key: value for key, value in op.attributes.items() if key != "function"}
    source, target = writer.places[op.inputs[0]], writer.take_output(op)
    writer.map(source, target, writer.size(op.outputs[0]), cpp.unary(op.attributes["function"], parameters))


def _steps(writer: _Writer, op: Op) -> tuple[int, ...]:
    return (writer.size(op.outputs[0]), *(int(writer.size(value) != 1) for value in op.inputs))


def _binary(writer: _Writer, op: Op, _: int) -> None:
    a, b = (writer.places[value] for value in op.inputs)
    function = f"[](float a, float b) {{ return {cpp.binary(op.attributes['function'])}; }}"
    writer.call("combine", _steps(writer, op), a, b, writer.take_output(op), function)


def _where(writer: _Writer, op: Op, _: int) -> None:
    inputs = [writer.places[value] for value in op.inputs]
    writer.call("where", _steps(writer, op), *inputs, writer.take_output(op))


def _over_rows(writer: _Writer, op: Op, function: str) -> None:
    rows, columns = op.attributes["rows"], op.attributes["columns"]
    source = writer.places[op.inputs[0]]
    call = f"[](const float* row) {{ return detail::{function}<{columns}>(row); }}"
    writer.call("reduce", (rows, columns), source, writer.take_output(op), call)


def _reduce(writer: _Writer, op: Op, _: int) -> None:
    _over_rows(writer, op, op.attributes["function"])


def _argmax(writer: _Writer, op: Op, _: int) -> None:
    _over_rows(writer, op, "argmax")


def _plain(writer: _Writer, op: Op, _: int) -> None:
    """An operation that is one function of its operands, with its sizes as template parameters."""
    sizes = [op.attributes[key] for key in vocabulary.OPERATIONS[op.kind].attributes]
    operands = [writer.places[value] for value in op.inputs]
    writer.call(op.kind, sizes, *operands, writer.take_output(op))


def _layer_norm(writer: _Writer, op: Op, number: int) -> None:
    table = (op.attributes["rows"], op.attributes["columns"])
    weight, bias = (writer.vector(op, number, role) for role in ("weight", "bias"))
    epsilon = cpp.literal(op.attributes["epsilon"])
    writer.call("layer_norm", table, weight, bias, epsilon, writer.places[op.inputs[0]], writer.take_output(op))


def _conv1d(writer: _Writer, op: Op, number: int) -> None:
    a = op.attributes
    channels, length, left, right = a["in_channels"], a["length"], a["pad_left"], a["pad_right"]
    source = writer.places[op.inputs[0]]
    target = writer.take_output(op)
    if left or right:
        padded = writer.room(channels * (left + length + right))
        writer.call("pad", (channels, length, left, right, a["padding"] == "circular"), source, padded)
        source = padded
    kernel = writer.program.tensors[op.tensors["weight"]].shape[2]
    sizes = (a["groups"], channels // a["groups"], left + length + right, a["out_channels"], a["out_length"], kernel)
    weight, bias = (writer.vector(op, number, role) for role in ("weight", "bias"))
    writer.call("conv1d", (*sizes, a["stride"], a["dilation"]), weight, bias, source, target)


def _gather(writer: _Writer, op: Op, number: int) -> None:
    view = _view(writer.program, op)
    if view is not None:
        value, offset = view
        writer.places[op.outputs[0]] = writer.places[value].behind(offset)
        writer.lines[-1] += ", a view"
        return
    target, pieces = writer.take_output(op), _pieces(writer.program, op)
    if len(pieces) <= _MOST_RUNS:
        for value, offset, size in pieces:
            writer.lines.append(f"detail::copy({writer.places[value].behind(offset)}, {target}, {size});")
            target = target.behind(size)
        return
    source = writer.places[op.inputs[0]]
    if len(op.inputs) > 1:
        source = place = writer.room(sum(writer.size(value) for value in op.inputs))
        for value in op.inputs:
            writer.lines.append(f"detail::copy({writer.places[value]}, {place}, {writer.size(value)});")
            place = place.behind(writer.size(value))
    tensor = op.tensors["index"]
    index = writer.program.tensors[tensor]
    small = index.astype(np.min_scalar_type(int(index.max())))
    table = writer.array((tensor, "index"), f"op{number}_index", small)
    writer.call("gather", (writer.size(op.outputs[0]),), table, source, target)


_OPS: dict[str, Callable[[_Writer, Op, int], None]] = {
    "affine": _affine,
    "lstm": _lstm,
    "gru": _gru,
    "rnn": _rnn,
    "unary": _unary,
    "binary": _binary,
    "where": _where,
    "reduce": _reduce,
    "argmax": _argmax,
    "layer_norm": _layer_norm,
    "conv1d": _conv1d,
    "gather": _gather,
}
"""How an operation is written, where it is not `_plain`."""
