"""What a page carries: the numbers of the run bit for bit, a stated choice of them where there are too many."""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from pathlib import Path

import numpy as np
import pytest

import ganglion
from ganglion.verify.page import Channel, Curves, Growth, Mark, Row
from ganglion.verify.page.document import data_block

PAGE = Path(ganglion.__file__).parent / "verify" / "page"
TYPES = {"f4": np.float32, "f8": np.float64, "u4": np.uint32}


def unpacked(packed: str, curves: int = 1) -> np.ndarray:
    """What packed.js reads, in Python; the browser test holds the two equal."""
    kind, _, text = packed.partition(":")
    planes = np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=np.uint8)
    width = np.dtype(TYPES[kind]).itemsize
    bits = np.ascontiguousarray(planes.reshape(width, -1).T).view(f"u{width}").reshape(curves, -1).copy()
    bits[1:] ^= bits[0]
    return bits.view(TYPES[kind])


def curves_of(values: np.ndarray, *, channels: int = 1, minor: int = 0, mark: Mark | None = None) -> Curves:
    steps = values.shape[1]
    made = [
        Channel("state" if index >= channels else "actions", f"e{index}", 0, list(values), minor=index >= channels)
        for index in range(channels + minor)
    ]
    return Curves(
        [f"run {index}" for index in range(len(values))], [Row("row 0", np.zeros(steps, bool))], made, mark=mark
    )


def test_numbers_are_those_of_the_run_bit_for_bit() -> None:
    values = np.random.default_rng(0).standard_normal((3, 50)).astype(np.float32)
    values[1, :4] = np.nan, np.inf, -np.inf, -0.0
    values[2, 7] = np.float32(1e-45)
    [channel] = curves_of(values).packed()["channels"]
    assert unpacked(channel["values"], 3).tobytes() == values.tobytes() and channel["at"] is None


def test_doubles_and_growth_are_kept_too() -> None:
    errors = np.array([[0.0, 1e-300, np.inf], [1 / 3, 2 / 3, 1.0]])
    packed = Curves(
        ["a", "b"],
        [Row("row 0", np.array([True, False, True]))],
        [Channel("actions", "e", 0, list(errors))],
        growth={"actions": [Growth("b", errors[0], 1), Growth("c", errors[1])]},
    ).packed()
    assert unpacked(packed["growth"]["actions"]["values"], 2).tobytes() == errors.tobytes()
    assert unpacked(packed["rows"][0]["resets"]).tolist() == [[0, 2]]


def test_a_long_run_keeps_what_is_to_be_seen_and_says_what_is_not() -> None:
    steps = 200_000
    time = np.arange(steps)
    values = np.stack([np.sin(time / 500.0)] * 7).astype(np.float32)
    values[4, 123_456] += 1.0  # one step of one implementation
    values[0, 77_777] = 3.0
    mark = Mark(20, 123_456, "here")
    data = curves_of(values, channels=30, minor=500, mark=mark).packed()
    assert len(str(data)) < 25_000_000
    assert sum(len(channel["values"]) for channel in data["channels"]) < 22_000_000
    assert [channel["name"] for channel in data["channels"]][:30] == [f"e{index}" for index in range(30)]
    for channel in data["channels"][:2]:
        at = unpacked(channel["at"])[0]
        found = unpacked(channel["values"], 7)
        np.testing.assert_array_equal(found, values[:, at])
        assert {0, 77_777, 123_456, steps - 1} <= set(at.tolist())
        assert set(range(123_000, 124_000)) <= set(at.tolist())
    assert "Of 500 curves of the state, " in data["note"] and "Of 200,000 steps, curves of the outputs" in data["note"]
    assert data["mark"] == {"channel": 20, "step": 123_456, "text": "here"}


def test_the_marked_channel_is_never_left_out() -> None:
    values = np.zeros((2, 5000), np.float32)
    data = curves_of(values, minor=400, mark=Mark(390, 10, "state")).packed(most_values=200_000)
    assert data["channels"][data["mark"]["channel"]]["name"] == "e390"


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_short_runs(steps: int) -> None:
    [channel] = curves_of(np.ones((2, steps), np.float32)).packed()["channels"]
    assert unpacked(channel["values"], 2).shape == (2, steps)


def test_data_end_no_script() -> None:
    block = data_block({"name": "</script><!-- & "})
    assert block.count("<") == 2 and "\\u003c/script\\u003e\\u003c!-- \\u0026 " in block


def test_uplot_is_as_published() -> None:
    text = (PAGE / "uplot" / "AS_PUBLISHED.md").read_text(encoding="utf-8")
    listed = {
        Path(name).name: digest for name, digest in re.findall(r"^\| (\S+) \| ([0-9a-f]{64}) \|$", text, re.MULTILINE)
    }
    there = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (PAGE / "uplot").iterdir()
        if path.name != "AS_PUBLISHED.md"
    }
    assert there == listed and len(listed) == 3
