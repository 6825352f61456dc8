"""What users may rely on is listed once, documented, and nothing else looks public."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections import defaultdict
from importlib import import_module
from pathlib import Path

import ganglion
from ganglion import _core

SURFACE = {
    "ArtifactError",
    "CompileReport",
    "Contract",
    "Diagnosis",
    "EngineUnavailableError",
    "ExportError",
    "FlightRecorder",
    "GanglionError",
    "Golden",
    "ObservationMonitor",
    "ParityError",
    "ParityReport",
    "Policy",
    "PolicySwitch",
    "Reading",
    "RepairReport",
    "ReplayReport",
    "ActionGuard",
    "ActionSampler",
    "Cadence",
    "ChainReport",
    "TickMonitor",
    "StateSlot",
    "StepError",
    "TensorSpec",
    "UnsupportedModuleError",
    "WiringReport",
    "chain",
    "compile",
    "diagnose",
    "explain",
    "export",
    "inspect",
    "load",
    "repair",
    "replay",
    "sign",
    "verify",
    "wiring",
    "wrap",
}
ROOMS = {
    "adapters",
    "cli",
    "compiler",
    "contract",
    "conversion",
    "data",
    "diagnosis",
    "envs",
    "errors",
    "export",
    "flight",
    "observation_profile",
    "policies",
    "reading",
    "runtime",
    "sampling",
    "training",
    "verify",
    "wiring",
}
PACKAGE = Path(ganglion.__file__).parent
CPP = Path(__file__).parents[3] / "cpp"


def test_the_surface_is_this() -> None:
    assert set(ganglion.__all__) == SURFACE
    assert set(dir(ganglion)) == SURFACE | {"__version__"}


def test_everything_public_is_documented() -> None:
    for name in ganglion.__all__:
        thing = getattr(ganglion, name)
        assert inspect.getdoc(thing), f"ganglion.{name} has no docstring"
        if not inspect.isclass(thing):
            continue
        for member, value in vars(thing).items():
            if member.startswith("_") or not (inspect.isfunction(value) or isinstance(value, (property, classmethod))):
                continue
            assert inspect.getdoc(getattr(thing, member)), f"ganglion.{name}.{member} has no docstring"


def test_nothing_else_looks_public() -> None:
    public = {path.stem for path in PACKAGE.iterdir() if not path.stem.startswith(("_", "."))} - {"py"}
    assert public == ROOMS


def test_each_room_lists_what_it_gives() -> None:
    for room in sorted(ROOMS - {"cli", "contract", "errors", "reading"}):
        module = import_module(f"ganglion.{room}")
        for name in module.__all__:
            assert inspect.getdoc(getattr(module, name)), f"ganglion.{room}.{name} has no docstring"


def test_a_public_noun_means_one_thing() -> None:
    meanings: dict[str, list[tuple[str, object]]] = defaultdict(list)
    for room in ("ganglion", *(f"ganglion.{name}" for name in sorted(ROOMS))):
        module = import_module(room)
        for name in getattr(module, "__all__", ()):
            thing = getattr(module, name)
            if inspect.ismodule(thing):  # `ganglion.export` is the room and its function in one
                thing = vars(thing).get(name, thing)
            meanings[name].append((room, thing))
    twice = {
        name: [room for room, _ in found]
        for name, found in meanings.items()
        if any(thing is not found[0][1] for _, thing in found)
    }
    assert not twice, f"public names with two meanings: {twice}; rename one and say so in CHANGELOG.md"


def test_a_class_name_stands_once() -> None:
    """Inside the rooms too. The folders of `adapters` are alike by design: each has its trainer's `Settings`, say."""
    places: dict[str, set[str]] = defaultdict(set)
    for path in sorted(PACKAGE.rglob("*.py")):
        where = path.relative_to(PACKAGE)
        trainer = where.parts[0] == "adapters" and len(where.parts) > 2
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].add("a trainer's folder of adapters" if trainer else str(where))
    twice = {name: sorted(files) for name, files in places.items() if len(files) > 1}
    assert not twice, f"class names that stand twice: {twice}"


def test_a_cpp_type_name_stands_once() -> None:
    """In whatever namespace. Each instruction set has a `Vector` of its own; one unit sees one of them. The nouns of
    `ganglion.hpp` are those of the C++ API, on purpose, for compilers that cannot have that one."""
    places: dict[str, set[str]] = defaultdict(set)
    for path in sorted(path for folder in ("include", "src") for path in (CPP / folder).rglob("*.[ch]pp")):
        if path.parent.name != "vectors" and path.name != "ganglion.hpp":
            for name in re.findall(
                r"^(?:class|struct|enum class) (\w+)\b(?!::)[^;]*?\{", path.read_text("utf-8"), re.M
            ):
                places[name].add(str(path.relative_to(CPP)))
    twice = {name: sorted(files) for name, files in places.items() if len(files) > 1}
    assert {"Policy", "Reading", "EngineModel", "Model"} <= set(places)
    assert not twice, f"type names that stand twice: {twice}"


def test_the_header_target_answers_the_same_statuses() -> None:
    text = (PACKAGE / "export" / "header" / "policy.hpp").read_text(encoding="utf-8")
    body = re.search(r"enum class Status : std::uint8_t \{(.*?)\};", text, re.DOTALL)
    assert body is not None
    written = {name: int(number) for name, number in re.findall(r"(\w+) = (\d+),", body[1])}
    assert "non_finite_state" in written
    assert written.items() <= {name: int(status) for name, status in _core.Status.__members__.items()}.items()


def test_import_brings_in_no_framework() -> None:
    script = (
        "import sys, ganglion, ganglion.runtime\n"
        "heavy = {'torch', 'onnxruntime', 'onnx', 'gymnasium', 'matplotlib', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_export_and_verify_are_functions_and_packages() -> None:
    script = (
        "import ganglion.policies.scripting.stateful\n"
        "import ganglion.verify.parity\n"
        "import ganglion\n"
        "assert callable(ganglion.export) and callable(ganglion.verify)\n"
        "from ganglion import export, verify\n"
        "assert callable(export) and callable(verify)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
