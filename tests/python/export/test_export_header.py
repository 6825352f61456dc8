"""The C++ header does what the Python policy does, on every architecture that this machine can emulate."""

from __future__ import annotations

import dataclasses
import math
import re
import subprocess

import gymnasium as gym
import numpy as np
import pytest
import torch
from export_policies import (
    ACTIONS,
    OBSERVATIONS,
    SPEC,
    EncoderGruPolicy,
    LastActionPolicy,
    MemorylessPolicy,
    ModulePolicy,
    trajectory,
)
from header_programs import contract_of, program_of_everything
from header_toolchains import HOST, PLAIN_HOST, TOOLCHAINS, drive
from special_outputs import SPECIAL_OBSERVATIONS, SpecialOutputsPolicy
from torch import nn

import ganglion
from ganglion.contract import TensorSpec
from ganglion.errors import ExportError
from ganglion.export import export, header
from ganglion.policies import (
    ActionMap,
    DeployablePolicy,
    EnvSpec,
    GaussianLSTMPolicy,
    GRUPolicy,
    LSTMPolicy,
    ObservationNormalizer,
    RNNPolicy,
)
from ganglion.sampling import mapped

pytestmark = pytest.mark.deep  # compiles headers with every compiler

CROSS = [name for name in TOOLCHAINS if name != "host"]


def deployable(policy):
    """With everything that a deployed policy has around its net."""
    return DeployablePolicy(
        policy,
        ObservationNormalizer(np.linspace(-1, 1, OBSERVATIONS), np.linspace(0.5, 2, OBSERVATIONS), clip=2.0),
        ActionMap(scale=np.array([2.0, 3.0]), offset=np.array([0.5, 0.0]), squash=True),
    )


POLICIES = {
    "rnn": lambda: deployable(RNNPolicy(SPEC, 9, 1, hidden_nonlin="relu")),
    "gru_2_layers": lambda: deployable(GRUPolicy(SPEC, 40, 2)),
    "lstm": lambda: LSTMPolicy(SPEC, 33, 1, output_nonlin=torch.tanh),
    "lstm_2_layers": lambda: deployable(LSTMPolicy(SPEC, 11, 2)),
    "two outputs and two slots": EncoderGruPolicy,
    "no state": MemorylessPolicy,
    "action is state": LastActionPolicy,
    "feed-forward": lambda: ModulePolicy(
        nn.Sequential(nn.Linear(ACTIONS, 70), nn.LayerNorm(70), nn.SiLU(), nn.Linear(70, 6), nn.Softmax(-1), nn.GELU())
        .append(nn.Linear(6, ACTIONS))
        .append(nn.Hardtanh())
    ),
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Policies and the folders that their headers are in; each is exported once."""
    done = {}

    def get(name):
        if name not in done:
            torch.manual_seed(len(name))
            policy = POLICIES[name]().eval()
            folder = tmp_path_factory.mktemp("header")
            done[name] = policy, folder, export(policy, folder / "policy.hpp")
        return done[name]

    return get


@torch.no_grad()
def run_policy(policy, observations, resets):
    """Outputs and state behind each step of the Python policy, side by side."""
    hidden, rows = policy.init_hidden(), []
    for observation, reset in zip(observations, resets, strict=True):
        *outputs, hidden = policy(torch.from_numpy(observation), policy.init_hidden() if reset else hidden)
        rows.append(torch.cat((*outputs, hidden)).numpy())
    return np.stack(rows)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("name", POLICIES)
def test_header_is_the_policy(exported, name):
    policy, folder, contract = exported(name)
    assert [file.name for file in folder.iterdir() if file.suffix == ".hpp"] == ["policy.hpp"]
    assert (contract.batch, contract.golden.rows) == (1, 1)
    observations, resets = trajectory(2000)
    found = drive(HOST, folder, observations, resets)
    assert np.abs(found - run_policy(policy, observations, resets)).max() < 1e-5


@pytest.mark.sampled(1)
@pytest.mark.parametrize("name", ["gru_2_layers", "lstm_2_layers", "two outputs and two slots", "feed-forward"])
@pytest.mark.parametrize("architecture", CROSS)
def test_header_is_the_policy_elsewhere(exported, architecture, name):
    TOOLCHAINS[architecture].need()
    policy, folder, _ = exported(name)
    observations, resets = trajectory(2000)
    found = drive(TOOLCHAINS[architecture], folder, observations, resets)
    assert np.abs(found - run_policy(policy, observations, resets)).max() < 1e-5


@pytest.mark.parametrize("flags", [["-O0"], ["-O3", "-ffp-contract=fast"]])
def test_every_output_is_checked(tmp_path, flags):
    HOST.need()
    export(SpecialOutputsPolicy(), tmp_path / "policy.hpp")
    steps = ", ".join(f"{{{', '.join(map(repr, seen))}, {int(good)}}}" for seen, good in SPECIAL_OBSERVATIONS)
    source = tmp_path / "main.cpp"
    source.write_text(f"""
#include "policy.hpp"
struct Case {{ float observation[3]; int good; }};
const volatile Case cases[] = {{ {steps} }};
int main() {{
  policy::Policy pilot;
  int wrong = 0;
  for (const volatile Case& one : cases) {{
    const float observation[3] = {{one.observation[0], one.observation[1], one.observation[2]}};
    float action[3] = {{42.0F, 42.0F, 42.0F}};
    const policy::Status status = pilot.step(observation, action);
    wrong += status != (one.good ? policy::Status::ok : policy::Status::non_finite_action);
    wrong += !one.good && action[0] != 42.0F;
  }}
  return wrong;
}}
""")
    dataclasses.replace(HOST, compiler=["g++", *flags]).build(tmp_path, source=source)
    assert subprocess.run([tmp_path / "program"], check=False).returncode == 0


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    ("compiler", "flag"),
    [
        ("g++", "-ffast-math"), ("g++", "-Ofast"), ("g++", "-funsafe-math-optimizations"), ("g++", "-freciprocal-math"),
        ("g++", "-ffinite-math-only"), ("g++", "-fno-signed-zeros"), ("g++", "-fsingle-precision-constant"),
        ("clang++", "-ffast-math"), ("clang++", "-ffinite-math-only"),
    ],
)  # fmt: skip
def test_arithmetic_that_is_not_that_of_the_standard_is_refused(exported, tmp_path, compiler, flag):
    TOOLCHAINS["clang" if compiler == "clang++" else "host"].need()
    _, folder, _ = exported("lstm")
    source = tmp_path / "main.cpp"
    source.write_text('#include "policy.hpp"\nint main() { return 0; }\n')
    command = [compiler, "-std=c++17", "-O2", flag, "-I", folder, "-fsyntax-only", source]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode != 0
    assert re.search(r"error: .*This policy (is defined to the bit|looks for numbers|needs doubles)", found.stderr), (
        found.stderr
    )


def test_header_needs_nothing_but_the_mathematics(tmp_path, exported):
    HOST.need()
    _, folder, _ = exported("lstm_2_layers")
    text = (folder / "policy.hpp").read_text(encoding="ascii")
    assert text.index("#ifndef GANGLION_policy_HPP") < text.index("#include")
    standard = ["#include <cmath>", "#include <cstddef>", "#include <cstdint>", "#include <cstring>"]
    processors = ["#include <immintrin.h>", "#include <arm_neon.h>"]  # where the compiler says that there is one
    assert re.findall(r"^#include.*", text, re.MULTILINE) == standard + processors
    macros = set(re.findall(r"^#define (?!GANGLION_policy_HPP)(\w+)", text, re.MULTILINE))
    assert macros <= set(re.findall(r"^#undef (\w+)", text, re.MULTILINE))
    assert max(map(len, text.splitlines())) <= 120
    source = tmp_path / "user.cpp"
    source.write_text(
        '#include "policy.hpp"\npolicy::Policy pilot;\n'
        "policy::Status step(const float* seen, float* action) { return pilot.step(seen, action); }\n"
        "bool good() { pilot.reset(); return policy::Policy::self_test().ok; }\n"
    )
    HOST.build(folder, "-c", source=source)
    symbols = subprocess.run(["nm", "-u", folder / "program"], capture_output=True, text=True, check=True).stdout
    needed = set(re.findall(r" U (\w+)", symbols)) - {"_GLOBAL_OFFSET_TABLE_", "__stack_chk_fail"}
    assert needed <= {"memcpy", "memmove", "memset"}, needed


def test_contract_is_in_the_header(tmp_path):
    HOST.need()
    policy = EncoderGruPolicy().eval()
    nasty = 'quote " backslash \\ newline \n comment */ // trigraph ??/ é µ\0 end'
    contract = policy.contract(batch=3, period_s=0.005, provenance={"trainer": nasty})
    names = tuple(f"joint {i}" for i in range(OBSERVATIONS))
    spec = TensorSpec("obs", OBSERVATIONS, names, ("rad", "rad", "m/s", nasty, "µV"), low=(-np.inf,) * 4 + (-0.1,))
    contract = dataclasses.replace(contract, inputs=(spec,))
    written = export(policy, tmp_path / "policy.hpp", contract=contract)
    assert written.batch == 1
    escaped = "".join(f"\\{byte:03o}" for byte in nasty.encode())
    source = tmp_path / "main.cpp"
    source.write_text(f"""
#include <cstring>
#include "policy.hpp"
static_assert(policy::observation_size == {OBSERVATIONS} && policy::action_size == {ACTIONS});
static_assert(policy::output_size == {ACTIONS + 1} && policy::hidden_size == 14 && policy::period_s == 0.005);
static_assert(policy::num_inputs == 1 && policy::num_outputs == 2 && policy::num_state_slots == 2);
static_assert(policy::outputs[1].offset == {ACTIONS} && policy::outputs[1].size == 1);
static_assert(policy::state_slots[1].offset == 12 && policy::state_slots[1].size == 2);
static_assert(policy::initial_state[0] == -0.5F && policy::initial_state[13] == 0.25F);
static_assert(policy::observation_elements[0].low == -INFINITY && policy::observation_elements[4].high == INFINITY);
static_assert(policy::observation_elements[4].low == -0.1F && policy::output_elements[0].high == 1.0F);
static_assert(policy::golden::steps == 64 && policy::golden::tolerance == 1e-5F);
int main() {{
  const bool good = std::strcmp(policy::sha256, "{written.sha256}") == 0 &&
                    std::strcmp(policy::state_slots[1].name, "prev_action") == 0 &&
                    std::strcmp(policy::outputs[1].name, "value") == 0 &&
                    std::strcmp(policy::observation_elements[2].name, "joint 2") == 0 &&
                    std::strcmp(policy::observation_elements[2].unit, "m/s") == 0 &&
                    std::strcmp(policy::observation_elements[3].unit, "{escaped}") == 0 &&
                    std::strcmp(policy::observation_elements[4].unit, "\\302\\265V") == 0;
  bool told = false;
  for (const policy::Note& note : policy::provenance) {{
    told = told || (std::strcmp(note.key, "trainer") == 0 && std::strcmp(note.text, "{escaped}") == 0);
  }}
  return good && told && policy::Policy::self_test().ok ? 0 : 1;
}}
""")
    PLAIN_HOST.build(tmp_path, source=source)
    assert PLAIN_HOST.run(tmp_path).returncode == 0


def test_a_header_maps_what_is_drawn_and_remembers_it_unmapped(tmp_path):
    HOST.need()
    wide = EnvSpec(gym.spaces.Box(-1.0, 1.0, (3,)), gym.spaces.Box(-1.0, 1.0, (30,)))
    inner = DeployablePolicy(
        GaussianLSTMPolicy(wide, hidden_dim=4),
        action_map=ActionMap(
            np.linspace(-2, 3, 30), np.linspace(0, 0.1, 30), high=[0.25] + [math.inf] * 29, squash=True
        ),
    )
    policy = DeployablePolicy(inner, action_map=ActionMap(np.full(30, 10.0))).eval()
    export(policy, tmp_path / "policy.hpp")
    text = (tmp_path / "policy.hpp").read_text(encoding="ascii")
    assert max(map(len, text.splitlines())) <= 120
    source = tmp_path / "main.cpp"
    source.write_text("""
#include <cstdio>
#include "policy.hpp"
static_assert(policy::num_action_stages == 2 && policy::outputs[2].offset == 60);
int main() {
  policy::Policy pilot;
  const float seen[policy::observation_size] = {0.3F, -0.2F, 0.9F};
  float action[policy::action_size], mapped[policy::action_size];
  if (pilot.step(seen, action) != policy::Status::ok) return 1;
  policy::to_command(pilot.output(2), mapped);
  float own[policy::action_size];
  for (std::size_t i = 0; i < policy::action_size; ++i) own[i] = 0.1875F * static_cast<float>(i) - 3.0F;
  for (std::size_t i = 0; i < policy::action_size; ++i) {
    if (std::fabs(mapped[i] - action[i]) > 1e-5F || pilot.state()[i] != pilot.output(2)[i]) return 2;
  }
  policy::to_command(own, own);
  for (const float value : own) std::printf("%a ", static_cast<double>(value));
}
""")
    contract = policy.contract()
    own = np.float32(0.1875) * np.arange(30, dtype=np.float32) - np.float32(3.0)
    for flags in ([], ["-O0"], ["-O3", "-mfma", "-ffp-contract=fast"]):
        HOST.build(tmp_path, *flags, source=source)
        found = HOST.run(tmp_path)
        assert found.returncode == 0, found
        commands = np.array([float.fromhex(word) for word in found.stdout.split()], np.float32)
        np.testing.assert_allclose(commands, policy.as_command(torch.from_numpy(own)), rtol=1e-5, atol=1e-5)
        assert np.array_equal(commands, mapped(contract.action_map, own))
    export(GaussianLSTMPolicy(wide, hidden_dim=4), tmp_path / "plain.hpp")
    assert "to_command" not in (tmp_path / "plain.hpp").read_text(encoding="ascii")


def test_digest_is_that_of_the_native_file(tmp_path):
    policy = MemorylessPolicy()
    assert export(policy, tmp_path / "a.hpp").sha256 == export(policy, tmp_path / "a.ganglion").sha256


def test_smaller_weights_are_on_request(tmp_path):
    torch.manual_seed(0)
    policy = LSTMPolicy(SPEC, 16, 1)
    with pytest.raises(ExportError, match="more than the tolerance"):
        export(policy, tmp_path / "policy.hpp", weights="int8", weight_tolerance=1e-9)
    assert not list(tmp_path.iterdir())
    contract = export(policy, tmp_path / "policy.hpp", weights="int8", weight_tolerance=0.05)
    assert contract.provenance["weights"] == "int8"
    HOST.need()
    observations, resets = trajectory(200)
    found = drive(PLAIN_HOST, tmp_path, observations, resets)
    error = np.abs(found - run_policy(policy.eval(), observations, resets))[:, :ACTIONS].max()
    assert 1e-5 < error < 0.05


def test_self_test_finds_a_changed_weight(exported, tmp_path):
    HOST.need()
    _, folder, _ = exported("gru_2_layers")
    text = (folder / "policy.hpp").read_text()
    place = re.search(r"float op\d+_weight_gates\[\d+\] = \{\s+(-?[\d.]+)F", text)
    (tmp_path / "policy.hpp").write_text(f"{text[: place.start(1)]}{float(place[1]) + 0.01}{text[place.end(1) :]}")
    (tmp_path / "input.bin").touch()
    PLAIN_HOST.build(tmp_path)
    found = PLAIN_HOST.run(tmp_path)
    assert found.returncode == 1
    assert re.match(r"self-test: FAILED, 64 steps, max error .*\nfirst at step \d+, element \d+\n", found.stdout)


def test_program_that_differs_is_not_written(tmp_path):
    program = program_of_everything()
    contract = contract_of(program)
    golden = dataclasses.replace(contract.golden, outputs=contract.golden.outputs + np.float32(1e-3))
    (tmp_path / "policy.hpp").write_text("old")
    with pytest.raises(ExportError, match="the program of the header differs from the Python policy"):
        header.write_program(program, dataclasses.replace(contract, golden=golden), tmp_path / "policy.hpp")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("policy.hpp", "old")]


@pytest.mark.parametrize(
    ("stem", "namespace"),
    [
        ("walker", "walker"), ("Walker-v2.final", "Walker_v2_final"), ("2legs", "policy_2legs"), ("_a__b_", "a_b"),
        ("häuser", "h_user"), ("---", "policy"), ("new", "new_policy"), ("main", "main_policy"), ("exp", "exp_policy"),
        ("std", "std_policy"),
    ],
)  # fmt: skip
def test_namespace_comes_from_the_file_name(stem, namespace):
    assert header.identifier(stem) == namespace


@pytest.mark.whole
def test_two_headers_in_one_program(tmp_path):
    HOST.need()
    program = program_of_everything()
    for name in ("policy.hpp", "double.hpp"):
        header.write_program(program, contract_of(program), tmp_path / name)
    source = tmp_path / "main.cpp"
    source.write_text(
        '#include "double.hpp"\n#include "policy.hpp"\n'
        "int main() { return policy::Policy::self_test().ok && double_policy::Policy::self_test().ok ? 0 : 1; }\n"
    )
    PLAIN_HOST.build(tmp_path, source=source)
    assert PLAIN_HOST.run(tmp_path).returncode == 0


@pytest.mark.parametrize("suffix", [".hpp", ".h"])
def test_a_header_is_not_loaded(tmp_path, suffix):
    path = tmp_path / f"policy{suffix}"
    path.write_text("#pragma once\n")
    with pytest.raises(ganglion.errors.ArtifactError, match=rf"a '\{suffix}' artifact is compiled into a program"):
        ganglion.inspect(path)
