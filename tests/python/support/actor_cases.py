"""Specs, networks and golden cases that the tests of actor policies share."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ganglion.policies.tf_agents.actor import ActorPolicy
from ganglion.policies.tf_agents.heads import NormalProjection
from ganglion.policies.tf_agents.networks import (
    ActorDistributionNetwork,
    ActorDistributionRnnNetwork,
    ActorNetwork,
    ActorRnnNetwork,
)
from ganglion.policies.tf_agents.specs import ActorTimeStep, ArraySpec, BoundedArraySpec, time_step_spec
from ganglion.policies.tf_agents.weights import load_tf_agents_weights, streaming_tensor_normalizer

if TYPE_CHECKING:
    from ganglion.policies.normalizer import ObservationNormalizer

GOLDEN = Path(__file__).parents[2] / "golden" / "tf_agents"

OBSERVATION = ArraySpec((5,))
ACTION = BoundedArraySpec((2,), torch.float32, "act", [-2.0, -1.0], [3.0, 1.0])
DISCRETE = BoundedArraySpec((), torch.int32, "act", 0, 3)
MASKED = {
    "obs": BoundedArraySpec((5,), torch.float32, "obs", -2.0, 2.0),
    "mask": BoundedArraySpec((4,), torch.bool, "mask", 0, 1),
}
SMALL = {"input_fc_layer_params": (7,), "lstm_size": (8,), "output_fc_layer_params": (6,)}


def rnn_network(action_spec: Any = ACTION, **kwargs: Any) -> ActorDistributionRnnNetwork:
    return ActorDistributionRnnNetwork(OBSERVATION, action_spec, **{**SMALL, **kwargs})


def policy_of(network: ActorNetwork, **kwargs: Any) -> ActorPolicy:
    return ActorPolicy(time_step_spec(network.input_tensor_spec), network.output_tensor_spec, network, **kwargs)


def split(observation: Any) -> tuple[Any, Any]:
    return observation["obs"], observation["mask"]


def masked_policy(network: ActorNetwork | None = None, **kwargs: Any) -> ActorPolicy:
    network = rnn_network(DISCRETE) if network is None else network
    return ActorPolicy(
        time_step_spec(MASKED), DISCRETE, network, observation_and_action_constraint_splitter=split, **kwargs
    )


def time_step(observation: Any, step_type: Any = 1) -> ActorTimeStep:
    leaf = next(iter(observation.values())) if isinstance(observation, dict) else observation
    axes = leaf.shape[:-1]
    step_type = torch.as_tensor(step_type, dtype=torch.int32).expand(axes)
    return ActorTimeStep(step_type, torch.zeros(axes), torch.ones(axes), observation)


NETWORKS = {
    "ff_dist": lambda: ActorDistributionNetwork(OBSERVATION, ACTION, (9, 7)),
    "ff_discrete_masked": lambda: ActorDistributionNetwork(OBSERVATION, DISCRETE, (6,)),
    "rnn_dist_lstm8": rnn_network,
    "rnn_dist_normalizer": rnn_network,
    "rnn_dist_nofc_tanh": lambda: rnn_network(input_fc_layer_params=(), output_fc_layer_params=None),
    "rnn_dist_statestd_noclip": lambda: rnn_network(
        continuous_projection_net=functools.partial(NormalProjection, squash=False, state_dependent_std=True)
    ),
    "rnn_dist_discrete": lambda: rnn_network(DISCRETE),
    "rnn_det_lstm8": lambda: ActorRnnNetwork(OBSERVATION, ACTION, **SMALL),
}


class Case:
    """One golden file, and the policy that it was recorded from."""

    def __init__(self, name: str) -> None:
        with np.load(GOLDEN / f"{name}.npz") as file:
            self.arrays = dict(file)
        self.name = name
        self.meta = json.loads(str(self.arrays.pop("meta")))
        self.data = {key: torch.from_numpy(np.atleast_1d(array)) for key, array in self.arrays.items()}

    def network(self) -> ActorNetwork:
        network = NETWORKS[self.name]()
        load_tf_agents_weights(network, self.arrays)
        return network

    def normalizer(self) -> ObservationNormalizer | None:
        if "normalizer.mean" not in self.data:
            return None
        names = ("normalizer.0.count_0:0", "normalizer.1.avg_0:0", "normalizer.2.m2_0:0")
        return streaming_tensor_normalizer(*(self.arrays[name] for name in names))

    def policy(self, **kwargs: Any) -> ActorPolicy:
        clip = self.meta.get("clip", True)
        return policy_of(self.network(), observation_normalizer=self.normalizer(), **{"clip": clip, **kwargs})

    def steps(self) -> list[ActorTimeStep]:
        pairs = zip(self.data["obs"], self.data["step_type"], strict=True)
        return [time_step(obs, step_type) for obs, step_type in pairs]


FACTS = {case["case"]: case for case in json.loads((GOLDEN / "facts.json").read_text())}


def observed(rows: int = 3) -> torch.Tensor:
    return torch.randn(rows, 5)


def recurrent(**kwargs: Any) -> ActorPolicy:
    return policy_of(rnn_network(), **kwargs)


def shaken(policy: ActorPolicy) -> ActorPolicy:
    """With larger weights than the initial ones: what a state does must show."""
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter) if parameter.requires_grad else 0.0)
    return policy


class Memory(ActorNetwork):
    """Gives back its state as the action; resets nothing by itself."""

    def __init__(self) -> None:
        super().__init__(OBSERVATION, ACTION, ArraySpec((2,)))

    def forward(self, observation: Any, step_type: Any, network_state: Any, mask: Any) -> Any:  # noqa: ARG002
        action = (
            network_state if observation.ndim < 3 else network_state.unsqueeze(1).expand(-1, observation.shape[1], -1)
        )
        return action, network_state + 1.0
