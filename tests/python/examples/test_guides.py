"""The guides of docs/, done from top to bottom in an empty folder as a reader would, word for word."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from header_toolchains import C_TOOLCHAINS, TOOLCHAINS
from pages import ROOT, blocks, run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.deep  # runs every guide

NUMBER = re.compile(r"-?\d[\d.e+-]*")
GUIDES = sorted((ROOT / "docs/guides").glob("*.md"))


def prepare(name: str) -> None:
    """What a guide tells its reader to have before: skips where it is not there."""
    if name == "microcontroller":
        TOOLCHAINS["cortex-m7"].need()
        C_TOOLCHAINS["cortex-m4f"].need()
    if name in ("cpp_controller", "microcontroller") and not (ROOT / "build/dev/cmake_install.cmake").is_file():
        pytest.skip("the C++ library is not built: make setup")


@pytest.mark.whole
@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_guide(guide: Path, tmp_path: Path) -> None:
    prepare(guide.stem)
    said = run(guide, tmp_path)
    shown = [block.text for block in blocks(guide) if block.language == "text"]
    for text in shown:
        for line in text.splitlines():
            assert NUMBER.sub("#", line.strip()) in NUMBER.sub("#", said), f"{line}\n{said}"


def test_there_is_one_for_each_of_us() -> None:
    names = {guide.stem for guide in GUIDES}
    assert names == {"rsl_rl_unitree", "sb3", "pytorch", "cpp_controller", "microcontroller"}
