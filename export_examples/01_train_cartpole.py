"""Trains the cart-pole policy: an LQR teacher that sees everything, an LSTM student that sees positions only.

The student flies, the teacher labels what the student meets, and the student learns from all recent flights by
back-propagation through time (DAgger: Ross, Gordon, Bagnell, "A Reduction of Imitation Learning and Structured
Prediction to No-Regret Online Learning", AISTATS 2011). Carts and memories live on from one recorded segment to the
next, so the student also learns on memories that are many seconds old.

    python export_examples/01_train_cartpole.py            # a few minutes on two cores
"""

from __future__ import annotations

import argparse
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cartpole
import cartpole_policy
import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from ganglion.policies import Rollout, save_checkpoint

if TYPE_CHECKING:
    import mujoco
    from numpy.typing import NDArray
    from torch import Tensor

    from ganglion.policies import DeployablePolicy

HIDDEN_SIZE = 32
LEARNING_RATE = 5e-3
ROWS = 64
SEGMENT_STEPS = 250
REMEMBERED_SEGMENTS = 24
UPDATES_PER_FLIGHT = 4
TEACHER_FLIES_FOR = 0.25
"""Share of the training over which the teacher hands the carts over to the student, cart by cart."""
LOST_ANGLE_RAD = 0.4
"""Beyond this angle there is nothing to learn any more, only to wait for the fall."""
PUSHED_SHARE, PUSH_N = 0.3, 0.2
"""Share of the carts that feel a constant extra force during a segment, and its standard deviation."""
RESTARTED_SHARE = 0.05
"""Share of the carts that start afresh after a segment, so that young memories stay frequent too."""


class Teacher:
    """Linear-quadratic regulator on the full state, clipped to what the motor can do."""

    def __init__(self, model: mujoco.MjModel) -> None:
        self._gain = cartpole.lqr_gain(model)

    def reset(self) -> None:
        """Nothing to forget."""

    def __call__(self, state: NDArray[np.floating], /) -> NDArray[np.float32]:
        """State `[rows, 5]` to force `[rows]`, in newtons."""
        limit = cartpole_policy.FORCE_LIMIT_N
        return np.clip(-state @ self._gain, -limit, limit).astype(np.float32)


@dataclass(frozen=True)
class Segment:
    """What every cart saw for a while, and what the teacher would have done.

    Attributes:
        observations: `[steps, rows, 2]`.
        labels: `[steps, rows]` the teacher's forces, in newtons.
        hidden: `[rows, hidden_size]` the student's memory before the first step.
        lengths: `[rows]` steps until the cart was lost, or all of them.
    """

    observations: Tensor
    labels: Tensor
    hidden: Tensor
    lengths: Tensor


class Airfield:
    """Carts in flight, the student's memory of each of them, and the teacher looking over the student's shoulder."""

    def __init__(self, model: mujoco.MjModel, student: DeployablePolicy, teacher: Teacher, seed: int) -> None:
        self._student = student
        self._teacher = teacher
        self._random = np.random.default_rng(seed)
        self._carts = cartpole.CartPoles(model, np.zeros((ROWS, len(cartpole.START_NAMES))))
        self._hidden = student.init_hidden(ROWS)
        self._restart(np.ones(ROWS, dtype=np.bool_))

    @torch.inference_mode()
    def fly(self, steps: int, teacher_share: float) -> Segment:
        """Flies every cart for `steps` control periods; the teacher flies about `teacher_share` of the carts."""
        self._restart(self._lost() | (self._random.random(ROWS) < RESTARTED_SHARE))
        taught = self._random.random(ROWS) < teacher_share
        push = np.where(self._random.random(ROWS) < PUSHED_SHARE, self._random.normal(0.0, PUSH_N, ROWS), 0.0)
        first_hidden = self._hidden.clone()
        observations, labels = [], []
        lengths = np.zeros(ROWS, dtype=np.int64)
        flying = np.ones(ROWS, dtype=np.bool_)
        for _ in range(steps):
            observations.append(torch.from_numpy(self._carts.observation))
            labels.append(torch.from_numpy(self._teacher(self._carts.state)))
            lengths += flying
            force, self._hidden = self._student(observations[-1], self._hidden)
            self._carts.step(np.where(taught, labels[-1].numpy(), force[:, 0].numpy()) + push)
            flying &= ~self._lost()
        return Segment(torch.stack(observations), torch.stack(labels), first_hidden, torch.from_numpy(lengths))

    def _lost(self) -> NDArray[np.bool_]:
        return self._carts.fallen | (np.abs(self._carts.state[:, 1]) > LOST_ANGLE_RAD)

    def _restart(self, rows: NDArray[np.bool_]) -> None:
        seed = int(self._random.integers(2**31))
        self._carts.restart(rows, cartpole.perturbed_starts(int(rows.sum()), seed))
        self._hidden = torch.where(torch.from_numpy(rows)[:, None], self._student.init_hidden(ROWS), self._hidden)


def imitation_loss(student: DeployablePolicy, segments: list[Segment]) -> Tensor:
    """Mean error of the student's forces (N) on `ROWS` carts drawn from `segments`, with gradients through time."""
    which = torch.randint(len(segments), (ROWS,)).tolist()
    observations, labels, lengths, hidden = [], [], [], []
    for row, index in enumerate(which):
        segment = segments[index]
        steps = int(segment.lengths[row])
        observations.append(segment.observations[:steps, row])
        labels.append(segment.labels[:steps, row])
        lengths.append(steps)
        # A rollout holds the memory of every step, but only that of the first one is used.
        hidden.append(segment.hidden[row].expand(steps, -1))
    rollout = Rollout(torch.cat(observations), torch.tensor(lengths), torch.cat(hidden))
    force = student.evaluate(rollout)[:, 0]
    # Nearly the absolute error: the small forces of a settled cart count as much as the large ones of a rescue.
    return torch.nn.functional.smooth_l1_loss(force, torch.cat(labels), beta=0.005)


def train(
    model: mujoco.MjModel, student: DeployablePolicy, teacher: Teacher, iterations: int, steps: int, seed: int
) -> None:
    """Trains `student` in place and shows how it goes.

    Args:
        model: from `cartpole.load_model`.
        student: learns.
        teacher: labels.
        iterations: number of recorded segments.
        steps: length of each.
        seed: seed of starts and pushes.
    """
    airfield = Airfield(model, student, teacher, seed)
    optimizer = torch.optim.Adam(student.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=iterations * UPDATES_PER_FLIGHT, pct_start=0.1
    )
    segments: deque[Segment] = deque(maxlen=REMEMBERED_SEGMENTS)
    check_starts = cartpole.perturbed_starts(16, seed=2)
    columns = (
        TextColumn("[bold]training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]} N, balanced {task.fields[balanced]},"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as progress:
        task = progress.add_task("training", total=iterations, loss="-", balanced="-")
        for iteration in range(iterations):
            segments.append(airfield.fly(steps, 1.0 - iteration / max(1.0, TEACHER_FLIES_FOR * iterations)))
            losses = []
            for _ in range(UPDATES_PER_FLIGHT):
                loss = imitation_loss(student, list(segments))
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(student.parameters(), 0.1)
                optimizer.step()
                schedule.step()
                losses.append(loss.item())
            progress.update(task, advance=1, loss=f"{np.mean(losses):.4f}")
            if (iteration + 1) % max(1, iterations // 10) == 0:
                controller = cartpole_policy.TorchController(student, len(check_starts))
                result = cartpole.survey(model, controller, check_starts, seconds=8.0 * steps / SEGMENT_STEPS)
                balanced = f"{result.balanced.sum()} of {len(check_starts)}"
                progress.update(task, balanced=balanced)
                progress.console.print(
                    f"iteration {iteration + 1}: loss {np.mean(losses):.4f} N, balanced {balanced}, "
                    f"upright for {result.standing_s.mean():.1f} s on average"
                )


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
    parser.add_argument("--iterations", type=int, default=400, help="recorded segments of half a second")
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
    iterations, steps = (4, 40) if arguments.quick else (arguments.iterations, SEGMENT_STEPS)

    started = time.monotonic()
    train(model, student, teacher, iterations, steps, arguments.seed)
    save_checkpoint(student, arguments.output)
    console.print(f"trained for {time.monotonic() - started:.0f} s, wrote {arguments.output}")
    console.print(compare(model, student, teacher, *((4, 1.0) if arguments.quick else (50, 20.0))))


if __name__ == "__main__":
    main()
