"""Several policies in one C program have no name in common, or the compiler says which two are called the same."""

from __future__ import annotations

import dataclasses
import re
import subprocess
from pathlib import Path

import gymnasium as gym
import pytest
import torch
from header_programs import contract_of, program_of_everything
from header_toolchains import C_HOST, HOST, PLAIN_HOST

from ganglion.compiler import file
from ganglion.export import export, header
from ganglion.export.header import c
from ganglion.export.header.code import write_step
from ganglion.policies import ActionMap, DeployablePolicy, EnvSpec, GaussianLSTMPolicy, GRUPolicy

pytestmark = pytest.mark.deep  # compiles headers

SPEC = EnvSpec(gym.spaces.Box(-1.0, 1.0, (3,)), gym.spaces.Box(-1.0, 1.0, (2,)))
MEETING = ("detail", "golden", "initial", "non_finite", "num", "set", "weights")


def _names(text: str) -> set[str]:
    return set(re.findall(r"\bq_(\w+)", text))


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Every name that some header has behind that of its policy."""
    program = program_of_everything()
    contract = dataclasses.replace(contract_of(program), sha256=file.digest(program))
    found = _names(header.render(write_step(program), contract, "q", ".h"))
    mapped = DeployablePolicy(GaussianLSTMPolicy(SPEC, hidden_dim=4), action_map=ActionMap([2.0, 3.0])).eval()
    path = tmp_path_factory.mktemp("names") / "q.h"
    export(mapped, path)
    return found | _names(path.read_text(encoding="ascii"))


def test_every_name_that_goes_on_like_another_is_known(names: set[str]) -> None:
    assert {"step", "to_command", "non_finite_state", "golden_outputs", "policy", "detail_fused"} <= names
    parted = [(name[: at.start()], name[at.end() :]) for name in names for at in re.finditer("_", name)]
    meeting = {first for first, rest in parted if rest in names}
    assert {"set", "num", "initial", "non_finite", "golden"} <= meeting
    for first in meeting:
        assert c.prefix_of(f"gait_{first}") == f"gait_{first}_policy"
        assert c.prefix_of(f"gait_fast_{first}") == f"gait_fast_{first}_policy"
    assert not [first for first, rest in parted if "policy" in first.split("_")]


@pytest.mark.parametrize("name", ["gait", "gait_fast", "set", "golden", "gait_settled", "gait_step", "gait_set_policy"])
def test_other_names_stay(name: str) -> None:
    assert c.prefix_of(name) == name


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory):
    """A program and its contract."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("policy") / "policy.ganglion"
    export(GRUPolicy(SPEC, 5, 1), path)
    return file.read(path)


def _program(stems: list[str]) -> str:
    included = "".join(f'#include "{stem}.h"\n' for stem in stems)
    checks = "".join(
        f"  static {name}_policy own_{name};\n  if (!{name}_self_test(&own_{name}).ok) return 1;\n"
        for name in (c.prefix_of(stem) for stem in stems)
    )
    return f"{included}int main(void) {{\n{checks}  return 0;\n}}\n"


@pytest.mark.whole
def test_policies_whose_names_extend_each_other(policy, tmp_path) -> None:
    lengths = [f"gait_{'s' * length}" for length in range(1, 60, 3)]  # lines are broken elsewhere in each
    stems = ["gait", "gait_fast", *(f"gait_{word}" for word in MEETING), *lengths]
    for stem in stems:
        header.write_program(*policy, tmp_path / f"{stem}.h")
    for toolchain, name, order in ((C_HOST, "main.c", stems), (PLAIN_HOST, "main.cpp", stems[::-1])):
        source = tmp_path / name
        source.write_text(_program(order))
        toolchain.build(tmp_path, source=source)
        assert toolchain.run(tmp_path).returncode == 0


@pytest.mark.parametrize("word", ["set", "num", "initial", "non_finite", "golden"])
def test_without_it_they_do_not_compile(word: str, policy, tmp_path) -> None:
    C_HOST.need()
    program, contract = policy
    for name in ("gait", f"gait_{word}"):
        (tmp_path / f"{name}.h").write_text(header.render(write_step(program), contract, name, ".h"), encoding="ascii")
    assert "gait_" in _said(tmp_path, f'#include "gait.h"\n#include "gait_{word}.h"\n')


@pytest.mark.parametrize("suffix", [".h", ".hpp"])
def test_two_policies_of_one_name_are_refused(suffix: str, policy, tmp_path) -> None:
    C_HOST.need()
    program, contract = policy
    for stem in ("walker-2", "again/walker_2"):
        path = tmp_path / f"{stem}{suffix}"
        path.parent.mkdir(exist_ok=True)
        header.write_program(program, contract, path)
    header.write_program(program, dataclasses.replace(contract, period_s=0.125), tmp_path / f"walker_2{suffix}")
    assert _said(tmp_path, f'#include "walker-2{suffix}"\n#include "again/walker_2{suffix}"\n', suffix) == ""
    said = _said(tmp_path, f'#include "walker-2{suffix}"\n#include "walker_2{suffix}"\n', suffix)
    assert "Two policies are called walker_2 here: export one of them to a file of another name." in said


_FLIGHT = """#include "policy.hpp"
#include <cstdio>
void fly_{0}() {{
  policy::Policy pilot;
  const float seen[policy::observation_size] = {{0.5F}};
  float action[policy::action_size] = {{}};
  if (pilot.step(seen, action) == policy::Status::ok) std::printf("%a\\n", static_cast<double>(action[0]));
}}
"""


def test_two_policies_of_one_name_in_two_source_files_stay_two(tmp_path) -> None:
    HOST.need()
    torch.manual_seed(2)
    objects = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        export(GRUPolicy(SPEC, 5, 1), tmp_path / name / "policy.hpp")
        (tmp_path / name / "fly.cpp").write_text(_FLIGHT.format(name))
        PLAIN_HOST.build(tmp_path / name, "-c", source=tmp_path / name / "fly.cpp")
        objects.append((tmp_path / name / "program").rename(tmp_path / f"{name}.o"))
    (tmp_path / "main.cpp").write_text("void fly_one();\nvoid fly_two();\nint main() { fly_one(); fly_two(); }\n")
    together = dataclasses.replace(PLAIN_HOST, sources=objects)
    together.build(tmp_path, source=tmp_path / "main.cpp")
    one, two = together.run(tmp_path).stdout.splitlines()
    assert float.fromhex(one) != float.fromhex(two)


def test_a_policy_beside_the_c_interface(policy, tmp_path) -> None:
    C_HOST.need()
    header.write_program(*policy, tmp_path / "ganglion-guard.h")
    interface = Path(__file__).parents[3] / "cpp/include/ganglion.h"
    both = f'#include "{interface}"\n#include "ganglion-guard.h"\npolicy_ganglion_guard_policy* own;\n'
    assert _said(tmp_path, both) == ""
    for stem in ("ganglion", "ganglion_policy", "ganglion-guard"):
        assert header.identifier(stem) == f"policy_{stem.replace('-', '_')}"


def _said(folder, text: str, suffix: str = ".h") -> str:
    source, compiler = {".h": ("two.c", ["gcc", "-std=c99"]), ".hpp": ("two.cpp", ["g++", "-std=c++17"])}[suffix]
    (folder / source).write_text(text)
    command = [*compiler, "-fsyntax-only", folder / source]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr
