"""One small instance of every kind of policy, with random weights, for tests and `ganglion verify --matrix`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gymnasium
import numpy as np
import torch
from torch import nn

from ganglion.policies.action_map import ActionMap
from ganglion.policies.adn import ADNPolicy, pd_capacity_21, pd_cubic
from ganglion.policies.deployable import DeployablePolicy
from ganglion.policies.env_spec import EnvSpec
from ganglion.policies.gaussian import GaussianGRUPolicy, GaussianLSTMPolicy, GaussianMLPPolicy
from ganglion.policies.neural_field import NFPolicy
from ganglion.policies.normalizer import ObservationNormalizer
from ganglion.policies.rnn import GRUPolicy, LSTMPolicy, RNNPolicy
from ganglion.policies.two_headed import TwoHeadedGRUPolicy, TwoHeadedLSTMPolicy, TwoHeadedRNNPolicy

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
    "TwoHeadedRNNPolicy": lambda: TwoHeadedRNNPolicy(_SPEC, 8, 2),
    "TwoHeadedGRUPolicy": lambda: TwoHeadedGRUPolicy(_SPEC, 8, 1, head_1_size=3, head_2_size=1),
    "TwoHeadedLSTMPolicy": lambda: TwoHeadedLSTMPolicy(_SPEC, 8, 2),
    "ADNPolicy cubic": lambda: ADNPolicy(_SPEC, torch.tanh, pd_cubic, potential_init_learnable=True),
    "ADNPolicy capacity": lambda: ADNPolicy(_SPEC, torch.sigmoid, pd_capacity_21),
    "NFPolicy": lambda: NFPolicy(_SPEC, 9, kappa_init=0.1),
    "NFPolicy reflect": lambda: NFPolicy(
        _SPEC,
        8,
        mirrored_conv_weights=False,
        conv_out_channels=2,
        conv_kernel_size=5,
        conv_padding_mode="reflect",
        kappa_init=0.1,
    ),
    "GaussianLSTMPolicy": lambda: GaussianLSTMPolicy(
        _SPEC, hidden_dim=8, std_share_network=True, hidden_state_init=nn.init.normal_, hidden_state_init_trainable=True
    ),
    "GaussianGRUPolicy": lambda: GaussianGRUPolicy(_SPEC, hidden_dim=8),
    "GaussianMLPPolicy": lambda: GaussianMLPPolicy(_SPEC, hidden_sizes=(8, 8)),
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
