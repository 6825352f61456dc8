"""Policies of PufferLib's own models, against recorded runs of these models."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from puffer_files import GOLDEN, HIGH, LOW, SETTINGS, categories, loaded, results, run
from same_actions import EVERY_FILE, TOLERANCE, check_files, check_policy

import ganglion
from ganglion.adapters import pufferlib
from ganglion.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.deep  # exports every kind to every file

FLAT = {"observation_size": 6, "hidden_size": 16, "num_layers": 0, "nvec": [4], "version": 3}
FLAT_LSTM = {**FLAT, "hidden_size": 12, "num_layers": 1, "nvec": [1, 1, 1], "action_low": -0.5, "action_high": 1.0}
FLAT_4 = {**FLAT, "num_layers": 2, "nvec": [1, 1, 1], "version": 4}


def weights(case: str) -> dict[str, Any]:
    return torch.load(GOLDEN / f"{case}.pt", weights_only=True)


def saved(path: Path, document: Any) -> Path:
    torch.save(document, path)
    return path


def check_logits(policy: Any, case: str) -> None:
    """The indices, and what they were chosen by."""
    told, recorded = run(case), results(case)
    hidden, found = policy.init_hidden(), []
    with torch.inference_mode():
        for obs, reset in zip(told.observation, told.reset, strict=True):
            best, *logits, hidden = policy(torch.from_numpy(obs), policy.init_hidden() if reset else hidden)
            assert best.tolist() == [int(one.argmax()) for one in logits]
            found.append(torch.cat(logits).numpy().copy())
    np.testing.assert_allclose(np.stack(found), recorded, rtol=0, atol=TOLERANCE)


def test_every_recording_is_read() -> None:
    assert {path.stem for path in GOLDEN.glob("*.pt")} == set(SETTINGS)


@pytest.mark.sampled(5)
@pytest.mark.parametrize("case", SETTINGS)
def test_a_policy_equals_pufferlib(case: str) -> None:
    policy, told = loaded(case), run(case)
    assert len(told.observation) == 2000 and told.reset.sum() > 20
    assert not policy.training and results(case).std(0).min() > 0.1
    if counts := categories(case):
        names = ["logits"] if len(counts) == 1 else [f"logits_{index}" for index in range(len(counts))]
        assert [spec.name for spec in policy.output_specs] == ["actions", *names]
        assert policy.output_specs[0].high == tuple(count - 1 for count in counts)
        check_logits(policy, case)
    else:
        assert [spec.name for spec in policy.output_specs][:2] == ["mean", "log_std"]
        name = {"2_continuous": "", "3_lstm_continuous": "policy.", "4_mingru_continuous": "decoder."}[case]
        if name:  # version 2 saves a whole module
            log_std = policy(torch.from_numpy(told.observation[:2]))[1]
            assert torch.equal(log_std, weights(case)[f"{name}decoder_logstd"].expand(2, 3))
        check_policy(policy, told)


# One header is enough of each kind: compiling it takes most of the time.
@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("case", "suffixes"),
    [
        ("3_lstm_continuous", EVERY_FILE),
        ("4_mingru_continuous", EVERY_FILE),
        ("3_lstm_multidiscrete", EVERY_FILE[:-1]),
        ("4_gru", EVERY_FILE[1:]),
        ("3_no_lstm", (".ganglion",)),
        ("4_mingru_multidiscrete", (".onnx", ".ganglion")),
    ],
)
def test_every_file_and_engine_equals_pufferlib(case: str, suffixes: tuple[str, ...], tmp_path: Path) -> None:
    torch.set_num_threads(1)
    told = run(case)
    assert all(np.unique(column).size > 1 for column in told.action.T)
    check_files(loaded(case), told, tmp_path, suffixes)


@pytest.mark.parametrize("case", ["3_lstm_continuous", "4_mingru_continuous"])
def test_the_runtime_draws_as_pufferlib_does(case: str, tmp_path: Path) -> None:
    told, policy = run(case), loaded(case)
    ganglion.export(policy, tmp_path / "policy.ganglion")
    pilots = [ganglion.load(tmp_path / "policy.ganglion", sample_seed=seed) for seed in (None, 5)]
    found: list[list[Any]] = [[], []]
    for obs, reset in zip(told.observation, told.reset, strict=True):
        for pilot, steps in zip(pilots, found, strict=True):
            if reset:
                pilot.reset()
            steps.append(np.array(pilot.step(obs)).reshape(-1))
    mean, drawn = map(np.array, found)
    np.testing.assert_allclose(mean, told.action, rtol=0, atol=TOLERANCE)
    if case.startswith("3"):  # Normal(mean, std).sample(), and np.clip behind it
        assert drawn.min() == LOW and drawn.max() == HIGH and (drawn != mean).mean() > 0.5
    else:
        spread = policy(torch.from_numpy(told.observation[0]))[1].exp().numpy()
        # 4 standard errors of 2,000 draws
        np.testing.assert_allclose((drawn - mean).std(0) / spread, 1.0, atol=4.0 / np.sqrt(2.0 * 2000))


def test_version_3_clips_and_the_others_do_not() -> None:
    clipped = run("3_lstm_continuous").action
    assert (clipped == -0.5).any() and (clipped == 1.0).any()
    told = pufferlib.load(GOLDEN / "4_mingru_continuous.pt", action_low=-0.5, action_high=[1.0, 1.0, 1.0])
    check_policy(told, run("4_mingru_continuous"))  # some of these are outside
    assert told.output_specs[0].high == (1.0, 1.0, 1.0) and (run("4_mingru_continuous").action > 1.0).any()


@pytest.mark.parametrize("prefix", ["policy.", "module.", "_orig_mod.", "module._orig_mod.policy."])
@pytest.mark.parametrize("case", ["3_lstm", "3_no_lstm", "4_mingru"])
def test_prefixes_of_names_say_nothing(prefix: str, case: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "model.pt", {f"{prefix}{name}": value for name, value in weights(case).items()})
    found, expected = pufferlib.load(path, nvec=4).state_dict(), loaded(case).state_dict()
    assert found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)


def test_the_torch_trainer_of_version_4_calls_its_files_bin(tmp_path: Path) -> None:
    shutil.copy(GOLDEN / "4_mingru.pt", tmp_path / "model.bin")
    check_logits(pufferlib.load(tmp_path / "model.bin", nvec=4), "4_mingru")


def test_what_puffer_export_writes_is_read() -> None:
    policy = pufferlib.load(
        GOLDEN / "3_no_lstm.bin",
        **FLAT,
    )
    check_logits(policy, "3_no_lstm")
    check_policy(pufferlib.load(GOLDEN / "3_lstm_continuous.bin", **FLAT_LSTM), run("3_lstm_continuous"))


def native_4(case: str, *, aligned: bool = True, ends_aligned: bool = True) -> bytes:
    """The arrays in the order of `policy_weights_create`, `src/models.cu`, each at a multiple of 8 numbers."""
    own = {name.removeprefix("decoder."): value for name, value in weights(case).items()}
    assert not own["encoder.encoder.bias"].any() and not own["decoder_mean.bias"].any()
    arrays = [own["encoder.encoder.weight"], torch.cat([own["decoder_mean.weight"], own["value_function.weight"]])]
    arrays += [own["decoder_logstd"], *(own[f"network.layers.{index}.weight"] for index in range(2))]
    data = b""
    for array in arrays:
        data += bytes(-len(data) % 32 if aligned else 0) + array.numpy().tobytes()
    return data + bytes(-len(data) % 32 if ends_aligned else 0)


@pytest.mark.parametrize("ends_aligned", [True, False])
def test_a_checkpoint_of_the_trainer_in_cuda_is_read(ends_aligned: bool, tmp_path: Path) -> None:
    path = tmp_path / "0000000999948288.bin"
    path.write_bytes(native_4("4_mingru_continuous", ends_aligned=ends_aligned))
    check_policy(pufferlib.load(path, **FLAT_4), run("4_mingru_continuous"))
    path.write_bytes(native_4("4_mingru_continuous", aligned=False, ends_aligned=False))
    with pytest.raises(ArtifactError, match=r"has \d+ bytes, and version 4 with 6 observations, .* check these sizes"):
        pufferlib.load(path, **FLAT_4)


@pytest.mark.parametrize(
    ("file", "settings", "message"),
    [
        ("3_lstm.pt", {}, r"does not say nvec \(the number of categories.*--set nvec=\.\.\."),
        ("3_lstm.pt", {"nvec": 5}, r"nvec 5 has 5 categories; the decoder gives 4 logits"),
        ("3_lstm.pt", {"nvec": [2, 3]}, r"nvec \(2, 3\) has 5 categories"),
        ("3_lstm.pt", {"nvec": "four"}, r"nvec must be the number of categories"),
        ("3_lstm.pt", {"nvec": 4, "hidden": 3}, r"there is no setting 'hidden'"),
        ("3_lstm_continuous.pt", {}, r"does not say action_low .*action_high"),
        ("3_lstm_continuous.pt", {"action_low": 0, "action_high": [1, 2]}, r"action_high has 2 elements; there are 3"),
        ("2_lstm_multidiscrete.pt", {"nvec": [3, 2]}, r"there is no setting 'nvec'"),
        ("3_no_lstm.bin", {}, r"does not say version .*observation_size .*hidden_size .*num_layers .*nvec"),
        ("3_no_lstm.bin", {**FLAT, "version": 2}, r"version must be 3 for what"),
        ("3_no_lstm.bin", {**FLAT, "num_layers": 2}, r"num_layers must be 0 or 1 in version 3, not 2"),
    ],
)
def test_what_is_missing_or_wrong_is_named(file: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pufferlib.load(GOLDEN / file, **settings)


@pytest.mark.parametrize(
    ("case", "edit", "message"),
    [
        ("3_lstm", {"extra.weight": torch.ones(2, 2)}, r"not known here: extra\.weight; read are .*ganglion\.wrap"),
        ("3_lstm", {"policy.network.0.weight": torch.ones(2, 2, 3, 3)}, r"network for images or maps.*ganglion\.wrap"),
        ("3_lstm", {"cell.weight_hh": torch.ones(64, 16)}, r"'cell\.weight_hh' differs from 'weight_hh_l0'"),
        ("4_lstm", {"network.cell.1.bias_ih": torch.ones(64)}, r"'network\.cell\.1\.bias_ih' differs"),
        ("4_gru", {"network.norm.weight": torch.ones(5)}, r"takes 16 elements and has 16 units, and .* behind it 5"),
        ("4_mingru", {"network.layers.1.weight": torch.ones(32, 16)}, r"\(32, 16\); a layer of MinGRU has 3 rows"),
        ("4_mingru", {"network.layers.0.bias": torch.ones(48)}, r"not known here: network\.layers\.0\.bias"),
        ("3_lstm", {"policy.encoder.0.weight": torch.ones(8, 6)}, r"no plain Linear|no chain of layers"),
        ("3_lstm", {"policy.decoder.weight": torch.ones(4, 8)}, r"no chain of layers: .*\(16, 16\), \(8, 4\)"),
        ("3_lstm", {"policy.decoder.weight": torch.full((4, 16), torch.nan)}, r"not finite"),
        ("3_lstm_dict", {"policy.value.weight": None, "policy.value.bias": None}, r"tell whether a ReLU follows"),
        ("3_no_lstm", {"encoder.0.weight": None, "encoder.0.bias": None}, r"no encoder of PufferLib's default models"),
    ],
)
def test_other_weights_are_refused(case: str, edit: dict[str, Any], message: str, tmp_path: Path) -> None:
    changed = {name: value for name, value in {**weights(case), **edit}.items() if value is not None}
    with pytest.raises(ArtifactError, match=message):
        pufferlib.load(saved(tmp_path / "model.pt", changed), nvec=4)


def test_the_state_of_the_optimizer_names_the_weights(tmp_path: Path) -> None:
    state = {"optimizer_state_dict": {}, "global_step": 1, "model_name": "model_000200.pt"}
    with pytest.raises(ArtifactError, match=r"PufferLib's optimizer; the weights are in 'model_000200\.pt' beside it"):
        pufferlib.load(saved(tmp_path / "trainer_state.pt", state))
