"""A state dictionary of torch, turned into layers piece by piece, until nothing is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ganglion._foundation.checkpoints import COMPILED, PARALLEL
from ganglion.adapters._files import refuse_stand_ins
from ganglion.errors import ArtifactError

_M = TypeVar("_M", bound=nn.Module)
_T = TypeVar("_T")

_GATES: dict[int, type[nn.LSTM] | type[nn.GRU]] = {4: nn.LSTM, 3: nn.GRU}
"""Rows of `weight_hh` per unit."""


def unwrapped(tensors: Mapping[str, _T], label: str, wrappers: Sequence[str] = (*COMPILED, PARALLEL)) -> dict[str, _T]:
    """Takes the names that wrappers of torch put in out of all names, wherever they stand.

    Args:
        tensors: values by name.
        label: what messages call them.
        wrappers: the names.

    Raises:
        ArtifactError: two names are one without those of wrappers.
    """
    found: dict[str, _T] = {}
    origins: dict[str, str] = {}
    for name, value in tensors.items():
        plain = ".".join(part for part in str(name).split(".") if part not in wrappers) or str(name)
        if plain in found:
            raise ArtifactError(
                f"{label} has '{origins[plain]}' and '{name}', which are both '{plain}' without what torch.compile and "
                "DistributedDataParallel put into names; save the state_dict() of one of the two"
            )
        found[plain], origins[plain] = value, str(name)
    return found


def wrapped_as(module: nn.Module, tensors: Mapping[str, _T], label: str) -> dict[str, _T]:
    """Gives tensors the names that a module has for them, where only wrappers of torch make a difference.

    Raises:
        ArtifactError: see `unwrapped`.
    """
    own = {name: name for name in module.state_dict()}
    # A model that has a part `module` itself keeps it, where only torch.compile is in the way.
    for wrappers in ((), COMPILED):
        wanted = unwrapped(own, f"the model {type(module).__name__}", wrappers)
        found = unwrapped(tensors, label, wrappers)
        if wanted.keys() == found.keys():
            return {wanted[name]: value for name, value in found.items()}
    wanted = unwrapped(own, f"the model {type(module).__name__}")
    return {wanted.get(name, name): value for name, value in unwrapped(tensors, label).items()}


class StateDict:
    """Tensors by name, each taken once, so that none is skipped in silence.

    Args:
        tensors: the state dictionary.
        label: what messages call it.
        wrappers: see `unwrapped`.

    Raises:
        ArtifactError: it is no dictionary of tensors, or two of its names differ by wrappers of torch only.
    """

    def __init__(self, tensors: Any, label: str, wrappers: Sequence[str] = (*COMPILED, PARALLEL)) -> None:
        if not isinstance(tensors, Mapping) or not tensors:
            refuse_stand_ins(tensors, label)
            raise ArtifactError(f"{label} is a {type(tensors).__name__}; expected a state dictionary of tensors")
        others = sorted(
            f"{name} ({type(value).__name__})" for name, value in tensors.items() if not _is_named(name, value)
        )
        if others:
            refuse_stand_ins(tensors, label)
            raise ArtifactError(f"{label} is no state dictionary of tensors: it has {', '.join(others[:6])}")
        self.label = label
        self._left: dict[str, Tensor] = unwrapped(tensors, label, wrappers)

    def names(self, prefix: str = "") -> list[str]:
        """Names that are left and begin so."""
        return sorted(name for name in self._left if name.startswith(prefix))

    def in_order(self) -> list[str]:
        """Names that are left, in the order of the state dictionary, which is that of the modules."""
        return list(self._left)

    def drop(self, *prefixes: str) -> None:
        """Forgets what has no part in the action, such as the critic."""
        self._left = {name: value for name, value in self._left.items() if not name.startswith(prefixes)}

    def size(self, name: str, axis: int) -> int:
        """Length of an axis of a tensor that stays.

        Raises:
            ArtifactError: there is no such tensor, or no such axis.
        """
        value = self._left.get(name)
        if value is None or value.ndim <= axis:
            raise self._missing(name) if value is None else self._misshapen(name, value, f"at least {axis + 1} axes")
        return value.shape[axis]

    def take(self, name: str, axes: int) -> Tensor:
        """Takes one tensor, of `axes` axes, on the CPU.

        Raises:
            ArtifactError: it is missing, has another number of axes, or holds what is not a finite number.
        """
        if name not in self._left:
            raise self._missing(name)
        value = self._left[name]
        if value.ndim != axes or not value.is_floating_point():
            raise self._misshapen(name, value, f"{axes} axes of floating-point numbers")
        if not bool(torch.isfinite(value).all()):
            raise ArtifactError(f"{self.label}: '{name}' holds values that are not finite; take an earlier checkpoint")
        return self._left.pop(name).detach().cpu()

    def linear(self, name: str) -> nn.Linear:
        """Makes the linear layer `name`, with or without a bias.

        Raises:
            ArtifactError: its tensors are missing or do not fit each other.
        """
        weight = self.take(f"{name}.weight", 2)
        bias = self.take(f"{name}.bias", 1) if f"{name}.bias" in self._left else None
        with torch.random.fork_rng(devices=[]):
            layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None)
        return self._filled(layer, name, {"weight": weight} | ({} if bias is None else {"bias": bias}))

    def layer_norm(self, name: str) -> nn.LayerNorm:
        """Makes the layer normalisation `name`, over one axis, with torch's epsilon.

        Raises:
            ArtifactError: its tensors are missing or do not fit each other.
        """
        weight, bias = self.take(f"{name}.weight", 1), self.take(f"{name}.bias", 1)
        return self._filled(nn.LayerNorm(len(weight)), name, {"weight": weight, "bias": bias})

    def recurrent(self, name: str) -> nn.LSTM | nn.GRU:
        """Makes the LSTM or GRU layers `name`, with the time axis first; the number of gates tells them apart.

        Raises:
            ArtifactError: a tensor is missing, or they are those of other layers (bidirectional, with projections).
        """
        tensors = {
            key.removeprefix(f"{name}."): self.take(key, 2 if ".weight" in key else 1) for key in self.names(name + ".")
        }
        if not {"weight_ih_l0", "weight_hh_l0"} <= tensors.keys():
            raise ArtifactError(f"{self.label}: '{name}' has no weight_ih_l0 and weight_hh_l0, but {sorted(tensors)}")
        rows, units = tensors["weight_hh_l0"].shape
        kind = _GATES.get(rows // units) if units and rows % units == 0 else None
        if kind is None:
            raise ArtifactError(
                f"{self.label}: '{name}.weight_hh_l0' has shape {(rows, units)}; an LSTM has 4 rows a unit and a GRU 3"
            )
        layers = sum(key.startswith("weight_hh_l") for key in tensors)
        with torch.random.fork_rng(devices=[]):
            module = kind(tensors["weight_ih_l0"].shape[1], units, layers, bias="bias_ih_l0" in tensors)
        return self._filled(module, name, tensors)

    def finish(self, hint: str) -> None:
        """Refuses a state dictionary of which something is left.

        Args:
            hint: what is supported, for the message.

        Raises:
            ArtifactError: names what is left.
        """
        if self._left:
            names = sorted(self._left)
            more = f" and {len(names) - 6} more" if len(names) > 6 else ""
            raise ArtifactError(
                f"{self.label} has weights that are not known here: {', '.join(names[:6])}{more}; {hint}"
            )

    def _filled(self, module: _M, name: str, tensors: Mapping[str, Tensor]) -> _M:
        expected = {key: tuple(value.shape) for key, value in module.state_dict().items()}
        found = {key: tuple(value.shape) for key, value in tensors.items()}
        if found != expected:
            wrong = sorted(key for key in {*found, *expected} if found.get(key) != expected.get(key))
            texts = (f"{key} {found.get(key, 'is missing')}, expected {expected.get(key, 'none')}" for key in wrong[:4])
            raise ArtifactError(f"{self.label}: '{name}' is no plain {type(module).__name__}: {'; '.join(texts)}")
        module.load_state_dict(tensors)
        return module

    def _missing(self, name: str) -> ArtifactError:
        return ArtifactError(f"{self.label} has no '{name}', but {', '.join(self.names()[:8]) or 'nothing more'}")

    def _misshapen(self, name: str, value: Tensor, expected: str) -> ArtifactError:
        return ArtifactError(
            f"{self.label}: '{name}' is a {value.dtype} tensor of shape {tuple(value.shape)}; expected {expected}"
        )


def _is_named(name: Any, value: Any) -> bool:
    return isinstance(name, str) and isinstance(value, Tensor)
