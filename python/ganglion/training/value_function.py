"""What an observation and all before it are worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor, nn

from ganglion.data import EnvSpec
from ganglion.policies import ObservationNormalizer, RecurrentPolicy
from ganglion.training._sequences import run_along

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ganglion.data import EpisodeBatch


def value_spec(spec: EnvSpec) -> EnvSpec:
    """Returns the spec for the network of a value function: the same observations, one number instead of an action."""
    return EnvSpec(
        spec.observation_space,
        Box(-np.inf, np.inf, (1,), np.float32),
        spec.max_episode_length,
        observation_names=spec.observation_names,
    )


class ValueFunction(nn.Module):
    """A network, recurrent or not, between running normalisers of observations and of values.

    Args:
        network: a policy with one output element, see `value_spec`.

    Raises:
        TypeError: `network` is no `RecurrentPolicy`.
        ValueError: it has another number of output elements.
    """

    def __init__(self, network: RecurrentPolicy) -> None:
        super().__init__()
        if not isinstance(network, RecurrentPolicy):
            raise TypeError(f"ValueFunction: network must be a RecurrentPolicy, not {type(network).__name__}")
        if network.output_specs[0].size != 1:
            raise ValueError(
                f"ValueFunction: {type(network).__name__} has {network.output_specs[0].size} output elements, expected "
                "1; make it with value_spec(env_spec)"
            )
        self.network = network
        self.observation_normalizer = ObservationNormalizer.empty(network.env_spec.observation_size, clip=10.0)
        self.value_normalizer = ObservationNormalizer.empty(1)
        self.to(network.init_hidden())
        self.eval()

    def along(self, episodes: EpisodeBatch) -> tuple[NDArray[np.float64], NDArray[np.float64], Tensor]:
        """Values whole episodes.

        Returns:
            `[N]` values of the observations, `[E]` values of the last observations, and `[N, hidden_size]` the hidden
            states that the network was fed with the observations.
        """
        # The observation behind the last action is one more step of each episode.
        ends = np.cumsum(episodes.lengths)
        last = episodes.last_observations.reshape(len(ends), -1)
        observations = torch.from_numpy(np.insert(episodes.flat_observations, ends, last, axis=0))
        inputs = self.observation_normalizer(observations)
        outputs, hidden_states = run_along(self.network, inputs, episodes.lengths.astype(np.int64) + 1)
        values = self.denormalize(outputs[:, 0]).double().cpu().numpy()
        is_last = np.zeros(len(values), np.bool_)
        is_last[ends + np.arange(len(ends))] = True
        return values[~is_last], values[is_last], hidden_states[torch.from_numpy(~is_last)]

    def normalize(self, values: Tensor) -> Tensor:
        """Returns values `[n]` in the units that the network gives."""
        normalized: Tensor = self.value_normalizer(values.unsqueeze(-1))
        return normalized.squeeze(-1)

    def denormalize(self, outputs: Tensor) -> Tensor:
        """Undoes `normalize`."""
        normalizer = self.value_normalizer
        return outputs * torch.sqrt(normalizer.variance + normalizer.epsilon) + normalizer.mean

    def update_statistics(self, observations: Tensor, values: Tensor) -> None:
        """Adds observations `[n, observation_size]` and values `[n]` to the running statistics."""
        self.observation_normalizer.update(observations)
        self.value_normalizer.update(values.unsqueeze(-1))
