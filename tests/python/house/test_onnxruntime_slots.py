"""Our positions in ONNX Runtime's function table, against the list computed from the official header of 1.23.

Where that header is installed, tests/cpp/onnxruntime_slots.cpp compares with it at compile time; this list is always
there.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_every_position_is_the_official_one() -> None:
    lines = (ROOT / "tests/golden/onnxruntime_api_slots.tsv").read_text().splitlines()
    official = {name: int(slot) for slot, name in (line.split("\t") for line in lines if not line.startswith("#"))}
    header = (ROOT / "cpp/src/engines/onnxruntime/api.hpp").read_text()
    ours = {name: int(slot) for name, slot in re.findall(r"X\((\w+), (\d+),", header)}
    assert len(ours) > 30
    assert ours == {name: official[name] for name in ours}
