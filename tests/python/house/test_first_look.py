"""A folder that can be called is a folder at the first look, too."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("name", ["export.sign", "verify.verify", "wiring.record"])
def test_what_is_in_it_can_be_had_at_once(name: str) -> None:
    subprocess.run([sys.executable, "-c", f"import ganglion; ganglion.{name}"], check=True)
