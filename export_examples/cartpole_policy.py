"""The trained cart-pole policy, ready for export.

    ganglion export export_examples/cartpole_policy.py -o policy.ganglion

The policy takes cart position and pole angle, keeps the rest in its memory, and returns a force on the cart.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import gymnasium
import numpy as np
import torch

from ganglion.policies import ActionMap, DeployablePolicy, EnvSpec, LSTMPolicy, ObservationNormalizer, load_checkpoint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ganglion import Contract
    from ganglion.policies import RecurrentPolicy

CHECKPOINT_FILE = Path(__file__).with_name("cartpole_policy.ckpt")
CONTROL_PERIOD_S = 0.002
FORCE_LIMIT_N = 2.0
RAIL_LIMIT_M = 1.5
ANGLE_LIMIT_RAD = 0.8


def build(hidden_size: int, mean: Sequence[float], variance: Sequence[float]) -> DeployablePolicy:
    """An untrained policy: an LSTM between observation normaliser and action map.

    Args:
        hidden_size: number of LSTM units.
        mean: `[2]` mean of the observations.
        variance: `[2]` variance of the observations.
    """
    seen = np.array([RAIL_LIMIT_M, ANGLE_LIMIT_RAD], dtype=np.float32)
    force = np.array([FORCE_LIMIT_N], dtype=np.float32)
    spec = EnvSpec(gymnasium.spaces.Box(-seen, seen), gymnasium.spaces.Box(-force, force))
    net = LSTMPolicy(spec, hidden_size, num_recurrent_layers=1)
    action_map = ActionMap.from_space(spec.action_space, squash=True)
    return DeployablePolicy(net, ObservationNormalizer(mean, variance, clip=10.0), action_map)


def cartpole_contract(trained: RecurrentPolicy, *, batch: int | None = 1) -> Contract:
    """What a controller must know: names, units, bounds and period, for artifacts of `batch` carts."""
    plain = trained.contract(
        batch=batch,
        period_s=CONTROL_PERIOD_S,
        provenance={
            "task": "cart with a pole, positions observed",
            "trainer": "export_examples/01_train_cartpole.py: LQR teacher, LSTM student, DAgger",
        },
    )
    return replace(
        plain,
        inputs=(replace(plain.inputs[0], element_names=("cart_position", "pole_angle"), units=("m", "rad")),),
        outputs=(replace(plain.outputs[0], element_names=("cart_force",), units=("N",)),),
    )


def load_policy() -> tuple[RecurrentPolicy, Contract]:
    """The policy that ships with the examples, and its contract; `ganglion export` calls this function."""
    trained = load_checkpoint(CHECKPOINT_FILE)
    return trained, cartpole_contract(trained)


class TorchController:
    """Flies a policy in PyTorch: the reference that exported files are compared with.

    Args:
        policy: takes positions, returns a force.
        rows: how many carts it steers side by side.
        erase_memory: put the memory back to its initial state before every step. Nothing else changes, so this
            shows what the memory is worth.
    """

    def __init__(self, policy: RecurrentPolicy, rows: int, *, erase_memory: bool = False) -> None:
        self._policy = policy.eval()
        self._rows = rows
        self._erase_memory = erase_memory
        self.reset()

    def reset(self) -> None:
        """Forgets everything."""
        self._hidden = self._policy.init_hidden(self._rows)

    @torch.inference_mode()
    def __call__(self, observation: NDArray[np.float32], /) -> NDArray[np.float32]:
        """Observation `[rows, 2]` to force `[rows]`, in newtons."""
        if self._erase_memory:
            self.reset()
        force, self._hidden = self._policy(torch.from_numpy(observation), self._hidden)
        answer: NDArray[np.float32] = force[:, 0].numpy()
        return answer
