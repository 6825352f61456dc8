"""Parameters of brax and MuJoCo Playground: the actions of brax's own inference, without JAX."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import brax_files
import numpy as np
import pytest
from brax_files import Trained
from flax import linen
from same_actions import check_policy

import ganglion
from ganglion.adapters import brax
from ganglion.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path

STEPS = 100
SAID = {"activation": "swish", "normalize_observations": True}


@pytest.fixture(scope="module")
def trained() -> Trained:
    return Trained()


KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a dictionary of observations": ({}, {}),
    "one array": ({"dictionary": False}, {}),
    "not normalised": ({"normalize": False}, {"normalize_observations": False}),
    "relu": ({"activation": linen.relu}, {"activation": "relu"}),
    "gelu": ({"activation": linen.gelu}, {"activation": "gelu"}),
    "elu": ({"activation": linen.elu}, {"activation": "elu"}),
    "a mean and a spread": ({"distribution_type": "normal"}, {"mean_clip_scale": None}),
    "a clipped mean": (
        {"distribution_type": "normal", "mean_clip_scale": 0.8, "noise_std_type": "log"},
        {"mean_clip_scale": 0.8},
    ),
    "a spread of the state": ({"distribution_type": "normal", "state_dependent_std": True}, {"mean_clip_scale": None}),
}


@pytest.mark.sampled(1)
@pytest.mark.parametrize("kind", KINDS)
def test_the_actions_of_brax(kind: str, tmp_path: Path) -> None:
    options, told = KINDS[kind]
    trained = Trained(**options)
    policy = brax.load(trained.pickled(tmp_path / "params.pkl"), **{**SAID, **told})
    check_policy(policy, trained.run(STEPS))


def test_every_file_of_it_flies(trained: Trained, tmp_path: Path) -> None:
    policy = brax.load(trained.pickled(tmp_path / "params.pkl"), **SAID)
    run = trained.run(STEPS)
    for suffix in (".ganglion", ".onnx"):
        contract = ganglion.export(policy, tmp_path / f"walker{suffix}")
        assert contract.outputs[0].low == (-1.0,) * brax_files.ACTIONS
        pilot = ganglion.load(tmp_path / f"walker{suffix}")
        found = np.stack([pilot.step(one).copy() for one in run.observation])
        assert np.abs(found - run.action).max() < 1e-5


def test_a_checkpoint_says_what_a_pickle_does_not(trained: Trained, tmp_path: Path) -> None:
    folder = trained.checkpoint(tmp_path / "000000000000")
    check_policy(brax.load(folder), trained.run(STEPS))
    plain = Trained(normalize=False)
    check_policy(brax.load(plain.checkpoint(tmp_path / "plain")), plain.run(STEPS))


def test_jax_is_not_needed(trained: Trained, tmp_path: Path) -> None:
    """Neither for a pickle nor for a folder."""
    paths = trained.pickled(tmp_path / "params.pkl"), trained.checkpoint(tmp_path / "000000000000")
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('jax', 'flax', 'orbax', 'brax')))\n"
        "from ganglion.adapters import brax\n"
        f"for path in {[str(path) for path in paths]}: brax.load(path, activation='swish', normalize_observations=True)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_is_not_said_is_asked(trained: Trained, tmp_path: Path) -> None:
    path = trained.pickled(tmp_path / "params.pkl")
    with pytest.raises(ValueError, match=r"does not say activation \(swish.*default of brax: swish.*normalize_observ"):
        brax.load(path)
    with pytest.raises(ValueError, match="'sine' is none of swish"):
        brax.load(path, activation="sine", normalize_observations=True)
    with pytest.raises(ValueError, match="no setting 'mean_clip_scale' for it"):
        brax.load(path, **SAID, mean_clip_scale=1.0)
    with pytest.raises(ValueError, match="lie between -1 and 1"):
        brax.load(path, **SAID, action_low=-2.0, action_high=2.0)


def test_two_observations_of_one_size_are_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brax_files, "PRIVILEGED", brax_files.OBS)
    trained = Trained()
    path = trained.pickled(tmp_path / "params.pkl")
    with pytest.raises(ValueError, match=r"policy_obs_key \((state, privileged_state|privileged_state, state)"):
        brax.load(path, **SAID)
    check_policy(brax.load(path, **SAID, policy_obs_key="state"), trained.run(STEPS))
    with pytest.raises(ArtifactError, match="the observation 'pixels' is none of that size: "):
        brax.load(path, **SAID, policy_obs_key="pixels")


def test_what_is_no_policy_of_brax_says_so(trained: Trained, tmp_path: Path) -> None:
    statistics, policy, value = trained.params
    path = tmp_path / "params.pkl"
    conv = {"params": {"Conv_0": {"kernel": np.ones((3, 3, 1, 4), np.float32)}}}
    gap = {"params": {name: layer for name, layer in policy["params"].items() if name != "hidden_1"}}
    cases = [
        ([np.ones(3)], "holds a list"),
        ({"a": 1}, "holds a dict"),
        ((policy, statistics, value), "its second part is a RunningStatisticsState|has no mean and std"),
        ((statistics, conv, value), r"the policy has the parts \['Conv_0'\]"),
        ((statistics, gap, value), r"the policy has the parts \['hidden_0', 'hidden_2'\]"),
        ((statistics, {"params": {}}, value), r"the policy has the parts \[\]"),
        ((statistics, {"params": {"hidden_0": {"bias": np.ones(4)}}}, value), "no finite array 'hidden_0/kernel'"),
    ]
    for document, says in cases:
        path.write_bytes(pickle.dumps(document))
        with pytest.raises(ArtifactError, match=says):
            brax.load(path, **SAID)
    path.write_bytes(b"\x80\x04")
    with pytest.raises(ArtifactError, match="cannot be read as a pickle"):
        brax.load(path, **SAID)


def test_a_damaged_checkpoint_says_so(trained: Trained, tmp_path: Path) -> None:
    folder = trained.checkpoint(tmp_path / "000000000000")
    (folder / "ppo_network_config.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"ppo_network_config\.json' is no JSON"):
        brax.load(folder)
    for path in (folder / "d").iterdir():
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (folder / "ppo_network_config.json").unlink()
    with pytest.raises(ArtifactError, match=r"'0\.(mean|std)\.\w+' cannot be read|'1\.params"):
        brax.load(folder, **SAID)
    with pytest.raises(ArtifactError, match="is no checkpoint of orbax"):
        brax.load(tmp_path, **SAID)
