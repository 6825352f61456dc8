"""The commonest first mistake: a trainer's checkpoint in place of a policy. Every way in names the command to run."""

from __future__ import annotations

import json
import pickle
import re
import shlex
import shutil
import struct
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import brax_files
import numpy as np
import puffer_files
import pytest
import sb3_files
import torch
from torch import nn

import ganglion
from ganglion import _core
from ganglion._foundation.checkpoints import CheckpointError, checkpoint_advice
from ganglion._foundation.trainers import TRAINERS
from ganglion.cli import main
from ganglion.errors import ArtifactError, GanglionError
from ganglion.policies import catalogue
from ganglion.policies.checkpoint import load_checkpoint, save_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from ganglion.policies import RecurrentPolicy

ONE = torch.ones(2, 2)


def of_torch(document: Any, **options: Any) -> Callable[[Path], None]:
    return lambda path: torch.save(document, path, **options)


def of_pickle(document: Any) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(pickle.dumps(document)) and None


def of_arrays(**arrays: Any) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with path.open("wb") as file:
            np.savez(file, **arrays)

    return write


def of_sb3(path: Path) -> None:
    sb3_files.train("ppo cartpole", path.parent)
    (path.parent / "model.zip").rename(path)


def of_golden(case: str) -> Callable[[Path], None]:
    return lambda path: shutil.copy(puffer_files.GOLDEN / f"{case}.pt", path) and None


def of_safetensors(path: Path) -> None:
    header = json.dumps({"layer.weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 4)


def of_flax(path: Path) -> None:
    serialization = pytest.importorskip("flax.serialization")
    path.write_bytes(serialization.to_bytes({"params": {"net_container": {"kernel": np.ones((2, 2), np.float32)}}}))


def of_orbax(path: Path) -> None:
    path.mkdir()
    (path / "_CHECKPOINT_METADATA").write_text("{}")


def of_brax(path: Path) -> None:
    of_orbax(path)
    (path / "ppo_network_config.json").write_text("{}")


RSL_RL = {"actor.0.weight": ONE, "critic.0.weight": ONE, "std": ONE[0]}
STATE = {"layer.weight": ONE}
CHECKPOINTS: dict[str, tuple[str, str | None, Callable[[Path], None]]] = {
    "rsl_rl 3": ("model_1500.pt", "rsl_rl", of_torch({"model_state_dict": RSL_RL, "iter": 1, "infos": None})),
    "rsl_rl 5": ("model_1500.pt", "rsl_rl", of_torch({"actor_state_dict": {"mlp.0.weight": ONE}, "iter": 1})),
    "rsl_rl compiled": (
        "m.pt", "rsl_rl", of_torch({"model_state_dict": {f"_orig_mod.{k}": v for k, v in RSL_RL.items()}})
    ),
    "rsl_rl compiled by FSDP": (
        "m.pt", "rsl_rl", of_torch({"model_state_dict": {f"_fsdp_wrapped_module.{k}": v for k, v in RSL_RL.items()}})
    ),
    "rsl_rl, old format": (
        "m.pt", "rsl_rl", of_torch({"model_state_dict": RSL_RL, "iter": 1}, _use_new_zipfile_serialization=False)
    ),
    "rl_games": ("Ant.pth", "rl_games", of_torch({"model": {"a2c_network.mu.weight": ONE}, "epoch": 1})),
    "skrl": ("agent.pt", "skrl", of_torch({"policy": {"net.0.weight": ONE}, "optimizer": {}, "value": {}})),
    "skrl model": ("model.pt", "skrl", of_torch({"net_container.0.weight": ONE, "policy_layer.weight": ONE})),
    "skrl in JAX": ("agent.pickle", "skrl", of_pickle({"policy": b"\x81", "optimizer": b"\x81"})),
    "skrl model in JAX": ("model.flax", "skrl", of_flax),
    "sb3": ("best_model.zip", "sb3", of_sb3),
    "sb3 statistics": ("vecnormalize.pkl", "sb3", of_pickle(np.ones(1))),  # see below
    "pyrado": ("policy.pt", "pyrado", of_torch({"rnn_layers.weight_ih_l0": ONE, "output_layer.weight": ONE})),
    "torchrl": ("actor.pt", "torchrl", of_torch({"module.0.module.0.weight": ONE, "module.1.lstm.weight_ih_l0": ONE})),
    "pufferlib": ("model_000200.pt", "pufferlib", of_golden("3_lstm")),
    "pufferlib without LSTM": ("model_000200.pt", "pufferlib", of_golden("3_no_lstm")),
    "pufferlib 2": ("model_000200.pt", "pufferlib", of_golden("2_lstm_multidiscrete")),
    "pufferlib 4": ("model_000200.bin", "pufferlib", of_golden("4_mingru")),
    "garage": ("params.npz", "garage", of_arrays(**{"GaussianLSTMPolicy/output_layer/kernel:0": np.ones((2, 2))})),
    "garage pickle": ("params.pkl", "garage", of_pickle({"GaussianLSTMPolicy/output_layer/kernel:0": np.ones(2)})),
    "tf_agents": ("actor.npz", "tf_agents", of_arrays(**{"param.0.dense/kernel:0": np.ones((2, 2))})),
    "unknown": ("net.pt", None, of_torch(STATE)),
    "unknown, with entries": ("net.ckpt", None, of_torch({"model_state_dict": STATE, "optimizer_state_dict": {}})),
    "unknown module": ("net.pth", None, of_torch(nn.Linear(2, 2))),
    "unknown arrays": ("net.npz", None, of_arrays(a=np.ones(2))),
    "unknown pickle": ("net.pkl", None, of_pickle([np.ones(2)])),
    "unknown safetensors": ("net.safetensors", None, of_safetensors),
    "orbax": ("checkpoint dir", None, of_orbax),
    "brax": ("000001024000", "brax", of_brax),
    "brax pickle": ("params.pkl", "brax", lambda path: brax_files.Trained().pickled(path) and None),
}  # fmt: skip


def test_every_trainer_has_a_checkpoint_here() -> None:
    assert {trainer for _, trainer, _ in CHECKPOINTS.values() if trainer} == set(TRAINERS), "no checkpoint of it"


def write(name: str, folder: Path) -> Path:
    file, _, writer = CHECKPOINTS[name]
    path = folder / file
    writer(path)
    if name == "sb3 statistics":
        sb3_files.train("ppo", folder)
    return path


def check_sentence(text: str, path: str, trainer: str | None) -> None:
    assert "not a policy that runs" in text and text.count(": ganglion export") == 1
    command = re.search(r"ganglion export .*? -o policy\.ganglion", text)
    assert command is not None
    words = shlex.split(command[0])
    assert words[:3] == ["ganglion", "export", path]
    assert words[3:5] == ["--from", trainer or "TRAINER"]
    assert trainer is not None or all(known in text for known in TRAINERS)


@pytest.mark.sampled(10)
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_every_command_says_what_it_is(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(name, tmp_path)
    monkeypatch.chdir(tmp_path)
    trainer = CHECKPOINTS[name][1]
    for line in (
        ["inspect", path.name],
        ["compile", path.name, "-o", "out.ganglion"],
        ["verify", path.name],
        ["bench", path.name],
        ["export", path.name, "-o", "out.ganglion"],
    ):
        assert main(line) == 1
        check_sentence(capsys.readouterr().err.replace("\n", " "), path.name, trainer)
    calls: tuple[Callable[[], Any], ...] = (
        lambda: ganglion.load(path.name),
        lambda: ganglion.inspect(path.name),
        lambda: ganglion.explain(path.name),
        lambda: ganglion.verify(path=path.name),
    )
    for call in calls:
        with pytest.raises(CheckpointError) as caught:
            call()
        check_sentence(str(caught.value), path.name, trainer)
    assert not Path("out.ganglion").exists()


@pytest.mark.sampled(9)
@pytest.mark.parametrize("name", [name for name in CHECKPOINTS if name not in ("skrl model in JAX", "orbax", "brax")])
def test_the_library_alone_says_what_to_do(name: str, tmp_path: Path) -> None:
    path = write(name, tmp_path)
    for suffix in (path.suffix, ".pt", ".onnx", ".ganglion"):
        other = path.with_suffix(suffix)
        path = path.rename(other)
        if path.suffix == ".safetensors" or name == "unknown safetensors":
            continue
        with pytest.raises(_core.Error, match=r"this is a .*: weights of a trainer, .* 'ganglion export FILE --from"):
            _core.explain_json(path, _core.LoadOptions({}))


@pytest.mark.sampled(6)
@pytest.mark.parametrize("name", catalogue.names())
def test_policies_are_no_checkpoints(name: str, tmp_path: Path) -> None:
    policy: RecurrentPolicy = catalogue.example(name)
    ganglion.export(policy, tmp_path / "policy.ganglion")
    assert checkpoint_advice(tmp_path / "policy.ganglion") is None
    save_checkpoint(policy, tmp_path / "policy.pt")
    with pytest.raises(CheckpointError, match=r"is a checkpoint of ganglion.*export .*policy\.pt -o policy\.ganglion"):
        ganglion.load(tmp_path / "policy.pt")
    assert type(load_checkpoint(tmp_path / "policy.pt")) is type(policy)


def test_a_header_that_begins_as_a_pickle(tmp_path: Path) -> None:
    """The first bytes of a `.ganglion` file are the length of its header."""
    ganglion.export(catalogue.example("RNNPolicy"), tmp_path / "policy.ganglion")
    data = (tmp_path / "policy.ganglion").read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    # Spaces behind the header are allowed by the format; the file is then refused for them, not called a pickle.
    padding = (0x0280 - size) % 0x10000
    padded = struct.pack("<Q", size + padding) + data[8 : 8 + size] + b" " * padding + data[8 + size :]
    assert padded[:2] == b"\x80\x02"
    path = tmp_path / "padded.ganglion"
    path.write_bytes(padded)
    try:
        ganglion.load(path)
    except GanglionError as error:
        assert "pickle" not in str(error)


def test_other_files_keep_their_errors(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "policy.pt", "w") as archive:
        archive.writestr("readme.txt", "text")
    for name, data in (("policy.onnx", b"nothing"), ("policy.ganglion", b"\x80"), ("empty.pt", b"")):
        (tmp_path / name).write_bytes(data)
    for name in ("policy.pt", "policy.onnx", "policy.ganglion", "empty.pt", "missing.pt"):
        with pytest.raises(ArtifactError) as caught:
            ganglion.load(tmp_path / name)
        assert not isinstance(caught.value, CheckpointError)
