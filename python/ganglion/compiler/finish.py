"""From operations that may still change to a checked program: what nothing reads goes away, what is left gets names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ganglion.compiler.program import Op, Program, StatePort, Value

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ganglion.compiler.builder import Node
    from ganglion.compiler.lowering.graph import Lowered


def finish(lowered: Lowered) -> Program:
    """Makes the program."""
    builder = lowered.builder
    needed = {*lowered.outputs, *(after for _, after in lowered.state)}
    nodes: list[Node] = []
    for node in reversed(builder.nodes):
        if needed.intersection(node.outputs):
            nodes.append(node)
            needed.update(node.inputs)
    nodes.reverse()
    values: list[Value] = []
    numbers: dict[int, int] = {}
    tensors: dict[str, NDArray[Any]] = {}

    def add(value: int, constant: str | None = None) -> None:
        numbers[value] = len(values)
        values.append(Value(builder.sizes[value], constant))

    for value in (*lowered.inputs, *(before for before, _ in lowered.state)):
        add(value)
    for value in sorted(needed.intersection(builder.constants)):
        name = f"constant{len(tensors)}"
        tensors[name] = builder.constants[value]
        add(value, name)
    names: dict[int, str] = {}
    counts: dict[str, int] = {}
    ops = []
    for node in nodes:
        for value in node.outputs:
            add(value)
        number = counts[node.kind] = counts.get(node.kind, -1) + 1
        for role, tensor in node.tensors.items():
            if id(tensor) not in names:
                names[id(tensor)] = f"{node.kind}{number}.{role}"
                tensors[names[id(tensor)]] = tensor
        ops.append(
            Op(
                node.kind,
                tuple(numbers[value] for value in node.inputs),
                tuple(numbers[value] for value in node.outputs),
                {role: names[id(tensor)] for role, tensor in node.tensors.items()},
                dict(node.attributes),
            )
        )
    return Program(
        values=tuple(values),
        inputs=tuple(numbers[value] for value in lowered.inputs),
        state=tuple(StatePort(numbers[before], numbers[after]) for before, after in lowered.state),
        outputs=tuple(numbers[value] for value in lowered.outputs),
        ops=tuple(ops),
        tensors=tensors,
    )
