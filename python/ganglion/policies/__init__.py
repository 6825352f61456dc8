"""Recurrent policies that can be trained in Python and exported to a C++ control loop. Needs the extra `torch`."""

from __future__ import annotations

from ganglion.data.env_spec import EnvSpec, InOutSpec
from ganglion.policies.action_map import ActionMap
from ganglion.policies.base import RecurrentPolicy, TrainablePolicy
from ganglion.policies.cells.attention import DecoderLayer
from ganglion.policies.cells.cfc import CfC
from ganglion.policies.cells.diagonal import LRU, S5
from ganglion.policies.cells.minimal import MinGRU, MinLSTM
from ganglion.policies.cells.rssm import RSSMPolicy
from ganglion.policies.checkpoint import load_checkpoint, save_checkpoint
from ganglion.policies.cores import Core
from ganglion.policies.deployable import DeployablePolicy
from ganglion.policies.garage.base import GaussianPolicy, GaussianSequence
from ganglion.policies.garage.gaussian import GaussianGRUPolicy, GaussianLSTMPolicy, GaussianMLPPolicy
from ganglion.policies.garage.weights import load_garage_parameters
from ganglion.policies.layered import LayeredPolicy
from ganglion.policies.normalizer import ObservationNormalizer
from ganglion.policies.pyrado.adn import (
    ADNPolicy,
    pd_capacity_21,
    pd_capacity_21_abs,
    pd_capacity_32,
    pd_capacity_32_abs,
    pd_cubic,
    pd_linear,
)
from ganglion.policies.pyrado.checkpoint import from_pyrado_state_dict
from ganglion.policies.pyrado.indi_nonlin import IndiNonlinLayer
from ganglion.policies.pyrado.neural_field import MirrConv1d, NFPolicy
from ganglion.policies.pyrado.potential import PotentialBasedPolicy
from ganglion.policies.pyrado.rnn import (
    GRUPolicy,
    LSTMPolicy,
    RNNPolicy,
    RNNPolicyBase,
    default_pack_hidden,
    default_unpack_hidden,
)
from ganglion.policies.pyrado.two_headed import (
    TwoHeadedGRUPolicy,
    TwoHeadedLSTMPolicy,
    TwoHeadedRNNPolicy,
    TwoHeadedRNNPolicyBase,
)
from ganglion.policies.rollout import Rollout
from ganglion.policies.sequential import SequentialPolicy
from ganglion.policies.signals.action_filter import ActionFilter
from ganglion.policies.signals.history import ObservationHistory, ObservationStack, StackTerm
from ganglion.policies.skrl.gaussian_mixin import GaussianMixin
from ganglion.policies.skrl.model import Model
from ganglion.policies.skrl.models import (
    GaussianCNNModel,
    GaussianGRUModel,
    GaussianLSTMModel,
    GaussianMLPModel,
    GaussianModel,
    GaussianRNNModel,
    RecurrentGaussianModel,
)
from ganglion.policies.skrl.policy import SkrlPolicy, as_policy
from ganglion.policies.tf_agents.actor import ActorPolicy
from ganglion.policies.tf_agents.heads import CategoricalProjection, NormalProjection
from ganglion.policies.tf_agents.networks import (
    ActorDistributionNetwork,
    ActorDistributionRnnNetwork,
    ActorNetwork,
    ActorRnnNetwork,
)
from ganglion.policies.tf_agents.specs import (
    ActorStepType,
    ActorTimeStep,
    ActorTrajectory,
    ArraySpec,
    BoundedArraySpec,
    PolicyInfo,
    PolicyStep,
    time_step_spec,
)
from ganglion.policies.tf_agents.step import KeySplitter
from ganglion.policies.tf_agents.weights import (
    load_tf_agents_weights,
    streaming_tensor_normalizer,
    tensor_normalizer,
)
from ganglion.policies.wrapped.policy import WrappedPolicy

__all__ = [
    "LRU",
    "S5",
    "ADNPolicy",
    "ActionFilter",
    "ActionMap",
    "ActorDistributionNetwork",
    "ActorDistributionRnnNetwork",
    "ActorNetwork",
    "ActorPolicy",
    "ActorRnnNetwork",
    "ActorStepType",
    "ActorTimeStep",
    "ActorTrajectory",
    "ArraySpec",
    "BoundedArraySpec",
    "CategoricalProjection",
    "CfC",
    "Core",
    "DecoderLayer",
    "DeployablePolicy",
    "EnvSpec",
    "GRUPolicy",
    "GaussianCNNModel",
    "GaussianGRUModel",
    "GaussianGRUPolicy",
    "GaussianLSTMModel",
    "GaussianLSTMPolicy",
    "GaussianMLPModel",
    "GaussianMLPPolicy",
    "GaussianMixin",
    "GaussianModel",
    "GaussianPolicy",
    "GaussianRNNModel",
    "GaussianSequence",
    "InOutSpec",
    "IndiNonlinLayer",
    "KeySplitter",
    "LSTMPolicy",
    "LayeredPolicy",
    "MinGRU",
    "MinLSTM",
    "MirrConv1d",
    "Model",
    "NFPolicy",
    "NormalProjection",
    "ObservationHistory",
    "ObservationNormalizer",
    "ObservationStack",
    "PolicyInfo",
    "PolicyStep",
    "PotentialBasedPolicy",
    "RNNPolicy",
    "RNNPolicyBase",
    "RSSMPolicy",
    "RecurrentGaussianModel",
    "RecurrentPolicy",
    "Rollout",
    "SequentialPolicy",
    "SkrlPolicy",
    "StackTerm",
    "TrainablePolicy",
    "TwoHeadedGRUPolicy",
    "TwoHeadedLSTMPolicy",
    "TwoHeadedRNNPolicy",
    "TwoHeadedRNNPolicyBase",
    "WrappedPolicy",
    "as_policy",
    "default_pack_hidden",
    "default_unpack_hidden",
    "from_pyrado_state_dict",
    "load_checkpoint",
    "load_garage_parameters",
    "load_tf_agents_weights",
    "pd_capacity_21",
    "pd_capacity_21_abs",
    "pd_capacity_32",
    "pd_capacity_32_abs",
    "pd_cubic",
    "pd_linear",
    "save_checkpoint",
    "streaming_tensor_normalizer",
    "tensor_normalizer",
    "time_step_spec",
]
