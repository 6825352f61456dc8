"""Finds the module in which the rows of a batch begin to depend on each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ganglion.policies.wrapped.call import Call

_Seen = list[tuple[str, list[Tensor], list[Tensor]]]


def first_mixing(module: nn.Module, call: Call, observations: Sequence[Tensor], states: Sequence[Tensor]) -> str | None:
    """The path of the first module that carries a change of one row into others; None if no single one does.

    Args:
        module: the module.
        call: how to call it.
        observations: `[rows, size]` each, at least 3 rows.
        states: likewise.
    """
    rows = observations[0].shape[0]
    first = _seen(module, call, observations, states)
    for row in range(rows):
        changed = [[_with_other_row(tensor, row) for tensor in tensors] for tensors in (observations, states)]
        second = _seen(module, call, *changed)
        for (path, ins, outs), (_, other_ins, other_outs) in zip(first, second, strict=False):
            if _stays(ins, other_ins, rows, row) and not _stays(outs, other_outs, rows, row):
                return path
    return None


def _with_other_row(tensor: Tensor, row: int) -> Tensor:
    other = tensor.clone()
    other[row] = other[row] + 1.0
    return other


def _seen(module: nn.Module, call: Call, observations: Sequence[Tensor], states: Sequence[Tensor]) -> _Seen:
    """What went in and out of every module, in the order in which they finished: inner ones first."""
    seen: _Seen = []

    def remember(path: str) -> Any:
        return lambda _, args, kwargs, result: seen.append(
            (path, [t.clone() for t in _tensors((args, kwargs))], [t.clone() for t in _tensors(result)])
        )

    handles = [
        part.register_forward_hook(remember(path), with_kwargs=True) for path, part in module.named_modules() if path
    ]
    try:
        call.run(module, observations, states)
    except Exception:  # what is said is about the rows; what was seen until then is enough
        pass
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value.detach()]
    if isinstance(value, dict):
        value = list(value.values())
    return [t for part in value for t in _tensors(part)] if isinstance(value, (tuple, list)) else []


def _stays(a: list[Tensor], b: list[Tensor], rows: int, row: int) -> bool:
    """Whether tensors differ in the changed row alone, along some axis that may be that of the batch."""
    return all(
        first.shape == second.shape and _confined(first, second, rows, row) for first, second in zip(a, b, strict=True)
    )


def _confined(a: Tensor, b: Tensor, rows: int, row: int) -> bool:
    differs = (a != b) if not a.is_floating_point() else (a - b).abs() > 1e-4 * max(1.0, float(a.abs().max()))
    if not bool(differs.any()):
        return True
    for axis, length in enumerate(a.shape):
        if length == rows:
            hit = differs.movedim(axis, 0).reshape(rows, -1).any(1)
            if int(hit.sum()) == int(hit[row]):
                return True
    return False
