"""Distillation: a recurrent student learns to do what a teacher does, who may see more than it."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from ganglion.policies import Rollout
from ganglion.training._sequences import cut
from ganglion.training.errors import TrainingError
from ganglion.training.policy_agent import PolicyAgent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    from ganglion.data import EpisodeBatch
    from ganglion.policies import RecurrentPolicy
    from ganglion.training.protocols import Agent
    from ganglion.training.trainer import Trainer


class TaughtAgent(nn.Module):
    """The student acts, the teacher says at every step what it would have done; of some episodes the teacher acts.

    Attributes:
        student: steps the student.
        teacher_share: probability that an episode is the teacher's.
    """

    teacher_share: Tensor

    def __init__(self, student: PolicyAgent, teacher: Agent) -> None:
        super().__init__()
        self.student = student
        self._teacher = teacher
        self.register_buffer("teacher_share", torch.zeros(()))
        self._is_taught = np.zeros(0, np.bool_)

    def reset(self, rows: NDArray[np.bool_]) -> None:
        """Begins an episode in the flagged rows `[environments]`, and draws whose it is."""
        self.student.reset(rows)
        self._teacher.reset(rows)
        drawn = np.random.random(len(rows)) < float(self.teacher_share)
        self._is_taught = np.where(rows, drawn, self._is_taught if len(self._is_taught) == len(rows) else False)

    def get_actions(self, observations: NDArray[Any]) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
        """Returns actions, and by name the student's `hidden_states` (fed) and `teacher_actions`."""
        actions, infos = self.student.get_actions(observations)
        taught, _ = self._teacher.get_actions(observations)
        if np.shape(taught) != actions.shape:
            raise ValueError(f"the teacher's actions have shape {np.shape(taught)}, the student's {actions.shape}")
        mine = self._is_taught.reshape(-1, *[1] * (actions.ndim - 1))
        executed = np.where(mine, taught, actions).astype(actions.dtype)
        # The student remembers what it saw and what was done, whoever acted.
        self.student.set_applied_actions(executed)
        return executed, {**infos, "teacher_actions": np.asarray(taught)}


class Lessons(NamedTuple):
    """Sequences of steps with the teacher's answers, behind each other.

    Attributes:
        observations: `[N, observation_size]` what the student saw.
        labels: `[N, action_size]` what the teacher would have done.
        hidden: `[S, hidden_size]` the student's memory before the first step of every sequence.
        lengths: `[S]` steps of each.
        previous_actions: `[N, action_size]` what was executed before each step, for a student that sees it; `[N, 0]`
            for any other.
    """

    observations: Tensor
    labels: Tensor
    hidden: Tensor
    lengths: Tensor
    previous_actions: Tensor


class Distillation:
    """DAgger with back-propagation through time: the student acts, the teacher labels, the student learns from both.

    Ross, Gordon, Bagnell 2011, "A Reduction of Imitation Learning and Structured Prediction to No-Regret Online
    Learning", algorithm 3.1. Plain behaviour cloning is `teacher_epochs=math.inf`: the teacher always acts.

        algo = Distillation(student, teacher)
        trainer.setup(algo, env, LocalSampler(algo.exploration_policy, make_env, envs_per_worker=64))
        trainer.train(n_epochs=100, batch_size=10000)
        ganglion.export(algo.policy, "policy.ganglion")

    Episodes are cut into sequences. Each one starts from the hidden state that the student was in, so it also learns on
    memories that are older than a sequence, and gradients go through `RecurrentPolicy.evaluate`.

    Args:
        student: learns; the first output is its action.
        teacher: an agent; `PolicyAgent(policy)` makes one of a policy.
        sees: which elements of a flat observation of the environment the student sees; None for all. The teacher is
            given all of them.
        teacher_epochs: over so many epochs the share of episodes in which the teacher acts falls from 1 to 0.
        learning_rate: of Adam.
        schedule: makes the schedule of the learning rate, which goes one step with every update; None for none.
        loss: mean error of `[N, action_size]` actions and labels.
        sequence_length: longest sequence that gradients go through, in steps.
        sequences_per_update: number of sequences of one step of the optimiser, drawn from all that are remembered.
        updates_per_epoch: steps of the optimiser in one epoch.
        remembered_epochs: from how many epochs sequences are remembered.
        max_grad_norm: longest gradient.

    Attributes:
        policy: the student.
        exploration_policy: the agent for the sampler.

    Raises:
        TypeError: the student is no `RecurrentPolicy`, or the teacher no `Agent`.
        ValueError: a number is out of range.
    """

    state_version = 2

    def __init__(
        self,
        student: RecurrentPolicy,
        teacher: Agent,
        *,
        sees: Sequence[int] | None = None,
        teacher_epochs: float = 10.0,
        learning_rate: float = 1e-3,
        schedule: Callable[[Optimizer], LRScheduler] | None = None,
        loss: Callable[[Tensor, Tensor], Tensor] = nn.functional.mse_loss,
        sequence_length: int = 100,
        sequences_per_update: int = 64,
        updates_per_epoch: int = 20,
        remembered_epochs: int = 10,
        max_grad_norm: float = 1.0,
    ) -> None:
        for name, count in (
            ("sequence_length", sequence_length),
            ("sequences_per_update", sequences_per_update),
            ("updates_per_epoch", updates_per_epoch),
            ("remembered_epochs", remembered_epochs),
        ):
            if isinstance(count, bool) or not isinstance(count, int) or count < 1:
                raise ValueError(f"Distillation: {name} must be an int of at least 1, not {count!r}")
        for name, value in (("learning_rate", learning_rate), ("max_grad_norm", max_grad_norm)):
            if not (math.isfinite(value) and value > 0.0):
                raise ValueError(f"Distillation: {name} must be positive, not {value}")
        if not teacher_epochs >= 0.0:
            raise ValueError(f"Distillation: teacher_epochs must not be negative, not {teacher_epochs}")
        for method in ("reset", "get_actions"):
            if not callable(getattr(teacher, method, None)):
                raise TypeError(
                    f"Distillation: the teacher, a {type(teacher).__name__}, has no method {method}(); of a policy, "
                    "PolicyAgent(policy) makes an agent"
                )
        self.policy = student
        self.exploration_policy = TaughtAgent(PolicyAgent(student, sees), teacher)
        self._optimizer = torch.optim.Adam(student.parameters(), lr=learning_rate)
        self._schedule = None if schedule is None else schedule(self._optimizer)
        self._loss = loss
        self._teacher_epochs = teacher_epochs
        self._sequence_length, self._sequences_per_update = sequence_length, sequences_per_update
        self._updates_per_epoch, self._max_grad_norm = updates_per_epoch, max_grad_norm
        self._remembered: deque[Lessons] = deque(maxlen=remembered_epochs)

    def train(self, trainer: Trainer) -> float:
        """Trains; returns the mean loss of the last epoch."""
        loss = math.nan
        for epoch in trainer.step_epochs():
            share = max(0.0, 1.0 - epoch / self._teacher_epochs) if self._teacher_epochs else 0.0
            self.exploration_policy.teacher_share.fill_(share)
            self.learn_from(trainer.obtain_episodes(trainer.step_itr))
            loss = float(np.mean([self.update() for _ in range(self._updates_per_epoch)]))
            trainer.logger.record("Loss", loss)
            trainer.logger.record("TeacherShare", share)
            trainer.step_itr += 1
        return loss

    def learn_from(self, episodes: EpisodeBatch) -> None:
        """Remembers episodes of `exploration_policy`, cut into sequences."""
        sequences = cut(episodes.lengths, self._sequence_length)
        rows = len(episodes.rewards)
        infos = episodes.agent_infos
        self._remembered.append(
            Lessons(
                self.exploration_policy.student.seen(episodes.observations),
                torch.from_numpy(infos["teacher_actions"].reshape(rows, -1).astype(np.float32)),
                torch.from_numpy(infos["hidden_states"][sequences.starts].astype(np.float32)),
                torch.from_numpy(sequences.lengths),
                torch.from_numpy(infos["hidden_states"][:, self.policy.previous_action or slice(0)].astype(np.float32)),
            )
        )

    def update(self) -> float:
        """Takes one step of the optimiser on sequences that are drawn from the remembered ones; returns the loss.

        Raises:
            TrainingError: the loss is not finite; nothing was changed.
        """
        lessons = self._drawn()
        # A rollout holds the memory of every step, but only that of the first one is used.
        hidden = lessons.hidden.repeat_interleave(lessons.lengths, 0)
        outputs = self.policy.evaluate(Rollout(lessons.observations, lessons.lengths, hidden, lessons.previous_actions))
        actions = outputs if isinstance(outputs, Tensor) else outputs[0]
        loss = self._loss(actions, lessons.labels.to(actions))
        if not bool(torch.isfinite(loss)):
            raise TrainingError(f"Distillation: the loss is {loss.item()}; take a smaller learning_rate")
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        clip_grad_norm_(self.policy.parameters(), self._max_grad_norm)
        self._optimizer.step()
        if self._schedule is not None:
            self._schedule.step()
        return float(loss.item())

    def state_dict(self) -> dict[str, Any]:
        """Returns all that `train` goes on from, with what is remembered."""
        return {
            "student": self.policy.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": None if self._schedule is None else self._schedule.state_dict(),
            "remembered": [lessons._asdict() for lessons in self._remembered],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up what `state_dict` returned."""
        self.policy.load_state_dict(state["student"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._schedule is not None:
            self._schedule.load_state_dict(state["schedule"])
        self._remembered.clear()
        self._remembered.extend(Lessons(**lessons) for lessons in state["remembered"])

    def _drawn(self) -> Lessons:
        """`sequences_per_update` sequences, every remembered one as likely as the others."""
        counts = [len(lessons.lengths) for lessons in self._remembered]
        ends = np.cumsum(counts)
        picks = torch.randint(int(ends[-1]), (self._sequences_per_update,)).numpy()
        parts: list[tuple[Tensor, ...]] = []
        for number in picks.tolist():
            epoch = int(np.searchsorted(ends, number, side="right"))
            lessons, index = self._remembered[epoch], number - int(ends[epoch]) + counts[epoch]
            length = lessons.lengths[index : index + 1]
            start = int(lessons.lengths[:index].sum())
            steps = slice(start, start + int(length))
            columns = (lessons.observations[steps], lessons.labels[steps], lessons.hidden[index, None], length)
            parts.append((*columns, lessons.previous_actions[steps]))
        return Lessons(*(torch.cat(column) for column in zip(*parts, strict=True)))
