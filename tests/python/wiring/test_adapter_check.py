"""Raw states through an adapter, in Python: NumPy's files both ways, flights, damaged bytes."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flight_files import HEAD, FlightFile, Flown

import ganglion
from ganglion import _core
from ganglion.errors import ArtifactError, GanglionError
from ganglion.wiring import check_adapter

ARTIFACT = Path(__file__).parents[2] / "golden/artifacts/lstm.ganglion"


def found_in(path: Path) -> dict[str, Any]:
    with np.load(path) as file:
        return dict(file)


class Adapter:
    """Shows the action before, and how often it was reset."""

    def __init__(self) -> None:
        self.resets, self.last = 0, 0.0

    def reset(self) -> None:
        self.resets, self.last = self.resets + 1, 0.0

    def __call__(self, raw: Any) -> list[float]:
        shown = [*raw["q"], self.last, self.resets]
        self.last = raw["action"][0]
        return shown


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16, np.int32, ">f8"])
def test_arrays_of_numpy(tmp_path: Path, save: Any, kind: Any) -> None:
    steps = 400
    q = np.asfortranarray(np.arange(steps * 3).reshape(steps, 3) % 100).astype(kind)
    reset = np.zeros(steps, np.bool_)
    reset[[0, 7]] = True
    arrays = {"observation": np.zeros((steps, 5)), "q": q, "action": np.ones((steps, 1)) * 2.0, "reset": reset}
    save(tmp_path / "raw.npz", **arrays, names=np.array(list("abcdé")), notes=np.array("x"), gain=np.float64(3.0))
    adapter = Adapter()
    check_adapter(tmp_path / "raw.npz", adapter, tmp_path / "out.npz", on_reset=adapter.reset)
    found = found_in(tmp_path / "out.npz")
    last = np.where(reset, 0.0, 2.0)
    expected = np.column_stack([q.astype(np.float64), last, np.cumsum(reset)])
    np.testing.assert_array_equal(found["observation"], expected)
    assert found["observation"].dtype == np.float32
    np.testing.assert_array_equal(found["reset"], reset)
    np.testing.assert_array_equal(found["action"], arrays["action"])
    assert list(found["names"]) == list("abcdé")
    assert found.keys() == {"observation", "reset", "action", "names"}


def test_several_robots(tmp_path: Path) -> None:
    q = np.random.default_rng(0).normal(size=(6, 2, 3))
    np.savez(tmp_path / "raw.npz", observation=np.zeros((6, 2, 5)), q=q, action=np.ones((6, 2, 1)))
    adapter = Adapter()
    check_adapter(tmp_path / "raw.npz", adapter, tmp_path / "out.npz", on_reset=adapter.reset)
    found = found_in(tmp_path / "out.npz")["observation"]
    np.testing.assert_array_equal(found[..., :3], q.astype(np.float32))
    np.testing.assert_array_equal(found[..., 4], np.repeat([[1.0, 2.0]], 6, axis=0))
    np.testing.assert_array_equal(found[:, 0, 3], [0, 1, 1, 1, 1, 1])


@pytest.mark.parametrize("compression", ["none", "zstd", "lz4"])
@pytest.mark.parametrize("after", [False, True])
def test_channels_of_a_flight(tmp_path: Path, compression: Any, after: bool) -> None:
    """Values of a channel belong to the step of the same tick, whether the loop records before it or behind it."""
    policy = ganglion.load(ARTIFACT)
    size = policy.contract.observation_size
    recorder = ganglion.FlightRecorder.open(tmp_path / "flight.mcap")
    policy.attach(recorder)
    fast, slow = recorder.channel("imu/fast", 2), recorder.channel("slow", 1)
    policy.reset()
    actions = []
    for step in range(30):
        if step == 11:
            policy.reset()
        if step % 3 == 0:
            slow.record(np.full(1, step, np.float32))
        if not after:
            fast.record(np.array([step, -step], np.float32))
        actions.append(np.array(policy.step(np.full(size, step, np.float32))))
        if after:
            fast.record(np.array([step, -step], np.float32))
    recorder.close(compression)
    seen: list[tuple[float, ...]] = []

    def adapter(raw: Any) -> list[float]:
        seen.append((float(raw["action"][0]), raw.reset))
        assert "slow" in raw and "observation" not in raw
        return [*raw["imu/fast"], *raw["slow"]]

    check_adapter(tmp_path / "flight.mcap", adapter, tmp_path / "out.npz")
    found = found_in(tmp_path / "out.npz")
    steps = np.arange(30)
    np.testing.assert_array_equal(found["observation"], np.column_stack([steps, -steps, steps - steps % 3]))
    np.testing.assert_array_equal(np.flatnonzero(found["reset"]), [0, 11])
    np.testing.assert_array_equal(found["action"], np.array(actions))
    np.testing.assert_array_equal([action for action, _ in seen], found["action"][:, 0])
    assert [reset for _, reset in seen] == list(found["reset"])


def test_holes_and_refused_steps_of_a_flight(tmp_path: Path) -> None:
    """Behind a hole nothing is known of what was; a step that was refused has no observation, and no row."""
    file = FlightFile()
    file.recording()
    flown = Flown(file, ARTIFACT)
    size = flown.pilot.contract.observation_size
    fields = [*((*field, False) for field in HEAD), ("values", "<f4", 1, True)]
    for step in range(9):
        if step == 6:
            file.sequence += 40
        file.message("/user/q", "Values1", fields, values=step)
        flown.step(np.full(size, np.nan if step == 3 else 0.5))
    (tmp_path / "flight.mcap").write_bytes(file.done())
    check_adapter(tmp_path / "flight.mcap", lambda raw: raw["q"], tmp_path / "out.npz")
    found = found_in(tmp_path / "out.npz")
    assert found["observation"][:, 0].tolist() == [0, 1, 2, 4, 5, 6, 7, 8]
    assert np.flatnonzero(found["reset"]).tolist() == [0, 5]
    assert np.isfinite(found["action"]).all()


def test_a_policy_of_several_robots_needs_the_states_of_each(tmp_path: Path) -> None:
    file = FlightFile()
    file.recording()
    flown = Flown(file, ARTIFACT.with_name("rnn_any.ganglion"), batch=2)
    flown.reset()
    file.message("/user/q", "Values1", [*((*field, False) for field in HEAD), ("values", "<f4", 1, True)], values=0.0)
    flown.step(np.zeros(2 * flown.pilot.contract.observation_size))
    (tmp_path / "flight.mcap").write_bytes(file.done())
    with pytest.raises(ArtifactError, match=r"steps 2 robots, and a channel does not say which values are whose"):
        check_adapter(tmp_path / "flight.mcap", lambda raw: raw["q"], tmp_path / "out.npz")


def test_a_flight_without_a_policy_is_its_channels(tmp_path: Path) -> None:
    recorder = ganglion.FlightRecorder.open(tmp_path / "flight.mcap")
    q, reset = recorder.channel("q", 1), recorder.channel("reset", 1)
    for step in range(5):
        q.record(np.full(1, step, np.float32))
        reset.record(np.full(1, step == 3, np.float32))
    recorder.close()
    resets = []
    check_adapter(
        tmp_path / "flight.mcap", lambda raw: raw["q"], tmp_path / "out.npz", on_reset=lambda: resets.append(1)
    )
    assert found_in(tmp_path / "out.npz")["observation"].tolist() == [[0.0], [1.0], [2.0], [3.0], [4.0]]
    assert len(resets) == 2


def test_bad_input(tmp_path: Path) -> None:
    raw, out = tmp_path / "raw.npz", tmp_path / "out.npz"
    np.savez(raw, q=np.ones((4, 2)))
    out.write_bytes(b"kept")
    for adapter, kind, said in (
        (lambda state: state["v"], ArtifactError, r"raw.npz': it has no 'v'; it has 'q'"),
        (lambda state: state["q"] / (state.step - 1), GanglionError, "element 0 in step 1: it is NaN or infinite"),
        (lambda state: state["q"][: 1 + (state.step < 2)], GanglionError, "1 elements in step 2; it gave 2 before"),
        (lambda _: [], GanglionError, "0 elements in step 0; the policy takes at least one"),
    ):
        with np.errstate(divide="ignore"), pytest.raises(kind, match=said):
            check_adapter(raw, adapter, out)
    with pytest.raises(ZeroDivisionError):
        check_adapter(raw, lambda state: [1 / state.step], out)
    with pytest.raises(ArtifactError, match="no such file"):
        check_adapter(tmp_path / "none.npz", lambda state: state["q"], out)
    with pytest.raises(GanglionError, match=r"out.npz' cannot be written"):
        check_adapter(raw, lambda state: state["q"], tmp_path / "no/out.npz")
    for arrays, said in (
        ({"q": np.array([{}])}, "Python objects"),
        ({"q": np.ones((4, 2)), "reset": np.full(4, 2.0)}, "something else than zeros and ones"),
        ({"q": np.ones((4, 2)), "reset": np.zeros(5)}, r"'q' is \[4, 2\]; a state has one entry for each of the 5"),
        ({"q": np.ones((0, 2))}, "no steps"),
        ({"s": np.array(["x"])}, "no array of numbers"),
        ({"q": np.ones((4, 2)), "observation": np.ones((4, 3, 1))}, r"of 3 robots it must be \[steps, robots, n\]"),
    ):
        np.savez(raw, **arrays)
        with pytest.raises(ArtifactError, match=said):
            check_adapter(raw, lambda state: state["q"], out)
    assert out.read_bytes() == b"kept"


def test_damaged_files_are_refused_in_one_sentence(tmp_path: Path) -> None:
    """Every answer of the reader is ours, whatever byte is wrong."""
    np.savez_compressed(tmp_path / "a.npz", q=np.random.default_rng(1).normal(size=(9, 2)), reset=np.zeros(9, np.bool_))
    recorder = ganglion.FlightRecorder.open(tmp_path / "b.mcap")
    channel = recorder.channel("q", 2)
    for _ in range(9):
        channel.record(np.zeros(2, np.float32))
    recorder.close("zstd")
    draw = random.Random(5)
    refused = 0
    for name in ("a.npz", "b.mcap"):
        whole = (tmp_path / name).read_bytes()
        for trial in range(400):
            damaged = bytearray(whole)
            if trial % 4 == 0:
                del damaged[draw.randrange(len(damaged)) :]
            for _ in range(draw.randrange(1, 4)):
                if damaged:
                    damaged[draw.randrange(len(damaged))] = draw.randrange(256)
            path = tmp_path / f"damaged-{name}"
            path.write_bytes(damaged)
            try:
                recording = _core.RawRecording(path)
                for step in range(recording.steps):
                    state = recording.state(step, 0)
                    assert "q" not in state or state["q"].shape[0] >= 0
            except _core.Error as error:
                refused += 1
                assert len(error.args[1]) > 20
    assert refused > 300
