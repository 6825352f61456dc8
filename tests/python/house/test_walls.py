"""Who may know whom (DESIGN, section 2), read off the import statements and the #include lines."""

from __future__ import annotations

import ast
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
    "_callable_module": set(),
    "_core_errors": {"errors", "_core"},
    "reading": {"contract", "_core", "_core_errors"},
    "_torchscript_reading": {"errors", "reading"},
    "_files": {"errors"},
    "_recordings": {"data", "errors"},
    "sampling": {"contract"},
    "data": {"contract", "errors", "_files"},
    "envs": {"data", "errors"},
    "policies": {"contract", "errors", "_files", "data"},
    # What adapters take apart and put together are graphs: those of the compiler and of the exporters.
    "adapters": {
        "policies",
        "contract",
        "errors",
        "_files",
        "data",
        "compiler",
        "export",
        "reading",
        "_torchscript_reading",
    },
    "training": {"envs", "policies", "data", "errors", "_files"},
    "compiler": {"contract", "errors", "_files", "reading"},
    "export": {"contract", "errors", "policies", "compiler", "data", "_callable_module", "_files", "_recordings"},
    "runtime": {"contract", "errors", "reading", "_core", "_core_errors"},
    "verify": {
        "contract",
        "errors",
        "policies",
        "compiler",
        "runtime",
        "data",
        "_callable_module",
        "_files",
        "_recordings",
        "_torchscript_reading",
    },
    "_source": {"contract", "errors", "policies", "training"},
    "_doctor": {"errors", "runtime"},
    "_command_line": {"adapters"},
    "cli": {
        "contract",
        "errors",
        "policies",
        "compiler",
        "export",
        "runtime",
        "verify",
        "_source",
        "_command_line",
        "_doctor",
        "_matrix",
        "_trainers",
        "adapters",
        "reading",
    },
    "_trainers": {"adapters", "policies"},
    "_matrix": {"data", "errors", "export", "policies", "training", "verify"},
    "__main__": {"cli"},
}
# `RecurrentPolicy.script()` is wanted on the policy itself, and `load(..., engine="native")` compiles an .onnx file:
# both import their way back at call time.
ALLOWED_BACKWARDS = {("policies/base.py", "export"), ("runtime/policy.py", "compiler")}

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
        text = (PACKAGE / "export" / f"{target}.py").read_text(encoding="utf-8")
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
