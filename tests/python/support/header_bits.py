"""The bits of a header beside those of the native engine."""

from __future__ import annotations

import dataclasses

import numpy as np
from header_programs import LARGEST_SHOWN, NAN_SHOWN, contract_of, program_of_everything, program_of_weights
from header_toolchains import C_HOST, HOST, drive

import ganglion
from ganglion.compiler import file
from ganglion.compiler.quantise import quantised
from ganglion.compiler.vocabulary import OPERATIONS
from ganglion.contract import Golden
from ganglion.export import header
from ganglion.export.header.code import write_step

STEPS = 2000
TOGETHER = 8
"""So many policies in one program, which takes a compiler less time than as many programs."""
_BUILT_BY = {".h": C_HOST, ".hpp": dataclasses.replace(HOST, compiler=["g++", "-O1", "-mavx2", "-mfma"])}


def numbers(steps, size):
    """Observations with what is special to some function, and numbers on both sides of the smallest one."""
    generator = np.random.default_rng(2)
    observations = generator.uniform(-2, 2, (steps, size)).astype(np.float32)
    for special in (0.0, -0.0, 0.5, -1.5, 1e-25, 3e-31, 1e-38, 1e-42):
        observations[generator.random(observations.shape) < 0.02] = special
    return observations, generator.random(steps) < 0.05


def write_both(program, contract, folder):
    """A program as headers and as file, whose self-tests take almost any numbers: the bits are compared here."""
    golden = contract.golden
    wide = Golden(golden.observation, golden.reset, golden.outputs, tolerance=1.0)
    contract = dataclasses.replace(contract, golden=wide, sha256=file.digest(program))
    code = write_step(program)
    for suffix in (".hpp", ".h"):
        (folder / f"policy{suffix}").write_text(header.render(code, contract, "policy", suffix), encoding="ascii")
    (folder / "policy.ganglion").write_bytes(file.to_bytes(program, contract)[0])


def engine_run(path, observations, resets):
    policy, rows = ganglion.load(path, engine="native"), []
    count = len(policy.contract.outputs)
    for observation, reset in zip(observations, resets, strict=True):
        if reset:
            policy.reset()
        policy.step(observation[None])
        rows.append(np.concatenate([*(np.ravel(policy.output(i)) for i in range(count)), np.ravel(policy.state())]))
    return np.stack(rows).astype(np.float32)


def check_bits(toolchain, folder, observations, resets, wanted):
    found = drive(toolchain, folder, observations, resets)
    different = found.view(np.uint32) != wanted.view(np.uint32)
    columns = np.flatnonzero(different.any(axis=0))
    assert not len(columns), f"{different.sum()} of {different.size} floats differ, in the columns {columns[:20]}"


class Everything:
    """Every operation with every function, or with weights that are stored in a way, and the engine's run of it."""

    def __init__(self, folders):
        self.folders, self.done = folders, {}

    def __call__(self, scheme):
        if scheme not in self.done:
            folder = self.folders.mktemp("everything")
            program = program_of_everything() if scheme == "float32" else quantised(program_of_weights(), scheme)
            assert scheme != "float32" or {op.kind for op in program.ops} == set(OPERATIONS)
            write_both(program, contract_of(program), folder)
            observations, resets = numbers(STEPS, 24)
            wanted = engine_run(folder / "policy.ganglion", observations, resets)
            for special in (NAN_SHOWN, LARGEST_SHOWN, -LARGEST_SHOWN) if scheme == "float32" else ():
                assert (wanted == np.float32(special)).any()
            self.done[scheme] = folder, observations, resets, wanted
        return self.done[scheme]


_FLIGHTS = {
    ".h": """
static bool fly_@(void) {
  static @_policy pilot;
  float seen[1 + @_observation_size], action[@_action_size];
  FILE* const input = fopen("@.input", "rb");
  FILE* const output = fopen("@.output", "wb");
  if (!@_self_test(&pilot).ok) return false;
  for (size_t i = 0; i <= @_observation_size; ++i) seen[i] = NAN;
  if (@_step(&pilot, seen + 1, action) != @_non_finite_observation) return false;
  while (fread(seen, sizeof seen, 1, input) == 1) {
    if (seen[0] > 0.0F) @_reset(&pilot);
    if (@_step(&pilot, seen + 1, action) != @_ok) return false;
    if (memcmp(action, @_output(&pilot, 0), sizeof action) != 0) return false;
    for (size_t i = 0; i < @_num_outputs; ++i) {
      (void)fwrite(@_output(&pilot, i), sizeof(float), @_outputs[i].size, output);
    }
    (void)fwrite(@_state(&pilot), sizeof(float), @_hidden_size, output);
  }
  (void)fclose(input);
  return fclose(output) == 0;
}
""",
    ".hpp": """
static bool fly_@() {
  static @::Policy pilot;
  float seen[1 + @::observation_size], action[@::action_size];
  FILE* const input = fopen("@.input", "rb");
  FILE* const output = fopen("@.output", "wb");
  if (!@::Policy::self_test().ok) return false;
  for (float& element : seen) element = NAN;
  if (pilot.step(seen + 1, action) != @::Status::non_finite_observation) return false;
  while (fread(seen, sizeof seen, 1, input) == 1) {
    if (seen[0] > 0.0F) pilot.reset();
    if (pilot.step(seen + 1, action) != @::Status::ok) return false;
    if (memcmp(action, pilot.output(0), sizeof action) != 0) return false;
    for (size_t i = 0; i < @::num_outputs; ++i) {
      (void)fwrite(pilot.output(i), sizeof(float), @::outputs[i].size, output);
    }
    (void)fwrite(pilot.state(), sizeof(float), @::hidden_size, output);
  }
  (void)fclose(input);
  return fclose(output) == 0;
}
""",
}


def check_together(policies, folder, steps=500):
    """Headers of several policies in one program of each language, beside the engine.

    The `.hpp` are exports of the policies, the `.h` are written from the `.ganglion` files that the engine runs.
    """
    runs = {}
    for number, (name, policy) in enumerate(policies.items()):
        own = f"p{number}"
        path = folder / f"{own}.ganglion"
        contract = ganglion.export(policy, path)
        ganglion.export(policy, folder / f"{own}.hpp")
        program, written = file.read(path)
        (folder / f"{own}.h").write_text(header.render(write_step(program), written, own, ".h"), encoding="ascii")
        observations, resets = numbers(steps, contract.observation_size)
        np.concatenate((resets[:, None].astype(np.float32), observations), axis=1).tofile(folder / f"{own}.input")
        runs[own] = name, engine_run(path, observations, resets)
    for suffix, flight in _FLIGHTS.items():
        source = folder / f"main.{_BUILT_BY[suffix].language.replace('+', 'p')}"
        includes = [*(f"#include <{name}.h>" for name in ("math", "stdio", "string")),
                    *(f'#include "{own}{suffix}"' for own in runs)]  # fmt: skip
        calls = " && ".join(f"fly_{own}()" for own in runs)
        main = f"int main({'void' if suffix == '.h' else ''}) {{ return {calls} ? 0 : 1; }}\n"
        source.write_text("\n".join([*includes, *(flight.replace("@", own) for own in runs), main]))
        _BUILT_BY[suffix].build(folder, source=source)
        assert _BUILT_BY[suffix].run(folder).returncode == 0
        for own, (name, wanted) in runs.items():
            found = np.fromfile(folder / f"{own}.output", np.float32).reshape(wanted.shape)
            assert np.array_equal(found.view(np.uint32), wanted.view(np.uint32)), f"{name}, {suffix}"
            (folder / f"{own}.output").unlink()
