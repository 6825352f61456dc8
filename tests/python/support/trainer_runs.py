"""One policy of every trainer whose checkpoints are read: its files, and what the trainer itself does with it."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING, NamedTuple

import actor_cases
import brax_files
import garage_cases
import numpy as np
import puffer_files
import pyrado_golden
import rl_games_files
import rsl_rl_files
import sb3_files
import skrl_files
import torch
import torchrl_files
import yaml
from same_actions import Run

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

STEPS = 200


class Told(NamedTuple):
    """What the library did, and what was executed in the place of its actions; None for these."""

    run: Run
    applied: NDArray[np.float32] | None = None


def rsl_rl(folder: Path) -> Told:
    config = rsl_rl_files.configuration(rsl_rl_files.MODELS["lstm_1"], activation="relu")
    runner = rsl_rl_files.train(config)
    rsl_rl_files.save(runner, folder / "model_1500.pt")
    (folder / "agent.yaml").write_text(yaml.safe_dump(config))
    recording = rsl_rl_files.record_runner(runner, steps=STEPS)
    return Told(Run(*(array[:, 0] for array in (recording.observation, recording.reset, recording.action))))


def rl_games(folder: Path) -> Told:
    config = rl_games_files.configuration(folder / "training", {}, env_name="unit")
    checkpoint, player = rl_games_files.train(config)
    shutil.copy(checkpoint, folder / "policy.pth")
    shutil.copy(checkpoint.parent.parent / "params" / "agent.yaml", folder / "agent.yaml")
    return Told(rl_games_files.record(player, STEPS))


def sb3(folder: Path) -> Told:
    return Told(sb3_files.record(sb3_files.train("lstm pendulum", folder), STEPS))


def skrl(folder: Path) -> Told:
    return Told(skrl_files.record(skrl_files.train("gru", folder), STEPS))


def torchrl(folder: Path) -> Told:
    actor = torchrl_files.train(torchrl_files.make_actor(encoded=False))
    torchrl_files.saved(actor, folder / "actor.pt")
    return Told(torchrl_files.record(actor, STEPS))


def brax(folder: Path) -> Told:
    trained = brax_files.Trained()
    trained.pickled(folder / "params.pkl")
    return Told(trained.run(STEPS))


def pyrado(folder: Path) -> Told:
    """A recorded run of the original, which no longer installs, over and over."""
    with np.load(pyrado_golden.GOLDEN / "lstm_2l_outtanh.npz") as file:
        data = dict(file)
    weights = {name[6:]: torch.from_numpy(array) for name, array in data.items() if name.startswith("param.")}
    torch.save(weights, folder / "policy.pt")
    return in_a_row([(data["obs"], data["seq.act"], None)] * 4, None)


def pufferlib(folder: Path) -> Told:
    """A recorded run of the original, which does not install."""
    shutil.copy(puffer_files.GOLDEN / "3_lstm_continuous.pt", folder / "model_000200.pt")
    return Told(puffer_files.run("3_lstm_continuous", STEPS))


def garage(folder: Path) -> Told:
    """A recorded run of the original; the previous action that it saw is the one that it drew."""
    case = garage_cases.Case("act1_share0_ln0_fb0")
    np.savez(folder / "parameters.npz", **{name: case.data[f"param.{name}"] for name in case.meta["global_vars"]})
    keys = ("obs", "step.mean", "step.action", "resets")
    columns = [[case.data[key][:, row] for key in keys] for row in (0, 1, 2, 0)]
    return in_a_row([column[:3] for column in columns], [column[3] for column in columns])


def tf_agents(folder: Path) -> Told:
    """A recorded run of the original."""
    case = actor_cases.Case("rnn_dist_normalizer")
    names = [name for name in case.arrays if re.match(r"param\.|normalizer\.\d", name)]
    np.savez(folder / "actor.npz", **{name: case.arrays[name] for name in names})
    spec = case.meta["action_spec"]
    bounds = {"action_low": spec["minimum"], "action_high": spec["maximum"]}
    (folder / "actor.yaml").write_text(yaml.safe_dump({**bounds, "activation_fn": "relu", "defaults": True}))
    columns = [[case.arrays[key][:, row] for key in ("obs", "dist.loc", "step_type")] for row in (0, 1, 2, 0)]
    return in_a_row([(obs, mean, None) for obs, mean, _ in columns], [kind == 0 for _, _, kind in columns])


def in_a_row(columns: list, resets: list | None) -> Told:
    """Runs one behind the other, each from the initial state."""
    observation, action = (np.concatenate([column[part] for column in columns]) for part in (0, 1))
    begins = [np.arange(len(column[0])) == 0 for column in columns]
    if resets is not None:
        begins = [first | again for first, again in zip(begins, resets, strict=True)]
    drawn = [column[2] for column in columns]
    applied = None if drawn[0] is None else np.concatenate(drawn).astype(np.float32)
    return Told(Run(observation, np.concatenate(begins), action), applied)


PREPARED = {
    function.__name__: function
    for function in (brax, rsl_rl, rl_games, sb3, skrl, torchrl, pufferlib, pyrado, garage, tf_agents)
}
