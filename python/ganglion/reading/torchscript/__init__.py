"""What a TorchScript file without a contract is, found out by running it.

The rules, the sentences and the codes in square brackets are those of the C++ runtime
(`cpp/src/engines/libtorch/probe.hpp`), which is not asked: its LibTorch engine has to be compiled on each machine once,
and where files are converted there is often no compiler of C++20. Tests hold the two lists of codes equal and compare
what both say of the same files; `ganglion verify` compares the two again, since each steps the file by its own reading.
"""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from ganglion._foundation.sentences import last_line
from ganglion.reading import Finding
from ganglion.reading.torchscript.functional import check_parts, rewrite
from ganglion.reading.torchscript.memory import forgotten
from ganglion.reading.torchscript.parts import (
    buffers_of,
    get_buffer,
    matrices_of,
    put_back,
    refusal,
    size_of,
    takes_nothing,
)
from ganglion.reading.torchscript.windows import windows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ganglion.reading.torchscript.functional import Rewritten

_RESETS = ("reset", "reset_memory")
_STEPS = 3
_LARGEST_SCANNED = 4096
_HOW_TO_SAY = "say it: observation: N in <FILE>.yaml, load(..., observation=N), --observation N"

_Result = TypeVar("_Result")


@dataclass(frozen=True, eq=False)
class StateBuffer:
    """A buffer that holds state.

    Attributes:
        path: dotted name, for example `"hidden_state"`.
        initial: value that a reset gives it, in the file's own shape and type.
    """

    path: str
    initial: Tensor

    @property
    def is_real(self) -> bool:
        """Whether it holds real numbers; whole ones and flags are kept as such by who runs the module."""
        return self.initial.is_floating_point()

    @property
    def slot_shape(self) -> tuple[int, ...]:
        """Without the row: `(layers, hidden)` of a buffer `[layers, 1, hidden]`, `(n,)` of any other."""
        shape = tuple(self.initial.shape)
        return (shape[0], shape[2]) if len(shape) == 3 and shape[1] == 1 else (self.initial.numel(),)


@dataclass(frozen=True, eq=False)
class ModuleReading:
    """How a module with its state inside is to be run.

    Attributes:
        module: what is run: the one that was read, or one that stands for it.
        inputs: name and elements of each observation.
        observation_shape: `(n,)`, or `(1, n)` where the module wants a row axis.
        dtype: type of the observation that it takes.
        state: its state buffers, in the order of the file.
        held: further buffers that a step changes; they keep these values.
        action_size: elements of the action.
        findings: what is suspicious.
    """

    module: torch.jit.ScriptModule
    inputs: tuple[tuple[str, int], ...]
    observation_shape: tuple[int, ...]
    dtype: torch.dtype
    state: tuple[StateBuffer, ...]
    held: tuple[StateBuffer, ...]
    action_size: int
    findings: tuple[Finding, ...] = ()


def read(
    module: torch.jit.ScriptModule,
    state_names: Sequence[str] | None = None,
    observation: Mapping[str, int] | None = None,
) -> ModuleReading:
    """Finds observation size and state of a module; leaves it in its initial state.

    Args:
        module: in eval mode, on the CPU.
        state_names: names of the buffers or arguments that are the state, where it is known better; an empty list for a
            file without memory, None to find them.
        observation: elements of the observation, under `""`, or of each of several under its name, where that is known
            better.

    Raises:
        ExportError: there is no reading, or more than one; says what to do.
    """
    # oneDNN's LSTM takes an observation of any width and reads past its weights; turning it off may give a warning.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with torch.backends.mkldnn.flags(enabled=False):
            return _understood(module, state_names, dict(observation or {}))


def _understood(
    module: torch.jit.ScriptModule, state_names: Sequence[str] | None, told: Mapping[str, int]
) -> ModuleReading:
    rewritten = rewrite(module, state_names, told)
    if rewritten is None:
        return _read(module, state_names, told, None)
    return _read(rewritten.module, _slots(state_names, rewritten.fed), told, rewritten)


def printing(count: int) -> tuple[Finding, ...]:
    """What is to be said of a program out of which so many prints were taken."""
    if count == 0:
        return ()
    sentence = (
        f"its program prints or warns in {count} place{'' if count == 1 else 's'}, which is left out here; with "
        "torch.jit.load it would do so in every step"
    )
    return (Finding("prints", sentence),)


def _slots(state_names: Sequence[str] | None, fed: Mapping[str, str]) -> list[str] | None:
    """What was named, with the slots of an argument in its place."""
    if state_names is None:
        return None
    found: list[str] = []
    for name in state_names:
        slots = [slot for slot, argument in fed.items() if argument.partition("[")[0] == name]
        found += slots or [name]
    return list(dict.fromkeys(found))


def _read(
    module: torch.jit.ScriptModule,
    state_names: Sequence[str] | None,
    told: Mapping[str, int],
    rewritten: Rewritten | None,
) -> ModuleReading:
    buffers = buffers_of(module)
    if unknown := [name for name in state_names or () if name not in buffers]:
        raise refusal(
            "state-buffer-unknown",
            f"the file has no buffer '{unknown[0]}' to keep the state in; it has {', '.join(buffers) or 'none'}",
        )
    _check_forward(module)
    findings = _check_normalisers(buffers, state_names or ())
    _check_weights(module)
    at_load = {path: value.clone() for path, value in buffers.items()}
    dtype = next((weight.dtype for weight in matrices_of(module)), torch.float32)
    shape = _observation_shape(module, dtype, at_load, told, rewritten)
    initial, changed = _initial_state(module, shape, dtype, at_load, state_names)
    for path in changed:
        if _is_normaliser(path) and state_names is None:
            raise refusal(
                "normaliser-updates",
                f"forward updates the normaliser's buffer {path} although the module is in eval mode, so actions would "
                "drift; export the policy after eval(), or name the state buffers, and all others keep the values that "
                "a reset gives them",
            )
    chosen = changed if state_names is None else list(state_names)
    for path in chosen:
        _check_state(path, initial[path])
    put_back(module, initial.items())
    result = _of_the_file("forward(obs)", lambda: module(torch.zeros(shape, dtype=dtype)))
    put_back(module, initial.items())
    findings += tuple(Finding("state-forgotten", sentence) for sentence in forgotten(module, chosen))
    findings += tuple(
        Finding("window-with-state", sentence)
        for sentence in windows(module, chosen, _observation(shape, dtype, step=0))
    )
    put_back(module, initial.items())
    findings += _check_action(module, shape, dtype)
    put_back(module, initial.items())
    return ModuleReading(
        module=module,
        inputs=(("obs", shape[-1]),) if rewritten is None else rewritten.inputs,
        observation_shape=shape,
        dtype=dtype,
        state=tuple(StateBuffer(path, initial[path]) for path in chosen),
        held=tuple(StateBuffer(path, initial[path]) for path in changed if path not in chosen),
        action_size=result.numel(),
        findings=findings,
    )


def _of_the_file(method: str, call: Callable[[], _Result]) -> _Result:
    """Whatever the file's own code raises is a refusal."""
    try:
        return call()
    except Exception as error:
        raise refusal("method-fails", f"the file's own {method} fails: {last_line(error)}") from error


def _is_normaliser(path: str) -> bool:
    return path.endswith(("mean", "std", "var"))


def _check_forward(module: torch.jit.ScriptModule) -> None:
    if "forward" not in module._c._method_names():
        raise refusal("forward-missing", "the module has no method forward(obs); export a module that has one")
    arguments = module._c._get_method("forward").schema.arguments[1:]
    needed = [argument.name for argument in arguments if not argument.has_default_value()]
    if len(needed) != 1:
        raise refusal(
            "forward-arguments",
            f"forward({', '.join(needed)}) needs {len(needed)} arguments; a file without a contract must take one "
            "observation and keep its state in buffers; write this policy with ganglion.export instead",
        )


def _check_normalisers(buffers: dict[str, Tensor], state_names: Sequence[str]) -> tuple[Finding, ...]:
    findings = []
    for path, value in buffers.items():
        if not _is_normaliser(path) or path in state_names or not value.is_floating_point():
            continue
        if not value.isfinite().all():
            raise refusal(
                "normaliser-not-finite",
                f"the buffer {path} of a normaliser has {_counted(~value.isfinite())} that are not finite, so every "
                "action would be NaN; export again from a good checkpoint",
            )
        if not path.endswith("mean") and (value == 0).any():
            sentence = (
                f"the buffer {path} has {_counted(value == 0)} that are zero: these observation elements never varied "
                "in training, and any deviation in them is multiplied by one over the normaliser's epsilon"
            )
            findings.append(Finding("normaliser-zero-variance", sentence))
    return tuple(findings)


def _counted(mask: Tensor) -> str:
    """`2 of 48 elements (the first: 7)`."""
    places = mask.flatten().nonzero()
    return f"{len(places)} of {mask.numel()} elements (the first: {int(places[0])})"


def _check_weights(module: torch.jit.ScriptModule) -> None:
    for name, weight in module.named_parameters():
        if weight.isnan().any():
            raise refusal("weights-not-finite", f"the parameter {name} holds NaN; export a good checkpoint")


def _check_action(module: torch.jit.ScriptModule, shape: tuple[int, ...], dtype: torch.dtype) -> tuple[Finding, ...]:
    """An action that no observation moves; tried with large ones and small ones, since actions may be clipped."""
    scales = (*[1.0] * _STEPS, 1e-3, -0.1, 10.0, -1000.0)
    first: Tensor | None = None
    for step, scale in enumerate(scales):
        action = _step(module, shape, dtype, step, scale).float().clone()
        first = action if first is None else first
        if not torch.equal(action, first):
            return ()
    sentence = (
        f"the action was the same for {len(scales)} different observations, small and large: it depends on none; check "
        "what was exported"
    )
    return (Finding("action-constant", sentence),)


def _step(
    module: torch.jit.ScriptModule, shape: tuple[int, ...], dtype: torch.dtype, step: int, scale: float
) -> Tensor:
    given = _observation(shape, dtype, step, scale)
    action: Tensor = _of_the_file("forward(obs)", lambda: module(given))
    return action


def _observation(shape: tuple[int, ...], dtype: torch.dtype, step: int, scale: float = 1.0) -> Tensor:
    """Observations of a probe, all different."""
    return (scale * torch.sin(0.7 * torch.arange(shape[-1]) + step)).reshape(shape).to(dtype)


def _check_state(path: str, initial: Tensor) -> None:
    if initial.is_complex() or initial.is_quantized:
        kind = initial.type().removeprefix("torch.").removesuffix("Tensor")
        raise refusal(
            "state-not-floating",
            f"the buffer {path} of type {kind} is changed by forward; only real numbers can be kept as state",
        )
    if initial.numel() == 0 or not initial.isfinite().all():
        raise refusal(
            "state-not-finite",
            f"the initial value of the buffer {path} {list(initial.shape)} is empty or not finite",
        )


def _observation_shape(
    module: torch.jit.ScriptModule,
    dtype: torch.dtype,
    at_load: dict[str, Tensor],
    told: Mapping[str, int],
    rewritten: Rewritten | None,
) -> tuple[int, ...]:
    input_size = getattr(module, "input_size", None)
    flat = input_size is not None or ("hidden" in at_load and at_load["hidden"].dim() == 1)
    if rewritten is not None:
        flat = rewritten.without_rows
        widths = [sum(size for _, size in rewritten.inputs)]
    elif told:
        check_parts(told, ["obs"])
        widths = [size_of(told, "obs", 1)]
    elif isinstance(input_size, int):
        widths = [input_size]
    else:
        normalisers = [value for path, value in at_load.items() if _is_normaliser(path) and value.dim() > 0]
        widths = [int(weight.shape[1]) for weight in matrices_of(module)] + [value.shape[-1] for value in normalisers]
        widths = list(dict.fromkeys(widths))
    why = "it has no matrix among its parameters"

    def accepted(width: int) -> tuple[int, ...] | None:
        nonlocal why
        for shape in ((width,), (1, width)) if flat else ((1, width), (width,)):
            try:
                result = module(torch.zeros(shape, dtype=dtype))
            except Exception as error:  # whatever the operators inside raise
                why = last_line(error)
                continue
            finally:
                put_back(module, at_load.items())
            if not isinstance(result, Tensor):
                raise refusal(
                    "forward-result",
                    f"forward(obs) returns {_result_type(module)} instead of the action alone; export a module that "
                    "returns one tensor",
                )
            if result.numel() > 0:
                return shape
            why = "it returns nothing"
        return None

    found = [shape for width in widths if (shape := accepted(width))]
    if not found and (told or rewritten is not None):
        raise refusal(
            "observation-size-unknown",
            f"forward(obs) does not accept an observation of {widths[0]} elements, as was said: {why}",
        )
    reason = why
    if not found:
        # A single element comes last, because it broadcasts to many.
        for width in (*range(2, _LARGEST_SCANNED + 1), 1):
            if width == 1 and found:
                break
            if shape := accepted(width):
                found.append(shape)
            if len(found) == 2:
                break
    elif len(found) == 1 and not (told or rewritten is not None or isinstance(input_size, int)):
        # What reads slices takes larger ones, too: the width of a matrix is not the size then.
        found += [shape for shape in [accepted(found[0][-1] + 1)] if shape]
    if not found:
        raise refusal(
            "observation-size-unknown",
            f"no size of the observation up to {_LARGEST_SCANNED} was found that forward(obs) accepts: {reason}; "
            "a larger one can be said: observation: N in <FILE>.yaml, load(..., observation=N), --observation N",
        )
    if len(found) > 1:
        raise refusal(
            "observation-size-ambiguous",
            f"its observation may have {_sizes_in_words(found, accepted)}; {_HOW_TO_SAY}",
        )
    return found[0]


def _sizes_in_words(found: Sequence[tuple[int, ...]], accepted: Callable[[int], tuple[int, ...] | None]) -> str:
    """Two sizes; or, of a module that reads slices, the least: rather that one than any other is right."""
    first, second = sorted((found[0][-1], found[1][-1]))
    least = first
    while least > 1 and accepted(least - 1):
        least -= 1
    if least < first:
        return f"{least} elements or more: forward(obs) accepts all of them, {first} and {second}, too"
    return f"{found[0][-1]} or {found[1][-1]} elements: forward(obs) accepts both"


def _result_type(module: torch.jit.ScriptModule) -> str:
    return str(module._c._get_method("forward").schema.returns[0].type.str())


def _initial_state(
    module: torch.jit.ScriptModule,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    at_load: dict[str, Tensor],
    state_names: Sequence[str] | None,
) -> tuple[dict[str, Tensor], list[str]]:
    """The values of all buffers after a reset, and the names of those that steps change."""
    refused: list[str] = []
    kept: list[str] = []
    for name in _RESETS:
        if not takes_nothing(module, name):
            continue
        put_back(module, at_load.items())
        _of_the_file(f"{name}()", getattr(module, name))
        initial = {path: value.clone() for path, value in buffers_of(module).items()}
        changed = _changed(module, shape, dtype, initial)
        _of_the_file(f"{name}()", getattr(module, name))
        wanted = [path for path in changed if state_names is None or path in state_names]
        left = [path for path in wanted if not _same(initial[path], get_buffer(module, path))]
        if not left:
            return initial, changed
        refused.append(f"{name}()")
        kept = left
    put_back(module, at_load.items())
    changed = _changed(module, shape, dtype, at_load)
    if kept and state_names is None and not any(map(_is_normaliser, changed)):
        raise refusal(
            "state-not-restored",
            f"{', '.join(refused)} does not restore what forward changes: {', '.join(kept)}; the initial state is not "
            "known. Where the values in the file are the right ones, name the state buffers, and these are taken",
        )
    return at_load, changed


def _changed(
    module: torch.jit.ScriptModule, shape: tuple[int, ...], dtype: torch.dtype, before: dict[str, Tensor]
) -> list[str]:
    changed = set()
    for step in range(_STEPS):
        _step(module, shape, dtype, step, 1.0)
        changed |= {path for path, value in before.items() if not _same(value, get_buffer(module, path))}
    return [path for path in before if path in changed]


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and torch.allclose(a, b, rtol=0.0, atol=0.0, equal_nan=True)
