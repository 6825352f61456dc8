"""Trains the cart-pole policy: an LQR teacher that sees everything, an LSTM student that sees positions only.

The student flies, the teacher labels what the student meets, and the student learns from all recent flights by
back-propagation through time: `ganglion.training.Distillation`. Flights are long and are cut into sequences of half a
second that start from the memory of the student at that time, so it also learns on memories that are seconds old.

    python export_examples/01_train_cartpole.py            # a few minutes on two cores
"""

from __future__ import annotations

import argparse
import functools
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cartpole
import cartpole_policy
import gymnasium
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from ganglion.data import EnvSpec
from ganglion.policies import save_checkpoint
from ganglion.training import Distillation, ExperimentContext, LocalSampler, Trainer, set_seed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import mujoco
    from numpy.typing import NDArray

    from ganglion.policies import DeployablePolicy

HIDDEN_SIZE = 32
LEARNING_RATE = 5e-3
ROWS = 64
SEQUENCE_STEPS = 250
FLIGHT_STEPS = 2000
UPDATES_PER_EPOCH = 32
TEACHER_FLIES_FOR = 0.25
"""Share of the training over which the teacher hands the carts over to the student, flight by flight."""
LOST_ANGLE_RAD = 0.4
"""Beyond this angle there is nothing to learn any more, only to wait for the fall."""
PUSHED_SHARE, PUSH_N = 0.3, 0.2
"""Share of the sequences in which a cart feels a constant extra force, and its standard deviation."""


class Teacher:
    """Linear-quadratic regulator on the full state, clipped to what the motor can do."""

    def __init__(self, model: mujoco.MjModel) -> None:
        self._gain = cartpole.lqr_gain(model)

    def reset(self, rows: NDArray[np.bool_] | None = None) -> None:
        """Nothing to forget."""

    def __call__(self, state: NDArray[np.floating], /) -> NDArray[np.float32]:
        """State `[rows, 5]` to force `[rows]`, in newtons."""
        limit = cartpole_policy.FORCE_LIMIT_N
        return np.clip(-state @ self._gain, -limit, limit).astype(np.float32)

    def get_actions(self, state: NDArray[np.floating]) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """The same as an `Agent`: forces `[rows, 1]`."""
        return self(state)[:, None], {}


class Airfield:
    """Carts side by side, as samplers want them; observations are full states, of which the student sees positions.

    A flight ends when the cart is lost. The reward is the time, so the return is how long a flight took.
    """

    def __init__(self, make_model: Callable[[], mujoco.MjModel], count: int) -> None:
        model = make_model()
        self.count = count
        limit = cartpole_policy.FORCE_LIMIT_N
        state = gymnasium.spaces.Box(-np.inf, np.inf, (len(cartpole.STATE_NAMES),), np.float32)
        force = gymnasium.spaces.Box(-limit, limit, (1,), np.float32)
        self.spec = EnvSpec(state, force, FLIGHT_STEPS)
        self._carts = cartpole.CartPoles(model, np.zeros((count, len(cartpole.START_NAMES))))
        self._period_s = float(model.opt.timestep)
        self._pushes = np.zeros((count, FLIGHT_STEPS))
        self._time = np.zeros(count, dtype=np.int64)

    def reset(self, rows: NDArray[np.bool_] | None = None, seeds: Sequence[int] | None = None) -> NDArray[np.float32]:
        """New starts and pushes for the flagged rows."""
        rows = np.ones(self.count, dtype=np.bool_) if rows is None else rows
        seeds = range(int(rows.sum())) if seeds is None else seeds
        self._carts.restart(rows, np.concatenate([cartpole.perturbed_starts(1, seed) for seed in seeds]))
        for row, seed in zip(np.flatnonzero(rows), seeds, strict=True):
            random = np.random.default_rng([seed, 1])
            size = -(-FLIGHT_STEPS // SEQUENCE_STEPS)
            push = np.where(random.random(size) < PUSHED_SHARE, random.normal(0.0, PUSH_N, size), 0.0)
            self._pushes[row] = np.repeat(push, SEQUENCE_STEPS)[:FLIGHT_STEPS]
        self._time[rows] = 0
        return self._carts.state.astype(np.float32)

    def step(
        self, actions: NDArray[np.float32], active: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """One control period of all carts."""
        del active  # the others may fall as well
        pushes = self._pushes[np.arange(self.count), np.minimum(self._time, FLIGHT_STEPS - 1)]
        self._carts.step(actions[:, 0] + pushes)
        self._time += 1
        lost = self._carts.fallen | (np.abs(self._carts.state[:, 1]) > LOST_ANGLE_RAD)
        rewards = np.full(self.count, self._period_s)
        return self._carts.state.astype(np.float32), rewards, lost, ~lost & (self._time >= FLIGHT_STEPS), {}

    def close(self) -> None:
        """Nothing to give back."""


def train(student: DeployablePolicy, teacher: Teacher, epochs: int, steps: int, seed: int) -> None:
    """Trains `student` in place on `steps` or more recorded steps an epoch, and shows how it goes."""
    set_seed(seed)
    algo = Distillation(
        student,
        teacher,
        sees=[cartpole.STATE_NAMES.index(name) for name in ("cart_position", "pole_angle")],
        teacher_epochs=TEACHER_FLIES_FOR * epochs,
        learning_rate=LEARNING_RATE,
        schedule=lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(
            optimizer, LEARNING_RATE, total_steps=epochs * UPDATES_PER_EPOCH, pct_start=0.1
        ),
        # Nearly the absolute error: the small forces of a settled cart count as much as the large ones of a rescue.
        loss=functools.partial(torch.nn.functional.smooth_l1_loss, beta=0.005),
        sequence_length=SEQUENCE_STEPS,
        sequences_per_update=ROWS,
        updates_per_epoch=UPDATES_PER_EPOCH,
        remembered_epochs=4,
        max_grad_norm=0.1,
    )
    sampler = LocalSampler(algo.exploration_policy, cartpole.load_model, envs_per_worker=ROWS, vectorize=Airfield)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(ExperimentContext(folder, snapshot_mode="none"))
        trainer.setup(algo, None, sampler)
        trainer.train(n_epochs=epochs, batch_size=steps)


def compare(model: mujoco.MjModel, student: DeployablePolicy, teacher: Teacher, count: int, seconds: float) -> Table:
    """Flies teacher, student, and the student without its memory from the same unseen starts."""
    starts = cartpole.perturbed_starts(count, seed=3)
    table = Table(title=f"{count} unseen starts, {seconds:g} s each", title_justify="left")
    for heading in ("controller", "sees"):
        table.add_column(heading)
    for heading in ("balanced", "fell", "shortest flight", "longest flight", "worst angle"):
        table.add_column(heading, justify="right")
    erased = cartpole_policy.TorchController(student, count, erase_memory=True)
    for name, sees, controller in (
        ("LQR teacher", "full state", teacher),
        ("LSTM student", "positions", cartpole_policy.TorchController(student, count)),
        ("LSTM student, memory erased before each step", "positions", erased),
    ):
        result = cartpole.survey(model, controller, starts, seconds, full_state=controller is teacher)
        table.add_row(
            name,
            sees,
            f"{result.balanced.sum()} of {count}",
            f"{(~result.standing).sum()} of {count}",
            f"{result.standing_s.min():.2f} s",
            f"{result.standing_s.max():.2f} s",
            f"{result.worst_angle.max():.3f} rad",
        )
    return table


def main() -> None:
    """Trains, saves and compares."""
    parser = argparse.ArgumentParser(description="Train the cart-pole policy.")
    parser.add_argument("-o", "--output", type=Path, default=cartpole_policy.CHECKPOINT_FILE, help="checkpoint file")
    parser.add_argument("--epochs", type=int, default=50, help="rounds of flying and learning")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch; one is best for a net this small")
    parser.add_argument("--quick", action="store_true", help="shows in seconds that it runs; learns nothing")
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    console = Console()
    model = cartpole.load_model()
    teacher = Teacher(model)
    # The scale of what is seen in a rescue; the teacher shows it.
    rehearsal = cartpole.survey(model, teacher, cartpole.perturbed_starts(ROWS, seed=1), 1.0, full_state=True)
    student = cartpole_policy.build(HIDDEN_SIZE, rehearsal.observation_mean, rehearsal.observation_variance)

    started = time.monotonic()
    train(student, teacher, *((1, 500) if arguments.quick else (arguments.epochs, 64000)), arguments.seed)
    save_checkpoint(student, arguments.output)
    console.print(f"trained for {time.monotonic() - started:.0f} s, wrote {arguments.output}")
    console.print(compare(model, student, teacher, *((4, 1.0) if arguments.quick else (50, 20.0))))


if __name__ == "__main__":
    main()
