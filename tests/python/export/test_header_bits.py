"""The C++ header gives the bits of the native engine: with any compiler, at any optimisation, on any architecture."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from header_programs import contract_of, program_of_everything, program_of_weights
from header_toolchains import TOOLCHAINS, drive
from random_graphs import grown

import ganglion
from ganglion.compiler import compile_onnx, file
from ganglion.compiler.interpreter import Interpreter
from ganglion.compiler.quantise import quantised
from ganglion.compiler.vocabulary import SCHEMES
from ganglion.contract import Golden
from ganglion.export import export, header
from ganglion.policies import catalogue

pytestmark = pytest.mark.deep  # compiles headers with every compiler

STEPS = 2000
AVX2 = ["-mavx2", "-mfma"]
BUILDS = {
    "-O0": ["g++", "-O0"],
    "-O1": ["g++", "-O1"],
    "-O2, AVX2": ["g++", "-O2", *AVX2],
    "-O3, AVX2, contraction": ["g++", "-O3", *AVX2, "-ffp-contract=fast"],
    "-O2, FMA without AVX2": ["g++", "-O2", "-mfma"],
    "clang -O0, AVX2": ["clang++", "-O0", *AVX2],
    "clang -O3": ["clang++", "-O3"],
    # Parts of -ffast-math that clang does not tell a header of.
    "clang, as it likes": [
        "clang++", "-O3", "-ffp-contract=fast", "-fassociative-math", "-freciprocal-math", "-fno-signed-zeros",
        "-funsafe-math-optimizations",
    ],
    "clang, as it likes, AVX2": [
        "clang++", "-O3", *AVX2, "-ffp-contract=fast", "-fassociative-math", "-freciprocal-math", "-fno-signed-zeros",
        "-funsafe-math-optimizations",
    ],
    "sanitized, AVX2": ["g++", "-O1", *AVX2, "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
}  # fmt: skip


def _toolchain(compiler):
    toolchain = TOOLCHAINS["clang" if compiler[0] == "clang++" else "host"]
    toolchain.need()
    return dataclasses.replace(toolchain, compiler=compiler)


def _numbers(steps, size):
    """Observations with what is special to some function, and numbers on both sides of the smallest one."""
    generator = np.random.default_rng(2)
    observations = generator.uniform(-2, 2, (steps, size)).astype(np.float32)
    for special in (0.0, -0.0, 0.5, -1.5, 1e-25, 3e-31, 1e-38, 1e-42):
        observations[generator.random(observations.shape) < 0.02] = special
    return observations, generator.random(steps) < 0.05


def _written(program, contract, folder):
    """A program as header and as file, whose self-tests take almost any numbers: the bits are compared here."""
    golden = contract.golden
    wide = Golden(golden.observation, golden.reset, golden.outputs, tolerance=1.0)
    contract = dataclasses.replace(contract, golden=wide, sha256=file.digest(program))
    (folder / "policy.hpp").write_text(header.render(program, contract, "policy"), encoding="ascii")
    (folder / "policy.ganglion").write_bytes(file.to_bytes(program, contract)[0])


def _engine(path, observations, resets):
    policy, rows = ganglion.load(path, engine="native"), []
    count = len(policy.contract.outputs)
    for observation, reset in zip(observations, resets, strict=True):
        if reset:
            policy.reset()
        policy.step(observation[None])
        rows.append(np.concatenate([*(np.ravel(policy.output(i)) for i in range(count)), np.ravel(policy.state())]))
    return np.stack(rows).astype(np.float32)


def _check(toolchain, folder, observations, resets, wanted):
    found = drive(toolchain, folder, observations, resets)
    different = found.view(np.uint32) != wanted.view(np.uint32)
    columns = np.flatnonzero(different.any(axis=0))
    assert not len(columns), f"{different.sum()} of {different.size} floats differ, in the columns {columns[:20]}"


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """Every operation with every function, or with weights that are stored in a way, and the engine's run of it."""
    done = {}

    def get(scheme):
        if scheme not in done:
            folder = tmp_path_factory.mktemp("everything")
            program = program_of_everything() if scheme == "float32" else quantised(program_of_weights(), scheme)
            _written(program, contract_of(program), folder)
            observations, resets = _numbers(STEPS, 24)
            done[scheme] = folder, observations, resets, _engine(folder / "policy.ganglion", observations, resets)
        return done[scheme]

    return get


@pytest.mark.parametrize("build", BUILDS)
def test_every_operation(everything, build):
    folder, *run = everything("float32")
    _check(_toolchain(BUILDS[build]), folder, *run)


@pytest.mark.parametrize("scheme", [scheme for scheme in SCHEMES if scheme != "float32"])
def test_every_way_to_store_weights(everything, scheme):
    folder, *run = everything(scheme)
    _check(_toolchain(BUILDS["-O2, AVX2"]), folder, *run)
    _check(_toolchain(BUILDS["clang -O3"]), folder, *run)


@pytest.mark.parametrize("scheme", ["float32", "int8x16"])
@pytest.mark.parametrize("architecture", ["aarch64", "cortex-m7"])
def test_every_operation_elsewhere(everything, architecture, scheme):
    TOOLCHAINS[architecture].need()
    folder, observations, resets, wanted = everything(scheme)
    _check(TOOLCHAINS[architecture], folder, observations[:300], resets[:300], wanted[:300])


def test_a_difference_of_one_unit_is_found(everything, tmp_path):
    folder, *run = everything("float32")
    text = (folder / "policy.hpp").read_text()
    assert "5.0000001201e-1F" in text
    (tmp_path / "policy.hpp").write_text(text.replace("5.0000001201e-1F", "5.00000060e-1F"))
    with pytest.raises(AssertionError, match="floats differ"):
        _check(_toolchain(BUILDS["-O1"]), tmp_path, *run)


@pytest.mark.parametrize("seed", range(8))
def test_random_graphs(seed, tmp_path):
    program, contract = compile_onnx(grown(seed))
    program = quantised(program, SCHEMES[seed % len(SCHEMES)])
    observations, resets = _numbers(STEPS, contract.observation_size)
    observation, reset = np.ones((4, 1, contract.observation_size), np.float32), np.zeros((4, 1), np.bool_)
    initial = tuple(contract.initial_state or ())
    outputs = Interpreter(program).run(initial, observation, reset)
    contract = dataclasses.replace(contract, batch=1, golden=Golden(observation, reset, outputs))
    _written(program, contract, tmp_path)
    wanted = _engine(tmp_path / "policy.ganglion", observations, resets)
    _check(_toolchain(BUILDS["-O2, AVX2" if seed % 2 else "-O1"]), tmp_path, observations, resets, wanted)


@pytest.mark.parametrize("name", catalogue.names())
def test_policies(name, tmp_path):
    policy = catalogue.example(name)
    contract = export(policy, tmp_path / "policy.hpp")
    export(policy, tmp_path / "policy.ganglion")
    observations, resets = _numbers(500, contract.observation_size)
    wanted = _engine(tmp_path / "policy.ganglion", observations, resets)
    _check(_toolchain(["g++", "-O1", *AVX2]), tmp_path, observations, resets, wanted)
