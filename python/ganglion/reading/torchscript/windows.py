"""Recurrent layers of a TorchScript program that take several observations in one step, and whose state is fed back.

The rules and sentences are those of `cpp/src/engines/libtorch/windows.hpp`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ganglion.reading.torchscript.forward_graph import ForwardGraph, path_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from ganglion.reading.torchscript.forward_graph import Layer


def windows(module: torch.jit.ScriptModule, state: Collection[str], observation: Tensor) -> tuple[str, ...]:
    """A sentence for each recurrent layer that goes on from the last step and then takes more than one.

    Nothing but running it tells how long a sequence is: what goes into the layers is noted beside.

    Args:
        module: any with a `forward(obs)`; a step is run with it.
        state: names of the buffers that are kept from step to step.
        observation: of one row, all elements different.
    """
    program = ForwardGraph(module)
    groups: dict[object, list[Layer]] = {}
    for layer in program.layers:
        groups.setdefault(layer.weights, []).append(layer)
    fed = [layers for layers in groups.values() if _goes_on(program, layers, state)]
    if not fed:
        return ()
    noted = iter(_run(program, module, [layer for layers in fed for layer in layers], observation))
    sentences = []
    for layers in fed:
        runs = [(layer, next(noted)) for layer in layers]
        steps = _steps(runs, is_chain=_is_chain(program, layers))
        if steps > 1:
            sentences.append(
                f"{layers[0].name} runs over a sequence of length {steps} in every step and goes on from the state "
                f"that the last step left: each control step moves its memory by {steps} observations; feed as many "
                "new ones in every step, or export a policy that takes one observation per step"
            )
    return tuple(dict.fromkeys(sentences))


def _goes_on(program: ForwardGraph, layers: Sequence[Layer], state: Collection[str]) -> bool:
    """Whether it starts from what the last step left."""

    def is_kept(value: Any) -> bool:
        return value.node().kind() == "prim::GetAttr" and path_of(value) in state

    return any(program.reaches(place, is_kept) for layer in layers for _, place in layer.starts)


def _is_chain(program: ForwardGraph, layers: Sequence[Layer]) -> bool:
    """Whether one run starts from what an earlier one of the same step has left."""
    return any(_follows(program, layer, layers[:i], layers) for i, layer in enumerate(layers))


def _follows(program: ForwardGraph, layer: Layer, before: Sequence[Layer], layers: Sequence[Layer]) -> bool:
    earlier = [*before, *(other for other in layers if other.loops & layer.loops)]
    results = {value.debugName() for other in earlier for value in other.node.outputs()}

    def is_result(value: Any) -> bool:
        return value.debugName() in results

    return any(program.reaches(place, is_result, in_time=True) for _, place in layer.starts)


def _run(program: ForwardGraph, module: torch.jit.ScriptModule, layers: Sequence[Layer], given: Tensor) -> Any:
    """For each layer what it was given and the state that it left, run after run."""
    graph = program.graph
    begin = next(graph.nodes())
    tensors = torch._C.ListType(torch._C.TensorType.get())
    lists = []
    for layer in layers:
        graph.setInsertPoint(begin)
        noted = graph.insertNode(graph.create("prim::ListConstruct", [], 1)).output()
        noted.setType(tensors)
        lists.append(noted)
        for value, before in (
            (next(layer.node.inputs()), True),
            (list(layer.node.outputs())[not layer.is_cell], False),
        ):
            clone = graph.create("aten::clone", [value, graph.insertConstant(None)], 1)
            append = graph.create("aten::append", [noted, clone.output()], 1)
            append.output().setType(tensors)
            if before:
                clone.insertBefore(layer.node)
            else:
                clone.insertAfter(layer.node)
            append.insertAfter(clone)
    graph.setInsertPoint(graph.return_node())
    result = graph.insertNode(graph.create("prim::ListConstruct", lists, 1)).output()
    result.setType(torch._C.ListType(tensors))
    graph.eraseOutput(0)
    graph.registerOutput(result)
    arguments = module._c._get_method("forward").schema.arguments[1:]
    values = [argument.default_value if argument.has_default_value() else given for argument in arguments]
    return torch._C._create_function_from_graph("forward", graph)(module, *values)


def _steps(runs: Sequence[tuple[Layer, Sequence[Tensor]]], *, is_chain: bool) -> int:
    """Observations that go through a layer, one after the other; the same one again does not count."""
    total, longest = 0, 0
    seen: list[Tensor] = []
    for layer, noted in runs:
        for given, left in zip(noted[::2], noted[1::2], strict=True):
            rows = 1 if layer.is_cell else left.shape[1] if left.dim() == 3 else 1
            steps = 1 if layer.is_cell else given.numel() // max(1, given.shape[-1] * rows)
            longest = max(longest, steps)
            if not any(given.shape == other.shape and torch.equal(given, other) for other in seen):
                total += steps
                seen.append(given)
    return total if is_chain else longest
