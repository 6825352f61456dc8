"""The bits of a header beside those of the native engine."""

from __future__ import annotations

import dataclasses

import numpy as np
from header_programs import contract_of, program_of_everything, program_of_weights
from header_toolchains import drive

import ganglion
from ganglion.compiler import file
from ganglion.compiler.quantise import quantised
from ganglion.contract import Golden
from ganglion.export import header
from ganglion.export.header.code import write_step

STEPS = 2000


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
            write_both(program, contract_of(program), folder)
            observations, resets = numbers(STEPS, 24)
            wanted = engine_run(folder / "policy.ganglion", observations, resets)
            self.done[scheme] = folder, observations, resets, wanted
        return self.done[scheme]
