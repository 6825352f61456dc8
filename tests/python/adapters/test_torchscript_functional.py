"""TorchScript that takes and gives its state, several observations, lists, prints: by hand, LibTorch, and compiled."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import functional_torchscript as files
import numpy as np
import pytest
import torch

import ganglion
from ganglion.adapters.torchscript import load
from ganglion.cli import main
from ganglion.errors import ExportError, GanglionError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor, nn

    Run = Callable[[nn.Module, Tensor, Any], tuple[Tensor, Any]]

pytestmark = [pytest.mark.deep, pytest.mark.filterwarnings("ignore")]  # exports and verifies TorchScript of every form

UNITS = files.UNITS


def scripted(module: nn.Module, path: Path) -> Path:
    torch.jit.script(module.eval()).save(str(path))
    return path


def pair(layers: int) -> Any:
    return (torch.zeros(layers, 1, UNITS), torch.zeros(layers, 1, UNITS))


def flat(module: Any, x: Tensor, state: Any) -> Any:
    action, _, *state = module(x, *state)
    return action, state


CASES: dict[str, tuple[Callable[[], nn.Module], Run, Any, Any]] = {
    "actuator": (files.Actuator, lambda m, x, s: m(x.unsqueeze(1), s), pair(2), None),
    "optional": (files.OptionalPair, lambda m, x, s: m(x, s), pair(1), None),
    "flat": (files.Flat, flat, pair(1), None),
    "gru": (files.Gru, lambda m, x, s: m(x, s), torch.zeros(1, 1, UNITS), None),
    "carry first": (files.CarryFirst, lambda m, x, s: m(s, x)[::-1], torch.zeros(1, UNITS), None),
    "one vector": (files.OneVector, lambda m, x, s: m(x[0], s), torch.zeros(UNITS), None),
    "two": (
        files.Two,
        lambda m, x, s: m(x[:, :4], x[:, 4:], s),
        torch.zeros(1, 1, UNITS),
        {"a_vec": 4, "b_vec": 3},
    ),
    # In the order of the keys' names.
    "dictionary": (
        files.Dictionary,
        lambda m, x, s: (m({"height": x[:, :2], "policy": x[:, 2:]}), s),
        None,
        {"policy": 5, "height": 2},
    ),
    "encoders": (files.Encoders, lambda m, x, s: (m(x[:, :4], x[:, 4:]), s), None, None),
    "lists": (files.Lists, lambda m, x, s: (m(x), s), None, None),
    "talker": (files.Talker, lambda m, x, s: (m(x), s), None, None),
    "sliced": (files.Sliced, lambda m, x, s: (m(x), s), None, 18),
}


def by_hand(module: nn.Module, run: Run, start: Any, observations: Tensor, resets: Sequence[int]) -> Any:
    state, actions = start, []
    with torch.no_grad():
        for step, observation in enumerate(observations):
            state = start if step in resets else state
            action, state = run(module, observation.unsqueeze(0), state)
            actions.append(action.reshape(-1).numpy())
    return np.stack(actions)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", CASES)
def test_what_it_does_by_hand_on_every_engine(name: str, tmp_path: Path) -> None:
    make, run, start, observation = CASES[name]
    module = make().eval()
    path = scripted(module, tmp_path / "policy.pt")
    pilot = ganglion.load(path, observation=observation)
    native = ganglion.load(ganglion.compile(path, tmp_path / "p.ganglion", observation=observation).path)
    size = pilot.contract.observation_size
    given = torch.randn(40, size, generator=torch.Generator().manual_seed(1))
    expected = by_hand(module, run, start, given, [0, 23])
    for flying in (pilot, native):
        assert flying.contract.hidden_size == native.contract.hidden_size
        assert [spec.name for spec in flying.contract.inputs] == [spec.name for spec in native.contract.inputs]
        for step, one in enumerate(given.numpy()):
            if step == 23:
                flying.reset()
            np.testing.assert_allclose(flying.step(one), expected[step], atol=1e-5, rtol=1e-5, err_msg=f"{step}")
    if name in ("actuator", "two"):
        assert ganglion.verify(path, steps=40, observation=observation).ok


@pytest.mark.parametrize("name", ["actuator", "optional", "flat", "gru", "carry first"])
def test_rows_are_policies_of_their_own(name: str, tmp_path: Path) -> None:
    make, run, start, _ = CASES[name]
    module = make().eval()
    pilot = ganglion.load(scripted(module, tmp_path / "policy.pt"), batch=3)
    given = torch.randn(30, 3, files.OBSERVATIONS, generator=torch.Generator().manual_seed(1))
    expected = [by_hand(module, run, start, given[:, row], [0, 11] if row == 1 else [0]) for row in range(3)]
    for step, rows in enumerate(given.numpy()):
        if step == 11:
            pilot.reset([False, True, False])
        np.testing.assert_allclose(pilot.step(rows), np.stack([one[step] for one in expected]), atol=1e-5)


def test_the_slots_of_a_pair_and_what_is_said_of_it(tmp_path: Path) -> None:
    reading = ganglion.explain(scripted(files.Actuator(), tmp_path / "policy.pt"))
    assert [(slot.name, slot.shape) for slot in reading.contract.state] == [("h", (2, UNITS)), ("c", (2, UNITS))]
    assert any("argument hc[1] [2, 1, 16] is the state c: it begins with zeros" in note for note in reading.notes)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
def test_a_traced_layer_takes_the_width_of_its_weights(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "traced.pt"
    example = torch.zeros(1, files.OBSERVATIONS)
    torch.jit.trace(files.TracedBuffers(kind).eval(), example, check_trace=False).save(str(path))
    assert ganglion.load(path).contract.observation_size == files.OBSERVATIONS
    assert kind != "lstm" or ganglion.verify(path, steps=20).ok


def test_a_traced_functional_module(tmp_path: Path) -> None:
    path = tmp_path / "traced.pt"
    module = files.Actuator().eval()
    torch.jit.trace(module, (torch.zeros(1, 1, files.OBSERVATIONS), pair(2))).save(str(path))
    pilot = ganglion.load(path)
    given = torch.randn(20, files.OBSERVATIONS)
    expected = by_hand(module, CASES["actuator"][1], pair(2), given, [0])
    np.testing.assert_allclose(np.stack([pilot.step(one) for one in given.numpy()]), expected, atol=1e-5)


def test_whole_numbers_and_flags_are_state(tmp_path: Path) -> None:
    path = scripted(files.Counter(), tmp_path / "policy.pt")
    pilot = ganglion.load(path)
    native = ganglion.load(ganglion.compile(path, tmp_path / "p.ganglion").path)
    module = files.Counter().eval()
    for step, one in enumerate(torch.randn(50, 1, files.OBSERVATIONS)):
        if step == 30:
            for who in (pilot, native, module):
                who.reset()  # type: ignore[operator, union-attr]
        with torch.no_grad():
            expected = module(one)[0].numpy()
        for flying in (pilot, native):
            np.testing.assert_allclose(flying.step(one[0].numpy()), expected, atol=1e-5, err_msg=f"{step}")
    assert sorted(pilot.state().tolist()) == [1.0, 20.0]


REFUSED = {
    "state-not-fed": files.NoWayBack,
    "state-not-restored": files.LearnedStart,
    "forward-arguments": files.OpenKeys,
    "observation-size-unknown": files.Two,
    "observation-size-ambiguous": files.Sliced,
    "method-fails": files.ResetOnGpu,
}


@pytest.mark.parametrize("code", REFUSED)
def test_both_readers_refuse_alike(code: str, tmp_path: Path) -> None:
    check_refused(REFUSED[code](), code, tmp_path)


def check_refused(module: nn.Module, code: str, folder: Path) -> str:
    path = scripted(module, folder / "policy.pt")
    with pytest.raises(GanglionError) as in_cpp:
        ganglion.load(path)
    with pytest.raises(ExportError) as in_python:
        load(path)
    assert str(in_cpp.value).removeprefix(f"'{path}': ") == str(in_python.value)
    assert str(in_python.value).endswith(f" [{code}]")
    return str(in_python.value)


def test_of_slices_the_least_size_is_named(tmp_path: Path) -> None:
    """Not the widths of its matrices alone: 20 and 32 run as well, and neither is the size that the slices read."""
    said = check_refused(files.Sliced(), "observation-size-ambiguous", tmp_path)
    assert "may have 16 elements or more: forward(obs) accepts all of them, 20 and 32, too" in said


@pytest.mark.parametrize("module", [files.OneSlice, files.SlicesWithState])
def test_a_width_that_slices_only_let_run_is_no_size(module: type[nn.Module], tmp_path: Path) -> None:
    check_refused(module(), "observation-size-ambiguous", tmp_path)
    assert ganglion.load(tmp_path / "policy.pt", observation=40).contract.observation_size == 40


def test_a_number_that_is_needed_is_named(tmp_path: Path) -> None:
    assert "needs 'scale' of the type float" in check_refused(files.WantsNumber(), "forward-arguments", tmp_path)


def test_the_refusal_of_an_open_size_says_how_to_say_it(tmp_path: Path) -> None:
    said = check_refused(files.Dictionary(), "observation-size-unknown", tmp_path)
    assert "load(..., observation={'height': N, 'policy': N})" in said
    assert "--observation height:N --observation policy:N" in said


def test_a_gpu_in_its_code_is_named(tmp_path: Path) -> None:
    assert "it makes tensors on a GPU" in check_refused(files.ResetOnGpu(), "method-fails", tmp_path)


def test_what_the_file_raises_by_itself_is_a_refusal(tmp_path: Path) -> None:
    assert "out of range" in check_refused(files.Raises(), "method-fails", tmp_path)


def test_a_newer_torch_is_named(tmp_path: Path) -> None:
    import zipfile

    good, newer = scripted(files.Gru(), tmp_path / "good.pt"), tmp_path / "newer.pt"
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(newer, "w") as target:
        for item in source.infolist():
            target.writestr(item.filename, b"99\n" if item.filename.endswith("/version") else source.read(item))
    with pytest.raises(GanglionError, match=r"version 99.*please upgrade"):
        ganglion.load(newer)


def test_the_size_can_be_said_everywhere(tmp_path: Path) -> None:
    path = scripted(files.Sliced(), tmp_path / "policy.pt")
    out = str(tmp_path / "out.ganglion")
    for words in (["inspect", str(path)], ["verify", str(path), "--steps", "20"], ["compile", str(path), "-o", out]):
        assert main(words) == 1, words
        assert main([*words, "--observation", "18"]) == 0, words
    Path(f"{path}.yaml").write_text("observation: 17\n")
    assert ganglion.load(path).contract.observation_size == 17
    assert ganglion.load(path, observation=19).contract.observation_size == 19
    assert ganglion.compile(path, out).contract.observation_size == 17


def test_sizes_of_several_in_the_file_beside(tmp_path: Path) -> None:
    path = scripted(files.Two(), tmp_path / "policy.pt")
    Path(f"{path}.yaml").write_text("observation:\n  a_vec: 4\n  b_vec: 3\n")
    inputs = ganglion.explain(path).contract.inputs
    assert [(spec.name, spec.size) for spec in inputs] == [("a_vec", 4), ("b_vec", 3)]


@pytest.mark.parametrize(
    ("observation", "match"),
    [
        (15, "does not accept an observation of 15 elements"),
        ({"image": 16}, r"takes no observation 'image'.*\[observation-unknown\]"),
    ],
)
def test_a_size_that_does_not_fit(observation: Any, match: str, tmp_path: Path) -> None:
    path = scripted(files.Sliced(), tmp_path / "policy.pt")
    with pytest.raises(GanglionError, match=match):
        ganglion.load(path, observation=observation)
    with pytest.raises(ExportError, match=match):
        load(path, observation=observation)


def test_no_size_is_zero(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 1 element, not 0"):
        ganglion.load(scripted(files.Sliced(), tmp_path / "policy.pt"), observation=0)


def test_prints_are_found_and_left_out(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = scripted(files.Talker(), tmp_path / "policy.pt")
    pilot, policy = ganglion.load(path), load(path)
    pilot.step(np.zeros(files.OBSERVATIONS, np.float32))
    assert ganglion.verify(path, steps=20).ok
    assert capfd.readouterr().out == ""
    assert pilot.reading.findings == policy.findings
    assert [finding.code for finding in policy.findings] == ["prints"]


@pytest.mark.sampled(1)
@pytest.mark.parametrize("suffix", [".jit", ".pth", ".torchscript", ""])
def test_torchscript_under_other_suffixes(suffix: str, tmp_path: Path) -> None:
    path = scripted(files.Gru(), tmp_path / f"body{suffix}")
    assert ganglion.load(path).engine == "libtorch"
    assert ganglion.explain(path).contract.observation_size == files.OBSERVATIONS
    assert suffix != ".jit" or ganglion.verify(path, steps=10).ok
    native = ganglion.compile(path, tmp_path / "p.ganglion").path
    for other in ("p.bin", "p"):
        native = native.rename(tmp_path / other)
        assert ganglion.load(native).engine == "native"


def test_onnx_under_another_suffix(tmp_path: Path) -> None:
    path = tmp_path / "policy.model"
    path.write_bytes((Path(__file__).parents[2] / "golden/artifacts/lstm.onnx").read_bytes())
    assert ganglion.load(path).engine == "onnxruntime"
    assert ganglion.verify(path, steps=10).ok


def test_an_operator_that_brings_the_process_down_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os
    import signal

    from ganglion.adapters.torchscript import recording

    monkeypatch.setattr(recording, "_recorded", lambda *_: os.kill(os.getpid(), signal.SIGSEGV))
    path = scripted(files.Talker(), tmp_path / "policy.pt")
    with pytest.raises(ExportError, match=r"fails on it with SIGSEGV.*\[not-recordable\]"):
        load(path)
