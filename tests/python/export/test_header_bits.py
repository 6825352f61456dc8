"""The C++ header gives the bits of the native engine: with any compiler, at any optimisation, on any architecture."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from header_bits import STEPS, Everything, check_bits, engine_run, numbers, write_both
from header_toolchains import TOOLCHAINS
from random_graphs import grown

from ganglion.compiler import compile_onnx
from ganglion.compiler.interpreter import Interpreter
from ganglion.compiler.quantise import quantised
from ganglion.compiler.vocabulary import SCHEMES
from ganglion.contract import Golden

pytestmark = pytest.mark.deep  # compiles headers with every compiler

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


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    return Everything(tmp_path_factory)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("build", BUILDS)
def test_every_operation(everything, build):
    folder, *run = everything("float32")
    check_bits(_toolchain(BUILDS[build]), folder, *run)


@pytest.mark.whole  # test_c_header.py does some
@pytest.mark.parametrize("scheme", [scheme for scheme in SCHEMES if scheme != "float32"])
def test_every_way_to_store_weights(everything, scheme):
    folder, *run = everything(scheme)
    assert ("std::int8_t op" in (folder / "policy.hpp").read_text()) == scheme.startswith("int8")
    check_bits(_toolchain(BUILDS["-O2, AVX2"]), folder, *run)
    check_bits(_toolchain(BUILDS["clang -O3"]), folder, *run)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("scheme", ["float32", "int8x16"])
@pytest.mark.parametrize("architecture", ["aarch64", "cortex-m7", "s390x"])
def test_every_operation_elsewhere(everything, architecture, scheme):
    TOOLCHAINS[architecture].need()
    folder, observations, resets, wanted = everything(scheme)
    check_bits(TOOLCHAINS[architecture], folder, observations[:300], resets[:300], wanted[:300])


def test_a_difference_of_one_unit_is_found(everything, tmp_path):
    folder, *run = everything("float32")
    text = (folder / "policy.hpp").read_text()
    assert "5.0000001201e-1F" in text
    (tmp_path / "policy.hpp").write_text(text.replace("5.0000001201e-1F", "5.00000060e-1F"))
    with pytest.raises(AssertionError, match="floats differ"):
        check_bits(_toolchain(BUILDS["-O0"]), tmp_path, *run)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("seed", range(8))
def test_random_graphs(seed, tmp_path):
    program, contract = compile_onnx(grown(seed))
    program = quantised(program, SCHEMES[seed % len(SCHEMES)])
    observations, resets = numbers(STEPS, contract.observation_size)
    observation, reset = np.ones((4, 1, contract.observation_size), np.float32), np.zeros((4, 1), np.bool_)
    initial = tuple(contract.initial_state or ())
    outputs = Interpreter(program).run(initial, observation, reset)
    contract = dataclasses.replace(contract, batch=1, golden=Golden(observation, reset, outputs))
    write_both(program, contract, tmp_path)
    wanted = engine_run(tmp_path / "policy.ganglion", observations, resets)
    check_bits(_toolchain(BUILDS["-O2, AVX2" if seed % 2 else "-O1"]), tmp_path, observations, resets, wanted)
