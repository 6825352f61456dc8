"""One step of an actor network as a flat function, as it is exported: observation and state in, modes and state out."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, distributions, nn

from ganglion.contract import ActionStage, StateSlot, TensorSpec
from ganglion.data.env_spec import EnvSpec
from ganglion.policies._modules import reset_parameters
from ganglion.policies._tensors import eval_mode
from ganglion.policies.base import RecurrentPolicy
from ganglion.policies.kept import kept
from ganglion.policies.normalizer import ObservationNormalizer
from ganglion.policies.tf_agents.heads import Bounds, Categorical, CategoricalProjection, Deterministic, SquashToBounds
from ganglion.policies.tf_agents.nests import Nest, check_structure, flatten, map_structure, pack_like
from ganglion.policies.tf_agents.networks import ActorNetwork
from ganglion.policies.tf_agents.specs import (
    ArraySpec,
    BoundedArraySpec,
    check_dtypes,
    contract_spec,
    flat_size,
    outer_shape,
    pack,
    space_of,
    unpack,
    zeros,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    Splitter = Callable[[Nest], tuple[Nest, Tensor]]


@kept()
@dataclass(frozen=True)
class KeySplitter:
    """Cuts an observation, a dict, into what the network gets and the mask of the allowed actions.

    For `observation_and_action_constraint_splitter` of `ActorPolicy`; unlike a function, a checkpoint can name it.

    Attributes:
        observation: key of what the network gets.
        mask: key of the mask.
    """

    observation: str = "observation"
    mask: str = "mask"

    def __call__(self, observation: Any) -> tuple[Nest, Tensor]:
        """Returns the entries of both keys."""
        return observation[self.observation], observation[self.mask]


class ActorStep(RecurrentPolicy):
    """The part of an `ActorPolicy` that knows no time steps; its arguments and errors are described there."""

    def __init__(
        self,
        observation_spec: Nest,
        action_spec: Nest,
        actor_network: ActorNetwork,
        observation_normalizer: ObservationNormalizer | None,
        clip: bool,
        splitter: Splitter | None,
        emit_log_probability: bool,
    ) -> None:
        if not isinstance(actor_network, ActorNetwork):
            raise ValueError(f"ActorPolicy: actor_network must be an ActorNetwork, not {type(actor_network).__name__}")
        if splitter is not None and not (isinstance(action_spec, ArraySpec) and action_spec.is_discrete):
            raise NotImplementedError(
                f"ActorPolicy: action constraints need a single discrete action; the spec is {action_spec}"
            )
        _check_normalizer(observation_normalizer, actor_network)
        super().__init__(EnvSpec(space_of(observation_spec), space_of(action_spec)))
        self.action_spec = action_spec
        self.actor_network = actor_network
        self.observation_normalizer = observation_normalizer
        self.clip = clip
        self.emit_log_probability = emit_log_probability
        self.observation_and_action_constraint_splitter = splitter
        self._clips = nn.ModuleList(
            Bounds(leaf) if self._clips_leaf(leaf) else nn.Identity() for leaf in flatten(action_spec)
        )
        # The parts compute with the tensors of the network, so they live where it lives.
        reference = self._reference()
        self._clips.to(reference.device)
        if observation_normalizer is not None:
            observation_normalizer.to(device=reference.device, dtype=reference.dtype)
        self._mask_spec: ArraySpec | None = None
        self._input_specs, self._output_specs = self._try_network(observation_spec)

    @property
    def state_layout(self) -> tuple[StateSlot, ...]:
        """The slots of the network's state."""
        return tuple(slot for slot, _ in self.actor_network.state_slots)

    @property
    def input_specs(self) -> tuple[TensorSpec, ...]:
        """`obs`, what the network gets, and with a splitter `mask`: above one half where an action is allowed."""
        return self._input_specs

    @property
    def output_specs(self) -> tuple[TensorSpec, ...]:
        """See `ActorPolicy`."""
        return self._output_specs

    @property
    def action_stages(self) -> tuple[ActionStage, ...]:
        """Drawn actions are clipped to the bounds of their specs if `clip` is set."""
        if not self._clips_any:
            return ()
        leaves = flatten(self.action_spec)
        limits = [leaf.limits() if self._clips_leaf(leaf) else ArraySpec.limits(leaf) for leaf in leaves]
        low, high = (tuple(itertools.chain.from_iterable(bounds)) for bounds in zip(*limits, strict=True))
        return (ActionStage(low=low, high=high),)

    def as_command(self, own: Tensor) -> Tensor:
        """See `RecurrentPolicy.as_command`."""
        leaves, specs = flatten(unpack(own, self.action_spec)), flatten(self.action_spec)
        return pack([clip(leaf) for clip, leaf in zip(self._clips, leaves, strict=True)], specs, own)

    def forward(self, obs: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, ...]:
        """Runs one step; see `RecurrentPolicy.forward`."""
        rows, hidden_rows = self._as_batch(obs, hidden)
        mask = None
        if self._mask_spec is not None:
            rows, flags = torch.split(rows, [spec.size for spec in self._input_specs], -1)
            mask = unpack(flags > 0.5, self._mask_spec)
        if self.observation_normalizer is not None:
            rows = self.observation_normalizer(rows)
        observation = unpack(rows, self.actor_network.input_tensor_spec)
        action, state = self.actor_network(observation, None, self._unpack_hidden(hidden_rows), mask)
        outputs = self._outputs(self._as_distributions(action), rows)
        results = (*outputs.values(), self._pack_hidden(state, hidden_rows))
        return self._as_given(obs, results)

    def _split(self, observation: Nest) -> tuple[Nest, Tensor | None]:
        """Cuts an observation into what the network gets and the mask."""
        if self.observation_and_action_constraint_splitter is None:
            return observation, None
        observation, mask = self.observation_and_action_constraint_splitter(observation)
        return observation, mask != 0

    def _as_distributions(self, action: Nest) -> Nest:
        check_structure("output of actor_network", action, self.action_spec)
        return map_structure(
            lambda d, spec: Deterministic(d, len(spec.shape)) if isinstance(d, Tensor) else d, action, self.action_spec
        )

    def _outputs(self, action: Nest, reference: Tensor) -> dict[str, Tensor]:
        """The named outputs that stand for distributions of the actions, each `[batch, size]`."""
        leaves = [d.base_dist if isinstance(d, distributions.Independent) else d for d in flatten(action)]
        modes = [clip(d.mode) for clip, d in zip(self._clips, leaves, strict=True)]
        mode = pack(modes, flatten(self.action_spec), reference)
        if all(isinstance(d, distributions.Normal) for d in leaves):
            stds = pack([d.stddev for d in leaves], flatten(self.action_spec), reference)
            log_std = torch.log(stds)
            # At the mean itself the exponent is zero.
            log_prob = -(log_std + 0.5 * math.log(2.0 * math.pi)).sum(-1, keepdim=True)
            outputs = {"mean": mode, "log_std": log_std, **self._if_asked(log_prob)}
            if self._may_clip_means:
                outputs["unmapped_mean"] = pack([d.mean for d in leaves], flatten(self.action_spec), reference)
            return outputs
        if not all(isinstance(d, (Categorical, distributions.Normal)) for d in leaves):
            return {"actions": mode}
        return {"actions": mode, **self._parts(leaves, reference)}

    def _parts(self, leaves: list[Any], reference: Tensor) -> dict[str, Tensor]:
        """Where some or all actions are categorical: `log_std` of the others, and `logits_k` of each element k."""
        specs = flatten(self.action_spec)
        starts = itertools.accumulate((spec.size for spec in specs[:-1]), initial=0)
        logits = {
            f"logits_{start + number}": one
            for start, d in zip(starts, leaves, strict=True)
            if isinstance(d, Categorical)
            for number, one in enumerate(d.raw_logits.unsqueeze(1).flatten(1, -2).unbind(1))
        }
        normal = [(d, spec) for d, spec in zip(leaves, specs, strict=True) if isinstance(d, distributions.Normal)]
        log_probs = [torch.log_softmax(one, -1).amax(-1, keepdim=True) for one in logits.values()]
        outputs = logits if len(logits) > 1 or normal else {"logits": logits["logits_0"]}
        if normal:
            log_std = torch.log(pack([d.stddev for d, _ in normal], [spec for _, spec in normal], reference))
            log_probs.append(-(log_std + 0.5 * math.log(2.0 * math.pi)))
            outputs = {"log_std": log_std, **outputs}
        outputs |= self._if_asked(torch.cat(log_probs, -1).sum(-1, True))
        if normal and self._may_clip_means:
            outputs["unmapped_mean"] = pack([d.mode for d in leaves], specs, reference)
        return outputs

    def _clips_leaf(self, spec: ArraySpec) -> bool:
        return self.clip and isinstance(spec, BoundedArraySpec)

    @property
    def _clips_any(self) -> bool:
        return any(self._clips_leaf(leaf) for leaf in flatten(self.action_spec))

    @property
    def _may_clip_means(self) -> bool:
        """Whether means can lie outside of the bounds that they are clipped to; squashed ones cannot."""
        projections = getattr(self.actor_network, "projections", ())
        heads = [head for head in projections if not isinstance(head, CategoricalProjection)]
        is_inside = [isinstance(getattr(head, "mean_transform", None), SquashToBounds) for head in heads]
        return self._clips_any and not (is_inside and all(is_inside))

    def _if_asked(self, log_prob: Tensor) -> dict[str, Tensor]:
        return {"log_prob": log_prob} if self.emit_log_probability else {}

    def _unpack_hidden(self, hidden: Tensor) -> Nest:
        spec = self.actor_network.state_spec
        leaves = flatten(spec)
        parts = unpack(hidden, [leaves[at] for at in self._leaf_order()]) if leaves else []
        ordered = dict(zip(self._leaf_order(), parts, strict=True))
        return pack_like(spec, [ordered[at] for at in range(len(leaves))])

    def _pack_hidden(self, state: Nest, hidden: Tensor) -> Tensor:
        leaves, specs = flatten(state), flatten(self.actor_network.state_spec)
        order = self._leaf_order()
        return pack([leaves[at] for at in order], [specs[at] for at in order], hidden) if leaves else hidden

    def _leaf_order(self) -> list[int]:
        return [position for _, positions in self.actor_network.state_slots for position in positions]

    def _draw_param(self) -> None:
        # torch's recurrent layers are drawn by the module around them, as Keras draws them.
        reset_parameters(one for one in self.actor_network.modules() if not isinstance(one, nn.RNNBase))

    @torch.no_grad()
    def _try_network(self, observation_spec: Nest) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        """Runs one step of zeros and returns what goes into and comes out of `forward`.

        Raises:
            ValueError: what goes into or comes out of the network does not fit the specs.
        """
        network, reference = self.actor_network, self._reference()
        observation, mask = self._split(zeros(observation_spec, (1,), reference.device))
        outer_shape("ActorPolicy: observation for actor_network", observation, network.input_tensor_spec)
        inputs = [contract_spec("obs", observation_spec if mask is None else network.input_tensor_spec)]
        if mask is not None:
            self._mask_spec = BoundedArraySpec(tuple(mask.shape[1:]), torch.bool, "mask", 0.0, 1.0)
            inputs.append(contract_spec("mask", self._mask_spec))
        step_type = torch.zeros(1, dtype=torch.int32, device=reference.device)
        with eval_mode(self):
            action, state = network(observation, step_type, zeros(network.state_spec, (1,), reference.device), mask)
        action = self._as_distributions(action)
        example = map_structure(lambda d: d.mode, action)
        outer_shape("ActorPolicy: output of actor_network", example, self.action_spec)
        check_dtypes("ActorPolicy: output of actor_network", example, self.action_spec, ValueError)
        outer_shape("ActorPolicy: state of actor_network", state, network.state_spec)
        (first, _), *others = self._outputs(action, reference).items()
        outputs = [contract_spec(first, self.action_spec, bounded=self.clip)]
        outputs += [TensorSpec(name, value.shape[-1]) for name, value in others]
        return tuple(inputs), tuple(outputs)


def _check_normalizer(normalizer: ObservationNormalizer | None, network: ActorNetwork) -> None:
    if normalizer is None:
        return
    if not isinstance(normalizer, ObservationNormalizer):
        raise TypeError(
            f"ActorPolicy: observation_normalizer must be an ObservationNormalizer, not {type(normalizer).__name__}"
        )
    if normalizer.size != flat_size(network.input_tensor_spec):
        raise ValueError(
            f"ActorPolicy: observation_normalizer has {normalizer.size} elements but the network takes "
            f"{flat_size(network.input_tensor_spec)}"
        )
