"""Policies that trainers made, beside the trainers' own inference along the same observations.

A case trains, saves, and reads the checkpoint back with `ganglion.adapters`; `pufferlib`, `pyrado`, `garage` and
`tf_agents` do not install: for these it is a recorded run of theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from .rows import Row, version

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from same_actions import Run

SECTION = "Trainers"
_STEPS = 2000


class Made(NamedTuple):
    """A policy as our adapter read it, what the trainer did, and what was executed instead of that."""

    policy: Any
    run: Run
    applied: Any = None


def _rsl_rl(model: str) -> Callable[[Path], Made]:
    def make(folder: Path) -> Made:
        import rsl_rl_files as files
        import yaml
        from same_actions import Run

        from ganglion.adapters import rsl_rl

        config = files.configuration(files.MODELS[model])
        runner = files.train(config)
        files.save(runner, folder / "model.pt")
        (folder / "agent.yaml").write_text(yaml.safe_dump(config))
        told = files.record_runner(runner, steps=_STEPS)
        run = Run(*(array[:, 0] for array in (told.observation, told.reset, told.action)))
        return Made(rsl_rl.load(folder / "model.pt"), run)

    return make


def _rl_games(rnn: dict[str, Any] | None) -> Callable[[Path], Made]:
    def make(folder: Path) -> Made:
        import rl_games_files as files

        from ganglion.adapters import rl_games

        checkpoint, player = files.train(files.configuration(folder / "training", rnn))
        policy = rl_games.load(checkpoint, action_low=files.LOW, action_high=files.HIGH)
        return Made(policy, files.record(player, _STEPS))

    return make


def _sb3(case: str) -> Callable[[Path], Made]:
    def make(folder: Path) -> Made:
        import sb3_files as files

        trained = files.train(case, folder)
        return Made(trained.load(), files.record(trained, _STEPS))

    return make


def _skrl(case: str) -> Callable[[Path], Made]:
    def make(folder: Path) -> Made:
        import skrl_files as files

        trained = files.train(case, folder)
        return Made(trained.load(), files.record(trained, _STEPS))

    return make


def _torchrl(kind: str, layers: int) -> Callable[[Path], Made]:
    def make(folder: Path) -> Made:
        import torchrl_files as files

        from ganglion.adapters import torchrl

        actor = files.train(files.make_actor(kind, layers, low=-2.0, high=2.0))
        policy = torchrl.load(files.saved(actor, folder / "actor.pt"), module=actor)
        return Made(policy, files.record(actor, _STEPS))

    return make


def _brax(folder: Path) -> Made:
    import brax_files as files

    from ganglion.adapters import brax

    trained = files.Trained()
    said = {"activation": "swish", "normalize_observations": True}
    return Made(brax.load(trained.pickled(folder / "params.pkl"), **said), trained.run(_STEPS))


def _pufferlib(case: str) -> Callable[[Path], Made]:
    def make(_folder: Path) -> Made:
        import puffer_files as files

        return Made(files.loaded(case), files.run(case))

    return make


def _recorded(trainer: str, file: str, **options: Any) -> Callable[[Path], Made]:
    def make(folder: Path) -> Made:
        import trainer_runs

        from ganglion import adapters

        told = trainer_runs.PREPARED[trainer](folder)
        config = {"config": folder / "actor.yaml"} if (folder / "actor.yaml").is_file() else {}
        return Made(getattr(adapters, trainer).load(folder / file, **config, **options), told.run, told.applied)

    return make


_PACKAGES = {
    "rsl_rl": ("rsl-rl-lib", "`get_inference_policy`"),
    "rl_games": ("rl-games", "its player"),
    "sb3": ("stable-baselines3", "`predict`"),
    "sb3-contrib": ("sb3-contrib", "`predict`"),
    "skrl": ("skrl", "`act` in evaluation"),
    "torchrl": ("torchrl", "deterministic exploration"),
    "brax": ("brax", "`make_inference_fn`"),
}
_RECORDINGS = {
    "pufferlib 3": "PufferLib 3.0.0, a recorded run",
    "pufferlib 4": "PufferLib at 8e3e7546, a recorded run",
    "pyrado": "Pyrado 0.7, a recorded run",
    "garage": "garage at 2d594803, a recorded run",
    "tf_agents": "TF-Agents 0.19.0, a recorded run",
}
CASES: dict[str, tuple[str, Callable[[Path], Made]]] = {
    **{f"rsl_rl {model}": ("rsl_rl", _rsl_rl(model)) for model in ("mlp", "lstm_1", "lstm_2", "gru_1", "gru_2")},
    "rl_games MLP": ("rl_games", _rl_games(None)),
    "rl_games LSTM": ("rl_games", _rl_games({})),
    "rl_games GRU, 2 layers": ("rl_games", _rl_games({"name": "gru", "layers": 2})),
    "sb3 PPO": ("sb3", _sb3("ppo")),
    "sb3 A2C, categories": ("sb3", _sb3("a2c several categories")),
    "sb3 SAC": ("sb3", _sb3("sac")),
    "sb3 TD3": ("sb3", _sb3("td3")),
    "sb3 DDPG": ("sb3", _sb3("ddpg")),
    "sb3 DQN": ("sb3", _sb3("dqn")),
    "sb3 RecurrentPPO": ("sb3-contrib", _sb3("lstm pendulum")),
    "sb3 MaskablePPO": ("sb3-contrib", _sb3("maskable ppo")),
    "sb3 TRPO": ("sb3-contrib", _sb3("trpo")),
    "sb3 TQC": ("sb3-contrib", _sb3("tqc")),
    "sb3 CrossQ": ("sb3-contrib", _sb3("crossq")),
    "sb3 QR-DQN": ("sb3-contrib", _sb3("qrdqn")),
    "sb3 ARS": ("sb3-contrib", _sb3("ars")),
    **{f"skrl {case}": ("skrl", _skrl(case)) for case in ("mlp", "deterministic", "rnn", "gru", "lstm")},
    "torchrl LSTM": ("torchrl", _torchrl("lstm", 1)),
    "torchrl GRU, 2 layers": ("torchrl", _torchrl("gru", 2)),
    "brax PPO": ("brax", _brax),
    "pufferlib LSTM": ("pufferlib 3", _pufferlib("3_lstm_continuous")),
    "pufferlib LSTM, categories": ("pufferlib 3", _pufferlib("3_lstm_multidiscrete")),
    "pufferlib MinGRU, 2 layers": ("pufferlib 4", _pufferlib("4_mingru_continuous")),
    "pufferlib GRU, 2 layers": ("pufferlib 4", _pufferlib("4_gru")),
    "pyrado LSTM": ("pyrado", _recorded("pyrado", "policy.pt", output_nonlin="tanh")),
    "garage LSTM": ("garage", _recorded("garage", "parameters.npz", defaults=True)),
    "tf_agents LSTM": ("tf_agents", _recorded("tf_agents", "actor.npz")),
}
"""By name: whose it is, and what makes it."""


def names() -> tuple[str, ...]:
    """What has a row."""
    return tuple(CASES)


def measured(name: str, folder: Path) -> Row:
    """The row of a case, but for times."""
    import torch

    from . import measure

    torch.set_num_threads(1)
    whose, make = CASES[name]
    made = make(folder)
    row = Row(SECTION, name, _RECORDINGS.get(whose) or version(*_PACKAGES[whose]))
    row.errors = measure.of_files(made.policy, folder)
    row.timed = folder / "policy.ganglion"
    row.from_reference = measure.from_run(made.policy, row.timed, made.run, made.applied)
    row.steps = (len(made.run.observation), int(made.run.reset.sum()))
    row.bytes = measure.read_bytes(row.timed)
    return row
