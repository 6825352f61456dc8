"""Proximal policy optimisation of recurrent policies."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from ganglion.data import StepType
from ganglion.policies import DeployablePolicy, LSTMPolicy, RecurrentPolicy
from ganglion.training._sequences import Sequences, cut, minibatches
from ganglion.training.advantages import generalized_advantages
from ganglion.training.errors import TrainingError
from ganglion.training.gaussian_agent import GaussianAgent
from ganglion.training.value_function import ValueFunction, value_spec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    from ganglion.data import EpisodeBatch
    from ganglion.training.trainer import Trainer


class PPO:
    """Recurrent PPO: Schulman et al. 2017, "Proximal policy optimization algorithms", eq. 7, on sequences.

        algo = PPO(LSTMPolicy(spec, hidden_size=64, num_recurrent_layers=1))
        trainer.setup(algo, env, LocalSampler(algo.exploration_policy, make_env, envs_per_worker=8))
        trainer.train(n_epochs=50, batch_size=2000)
        ganglion.export(algo.deployed_policy, "policy.ganglion")

    Episodes are cut into sequences. Each one starts from the hidden state that the agent was in, and gradients go
    through `RecurrentPolicy.evaluate` back to its first step. Running statistics normalise the observations; they
    change behind an update, so that within it the policy is the one that acted.

    Args:
        policy: the mean action; `GaussianAgent` says what is put around it. Where it has a distribution of its own
            (outputs `mean` and `log_std`), that one is trained, and exported as trained.
        value_network: a policy with `value_spec(policy.env_spec)`; None for an LSTM of 64 units.
        init_std: standard deviation of the noise at the start; None for 0.5, or that of the policy; see
            `GaussianAgent`.
        learning_rate: of Adam, for policy and value function.
        schedule: makes the schedule of the learning rate, which goes one step with every update; None for none.
        discount: factor by which a reward counts less for every step that it is later.
        gae_lambda: see `generalized_advantages`.
        clip_range: largest change of a probability, relative, that is rewarded.
        num_passes: how often an update goes through its episodes.
        num_minibatches: steps of the optimiser in one pass; fewer where there are only a few sequences.
        sequence_length: longest sequence that gradients go through, in steps; None for whole episodes.
        entropy_weight: weight of the entropy of the noise in the objective.
        value_weight: weight of the error of the values, in units of their spread.
        max_grad_norm: longest gradient, of the policy and of the value function each.
        target_kl: an update stops before a minibatch on which the policy is so far from the one that acted; None for
            never.

    Attributes:
        exploration_policy: the agent for the sampler.
        deployed_policy: what is exported: normaliser, policy and action map; only noise of the policy's own is in it.
        value_function: what the advantages come from.

    Raises:
        TypeError: a network is no `RecurrentPolicy`.
        ValueError: spaces or sizes do not fit, or a number is out of range.
    """

    state_version = 1

    def __init__(
        self,
        policy: RecurrentPolicy,
        value_network: RecurrentPolicy | None = None,
        *,
        init_std: float | None = None,
        learning_rate: float = 1e-3,
        schedule: Callable[[Optimizer], LRScheduler] | None = None,
        discount: float = 0.99,
        gae_lambda: float = 0.95,
        clip_range: float = 0.2,
        num_passes: int = 10,
        num_minibatches: int = 4,
        sequence_length: int | None = 64,
        entropy_weight: float = 0.0,
        value_weight: float = 0.5,
        max_grad_norm: float = 0.5,
        target_kl: float | None = None,
    ) -> None:
        _check_numbers(
            positive={
                "learning_rate": learning_rate,
                "clip_range": clip_range,
                "max_grad_norm": max_grad_norm,
                "target_kl": 1.0 if target_kl is None else target_kl,
            },
            shares={"discount": discount, "gae_lambda": gae_lambda},
            weights={"entropy_weight": entropy_weight, "value_weight": value_weight},
            counts={
                "num_passes": num_passes,
                "num_minibatches": num_minibatches,
                "sequence_length": 1 if sequence_length is None else sequence_length,
            },
        )
        self.exploration_policy = GaussianAgent(policy, init_std)
        if value_network is None:
            value_network = LSTMPolicy(value_spec(policy.env_spec), hidden_size=64, num_recurrent_layers=1)
            value_network.to(policy.init_hidden())
        self.value_function = ValueFunction(value_network)
        found, expected = value_network.env_spec.observation_space, policy.env_spec.observation_space
        if found != expected:
            raise ValueError(f"PPO: value_network was made for observations {found}, the policy for {expected}")
        self._optimizer = torch.optim.Adam(
            [*self.exploration_policy.parameters(), *self.value_function.parameters()], lr=learning_rate, eps=1e-5
        )
        self._schedule = None if schedule is None else schedule(self._optimizer)
        self._discount, self._gae_lambda = discount, gae_lambda
        self._clip_range, self._max_grad_norm, self._target_kl = clip_range, max_grad_norm, target_kl
        self._num_passes, self._num_minibatches = num_passes, num_minibatches
        self._sequence_length = sequence_length
        self._entropy_weight, self._value_weight = entropy_weight, value_weight

    @property
    def deployed_policy(self) -> DeployablePolicy:
        """Observations to commands."""
        return self.exploration_policy.deployed_policy

    def train(self, trainer: Trainer) -> float:
        """Trains, one update an epoch; returns the mean return of the last episodes."""
        mean_return = math.nan
        for _ in trainer.step_epochs():
            episodes = trainer.obtain_episodes(trainer.step_itr)
            mean_return = float(episodes.rewards.sum()) / len(episodes.lengths)
            for name, value in self.update(episodes).items():
                trainer.logger.record(name, value)
            trainer.step_itr += 1
            trainer.step_episode = episodes
        return mean_return

    def update(self, episodes: EpisodeBatch) -> dict[str, float]:
        """Improves policy and value function with new episodes of `exploration_policy`.

        Returns:
            What the update did, by the names of the log; losses and distances as means over its minibatches.

        Raises:
            ValueError: `agent_infos` lack what a `GaussianAgent` gives.
            TrainingError: a loss is not finite; nothing was changed by that minibatch.
        """
        data, targets, sequences = self._prepared(episodes)
        rows: list[dict[str, float]] = []
        passes = (minibatches(sequences, self._num_minibatches) for _ in range(self._num_passes))
        for batch in itertools.chain.from_iterable(passes):
            row = self._improve(data, batch)
            if row is None:
                break
            rows.append(row)
        if self._schedule is not None:
            self._schedule.step()
        normalizer = self.deployed_policy.observation_normalizer
        observations = torch.from_numpy(episodes.flat_observations)
        if normalizer is not None:
            normalizer.update(observations)
        self.value_function.update_statistics(observations, targets)
        scalars = {name: float(np.mean([row[name] for row in rows])) for name in (rows[0] if rows else ())}
        if (log_std := self.exploration_policy.log_std) is not None:
            scalars["Std"] = float(log_std.detach().exp().mean())
        scalars["LearningRate"] = self._optimizer.param_groups[0]["lr"]
        scalars["Minibatches"] = float(len(rows))
        return scalars

    def state_dict(self) -> dict[str, Any]:
        """Returns all that training goes on with, but for the global random generators."""
        return {
            "agent": self.exploration_policy.state_dict(),
            "value_function": self.value_function.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": None if self._schedule is None else self._schedule.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on with what `state_dict` returned.

        Raises:
            KeyError, RuntimeError, ValueError: it is the state of another algorithm, or of other networks.
        """
        if (state["schedule"] is None) != (self._schedule is None):
            kinds = ("without", "with") if state["schedule"] is None else ("with", "without")
            raise ValueError(f"PPO: the state is that of a PPO {kinds[0]} a schedule, this is one {kinds[1]}")
        self.exploration_policy.load_state_dict(state["agent"])
        self.value_function.load_state_dict(state["value_function"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._schedule is not None:
            self._schedule.load_state_dict(state["schedule"])

    def _prepared(self, episodes: EpisodeBatch) -> tuple[_Steps, Tensor, Sequences]:
        """Returns what minibatches are taken of, the targets of the values before normalisation, and the sequences."""
        missing = {"hidden_states", "samples", "log_prob"} - set(episodes.agent_infos)
        if missing:
            raise ValueError(
                f"PPO: agent_infos lack {', '.join(sorted(missing))}; the episodes must come from `exploration_policy`"
            )
        lengths = episodes.lengths.astype(np.int64)
        values, last_values, value_hidden = self.value_function.along(episodes)
        last_types = episodes.step_types[np.cumsum(lengths) - 1]
        # An episode that the environment did not end would have gone on to earn what its last observation is worth.
        last_values = np.where(last_types == StepType.TERMINAL, 0.0, last_values)
        advantages = generalized_advantages(
            episodes.rewards.astype(np.float64), values, last_values, lengths, self._discount, self._gae_lambda
        )
        targets = torch.from_numpy(advantages + values)
        normalized = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        reference = value_hidden
        observations = torch.from_numpy(episodes.flat_observations)
        data = _Steps(
            policy_inputs=self.exploration_policy.normalize(observations).to(reference),
            value_inputs=self.value_function.observation_normalizer(observations).to(reference),
            policy_hidden=torch.from_numpy(np.array(episodes.agent_infos["hidden_states"])).to(reference),
            value_hidden=value_hidden,
            samples=torch.from_numpy(np.array(episodes.agent_infos["samples"])).to(reference),
            log_prob=torch.from_numpy(np.array(episodes.agent_infos["log_prob"])).to(reference),
            advantages=torch.from_numpy(normalized).to(reference),
            targets=self.value_function.normalize(targets).to(reference),
        )
        return data, targets, cut(lengths, self._sequence_length)

    def _improve(self, data: _Steps, batch: Sequences) -> dict[str, float] | None:
        """Takes one step of the optimiser; None if the policy is already too far from the one that acted."""
        agent, steps, lengths = self.exploration_policy, batch.steps, torch.from_numpy(batch.lengths)
        part = _Steps(*(column[steps] for column in data))
        outputs = _run(agent.mean_policy, part.policy_inputs, lengths, part.policy_hidden)
        means, log_stds = agent.parameters_of(outputs)
        log_ratio = agent.log_prob(part.samples, means, log_stds) - part.log_prob
        ratio = log_ratio.exp()
        clipped = ratio.clamp(1.0 - self._clip_range, 1.0 + self._clip_range)
        policy_loss = -torch.minimum(ratio * part.advantages, clipped * part.advantages).mean()
        # The estimator k3 of Schulman, "Approximating KL divergence": never negative, of little variance.
        kl = float((ratio - 1.0 - log_ratio).mean().detach())
        if self._target_kl is not None and kl > self._target_kl:
            return None
        values = _run(self.value_function.network, part.value_inputs, lengths, part.value_hidden)[0][:, 0]
        value_loss = (values - part.targets).square().mean()
        entropy = agent.entropy(log_stds)
        loss = policy_loss + self._value_weight * value_loss - self._entropy_weight * entropy
        if not bool(loss.isfinite()):
            raise TrainingError(f"PPO: the loss is {loss.item()}; train with a smaller learning_rate")
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for module in (agent, self.value_function):
            clip_grad_norm_(module.parameters(), self._max_grad_norm)
        self._optimizer.step()
        return {
            "PolicyLoss": float(policy_loss.detach()),
            "ValueLoss": float(value_loss.detach()),
            "Entropy": float(entropy.detach()),
            "KL": kl,
            "Std": float(log_stds.detach().exp().mean()),
            "ClipFraction": float((ratio != clipped).to(ratio).mean().detach()),
        }


class _Steps(NamedTuple):
    """What an update knows of every step, `[N, ...]` each."""

    policy_inputs: Tensor
    value_inputs: Tensor
    policy_hidden: Tensor
    value_hidden: Tensor
    samples: Tensor
    log_prob: Tensor
    advantages: Tensor
    targets: Tensor


def _run(network: RecurrentPolicy, observations: Tensor, lengths: Tensor, hidden_states: Tensor) -> tuple[Tensor, ...]:
    outputs = network.evaluate({"observations": observations, "lengths": lengths, "hidden_states": hidden_states})
    return (outputs,) if isinstance(outputs, Tensor) else outputs


def _check_numbers(
    positive: Mapping[str, float], shares: Mapping[str, float], weights: Mapping[str, float], counts: Mapping[str, int]
) -> None:
    for name, value in positive.items():
        if not (math.isfinite(value) and value > 0.0):
            raise ValueError(f"PPO: {name} must be positive, not {value}")
    for name, value in shares.items():
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"PPO: {name} must be from 0 to 1, not {value}")
    for name, value in weights.items():
        if not (math.isfinite(value) and value >= 0.0):
            raise ValueError(f"PPO: {name} must not be negative, not {value}")
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ValueError(f"PPO: {name} must be an int of at least 1, not {count!r}")
