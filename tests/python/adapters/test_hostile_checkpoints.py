"""Files with code in them, for every trainer: nothing is run without consent, and with it a warning is given."""

from __future__ import annotations

import base64
import json
import pickle
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import sb3_files
import torch

from ganglion.adapters import TRAINERS
from ganglion.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable

CODE = "can run any code"


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = str(mark)

    def __reduce__(self) -> Any:
        return Path.touch, (Path(self.mark),)


def of_torch(folder: Path, payload: Payload) -> list[str]:
    torch.save({"policy": payload, "model_state_dict": payload}, folder / "checkpoint.pt")
    return ["checkpoint.pt"]


def of_pickle(folder: Path, payload: Payload) -> list[str]:
    (folder / "checkpoint.pkl").write_bytes(pickle.dumps({"param.0": payload}))
    return ["checkpoint.pkl"]


def of_sb3(folder: Path, payload: Payload) -> list[str]:
    sb3_files.train("sac", folder)
    with zipfile.ZipFile(folder / "model.zip") as source, zipfile.ZipFile(folder / "hostile.zip", "w") as target:
        for member in source.infolist():
            data = source.read(member)
            if member.filename == "data":
                document = json.loads(data)
                document["action_space"][":serialized:"] = base64.b64encode(pickle.dumps(payload)).decode()
                data = json.dumps(document).encode()
            target.writestr(member.filename, data)
    return ["hostile.zip"]


WRITERS: dict[str, Callable[[Path, Payload], list[str]]] = {"sb3": of_sb3, "garage": of_pickle, "tf_agents": of_pickle}


@pytest.mark.parametrize("trainer", [trainer for trainer in TRAINERS if trainer != "brax"])
@pytest.mark.filterwarnings("ignore:.*does not say which activation")
def test_code_in_a_checkpoint_needs_consent(
    trainer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    mark = tmp_path / "ran"
    words = WRITERS.get(trainer, of_torch)(tmp_path, Payload(mark))
    line = ["export", "--from", trainer, *words, "-o", "policy.onnx"]
    assert main(line) == 1
    assert "--allow-pickle" in capsys.readouterr().err
    assert not mark.exists()
    with pytest.warns(UserWarning, match=CODE):
        assert main([*line, "--allow-pickle"]) in (1, 2)
    assert mark.exists()  # the payload is a real one
    assert not Path("policy.onnx").exists()


def test_code_in_parameters_of_brax_never_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All that a policy of brax needs is data: there is nothing to allow."""
    mark, path = tmp_path / "ran", tmp_path / "params.pkl"
    for document in (Payload(mark), (Payload(mark), {"params": Payload(mark)})):
        path.write_bytes(pickle.dumps(document))
        assert main(["export", "--from", "brax", str(path), "-o", str(tmp_path / "policy.onnx")]) == 1
        assert "expected (normalizer, policy, ...)" in capsys.readouterr().err
    assert not mark.exists()


@pytest.mark.parametrize("trainer", ["pyrado", "garage", "tf_agents", "rl_games", "rsl_rl"])
@pytest.mark.parametrize("tag", ["python/object/apply:os.mkdir [ran]", "python/name:os.system", "python/tuple_ [1]"])
def test_tags_in_a_configuration_are_named(
    trainer: str, tag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("agent.yaml").write_text(f"# settings\nparams: !!{tag}\n")
    weights = {"rnn_layers.weight_ih_l0": torch.ones(3, 2), "rnn_layers.weight_hh_l0": torch.ones(3, 1)}
    documents = {
        "pyrado": {**weights, "output_layer.weight": torch.ones(1, 1)},
        "rl_games": {"model": {"a2c_network.mu.weight": torch.ones(1, 1)}},
        "rsl_rl": {"model_state_dict": {"actor.0.weight": torch.ones(1, 1), "actor.0.bias": torch.ones(1)}},
    }
    if trainer in documents:
        torch.save(documents[trainer], "checkpoint")
    else:
        with Path("checkpoint").open("wb") as file:
            named = {
                "garage": ("output/kernel:0", "output/bias:0"),
                "tf_agents": ("param.0.x/action/kernel", "param.1.x"),
            }
            np.savez(file, **dict(zip(named[trainer], (np.ones((2, 1)), np.ones(1)), strict=True)))
    assert main(["export", "--from", trainer, "checkpoint", "--config", "agent.yaml", "-o", "policy.onnx"]) == 1
    error = capsys.readouterr().err
    assert (
        f"'agent.yaml', line 2: could not determine a constructor for the tag 'tag:yaml.org,2002:{tag.split()[0]}'"
        in error
    )
    assert "only plain data is read" in error
    assert not Path("ran").exists() and not Path("policy.onnx").exists()
