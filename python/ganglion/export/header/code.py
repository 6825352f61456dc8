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

_PANEL_ROWS = 32
"""`panel_rows` of kernels.hpp."""

_FEW_ROWS = 16
"""An affine or rnn of so many rows adds up in four chains, everything else in two (cpp/NUMERICS.md)."""

_INTEGER_INPUTS = {"int8x16": 32767, "int8x8": 127}
"""Schemes whose int8 weights meet whole numbers, and the largest of these."""

_LONGEST_SUM = 65536
"""Columns of a weight that meets whole numbers; longer ones meet float32."""

_SMALLEST = np.float32(2.0**-100)
"""What is smaller is 0 in every value (cpp/NUMERICS.md)."""

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
        self.lines.append(
            f"detail::{function}<{parameters}>({given});" if parameters else f"detail::{function}({given});"
        )

    def vector(self, op: Op, number: int, role: str, rows: slice = slice(None)) -> str | None:
        """A float32 vector of an operation, or some of its elements."""
        if role not in op.tensors:
            return None
        tensor = op.tensors[role]
        part = "" if rows == slice(None) else f"_{rows.start or 0}"
        return self.array(
            (tensor, f"vector{part}"), f"op{number}_{role}{part}", flushed(self.program.tensors[tensor][rows])
        )

    def matrix(self, op: Op, number: int, rows: slice, columns: slice, part: str = "") -> tuple[str, str | None]:
        """A packed block of the weight of an operation, and the scales of its rows."""
        tensor = op.tensors["weight"]
        packed = _packed(flushed(self.program.tensors[tensor][rows, columns]))
        weight = self.array((tensor, f"packed{part}"), f"op{number}_weight{part}", packed)
        return weight, self.vector(op, number, "scale", rows)

    def affine(
        self,
        op: Op,
        number: int,
        inputs: Sequence[tuple[_Place, int]],
        target: _Place,
        bias: str | None,
        *,
        rows: slice = slice(None),
        columns: slice = slice(None),
        part: str = "",
        is_value: bool = True,
        whole: Sequence[str] = (),
    ) -> None:
        """W [inputs] + bias of some rows and columns of the weight of an operation.

        Args:
            op: the operation.
            number: of the operation.
            inputs: places and sizes, one or two.
            target: where the rows go.
            bias: a constant, or None.
            rows: of the weight.
            columns: of the weight; as many as the inputs have together.
            part: tells apart the blocks of one weight.
            is_value: whether the rows are values of the program, in which no number is below 2^-100.
            whole: the inputs as whole numbers, where `whole_inputs` has made them.
        """
        size = len(range(*rows.indices(len(self.program.tensors[op.tensors["weight"]]))))
        weight, scale = self.matrix(op, number, rows, columns, part)
        numbers = f"detail::row_numbers({scale or 'nullptr'}, {bias or 'nullptr'})"
        chains = 4 if is_value and size <= _FEW_ROWS else 2
        if whole:
            none = ["detail::no_whole_inputs()"] * (2 - len(whole))
            self.call("integer_affine", (is_value,), size, weight, numbers, *whole, *none, target)
            return
        self.call("affine", (chains, is_value), size, weight, numbers, *_two(inputs), target)

    def whole_inputs(self, op: Op, number: int, inputs: Sequence[tuple[_Place, int]]) -> list[str]:
        """Makes the inputs of an operation whole numbers, where its weight wants them; answers their names."""
        weight = self.program.tensors[op.tensors["weight"]]
        most = _INTEGER_INPUTS.get(self.program.scheme)
        if most is None or weight.dtype != np.int8 or weight.shape[1] > _LONGEST_SUM:
            return []
        given = _two(inputs)
        self.lines.append(f"const detail::Steps steps_{number} = detail::steps_of({', '.join(given)}, {most}.0F);")
        for index, (_, count) in enumerate(inputs):
            room = self.room(-(-count // 2))
            self.lines.append(
                f"const detail::WholeInputs whole_{number}_{index} = detail::whole_inputs({given[index]}, "
                f"steps_{number}, {room});"
            )
        return [f"whole_{number}_{index}" for index in range(len(inputs))]

    def activate(self, place: _Place, size: int, activation: Mapping[str, Any]) -> None:
        parameters = {key: value for key, value in activation.items() if key != "name"}
        self.map(place, place, size, cpp.unary(activation["name"], parameters))

    def map(self, source: _Place, target: _Place, size: int, expression: str) -> None:
        self.call("map", (size,), source, target, f"[](detail::Vector x) {{ return {expression}; }}")


def _two(inputs: Sequence[tuple[_Place, int]]) -> list[str]:
    """One or two inputs as the two that an affine has."""
    given = [f"detail::inputs_of({place}, {count})" for place, count in inputs]
    return given + ["detail::inputs_of(nullptr, 0)"] * (2 - len(inputs))


def write_step(program: Program) -> Code:
    """Writes the C++ of one step of a program, of which `c99.py` makes C, too."""
    writer = _Writer(program)
    finished = _finished(program)
    _place_ends(writer)
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
    offset = 0
    for value in program.inputs:
        # What comes from outside goes through `take`, so it lies in scratch, as long as something needs it.
        if _is_used(program, value):
            place = writer.places[value] = writer.scratch.take(writer.size(value))
            writer.call("take", (), _Place("observation", offset), place, writer.size(value))
        offset += writer.size(value)
    offset = 0
    for port in program.state:
        writer.places[port.input] = _Place("state_", offset)
        offset += writer.size(port.input)
    for index, value_of in enumerate(program.values):
        if value_of.constant is not None:
            tensor = flushed(program.tensors[value_of.constant])
            name = writer.array((value_of.constant, "vector"), f"constant{index}", tensor)
            writer.places[index] = _Place(name, 0)


def flushed(array: NDArray[Any]) -> NDArray[Any]:
    """The numbers as they are in a value: float32 that are smaller than 2^-100 are 0."""
    return np.where(np.abs(array) < _SMALLEST, np.float32(0.0), array) if array.dtype == np.float32 else array


def _is_used(program: Program, value: int) -> bool:
    ends = (*program.outputs, *(port.output for port in program.state))
    return value in ends or any(value in op.inputs for op in program.ops)


def _finished(program: Program) -> list[list[int]]:
    """For each operation the values whose memory nothing needs any more behind it; a view keeps what it looks at."""
    owner: dict[int, int] = {value: value for value in program.inputs}
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
    """Panels of rows, each panel column by column: the layout of `affine` in kernels.hpp."""
    if weight.dtype == np.float16:
        weight = weight.view(np.uint16)  # C++17 and C99 have no type for it: its bits
    panels = [weight[first : first + _PANEL_ROWS].T.ravel() for first in range(0, len(weight), _PANEL_ROWS)]
    return np.concatenate(panels)


def _inputs(writer: _Writer, op: Op, count: int = 2) -> list[tuple[_Place, int]]:
    return [(writer.places[value], writer.size(value)) for value in op.inputs[:count]]


def _affine(writer: _Writer, op: Op, number: int) -> None:
    """Also an rnn, which has two inputs."""
    inputs, target = _inputs(writer, op), writer.take_output(op)
    whole = writer.whole_inputs(op, number, inputs)
    writer.affine(op, number, inputs, target, writer.vector(op, number, "bias"), whole=whole)
    if "activation" in op.attributes:
        writer.activate(target, writer.size(op.outputs[0]), op.attributes["activation"])


def _lstm(writer: _Writer, op: Op, number: int) -> None:
    hidden, inputs = writer.size(op.inputs[1]), _inputs(writer, op)
    targets = [writer.take_output(op, index) for index in range(2)]
    whole = writer.whole_inputs(op, number, inputs)
    gates = writer.room(4 * hidden)
    bias = writer.vector(op, number, "bias")
    writer.affine(op, number, inputs, gates, bias, is_value=False, whole=whole)
    writer.call("lstm", (hidden,), gates, writer.places[op.inputs[2]], *targets)


def _gru(writer: _Writer, op: Op, number: int) -> None:
    (x, features), (h, hidden) = inputs = _inputs(writer, op)
    gates, candidate = slice(0, 2 * hidden), slice(2 * hidden, 3 * hidden)
    target = writer.take_output(op)
    bias = writer.vector(op, number, "bias", gates)
    if not op.attributes["linear_before_reset"]:
        values = writer.room(3 * hidden)
        reset, update, new = values, values.behind(hidden), values.behind(2 * hidden)
        writer.affine(op, number, inputs, values, bias, rows=gates, part="_gates")
        writer.map(values, values, 2 * hidden, cpp.unary("sigmoid", {}))
        product = f"[](detail::Vector a, detail::Vector b) {{ return {cpp.binary('mul')}; }}"
        writer.call("combine", (hidden, 1, 1), reset, h, reset, product)
        own = _joined_bias(writer, op, number, candidate)
        writer.affine(op, number, [(x, features), (reset, hidden)], new, own, rows=candidate, part="_candidate")
        writer.map(new, new, hidden, cpp.unary("tanh", {}))
        writer.call("blend", (hidden,), update, new, h, target)
        return
    whole = writer.whole_inputs(op, number, inputs)
    values = writer.room(4 * hidden)
    writer.affine(op, number, inputs, values, bias, rows=gates, part="_gates", is_value=False, whole=whole)
    for index, (columns, role, rows) in enumerate(
        ((slice(0, features), "bias", candidate), (slice(features, None), "recurrent_bias", slice(None)))
    ):
        writer.affine(
            op, number, inputs[index : index + 1], values.behind((2 + index) * hidden),
            writer.vector(op, number, role, rows), rows=candidate, columns=columns,
            part=("_from_x", "_from_h")[index], is_value=False, whole=whole[index : index + 1],
        )  # fmt: skip
    writer.call("gru", (hidden,), values, h, target)


def _joined_bias(writer: _Writer, op: Op, number: int, rows: slice) -> str | None:
    """The sum of the candidate's two biases, rounded once."""
    names = [op.tensors.get("bias"), op.tensors.get("recurrent_bias")]
    parts = [flushed(writer.program.tensors[name]) for name in names if name is not None]
    if not parts:
        return None
    total = sum((part[rows] if len(part) > rows.stop - rows.start else part for part in parts), np.float32(0.0))
    return writer.array((f"{names}", "joined"), f"op{number}_bias_candidate", flushed(np.asarray(total, np.float32)))


def _unary(writer: _Writer, op: Op, _: int) -> None:
    parameters = {key: value for key, value in op.attributes.items() if key != "function"}
    source, target = writer.places[op.inputs[0]], writer.take_output(op)
    writer.map(source, target, writer.size(op.outputs[0]), cpp.unary(op.attributes["function"], parameters))


def _steps(writer: _Writer, op: Op) -> tuple[int, ...]:
    return (writer.size(op.outputs[0]), *(int(writer.size(value) != 1) for value in op.inputs))


def _binary(writer: _Writer, op: Op, _: int) -> None:
    a, b = (writer.places[value] for value in op.inputs)
    expression = cpp.binary(op.attributes["function"])
    function = f"[](detail::Vector a, detail::Vector b) {{ return {expression}; }}"
    writer.call("combine", _steps(writer, op), a, b, writer.take_output(op), function)


def _where(writer: _Writer, op: Op, _: int) -> None:
    inputs = [writer.places[value] for value in op.inputs]
    writer.call("where", _steps(writer, op), *inputs, writer.take_output(op))


def _over_rows(writer: _Writer, op: Op, function: str) -> None:
    rows, columns = op.attributes["rows"], op.attributes["columns"]
    source = writer.places[op.inputs[0]]
    call = f"[](const float* row) {{ return detail::row_{function}<{columns}>(row); }}"
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


def _conv2d(writer: _Writer, op: Op, number: int) -> None:
    a = op.attributes
    channels, height, width = a["in_channels"], a["height"], a["width"]
    top, bottom, left, right = (a[f"pad_{side}"] for side in ("top", "bottom", "left", "right"))
    source = writer.places[op.inputs[0]]
    target = writer.take_output(op)
    if top or bottom or left or right:
        padded = writer.room(channels * (top + height + bottom) * (left + width + right))
        writer.call("pad_image", (channels, height, width, top, bottom, left, right), source, padded)
        source = padded
    kernel = writer.program.tensors[op.tensors["weight"]].shape[2:]
    ends = ("out_channels", "out_height", "out_width")
    steps = ("stride_height", "stride_width", "dilation_height", "dilation_width")
    sizes = (a["groups"], channels // a["groups"], top + height + bottom, left + width + right)
    weight, bias = (writer.vector(op, number, role) for role in ("weight", "bias"))
    writer.call(
        "conv2d", (*sizes, *(a[key] for key in ends), *kernel, *(a[key] for key in steps)), weight, bias, source, target
    )


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
    "rnn": _affine,
    "unary": _unary,
    "binary": _binary,
    "where": _where,
    "reduce": _reduce,
    "argmax": _argmax,
    "layer_norm": _layer_norm,
    "conv1d": _conv1d,
    "conv2d": _conv2d,
    "gather": _gather,
}
"""How an operation is written, where it is not `_plain`."""
