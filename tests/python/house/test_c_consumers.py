"""Controllers of somebody else's over libganglion.so: C with two compilers, C++17, Rust, ctypes, a block of a block
diagram; and how the library comes and goes in a process."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest
from c_library import ROOT, LoadOptions, PolicyInfo, library, numbers

import ganglion
from ganglion.runtime.engines import libtorch_library_for, onnxruntime_library

if TYPE_CHECKING:
    from pathlib import Path

SOURCES = ROOT / "tests" / "consumer" / "c_interface"
ARTIFACT = ROOT / "tests" / "golden" / "artifacts" / "lstm.ganglion"
WARNINGS = ("-pedantic", "-Wall", "-Wextra", "-Werror")


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def run(*command: object) -> str:
    env = {**os.environ, "LD_LIBRARY_PATH": str(library().parent)}
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, env=env, timeout=120
    )
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def build(compiler: str, standard: str, out: Path, *files: Path) -> Path:
    run(tool(compiler), f"-std={standard}", *WARNINGS, "-I", ROOT / "cpp/include", *files, "-o", out,
        "-L", library().parent, "-lganglion", "-pthread", "-ldl", "-lm")  # fmt: skip
    return out


@pytest.fixture(scope="module")
def actions() -> list[float]:
    """The first element of the first five actions, by Python."""
    policy = ganglion.load(ARTIFACT)
    observation = np.full(policy.contract.observation_size, 0.1, np.float32)
    return [float(policy.step(observation)[0]) for _ in range(5)]


def check(text: str, actions: list[float]) -> None:
    assert [float(np.float32(line)) for line in text.split()] == actions


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_c(compiler: str, actions: list[float], tmp_path: Path) -> None:
    program = build(compiler, "c11", tmp_path / "embed", ROOT / "export_examples" / "12_minimal_embed.c")
    check(run(program, ARTIFACT), actions)


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_a_block_of_a_block_diagram(compiler: str, actions: list[float], tmp_path: Path) -> None:
    program = build(compiler, "c11", tmp_path / "block", SOURCES / "harness.c", SOURCES / "sfunction.c")
    check(run(program, ARTIFACT, 3, 2), actions)


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_cpp17(compiler: str, actions: list[float], tmp_path: Path) -> None:
    program = build(compiler, "c++17", tmp_path / "wrapper", SOURCES / "wrapper.cpp")
    check(run(program, ARTIFACT, tmp_path / "flight.mcap"), actions)
    assert ganglion.replay(tmp_path / "flight.mcap").verdict.startswith("the same flight bit for bit: 50 steps")


# Debian's, and whichever is first on the path.
@pytest.mark.parametrize("rustc", ["/usr/bin/rustc", "rustc"])
def test_rust(rustc: str, actions: list[float], tmp_path: Path) -> None:
    compiler = (tool(rustc), "--edition", "2021", "-D", "warnings", "-L", library().parent)
    crate = tmp_path / "libganglion_safe.rlib"
    run(*compiler, "--crate-type", "rlib", "--crate-name", "ganglion", "-o", crate,
        ROOT / "cpp/bindings/rust/ganglion.rs")  # fmt: skip
    program = tmp_path / "controller"
    run(*compiler, "--extern", f"ganglion={crate}", "-o", program, SOURCES / "controller.rs")
    check(run(program, ARTIFACT), actions)


def test_ctypes(actions: list[float]) -> None:
    c = ctypes.CDLL(str(library()))
    sentence, policy = ctypes.create_string_buffer(1000), ctypes.c_void_p()
    load = (None, ctypes.byref(policy), sentence, ctypes.c_size_t(1000))
    assert c.ganglion_policy_load(b"/nowhere/at.all", *load) == numbers()["GANGLION_ERROR_FILE_NOT_FOUND"]
    assert b"/nowhere/at.all" in sentence.value and not policy
    assert c.ganglion_policy_load(os.fsencode(ARTIFACT), *load) == 0, sentence.value
    info = PolicyInfo(size=ctypes.sizeof(PolicyInfo))
    assert c.ganglion_policy_get_info(policy, ctypes.byref(info)) == 0
    contract = ganglion.inspect(ARTIFACT)
    assert (info.observation_size, info.action_size, info.engine) == (contract.observation_size, contract.action_size,
                                                                      b"native")  # fmt: skip
    assert info.sha256.decode() == contract.sha256
    observation = (ctypes.c_float * info.observation_size)(*[0.1] * info.observation_size)
    action = (ctypes.c_float * info.action_size)()
    seen = []
    for _ in range(5):
        assert c.ganglion_policy_step(policy, observation, ctypes.c_size_t(info.observation_size), action,
                                      ctypes.c_size_t(info.action_size)) == 0  # fmt: skip
        seen.append(action[0])
    assert seen == actions
    assert c.ganglion_policy_destroy(policy) == 0


@pytest.fixture(scope="module")
def lifetimes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("gcc", "c11", tmp_path_factory.mktemp("lifetimes") / "lifetimes", SOURCES / "lifetimes.c")


@pytest.mark.parametrize("seen", ["copies", "visible"])
def test_two_versions_in_one_process(lifetimes: Path, tmp_path: Path, seen: str) -> None:
    """Each says its own version, also where the loader may take a name from whichever came first."""
    version = ganglion.__version__.encode()
    other = bytes(version[:-1] + b"9")
    code = library().resolve().read_bytes()
    assert version + b"\0" in code and other != version
    copy = tmp_path / "libother.so"
    copy.write_bytes(code.replace(version + b"\0", other + b"\0").replace(b"libganglion.so.1\0", b"libganglion.so.9\0"))
    for first, second in ((library(), copy), (copy, library())):
        said = run(lifetimes, seen, first, second, ARTIFACT).split()
        assert said == [one.decode() for one in ((version, other) if second is copy else (other, version))]


@pytest.mark.parametrize("engine", ["native", "onnxruntime", "libtorch"])
def test_every_engine(engine: str, actions: list[float]) -> None:
    """The C interface loads what the other engines run, too, and says what is missing where one is not there."""
    c = ctypes.CDLL(str(library()))
    suffix = {"native": ".ganglion", "onnxruntime": ".onnx", "libtorch": ".pt"}[engine]
    sentence, policy = ctypes.create_string_buffer(1000), ctypes.c_void_p()
    options = LoadOptions()
    assert c.ganglion_load_options_init(ctypes.byref(options), ctypes.c_size_t(ctypes.sizeof(options))) == 0
    options.onnxruntime_library, options.libtorch_library = b"/nowhere/lib.so", b"/nowhere/lib.so"
    asked = (os.fsencode(ARTIFACT.with_suffix(suffix)), ctypes.byref(options), ctypes.byref(policy), sentence,
             ctypes.c_size_t(1000))  # fmt: skip
    if engine != "native":
        assert c.ganglion_policy_load(*asked) == numbers()["GANGLION_ERROR_ENGINE_UNAVAILABLE"]
        assert b"/nowhere/lib.so" in sentence.value and not policy
    options.onnxruntime_library = os.fsencode(onnxruntime_library())
    options.libtorch_library = os.fsencode(libtorch_library_for(ARTIFACT.with_suffix(".pt")))
    assert c.ganglion_policy_load(*asked) == 0, sentence.value
    info = PolicyInfo(size=ctypes.sizeof(PolicyInfo))
    assert c.ganglion_policy_get_info(policy, ctypes.byref(info)) == 0
    assert info.engine == engine.encode() and info.realtime_safe == (engine == "native")
    observation = (ctypes.c_float * info.observation_size)(*[0.1] * info.observation_size)
    action, seen = (ctypes.c_float * info.action_size)(), []
    for _ in range(5):
        assert c.ganglion_policy_step(policy, observation, ctypes.c_size_t(info.observation_size), action,
                                      ctypes.c_size_t(info.action_size)) == 0  # fmt: skip
        seen.append(action[0])
    assert seen == pytest.approx(actions, abs=1e-6)
    assert c.ganglion_policy_reset(policy) == 0
    assert c.ganglion_policy_step(policy, observation, ctypes.c_size_t(info.observation_size), action,
                                  ctypes.c_size_t(info.action_size)) == 0  # fmt: skip
    assert action[0] == seen[0]
    assert c.ganglion_policy_destroy(policy) == 0


def test_opened_and_closed_a_thousand_times(lifetimes: Path) -> None:
    assert "pages more" in run(lifetimes, "thousand", library(), ARTIFACT)


@pytest.mark.parametrize("case", ["thread", "fork"])
def test_loaded_here_and_stepped_there(lifetimes: Path, case: str) -> None:
    run(lifetimes, case, library(), ARTIFACT)


def test_exit_while_a_recorder_runs(lifetimes: Path, tmp_path: Path) -> None:
    """The process ends well, and what was recorded until then opens."""
    run(lifetimes, "exit", library(), tmp_path / "flight.mcap", ARTIFACT)
    (flown,) = ganglion.flight.read(tmp_path / "flight.mcap").policies
    assert 10_000 <= len(flown.steps) <= 20_000
