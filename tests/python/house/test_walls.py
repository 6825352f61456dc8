"""Who may know whom (DESIGN, section 2), read off the import statements and the #include lines."""

from __future__ import annotations

import ast
import itertools
import re
from pathlib import Path

import pytest

import ganglion

PACKAGE = Path(ganglion.__file__).parent
CPP = Path(__file__).parents[3] / "cpp"

# room: rooms that it may import
PYTHON_WALLS = {
    "errors": set(),
    "contract": {"errors"},
    "sampling": {"contract"},
    "_foundation": {"errors", "_core"},
    "data": {"contract", "errors", "_foundation"},
    "reading": {"contract", "errors", "_foundation", "_core"},
    "policies": {"contract", "errors", "_foundation", "data"},
    "envs": {"data", "errors"},
    "training": {"envs", "policies", "data", "errors", "_foundation"},
    "compiler": {"contract", "errors", "_foundation", "reading"},
    "export": {"contract", "errors", "_foundation", "data", "policies", "compiler"},
    "runtime": {"contract", "errors", "_foundation", "reading", "_core"},
    # What adapters take apart and put together are graphs: those of the compiler and of the exporters.
    "adapters": {"policies", "contract", "errors", "_foundation", "data", "compiler", "export", "reading"},
    "verify": {"contract", "errors", "_foundation", "data", "reading", "policies", "compiler", "runtime"},
    "cli": {
        "contract",
        "errors",
        "data",
        "reading",
        "policies",
        "compiler",
        "export",
        "runtime",
        "verify",
        "adapters",
        "training",
    },
    "__main__": {"cli"},
}
# Both import their way back at call time: `load(..., engine="native")` compiles an .onnx file, and a recording may be
# one of `EpisodeBatch`, which needs gymnasium; the terminal shows a contract without it.
ALLOWED_BACKWARDS = {("runtime/policy.py", "compiler"), ("_foundation/recordings.py", "data")}

CPP_WALLS = {
    "src/io": {"ganglion", "io", "native"},
    "src/native": {"ganglion", "native", "realtime"},
    "src/realtime": {"ganglion", "native", "realtime"},
    "src/engines": {"engines"},
    "include/ganglion": {"ganglion"},
    "bindings": {"ganglion"},
    "tools": {"ganglion"},
}


def python_files() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py" or path.parent != PACKAGE)


@pytest.mark.parametrize("path", python_files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_python_rooms(path: Path) -> None:
    relative = path.relative_to(PACKAGE)
    room = relative.parts[0].removesuffix(".py")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            assert node.level == 0, f"{relative}:{node.lineno}: write the absolute import"
            names = [f"ganglion.{alias.name}" for alias in node.names] if node.module == "ganglion" else [node.module]
        for name in names:
            first, _, rest = name.partition(".")
            if first == "torch":
                assert room not in ("runtime", "compiler", "contract", "errors", "data"), (
                    f"{relative} imports torch; a robot has none"
                )
            if first != "ganglion" or not rest:
                continue
            target = rest.split(".")[0]
            allowed = PYTHON_WALLS[room] | {room}
            assert target in allowed or (str(relative), target) in ALLOWED_BACKWARDS, f"{relative} imports {name}"


def test_export_targets_do_not_know_each_other() -> None:
    for target in ("onnx", "torchscript", "native", "header"):
        files = [PACKAGE / "export" / f"{target}.py"], (PACKAGE / "export" / target).glob("*.py")
        text = "".join(file.read_text(encoding="utf-8") for file in itertools.chain(*files) if file.is_file())
        assert text
        for other in {"onnx", "torchscript", "native", "header"} - {target}:
            assert f"ganglion.export.{other}" not in text


def cpp_files() -> list[Path]:
    return sorted(
        path for path in CPP.rglob("*.[ch]pp") if any(str(path.relative_to(CPP)).startswith(r) for r in CPP_WALLS)
    )


@pytest.mark.parametrize("path", cpp_files(), ids=lambda path: str(path.relative_to(CPP)))
def test_cpp_rooms(path: Path) -> None:
    relative = path.relative_to(CPP)
    room = next(room for room in CPP_WALLS if str(relative).startswith(room))
    for name in re.findall(r'^#include [<"]([^>"]+)[>"]', path.read_text(encoding="utf-8"), re.MULTILINE):
        folder = name.split("/")[0] if "/" in name else ""
        if folder in ("ganglion", "io", "engines", "native", "realtime") and folder not in CPP_WALLS[room]:
            pytest.fail(f"{relative} includes {name}")
        if folder in ("torch", "ATen"):
            assert relative.is_relative_to("src/engines/libtorch"), f"{relative} includes {name}"
        if folder == "nlohmann":
            assert room == "src/io", f"{relative} includes {name}"
