"""What the recurrent layers of a TorchScript program start from: kept state, or constants.

The rules and sentences are those of `cpp/src/engines/libtorch/memory.hpp`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ganglion.reading.torchscript.forward_graph import ForwardGraph, path_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    import torch

    from ganglion.reading.torchscript.forward_graph import Layer

_SOUNDS = ("state", "hidden", "memory", "carry", "hx", "lstm", "gru", "rnn")
_WEIGHTS = ("weight_hh", "weight_ih", "bias_hh", "bias_ih")


def forgotten(module: torch.jit.ScriptModule, state: Collection[str]) -> tuple[str, ...]:
    """A sentence for each recurrent layer that starts from a constant in every step.

    Args:
        module: any with a `forward(obs)`.
        state: names of the buffers that are kept from step to step.
    """
    program = ForwardGraph(module)
    arguments = module._c._get_method("forward").schema.arguments
    observation = next(i for i in range(1, len(arguments)) if not arguments[i].has_default_value())
    inputs = {value.debugName(): i for i, value in enumerate(program.graph.inputs())}

    def is_given(value: Any) -> bool:
        if value.node().kind() == "prim::GetAttr":
            return path_of(value) in state
        return inputs.get(value.debugName()) == observation

    sentences = []
    for layer in program.layers:
        given = {name: program.reaches(place, is_given) for name, place in layer.starts}
        lost = [name for name, found in given.items() if not found]
        kept = [name for name, found in given.items() if found]
        if lost:
            sentences.append(_sentence(layer, lost, kept))
    if not sentences and not state:
        sentences += _unfed([argument.name for argument in arguments[1:] if argument.has_default_value()])
    if not sentences and not state and not program.layers:
        sentences += _named(name for name, _ in module.named_parameters())
    return tuple(dict.fromkeys(sentences))


def _unfed(optional: Sequence[str]) -> Iterator[str]:
    """Without a layer that we know: an argument for a state that nobody gives."""
    for name in optional:
        if name in ("h", "h0") or any(part in name for part in _SOUNDS):
            yield (
                f"forward takes an argument '{name}' that sounds like a state and may be left out, which it is in "
                "every step: what it starts from is forgotten; keep the state in buffers that forward(obs) writes "
                "and reset() restores, or write the policy with ganglion.export"
            )


def _named(parameters: Iterable[str]) -> list[str]:
    """A cell that a trace has taken apart: only the names of its weights tell."""
    return [
        f"the weight '{name}' is that of a recurrent layer, but the file has no state: the net remembers nothing "
        "between steps; keep its state in buffers that forward(obs) writes and reset() restores (torch.jit.trace "
        "leaves out what is assigned to self), or write the policy with ganglion.export"
        for name in parameters
        if any(part in name for part in _WEIGHTS)
    ][:1]


def _sentence(layer: Layer, lost: Sequence[str], kept: Sequence[str]) -> str:
    if kept:
        return (
            f"{layer.name} is given its {kept[0]}, but its {lost[0]} starts from a constant in every step and is "
            "forgotten; keep it in a buffer, too"
        )
    return (
        f"{layer.name} starts from a constant in every step: the net remembers nothing between steps; keep its state "
        "in buffers that forward(obs) writes and reset() restores, or write the policy with ganglion.export. It is "
        "right only where the policy was trained on windows of observations"
    )
