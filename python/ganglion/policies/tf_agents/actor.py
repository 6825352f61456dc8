"""The actor policy of TF-Agents: time steps in, actions or distributions out, the state kept by the caller."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, distributions, nn

from ganglion.policies.kept import kept
from ganglion.policies.tf_agents.nests import Nest, check_structure, flatten, is_empty, map_structure, pack_like, prune
from ganglion.policies.tf_agents.specs import (
    ActorStepType,
    ActorTimeStep,
    ActorTrajectory,
    ArraySpec,
    BoundedArraySpec,
    PolicyInfo,
    PolicyStep,
    check_dtypes,
    outer_shape,
    pack,
    unpack,
    zeros,
)
from ganglion.policies.tf_agents.step import ActorStep

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ganglion.policies.normalizer import ObservationNormalizer
    from ganglion.policies.tf_agents.networks import ActorNetwork
    from ganglion.policies.tf_agents.step import Splitter

_FINAL = ("action", "distribution", "get_initial_state", "update")
"""Methods that check and reset; what a sub-class may override is `_distribution`, which they call."""


@kept()
class ActorPolicy(ActorStep):
    """Runs an actor network on time steps; `ActorPolicy` of TF-Agents.

    Time steps, states and actions are nests of tensors as their specs say, without axes in front, with `[batch]`, or
    with `[batch, time]`; a state never has a time axis.

    As a `RecurrentPolicy`, and in an artifact, it is the flat function of one step. Its outputs are `mean` and
    `log_std` where every action is normal; `actions` and `logits` (`logits_0`, `logits_1`, ... of several) where every
    action is categorical; of both kinds `actions`, `log_std` of the elements that are normal, and `logits_k` of every
    element k that is not; else `actions` alone. The first output is the mode, clipped if `clip` is set; its bounds in
    the contract are those that actions are clipped to. Drawn actions are clipped to them as well; where means can lie
    outside, they are also there as they are, as `unmapped_mean`.

    Args:
        time_step_spec: see `specs.time_step_spec`.
        action_spec: nest of `ArraySpec`s; only `BoundedArraySpec`s are clipped to.
        actor_network: makes distributions or actions; it may keep a state.
        policy_state_spec: spec of the state; that of the network if empty.
        info_spec: spec of the further results.
        observation_normalizer: applied to what the network gets, laid side by side. For statistics of TF-Agents see
            `tf_agents_weights.tensor_normalizer`.
        clip: clip actions to the bounds of their specs.
        training: start in training mode, as `train(training)` does.
        observation_and_action_constraint_splitter: cuts an observation into what the network gets and the mask of the
            allowed actions (not zero), for a single discrete action; see `KeySplitter`. The mask is the second input of
            an artifact.
        name: name of the policy; that of the class in snake case if None.
        validate_args: check inputs and results against the specs.
        emit_log_probability: put the log probability of actions, before clipping, into the info of `action`, and that
            of the mode into an artifact, as its output `log_prob`; the runtime puts in that of an action it has drawn.
        automatic_state_reset: give rows at a FIRST step the initial state.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: `time_step_spec` is no `ActorTimeStep`, `actor_network` no `ActorNetwork`, the parts do not fit each
            other, or a sub-class overrides a method that it must not.
        NotImplementedError: a splitter is given, but there is not exactly one action, or it is not discrete.
        RuntimeError: by every method, where the constructor of a sub-class does not call this one.
    """

    def __init__(
        self,
        time_step_spec: ActorTimeStep,
        action_spec: Nest,
        actor_network: ActorNetwork,
        policy_state_spec: Nest = (),
        info_spec: Nest = (),
        observation_normalizer: ObservationNormalizer | None = None,
        clip: bool = True,
        training: bool = False,
        observation_and_action_constraint_splitter: Splitter | None = None,
        name: str | None = None,
        *,
        validate_args: bool = True,
        emit_log_probability: bool = False,
        automatic_state_reset: bool = True,
    ) -> None:
        overridden = [method for method in _FINAL if getattr(type(self), method) is not getattr(ActorPolicy, method)]
        if overridden:
            raise ValueError(f"{type(self).__name__} overrides {overridden}; override _distribution instead")
        if not isinstance(time_step_spec, ActorTimeStep):
            raise ValueError(
                f"ActorPolicy: time_step_spec must be an ActorTimeStep, not {type(time_step_spec).__name__}"
            )
        super().__init__(
            time_step_spec.observation,
            action_spec,
            actor_network,
            observation_normalizer,
            clip,
            observation_and_action_constraint_splitter,
            emit_log_probability,
        )
        self.time_step_spec = time_step_spec
        self.policy_state_spec = actor_network.state_spec if is_empty(policy_state_spec) else policy_state_spec
        outer_shape("ActorPolicy: policy_state_spec", zeros(self.policy_state_spec), actor_network.state_spec)
        self.info_spec = info_spec
        if emit_log_probability:
            self.info_spec = _with_log_probability(info_spec, map_structure(_log_probability_spec, action_spec))
        self.validate_args = validate_args
        self.automatic_state_reset = automatic_state_reset
        self.name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower() if name is None else name
        self.train(training)
        self._is_made = True

    @property
    def policy_step_spec(self) -> PolicyStep:
        """Specs of what `action` returns."""
        self._check_made()
        return PolicyStep(self.action_spec, self.policy_state_spec, self.info_spec)

    @property
    def trajectory_spec(self) -> ActorTrajectory:
        """Specs of what is recorded when this policy acts in an environment."""
        policy_step, step = self.policy_step_spec, self.time_step_spec
        return ActorTrajectory(
            step_type=step.step_type,
            observation=step.observation,
            action=policy_step.action,
            policy_info=policy_step.info,
            next_step_type=step.step_type,
            reward=step.reward,
            discount=step.discount,
        )

    @property
    def collect_data_spec(self) -> ActorTrajectory:
        """Specs of what is recorded for training: those of `trajectory_spec`."""
        return self.trajectory_spec

    @property
    def trainable_variables(self) -> tuple[Tensor, ...]:
        """All parameters that training may change; not copies."""
        return tuple(one for one in self.variables() if one.requires_grad)

    @property
    def non_trainable_variables(self) -> tuple[Tensor, ...]:
        """The other `variables`."""
        return tuple(one for one in self.variables() if not one.requires_grad)

    def action(self, time_step: ActorTimeStep, policy_state: Nest = (), seed: int | None = None) -> PolicyStep:
        """Draws an action.

        Args:
            time_step: time step of tensors; its reward and discount are not used.
            policy_state: the state that the last call returned; `()` for the initial one.
            seed: mixed with torch's global random state, as in TF-Agents: two calls with the same seed differ, and
                repeat after `torch.manual_seed`. None to draw from the global state alone.

        Returns:
            Action, next state and info. Where a distribution allows it, gradients flow through the action.

        Raises:
            TypeError: a leaf is no tensor, a container is of another kind, or the action is of another dtype.
            ValueError: a structure, shape or dtype does not fit its spec.
        """
        time_step, policy_state = self._prepared(time_step, policy_state)
        distribution, state, info = self._distribution(time_step, policy_state)
        with _mixed_with_global_state(seed, self._reference().device):
            action = map_structure(lambda d: d.rsample() if d.has_rsample else d.sample(), distribution)
        if self.emit_log_probability:
            info = _with_log_probability(info, map_structure(_log_probability, self.action_spec, distribution, action))
        clipped = [clip(leaf) for clip, leaf in zip(self._clips, flatten(action), strict=True)]
        step = PolicyStep(pack_like(action, clipped), state, info)
        if self.validate_args:
            self._check_result(step)
            expected, outer = tuple(time_step.step_type.shape), outer_shape("action", step.action, self.action_spec)
            if outer != expected:
                raise ValueError(f"action: has the axes {outer} in front, the time step has {expected}")
            check_dtypes("action", step.action, self.action_spec, TypeError)
        return step

    def distribution(self, time_step: ActorTimeStep, policy_state: Nest = ()) -> PolicyStep:
        """Returns the distributions that `action` draws from, not clipped; arguments and errors as there.

        A deterministic action is a `Deterministic` distribution. With `emit_log_probability` the info has zeros.
        """
        step = self._distribution(*self._prepared(time_step, policy_state))
        if self.emit_log_probability:
            nothing = map_structure(lambda _: torch.zeros(()), self.action_spec)
            step = step._replace(info=_with_log_probability(step.info, nothing))
        if self.validate_args:
            self._check_result(step)
        return step

    def get_initial_state(self, batch_size: int | None) -> Nest:
        """Returns the initial state: zeros, with `[batch_size]` in front unless that is None."""
        self._check_made()
        axes = () if batch_size is None else (batch_size,)
        return zeros(self.policy_state_spec, axes, self._reference().device)

    def variables(self) -> list[Tensor]:
        """Returns all parameters and saved buffers, statistics of the normaliser included; not copies."""
        self._check_made()
        return list(self.state_dict(keep_vars=True).values())

    @torch.no_grad()
    def update(
        self,
        policy: ActorPolicy,
        tau: float = 1.0,
        tau_non_trainable: float | None = None,
        sort_variables_by_name: bool = False,
    ) -> None:
        """Moves the variables towards those of another policy: `(1 - tau) * own + tau * other`.

        Args:
            policy: policy with variables of the same shapes in the same order.
            tau: fraction for parameters, in [0, 1]. With 0 nothing at all changes.
            tau_non_trainable: fraction for buffers, in [0, 1]; `tau` if None. Integer buffers (counters) are copied
                unless it is 0.
            sort_variables_by_name: pair variables in the order of their names, not in that of the modules.

        Raises:
            TypeError: `policy` is no `ActorPolicy`.
            ValueError: a fraction is out of range, or the variables do not fit; nothing is changed then.
        """
        self._check_made()
        if not isinstance(policy, ActorPolicy):
            raise TypeError(f"update: policy must be an ActorPolicy, not {type(policy).__name__}")
        tau_non_trainable = tau if tau_non_trainable is None else tau_non_trainable
        for label, fraction in (("tau", tau), ("tau_non_trainable", tau_non_trainable)):
            if not 0.0 <= fraction <= 1.0:
                raise ValueError(f"update: {label} must be in [0, 1], not {fraction}")
        if tau == 0.0:
            return
        sources, targets = (list(owner.state_dict(keep_vars=True).items()) for owner in (policy, self))
        if sort_variables_by_name:
            sources, targets = sorted(sources, key=lambda item: item[0]), sorted(targets, key=lambda item: item[0])
        if len(sources) != len(targets):
            raise ValueError(f"update: the source has {len(sources)} variables, the target {len(targets)}")
        for (source_name, source), (name, target) in zip(sources, targets, strict=True):
            if source.shape != target.shape:
                shapes = f"{source_name} has shape {tuple(source.shape)}, {name} has {tuple(target.shape)}"
                raise ValueError(f"update: the variables do not fit: {shapes}")
        for (_, source), (_, target) in zip(sources, targets, strict=True):
            _mix(target, source, tau if isinstance(target, nn.Parameter) else tau_non_trainable)

    def _distribution(self, time_step: ActorTimeStep, policy_state: Nest) -> PolicyStep:
        """Computes distributions, next state and info from a time step and a state that are checked and reset."""
        observation, mask = self._split(time_step.observation)
        if self.observation_normalizer is not None:
            spec = self.actor_network.input_tensor_spec
            observation = unpack(
                self.observation_normalizer(pack(observation, spec, self.observation_normalizer.mean)), spec
            )
        action, state = self.actor_network(observation, time_step.step_type, policy_state, mask)
        return PolicyStep(self._as_distributions(action), state)

    def _prepared(self, time_step: ActorTimeStep, policy_state: Nest) -> tuple[ActorTimeStep, Nest]:
        """Checks a time step and a state, and resets the state of rows at a FIRST step."""
        self._check_made()
        if not isinstance(time_step, ActorTimeStep):
            raise ValueError(f"time_step: must be an ActorTimeStep, not {type(time_step).__name__}")
        if not isinstance(time_step.step_type, Tensor) or time_step.step_type.is_floating_point():
            raise TypeError(f"step_type must be a torch.Tensor of integers, not {time_step.step_type!r}")
        outer = tuple(time_step.step_type.shape)
        if is_empty(policy_state):
            policy_state = self.get_initial_state(outer[0] if outer else None)
        if self.validate_args:
            observation = prune(time_step.observation, self.time_step_spec.observation)
            time_step = time_step._replace(observation=observation)
            policy_state = prune(policy_state, self.policy_state_spec)
            self._check_arguments(outer, observation, policy_state)
        if self.automatic_state_reset and not is_empty(policy_state):
            # Inside a sequence the network resets.
            first = (time_step.step_type[:, 0] if len(outer) == 2 else time_step.step_type) == ActorStepType.FIRST
            policy_state = map_structure(
                lambda leaf, spec: leaf.masked_fill(first.reshape(first.shape + (1,) * len(spec.shape)), 0),
                policy_state,
                self.policy_state_spec,
            )
        return time_step, policy_state

    def _check_made(self) -> None:
        if "_is_made" not in vars(self):
            raise RuntimeError(f"{type(self).__name__} is not complete: call super().__init__() in its __init__")

    def _check_arguments(self, outer: tuple[int, ...], observation: Nest, policy_state: Nest) -> None:
        spec = self.time_step_spec.observation
        found = outer_shape("observation", observation, spec)
        check_dtypes("observation", observation, spec, ValueError)
        if found != outer or len(outer) > 2:
            raise ValueError(
                f"time_step: step_type has shape {outer} and the observation has {found} in front; they must be equal, "
                "(), (batch,) or (batch, time)"
            )
        rows = outer_shape("policy_state", policy_state, self.policy_state_spec)
        if rows != outer[:1] and not is_empty(policy_state):
            raise ValueError(f"policy_state has {rows} in front; with a time step of {outer} expected {outer[:1]}")

    def _check_result(self, step: PolicyStep) -> None:
        check_structure("action", step.action, self.action_spec)
        check_structure("state", step.state, self.policy_state_spec)
        check_structure("info", step.info, self.info_spec)


def _log_probability_spec(_: ArraySpec) -> BoundedArraySpec:
    return BoundedArraySpec((), torch.float32, "log_probability", maximum=0.0)


def _log_probability(spec: ArraySpec, distribution: distributions.Distribution, action: Tensor) -> Tensor:
    result: Tensor = distribution.log_prob(action)
    # The elements of an action that are distributions of their own, as several categories are.
    separate = result.ndim - (action.ndim - len(spec.shape))
    return result.flatten(-separate).sum(-1) if separate else result


def _with_log_probability(info: Nest, log_probability: Nest) -> Nest:
    if isinstance(info, Mapping):
        return {**info, "log_probability": log_probability}
    if is_empty(info) or isinstance(info, PolicyInfo):
        return PolicyInfo(log_probability)
    raise ValueError(f"emit_log_probability: the info must be a dict, a PolicyInfo or (), not {type(info).__name__}")


def _mix(target: Tensor, source: Tensor, fraction: float) -> None:
    if fraction == 1.0 or (fraction > 0.0 and not target.is_floating_point()):
        target.copy_(source)
    elif fraction > 0.0:
        target.mul_(1.0 - fraction).add_(source.to(target), alpha=fraction)


@contextlib.contextmanager
def _mixed_with_global_state(seed: int | None, device: torch.device) -> Iterator[None]:
    if seed is None:
        yield
        return
    mixed = int(torch.randint(2**62, ())) ^ seed
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(mixed)
        yield
