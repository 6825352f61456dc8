"""The program of a `.ganglion` file: a straight line of operations on vectors, the same for every batch row.

A value is a flat float32 vector; the batch axis is not part of the program. `Program` is plain data: its words are
those of `vocabulary.py`, what they mean is described in `cpp/FORMAT.md`, and the C++ runtime judges what is valid.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ganglion import _core
from ganglion._foundation.core_errors import core_errors
from ganglion.compiler import vocabulary
from ganglion.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


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
        scheme: how the weights are stored; one of `vocabulary.SCHEMES`.

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
        try:
            text = self.to_json()
        except (TypeError, ValueError) as error:
            raise ArtifactError(f"program: an attribute is no JSON: {error}") from error
        _check(text, self.tensors)

    def to_json(self) -> str:
        """Writes everything but the elements of the tensors; `from_json` is its exact inverse."""
        document = {
            "format": vocabulary.FORMAT,
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
        _check(text, tensors)
        root = json.loads(text)
        return cls(
            values=tuple(Value(item["size"], item.get("constant")) for item in root["values"]),
            inputs=tuple(root["inputs"]),
            state=tuple(StatePort(item["in"], item["out"]) for item in root["state"]),
            outputs=tuple(root["outputs"]),
            ops=tuple(_op(item) for item in root["ops"]),
            tensors=tensors,
            scheme=root["scheme"],
        )


def _check(text: str, tensors: Mapping[str, NDArray[Any]]) -> None:
    with core_errors():
        _core.check_program(text, dict(tensors))


def _op(item: dict[str, Any]) -> Op:
    return Op(
        kind=item.pop("op"),
        inputs=tuple(item.pop("in")),
        outputs=tuple(item.pop("out")),
        tensors=item.pop("tensors"),
        attributes=item,
    )
