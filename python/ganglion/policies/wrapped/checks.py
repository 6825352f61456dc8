"""What is wrong with a module for deployment, said before a file is written."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ganglion.errors import ExportError, UnsupportedModuleError
from ganglion.policies.wrapped.call import unused_parameters
from ganglion.policies.wrapped.probing import Draw, clamped, in_rows, step
from ganglion.policies.wrapped.results import described

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ganglion.policies.wrapped.search import Found

_WHOLE = "(the module itself)"
_SPREADS = (1.0, 10.0, 0.1)
"""Sizes of the changes whose effect is looked for."""
_ROWS = 8


def warn_of_modes(module: nn.Module) -> None:
    """Warns of layers that are in training mode, and of weights that a file cannot hold as they are.

    Args:
        module: as the user gave it.
    """
    kinds = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)
    training = [f"'{path or _WHOLE}' ({type(part).__name__})" for path, part in module.named_modules() if
                isinstance(part, kinds) and part.training]  # fmt: skip
    if training:
        warnings.warn(
            f"{type(module).__name__} is in training mode: {', '.join(training[:4])} work otherwise there. It is "
            "exported as in eval mode; call .eval() before you compare",
            UserWarning,
            stacklevel=4,
        )
    doubles = [name for name, value in module.named_parameters() if value.dtype == torch.float64]
    if doubles:
        warnings.warn(
            f"{type(module).__name__} has weights of float64 ('{doubles[0]}' and {len(doubles) - 1} more); a file "
            "holds float32",
            UserWarning,
            stacklevel=4,
        )


def check_types(module: nn.Module, found: Found, draw: Draw) -> None:
    """Refuses what is computed in float64 though weights and observations are float32.

    Raises:
        UnsupportedModuleError: names the first module that gives float64.
    """
    paths: list[str] = []
    handles = [
        part.register_forward_hook(lambda _, __, result, path=path: paths.append(path) if _is_double(result) else None)
        for path, part in module.named_modules()
    ]
    try:
        returned = step(module, found.call, draw.observations(1), draw.states(found.call.slots, 1))
    finally:
        for handle in handles:
            handle.remove()
    results = {**returned.outputs, **{s.name: t for s, t in zip(found.call.slots, returned.states, strict=True)}}
    for name, tensor in results.items():
        if tensor.dtype == torch.float64:
            raise UnsupportedModuleError(
                paths[0] if paths and paths[0] else _WHOLE,
                f"gives '{name}' in float64, from observations and weights in float32; a file computes in float32. "
                "Make "
                "its constants with dtype=obs.dtype, or register them as buffers",
            )
        if tensor.is_complex():
            raise UnsupportedModuleError(_WHOLE, f"gives '{name}' as complex numbers; give real and imaginary parts")


def _is_double(result: Any) -> bool:
    if isinstance(result, Tensor):
        return result.dtype == torch.float64
    if isinstance(result, dict):
        result = list(result.values())
    return isinstance(result, (tuple, list)) and any(map(_is_double, result))


def check_influence(module: nn.Module, found: Found, draw: Draw) -> None:
    """Refuses observations and states that no output ever depends on.

    Raises:
        UnsupportedModuleError: names them.
    """
    call = found.call
    sources = [part.name for part in call.inputs] + [slot.name for slot in call.slots]
    targets = [*found.output_axes, *(slot.name for slot in call.slots)]
    count, outputs = len(call.inputs), len(found.output_axes)
    reaches: dict[int, set[int]] = {index: set() for index in range(len(sources))}
    for seed, spread in enumerate(_SPREADS):
        tensors = [*draw.observations(_ROWS, seed), *draw.states(call.slots, _ROWS, seed)]
        base = _rows(module, found, tensors[:count], tensors[count:])
        for index, tensor in enumerate(tensors):
            moved = list(tensors)
            generator = torch.Generator().manual_seed(100 + index)
            noise = torch.randn(tensor.shape, generator=generator) * spread
            slot = call.slots[index - count] if index >= count else None
            kind = torch.float32 if slot is None or slot.initial is None else slot.initial.dtype
            if slot is None:
                moved[index] = clamped(tensor + noise, call.inputs[index])
            else:
                moved[index] = (
                    tensor + noise if kind.is_floating_point else 1 - tensor if kind == torch.bool else tensor + 1
                )
            other = _rows(module, found, moved[:count], moved[count:])
            reaches[index] |= {k for k, (a, b) in enumerate(zip(base, other, strict=True)) if not torch.equal(a, b)}
    heard = set(range(outputs))
    while more := {outputs + i - count for i in range(count, len(sources)) if reaches[i] & heard} - heard:
        heard |= more
    silent = [name for index, name in enumerate(sources) if not reaches[index] & heard]
    if silent:
        is_state = sources.index(silent[0]) >= count
        what = "the state" if is_state else "the observation"
        raise UnsupportedModuleError(
            _WHOLE,
            f"{call}: {what} '{silent[0]}' never changes an output ({', '.join(targets[:outputs])}), now or later; "
            f"leave it out{'' if is_state else ', or look whether weights are loaded and forward uses it'}",
        )


def _rows(module: nn.Module, found: Found, observations: Sequence[Tensor], states: Sequence[Tensor]) -> list[Tensor]:
    returned = step(module, found.call, observations, states)
    return [tensor for _, tensor in in_rows(returned, found.call, found.output_axes, observations[0].shape[0])]


def check_memory(module: nn.Module, found: Found, draw: Draw) -> None:
    """Refuses a memory that begins anew at every step: of recurrent layers, or one that nobody said.

    Raises:
        UnsupportedModuleError: names the layer, or the argument, and what to give.
    """
    call = found.call
    bare: list[str] = []
    handles = [
        part.register_forward_pre_hook(
            lambda _, args, kwargs, path=path: bare.append(path) if _is_bare(args, kwargs) else None,
            with_kwargs=True,
        )
        for path, part in module.named_modules()
        if isinstance(part, (nn.RNNBase, nn.RNNCellBase))
    ]
    results: list[Any] = []
    handles.append(module.register_forward_hook(lambda *event: results.append(event[-1])))
    try:
        step(module, call, draw.observations(1), draw.states(call.slots, 1))
    finally:
        for handle in handles:
            handle.remove()
    if not call.slots:
        _refuse_unsaid_state(module, found, draw, results[-1])
    if bare:
        layer: Any = module.get_submodule(bare[0])
        raise UnsupportedModuleError(
            bare[0] or _WHOLE,
            f"{type(layer).__name__} is called without a state: it begins from zeros at every step and remembers "
            "nothing. "
            f"Pass its state through forward and name it, for example state={_suggested(layer)}",
        )


def _is_bare(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return kwargs.get("hx") is None if len(args) < 2 else args[1] is None


def _suggested(layer: Any) -> str:
    shape = (layer.num_layers, layer.hidden_size) if isinstance(layer, nn.RNNBase) else (layer.hidden_size,)
    names = ("h", "c") if isinstance(layer, (nn.LSTM, nn.LSTMCell)) else ("h",)
    return "{" + ", ".join(f'"{name}": {shape}' for name in names) + "}"


def _refuse_unsaid_state(module: nn.Module, found: Found, draw: Draw, result: Any) -> None:
    """Something that forward returns last goes in again by an argument that was left at its default, and matters."""
    if not isinstance(result, (tuple, list)) or len(result) < 2 or result[-1] is None:
        return
    for name in unused_parameters(module, found.call):
        known: list[Tensor] = []

        def again(name: str = name, known: list[Tensor] = known) -> None:
            handle = module.register_forward_pre_hook(
                lambda _, args, kwargs: (args, {**kwargs, name: result[-1]}), with_kwargs=True
            )
            try:
                known += _rows(module, found, draw.observations(1), [])
            finally:
                handle.remove()

        try:
            again()
        except Exception:  # it is no state then
            continue
        before = _rows(module, found, draw.observations(1), [])
        if any(not torch.equal(a, b) for a, b in zip(before, known, strict=True)):
            raise UnsupportedModuleError(
                _WHOLE,
                f"forward takes '{name}' and returns it as {described(result[-1])}, and outputs depend on it: a "
                "state that "
                f"was not said. Give it to ganglion.wrap without its batch axis, state={_said(name, result[-1])}",
            )


def _said(name: str, value: Any) -> str:
    if isinstance(value, Tensor):
        shape = list(value.shape)
        if 1 in shape:
            shape.remove(1)
        return "{" + f'"{name}": {tuple(shape)}' + "}"
    if isinstance(value, dict):
        return "{" + ", ".join(_said(str(key), part).strip("{}") for key, part in value.items()) + "}"
    if isinstance(value, (tuple, list)):
        names = ("h", "c") if len(value) == 2 else [f"{name}_{index}" for index in range(len(value))]
        return "{" + ", ".join(_said(n, part).strip("{}") for n, part in zip(names, value, strict=True)) + "}"
    raise ExportError(f"'{name}' holds a {type(value).__name__}, no tensors")
