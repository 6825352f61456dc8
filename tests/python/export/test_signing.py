"""Signed files: every engine insists on the lab's key, and nothing that was signed can be changed."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

import ganglion
from ganglion._foundation.safetensors_files import join, split
from ganglion.cli import main
from ganglion.compiler.file import from_bytes
from ganglion.contract import sealed
from ganglion.errors import ArtifactError, ExportError, GanglionError

ARTIFACTS = Path(__file__).parents[2] / "golden" / "artifacts"
FILES = ("lstm.ganglion", "lstm.onnx", "lstm.pt")


def write_keys(folder, name="lab", key=None, passphrase=None):
    """The private and the public half of a key, as PEM files."""
    key = ed25519.Ed25519PrivateKey.generate() if key is None else key
    hidden = NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase.encode())
    private, public = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, hidden))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


def contract_text(data):
    header, section = split(data)
    return header, header["__metadata__"]["ganglion"], section


def with_contract(data, text):
    header, _, section = contract_text(data)
    header["__metadata__"]["ganglion"] = text
    return join(header, section)


@pytest.mark.parametrize("name", FILES)
def test_a_signed_file_does_what_it_did_and_is_known(tmp_path, name):
    private, public = write_keys(tmp_path)
    path = tmp_path / name
    shutil.copy(ARTIFACTS / name, path)
    signer = ganglion.sign(path, private)
    assert ganglion.explain(path, public_key=public).signer == signer
    assert ganglion.explain(ARTIFACTS / name).signer == ""
    before, after = ganglion.load(ARTIFACTS / name), ganglion.load(path, public_key=public)
    assert after.contract == before.contract
    observation = np.linspace(-1.0, 1.0, before.contract.observation_size)
    for _ in range(5):
        np.testing.assert_array_equal(before.step(observation), after.step(observation))


@pytest.mark.parametrize(("name", "suffix"), zip(FILES, (".bin", ".graph", ".torchscript"), strict=True))
def test_the_bytes_say_what_a_file_under_another_suffix_is(tmp_path, name, suffix):
    private, public = write_keys(tmp_path)
    path = tmp_path / f"policy{suffix}"
    shutil.copy(ARTIFACTS / name, path)
    signer = ganglion.sign(path, private)
    assert ganglion.load(path, public_key=public).reading.signer == signer


@pytest.mark.parametrize("name", FILES)
def test_nobody_else_s_file_is_taken(tmp_path, name):
    private, _ = write_keys(tmp_path)
    other, other_public = write_keys(tmp_path, "other")
    signed = tmp_path / name
    signer = ganglion.sign(ARTIFACTS / name, private, signed)
    with pytest.raises(ArtifactError, match=f"is signed with the key {signer}, but the key in .* is asked for"):
        ganglion.load(signed, public_key=other_public)
    with pytest.raises(ArtifactError, match=r"is not signed, .*\(ganglion sign\)"):
        ganglion.load(ARTIFACTS / name, public_key=other_public)
    with pytest.raises(ArtifactError, match="is not signed"):
        ganglion.explain(ARTIFACTS / name, public_key=other_public)
    ganglion.sign(signed, other)  # in place of the first
    ganglion.load(signed, public_key=other_public)


def test_a_graph_that_is_compiled_in_memory_is_asked_too(tmp_path):
    private, public = write_keys(tmp_path)
    ganglion.sign(ARTIFACTS / "lstm.onnx", private, tmp_path / "lstm.onnx")
    assert ganglion.load(tmp_path / "lstm.onnx", engine="native", public_key=public).engine == "native"
    with pytest.raises(ArtifactError, match="is not signed"):
        ganglion.load(ARTIFACTS / "lstm.onnx", engine="native", public_key=public)


def test_a_file_of_another_exporter_is_nobody_s(tmp_path):
    private, public = write_keys(tmp_path)
    for name in ("rsl_rl_lstm.onnx", "rsl_rl_lstm.pt"):
        with pytest.raises(ArtifactError, match="is not signed"):
            ganglion.load(ARTIFACTS / name, public_key=public)
    with pytest.raises(ArtifactError, match="carries no contract that could be signed"):
        ganglion.sign(ARTIFACTS / "rsl_rl_lstm.onnx", private, tmp_path / "out.onnx")


def test_several_keys_of_a_lab(tmp_path):
    old, new = write_keys(tmp_path, "old"), write_keys(tmp_path, "new")
    both = tmp_path / "keys.pem"
    both.write_text("the keys of the lab\n" + old[1].read_text() + "\n" + new[1].read_text())
    for private, _ in (old, new):
        ganglion.sign(ARTIFACTS / "lstm.ganglion", private, tmp_path / "lstm.ganglion")
        ganglion.load(tmp_path / "lstm.ganglion", public_key=both)
    stranger, _ = write_keys(tmp_path, "stranger")
    ganglion.sign(ARTIFACTS / "lstm.ganglion", stranger, tmp_path / "lstm.ganglion")
    with pytest.raises(ArtifactError, match="one of the keys in"):
        ganglion.load(tmp_path / "lstm.ganglion", public_key=both)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"batch":1', '"batch":2'),
        ('"period_s":null', '"period_s":0.5'),
        ('"name":"', '"name":"x'),
        ('"tolerance":', '"tolerance":1'),
        ('"initial_state":[0.0', '"initial_state":[0.5'),
    ],
)
def test_whoever_edits_a_signed_contract_is_found_out(tmp_path, old, new):
    # With the digest over it made anew, as somebody would who means harm.
    private, public = write_keys(tmp_path)
    path = tmp_path / "lstm.ganglion"
    ganglion.sign(ARTIFACTS / path.name, private, path)
    data = path.read_bytes()
    text = contract_text(data)[1]
    assert old in text
    path.write_bytes(with_contract(data, sealed(text.replace(old, new, 1))))
    for key in (None, public):  # whether anybody insists on it, or not
        with pytest.raises(ArtifactError, match="its signature is not that of what the file holds"):
            ganglion.load(path, public_key=key)


def test_a_signature_that_is_taken_off_leaves_an_unsigned_file(tmp_path):
    private, public = write_keys(tmp_path)
    path = tmp_path / "lstm.ganglion"
    ganglion.sign(ARTIFACTS / path.name, private, path)
    data = path.read_bytes()
    bare = sealed(re.sub(r',"signature":\{.*?\}', "", contract_text(data)[1]))
    path.write_bytes(with_contract(data, bare))
    ganglion.load(path)
    with pytest.raises(ArtifactError, match="is not signed"):
        ganglion.load(path, public_key=public)


def test_a_signature_does_not_fit_another_file(tmp_path):
    private, _ = write_keys(tmp_path)
    ganglion.sign(ARTIFACTS / "lstm.ganglion", private, tmp_path / "lstm.ganglion")
    signature = re.search(r',"signature":\{.*?\}', contract_text((tmp_path / "lstm.ganglion").read_bytes())[1])[0]
    other = (ARTIFACTS / "gru_batch4.ganglion").read_bytes()
    text = contract_text(other)[1]
    where = text.index('"contract_sha256":"') + len('"contract_sha256":"') + 65
    (tmp_path / "gru.ganglion").write_bytes(with_contract(other, sealed(text[:where] + signature + text[where:])))
    with pytest.raises(ArtifactError, match="its signature is not that"):
        ganglion.load(tmp_path / "gru.ganglion")


def test_no_bit_of_a_signature_can_be_changed(tmp_path):
    private, _ = write_keys(tmp_path)
    path = tmp_path / "lstm.ganglion"
    ganglion.sign(ARTIFACTS / path.name, private, path)
    data = path.read_bytes()
    text = contract_text(data)[1]
    begin = text.index(',"signature"')
    end = text.index("}", begin) + 1
    for place in range(begin, end):
        for bit in range(7):
            changed = text[:place] + chr(ord(text[place]) ^ (1 << bit)) + text[place + 1 :]
            path.write_bytes(with_contract(data, sealed(changed)))
            try:
                signer = ganglion.explain(path).signer
            except GanglionError:
                continue
            # The name of the entry was changed: then nobody has signed it.
            assert signer == "", (place, bit)


def test_keys_that_are_none(tmp_path):
    private, public = write_keys(tmp_path, "hidden", passphrase="open sesame")
    target = tmp_path / "lstm.ganglion"
    with pytest.raises(GanglionError, match=r"[Pp]assword"):
        ganglion.sign(ARTIFACTS / "lstm.ganglion", private, target)
    with pytest.raises(GanglionError, match="no private key that can be read"):
        ganglion.sign(ARTIFACTS / "lstm.ganglion", private, target, passphrase="wrong")
    assert not target.exists()
    ganglion.sign(ARTIFACTS / "lstm.ganglion", private, target, passphrase="open sesame")
    curve, curve_public = write_keys(tmp_path, "curve", ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(GanglionError, match="is no Ed25519 key"):
        ganglion.sign(ARTIFACTS / "lstm.ganglion", curve, target)
    with pytest.raises(GanglionError, match="no private key that can be read"):
        ganglion.sign(ARTIFACTS / "lstm.ganglion", public, target)
    with pytest.raises(GanglionError, match="none of Ed25519"):
        ganglion.load(target, public_key=curve_public)
    with pytest.raises(GanglionError, match="holds no public key"):
        ganglion.load(target, public_key=private)
    with pytest.raises(GanglionError, match=r"missing\.pem"):
        ganglion.load(target, public_key=tmp_path / "missing.pem")
    with pytest.raises(ExportError, match="keeps its suffix"):
        ganglion.sign(target, private, tmp_path / "lstm.onnx", passphrase="open sesame")


def test_the_commands(tmp_path, capsys, monkeypatch):
    private, public = write_keys(tmp_path, passphrase="open sesame")
    monkeypatch.setenv("LAB_KEY", "open sesame")
    signed = str(tmp_path / "lstm.ganglion")
    command = ["sign", str(ARTIFACTS / "lstm.ganglion"), "--key", str(private), "-o", signed, "--json"]
    assert main([*command, "--passphrase-env", "LAB_KEY"]) == 0
    signer = json.loads(capsys.readouterr().out)["signer"]
    assert main([*command, "--passphrase-env", "NOT_SET"]) == 1
    assert "NOT_SET" in "".join(capsys.readouterr())
    assert main(["inspect", signed, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["signer"] == signer
    assert main(["verify", signed, "--key", str(public), "--steps", "20"]) == 0
    assert main(["verify", str(ARTIFACTS / "lstm.ganglion"), "--key", str(public), "--steps", "20"]) == 1
    assert "is not signed" in capsys.readouterr().err


def test_the_runtime_agrees_with_the_standard_s_own_implementation(tmp_path):
    """Contracts of many lengths: the hash under the signature works in blocks of 128 bytes."""
    private, public = write_keys(tmp_path)
    data = (ARTIFACTS / "lstm.ganglion").read_bytes()
    for length in range(140):
        text = dataclasses.replace(from_bytes(data)[1], provenance={"x": "y" * length}).to_json()
        (tmp_path / "any.ganglion").write_bytes(with_contract(data, text))
        ganglion.sign(tmp_path / "any.ganglion", private)
        ganglion.explain(tmp_path / "any.ganglion", public_key=public)
