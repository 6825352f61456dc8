"""A policy together with everything that stands between it and the robot."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from ganglion.contract import TensorSpec, distribution_of, drawn_parts
from ganglion.policies.action_map import ActionMap
from ganglion.policies.base import RecurrentPolicy
from ganglion.policies.kept import kept
from ganglion.policies.normalizer import ObservationNormalizer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn
    from torch.nn.utils.rnn import PackedSequence

    from ganglion.contract import ActionStage, StateSlot


@kept()
class DeployablePolicy(RecurrentPolicy):
    """Puts an observation normaliser before, and an action map behind, any recurrent policy.

    The whole is a recurrent policy again, takes raw observations and returns commands, and is exported as one function.
    Only the first output (the action) is mapped; further outputs and the hidden state pass through. So a state slot
    `prev_action` holds what the policy inside gave or drew, as in its training.

    Actions of a distribution are drawn inside and mapped then. For that there is a further output, `unmapped_mean`,
    where the policy inside has `mean` and `log_std`.

    Args:
        policy: the policy inside.
        observation_normalizer: applied to the observation, or None.
        action_map: applied to the action, or None.

    Raises:
        TypeError: an argument is not of the class it should be.
        ValueError: the sizes of the parts do not fit.
    """

    def __init__(
        self,
        policy: RecurrentPolicy,
        observation_normalizer: ObservationNormalizer | None = None,
        action_map: ActionMap | None = None,
    ) -> None:
        if not isinstance(policy, RecurrentPolicy):
            raise TypeError(f"DeployablePolicy: policy must be a RecurrentPolicy, not {type(policy).__name__}")
        _check_part("observation_normalizer", observation_normalizer, ObservationNormalizer, policy.input_specs)
        _check_part("action_map", action_map, ActionMap, policy.output_specs[:1])
        super().__init__(policy.env_spec)
        self.policy = policy
        self.observation_normalizer = observation_normalizer
        self.action_map = action_map
        specs = policy.output_specs
        is_there = any(spec.name == "unmapped_mean" for spec in specs)
        # What a mean is mapped to is no centre to draw around.
        self._adds_unmapped_mean = action_map is not None and _is_normal(specs) and not is_there
        # The parts compute with the tensors of the policy, so they live where it lives.
        reference = policy._reference()
        for part in (observation_normalizer, action_map):
            if part is not None:
                part.to(device=reference.device, dtype=reference.dtype)

    @property
    def period_s(self) -> float | None:
        """That of the policy inside."""
        return self.policy.period_s

    @property
    def state_layout(self) -> tuple[StateSlot, ...]:
        """The slots of the policy inside."""
        return self.policy.state_layout

    @property
    def input_specs(self) -> tuple[TensorSpec, ...]:
        """The inputs of the policy inside; bounds are those before normalisation."""
        return self.policy.input_specs

    @property
    def output_specs(self) -> tuple[TensorSpec, ...]:
        """The outputs of the policy inside; those of a distribution with the bounds of the map, and `unmapped_mean`."""
        first, *others = self.policy.output_specs
        if self.action_map is None or distribution_of((first, *others)) is None:
            return (first, *others)
        if self._adds_unmapped_mean:
            others.append(TensorSpec("unmapped_mean", first.size, first.element_names))
        low, high = self.action_map.bounds()
        return (dataclasses.replace(first, low=low, high=high) if low or high else first, *others)

    @property
    def action_stages(self) -> tuple[ActionStage, ...]:
        """Those of the policy inside, then the action map."""
        return self.policy.action_stages + (() if self.action_map is None else (self.action_map.stage(),))

    def init_hidden(self, batch_size: int | None = None) -> Tensor:
        """Returns the initial state of the policy inside."""
        return self.policy.init_hidden(batch_size)

    def init_param(self, init_values: Tensor | None = None, **kwargs: Any) -> None:
        """Sets the parameters of the policy inside; normaliser and action map stay as they are."""
        self.policy.init_param(init_values, **kwargs)

    def forward(self, obs: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, ...]:
        """Runs one step from raw observation to command; see `RecurrentPolicy.forward`."""
        *outputs, new_hidden = self.policy(self._normalize(obs), hidden)
        return (*self._mapped(outputs), new_hidden)

    def as_command(self, own: Tensor) -> Tensor:
        """See `RecurrentPolicy.as_command`."""
        return self._map(self.policy.as_command(own))

    def with_applied_action(self, hidden: Tensor, action: Tensor) -> Tensor:
        """See `RecurrentPolicy.with_applied_action`; an action that was clipped is known again."""
        place = self.previous_action
        if self.action_map is not None and place is not None:
            action = self.action_map.inverse(action, self.policy.as_command(hidden[..., place]))
        return self.policy.with_applied_action(hidden, action)

    def _evaluate_packed(
        self, packed: PackedSequence, hidden: Tensor, previous: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        normalized = packed._replace(data=self._normalize(packed.data))
        return self._mapped(self.policy._evaluate_packed(normalized, hidden, previous))

    def _mapped(self, outputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        action, *others = outputs
        return (self._map(action), *others, *((action,) if self._adds_unmapped_mean else ()))

    def _normalize(self, obs: Tensor) -> Tensor:
        return obs if self.observation_normalizer is None else self.observation_normalizer(obs)

    def _map(self, action: Tensor) -> Tensor:
        return action if self.action_map is None else self.action_map(action)


def _is_normal(specs: Sequence[TensorSpec]) -> bool:
    """Whether actions, or elements of them, are drawn around a mean."""
    return distribution_of(specs) == "gaussian" or any(part.is_normal for part in drawn_parts(specs))


def _check_part(
    label: str, part: nn.Module | None, kind: type[ObservationNormalizer | ActionMap], specs: tuple[TensorSpec, ...]
) -> None:
    if part is None:
        return
    if not isinstance(part, kind):
        raise TypeError(f"DeployablePolicy: {label} must be of class {kind.__name__}, not {type(part).__name__}")
    size = sum(spec.size for spec in specs)
    if part.size != size:
        raise ValueError(f"DeployablePolicy: {label} has {part.size} elements but the policy has {size}")
