"""Models written for skrl's `Model` and mixins, or for ours, as recurrent policies that can be exported.

Nothing here imports skrl: such a model is known by what it can do. Names of attributes are those of skrl 2.1.1.
"""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ganglion.contract import ActionStage, StateSlot, TensorSpec
from ganglion.data.env_spec import EnvSpec
from ganglion.policies._tensors import eval_mode, is_tracing, match
from ganglion.policies.base import RecurrentPolicy
from ganglion.policies.kept import kept
from ganglion.policies.recurrent_layers import default_pack_hidden, default_unpack_hidden
from ganglion.policies.skrl.gaussian_mixin import check_gaussian, clip
from ganglion.policies.skrl.model import flat_box

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_SPACES = {"observations": "observation_space", "states": "state_space"}
"""What a model reads of the environment, and where it keeps the space of each."""
_CLIPS = ("clip_mean_actions", "clip_actions")
_PROBE_ROWS = 5
"""Rows of the step that a new policy tries; no number of layers that anybody would use."""


def as_policy(module: nn.Module) -> SkrlPolicy | None:
    """Wraps a model in the style of skrl; returns None for any other module.

    Raises:
        ValueError: the module is such a model, but not that of a policy; see `SkrlPolicy`.
    """
    return SkrlPolicy(module) if is_skrl_model(module) else None


def recurrent(policy: Any) -> Any:
    """Returns a policy as it is, and a model in the style of skrl wrapped; raises what `as_policy` raises."""
    return SkrlPolicy(policy) if is_skrl_model(policy) else policy


def is_skrl_model(module: nn.Module) -> bool:
    """Tells whether a module has what skrl's `Model` and a mixin give: `compute`, `act` and the spaces."""
    return (
        isinstance(module, nn.Module)
        and not isinstance(module, RecurrentPolicy)
        and all(callable(getattr(module, name, None)) for name in ("compute", "act"))
        and all(hasattr(module, name) for name in ("observation_space", "action_space"))
    )


@kept()
class SkrlPolicy(RecurrentPolicy):
    """Runs single rollout steps of a model in the style of skrl: `compute`, with means clipped as its mixin is set.

    The model is shared, not copied, and steps in eval mode whatever its mode is. The preprocessor of an agent
    (`RunningStandardScaler`) is no part of the model; put it before this policy with `DeployablePolicy`.

    Outputs are `mean` and `log_std`; those of a model with skrl's `DeterministicMixin` are `actions` alone. Inputs are
    the observations `obs` or the environment's `states`, or both: whichever the results depend on. The state slots are
    `h`, or `h` and `c` if there are two, or else `rnn_0`, `rnn_1` and so on; their initial values are zeros.

    Args:
        model: `compute(inputs, "policy")` returns `(mean, {"log_std": ...})`, and where `get_specification()` has an
            entry `{"rnn": {"sizes": [(layers, num_envs, units), ...]}}` also `"rnn"`, the list of new states.

    Raises:
        TypeError: `model` has no `compute`, `act` or spaces.
        ValueError: a space is no `Box` (or `Dict` or `Tuple` of them), `compute` fails on zeros or gives other shapes,
            or its results depend on no input.
    """

    name = "skrl"
    _low: Tensor
    _high: Tensor

    def __init__(self, model: nn.Module) -> None:
        if not is_skrl_model(model):
            raise TypeError(
                f"SkrlPolicy: {type(model).__name__} is no model in the style of skrl; it needs compute, act, "
                "observation_space and action_space"
            )
        spaces = {key: getattr(model, name, None) for key, name in _SPACES.items()}
        action_box = flat_box(model.action_space)  # type: ignore[arg-type]
        specs = {key: EnvSpec(flat_box(space), action_box) for key, space in spaces.items() if space is not None}
        if not specs:
            raise ValueError(f"SkrlPolicy: {type(model).__name__} has no observation space")
        super().__init__(next(iter(specs.values())))
        self.model: Any = model
        self._mixin = _Mixin.of(model)
        self.register_buffer("_low", torch.from_numpy(action_box.low), persistent=False)
        self.register_buffer("_high", torch.from_numpy(action_box.high), persistent=False)
        self._state_layout = _state_layout(self.model)
        self._inputs = {key: spec.observation_spec for key, spec in specs.items()}
        if "states" in self._inputs:
            self._inputs["states"] = dataclasses.replace(self._inputs["states"], name="states")
        self._inputs = {key: self._inputs[key] for key in self._keys_that_matter()}

    @property
    def state_layout(self) -> tuple[StateSlot, ...]:
        """One slot `[layers, units]` per recurrent state of the model."""
        return self._state_layout

    @property
    def input_specs(self) -> tuple[TensorSpec, ...]:
        """`obs` or `states` of the model's spaces, or both."""
        return tuple(self._inputs.values())

    @property
    def action_stages(self) -> tuple[ActionStage, ...]:
        """Drawn actions are clipped with `clip_actions`; means that fly are not, as in skrl."""
        if not self._mixin.clips_drawn:
            return ()
        return (ActionStage(low=tuple(self._low.tolist()), high=tuple(self._high.tolist())),)

    def as_command(self, own: Tensor) -> Tensor:
        """See `RecurrentPolicy.as_command`."""
        return clip(own, match(self._low, own), match(self._high, own)) if self._mixin.clips_drawn else own

    @property
    def output_specs(self) -> tuple[TensorSpec, ...]:
        """`mean` and `log_std`, or `actions`; with bounds where they, or those that are drawn, are clipped."""
        size, mixin = self.env_spec.action_size, self._mixin
        is_clipped = mixin.clips_mean or mixin.clips_drawn
        action = self.env_spec.action_spec if is_clipped else TensorSpec("actions", size)
        if not mixin.is_gaussian:
            return (action,)
        low, high = ((limit,) * size for limit in mixin.log_std_limits) if mixin.log_std_limits else ((), ())
        return (dataclasses.replace(action, name="mean"), TensorSpec("log_std", size, low=low, high=high))

    def forward(self, obs: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, ...]:
        """Runs one step; see `RecurrentPolicy.forward`."""
        rows, hidden_rows = self._as_batch(obs, hidden)
        sizes = [spec.size for spec in self._inputs.values()]
        parts = torch.split(rows, sizes, dim=-1)
        with eval_mode(self.model):
            results = self._step(dict(zip(self._inputs, parts, strict=True)), hidden_rows)
        return self._as_given(obs, results)

    def _step(self, inputs: dict[str, Any], hidden: Tensor) -> tuple[Tensor, ...]:
        """Outputs and new hidden vector of a batch; `inputs` go to the model as they are, with its states."""
        if self._state_layout:
            inputs["rnn"] = self._unpack(hidden)
        mean, results = self.model.compute(inputs, "policy")
        outputs = self._outputs(mean, results)
        return (*outputs, self._pack(results["rnn"], hidden.shape[0]) if self._state_layout else hidden)

    def _outputs(self, mean: Tensor, results: Mapping[str, Any]) -> tuple[Tensor, ...]:
        log_std = results["log_std"] if self._mixin.is_gaussian else None
        if not is_tracing():
            check_gaussian(type(self.model).__name__, mean, log_std, self.env_spec.action_size)
        if self._mixin.clips_mean:
            mean = clip(mean, match(self._low, mean), match(self._high, mean))
        if log_std is None:
            return (mean,)
        if self._mixin.log_std_limits is not None:
            log_std = clip(log_std, *self._mixin.log_std_limits)
        return mean, log_std.expand_as(mean)

    def _unpack(self, hidden: Tensor) -> list[Tensor]:
        parts = torch.split(hidden, [slot.size for slot in self._state_layout], dim=-1)
        return [
            default_unpack_hidden(part, layers, units, hidden.shape[0])
            for part, (layers, units) in zip(parts, self._state_shapes(), strict=True)
        ]

    def _pack(self, states: Sequence[Tensor], rows: int) -> Tensor:
        if not is_tracing():
            found = [tuple(state.shape) for state in states]
            expected = [(layers, rows, units) for layers, units in self._state_shapes()]
            if found != expected:
                raise ValueError(
                    f"{type(self.model).__name__}: compute gave states of shapes {found}; expected {expected}"
                )
        packed = [
            default_pack_hidden(state, layers, units, rows)
            for state, (layers, units) in zip(states, self._state_shapes(), strict=True)
        ]
        return torch.cat(packed, dim=-1)

    def _state_shapes(self) -> list[tuple[int, int]]:
        return [(slot.shape[0], slot.shape[1]) for slot in self._state_layout]

    @torch.inference_mode(False)
    @torch.enable_grad()
    def _keys_that_matter(self) -> list[str]:
        """Tries one step of a copy; returns the inputs that its results depend on."""
        probe = copy.deepcopy(self).cpu().float().eval().requires_grad_(False)
        hidden = torch.zeros(_PROBE_ROWS, self.hidden_size)
        matter = []
        for key in self._inputs:
            inputs = {name: torch.zeros(_PROBE_ROWS, spec.size) for name, spec in self._inputs.items()}
            # With everything else frozen, a result that depends on this input is one that wants a gradient. Behind
            # clone() the input is no leaf, which a model could not change in place.
            inputs[key] = inputs[key].requires_grad_().clone()
            try:
                results = probe._step(inputs, hidden)
            except Exception as error:
                raise ValueError(
                    f"{type(self.model).__name__}: a step of zeros failed with {type(error).__name__}: {error}; "
                    'compute(inputs, "policy") must return (mean, {"log_std": ...})'
                ) from error
            if any(result.requires_grad for result in results):
                matter.append(key)
        if not matter:
            raise ValueError(f"{type(self.model).__name__}: the results of compute depend on no input")
        return matter

    def __deepcopy__(self, memo: dict[int, Any]) -> SkrlPolicy:
        # Models remember tensors of their last step; as parts of an autograd graph these refuse to be copied.
        for module in self.model.modules():
            memo.update({id(t): t.detach().clone() for t in _tensors(vars(module)) if not t.is_leaf})
        duplicate = type(self).__new__(type(self))
        memo[id(self)] = duplicate
        duplicate.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return duplicate


@dataclass(frozen=True)
class _Mixin:
    """What skrl's mixin does with the results of `compute`."""

    is_gaussian: bool
    clips_mean: bool
    clips_drawn: bool
    log_std_limits: tuple[float, float] | None

    @classmethod
    def of(cls, model: Any) -> _Mixin:
        # How the settings of the mixins begin: Gaussian, multivariate Gaussian, deterministic. A model that shares its
        # network between a policy and a value has two mixins; the first of these is that of the policy.
        prefix = next((prefix for prefix in ("_g_", "_mg_", "_d_") if hasattr(model, f"{prefix}clip_actions")), "_g_")
        if prefix == "_d_":
            return cls(False, model._d_clip_actions, False, None)
        limits = None
        if getattr(model, f"{prefix}clip_log_std", False):
            limits = float(getattr(model, f"{prefix}min_log_std")), float(getattr(model, f"{prefix}max_log_std"))
        clips_mean, clips_drawn = (bool(getattr(model, f"{prefix}{name}", False)) for name in _CLIPS)
        return cls(True, clips_mean, clips_drawn, limits)


def _state_layout(model: Any) -> tuple[StateSlot, ...]:
    specification = model.get_specification() if hasattr(model, "get_specification") else {}
    sizes = specification.get("rnn", {}).get("sizes", [])
    names = ["h", "c"][: len(sizes)] if len(sizes) <= 2 else [f"rnn_{index}" for index in range(len(sizes))]
    return tuple(StateSlot(name, (layers, units)) for name, (layers, _, units) in zip(names, sizes, strict=True))


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in a value, in containers, and in distributions."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Distribution):
        yield from _tensors(vars(value))
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _tensors(part)
