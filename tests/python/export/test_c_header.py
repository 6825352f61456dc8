"""The C header gives the bits of the native engine: with any compiler, on every microcontroller that is here."""

from __future__ import annotations

import dataclasses
import re
import subprocess

import pytest
from header_bits import Everything, check_bits
from header_toolchains import C_HOST, C_TOOLCHAINS

from ganglion.compiler.vocabulary import SCHEMES

pytestmark = pytest.mark.deep  # compiles headers with every compiler

AS_IT_LIKES = [
    "-O3", "-ffp-contract=fast", "-fassociative-math", "-freciprocal-math", "-fno-signed-zeros",
    "-funsafe-math-optimizations",
]  # fmt: skip
BUILDS = {
    "gcc -O0": ["gcc", "-O0"],
    "gcc -O3 with FMA and contraction": ["gcc", "-O3", "-mfma", "-ffp-contract=fast"],
    "gcc, sanitized": ["gcc", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    "clang, as it likes, with FMA": ["clang", "-mfma", *AS_IT_LIKES],
}
MACHINES = ("aarch64", "cortex-m4f", "cortex-m7", "cortex-m33", "riscv64", "s390x")


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    return Everything(tmp_path_factory)


def _built_by(compiler):
    toolchain = C_TOOLCHAINS["clang" if compiler[0] == "clang" else "host"]
    toolchain.need()
    return dataclasses.replace(toolchain, compiler=compiler)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("build", BUILDS)
def test_every_operation(everything, build):
    folder, *run = everything("float32")
    check_bits(_built_by(BUILDS[build]), folder, *run)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("scheme", [scheme for scheme in SCHEMES if scheme != "float32"])
def test_every_way_to_store_weights(everything, scheme):
    folder, *run = everything(scheme)
    check_bits(C_HOST, folder, *run)


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("architecture", "scheme"),
    [
        *((name, scheme) for name in C_TOOLCHAINS for scheme in ("float32", "float16", "int8") if name in MACHINES),
        ("riscv64 without floats", "float16"),  # computes doubles bit by bit, which takes its time
    ],
)
def test_every_operation_elsewhere(everything, architecture, scheme):
    C_TOOLCHAINS[architecture].need()
    folder, observations, resets, wanted = everything(scheme)
    check_bits(C_TOOLCHAINS[architecture], folder, observations[:300], resets[:300], wanted[:300])


@pytest.mark.whole
def test_a_product_that_a_compiler_joins_with_a_sum_is_found(everything, tmp_path):
    folder, *run = everything("float32")
    text = (folder / "policy.h").read_text()
    fault = text.replace("return policy_detail_rounded_float(a * b);", "return a * b;")
    assert fault != text
    (tmp_path / "policy.h").write_text(fault)
    with pytest.raises(AssertionError, match="floats differ"):
        check_bits(_built_by(BUILDS["gcc -O3 with FMA and contraction"]), tmp_path, *run)


def test_a_header_asks_for_nothing_but_memory_functions(everything, tmp_path):
    folder, *_ = everything("float32")
    source = tmp_path / "user.c"
    source.write_text(
        '#include "policy.h"\n\npolicy_policy pilot;\nint step(const float* seen, float* action);\n'
        "int step(const float* seen, float* action) { return (int)policy_step(&pilot, seen, action); }\n"
        "bool good(void);\nbool good(void) { return policy_self_test(&pilot).ok; }\n"
    )
    C_HOST.build(folder, "-c", source=source)
    symbols = subprocess.run(["nm", "-u", folder / "program"], capture_output=True, text=True, check=True).stdout
    needed = set(re.findall(r" U (\w+)", symbols)) - {"_GLOBAL_OFFSET_TABLE_", "__stack_chk_fail"}
    assert needed <= {"memcpy", "memmove", "memset"}, needed
