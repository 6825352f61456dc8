"""Public policy files, which lie beside the project (`shared/real`) and are no part of it, beside their own runtime."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .rows import Row, version

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from same_actions import Run

SECTION = "Public policy files"
FOLDER = Path(__file__).parents[4] / "shared" / "real"


@dataclass(frozen=True)
class Public:
    """One file.

    Attributes:
        origin: repository, and the file in it.
        what: what kind of policy it is.
        random: it draws its action, so that no two runs are equal.
        sb3: name of the class of sb3 or sb3-contrib that saved it.
    """

    origin: str
    what: str
    random: bool = False
    sb3: str = ""


FILES = {
    "unitree_rl_gym__g1__motion.pt": Public("unitreerobotics/unitree_rl_gym g1/motion.pt", "LSTM, TorchScript"),
    "unitree_rl_gym__h1_2__motion.pt": Public("unitreerobotics/unitree_rl_gym h1_2/motion.pt", "LSTM, TorchScript"),
    "walk-these-ways__actuator_nets__unitree_go1.pt": Public(
        "Improbable-AI/walk-these-ways unitree_go1.pt", "actuator network, TorchScript"
    ),
    "holosoma__g1_29dof__ppo_g1_29dof.onnx": Public("amazon-far/holosoma ppo_g1_29dof.onnx", "MLP"),
    "unitree_rl_mjlab/policy.onnx": Public("unitreerobotics/unitree_rl_mjlab policy.onnx", "MLP, weights beside it"),
    "rl_sar__robot_lab__policy.pt": Public("fan-ziqi/rl_sar robot_lab/policy.pt", "MLP, TorchScript"),
    "mujoco_playground__onnx__go1_policy.onnx": Public(
        "google-deepmind/mujoco_playground go1_policy.onnx", "MLP of brax, by tf2onnx"
    ),
    "tron1-rl-deploy-python__isaaclab__policy.onnx": Public(
        "limxdynamics/tron1-rl-deploy-python policy.onnx", "MLP behind the encoder"
    ),
    "tron1-rl-deploy-python__isaaclab__encoder.onnx": Public(
        "limxdynamics/tron1-rl-deploy-python encoder.onnx", "encoder of a history"
    ),
    "Lite3_rl_deploy__ppo__policy.onnx": Public("DeepRoboticsLab/Lite3_rl_deploy ppo/policy.onnx", "MLP"),
    "godot_rl_agents_examples__onnx__model.onnx": Public(
        "edbeeching/godot_rl_agents_examples 3DLander", "MLP with an empty state, Godot RL"
    ),
    "ai_2048__TFModels__3DBallHard.onnx": Public("yiqide/ai_2048 3DBallHard.onnx", "MLP, ML-Agents"),
    "ai_2048__TFModels__PushBlock.onnx": Public("yiqide/ai_2048 PushBlock.onnx", "MLP with masks, ML-Agents"),
    "ai_2048__TestModels__deterContinuous2vis8vec2action_v2_0.onnx": Public(
        "yiqide/ai_2048 deterContinuous2vis8vec2action_v2_0.onnx", "MLP, ML-Agents; names outputs that nothing makes"
    ),
    "ai_2048__TestModels__hybrid0vis53vec_3c_2daction_v1_0.onnx": Public(
        "yiqide/ai_2048 hybrid0vis53vec_3c_2daction_v1_0.onnx", "MLP, ML-Agents; draws its actions", random=True
    ),
    "interactive-gym__policies__model.onnx": Public("chasemcd/interactive-gym model.onnx", "RLlib with a state"),
    "unitree_cpp_deploy__exported__policy.onnx": Public("wty-yy/unitree_cpp_deploy policy.onnx", "BeyondMimic"),
    "booster_gym__models__T1.pt": Public("BoosterRobotics/booster_gym T1.pt", "MLP, TorchScript"),
    "rl-trained-agents__BipedalWalker-v3_1__BipedalWalker-v3.zip": Public(
        "DLR-RM/rl-trained-agents trpo/BipedalWalker-v3", "checkpoint of sb3-contrib", sb3="TRPO"
    ),
    "rl-trained-agents__CartPole-v1_1__CartPole-v1.zip": Public(
        "DLR-RM/rl-trained-agents dqn/CartPole-v1", "checkpoint of sb3", sb3="DQN"
    ),
    "rl-trained-agents__Pendulum-v1_1__Pendulum-v1.zip": Public(
        "DLR-RM/rl-trained-agents ars/Pendulum-v1", "checkpoint of sb3-contrib", sb3="ARS"
    ),
}
"""By path in the folder."""


def names() -> tuple[str, ...]:
    """What has a row."""
    return tuple(FILES)


def title(name: str) -> str:
    """What a row is called: where the file comes from."""
    return FILES[name].origin


def measured(name: str, folder: Path) -> Row:
    """The row of a file, but for times; without numbers where it is not at hand."""
    import torch

    torch.set_num_threads(1)
    public, path = FILES[name], FOLDER / name
    row = Row(SECTION, public.origin, what=public.what)
    if not path.exists():
        row.runs = "not at hand"
        return row
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if public.sb3:
            _checkpoint(row, public.sb3, path, folder)
        else:
            _file(row, path, folder, random=public.random)
    return row


def _file(row: Row, path: Path, folder: Path, *, random: bool) -> None:
    import ganglion
    from ganglion.errors import ExportError
    from ganglion.verify import draw_trajectory
    from ganglion.verify.steppers import file_steppers

    from . import measure

    contract = ganglion.load(path).contract  # as it is: a file that wants a line is not "as it is"
    row.runs = "as it is"
    if random:
        row.runs = "as it is, on ONNX Runtime, with a warning: it draws its action, and has no output without the draw"
        try:
            ganglion.compile(path, folder / "policy.ganglion")
        except ExportError:
            return
        raise RuntimeError(f"{path} compiles by now: say so")
    row.reference = version("onnxruntime" if path.suffix == ".onnx" else "torch")
    drawn = draw_trajectory(contract, steps=measure.STEPS, batch=1, seed=0)
    observation, reset = drawn.observation, drawn.reset
    stepper = file_steppers(path, contract, batch=1)[0]
    told = []
    for given, again in zip(observation, reset, strict=True):
        if again.any():
            stepper.reset(again)
        outputs, _ = stepper.step(given)
        told.append(np.concatenate([np.asarray(values, np.float32).reshape(-1) for values in outputs]))
    measure.of_file(row, path, folder, _run(observation[:, 0], reset[:, 0], np.stack(told)))


def _checkpoint(row: Row, kind: str, path: Path, folder: Path) -> None:
    """As `ganglion export --from sb3` does; beside sb3's own `predict`, which needs the spaces to be told."""
    import gymnasium
    import sb3_contrib
    import stable_baselines3
    from same_actions import resets

    from ganglion.adapters import sb3

    from . import measure

    package = stable_baselines3 if hasattr(stable_baselines3, kind) else sb3_contrib
    row.reference = version(package.__name__.replace("_", "-"), "`predict`")
    row.runs = "`ganglion export --from sb3 FILE -o policy.ganglion`"
    policy = sb3.load(path)
    row.errors = measure.of_files(policy, folder)
    random = np.random.default_rng(0)
    observation = random.normal(size=(measure.STEPS, policy.input_specs[0].size)).astype(np.float32)
    low, high = (np.float32(getattr(policy.output_specs[0], name)) for name in ("low", "high"))
    space: Any = gymnasium.spaces.Discrete(int(high[0]) + 1) if kind == "DQN" else gymnasium.spaces.Box(low, high)
    objects: dict[str, Any] = {
        "observation_space": gymnasium.spaces.Box(-np.inf, np.inf, observation.shape[1:]),
        "action_space": space,
        **dict.fromkeys(("lr_schedule", "exploration_schedule", "clip_range"), lambda _: 0.0),
        "learning_rate": 0.0,
    }
    model = getattr(package, kind).load(path, device="cpu", custom_objects=objects)
    told = [np.reshape(model.predict(one, deterministic=True)[0], -1) for one in observation]
    run = _run(observation, resets(random, measure.STEPS), np.stack(told).astype(np.float32))
    row.timed = folder / "policy.ganglion"
    row.from_reference = measure.from_run(policy, row.timed, run)
    row.steps, row.bytes = (len(observation), int(run.reset.sum())), measure.read_bytes(row.timed)


def _run(observation: NDArray[np.float32], reset: NDArray[np.bool_], action: NDArray[np.float32]) -> Run:
    from same_actions import Run

    return Run(observation, reset, action)
