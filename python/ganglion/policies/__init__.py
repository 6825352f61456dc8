"""Recurrent policies that can be trained in Python and exported to a C++ control loop. Needs the extra `torch`."""

from __future__ import annotations

from ganglion.policies.action_map import ActionMap
from ganglion.policies.base import Policy, RecurrentPolicy
from ganglion.policies.checkpoint import load_checkpoint, save_checkpoint
from ganglion.policies.deployable import DeployablePolicy
from ganglion.policies.env_spec import EnvSpec
from ganglion.policies.normalizer import ObservationNormalizer
from ganglion.policies.rnn import (
    GRUPolicy,
    LSTMPolicy,
    RNNPolicy,
    RNNPolicyBase,
    default_pack_hidden,
    default_unpack_hidden,
)
from ganglion.policies.rollout import Rollout

__all__ = [
    "ActionMap",
    "DeployablePolicy",
    "EnvSpec",
    "GRUPolicy",
    "LSTMPolicy",
    "ObservationNormalizer",
    "Policy",
    "RNNPolicy",
    "RNNPolicyBase",
    "RecurrentPolicy",
    "Rollout",
    "default_pack_hidden",
    "default_unpack_hidden",
    "load_checkpoint",
    "save_checkpoint",
]
