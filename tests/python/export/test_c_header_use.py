"""What a firmware in C does with a policy.h: constants, commands, refusals, several policies, memory."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess

import gymnasium as gym
import numpy as np
import pytest
import torch
from export_policies import ACTIONS, OBSERVATIONS, EncoderGruPolicy, MemorylessPolicy
from header_toolchains import C_HOST, C_TOOLCHAINS, HOST
from special_outputs import SPECIAL_OBSERVATIONS, SpecialOutputsPolicy

from ganglion.contract import TensorSpec
from ganglion.export import export, header
from ganglion.policies import ActionMap, DeployablePolicy, EnvSpec, GaussianLSTMPolicy, GRUPolicy
from ganglion.sampling import mapped

pytestmark = pytest.mark.deep  # compiles headers

NASTY = 'quote " backslash \\ newline \n comment */ // trigraph ??/ é µ\0 end'


def _run(toolchain, folder, text, name="main.c", *flags):
    source = folder / name
    source.write_text(text)
    toolchain.build(folder, *flags, source=source)
    found = toolchain.run(folder)
    assert found.returncode == 0, found
    return found.stdout


def test_contract_is_in_the_header(tmp_path):
    contract = EncoderGruPolicy().eval().contract(batch=3, period_s=0.005, provenance={"trainer": NASTY})
    names = tuple(f"joint {i}" for i in range(OBSERVATIONS))
    spec = TensorSpec("obs", OBSERVATIONS, names, ("rad", "rad", "m/s", NASTY, "µV"), low=(-np.inf,) * 4 + (-0.1,))
    contract = dataclasses.replace(contract, inputs=(spec,))
    written = export(EncoderGruPolicy().eval(), tmp_path / "policy.h", contract=contract)
    assert written.batch == 1
    escaped = "".join(f"\\{byte:03o}" for byte in NASTY.encode())
    checks = f"""
policy_observation_size == {OBSERVATIONS} && policy_action_size == {ACTIONS}
policy_output_size == {ACTIONS + 1} && policy_hidden_size == 14 && policy_period_s * 200.0 > 0.999
policy_num_inputs == 1 && policy_num_outputs == 2 && policy_num_state_slots == 2
policy_outputs[1].offset == {ACTIONS} && policy_outputs[1].size == 1
policy_state_slots[1].offset == 12 && policy_state_slots[1].size == 2
policy_initial_state[0] < -0.49F && policy_initial_state[13] > 0.24F
policy_observation_elements[0].low < -1e38F && policy_observation_elements[4].high > 1e38F
policy_observation_elements[4].low < -0.09F && policy_output_elements[0].high < 1.01F
policy_golden_steps == 64 && policy_golden_tolerance < 1.01e-5F
strcmp(policy_sha256, "{written.sha256}") == 0
strcmp(policy_inputs[0].name, "obs") == 0
strcmp(policy_state_slots[1].name, "prev_action") == 0
strcmp(policy_outputs[1].name, "value") == 0
strcmp(policy_observation_elements[2].name, "joint 2") == 0
strcmp(policy_observation_elements[3].unit, "{escaped}") == 0
strcmp(policy_observation_elements[4].unit, "\\302\\265V") == 0
"""
    lines = "\n".join(f"  if (!({line})) return {i};" for i, line in enumerate(checks.strip().splitlines(), 1))
    _run(
        C_HOST,
        tmp_path,
        f"""#include "policy.h"
#if policy_observation_size != {OBSERVATIONS} || policy_hidden_size != 14
#error "sizes are for the preprocessor, too"
#endif
int main(void) {{
  bool told = false;
{lines}
  for (size_t i = 0; i < policy_num_notes; ++i) {{
    const policy_note* const note = policy_provenance + i;
    told = told || (strcmp(note->key, "trainer") == 0 && strcmp(note->text, "{escaped}") == 0);
  }}
  return told ? 0 : 99;
}}
""",
    )
    text = (tmp_path / "policy.h").read_text(encoding="ascii")
    assert max(len(line) for line in text.splitlines() if NASTY[:5] not in line) <= 120
    macros = set(re.findall(r"^#define (GANGLION_(?!policy)\w+)", text, re.MULTILINE))
    assert macros and macros <= set(re.findall(r"^#undef (\w+)", text, re.MULTILINE))
    names = re.findall(r"^(?:static|typedef|GANGLION\w+)[^(={;]*?\b(\w+)(?:\[| =|\(|;|\{)", text, re.MULTILINE)
    assert {name for name in names if not name.startswith("policy_")} <= {"__attribute__"}


def test_it_maps_what_is_drawn(tmp_path):
    wide = EnvSpec(gym.spaces.Box(-1.0, 1.0, (3,)), gym.spaces.Box(-1.0, 1.0, (30,)))
    own_map = ActionMap(np.linspace(-2, 3, 30), np.linspace(0, 0.1, 30), high=[0.25] + [np.inf] * 29, squash=True)
    inner = DeployablePolicy(GaussianLSTMPolicy(wide, hidden_dim=4), action_map=own_map)
    policy = DeployablePolicy(inner, action_map=ActionMap(np.full(30, 10.0))).eval()
    contract = export(policy, tmp_path / "policy.h")
    said = _run(
        C_HOST,
        tmp_path,
        """#include "policy.h"
#include <stdio.h>
int main(void) {
  float own[policy_action_size];
  for (size_t i = 0; i < policy_action_size; ++i) own[i] = 0.1875F * (float)i - 3.0F;
  policy_to_command(own, own);
  for (size_t i = 0; i < policy_action_size; ++i) printf("%a ", (double)own[i]);
  return 0;
}
""",
    )
    own = np.float32(0.1875) * np.arange(30, dtype=np.float32) - np.float32(3.0)
    commands = np.array([float.fromhex(word) for word in said.split()], np.float32)
    assert np.array_equal(commands, mapped(contract.action_map, own))
    export(GaussianLSTMPolicy(wide, hidden_dim=4), tmp_path / "plain.h")
    assert "to_command" not in (tmp_path / "plain.h").read_text(encoding="ascii")


def test_every_output_is_checked(tmp_path):
    export(SpecialOutputsPolicy(), tmp_path / "policy.h")
    steps = ", ".join(f"{{{', '.join(map(repr, seen))}, {int(good)}}}" for seen, good in SPECIAL_OBSERVATIONS)
    steps = re.sub(r"(\d\.[\de+-]*)", r"\1F", steps)
    _run(
        C_HOST,
        tmp_path,
        f"""#include "policy.h"
static const float cases[][4] = {{ {steps} }};
int main(void) {{
  static policy_policy pilot;
  int wrong = 0;
  policy_init(&pilot);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {{
    float action[3] = {{42.0F, 42.0F, 42.0F}};
    const bool good = cases[i][3] > 0.0F;
    const policy_status status = policy_step(&pilot, cases[i], action);
    wrong += status != (good ? policy_ok : policy_non_finite_action);
    wrong += !good && (action[0] < 42.0F || action[0] > 42.0F);
  }}
  return wrong;
}}
""",
    )


@pytest.mark.parametrize(
    ("compiler", "flag"),
    [
        ("gcc", "-ffast-math"), ("gcc", "-funsafe-math-optimizations"), ("gcc", "-ffinite-math-only"),
        ("gcc", "-fsingle-precision-constant"), ("clang", "-ffast-math"),
    ],
)  # fmt: skip
def test_arithmetic_that_is_not_that_of_the_standard_is_refused(tmp_path, compiler, flag):
    C_TOOLCHAINS["clang" if compiler == "clang" else "host"].need()
    if not (tmp_path / "policy.h").exists():
        export(MemorylessPolicy(), tmp_path / "policy.h")
    (tmp_path / "main.c").write_text('#include "policy.h"\nint main(void) { return 0; }\n')
    command = [compiler, "-std=c99", "-O2", flag, "-fsyntax-only", tmp_path / "main.c"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode != 0
    assert re.search(r"error: .*(This policy (is defined|looks for)|policy_detail_needs_doubles)", found.stderr), found


@pytest.mark.whole
def test_several_policies_in_c_and_in_cpp_in_one_program(tmp_path):
    HOST.need()
    torch.manual_seed(0)
    spec = EnvSpec(gym.spaces.Box(-1.0, 1.0, (3,)), gym.spaces.Box(-1.0, 1.0, (2,)))
    for name in ("walker.h", "int.h", "walker.hpp"):
        export(GRUPolicy(spec, 5, 1), tmp_path / name)
    export(MemorylessPolicy(), tmp_path / "Walker-2.h")
    every = '#include "walker.h"\n#include "int.h"\n#include "Walker-2.h"\n#include "walker.h"\n'
    tests = """
  static walker_policy one;
  static int_policy_policy two;
  static Walker_2_policy three;
  return walker_self_test(&one).ok && int_policy_self_test(&two).ok && Walker_2_self_test(&three).ok;
"""
    (tmp_path / "other.c").write_text(f"{every}int other(void);\nint other(void) {{{tests}}}\n")
    C_HOST.build(tmp_path, "-c", source=tmp_path / "other.c")
    shutil.move(tmp_path / "program", tmp_path / "other.o")
    main = f"{every}int other(void);\nstatic int own(void) {{{tests}}}\n"
    main += "int main(void) { return own() && other() ? 0 : 1; }\n"
    _run(dataclasses.replace(C_HOST, sources=[tmp_path / "other.o"]), tmp_path, main)
    with_cpp = main.replace("int other(void);", '#include "walker.hpp"\nextern "C" int other(void);')
    with_cpp = with_cpp.replace("return own()", "return walker::Policy::self_test().ok && own()")
    for flag in ("-std=c++17", "-std=c++98"):
        text = with_cpp if flag == "-std=c++17" else with_cpp.replace('#include "walker.hpp"', "").replace(
            "walker::Policy::self_test().ok && ", ""
        )  # fmt: skip
        _run(dataclasses.replace(HOST, sources=[tmp_path / "other.o"]), tmp_path, text, "main.cpp", flag)


def test_a_name_is_none_of_c():
    for stem in ("restrict", "inline", "double", "sizeof"):
        assert header.identifier(stem) == f"{stem}_policy"


_ROUNDED_DOWN = """#include "policy.h"
#include <fenv.h>
int main(void) {
  static policy_policy pilot;
  float seen[policy_observation_size], wanted[policy_action_size], action[policy_action_size];
  for (size_t i = 0; i < policy_observation_size; ++i) seen[i] = 0.3F;
  policy_init(&pilot);
  if (policy_step(&pilot, seen, wanted) != policy_ok) return 1;
  policy_init(&pilot);
  (void)fesetround(FE_DOWNWARD);
  if (policy_step(&pilot, seen, action) != policy_ok) return 2;
  if (fegetround() != FE_DOWNWARD) return 3;
  return memcmp(wanted, action, sizeof action) == 0 ? 0 : 4;
}
"""


def test_the_rounding_of_the_caller_changes_nothing_and_comes_back(tmp_path):
    torch.manual_seed(0)
    spec = EnvSpec(gym.spaces.Box(-1.0, 1.0, (7,)), gym.spaces.Box(-1.0, 1.0, (3,)))
    export(GRUPolicy(spec, 20, 1), tmp_path / "policy.h")
    _run(C_HOST, tmp_path, _ROUNDED_DOWN, "main.c", "-Wl,--no-as-needed", "-lm")
    text = (tmp_path / "policy.h").read_text(encoding="ascii")
    fault = text.replace("policy_detail_write_mode(saved & ~policy_detail_others)", "policy_detail_write_mode(saved)")
    assert fault != text
    (tmp_path / "policy.h").write_text(fault, encoding="ascii")
    with pytest.raises(AssertionError, match="returncode=4"):
        _run(C_HOST, tmp_path, _ROUNDED_DOWN, "main.c", "-Wl,--no-as-needed", "-lm")


def test_an_unused_status_is_warned_of(tmp_path):
    C_HOST.need()
    export(MemorylessPolicy(), tmp_path / "policy.h")
    (tmp_path / "main.c").write_text(
        '#include "policy.h"\nstatic policy_policy p;\n'
        f"int main(void) {{ float o[{OBSERVATIONS}] = {{0}}; policy_step(&p, o, o); return 0; }}\n"
    )
    command = ["gcc", "-std=c99", "-c", "-o", tmp_path / "main.o", tmp_path / "main.c"]
    assert "warn_unused_result" in subprocess.run(command, capture_output=True, text=True, check=False).stderr


@pytest.mark.parametrize("weights", ["float32", "float16", "int8"])
def test_the_memory_that_an_export_says_is_that_of_the_compiler(tmp_path, weights):
    C_TOOLCHAINS["cortex-m4f"].need()
    torch.manual_seed(0)
    spec = EnvSpec(gym.spaces.Box(-1.0, 1.0, (7,)), gym.spaces.Box(-1.0, 1.0, (3,)))
    policy = GRUPolicy(spec, 20, 1)
    said = _memory(export(policy, tmp_path / "policy.h", weights=weights, weight_tolerance=0.5))
    assert said == _memory(export(policy, tmp_path / "policy.hpp", weights=weights, weight_tolerance=0.5))
    (tmp_path / "use.c").write_text(
        '#include "policy.h"\npolicy_policy pilot;\nbool good(void);\n'
        "bool good(void) { return policy_self_test(&pilot).ok; }\n"
    )
    compiler = ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard", "-std=c99", "-Os"]
    subprocess.run([*compiler, "-c", "use.c"], cwd=tmp_path, check=True)
    nm = subprocess.run(["arm-none-eabi-nm", "-S", "use.o"], cwd=tmp_path, capture_output=True, text=True, check=True)
    lines = (line.split() for line in nm.stdout.splitlines())
    sizes = {words[3]: int(words[1], 16) for words in lines if len(words) == 4}

    def of(pattern):
        return sum(size for name, size in sizes.items() if re.fullmatch(pattern, name))

    assert said["flash_bytes"] == of("policy_weights_.*|policy_initial_state")
    assert said["ram_bytes"] == of("pilot")
    # What is one element, or the same every time, is in the code.
    assert said["self_test_bytes"] - 4 <= of("policy_golden_.*") <= said["self_test_bytes"]


def _memory(contract):
    return {name: int(text) for name, text in contract.provenance.items() if name.endswith("_bytes")}
