"""Checkpoints of models that torch.compile or DistributedDataParallel had wrapped: names without what these put in."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
import sb3_files
import torch
from torch import Tensor, nn

from ganglion.adapters import pufferlib, pyrado, rl_games, rsl_rl, sb3, skrl, torchrl
from ganglion.adapters._state_dict import wrapped_as
from ganglion.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ganglion.policies import RecurrentPolicy

Names = dict[str, Tensor]


def mlp(*names: str) -> Names:
    generator = torch.Generator().manual_seed(0)
    sizes = (5, 8, 2)
    found = {}
    for index, name in enumerate(names):
        found[f"{name}.weight"] = torch.randn(sizes[index + 1], sizes[index], generator=generator)
        found[f"{name}.bias"] = torch.randn(sizes[index + 1], generator=generator)
    return found


def of_rsl_rl(path: Path, wrap: Callable[[Names], Names]) -> RecurrentPolicy:
    weights = {**mlp("actor.0", "actor.2"), **mlp("critic.0", "critic.2"), "std": torch.ones(2)}
    torch.save({"model_state_dict": wrap(weights), "iter": 1, "infos": None, "optimizer_state_dict": {}}, path)
    return rsl_rl.load(path, activation="elu")


def of_rsl_rl_4(path: Path, wrap: Callable[[Names], Names]) -> RecurrentPolicy:
    weights = {**mlp("mlp.0", "mlp.2"), "distribution.std_param": torch.ones(2)}
    statistics = {"obs_normalizer._mean": torch.ones(1, 5), "obs_normalizer._std": torch.ones(1, 5)}
    torch.save({"actor_state_dict": wrap({**weights, **statistics}), "iter": 1}, path)
    return rsl_rl.load(path, activation="elu")


def of_skrl(path: Path, wrap: Callable[[Names], Names]) -> RecurrentPolicy:
    weights = {**mlp("net_container.0", "policy_layer"), "log_std_parameter": torch.zeros(2)}
    scaler = {"running_mean": torch.ones(5), "running_variance": torch.ones(5), "current_count": torch.tensor(1.0)}
    torch.save({"policy": wrap(weights), "state_preprocessor": wrap(scaler)}, path)
    return skrl.load(path, activation="elu", output_activation="identity")


def of_torchrl(path: Path, wrap: Callable[[Names], Names]) -> RecurrentPolicy:
    torch.save(wrap(mlp("0.module.0", "0.module.2")), path)
    return torchrl.load(path, activation="tanh", distribution="none")


def of_pufferlib(path: Path, wrap: Callable[[Names], Names]) -> RecurrentPolicy:
    torch.save(wrap({**mlp("encoder.0", "decoder"), "value.weight": torch.ones(1, 8)}), path)
    return pufferlib.load(path, nvec=2)


def of_rl_games(path: Path, wrap: Callable[[Names], Names]) -> RecurrentPolicy:
    torch.save({"model": wrap(mlp("a2c_network.actor_mlp.0", "a2c_network.mu"))}, path)
    return rl_games.load(path, activation="elu")


def of_pyrado(path: Path, wrap: Callable[[Names], Names]) -> RecurrentPolicy:
    torch.manual_seed(0)
    cells = nn.GRU(5, 8)
    weights = {f"rnn_layers.{name}": value.detach() for name, value in cells.state_dict().items()}
    output = {"output_layer.weight": torch.ones(2, 8), "output_layer.bias": torch.ones(2)}
    torch.save(wrap({**weights, **output}), path)
    return pyrado.load(path, defaults=True)


@pytest.fixture(scope="module")
def sb3_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sb3")
    sb3_files.train("ppo", folder)
    return folder / "model.zip"


def of_sb3(path: Path, wrap: Callable[[Names], Names], checkpoint: Path) -> RecurrentPolicy:
    with zipfile.ZipFile(checkpoint) as source, zipfile.ZipFile(path, "w") as target:
        for item in source.infolist():
            data = source.read(item)
            if item.filename == "policy.pth":
                buffer = io.BytesIO()
                torch.save(wrap(torch.load(io.BytesIO(data))), buffer)
                data = buffer.getvalue()
            target.writestr(item.filename, data)
    return sb3.load(path)


def before(prefix: str) -> Callable[[Names], Names]:
    return lambda names: {prefix + name: value for name, value in names.items()}


def inside(names: Names) -> Names:
    """Wraps the parts of a model one by one: `actor._orig_mod.0.weight`."""
    return {
        ".".join((head, "_orig_mod", rest)) if rest else head: value
        for name, value in names.items()
        for head, _, rest in (name.partition("."),)
    }


WRAPS: dict[str, Callable[[Names], Names]] = {
    "compiled": before("_orig_mod."),
    "parallel": before("module."),
    "both": before("module._orig_mod."),
    "inside": inside,
}
LOADERS: dict[str, Callable[..., RecurrentPolicy]] = {
    "rsl_rl": of_rsl_rl,
    "rsl_rl 4": of_rsl_rl_4,
    "skrl": of_skrl,
    "torchrl": of_torchrl,
    "rl_games": of_rl_games,
    "pyrado": of_pyrado,
    "pufferlib": of_pufferlib,
    "sb3": of_sb3,
}


@pytest.mark.filterwarnings("ignore:.*behind VecNormalize")
@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("trainer", LOADERS)
def test_wrapped_names_are_read(trainer: str, wrap: str, tmp_path: Path, sb3_checkpoint: Path) -> None:
    rest: tuple[Any, ...] = (sb3_checkpoint,) if trainer == "sb3" else ()
    plain = LOADERS[trainer](tmp_path / "plain", lambda names: names, *rest)
    wrapped = LOADERS[trainer](tmp_path / "wrapped", WRAPS[wrap], *rest)
    found, expected = wrapped.state_dict(), plain.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


@pytest.mark.parametrize("trainer", ["rsl_rl", "skrl", "rl_games", "pyrado", "pufferlib"])
def test_two_names_that_are_one_are_refused(trainer: str, tmp_path: Path) -> None:
    def twice(names: Names) -> Names:
        return {**names, **before("_orig_mod.")(names)}

    with pytest.raises(ArtifactError, match=r"' and '_orig_mod\..*, which are both '"):
        LOADERS[trainer](tmp_path / "twice", twice)


class _HasModule(nn.Module):
    """A model with a part called `module`, beside which stands one of the same name inside it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.module = nn.ModuleDict({"layer": nn.Linear(2, 2)})


def test_a_model_may_have_a_part_called_module() -> None:
    model = _HasModule()
    own = {name: torch.full_like(value, float(index)) for index, (name, value) in enumerate(model.state_dict().items())}
    for prefix in ("", "_orig_mod."):
        model.load_state_dict(wrapped_as(model, before(prefix)(own), "file"))
        assert all(torch.equal(value, own[name]) for name, value in model.state_dict().items())
    # torchrl's own modules have such a part everywhere.
    parts = nn.Sequential(nn.Linear(2, 2), nn.ModuleDict({"module": nn.Linear(2, 2)}))
    names = parts.state_dict()
    parts.load_state_dict(wrapped_as(parts, before("module.")(names), "file"))
    with pytest.raises(ArtifactError, match=r"'layer\.weight' and 'module\.layer\.weight'"):
        wrapped_as(model, before("module.")(own), "file")


def test_a_compiled_model_takes_plain_weights() -> None:
    plain = nn.Sequential(nn.Linear(2, 2))
    compiled = torch.compile(plain)
    assert isinstance(compiled, nn.Module)
    assert wrapped_as(compiled, plain.state_dict(), "file").keys() == compiled.state_dict().keys()
