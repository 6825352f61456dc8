"""The C header gives the bits of the native engine: with any compiler, on every microcontroller that is here."""

from __future__ import annotations

import dataclasses
import re
import subprocess

import numpy as np
import pytest
from header_bits import Everything, check_bits, engine_run, numbers
from header_toolchains import C_HOST, C_TOOLCHAINS

from ganglion.compiler import file
from ganglion.compiler.vocabulary import SCHEMES
from ganglion.export import export, header
from ganglion.export.header.code import write_step
from ganglion.policies import catalogue

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
POLICIES = catalogue.names()
TOGETHER = 8
"""So many policies in one program, which takes a compiler less time than as many programs."""


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    return Everything(tmp_path_factory)


def _built_by(compiler):
    toolchain = C_TOOLCHAINS["clang" if compiler[0] == "clang" else "host"]
    toolchain.need()
    return dataclasses.replace(toolchain, compiler=compiler)


@pytest.mark.parametrize("build", BUILDS)
def test_every_operation(everything, build):
    folder, *run = everything("float32")
    check_bits(_built_by(BUILDS[build]), folder, *run)


@pytest.mark.parametrize("scheme", [scheme for scheme in SCHEMES if scheme != "float32"])
def test_every_way_to_store_weights(everything, scheme):
    folder, *run = everything(scheme)
    check_bits(C_HOST, folder, *run)


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


def test_a_product_that_a_compiler_joins_with_a_sum_is_found(everything, tmp_path):
    folder, *run = everything("float32")
    text = (folder / "policy.h").read_text()
    fault = text.replace("return policy_detail_rounded_float(a * b);", "return a * b;")
    assert fault != text
    (tmp_path / "policy.h").write_text(fault)
    with pytest.raises(AssertionError, match="floats differ"):
        check_bits(_built_by(BUILDS["gcc -O3 with FMA and contraction"]), tmp_path, *run)


_FLIGHT = """
static bool fly_@(void) {
  static @_policy pilot;
  float seen[1 + @_observation_size], action[@_action_size];
  FILE* const input = fopen("@.input", "rb");
  FILE* const output = fopen("@.output", "wb");
  if (!@_self_test(&pilot).ok) return false;
  while (fread(seen, sizeof seen, 1, input) == 1) {
    if (seen[0] > 0.0F) @_reset(&pilot);
    if (@_step(&pilot, seen + 1, action) != @_ok) return false;
    for (size_t i = 0; i < @_num_outputs; ++i) {
      (void)fwrite(@_output(&pilot, i), sizeof(float), @_outputs[i].size, output);
    }
    (void)fwrite(@_state(&pilot), sizeof(float), @_hidden_size, output);
  }
  (void)fclose(input);
  return fclose(output) == 0;
}
"""


@pytest.mark.parametrize("first", range(0, len(POLICIES), TOGETHER))
def test_policies(first, tmp_path):
    C_HOST.need()
    runs = {}
    for number, name in enumerate(POLICIES[first : first + TOGETHER]):
        policy, own = catalogue.example(name), f"p{number}"
        contract = export(policy, tmp_path / f"{own}.ganglion")
        program, written = file.read(tmp_path / f"{own}.ganglion")
        (tmp_path / f"{own}.h").write_text(header.render(write_step(program), written, own, ".h"), encoding="ascii")
        observations, resets = numbers(500, contract.observation_size)
        np.concatenate((resets[:, None].astype(np.float32), observations), axis=1).tofile(tmp_path / f"{own}.input")
        runs[own] = name, engine_run(tmp_path / f"{own}.ganglion", observations, resets)
    source = tmp_path / "main.c"
    includes = "\n".join(f'#include "{own}.h"' for own in runs)
    flights = "\n".join(_FLIGHT.replace("@", own) for own in runs)
    calls = " && ".join(f"fly_{own}()" for own in runs)
    source.write_text(f"#include <stdio.h>\n{includes}\n{flights}\nint main(void) {{ return {calls} ? 0 : 1; }}\n")
    C_HOST.build(tmp_path, source=source)
    assert C_HOST.run(tmp_path).returncode == 0
    for own, (name, wanted) in runs.items():
        found = np.fromfile(tmp_path / f"{own}.output", np.float32).reshape(wanted.shape)
        assert np.array_equal(found.view(np.uint32), wanted.view(np.uint32)), name


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
