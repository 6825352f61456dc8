"""Compilers and emulators of the header tests; a machine without one of them skips what needs it."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

import ganglion
from ganglion.verify import draw_trajectory

CROSS = Path(__file__).parents[2] / "cross"
DRIVER = CROSS / "driver.cpp"
FLAGS = [
    "-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Wdouble-promotion", "-Werror",
    "-fno-exceptions", "-fno-rtti",
]  # fmt: skip
_CORTEX_M7 = [
    "-mcpu=cortex-m7", "-mfpu=fpv5-d16", "-mfloat-abi=hard", "--specs=rdimon.specs", "-nostartfiles",
    "-T", str(CROSS / "mps2_an500.ld"),
]  # fmt: skip
_SEMIHOSTING = ["-semihosting-config", "enable=on,target=native"]


@dataclass(frozen=True)
class Toolchain:
    """How to build and to run for one architecture; `packages` are Debian's names of what each program comes in."""

    packages: dict[str, str]
    compiler: list[str]
    runner: list[str]
    sources: list[Path]

    def build(self, folder: Path, *flags: str, source: Path = DRIVER) -> None:
        """Compiles a program that includes the headers of `folder` to `folder`/program."""
        self.need()
        command = [*self.compiler, *FLAGS, *flags, "-I", folder, "-o", folder / "program", source, *self.sources]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        assert found.returncode == 0, found.stderr
        assert not found.stderr

    def run(self, folder: Path) -> subprocess.CompletedProcess[str]:
        """Runs `folder`/program there."""
        command = [*self.runner, "./program"]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)

    def need(self) -> None:
        for program, package in self.packages.items():
            if shutil.which(program) is None:
                pytest.skip(f"{program} is not installed: Debian package {package}")


HOST = Toolchain({"g++": "g++"}, ["g++", "-O2"], [], [])
PLAIN_HOST = Toolchain({"g++": "g++"}, ["g++", "-O0"], [], [])
"""Compiles in half the time: for what a header computes. That no optimisation changes a bit of that, nor finds anything
to warn of, is looked at in test_export_header.py and test_header_bits.py."""
TOOLCHAINS = {
    "host": HOST,
    "clang": Toolchain({"clang++": "clang"}, ["clang++", "-O2"], [], []),
    "aarch64": Toolchain(
        {"aarch64-linux-gnu-g++": "g++-aarch64-linux-gnu", "qemu-aarch64": "qemu-user"},
        ["aarch64-linux-gnu-g++", "-O2", "-static"],
        ["qemu-aarch64"],
        [],
    ),
    "cortex-m7": Toolchain(
        {
            "arm-none-eabi-g++": "gcc-arm-none-eabi, libnewlib-arm-none-eabi, libstdc++-arm-none-eabi-newlib",
            "qemu-system-arm": "qemu-system-arm",
        },
        ["arm-none-eabi-g++", "-O2", *_CORTEX_M7],
        ["qemu-system-arm", "-machine", "mps2-an500", "-nographic", *_SEMIHOSTING, "-kernel"],
        [CROSS / "cortex_m7_startup.cpp"],
    ),
}


def drive(toolchain, folder, observations, resets):
    """Builds the driver with `folder`/policy.hpp and runs it: outputs and state behind each step, side by side.

    The driver runs the self-test and feeds the policy bad input first; it answers 0 only if all of that is right.
    """
    toolchain.build(folder)
    np.concatenate((resets[:, None].astype(np.float32), observations), axis=1).tofile(folder / "input.bin")
    (folder / "output.bin").unlink(missing_ok=True)
    found = toolchain.run(folder)
    assert found.returncode == 0, found.stdout + found.stderr
    assert found.stdout.startswith("self-test: ok, ")
    assert found.stdout.endswith("done\n")
    return np.fromfile(folder / "output.bin", np.float32).reshape(len(observations), -1)


def check_header(policy, folder, steps):
    """Drives the header of a policy on this machine along a long trajectory, beside the policy."""
    contract = ganglion.export(policy, folder / "policy.hpp")
    drawn = draw_trajectory(contract, steps=steps, batch=1, seed=0)
    observations, resets = drawn.observation[:, 0], drawn.reset[:, 0]
    found = drive(PLAIN_HOST, folder, observations, resets)
    expected = everything(policy, observations[:, None], resets[:, None])[:, 0]
    assert (np.abs(found - expected) / np.maximum(1.0, np.abs(expected))).max() < 1e-5


@torch.inference_mode()
def everything(policy, observations, resets):
    """Outputs and state of a policy behind each step, side by side: `[steps, rows, n]` of `[steps, rows, m]`."""
    initial = policy.init_hidden(observations.shape[1])
    hidden, found = initial, []
    for observation, reset in zip(torch.from_numpy(observations), torch.from_numpy(resets), strict=True):
        *outputs, hidden = policy(observation, torch.where(reset[:, None], initial, hidden))
        found.append(torch.cat((*outputs, hidden), dim=1).numpy())
    return np.stack(found)
