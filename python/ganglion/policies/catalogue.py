"""One small instance of every kind of policy, with random weights, for tests and `ganglion verify --matrix`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gymnasium
import numpy as np
import torch

from ganglion.policies.action_map import ActionMap
from ganglion.policies.deployable import DeployablePolicy
from ganglion.policies.env_spec import EnvSpec
from ganglion.policies.normalizer import ObservationNormalizer
from ganglion.policies.rnn import GRUPolicy, LSTMPolicy, RNNPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

    from ganglion.policies.base import RecurrentPolicy

_SPEC = EnvSpec(
    gymnasium.spaces.Box(-2.0, 2.0, (5,), np.float32),
    gymnasium.spaces.Box(np.array([-2.0, -1.0], np.float32), np.array([3.0, 1.0], np.float32)),
)

_MAKERS: dict[str, Callable[[], RecurrentPolicy]] = {
    "RNNPolicy": lambda: RNNPolicy(_SPEC, 8, 2),
    "GRUPolicy": lambda: GRUPolicy(_SPEC, 8, 2),
    "LSTMPolicy": lambda: LSTMPolicy(_SPEC, 8, 2),
    "DeployablePolicy": lambda: DeployablePolicy(
        LSTMPolicy(_SPEC, 8, 1),
        ObservationNormalizer(torch.linspace(-1, 1, 5), torch.linspace(0.1, 2, 5), clip=5.0),
        ActionMap([2.0, 0.5], [0.1, -0.1], low=[-1.0, -0.4], high=[1.0, 0.4]),
    ),
}


def names() -> tuple[str, ...]:
    """Names of all kinds, those of their classes; a variant of a class has its name and a word behind it."""
    return tuple(_MAKERS)


def example(name: str, seed: int = 0) -> RecurrentPolicy:
    """Returns the example of a kind in eval mode.

    Args:
        name: one of `names()`.
        seed: of its weights; torch's own generator is left as it was.

    Raises:
        KeyError: there is no such kind.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _MAKERS[name]().eval()
