"""One policy of each family, trained anywhere, stepped from C++: Pyrado, garage, skrl and TF-Agents.

python export_examples/07_policy_families.py FOLDER

writes FOLDER/*.ganglion and prints what `07_policy_families FOLDER/*.ganglion` prints.
"""

from __future__ import annotations

import sys
from pathlib import Path

import gymnasium
import numpy as np
import torch

import ganglion
from ganglion.policies import (
    ActorDistributionRnnNetwork,
    ActorPolicy,
    ADNPolicy,
    ArraySpec,
    BoundedArraySpec,
    EnvSpec,
    GaussianLSTMModel,
    GaussianLSTMPolicy,
    TwoHeadedGRUPolicy,
    pd_cubic,
    time_step_spec,
)

OBSERVATIONS = gymnasium.spaces.Box(-1.0, 1.0, (4,))
ACTIONS = gymnasium.spaces.Box(-1.0, 1.0, (2,))
STEPS, SEED = 50, 7


def families() -> dict[str, torch.nn.Module]:
    """Fresh policies; yours come with their checkpoints."""
    spec = EnvSpec(OBSERVATIONS, ACTIONS)
    torch.manual_seed(0)
    action = BoundedArraySpec((2,), torch.float32, "act", -1.0, 1.0)
    network = ActorDistributionRnnNetwork(ArraySpec((4,)), action, (16,), output_fc_layer_params=(16,), lstm_size=(16,))
    return {
        "garage_gaussian_lstm": GaussianLSTMPolicy(spec, hidden_dim=16),
        "pyrado_adn": ADNPolicy(spec, torch.tanh, pd_cubic),
        "pyrado_two_headed_gru": TwoHeadedGRUPolicy(spec, 16, 1, head_2_size=1),
        # As it is: a model written for skrl needs nothing of ours.
        "skrl_lstm": GaussianLSTMModel(observation_space=OBSERVATIONS, action_space=ACTIONS, hidden_size=16),
        "tf_agents_actor": ActorPolicy(time_step_spec(ArraySpec((4,))), action, network),
    }


def fly(artifact: Path) -> None:
    """Steps one artifact and prints its last action; where the outputs are a distribution, a drawn one."""
    is_distribution = ganglion.inspect(artifact).distribution is not None
    pilot = ganglion.load(artifact, sample_seed=SEED if is_distribution else None)
    action = np.zeros(pilot.contract.action_size, np.float32)
    for step in range(STEPS):
        seen = np.float32(0.1) * np.float32(step % 20)
        action = pilot.step(np.full(pilot.contract.observation_size, seen, np.float32))
    outputs = " ".join(spec.name for spec in pilot.contract.outputs)
    slots = " ".join(slot.name for slot in pilot.contract.state)
    numbers = " ".join(f"{value:.9g}" for value in action)
    print(f"{artifact.name}: outputs {outputs}; state {slots}; {'drew' if is_distribution else 'action'} {numbers}")


def main() -> None:
    """Exports every family to the folder on the command line, and steps the files."""
    for name, policy in families().items():
        artifact = Path(sys.argv[1]) / f"{name}.ganglion"
        ganglion.export(policy, artifact)
        fly(artifact)


if __name__ == "__main__":
    main()
