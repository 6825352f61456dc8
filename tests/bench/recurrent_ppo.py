"""Recurrent PPO of ganglion beside `RecurrentPPO` of sb3-contrib: the same task, network, steps and seeds.

The task is gymnasium's InvertedPendulum-v5 with positions only, on one thread. Runs are interleaved, seed by seed, so
that both meet the same machine. Every run is judged by its policy without noise in ten episodes of up to 1000 steps;
that time is not counted. The third contestant is ganglion's PPO with its memory erased before each step.

    python tests/bench/recurrent_ppo.py                                  # about half an hour
    python tests/bench/recurrent_ppo.py --seeds 1 --steps 3000 --json out.json --markdown out.md
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import time
from pathlib import Path

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from ganglion.envs import MaskObservation, VectorGymEnvironment
from ganglion.policies import LSTMPolicy, RecurrentPolicy
from ganglion.training import PPO, LocalSampler, PolicyAgent, set_seed, value_spec

TASK, ROWS, HIDDEN_SIZE = "InvertedPendulum-v5", 8, 64
EPISODES, FIRST_SEED, WANTED = 10, 12345, 900.0
OURS = {"learning_rate": 1e-3, "num_passes": 10, "num_minibatches": 4, "sequence_length": 64}
"""The defaults."""
OUR_BATCH = 500
"""Least number of steps of an update; all episodes that have begun are finished."""
THEIRS = {"learning_rate": 1e-3, "n_steps": 128, "batch_size": 256, "n_epochs": 10}
"""The best of those that were tried, see RESULTS_PPO.md; everything else is sb3-contrib's default."""


def make_env() -> MaskObservation:
    return MaskObservation(TASK, keep=[0, 1])


class Forgetful(RecurrentPolicy):
    """The same network with its memory cut: every step begins with the initial hidden state."""

    def __init__(self, policy: RecurrentPolicy) -> None:
        super().__init__(policy.env_spec)
        self.policy = policy

    @property
    def state_layout(self):
        return ()

    def forward(self, obs, hidden=None):  # noqa: ARG002  (that is the point)
        action, _ = self.policy(obs)
        return action, action.new_zeros(*action.shape[:-1], 0)

    def _evaluate_packed(self, packed, hidden):  # noqa: ARG002
        return (self.policy(packed.data)[0],)


class Judge:
    """Asks from time to time how good the policy is, and keeps the clocks of the training without that."""

    def __init__(self, steps: int, every: int, on_steps) -> None:
        self._steps, self._every, self._on_steps = steps, every, on_steps
        self._envs = VectorGymEnvironment(make_env, EPISODES)
        self._next, self._seconds, self._cpu_seconds = every, 0.0, 0.0
        self.curve: list[tuple[int, float]] = []
        self.go_on()

    def go_on(self) -> None:
        self._begun = (time.perf_counter(), time.process_time())

    def look(self, steps: int, act) -> None:
        """Takes note of `steps`; `act(observations, is_first)` returns the actions of the policy without noise."""
        self._seconds += time.perf_counter() - self._begun[0]
        self._cpu_seconds += time.process_time() - self._begun[1]
        self._on_steps(min(steps, self._steps))
        if steps >= min(self._next, self._steps):
            self._next = steps + self._every
            self.curve.append((steps, self._mean_return(act)))
        self.go_on()

    def result(self) -> dict:
        steps = self.curve[-1][0]
        return {
            "curve": self.curve,
            "final_return": self.curve[-1][1],
            "best_return": max(value for _, value in self.curve),
            "steps_to_900": next((at for at, value in self.curve if value >= WANTED), None),
            "steps": steps,
            "seconds": self._seconds,
            "cpu_seconds": self._cpu_seconds,
            "steps_per_second": steps / self._seconds,
            "steps_per_cpu_second": steps / self._cpu_seconds,
        }

    def _mean_return(self, act) -> float:
        observations = self._envs.reset(seeds=range(FIRST_SEED, FIRST_SEED + EPISODES))
        active, total, is_first = np.ones(EPISODES, np.bool_), 0.0, True
        while active.any():
            observations, rewards, terminated, truncated, _ = self._envs.step(act(observations, is_first), active)
            total, is_first = total + rewards.sum(), False
            active &= ~(terminated | truncated)
        return total / EPISODES


def run_ours(seed: int, steps: int, judge: Judge, forgetful: bool = False) -> None:
    set_seed(seed)
    spec = make_env().spec
    networks = [LSTMPolicy(one, HIDDEN_SIZE, 1) for one in (spec, value_spec(spec))]
    algo = PPO(*map(Forgetful, networks) if forgetful else networks, **OURS)
    judged = PolicyAgent(algo.deployed_policy)

    def act(observations, is_first):
        if is_first:
            judged.reset(np.ones(EPISODES, np.bool_))
        return judged.get_actions(observations)[0]

    judge.go_on()
    done = update = 0
    with LocalSampler(algo.exploration_policy, make_env, envs_per_worker=ROWS, seed=seed) as sampler:
        while done < steps:
            episodes = sampler.obtain_episodes(update, OUR_BATCH, algo.exploration_policy.state_dict())
            algo.update(episodes)
            done, update = done + len(episodes.rewards), update + 1
            judge.look(done, act)


def run_forgetful(seed: int, steps: int, judge: Judge) -> None:
    run_ours(seed, steps, judge, forgetful=True)


def run_theirs(seed: int, steps: int, judge: Judge) -> None:
    from sb3_contrib import RecurrentPPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    def make():
        env = gymnasium.make(TASK)
        seen = Box(-np.inf, np.inf, (2,), np.float64)
        return gymnasium.wrappers.TransformObservation(env, lambda observation: observation[:2], seen)

    envs = VecNormalize(DummyVecEnv([make] * ROWS))
    algo = RecurrentPPO(
        "MlpLstmPolicy",
        envs,
        seed=seed,
        device="cpu",
        policy_kwargs={"lstm_hidden_size": HIDDEN_SIZE, "net_arch": []},
        **THEIRS,
    )
    memory = None

    def act(observations, is_first):
        nonlocal memory
        starts = np.full(EPISODES, is_first)
        seen = envs.normalize_obs(observations)
        actions, memory = algo.predict(seen, None if is_first else memory, starts, deterministic=True)
        return actions

    class Looking(BaseCallback):
        def _on_step(self) -> bool:
            return True

        def _on_rollout_start(self) -> None:
            if self.num_timesteps:
                judge.look(self.num_timesteps, act)

    judge.go_on()
    algo.learn(steps, callback=Looking())
    judge.look(algo.num_timesteps, act)


CONTESTANTS = {
    "ganglion PPO": run_ours,
    "sb3-contrib RecurrentPPO": run_theirs,
    "ganglion PPO, memory cut": run_forgetful,
}


def summary(runs: list[dict]) -> list[dict]:
    rows = []
    for name in CONTESTANTS:
        mine = [run for run in runs if run["contestant"] == name]
        if not mine:
            continue
        hits = [run["steps_to_900"] for run in mine]
        # A run that never got there counts as later than all others.
        middle = statistics.median_high(float("inf") if hit is None else hit for hit in hits)
        rows.append(
            {
                "contestant": name,
                "final_return": statistics.median(run["final_return"] for run in mine),
                "worst_final_return": min(run["final_return"] for run in mine),
                "best_return": max(run["best_return"] for run in mine),
                "reached": f"{sum(hit is not None for hit in hits)} of {len(hits)}",
                "steps_to_900": None if middle == float("inf") else int(middle),
                "steps_per_second": statistics.median(run["steps_per_second"] for run in mine),
                "steps_per_cpu_second": statistics.median(run["steps_per_cpu_second"] for run in mine),
            }
        )
    return rows


HEADINGS = (
    "",
    "return at the end (median)",
    "worst seed",
    "best return ever",
    "seeds that reached 900",
    "steps to 900 (median)",
    "steps/s, wall (median)",
    "steps/s, CPU (median)",
)


def cells(row: dict) -> list[str]:
    steps = row["steps_to_900"]
    return [
        row["contestant"],
        f"{row['final_return']:.0f}",
        f"{row['worst_final_return']:.0f}",
        f"{row['best_return']:.0f}",
        row["reached"],
        "never" if steps is None else f"{steps}",
        f"{row['steps_per_second']:.0f}",
        f"{row['steps_per_cpu_second']:.0f}",
    ]


def markdown(document: dict) -> str:
    lines = [
        "# Recurrent PPO beside sb3-contrib",
        "",
        f"{TASK} with positions only, LSTM of {HIDDEN_SIZE} units for policy and value function each, {ROWS} "
        f"environments, {document['steps']} steps, seeds {document['seeds']}; judged every {document['every']} steps "
        f"by the policy without noise, mean of {EPISODES} episodes. Written by `tests/bench/recurrent_ppo.py`.",
        "",
        f"{document['date']}; {document['machine']}; {document['versions']}.",
        "",
        "| " + " | ".join(HEADINGS) + " |",
        "|---" + "|---:" * (len(HEADINGS) - 1) + "|",
        *("| " + " | ".join(cells(row)) + " |" for row in document["summary"]),
        "",
        f"ganglion: {OURS}, at least {OUR_BATCH} steps an update; everything else is the default.",
        f"sb3-contrib: {THEIRS}, `VecNormalize`, `net_arch=[]`; everything else is the default.",
        "",
        "\n\n".join(document["notes"]),
    ]
    return "\n".join(lines) + "\n"


def machine() -> str:
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores, one thread used"


def main() -> None:
    parser = argparse.ArgumentParser(description="Recurrent PPO beside sb3-contrib.")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds")
    parser.add_argument("--first-seed", type=int, default=100, help="not one of those that settings were tried with")
    parser.add_argument("--steps", type=int, default=30_000, help="steps of every run")
    parser.add_argument("--every", type=int, default=1000, help="steps between two judgements")
    parser.add_argument("--only", choices=CONTESTANTS, action="append", help="leave the others out")
    parser.add_argument("--note", action="append", default=[], help="a paragraph for the table")
    parser.add_argument("--json", type=Path, help="write all curves")
    parser.add_argument("--markdown", type=Path, help="write the table")
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    console = Console()
    packages = ("torch", "gymnasium", "mujoco", "stable-baselines3", "sb3-contrib")
    document = {
        "task": TASK,
        "steps": arguments.steps,
        "every": arguments.every,
        "seeds": f"{arguments.first_seed} to {arguments.first_seed + arguments.seeds - 1}",
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "versions": ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages),
        "notes": arguments.note,
        "ganglion": OURS,
        "sb3-contrib": THEIRS,
        "runs": [],
    }
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("left"))
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        names = arguments.only or list(CONTESTANTS)
        all_runs = progress.add_task("all", total=arguments.seeds * len(names) * arguments.steps)
        for number in range(arguments.seeds * len(names)):
            seed, name = arguments.first_seed + number // len(names), names[number % len(names)]
            progress.update(all_runs, description=f"{name}, seed {seed}")

            def on_steps(steps, begun=number * arguments.steps):
                progress.update(all_runs, completed=begun + steps)

            judge = Judge(arguments.steps, arguments.every, on_steps)
            CONTESTANTS[name](seed, arguments.steps, judge)
            run = {"contestant": name, "seed": seed, **judge.result()}
            document["runs"].append(run)
            document["summary"] = summary(document["runs"])
            # Behind every run: it may be interrupted.
            if arguments.json is not None:
                arguments.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
            if arguments.markdown is not None:
                arguments.markdown.write_text(markdown(document), encoding="utf-8")
            progress.console.print(
                f"{name}, seed {seed}: return {run['final_return']:.0f}, 900 after {run['steps_to_900']} steps, "
                f"{run['steps_per_second']:.0f} steps/s"
            )
    table = Table(*HEADINGS, title=f"{TASK}, positions only, {arguments.steps} steps")
    for row in document["summary"]:
        table.add_row(*cells(row))
    console.print(table)


if __name__ == "__main__":
    main()
