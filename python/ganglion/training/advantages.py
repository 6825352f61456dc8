"""Advantage estimation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def generalized_advantages(
    rewards: NDArray[np.float64],
    values: NDArray[np.float64],
    last_values: NDArray[np.float64],
    lengths: NDArray[np.int64],
    discount: float,
    gae_lambda: float,
) -> NDArray[np.float64]:
    """Computes `A_t = delta_t + discount gae_lambda A_(t+1)` with `delta_t = r_t + discount V(s_(t+1)) - V(s_t)`.

    Schulman et al. 2016, "High-dimensional continuous control using generalized advantage estimation", eq. 16.

    Args:
        rewards: `[N]` rewards of all episodes behind each other.
        values: `[N]` values of the observations before the actions.
        last_values: `[E]` value of what follows the last step of each episode: 0 where the environment ended it, that
            of the last observation where only its time ran out.
        lengths: `[E]` numbers of steps; their sum is N.
        discount: factor by which a reward counts less for every step that it is later.
        gae_lambda: 0 for the one-step error of the values, 1 for the discounted rewards without a model of values.

    Returns:
        `[N]` advantages; with `values` added, the targets of the value function.
    """
    ends = np.cumsum(lengths)
    following = np.append(values[1:], 0.0)
    following[ends - 1] = last_values
    advantages = rewards + discount * following - values
    # All episodes at once, aligned at their ends.
    for distance in range(2, int(lengths.max()) + 1):
        steps = ends[lengths >= distance] - distance
        advantages[steps] += discount * gae_lambda * advantages[steps + 1]
    return advantages
