"""The agent that draws actions around what a policy says."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor, nn
from torch.distributions import Normal

from ganglion.contract import distribution_of
from ganglion.policies import ActionMap, DeployablePolicy, ObservationNormalizer, RecurrentPolicy
from ganglion.training._memory import Memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ganglion.data import EnvSpec


class GaussianAgent(nn.Module):
    """Draws from a Gaussian around the action of a recurrent policy.

    It draws before the action map, so what is deployed is what was trained:
    `command = action_map(mean + std * noise)`. A policy that looks at its previous action sees what was drawn.

    A policy with a distribution of its own (outputs `mean` and `log_std`) is drawn from as it says; its standard
    deviation is trained and exported with it. Any other policy gets a trained one per element, which is left behind.

    Args:
        policy: the mean. A `DeployablePolicy` is taken as it is, any other policy gets a normaliser with running
            statistics before it, and, if it does not map its actions itself, behind it a map from [-1, 1] to the bounds
            of the action space, with clipping (of an action space without bounds: clipping only).
        init_std: standard deviation at the start, in units of what the policy gives before the action map; None for
            0.5, or for that of the policy.

    Attributes:
        deployed_policy: the policy with normaliser and action map: observations to commands.
        log_std: `[action_size]`, that of the policy where it has such a vector; None where it computes it.

    Raises:
        TypeError: `policy` is no `RecurrentPolicy`.
        ValueError: a space is no `Box` of numbers, a size or `init_std` does not fit, or `init_std` is given for a
            policy with a standard deviation of its own.
    """

    log_std: nn.Parameter | None

    def __init__(self, policy: RecurrentPolicy, init_std: float | None = None) -> None:
        super().__init__()
        if not isinstance(policy, RecurrentPolicy):
            raise TypeError(f"GaussianAgent: policy must be a RecurrentPolicy, not {type(policy).__name__}")
        if init_std is not None and not (math.isfinite(init_std) and init_std > 0.0):
            raise ValueError(f"GaussianAgent: init_std must be positive, not {init_std}")
        _check_spaces(policy)
        self.deployed_policy = policy if isinstance(policy, DeployablePolicy) else _deployable(policy)
        names = [spec.name for spec in self.mean_policy.output_specs]
        self._mean = names.index("unmapped_mean") if "unmapped_mean" in names else 0
        self._has_own = distribution_of(self.mean_policy.output_specs) == "gaussian"
        if not self._has_own:
            size = policy.env_spec.action_size
            std = 0.5 if init_std is None else init_std
            self.log_std = nn.Parameter(policy.init_hidden().new_full((size,), math.log(std)))
        elif init_std is not None:
            raise ValueError(
                f"GaussianAgent: {type(self.mean_policy).__name__} has a standard deviation of its own; set init_std "
                "there"
            )
        else:
            own = getattr(self.mean_policy, "log_std", None)
            self.register_parameter("log_std", own if isinstance(own, nn.Parameter) else None)
        self._memory = Memory("GaussianAgent")
        # What acts, what learns and what is exported is one function: nothing is dropped at random.
        self.eval()

    @property
    def env_spec(self) -> EnvSpec:
        """Spaces of the environment that the agent acts in."""
        return self.deployed_policy.env_spec

    @property
    def mean_policy(self) -> RecurrentPolicy:
        """The policy between normaliser and action map."""
        return self.deployed_policy.policy

    def normalize(self, observations: Tensor) -> Tensor:
        """Returns what `mean_policy` sees of observations `[..., observation_size]`."""
        normalizer = self.deployed_policy.observation_normalizer
        return observations if normalizer is None else normalizer(observations)

    def parameters_of(self, outputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Returns mean `[..., action_size]` and log standard deviation (or one for all) of outputs of `mean_policy`."""
        if self._has_own:
            return outputs[self._mean], outputs[1]
        assert self.log_std is not None
        return outputs[0], self.log_std

    def log_prob(self, samples: Tensor, means: Tensor, log_stds: Tensor | None = None) -> Tensor:
        """Returns the logarithms `[...]` of the densities of samples around means, `[..., action_size]` each.

        `log_stds` are those of `parameters_of`; None for `log_std`.
        """
        density: Tensor = self._distribution(means, log_stds).log_prob(samples)  # type: ignore[no-untyped-call]
        return density.sum(-1)

    def entropy(self, log_stds: Tensor | None = None) -> Tensor:
        """Returns the entropy of the noise, one number: the mean over all that `log_stds` says; None for `log_std`."""
        stds = self.log_std if log_stds is None else log_stds
        assert stds is not None
        entropy: Tensor = self._distribution(torch.zeros_like(stds), stds).entropy()  # type: ignore[no-untyped-call]
        return entropy.sum(-1).mean()

    def reset(self, rows: NDArray[np.bool_]) -> None:
        """Puts the flagged rows `[environments]` back to the initial hidden state."""
        self._memory.reset(self.mean_policy, rows)

    @torch.no_grad()
    def get_actions(
        self, observations: NDArray[Any], deterministic: bool = False
    ) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
        """Draws one action per environment.

        Args:
            observations: `[environments, ...]`.
            deterministic: give the mean instead, which is the action of `deployed_policy`.

        Returns:
            Commands `[environments, ...]`, and `hidden_states` (those that this step was fed), `samples` (what was
            drawn, before the action map) and `log_prob` (of the samples).

        Raises:
            RuntimeError: there was no `reset`, or one with another number of environments.
        """
        count = len(observations)
        hidden = self._memory.recall(count)
        flat = torch.from_numpy(np.ascontiguousarray(observations).reshape(count, -1)).to(hidden)
        *outputs, after = self.mean_policy(self.normalize(flat), hidden)
        means, log_stds = self.parameters_of(outputs)
        if deterministic:
            samples, commands = means, outputs[0]
        else:
            samples = means + log_stds.exp() * torch.randn_like(means)
            commands = self.mean_policy.as_command(samples) if self._has_own else samples
            after = self._remembered(after, samples)
        self._memory.keep(after)
        action_map = self.deployed_policy.action_map
        if action_map is not None:
            commands = action_map(commands)
        space = self.env_spec.action_space
        actions = commands.cpu().numpy().astype(space.dtype, copy=False).reshape(count, *(space.shape or ()))
        infos = {"hidden_states": hidden, "samples": samples, "log_prob": self.log_prob(samples, means, log_stds)}
        return actions, {name: value.cpu().numpy() for name, value in infos.items()}

    def _remembered(self, hidden: Tensor, samples: Tensor) -> Tensor:
        # Its own distribution is that of what `prev_action` holds; noise around an action that is mapped inside is not.
        policy = self.mean_policy
        return (policy.with_previous_action if self._has_own else policy.with_applied_action)(hidden, samples)

    def _distribution(self, means: Tensor, log_stds: Tensor | None) -> Normal:
        stds = self.log_std if log_stds is None else log_stds
        assert stds is not None
        # Checking every argument would cost more than the rest.
        return Normal(means, stds.exp(), validate_args=False)


def _check_spaces(policy: RecurrentPolicy) -> None:
    spec = policy.env_spec
    for name, space in (("observation_space", spec.observation_space), ("action_space", spec.action_space)):
        # Scores of a Discrete space would need another distribution, whole numbers a rounding that is not trained.
        kinds = "f" if name == "action_space" else "fiu"
        if not isinstance(space, Box) or np.dtype(space.dtype).kind not in kinds:
            raise ValueError(
                f"GaussianAgent: {name} must be a Box of {'floats' if kinds == 'f' else 'numbers'}, not {space}"
            )
    for label, found, expected in (
        ("action", policy.output_specs[0].size, spec.action_size),
        ("observation", sum(one.size for one in policy.input_specs), spec.observation_size),
    ):
        if found != expected:
            raise ValueError(
                f"GaussianAgent: {type(policy).__name__} has {found} elements of {label}, its environment {expected}"
            )


def _deployable(policy: RecurrentPolicy) -> DeployablePolicy:
    space = policy.env_spec.action_space
    assert isinstance(space, Box)
    action_map: ActionMap | None
    if policy.action_stages:
        action_map = None
    elif space.is_bounded():
        action_map = ActionMap.from_space(space, squash=False)
    else:
        low, high = (torch.from_numpy(np.array(bound, np.float64).reshape(-1)) for bound in (space.low, space.high))
        action_map = ActionMap(torch.ones(policy.env_spec.action_size), None, low, high)
    normalizer = ObservationNormalizer.empty(policy.env_spec.observation_size, clip=10.0)
    return DeployablePolicy(policy, normalizer, action_map)
