"""Other people's CMake projects and plain `pip install` find everything, and nothing of ours leaks into them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ganglion.runtime.engines import onnxruntime_library

pytestmark = pytest.mark.deep  # builds the library as its users do

ROOT = Path(__file__).parents[3]
ARTIFACTS = ROOT / "tests" / "golden" / "artifacts"


# CMake looks for the Python packages that carry headers in the interpreter that is first on the path.
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def run(*command: object, env: dict[str, str] | None = None) -> str:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("GANGLION_")}
    environment = {**ours, "PATH": PATH, **(env or {})}
    result = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, env=environment
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prefix")
    run("cmake", "--install", ROOT / "build" / "dev", "--prefix", folder, "--component", "cpp")
    return folder


def build_and_fly(source: Path, build: Path, *options: str) -> None:
    run("cmake", "-S", source, "-B", build, "-G", "Ninja", *options)
    run("cmake", "--build", build)
    env = {"GANGLION_ONNXRUNTIME": str(onnxruntime_library())}
    said = {engine: run(build / "consumer", ARTIFACTS / f"lstm{suffix}", env=env) for engine, suffix in
            (("native", ".ganglion"), ("onnxruntime", ".onnx"), ("libtorch", ".pt"))}  # fmt: skip
    actions = []
    for engine, text in said.items():
        assert f", {engine}: " in text
        actions.append(float(text.rsplit(" ", 1)[1]))
    assert actions == pytest.approx([actions[0]] * 3, abs=1e-6)


def test_installed_package_is_found_built_and_run(prefix: Path, tmp_path: Path) -> None:
    build_and_fly(ROOT / "tests/consumer/installed", tmp_path, f"-DCMAKE_PREFIX_PATH={prefix}")
    text = "".join(file.read_text() for file in (prefix / "lib").rglob("*.cmake"))
    assert str(ROOT) not in text, "the installed package config names the source folder"


def test_a_project_without_cpp_finds_the_c_interface(prefix: Path, tmp_path: Path) -> None:
    source = ROOT / "tests/consumer/c_interface/installed"
    run("cmake", "-S", source, "-B", tmp_path, "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", tmp_path)
    said = run(tmp_path / "embed", ARTIFACTS / "lstm.ganglion")
    assert len(said.split()) == 5
    (library,) = prefix.glob("lib*/libganglion.so.1")
    assert run("nm", "-D", "--defined-only", library).count(" T ganglion_") > 80
    if not shutil.which("pkg-config"):
        pytest.skip("pkg-config is not installed; CMake found it")
    env = {"PKG_CONFIG_PATH": str(library.parent / "pkgconfig"), "LD_LIBRARY_PATH": str(library.parent)}
    flags = run("pkg-config", "--cflags", "--libs", "ganglion", env=env).split()
    run("cc", ROOT / "export_examples/12_minimal_embed.c", *flags, "-o", tmp_path / "by_hand")
    assert run(tmp_path / "by_hand", ARTIFACTS / "lstm.ganglion", env=env) == said


@pytest.mark.whole
def test_subdirectory_is_built_and_run(tmp_path: Path) -> None:
    """In a project that debugs, and that compiles several files together, which is faster and asks more of ours."""
    options = "-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_CXX_FLAGS_DEBUG=-O0", "-DCMAKE_UNITY_BUILD=ON"
    build_and_fly(ROOT / "tests/consumer/subdirectory", tmp_path, *options)


def test_what_loads_and_steps_is_below_one_mebibyte(tmp_path: Path) -> None:
    """A program that embeds a policy has every engine but LibTorch's, every reader and every kernel in it."""
    stripped = tmp_path / "embed"
    run("strip", "-o", stripped, ROOT / "build" / "dev" / "export_examples" / "03_minimal_embed")
    assert stripped.stat().st_size < 1 << 20


def test_installed_headers_name_no_third_party(prefix: Path) -> None:
    headers = sorted((prefix / "include/ganglion").glob("*.hpp"))
    assert {header.name for header in headers} >= {"policy.hpp", "contract.hpp", "status.hpp", "error.hpp"}
    for header in headers:
        for line in header.read_text().splitlines():
            if line.startswith("#include"):
                name = line.split()[1].strip('<>"')
                assert name.startswith("ganglion/") or "." not in name, f"{header.name} includes {name}"


@pytest.mark.whole  # makes an environment and installs into it
def test_wheel_works_with_numpy_and_rich_alone(tmp_path: Path) -> None:
    """A robot: a fresh environment with the wheel, numpy and rich; the engine's library comes by path."""
    wheels = tmp_path / "wheels"
    # What `make setup` has built, with its options, is not built again; tests/packages build from nothing.
    (settings,) = re.findall("^DEV_SETTINGS := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    settings = ["build-dir=build/dev", *settings.split()]
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", ROOT, "-w", wheels,
        *(f"--config-settings={setting}" for setting in settings))  # fmt: skip
    (wheel,) = wheels.glob("ganglion-*.whl")
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv/bin/python"
    run(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", wheel)
    # First without a library: once one is loaded, the loader finds it again by its name.
    script = """
import os, sys, ganglion, numpy
native, onnx, pt, library = sys.argv[1:]
assert ganglion.load(native).self_test().ok
for path, says in ((onnx, "ganglion[onnx]"), (onnx, "cannot open shared object file"), (pt, "ganglion[torch]")):
    try:
        ganglion.load(path)
    except ganglion.EngineUnavailableError as error:
        assert says in str(error), error
    else:
        raise AssertionError("an engine that is not installed was found")
pilot = ganglion.load(onnx, onnxruntime_library=library)
print(pilot.step(numpy.zeros(3, numpy.float32)).shape, ganglion.__version__)
os.environ["GANGLION_ONNXRUNTIME"] = library
assert ganglion.load(onnx).self_test().ok
assert not {"torch", "onnxruntime", "gymnasium"} & set(sys.modules)
"""
    text = run(python, "-c", script, *(ARTIFACTS / f"lstm{suffix}" for suffix in (".ganglion", ".onnx", ".pt")),
               onnxruntime_library())  # fmt: skip
    assert text.startswith("(2,)")
    installed = tmp_path / "venv/lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    names = {file.name for file in (installed / "ganglion").iterdir()}
    assert {"py.typed", "_core.pyi", "bin", "libtorch_engine"} <= names
    assert "def step(" in (installed / "ganglion/_core.pyi").read_text()
    help_text = run(tmp_path / "venv/bin/ganglion", "inspect", ARTIFACTS / "lstm.onnx", "--json")
    assert '"sha256"' in help_text
