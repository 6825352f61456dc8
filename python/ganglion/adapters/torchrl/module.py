"""Takes a TorchRL actor apart: what is before the recurrent layers, these, what is behind, and its distribution.

Classes of torchrl and tensordict are known by their names here, so that neither has to be installed.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ganglion.adapters._state_dict import StateDict
from ganglion.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SUPPORTED = (
    "read are sequences, each part taking what the one before gives: TensorDictModule, at most one LSTMModule or "
    "GRUModule, TanhModule, and last a distribution (TanhNormal, IndependentNormal, Normal, TanhDelta, Delta)"
)
_SAFE_LIMIT = 1.0 - torch.finfo(torch.float32).resolution
"""Largest absolute value of `SafeTanhTransform`, `torchrl/modules/distributions/utils.py`, version 0.14.1."""


@dataclass
class Parts:
    """The parts of an actor, in the order of its computation.

    Attributes:
        encoder: modules before the recurrent layers.
        recurrent: `torch.nn.LSTM` or `GRU` with the time axis first; None without.
        head: modules behind the recurrent layers, up to the location of the distribution.
        low: lower bounds of the actions, one or one per element; None where the actions are not squashed.
        high: upper bounds, likewise.
        limit: largest absolute value of the tanh.
    """

    encoder: list[nn.Module] = field(default_factory=list)
    recurrent: nn.LSTM | nn.GRU | None = None
    head: list[nn.Module] = field(default_factory=list)
    low: Tensor | None = None
    high: Tensor | None = None
    limit: float = 1.0

    def squash(self, low: Any, high: Any, is_safe: bool) -> None:
        """Ends the actor with tanh, mapped linearly to the bounds."""
        self.low, self.high = (torch.as_tensor(bound, dtype=torch.float64).reshape(-1) for bound in (low, high))
        self.limit = _SAFE_LIMIT if is_safe else 1.0


class FirstHalf(nn.Module):
    """The location of `tensordict.nn.NormalParamExtractor`: the first half of the last axis."""

    def forward(self, x: Tensor) -> Tensor:
        """The first half of the last axis of `x`."""
        return x.chunk(2, dim=-1)[0]


class _Shift(nn.Module):
    """Adds the middle of the bounds, as distributions with bounds do with some locations."""

    offset: Tensor

    def __init__(self, offset: Tensor) -> None:
        super().__init__()
        self.register_buffer("offset", offset.to(torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.offset


class _SoftClip(nn.Module):
    """Computes `upscale tanh(x / upscale)`: `tanh_loc` of `TanhNormal`."""

    def __init__(self, upscale: float) -> None:
        super().__init__()
        self.upscale = upscale

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x / self.upscale) * self.upscale


def take_apart(actor: nn.Module) -> Parts:
    """Finds the parts of an actor.

    Raises:
        ArtifactError: the actor has a part that is not known, two of one that may be there once, or is no chain.
    """
    parts, current, names = Parts(), None, []
    for step in _steps(actor):
        names.append(type(step).__name__)
        if parts.low is not None or "distribution" in names:
            raise ArtifactError(f"a {names[-1]} follows the distribution; {_SUPPORTED}")
        inputs = [key for key in _keys(step.in_keys) if not _is_state(key, step)]
        if current is None and len(inputs) != 1:
            raise ArtifactError(f"the first part takes {inputs}; expected one observation. {_SUPPORTED}")
        if current is not None and inputs[:1] != [current]:
            raise ArtifactError(f"a {names[-1]} takes {inputs}, but the part before gives '{current}'; {_SUPPORTED}")
        current = _keys(step.out_keys)[0]
        if _is_a(step, "LSTMModule") or _is_a(step, "GRUModule"):
            _add_cells(parts, step)
        elif _is_a(step, "ProbabilisticTensorDictModule"):
            _add_distribution(parts, step)
            names.append("distribution")
        elif _is_a(step, "TanhModule"):
            _add_tanh(parts, step)
        elif _is_a(step, "TensorDictModule"):
            (parts.head if parts.recurrent is not None else parts.encoder).append(_plain(step.module))
        else:
            raise ArtifactError(f"a {names[-1]} is not known here; {_SUPPORTED}")
    return parts


def _steps(module: Any) -> Iterator[Any]:
    if not (isinstance(module, nn.Module) and hasattr(module, "in_keys") and hasattr(module, "out_keys")):
        raise ArtifactError(f"a {type(module).__name__} is no module of tensordict; {_SUPPORTED}")
    if module._forward_hooks or module._forward_pre_hooks:
        raise ArtifactError(
            f"{type(module).__name__} has forward hooks (safe=True, for example, projects actions to their spec); "
            "build it without, and clip with an ActionMap"
        )
    inner = getattr(module, "module", None)
    if isinstance(inner, nn.ModuleList):
        for part in inner:
            yield from _steps(part)
    else:
        yield module


def _keys(keys: Any) -> list[str]:
    return [key if isinstance(key, str) else "/".join(map(str, key)) for key in keys]


def _is_state(key: str, step: Any) -> bool:
    """Cells take their state and `is_init` besides their input, which is the first key."""
    is_cell = _is_a(step, "LSTMModule") or _is_a(step, "GRUModule")
    return is_cell and key != _keys(step.in_keys)[0]


def _is_a(module: object, name: str) -> bool:
    return any(kind.__name__ == name for kind in type(module).__mro__)


def _add_cells(parts: Parts, step: Any) -> None:
    if parts.recurrent is not None:
        raise ArtifactError(f"the actor has two recurrent modules; {_SUPPORTED}")
    cells = step.lstm if _is_a(step, "LSTMModule") else step.gru
    if not isinstance(cells, nn.RNNBase):
        raise ArtifactError(f"{type(step).__name__} has cells of the class {type(cells).__name__}, no torch.nn.RNNBase")
    state = StateDict({f"cells.{name}": value for name, value in cells.state_dict().items()}, type(step).__name__)
    parts.recurrent = state.recurrent("cells")


def _add_distribution(parts: Parts, step: Any) -> None:
    kwargs: Mapping[str, Any] = step.distribution_kwargs or {}
    name = step.distribution_class.__name__
    low, high = kwargs.get("low", -1.0), kwargs.get("high", 1.0)
    tail = parts.head if parts.recurrent is not None else parts.encoder
    if name in ("Delta", "Normal", "IndependentNormal") and not kwargs.get("tanh_loc"):
        return
    # Both: torchrl/modules/distributions/continuous.py, version 0.14.1, deterministic_sample and update.
    if name == "TanhNormal":
        if kwargs.get("tanh_loc"):
            tail += [_SoftClip(float(kwargs.get("upscale", 5.0))), _Shift(_middle(low, high))]
        parts.squash(low, high, kwargs.get("safe_tanh", True))
    elif name == "TanhDelta":
        tail.append(_Shift(_middle(low, high)))
        parts.squash(low, high, kwargs.get("safe", True))
    else:
        raise ArtifactError(f"the distribution {name} with {sorted(kwargs)} is not known here; {_SUPPORTED}")


def _middle(low: Any, high: Any) -> Tensor:
    return (torch.as_tensor(low, dtype=torch.float64) + torch.as_tensor(high, dtype=torch.float64)) / 2.0


def _add_tanh(parts: Parts, step: Any) -> None:
    key = _keys(step.out_keys)[0].replace("/", "_")
    if step.clamp:
        raise ArtifactError("TanhModule(clamp=True) is not supported; clip with an ActionMap")
    parts.squash(getattr(step, f"{key}_low"), getattr(step, f"{key}_high"), is_safe=False)


def _plain(module: nn.Module) -> nn.Module:
    """The module itself, with what gives a location and a scale replaced by what gives the location."""
    if _is_a(module, "NormalParamExtractor"):
        return FirstHalf()
    if _is_a(module, "AddStateIndependentNormalScale"):
        return nn.Identity()
    if type(module) is nn.Sequential or _is_a(module, "MLP"):
        if not isinstance(getattr(module, "out_features", 1), int):
            raise ArtifactError(f"an MLP with outputs of shape {module.out_features}; expected one axis")
        return nn.Sequential(*(_plain(part) for part in module.children()))
    return copy.deepcopy(module)
