"""Recurrent policies that can be trained in Python and exported to a C++ control loop. Needs the extra `torch`."""

from __future__ import annotations

from ganglion.policies.action_map import ActionMap
from ganglion.policies.adn import (
    ADNPolicy,
    pd_capacity_21,
    pd_capacity_21_abs,
    pd_capacity_32,
    pd_capacity_32_abs,
    pd_cubic,
    pd_linear,
)
from ganglion.policies.base import Policy, RecurrentPolicy
from ganglion.policies.checkpoint import load_checkpoint, save_checkpoint
from ganglion.policies.deployable import DeployablePolicy
from ganglion.policies.env_spec import EnvSpec, InOutSpec
from ganglion.policies.garage_weights import load_garage_parameters
from ganglion.policies.gaussian import GaussianGRUPolicy, GaussianLSTMPolicy, GaussianMLPPolicy
from ganglion.policies.gaussian_base import GaussianPolicy, GaussianSequence
from ganglion.policies.indi_nonlin import IndiNonlinLayer
from ganglion.policies.neural_field import MirrConv1d, NFPolicy
from ganglion.policies.normalizer import ObservationNormalizer
from ganglion.policies.potential import PotentialBasedPolicy
from ganglion.policies.pyrado_checkpoint import from_pyrado_state_dict
from ganglion.policies.rnn import (
    GRUPolicy,
    LSTMPolicy,
    RNNPolicy,
    RNNPolicyBase,
    default_pack_hidden,
    default_unpack_hidden,
)
from ganglion.policies.rollout import Rollout
from ganglion.policies.two_headed import (
    TwoHeadedGRUPolicy,
    TwoHeadedLSTMPolicy,
    TwoHeadedRNNPolicy,
    TwoHeadedRNNPolicyBase,
)

__all__ = [
    "ADNPolicy",
    "ActionMap",
    "DeployablePolicy",
    "EnvSpec",
    "GRUPolicy",
    "GaussianGRUPolicy",
    "GaussianLSTMPolicy",
    "GaussianMLPPolicy",
    "GaussianPolicy",
    "GaussianSequence",
    "InOutSpec",
    "IndiNonlinLayer",
    "LSTMPolicy",
    "MirrConv1d",
    "NFPolicy",
    "ObservationNormalizer",
    "Policy",
    "PotentialBasedPolicy",
    "RNNPolicy",
    "RNNPolicyBase",
    "RecurrentPolicy",
    "Rollout",
    "TwoHeadedGRUPolicy",
    "TwoHeadedLSTMPolicy",
    "TwoHeadedRNNPolicy",
    "TwoHeadedRNNPolicyBase",
    "default_pack_hidden",
    "default_unpack_hidden",
    "from_pyrado_state_dict",
    "load_checkpoint",
    "load_garage_parameters",
    "pd_capacity_21",
    "pd_capacity_21_abs",
    "pd_capacity_32",
    "pd_capacity_32_abs",
    "pd_cubic",
    "pd_linear",
    "save_checkpoint",
]
