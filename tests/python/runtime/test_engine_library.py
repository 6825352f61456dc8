"""Libraries that are no ONNX Runtime, or a broken one: a sentence, whatever they answer."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import ganglion
from ganglion.errors import EngineUnavailableError, GanglionError

if TYPE_CHECKING:
    from collections.abc import Callable

ARTIFACT = Path(__file__).parents[2] / "golden" / "artifacts" / "lstm.onnx"

NO_BASE = "const void* OrtGetApiBase(void) { return 0; }"

OLD = """
static const char* version(void) { return "0.0.1"; }
static const void* none(unsigned n) { return 0; }
static const void* base[2] = {(const void*)none, (const void*)version};
const void* OrtGetApiBase(void) { return base; }
"""

FAILING = r"""
static void* fail(void) { return (void*)"x"; }
static const char* message(const void* status) { return "\xff\xfe what it says \x80"; }
static void release(void* status) {}
static const void* table[512];
static const char* version(void) { return "1.99"; }
static const void* get(unsigned n) {
  for (int i = 0; i < 512; ++i) table[i] = (const void*)fail;
  table[2] = (const void*)message;
  table[93] = (const void*)release;
  return table;
}
static const void* base[2] = {(const void*)get, (const void*)version};
const void* OrtGetApiBase(void) { return base; }
"""


@pytest.fixture
def library(tmp_path: Path) -> Callable[[str], Path]:
    """Builds a library from its source."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")

    def build(source: str) -> Path:
        (tmp_path / "library.c").write_text(source)
        made = tmp_path / "library.so"
        subprocess.run([compiler, "-shared", "-fPIC", "-o", made, tmp_path / "library.c"], check=True)
        return made

    return build


@pytest.mark.parametrize(
    ("source", "error", "sentence"),
    [
        ("int nothing;", EngineUnavailableError, "not found.*OrtGetApiBase"),
        (NO_BASE, EngineUnavailableError, "without a version is too old"),
        (OLD, EngineUnavailableError, r"0\.0\.1 is too old"),
        (FAILING, GanglionError, "lstm.onnx': \ufffd\ufffd what it says \ufffd"),
    ],
    ids=["no entry", "no base", "old", "failing"],
)
def test_no_onnxruntime(library: Callable[[str], Path], source: str, error: type[GanglionError], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        ganglion.load(ARTIFACT, onnxruntime_library=library(source))
