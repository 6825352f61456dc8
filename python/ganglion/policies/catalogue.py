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
    from ganglion.policies.tf_agents.networks import ActorNetwork

_SPEC = EnvSpec(
    gymnasium.spaces.Box(-2.0, 2.0, (5,), np.float32),
    gymnasium.spaces.Box(np.array([-2.0, -1.0], np.float32), np.array([3.0, 1.0], np.float32)),
)

_SPACES: dict[str, Any] = {"observation_space": _SPEC.observation_space, "action_space": _SPEC.action_space}
_ARRAY = ArraySpec((5,))
_ACTION = BoundedArraySpec((2,), torch.float32, "act", [-2.0, -1.0], [3.0, 1.0])
_CATEGORY = BoundedArraySpec((), torch.int32, "act", 0, 3)
_MASKED = {
    "obs": BoundedArraySpec((5,), torch.float32, "obs", -2.0, 2.0),
    "mask": BoundedArraySpec((4,), torch.bool, "mask", 0, 1),
}


def _actor(network: ActorNetwork) -> ActorPolicy:
    return ActorPolicy(time_step_spec(_ARRAY), _ACTION, network)


def _around(*cores: Core) -> SequentialPolicy:
    encoder, head = nn.Sequential(nn.Linear(5, cores[0].input_size), nn.ELU()), nn.Linear(cores[-1].output_size, 2)
    return SequentialPolicy([encoder, *cores, head], _SPEC)


_MAKERS: dict[str, Callable[[], RecurrentPolicy]] = {
    "RNNPolicy": lambda: RNNPolicy(_SPEC, 8, 2),
    "GRUPolicy": lambda: GRUPolicy(_SPEC, 8, 2),
    "LSTMPolicy": lambda: LSTMPolicy(_SPEC, 8, 2),
    "LayeredPolicy": lambda: LayeredPolicy(
        _SPEC,
        nn.Sequential(nn.Linear(8, 6), nn.SiLU(), nn.Linear(6, 2)),
        nn.GRU(7, 8, 2),
        nn.Sequential(nn.Linear(5, 7), nn.LayerNorm(7), nn.ELU()),
    ),
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
    "ActorPolicy": lambda: _actor(
        ActorDistributionRnnNetwork(_ARRAY, _ACTION, (7,), output_fc_layer_params=(6,), lstm_size=(8,))
    ),
    "ActorPolicy deterministic": lambda: _actor(
        ActorRnnNetwork(_ARRAY, _ACTION, (7,), output_fc_layer_params=(6,), lstm_size=(8, 6))
    ),
    "ActorPolicy masked": lambda: ActorPolicy(
        time_step_spec(_MASKED),
        _CATEGORY,
        ActorDistributionNetwork(_ARRAY, _CATEGORY, (9,)),
        observation_and_action_constraint_splitter=KeySplitter("obs", "mask"),
    ),
    "SkrlPolicy MLP": lambda: SkrlPolicy(GaussianMLPModel(**_SPACES, hidden_sizes=(9, 7), clip_mean_actions=True)),
    "SkrlPolicy CNN": lambda: SkrlPolicy(
        GaussianCNNModel(
            observation_space=gymnasium.spaces.Box(0.0, 1.0, (6, 5, 2)),
            action_space=_SPEC.action_space,
            convolutions=((3, 3, 2), (4, 2, 1)),
            num_features=6,
        )
    ),
    "SkrlPolicy RNN": lambda: SkrlPolicy(GaussianRNNModel(**_SPACES, hidden_size=8, num_layers=2)),
    "SkrlPolicy GRU": lambda: SkrlPolicy(GaussianGRUModel(**_SPACES, hidden_size=8)),
    "SkrlPolicy LSTM": lambda: SkrlPolicy(GaussianLSTMModel(**_SPACES, hidden_size=8)),
    "DeployablePolicy": lambda: DeployablePolicy(
        LSTMPolicy(_SPEC, 8, 1),
        ObservationNormalizer(torch.linspace(-1, 1, 5), torch.linspace(0.1, 2, 5), clip=5.0),
        ActionMap([2.0, 0.5], [0.1, -0.1], low=[-1.0, -0.4], high=[1.0, 0.4]),
    ),
    "SequentialPolicy": lambda: SequentialPolicy(
        [
            ObservationStack([StackTerm("gyro", 2, 4, 2), StackTerm("joints", 2, 3), StackTerm("command", 1)]),
            nn.Sequential(nn.Linear(15, 9), nn.Tanh(), nn.Linear(9, 2)),
            ActionFilter(2, period_s=0.02, butterworth_hz=6.0, rate_limit_per_s=[20.0, 5.0], delay_steps=1),
        ],
        _SPEC,
    ),
    "SequentialPolicy policy": lambda: SequentialPolicy(
        [
            ObservationHistory({"a": 3, "b": 2}, 3, order="newest_first", layout="frame_major", prefill="zeros"),
            GRUPolicy(EnvSpec(gymnasium.spaces.Box(-2.0, 2.0, (15,)), _SPEC.action_space), 8, 1),
            ActionFilter(2, period_s=0.02, low_pass_hz=6.0, start=[0.5, -0.5]),
        ]
    ),
    "SequentialPolicy MinGRU": lambda: _around(MinGRU(7, 8)),
    "SequentialPolicy MinLSTM": lambda: _around(MinLSTM(7, 8)),
    "SequentialPolicy LRU": lambda: _around(LRU(7, 6)),
    "SequentialPolicy S5": lambda: _around(S5(7, 6)),
    "SequentialPolicy CfC": lambda: _around(CfC(7, 8, backbone_units=9)),
    "SequentialPolicy decoder": lambda: _around(DecoderLayer(8, 2, 4)),
    "SequentialPolicy gated decoders": lambda: _around(
        DecoderLayer(6, 3, 5, gated=True), DecoderLayer(6, 1, 2, 7, gated=True)
    ),
    "RSSMPolicy": lambda: RSSMPolicy(_SPEC, nn.Sequential(nn.Linear(5, 7), nn.ELU()), nn.Linear(20, 2), 8, 4, 3),
    "RSSMPolicy sample": lambda: RSSMPolicy(_SPEC, nn.Linear(5, 7), nn.Linear(20, 2), 8, 3, 4, latent="sample"),
    "WrappedPolicy": lambda: WrappedPolicy(nn.Sequential(nn.Linear(5, 9), nn.Tanh(), nn.Linear(9, 2)), 5),
    "WrappedPolicy LSTM": lambda: WrappedPolicy(nn.LSTM(5, 2), 5),
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
