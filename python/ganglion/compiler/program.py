"""The program of a `.ganglion` file: a straight line of operations on vectors, the same for every batch row.

A value is a flat float32 vector; the batch axis is not part of the program. `Program` is plain data: the operations and
what they mean are listed in `vocabulary.py` and described in `cpp/FORMAT.md`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion.compiler import vocabulary
from ganglion.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

FORMAT = 1
"""The newest program format that this version reads and the one that it writes."""

SCHEMES = ("float32", "float16", "int8", "int8x16", "int8x8")
"""How the weights of a program may be stored. `int8x16` and `int8x8`: int8 weights that meet inputs rounded to 16 or 8
bits on processors with integer products, and float32 inputs on others; float32 inputs in all other schemes."""


@dataclass(frozen=True)
class Value:
    """A vector that operations read and write, one per batch row.

    Attributes:
        size: number of float32 elements.
        constant: name of the tensor that holds the elements, for a value that no operation writes; else None.
    """

    size: int
    constant: str | None = None


@dataclass(frozen=True)
class StatePort:
    """Where a state slot enters and leaves the program.

    Attributes:
        input: the value that holds the slot before the step.
        output: the value that holds it after the step; may be any value of the program.
    """

    input: int
    output: int


@dataclass(frozen=True, eq=False)
class Op:
    """One operation.

    Attributes:
        kind: name in the vocabulary, for example `"affine"`.
        inputs: values that it reads.
        outputs: values that it writes, each written by this operation alone.
        tensors: for each role (`"weight"`, `"bias"`, ...) the name of a tensor.
        attributes: everything else, in the form of the JSON.
    """

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    tensors: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Program:
    """A checked program; see `cpp/FORMAT.md`.

    Attributes:
        values: all values.
        inputs: one value per input of the contract.
        state: one port per state slot of the contract.
        outputs: one value per output of the contract.
        ops: operations in the order of execution.
        tensors: weights and constants by name; float32, float16, int8 or int32.
        scheme: how the weights are stored; one of `SCHEMES`.

    Raises:
        ArtifactError: a size, index, name, shape or element type does not fit; says which.
    """

    values: tuple[Value, ...]
    inputs: tuple[int, ...]
    state: tuple[StatePort, ...]
    outputs: tuple[int, ...]
    ops: tuple[Op, ...]
    tensors: Mapping[str, NDArray[Any]]
    scheme: str = "float32"

    def __post_init__(self) -> None:
        _check(self)

    def to_json(self) -> str:
        """Writes everything but the elements of the tensors; `from_json` is its exact inverse."""
        document = {
            "format": FORMAT,
            "scheme": self.scheme,
            "values": [
                {"size": value.size} | ({} if value.constant is None else {"constant": value.constant})
                for value in self.values
            ],
            "inputs": list(self.inputs),
            "state": [{"in": port.input, "out": port.output} for port in self.state],
            "outputs": list(self.outputs),
            "ops": [
                {
                    "op": op.kind,
                    "in": list(op.inputs),
                    "out": list(op.outputs),
                    "tensors": dict(op.tensors),
                    **op.attributes,
                }
                for op in self.ops
            ],
        }
        return json.dumps(document, allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str, tensors: Mapping[str, NDArray[Any]]) -> Program:
        """Reads what `to_json` wrote.

        Args:
            text: the program JSON.
            tensors: the tensors that it names, no more and no fewer.

        Raises:
            ArtifactError: the text is no JSON, a key is missing or unknown, a value is of the wrong kind, the format
                is newer than this version of ganglion, or the program is not consistent.
        """
        try:
            document = json.loads(text, parse_constant=_refuse_constant)
        except ValueError as error:
            raise ArtifactError(f"program: not valid JSON: {error}") from error
        except RecursionError as error:
            raise ArtifactError("program: the JSON document is nested too deeply") from error
        root = _object(document, "the document")
        found = root.get("format")
        if not isinstance(found, int) or isinstance(found, bool) or found < 1:
            raise ArtifactError(f"program: format number is {found!r}; a positive integer is needed")
        if found > FORMAT:
            raise ArtifactError(
                f"program: format {found} is newer than format {FORMAT}, the newest this version of ganglion reads; "
                "install a newer ganglion, or compile the policy again with this one"
            )
        _keys(root, "the document", ("format", "scheme", "values", "inputs", "state", "outputs", "ops"))
        return cls(
            values=tuple(_value(item, f"value {i}") for i, item in enumerate(_list(root["values"], "values"))),
            inputs=_indices(root["inputs"], "inputs"),
            state=tuple(_port(item, f"state {i}") for i, item in enumerate(_list(root["state"], "state"))),
            outputs=_indices(root["outputs"], "outputs"),
            ops=tuple(_op(item, f"operation {i}") for i, item in enumerate(_list(root["ops"], "ops"))),
            tensors=tensors,
            scheme=_text(root["scheme"], "scheme"),
        )


def _check(program: Program) -> None:
    if program.scheme not in SCHEMES:
        raise ArtifactError(f"program: scheme '{program.scheme}' is not one of {', '.join(SCHEMES)}")
    if not program.inputs or not program.outputs:
        raise ArtifactError("program: at least one input and one output are needed")
    for name, tensor in program.tensors.items():
        _check_tensor(name, tensor)
    used: set[str] = set()
    written: set[int] = set()
    for i, value in enumerate(program.values):
        if not 1 <= value.size <= vocabulary.LARGEST_SIZE:
            raise ArtifactError(f"program: value {i} has size {value.size}; 1 to {vocabulary.LARGEST_SIZE} is possible")
        if value.constant is not None:
            tensor = _tensor(program, value.constant, f"value {i}")
            if tensor.dtype != np.float32 or tensor.shape != (value.size,):
                raise ArtifactError(
                    f"program: value {i}: tensor '{value.constant}' is {tensor.dtype} {list(tensor.shape)}; "
                    f"float32 [{value.size}] is needed"
                )
            used.add(value.constant)
            written.add(i)
    for what, index in (
        *(("input", index) for index in program.inputs),
        *(("state input", port.input) for port in program.state),
    ):
        _write(program, index, what, written)
    for i, op in enumerate(program.ops):
        where = f"operation {i} ({op.kind})"
        for index in op.inputs:
            if index not in written:
                raise ArtifactError(f"program: {where} reads value {index} before anything has written it")
        for index in op.outputs:
            _write(program, index, where, written)
        tensors = {role: _tensor(program, name, where) for role, name in op.tensors.items()}
        used.update(op.tensors.values())
        sizes = [program.values[index].size for index in op.inputs], [program.values[i].size for i in op.outputs]
        vocabulary.check(where, op.kind, *sizes, tensors, op.attributes)
    for what, index in (
        *(("output", index) for index in program.outputs),
        *(("state output", port.output) for port in program.state),
    ):
        if index not in written:
            raise ArtifactError(f"program: {what} is value {index}, which nothing writes")
    for i, port in enumerate(program.state):
        sizes_of_port = program.values[port.input].size, program.values[port.output].size
        if sizes_of_port[0] != sizes_of_port[1]:
            raise ArtifactError(
                f"program: state {i} enters with {sizes_of_port[0]} elements, leaves with {sizes_of_port[1]}"
            )
    if len(written) != len(program.values):
        index = next(i for i in range(len(program.values)) if i not in written)
        raise ArtifactError(f"program: nothing writes value {index}")
    if unused := sorted(set(program.tensors) - used):
        raise ArtifactError(f"program: tensor '{unused[0]}' is not used")


def _check_tensor(name: str, tensor: NDArray[Any]) -> None:
    if tensor.dtype not in (np.float32, np.float16, np.int8, np.int32) or not tensor.dtype.isnative:
        raise ArtifactError(
            f"program: tensor '{name}' is {tensor.dtype}; float32, float16, int8 and int32 are possible"
        )
    if tensor.size == 0:
        raise ArtifactError(f"program: tensor '{name}' has no elements")
    if tensor.dtype.kind == "f" and np.isnan(tensor).any():
        raise ArtifactError(f"program: tensor '{name}' has a NaN")


def _tensor(program: Program, name: str, where: str) -> NDArray[Any]:
    if name not in program.tensors:
        raise ArtifactError(f"program: {where} names tensor '{name}', which is not there")
    return program.tensors[name]


def _write(program: Program, index: int, what: str, written: set[int]) -> None:
    if not 0 <= index < len(program.values):
        raise ArtifactError(f"program: {what} names value {index}; there are {len(program.values)}")
    if index in written:
        raise ArtifactError(f"program: {what} writes value {index}, which is constant or has been written before")
    written.add(index)


def _value(item: Any, where: str) -> Value:
    document = _object(item, where)
    _keys(document, where, ("size",), ("constant",))
    constant = document.get("constant")
    return Value(_integer(document["size"], where), None if constant is None else _text(constant, where))


def _port(item: Any, where: str) -> StatePort:
    document = _object(item, where)
    _keys(document, where, ("in", "out"))
    return StatePort(_integer(document["in"], where), _integer(document["out"], where))


def _op(item: Any, where: str) -> Op:
    document = dict(_object(item, where))
    missing = [key for key in ("op", "in", "out", "tensors") if key not in document]
    if missing:
        raise ArtifactError(f"program: {where}: key '{missing[0]}' is missing")
    tensors = _object(document.pop("tensors"), where)
    return Op(
        kind=_text(document.pop("op"), where),
        inputs=_indices(document.pop("in"), where),
        outputs=_indices(document.pop("out"), where),
        tensors={role: _text(name, where) for role, name in tensors.items()},
        attributes=document,
    )


def _keys(document: Mapping[str, Any], where: str, needed: tuple[str, ...], optional: tuple[str, ...] = ()) -> None:
    for key in needed:
        if key not in document:
            raise ArtifactError(f"program: {where}: key '{key}' is missing")
    for key in document:
        if key not in needed + optional:
            raise ArtifactError(f"program: {where}: key '{key}' is unknown")


def _object(item: Any, where: str) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise ArtifactError(f"program: {where} is not an object")
    return item


def _list(item: Any, where: str) -> list[Any]:
    if not isinstance(item, list):
        raise ArtifactError(f"program: {where} is not a list")
    return item


def _text(item: Any, where: str) -> str:
    if not isinstance(item, str) or not item:
        raise ArtifactError(f"program: {where}: {item!r} is not a name")
    return item


def _integer(item: Any, where: str) -> int:
    if not isinstance(item, int) or isinstance(item, bool):
        raise ArtifactError(f"program: {where}: {item!r} is not an integer")
    return item


def _indices(item: Any, where: str) -> tuple[int, ...]:
    return tuple(_integer(index, where) for index in _list(item, where))


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not allowed")
