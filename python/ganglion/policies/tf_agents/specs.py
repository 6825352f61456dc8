"""Time steps, policy steps, and what describes the arrays in them, after TF-Agents.

A spec is a nest (dict, tuple, list, to any depth) of `ArraySpec`s. `ganglion.contract.TensorSpec` describes the flat
vectors of an artifact; `contract_spec` makes one out of a nest.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from torch import Tensor

from ganglion.contract import TensorSpec
from ganglion.policies._tensors import match
from ganglion.policies.kept import kept
from ganglion.policies.tf_agents.nests import Nest, check_structure, flatten, map_structure, pack_like

_LARGEST_INTEGER = 2**53
"""Up to here whole numbers are exact as floats, in which bounds are kept."""


@kept()
@dataclass(frozen=True)
class ArraySpec:
    """Shape and dtype of a tensor, without batch and time axes.

    Attributes:
        shape: sizes of the axes; `()` for a scalar.
        dtype: torch dtype.
        name: name for messages, or None.

    Raises:
        TypeError: `dtype` is no torch dtype.
        ValueError: a size is no positive integer.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32
    name: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))
        if not isinstance(self.dtype, torch.dtype):
            raise TypeError(f"ArraySpec: dtype must be a torch dtype, not {self.dtype!r}")
        if any(type(length) is not int or length < 1 for length in self.shape):
            raise ValueError(f"ArraySpec: the sizes of the axes must be positive integers, not {self.shape}")

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def is_discrete(self) -> bool:
        """Whether the elements are integers."""
        return not (self.dtype.is_floating_point or self.dtype.is_complex or self.dtype == torch.bool)

    def limits(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Lower and upper bound of every element, in row-major order; here infinite."""
        return (-math.inf,) * self.size, (math.inf,) * self.size


@kept()
@dataclass(frozen=True)
class BoundedArraySpec(ArraySpec):
    """An `ArraySpec` with inclusive bounds.

    Attributes:
        minimum: lower bound of every element, in row-major order; may also be given as a number or as
            anything that broadcasts to `shape`.
        maximum: upper bounds, likewise.

    Raises:
        ValueError: a bound is NaN or does not broadcast to `shape`; or it is no whole number of at most 2^53 where the
            elements are integers; or a lower bound lies above the upper one.
    """

    minimum: Any = -math.inf
    maximum: Any = math.inf

    def __post_init__(self) -> None:
        super().__post_init__()
        for label in ("minimum", "maximum"):
            object.__setattr__(self, label, self._elements(label, getattr(self, label)))
        if any(not low <= high for low, high in zip(self.minimum, self.maximum, strict=True)):
            raise ValueError(f"BoundedArraySpec: minimum {self.minimum} lies above maximum {self.maximum}")
        if self.is_discrete and not all(_is_whole(value) for value in (*self.minimum, *self.maximum)):
            raise ValueError(f"BoundedArraySpec: bounds of integers must be whole, not {self.minimum}, {self.maximum}")

    def limits(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """`minimum` and `maximum`."""
        return self.minimum, self.maximum

    def _elements(self, label: str, bound: Any) -> tuple[float, ...]:
        values = np.asarray(bound, dtype=np.float64)
        if values.shape == (self.size,):
            return tuple(values.tolist())
        try:
            return tuple(np.broadcast_to(values, self.shape).reshape(-1).tolist())
        except ValueError as error:
            raise ValueError(
                f"BoundedArraySpec: {label} has shape {values.shape}; it must broadcast to {self.shape}"
            ) from error


class ActorStepType(enum.IntEnum):
    """Place of a time step in its episode."""

    FIRST = 0
    MID = 1
    LAST = 2


@kept()
class ActorTimeStep(NamedTuple):
    """What an environment returns: tensors, or the specs of them.

    Attributes:
        step_type: `ActorStepType` of every row, any integer type, `[]`, `[batch]` or `[batch, time]`.
        reward: of the step before; `ActorPolicy` does not use it.
        discount: factor for the value of what follows; `ActorPolicy` does not use it.
        observation: nest of tensors with the axes of `step_type` in front.
    """

    step_type: Any
    reward: Any
    discount: Any
    observation: Nest


class PolicyStep(NamedTuple):
    """What a policy returns.

    Attributes:
        action: nest of actions, or of distributions.
        state: nest, the state for the next call; `()` where there is none.
        info: further results, `()` where there are none.
    """

    action: Nest
    state: Nest = ()
    info: Nest = ()


@kept()
class PolicyInfo(NamedTuple):
    """Further results of a policy.

    Attributes:
        log_probability: nest like the action, log probability (density) of every action in it.
    """

    log_probability: Nest = ()


class ActorTrajectory(NamedTuple):
    """What is recorded of one step of a policy in an environment: tensors, or the specs of them.

    Attributes:
        step_type: of the step that the policy saw.
        observation: nest of what it saw.
        action: nest of what it did.
        policy_info: nest of the further results of the policy.
        next_step_type: of the step that the environment answered with.
        reward: of that answer.
        discount: of that answer.
    """

    step_type: Any
    observation: Nest
    action: Nest
    policy_info: Nest
    next_step_type: Any
    reward: Any
    discount: Any


def time_step_spec(observation_spec: Nest, reward_spec: ArraySpec | None = None) -> ActorTimeStep:
    """Describes the time steps of an environment with these observations.

    Args:
        observation_spec: nest of `ArraySpec`s.
        reward_spec: description of the reward; a float32 scalar if None.
    """
    return ActorTimeStep(
        step_type=ArraySpec((), torch.int32, "step_type"),
        reward=ArraySpec((), torch.float32, "reward") if reward_spec is None else reward_spec,
        discount=BoundedArraySpec((), torch.float32, "discount", 0.0, 1.0),
        observation=observation_spec,
    )


def outer_shape(label: str, nest: Nest, spec: Nest) -> tuple[int, ...]:
    """Checks tensors against their specs and returns the axes that they have in front.

    Args:
        label: what the tensors are, for the message.
        nest: nest of tensors.
        spec: nest of `ArraySpec`s. Any floating dtype may stand for another one.

    Returns:
        The sizes in front of the specified ones, for example `()`, `(batch,)` or `(batch, time)`.

    Raises:
        TypeError: a leaf is no tensor, or see `check_structure`.
        ValueError: a tensor has another shape, the tensors have different axes in front, or see `check_structure`.
    """
    check_structure(label, nest, spec)
    found: dict[tuple[int, ...], None] = {}
    for tensor, leaf in zip(flatten(nest), flatten(spec), strict=True):
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{label}: every leaf must be a torch.Tensor, not {type(tensor).__name__}")
        axes = tensor.ndim - len(leaf.shape)
        if axes < 0 or tuple(tensor.shape[axes:]) != leaf.shape:
            raise ValueError(f"{label}: a tensor has shape {tuple(tensor.shape)}; expected (..., *{leaf.shape})")
        found[tuple(tensor.shape[:axes])] = None
    if len(found) > 1:
        raise ValueError(f"{label}: the tensors have different axes in front of the specified ones: {list(found)}")
    return next(iter(found), ())


def check_dtypes(label: str, nest: Nest, spec: Nest, error: type[Exception]) -> None:
    """Raises `error` where a tensor has another dtype than its spec."""
    found, expected = ([leaf.dtype for leaf in flatten(part)] for part in (nest, spec))
    if found != expected:
        raise error(f"{label}: got the dtypes {found}; the spec says {expected}")


def flat_size(spec: Nest) -> int:
    """Number of elements of all tensors of a nest."""
    return sum(leaf.size for leaf in flatten(spec))


def pack(nest: Nest, spec: Nest, reference: Tensor) -> Tensor:
    """Lays the tensors of a nest side by side.

    Args:
        nest: tensors `[..., *shape]`.
        spec: their specs.
        reference: tensor with the device and dtype of the result.

    Returns:
        `[..., flat_size(spec)]`.
    """
    parts = [
        match(tensor.flatten(-len(leaf.shape)) if leaf.shape else tensor.unsqueeze(-1), reference)
        for tensor, leaf in zip(flatten(nest), flatten(spec), strict=True)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts, -1)


def unpack(vector: Tensor, spec: Nest) -> Nest:
    """Cuts a vector into the tensors of a nest; the inverse of `pack`.

    Args:
        vector: `[..., flat_size(spec)]`.
        spec: specs of the tensors. Floating tensors keep the dtype of `vector`, others get that of their spec.
    """
    leaves = flatten(spec)
    parts = torch.split(vector, [leaf.size for leaf in leaves], -1) if len(leaves) > 1 else (vector,)
    tensors = [
        shaped(part if leaf.dtype.is_floating_point else part.to(leaf.dtype), leaf.shape)
        for part, leaf in zip(parts, leaves, strict=True)
    ]
    return pack_like(spec, tensors)


def shaped(vector: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Gives the last axis of `vector`, `[..., size]`, a shape: `[..., *shape]`."""
    if len(shape) == 1:
        return vector
    return torch.unflatten(vector, -1, shape) if shape else vector.squeeze(-1)


def contract_spec(name: str, spec: Nest, bounded: bool = True) -> TensorSpec:
    """Describes a packed nest as one tensor of a contract.

    Args:
        name: name of the tensor.
        spec: nest of `ArraySpec`s.
        bounded: whether to tell the bounds, where there are any.
    """
    limits = [leaf.limits() for leaf in flatten(spec)]
    low = tuple(value for lows, _ in limits for value in lows)
    high = tuple(value for _, highs in limits for value in highs)
    if not bounded or not any(math.isfinite(value) for value in (*low, *high)):
        return TensorSpec(name, flat_size(spec))
    return TensorSpec(name, flat_size(spec), low=low, high=high)


def space_of(spec: Nest) -> gymnasium.Space[Any]:
    """Returns the gymnasium space of a nest: a `Box` for every array, `MultiBinary` for booleans."""
    if isinstance(spec, ArraySpec):
        if spec.dtype == torch.bool:
            return gymnasium.spaces.MultiBinary(spec.shape or 1)
        dtype = torch.empty(0, dtype=spec.dtype).numpy().dtype
        low, high = (np.reshape(limit, spec.shape) for limit in spec.limits())
        if spec.is_discrete:
            limits = np.iinfo(dtype)
            low = np.maximum(low, max(limits.min, -_LARGEST_INTEGER))
            high = np.minimum(high, min(limits.max, _LARGEST_INTEGER))
        return gymnasium.spaces.Box(low.astype(dtype), high.astype(dtype), spec.shape, dtype.type)
    if isinstance(spec, dict):
        return gymnasium.spaces.Dict({key: space_of(spec[key]) for key in sorted(spec)})
    if isinstance(spec, (tuple, list)):
        return gymnasium.spaces.Tuple([space_of(child) for child in spec])
    raise TypeError(f"a spec must be a nest of ArraySpecs; found {type(spec).__name__}")


def zeros(spec: Nest, axes: tuple[int, ...] = (), device: torch.device | str | None = None) -> Nest:
    """Returns a nest of zeros with the given axes in front of the specified ones."""
    return map_structure(lambda leaf: torch.zeros((*axes, *leaf.shape), dtype=leaf.dtype, device=device), spec)


def _is_whole(value: float) -> bool:
    return abs(value) <= _LARGEST_INTEGER and value == int(value)
