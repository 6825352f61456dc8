"""One small instance of every kind of policy, with random weights, for tests and `ganglion verify --matrix`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import torch
from torch import nn

from ganglion.data.env_spec import EnvSpec
from ganglion.policies.action_map import ActionMap
from ganglion.policies.cells.attention import DecoderLayer
from ganglion.policies.cells.cfc import CfC
from ganglion.policies.cells.diagonal import LRU, S5
from ganglion.policies.cells.minimal import MinGRU, MinLSTM
from ganglion.policies.cells.rssm import RSSMPolicy
from ganglion.policies.deployable import DeployablePolicy
from ganglion.policies.garage.gaussian import GaussianGRUPolicy, GaussianLSTMPolicy, GaussianMLPPolicy
from ganglion.policies.layered import LayeredPolicy
from ganglion.policies.normalizer import ObservationNormalizer
from ganglion.policies.pyrado.adn import ADNPolicy, pd_capacity_21, pd_cubic
from ganglion.policies.pyrado.neural_field import NFPolicy
from ganglion.policies.pyrado.rnn import GRUPolicy, LSTMPolicy, RNNPolicy
from ganglion.policies.pyrado.two_headed import TwoHeadedGRUPolicy, TwoHeadedLSTMPolicy, TwoHeadedRNNPolicy
from ganglion.policies.sequential import SequentialPolicy
from ganglion.policies.signals.action_filter import ActionFilter
from ganglion.policies.signals.history import ObservationHistory, ObservationStack, StackTerm
from ganglion.policies.skrl.models import (
    GaussianCNNModel,
    GaussianGRUModel,
    GaussianLSTMModel,
    GaussianMLPModel,
    GaussianRNNModel,
)
from ganglion.policies.skrl.policy import SkrlPolicy
from ganglion.policies.tf_agents.actor import ActorPolicy
from ganglion.policies.tf_agents.networks import (
    ActorDistributionNetwork,
    ActorDistributionRnnNetwork,
    ActorRnnNetwork,
)
from ganglion.policies.tf_agents.specs import ArraySpec, BoundedArraySpec, time_step_spec
from ganglion.policies.tf_agents.step import KeySplitter
from ganglion.policies.wrapped.policy import WrappedPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

    from ganglion.policies.base import RecurrentPolicy
    from ganglion.policies.cores import Core


class _Sizes:
    """Spaces and specs, every width `k` times that of the smallest example."""

    def __init__(self, k: int) -> None:
        self.k = k
        box = gymnasium.spaces.Box
        self.spec = EnvSpec(
            box(-2.0, 2.0, (5 * k,), np.float32),
            box(np.array([-2.0, -1.0] * k, np.float32), np.array([3.0, 1.0] * k, np.float32)),
        )
        self.spaces: dict[str, Any] = {
            "observation_space": self.spec.observation_space,
            "action_space": self.spec.action_space,
        }
        self.array = ArraySpec((5 * k,))
        self.action = BoundedArraySpec((2 * k,), torch.float32, "act", [-2.0, -1.0] * k, [3.0, 1.0] * k)
        self.category = BoundedArraySpec((), torch.int32, "act", 0, 4 * k - 1)
        self.masked = {
            "obs": BoundedArraySpec((5 * k,), torch.float32, "obs", -2.0, 2.0),
            "mask": BoundedArraySpec((4 * k,), torch.bool, "mask", 0, 1),
        }


def _around(sizes: _Sizes, *cores: Core) -> SequentialPolicy:
    encoder = nn.Sequential(nn.Linear(5 * sizes.k, cores[0].input_size), nn.ELU())
    return SequentialPolicy([encoder, *cores, nn.Linear(cores[-1].output_size, 2 * sizes.k)], sizes.spec)


_MAKERS: dict[str, Callable[[_Sizes, int], RecurrentPolicy]] = {
    "RNNPolicy": lambda s, k: RNNPolicy(s.spec, 8 * k, 2),
    "GRUPolicy": lambda s, k: GRUPolicy(s.spec, 8 * k, 2),
    "LSTMPolicy": lambda s, k: LSTMPolicy(s.spec, 8 * k, 2),
    "LayeredPolicy": lambda s, k: LayeredPolicy(
        s.spec,
        nn.Sequential(nn.Linear(8 * k, 6 * k), nn.SiLU(), nn.Linear(6 * k, 2 * k)),
        nn.GRU(7 * k, 8 * k, 2),
        nn.Sequential(nn.Linear(5 * k, 7 * k), nn.LayerNorm(7 * k), nn.ELU()),
    ),
    "TwoHeadedRNNPolicy": lambda s, k: TwoHeadedRNNPolicy(s.spec, 8 * k, 2),
    "TwoHeadedGRUPolicy": lambda s, k: TwoHeadedGRUPolicy(s.spec, 8 * k, 1, head_1_size=3, head_2_size=1),
    "TwoHeadedLSTMPolicy": lambda s, k: TwoHeadedLSTMPolicy(s.spec, 8 * k, 2),
    "ADNPolicy cubic": lambda s, _: ADNPolicy(s.spec, torch.tanh, pd_cubic, potential_init_learnable=True),
    "ADNPolicy capacity": lambda s, _: ADNPolicy(s.spec, torch.sigmoid, pd_capacity_21),
    "NFPolicy": lambda s, k: NFPolicy(s.spec, 9 * k, kappa_init=0.1),
    "NFPolicy reflect": lambda s, k: NFPolicy(
        s.spec,
        8 * k,
        mirrored_conv_weights=False,
        conv_out_channels=2,
        conv_kernel_size=5,
        conv_padding_mode="reflect",
        kappa_init=0.1,
    ),
    "GaussianLSTMPolicy": lambda s, k: GaussianLSTMPolicy(
        s.spec,
        hidden_dim=8 * k,
        std_share_network=True,
        hidden_state_init=nn.init.normal_,
        hidden_state_init_trainable=True,
    ),
    "GaussianGRUPolicy": lambda s, k: GaussianGRUPolicy(s.spec, hidden_dim=8 * k),
    "GaussianMLPPolicy": lambda s, k: GaussianMLPPolicy(s.spec, hidden_sizes=(8 * k, 8 * k)),
    "ActorPolicy": lambda s, k: ActorPolicy(
        time_step_spec(s.array),
        s.action,
        ActorDistributionRnnNetwork(s.array, s.action, (7 * k,), output_fc_layer_params=(6 * k,), lstm_size=(8 * k,)),
    ),
    "ActorPolicy deterministic": lambda s, k: ActorPolicy(
        time_step_spec(s.array),
        s.action,
        ActorRnnNetwork(s.array, s.action, (7 * k,), output_fc_layer_params=(6 * k,), lstm_size=(8 * k, 6 * k)),
    ),
    "ActorPolicy masked": lambda s, k: ActorPolicy(
        time_step_spec(s.masked),
        s.category,
        ActorDistributionNetwork(s.array, s.category, (9 * k,)),
        observation_and_action_constraint_splitter=KeySplitter("obs", "mask"),
    ),
    "SkrlPolicy MLP": lambda s, k: SkrlPolicy(
        GaussianMLPModel(**s.spaces, hidden_sizes=(9 * k, 7 * k), clip_mean_actions=True)
    ),
    "SkrlPolicy CNN": lambda s, k: SkrlPolicy(
        GaussianCNNModel(
            observation_space=gymnasium.spaces.Box(0.0, 1.0, (6, 5, 2)),
            action_space=s.spec.action_space,
            convolutions=((3 * k, 3, 2), (4 * k, 2, 1)),
            num_features=6 * k,
        )
    ),
    "SkrlPolicy RNN": lambda s, k: SkrlPolicy(GaussianRNNModel(**s.spaces, hidden_size=8 * k, num_layers=2)),
    "SkrlPolicy GRU": lambda s, k: SkrlPolicy(GaussianGRUModel(**s.spaces, hidden_size=8 * k)),
    "SkrlPolicy LSTM": lambda s, k: SkrlPolicy(GaussianLSTMModel(**s.spaces, hidden_size=8 * k)),
    "DeployablePolicy": lambda s, k: DeployablePolicy(
        LSTMPolicy(s.spec, 8 * k, 1),
        ObservationNormalizer(torch.linspace(-1, 1, 5 * k), torch.linspace(0.1, 2, 5 * k), clip=5.0),
        ActionMap([2.0, 0.5] * k, [0.1, -0.1] * k, low=[-1.0, -0.4] * k, high=[1.0, 0.4] * k),
    ),
    "SequentialPolicy": lambda s, k: SequentialPolicy(
        [
            ObservationStack([StackTerm("gyro", 2 * k, 4, 2), StackTerm("joints", 2 * k, 3), StackTerm("command", k)]),
            nn.Sequential(nn.Linear(15 * k, 9 * k), nn.Tanh(), nn.Linear(9 * k, 2 * k)),
            ActionFilter(2 * k, period_s=0.02, butterworth_hz=6.0, rate_limit_per_s=[20.0, 5.0] * k, delay_steps=1),
        ],
        s.spec,
    ),
    "SequentialPolicy policy": lambda s, k: SequentialPolicy(
        [
            ObservationHistory(
                {"a": 3 * k, "b": 2 * k}, 3, order="newest_first", layout="frame_major", prefill="zeros"
            ),
            GRUPolicy(EnvSpec(gymnasium.spaces.Box(-2.0, 2.0, (15 * k,)), s.spec.action_space), 8 * k, 1),
            ActionFilter(2 * k, period_s=0.02, low_pass_hz=6.0, start=[0.5, -0.5] * k),
        ]
    ),
    "SequentialPolicy MinGRU": lambda s, k: _around(s, MinGRU(7 * k, 8 * k)),
    "SequentialPolicy MinLSTM": lambda s, k: _around(s, MinLSTM(7 * k, 8 * k)),
    "SequentialPolicy LRU": lambda s, k: _around(s, LRU(7 * k, 6 * k)),
    "SequentialPolicy S5": lambda s, k: _around(s, S5(7 * k, 6 * k)),
    "SequentialPolicy CfC": lambda s, k: _around(s, CfC(7 * k, 8 * k, backbone_units=9 * k)),
    "SequentialPolicy decoder": lambda s, k: _around(s, DecoderLayer(8 * k, 2, 4)),
    "SequentialPolicy gated decoders": lambda s, k: _around(
        s, DecoderLayer(6 * k, 3, 5, gated=True), DecoderLayer(6 * k, 1, 2, 7 * k, gated=True)
    ),
    "RSSMPolicy": lambda s, k: RSSMPolicy(
        s.spec, nn.Sequential(nn.Linear(5 * k, 7 * k), nn.ELU()), nn.Linear(20 * k, 2 * k), 8 * k, 4 * k, 3
    ),
    "RSSMPolicy sample": lambda s, k: RSSMPolicy(
        s.spec, nn.Linear(5 * k, 7 * k), nn.Linear(20 * k, 2 * k), 8 * k, 3 * k, 4, latent="sample"
    ),
    "WrappedPolicy": lambda _, k: WrappedPolicy(
        nn.Sequential(nn.Linear(5 * k, 9 * k), nn.Tanh(), nn.Linear(9 * k, 2 * k)), 5 * k
    ),
    "WrappedPolicy LSTM": lambda _, k: WrappedPolicy(nn.LSTM(5 * k, 2 * k), 5 * k),
}


def names() -> tuple[str, ...]:
    """Names of all kinds, those of their classes; a variant of a class has its name and a word behind it."""
    return tuple(_MAKERS)


def example(name: str, seed: int = 0, *, scale: int = 1) -> RecurrentPolicy:
    """Returns the example of a kind in eval mode.

    Args:
        name: one of `names()`.
        seed: of its weights; torch's own generator is left as it was.
        scale: every width is so many times that of the smallest example: observation, action, layers.

    Raises:
        KeyError: there is no such kind.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _MAKERS[name](_Sizes(scale), scale).eval()
