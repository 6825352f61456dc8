"""Who may know whom: the tables of docs/DESIGN.md against the import statements and the #include lines."""

from __future__ import annotations

import ast
import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from design import table

import ganglion

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PACKAGE = Path(ganglion.__file__).parent
CPP = Path(__file__).parents[3] / "cpp"
AS_PUBLISHED = CPP / "src/io/monocypher"  # somebody else's, and not changed

PYTHON_WALLS = {room: set(others) for room, others in table("Python room")}
# Imports at call time that go the other way; the page says why.
ALLOWED_BACKWARDS = {(file, room) for file, rooms in table("importing file") for room in rooms}
CPP_WALLS = {room: set(others) for room, others in table("C++ folder")}
# One row for all engines but those that have their own.
EVERY_ENGINE = CPP_WALLS.pop("src/engines/*")
for engine in (CPP / "src/engines").glob("*/CMakeLists.txt"):
    CPP_WALLS.setdefault(f"src/engines/{engine.parent.name}", EVERY_ENGINE)
# headers that come neither from us nor from C++, and the rooms that may know them
CPP_FOREIGN = {
    "ganglion.h": {"include", "src/facade/c_interface"},
    "stddef.h": {"include"},
    "stdint.h": {"include"},
    "nlohmann/": {"src/io"},
    "torch/": {"src/engines/libtorch"},
    "ATen/": {"src/engines/libtorch"},
    "pybind11/": {"bindings"},
    "dlfcn.h": {"src/engines", "tools"},
    "fcntl.h": {"src/io", "src/flight"},
    "pthread.h": {"src/engines/onnxruntime", "src/flight"},
    "sched.h": {"tools", "src/flight"},
    "signal.h": {"src/flight"},
    "sys/mman.h": {"src/realtime", "tools"},
    "sys/auxv.h": {"src/io", "src/realtime"},
    "sys/resource.h": {"tools"},
    "sys/stat.h": {"src/io", "src/flight"},
    "sys/types.h": {"src/flight"},
    "time.h": {"src/flight"},
    "malloc.h": {"tools"},
    "unistd.h": {"src/io", "src/flight", "tools"},
    "sanitizer/": {"src/realtime"},
    "cpuid.h": {"src/realtime", "src/io"},
    "xmmintrin.h": {"src/realtime"},
    "immintrin.h": {"src/native", "src/io", "tools"},
    "arm_neon.h": {"src/native", "src/io"},
}


def python_files() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py" or path.parent != PACKAGE)


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """Names of modules that a file imports, anywhere in it, with the line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            assert node.level == 0, f"{path}:{node.lineno}: write the absolute import"
            names = [f"ganglion.{alias.name}" for alias in node.names] if node.module == "ganglion" else [node.module]
            yield from ((name, node.lineno) for name in names)


@pytest.mark.parametrize("path", python_files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_python_rooms(path: Path) -> None:
    relative = path.relative_to(PACKAGE)
    room = relative.parts[0].removesuffix(".py")
    for name, line in imported(path):
        first, _, rest = name.partition(".")
        if first == "torch":
            assert room not in ("runtime", "compiler", "contract", "errors", "data"), (
                f"{relative}:{line} imports torch; a robot has none"
            )
        if first != "ganglion" or not rest:
            continue
        target = rest.split(".")[0]
        allowed = PYTHON_WALLS[room] | {room}
        assert target in allowed or (str(relative), target) in ALLOWED_BACKWARDS, f"{relative}:{line} imports {name}"


def test_python_rows_allow_no_more_than_is_used() -> None:
    used: dict[str, set[str]] = {room: set() for room in PYTHON_WALLS}
    for path in python_files():
        relative = path.relative_to(PACKAGE)
        room = relative.parts[0].removesuffix(".py")
        targets = {name.split(".")[1] for name, _ in imported(path) if name.startswith("ganglion.")}
        used[room] |= {target for target in targets if (str(relative), target) not in ALLOWED_BACKWARDS}
    spare = {room: sorted(PYTHON_WALLS[room] - used[room]) for room in PYTHON_WALLS if PYTHON_WALLS[room] - used[room]}
    assert not spare, f"docs/DESIGN.md allows what nobody imports: {spare}"


def test_export_targets_do_not_know_each_other() -> None:
    for target in ("onnx", "torchscript", "native", "header"):
        files = [PACKAGE / "export" / f"{target}.py"], (PACKAGE / "export" / target).glob("*.py")
        text = "".join(file.read_text(encoding="utf-8") for file in itertools.chain(*files) if file.is_file())
        assert text
        for other in {"onnx", "torchscript", "native", "header"} - {target}:
            assert f"ganglion.export.{other}" not in text


def cpp_files() -> list[Path]:
    files = (path for path in CPP.rglob("*") if path.name.endswith((".cpp", ".hpp", ".h", ".def", ".hpp.in")))
    return sorted(path for path in files if AS_PUBLISHED not in path.parents)


def innermost(path: str, rooms: Iterable[str]) -> str | None:
    """Returns the last of the rooms, from the outside in, that a path leads through."""
    return max((room for room in rooms if path.startswith(room + "/")), key=len, default=None)


@pytest.mark.parametrize("path", cpp_files(), ids=lambda path: str(path.relative_to(CPP)))
def test_cpp_rooms(path: Path) -> None:
    relative = path.relative_to(CPP).as_posix()
    room = innermost(relative, CPP_WALLS)
    assert room is not None, f"{relative} lies in no room of CPP_WALLS"
    own = room.removeprefix("src/").removeprefix("include/")
    inside = [other.removeprefix("src/") for other in CPP_WALLS if other.startswith("src/")]
    for name in re.findall(r'^\s*#\s*include [<"]([^>"]+)[>"]', path.read_text(encoding="utf-8"), re.MULTILINE):
        assert ".." not in name.split("/"), f"{relative} includes {name}: say which room it is in"
        if name.startswith("ganglion/"):
            allowed = {"ganglion", name.rpartition(".")[0]} & CPP_WALLS[room]
            assert allowed or own == "ganglion", f"{relative} includes {name}"
        elif (target := innermost(name, inside)) is not None:
            assert target in CPP_WALLS[room] | {own}, f"{relative} includes {name}"
        elif "." in name and (path.parent / name).is_file():
            assert not room.startswith("src/"), f"{relative} includes {name}: write {own}/{name}"
        elif "." in name:
            knowing = [CPP_FOREIGN[prefix] for prefix in CPP_FOREIGN if name.startswith(prefix)]
            assert any(room in rooms for rooms in knowing), f"{relative} includes {name}"


def test_cpp_targets_are_the_same_walls() -> None:
    """What a room's target finds, with what it gets through others, is what the list above allows, and no less."""
    knows: dict[str, set[str]] = {}
    for path in sorted((CPP / "src").rglob("CMakeLists.txt")):
        for call in re.findall(r"ganglion_room\(([^)]*)\)", path.read_text(encoding="utf-8")):
            words = call.split()
            assert path.parent == CPP / "src" / words[0]
            knows[words[0]] = set(words[words.index("KNOWS") + 1 :]) if "KNOWS" in words else set()

    def found(room: str) -> set[str]:
        return set().union(*({other} | found(other) for other in knows.get(room, ())))

    assert {f"src/{room}" for room in knows} == {room for room in CPP_WALLS if room.startswith("src/")}
    for room in knows:
        listed = {"public" if other.startswith("ganglion") else other for other in CPP_WALLS[f"src/{room}"]}
        assert found(room) == listed, room
