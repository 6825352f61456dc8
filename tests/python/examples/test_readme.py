"""README's second example, word for word but for the number of epochs; and its table of policies."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import ganglion
from ganglion.policies import catalogue

if TYPE_CHECKING:
    import pytest

README = Path(__file__).parents[3] / "README.md"


def test_the_table_of_policies_has_every_class() -> None:
    for name in catalogue.names():
        assert f"`{name.split()[0]}`" in README.read_text(encoding="utf-8"), f"README has no {name.split()[0]}"


def test_train_export_fly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = README.read_text(encoding="utf-8")
    (block,) = (code for code in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "PPO(" in code)
    shortened = block.replace("n_epochs=20", "n_epochs=1")
    assert shortened != block
    script = tmp_path / "readme.py"
    script.write_text("import ganglion\n" + shortened, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__", "__file__": str(script)}
    exec(compile(script.read_text(encoding="utf-8"), script, "exec"), names)
    pilot = names["pilot"]
    assert isinstance(pilot, ganglion.Policy)
    assert [slot.name for slot in pilot.contract.state] == ["h", "c"]
    assert np.isfinite(pilot.step(np.array([0.1, 0.02], np.float32))).all()
    assert (tmp_path / "out/pendulum/progress.csv").is_file()
