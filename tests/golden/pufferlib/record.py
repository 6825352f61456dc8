"""Records what PufferLib's own models do: `python record.py VERSION FOLDER`, with `FOLDER/pufferlib/models.py`.

VERSION is 2 (the source distribution 2.0.6), 3 (3.0.0) or 4 (PufferAI/PufferLib at 8e3e7546). None of them installs
here: the first two compile against what they download, the last is CUDA. Their models are Python, and are all that is
imported. Writes a checkpoint, as that version's trainer does, and `<case>.npz` with what the model gave, step by step.
"""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
OBS, STEPS = 6, 2000
DISCRETE = gymnasium.spaces.Discrete(4)
SEVERAL = gymnasium.spaces.MultiDiscrete([3, 2])
BOX = gymnasium.spaces.Box(-0.5, 1.0, (3,), np.float32)
PARTS = gymnasium.spaces.Dict(
    {
        "bytes": gymnasium.spaces.Box(0, 255, (3,), np.uint8),
        "floats": gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32),
        "shorts": gymnasium.spaces.Box(-300, 300, (2, 1), np.int16),
    }
)


def inputs() -> tuple[np.ndarray, np.ndarray]:
    """Observations and resets, which all cases share; written by whichever version comes first."""
    path = HERE / "inputs.npz"
    if not path.is_file():
        random = np.random.default_rng(17)
        reset = random.random(STEPS) < 0.02
        reset[0] = True
        np.savez(path, observation=random.normal(0.0, 1.0, (STEPS, OBS)).astype("f"), reset=reset)
    with np.load(path) as file:
        return file["observation"], file["reset"]


def package(folder: Path) -> Any:
    """The models, without what the package does when it is imported."""
    sys.modules["gym"] = gymnasium
    whole = types.ModuleType("pufferlib")
    whole.__path__ = [str(folder / "pufferlib")]
    # Base classes of environments, which are read for none of this.
    for name in ("PufferEnv", "APIUsageError", "namespace"):
        setattr(whole, name, type(name, (Exception,), {}))
    whole.set_buffers = whole.unroll_nested_dict = None
    sys.modules["pufferlib"] = whole
    return importlib.import_module("pufferlib.models")


def environment(actions: Any, observations: Any = None) -> Any:
    plain = gymnasium.spaces.Box(-np.inf, np.inf, (OBS,), np.float32)
    space = observations or plain
    return types.SimpleNamespace(
        single_observation_space=plain, single_action_space=actions, observation_space=space,
        env=types.SimpleNamespace(observation_space=space),
    )  # fmt: skip


def shaken(policy: torch.nn.Module, seed: int, *, biases: bool = True) -> torch.nn.Module:
    """Weights as after a training: what a constructor draws is nearly the same everywhere."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            parameter.add_(0.4 * torch.randn(parameter.shape, generator=generator))
            if not biases and name.endswith("bias"):
                parameter.zero_()
    return policy.eval()


def told(logits: Any) -> np.ndarray:
    """Means, or the logits of all actions side by side."""
    if isinstance(logits, torch.distributions.Normal):
        logits = logits.loc
    return torch.cat(list(logits), -1).numpy() if isinstance(logits, (tuple, list)) else logits.numpy()


@torch.no_grad()
def write(case: str, checkpoint: Any, step: Callable[[Any, bool], Any], given: Any, **more: Any) -> None:
    torch.save(checkpoint, HERE / f"{case}.pt")
    pairs = zip(given, inputs()[1], strict=True)
    results = [told(step(torch.as_tensor(obs)[None], bool(reset)))[0] for obs, reset in pairs]
    np.savez_compressed(HERE / f"{case}.npz", result=np.stack(results), **more)
    print(case, np.stack(results).std(0))


def third(models: Any) -> None:
    def record(case: str, actions: Any, units: int, seed: int, *, lstm: bool, parts: bool = False) -> None:
        env = environment(actions, PARTS if parts else None)
        observation, more = inputs()[0], {}
        if parts:
            observation, more, env.emulated = emulated(env)
        torch.manual_seed(seed)
        policy = models.Default(env, hidden_size=units)
        if lstm:
            policy = models.LSTMWrapper(env, policy, input_size=units, hidden_size=units)
        shaken(policy, seed)
        state: dict[str, Any] = {}

        def step(obs: Any, reset: bool) -> Any:
            if reset and lstm:  # PuffeRL.evaluate, where a rollout begins
                state.update(lstm_h=torch.zeros(1, units), lstm_c=torch.zeros(1, units))
            return policy.forward_eval(obs, state)[0]

        write(case, policy.state_dict(), step, observation, **more)
        # `puffer export`
        numbers = [parameter.data.cpu().numpy().flatten() for parameter in policy.parameters()]
        if case in ("3_lstm_continuous", "3_no_lstm"):
            np.concatenate(numbers).tofile(HERE / f"{case}.bin")

    record("3_lstm", DISCRETE, 16, 1, lstm=True)
    record("3_lstm_multidiscrete", SEVERAL, 24, 2, lstm=True)
    record("3_lstm_continuous", BOX, 12, 3, lstm=True)
    record("3_no_lstm", DISCRETE, 16, 4, lstm=False)
    record("3_lstm_dict", DISCRETE, 16, 5, lstm=True, parts=True)


def emulated(env: Any) -> tuple[np.ndarray, dict[str, np.ndarray], Any]:
    """Bytes as PufferLib hands them to the policy, and the values in them."""
    emulation = importlib.import_module("pufferlib.emulation")
    flat, dtype = emulation.emulate_observation_space(PARTS)
    random = np.random.default_rng(18)
    rows = np.zeros(STEPS, dtype)
    rows["bytes"] = random.integers(0, 3, (STEPS, 3))
    rows["floats"] = random.normal(0.0, 1.0, (STEPS, 2))
    rows["shorts"] = random.integers(-2, 3, (STEPS, 2, 1))
    env.single_observation_space = flat
    observation = rows.view(np.uint8).reshape(STEPS, -1)
    values = np.concatenate([rows[name].reshape(STEPS, -1).astype("f") for name in dtype.names], -1)
    return observation, {"observation": values}, {"observation_dtype": flat.dtype, "emulated_observation_dtype": dtype}


def second(models: Any) -> None:
    cleanrl = importlib.import_module("pufferlib.cleanrl")

    def record(case: str, actions: Any, units: int, seed: int, layers: int) -> None:
        env = environment(actions)
        torch.manual_seed(seed)
        policy = models.Default(env, hidden_size=units)
        if layers:
            policy = models.LSTMWrapper(env, policy, input_size=units, hidden_size=units, num_layers=layers)
        policy = shaken((cleanrl.RecurrentPolicy if layers else cleanrl.Policy)(policy), seed)
        state: list[Any] = [None]

        def step(obs: Any, reset: bool) -> Any:
            if not layers:
                return policy.policy(obs)[0]
            if reset:
                state[0] = (torch.zeros(layers, 1, units), torch.zeros(layers, 1, units))
            logits, _, state[0] = policy.policy(obs, state[0])
            return logits

        write(case, policy, step, inputs()[0])

    record("2_lstm_multidiscrete", SEVERAL, 16, 6, 2)
    record("2_lstm", DISCRETE, 16, 7, 1)
    record("2_continuous", BOX, 16, 8, 0)


def fourth(models: Any) -> None:
    def record(case: str, network: str, nvec: list[int], units: int, seed: int, layers: int, **options: Any) -> None:
        torch.manual_seed(seed)
        parts = (models.DefaultEncoder(OBS, units), models.DefaultDecoder(nvec, units))
        policy = shaken(models.Policy(*parts, getattr(models, network)(units, layers)), seed, **options)
        state: list[Any] = [()]

        def step(obs: Any, reset: bool) -> Any:
            if reset:  # PuffeRL.rollouts
                state[0] = policy.initial_state(1, "cpu")
            logits, _, state[0] = policy.forward_eval(obs, state[0])
            return logits

        write(case, policy.state_dict(), step, inputs()[0])

    record("4_mingru", "MinGRU", [4], 16, 9, 2)
    record("4_mingru_multidiscrete", "MinGRU", [3, 2], 24, 10, 1)
    # Without biases, which the policies of its trainer in CUDA have not.
    record("4_mingru_continuous", "MinGRU", [1, 1, 1], 16, 11, 2, biases=False)
    record("4_lstm", "LSTM", [4], 16, 12, 2)
    record("4_gru", "GRU", [4], 16, 13, 2)
    record("4_mlp", "MLP", [4], 16, 14, 2)


if __name__ == "__main__":
    torch.set_num_threads(1)
    {"2": second, "3": third, "4": fourth}[sys.argv[1]](package(Path(sys.argv[2]).resolve()))
