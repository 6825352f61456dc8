"""`ganglion profile`: into a file that is there, and at an export from a recording."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import ganglion
from ganglion._foundation.files import ReadFile, read_file
from ganglion.cli import main
from ganglion.compiler.containers import contract_to_change, stored_contract
from ganglion.errors import ArtifactError, ExportError
from ganglion.observation_profile.recorded import profile_of
from ganglion.runtime.policy import explain_file
from ganglion.wiring.profiling import _with_profile

ARTIFACTS = Path(__file__).parents[2] / "golden" / "artifacts"


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    contract = ganglion.inspect(ARTIFACTS / "lstm.ganglion")
    rng = np.random.default_rng(0)
    steps = np.cumsum(rng.normal(size=(400, contract.observation_size)), axis=0) * 0.02
    path = tmp_path_factory.mktemp("recording") / "run.npz"
    action = rng.normal(size=(400, contract.action_size))
    np.savez(path, observation=steps.astype(np.float32), action=action.astype(np.float32))
    return path


@pytest.mark.parametrize("name", ["lstm.ganglion", "lstm.onnx", "lstm.pt"])
def test_a_file_gets_a_profile_and_nothing_else_changes(tmp_path, recording, name):
    path, out = ARTIFACTS / name, tmp_path / name
    found = ganglion.wiring.profile(path, recording, out)
    contract = ganglion.inspect(out)
    assert contract.observation_profile == found and found.actions == contract.action_size
    assert contract == ganglion.inspect(path)  # the profile is no part of the comparison
    before, after = json.loads(stored_contract(read_file(path))[0]), json.loads(stored_contract(read_file(out))[0])
    assert {key for key in before | after if before.get(key) != after.get(key)} == {
        "observation_profile",
        "contract_sha256",
    }
    assert ganglion.load(out).self_test().ok


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda d: d["relations"].update(of=places(d, "of", 60000)), "not there"),
        (lambda d: d["relations"].update(columns=places(d, "columns", 65534)), "not there"),
        (lambda d: d["relations"].update(terms=17), "terms must be a whole number from 1 to 16"),
        (lambda d: d["relations"].update(told=d["relations"]["intercept"][:-4]), "told must be"),
        (lambda d: d["relations"].update(told=base64.b64encode(np.full(count(d), -1, "<f4")).decode()), "negative"),
    ],
)
def test_the_runtime_refuses_damaged_relations(recording, damage, says):
    file = read_file(ARTIFACTS / "lstm.ganglion")
    text, put = contract_to_change(file, explain_file(file).dialect, "hold a profile")
    contract = ganglion.inspect(file.path)
    document = profile_of(recording, contract.observation_size, contract.action_size).to_document()
    assert count(document) > 0
    explain_file(ReadFile(file.path, put(_with_profile(text, SimpleNamespace(to_document=lambda: document)))))
    damage(document)
    with pytest.raises(ArtifactError, match=says):
        explain_file(ReadFile(file.path, put(_with_profile(text, SimpleNamespace(to_document=lambda: document)))))


def count(document):
    return document["relations"]["count"]


def places(document, name, first):
    found = np.frombuffer(base64.b64decode(document["relations"][name]), "<u2").copy()
    found[0] = first
    return base64.b64encode(found.tobytes()).decode()


def test_a_profile_is_replaced_and_the_rest_keeps_its_bytes(tmp_path, recording):
    path = tmp_path / "lstm.ganglion"
    shutil.copy(ARTIFACTS / "lstm.ganglion", path)
    ganglion.wiring.profile(path, recording)
    first = path.read_bytes()
    other = tmp_path / "other.npz"
    with np.load(recording) as file:
        np.savez(other, observation=file["observation"] * 2.0)
    assert ganglion.wiring.profile(path, other).actions == 0
    assert path.read_bytes() != first
    ganglion.wiring.profile(path, recording)
    assert path.read_bytes() == first


def test_a_signed_file_is_refused_and_stays_as_it_is(tmp_path, recording):
    from cryptography.hazmat.primitives.asymmetric import ed25519
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = tmp_path / "lab.pem"
    private = ed25519.Ed25519PrivateKey.generate()
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path = tmp_path / "signed.ganglion"
    ganglion.sign(ARTIFACTS / "lstm.ganglion", key, path)
    before = path.read_bytes()
    with pytest.raises(ArtifactError, match="is signed, and a contract with a profile is another one"):
        ganglion.wiring.profile(path, recording)
    assert path.read_bytes() == before
    profiled = tmp_path / "profiled.ganglion"
    ganglion.wiring.profile(ARTIFACTS / "lstm.ganglion", recording, profiled)
    ganglion.sign(profiled, key)
    assert ganglion.inspect(profiled).observation_profile is not None


def test_what_cannot_be_profiled_says_why(tmp_path, recording):
    path = tmp_path / "lstm.ganglion"
    shutil.copy(ARTIFACTS / "lstm.ganglion", path)
    with np.load(recording) as file:
        observation = file["observation"]
    bad = tmp_path / "bad.npz"

    def refused(says, **fields):
        np.savez(bad, **fields)
        with pytest.raises(ArtifactError, match=says):
            ganglion.wiring.profile(path, bad)

    refused("observations of .* elements; the policy has", observation=observation[:, :-1])
    refused("actions of 7 elements; the policy has", observation=observation, action=np.zeros((400, 7)))
    refused("30 recorded steps are too few", observation=observation[:30])
    refused("not finite", observation=np.where(observation == observation[3, 1], np.nan, observation))
    with pytest.raises(ExportError, match="keeps its suffix"):
        ganglion.wiring.profile(path, recording, tmp_path / "lstm.onnx")
    assert path.read_bytes() == (ARTIFACTS / "lstm.ganglion").read_bytes()


def test_the_command(tmp_path, recording, capsys):
    out = tmp_path / "profiled.ganglion"
    arguments = ["profile", str(ARTIFACTS / "lstm.ganglion"), "--recording", str(recording), "-o", str(out)]
    assert main([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] and document["steps"] == 400 and document["file"] == str(out)
    assert main(["inspect", str(out)]) == 0
    assert "400 steps in" in " ".join(capsys.readouterr().out.split())
    assert main(["inspect", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["contract"]["observation_profile"]["steps"] == 400
    assert main(["profile", str(out), "--recording", str(tmp_path / "none.npz")]) == 1


@pytest.mark.parametrize("suffix", [".ganglion", ".hpp", ".h"])
def test_an_export_from_a_recording_has_a_profile_but_for_a_header(tmp_path, suffix):
    from ganglion.policies.catalogue import example, names

    policy = example(names()[0])
    size = policy.contract().observation_size
    path = tmp_path / "run.npz"
    np.savez(path, observation=np.random.default_rng(0).normal(size=(300, size)).astype(np.float32))
    contract = ganglion.export(policy, tmp_path / f"policy{suffix}", recording=path)
    assert (contract.observation_profile is None) == (suffix != ".ganglion")
    np.savez(path, observation=np.zeros((100, size), np.float32))
    assert ganglion.export(policy, tmp_path / f"policy{suffix}", recording=path).observation_profile is None
