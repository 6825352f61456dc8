"""Names out of a file never reach a terminal as commands to it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import onnx
import pytest
from onnx import TensorProto, helper

import ganglion
from ganglion.cli.main import main
from ganglion.errors import printable

if TYPE_CHECKING:
    from pathlib import Path

NASTY = "a\x1b[31mb\x07\x9b2J\u202ec"


def model(path: Path, observation: str, kind: int = TensorProto.FLOAT) -> Path:
    """A policy whose tensors and metadata have the name."""
    info = [helper.make_tensor_value_info(observation, kind, [1, 3])]
    outputs = [helper.make_tensor_value_info(f"actions{NASTY}", TensorProto.FLOAT, [1, 3])]
    node = helper.make_node("Identity" if kind == TensorProto.FLOAT else "Cast", [observation], [outputs[0].name])
    if kind != TensorProto.FLOAT:
        node.attribute.append(helper.make_attribute("to", TensorProto.FLOAT))
    made = helper.make_model(
        helper.make_graph([node], "g", info, outputs), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    made.metadata_props.add(key=f"key{NASTY}", value=NASTY)
    made.metadata_props.add(key="joint_names", value=NASTY)
    made.metadata_props.add(key="action_scale", value="1")
    onnx.save(made, path)
    return path


def is_clean(text: str) -> bool:
    return not set(text) & set("\x1b\x07\x9b\u202e")


def test_printable() -> None:
    assert printable(NASTY) == r"a\x1b[31mb\x07\x9b2J\u202ec"
    assert printable("line\n\ttab \xe4 \u6f22") == "line\n\ttab \xe4 \u6f22"


def test_names_are_escaped_where_they_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = model(tmp_path / "good.onnx", f"obs{NASTY}")
    reading = ganglion.explain(good)
    assert reading.findings  # of the metadata, which names a key
    assert all(map(is_clean, (*reading.notes, *(finding.sentence for finding in reading.findings))))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ganglion.load(good)
        assert main(["inspect", str(good)]) == 0
        main(["inspect", "--json", str(good)])
    assert all(is_clean(str(warning.message)) for warning in caught)
    bad = model(tmp_path / "bad.onnx", f"obs{NASTY}", TensorProto.STRING)
    with pytest.raises(ganglion.GanglionError) as error:
        ganglion.load(bad)
    assert is_clean(str(error.value)) and "obs" in str(error.value)
    assert main(["inspect", str(bad)]) == 1
    shown = capsys.readouterr()
    assert is_clean(shown.out) and is_clean(shown.err) and "obs" in shown.out and "obs" in shown.err


def test_names_are_escaped_in_a_report(tmp_path: Path) -> None:
    good = model(tmp_path / "good.onnx", "obs")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert main(["verify", str(good), "--steps", "20", "--report", str(tmp_path / "report.html")]) == 0
    assert [str(warning.message) for warning in caught if not is_clean(str(warning.message))] == []
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Action traces" in page and is_clean(page)
