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
_WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Wdouble-promotion", "-Werror"]
_FLAGS = {
    "c++": ["-std=c++17", *_WARNINGS, "-fno-exceptions", "-fno-rtti"],
    "c": ["-std=c99", *_WARNINGS, "-Wstrict-prototypes"],
}
_DRIVERS = {"c++": CROSS / "driver.cpp", "c": CROSS / "driver.c"}
_SEMIHOSTING = ["-semihosting-config", "enable=on,target=native"]
_STARTUP = [CROSS / "cortex_m_startup.c"]
_MPS2 = ["-mfloat-abi=hard", "--specs=rdimon.specs", "-nostartfiles", "-T", str(CROSS / "mps2.ld")]
_M33_MEMORY = ["-Wl,--defsym=code_begin=0x10000000", "-Wl,--defsym=data_begin=0x38000000"]
_CORTEX_M = {
    "cortex-m4f": ("mps2-an386", ["-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", *_MPS2]),
    "cortex-m7": ("mps2-an500", ["-mcpu=cortex-m7", "-mfpu=fpv5-d16", *_MPS2]),
    "cortex-m33": ("mps2-an505", ["-mcpu=cortex-m33", "-mfpu=fpv5-sp-d16", *_MPS2, *_M33_MEMORY]),
}
_VIRT = [
    "--specs=picolibc.specs", "--oslib=semihost", "--crt0=hosted", "-mcmodel=medany",
    *(f"-Wl,--defsym=__{name}" for name in (
        "flash=0x80000000", "flash_size=4M", "ram=0x80400000", "ram_size=4M", "stack_size=64K"
    )),
]  # fmt: skip


@dataclass(frozen=True)
class Toolchain:
    """How to build and to run for one architecture.

    `packages` are Debian's names of what each program comes in, `number` NumPy's of a float as the memory has it there.
    """

    packages: dict[str, str]
    compiler: list[str]
    runner: list[str]
    sources: list[Path]
    language: str = "c++"
    number: str = "<f4"

    def build(self, folder: Path, *flags: str, source: Path | None = None) -> None:
        """Compiles a program that includes the headers of `folder` to `folder`/program."""
        self.need()
        own = [*_FLAGS[self.language], *flags, "-I", folder, "-o", folder / "program"]
        command = [*self.compiler, *own, source or _DRIVERS[self.language], *self.sources]
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


def _cortex_m(name, language):
    machine, flags = _CORTEX_M[name]
    compiler = {"c": "arm-none-eabi-gcc", "c++": "arm-none-eabi-g++"}[language]
    packages = "gcc-arm-none-eabi, libnewlib-arm-none-eabi, libstdc++-arm-none-eabi-newlib"
    return Toolchain(
        {compiler: packages, "qemu-system-arm": "qemu-system-arm"},
        [compiler, "-O2", *flags],
        ["qemu-system-arm", "-machine", machine, "-nographic", *_SEMIHOSTING, "-kernel"],
        _STARTUP,
        language,
    )


def _riscv(*flags):
    return Toolchain(
        {
            "riscv64-unknown-elf-gcc": "gcc-riscv64-unknown-elf, picolibc-riscv64-unknown-elf",
            "qemu-system-riscv64": "qemu-system-misc",
        },
        ["riscv64-unknown-elf-gcc", "-O2", *flags, *_VIRT],
        ["qemu-system-riscv64", "-machine", "virt", "-bios", "none", "-nographic", *_SEMIHOSTING, "-kernel"],
        [],
        "c",
    )


def _user(name, compiler, language, *flags, number="<f4"):
    """Linux of another architecture, in QEMU's user mode."""
    return Toolchain(
        {compiler: f"{compiler.rpartition('-')[2]}-{compiler.rpartition('-')[0]}", f"qemu-{name}": "qemu-user"},
        [compiler, "-O2", "-static", *flags],
        [f"qemu-{name}"],
        [],
        language,
        number,
    )


HOST = Toolchain({"g++": "g++"}, ["g++", "-O2"], [], [])
PLAIN_HOST = Toolchain({"g++": "g++"}, ["g++", "-O0"], [], [])
"""Compiles in half the time: for what a header computes. That no optimisation changes a bit of that, nor finds anything
to warn of, is looked at in test_export_header.py and test_header_bits.py."""
TOOLCHAINS = {
    "host": HOST,
    "clang": Toolchain({"clang++": "clang"}, ["clang++", "-O2"], [], []),
    "aarch64": _user("aarch64", "aarch64-linux-gnu-g++", "c++"),
    "s390x": _user("s390x", "s390x-linux-gnu-g++", "c++", number=">f4"),
    "cortex-m7": _cortex_m("cortex-m7", "c++"),
}
C_HOST = Toolchain({"gcc": "gcc"}, ["gcc", "-O1"], [], [], "c")
C_TOOLCHAINS = {
    "host": C_HOST,
    "clang": Toolchain({"clang": "clang"}, ["clang", "-O2"], [], [], "c"),
    "aarch64": _user("aarch64", "aarch64-linux-gnu-gcc", "c"),
    "s390x": _user("s390x", "s390x-linux-gnu-gcc", "c", "-fexcess-precision=fast", "-fno-math-errno", number=">f4"),
    **{name: _cortex_m(name, "c") for name in _CORTEX_M},
    "riscv64": _riscv("-march=rv64gc", "-mabi=lp64d"),
    "riscv64 without floats": _riscv("-march=rv64imac", "-mabi=lp64"),
}
"""What a policy.h is built with. Cortex-M4F and M33 compute floats alone, doubles by a library; a Cortex-M7
computes both; the last one neither. An IBM Z has the bytes of its numbers the other way round, and GCC computes its
floats as doubles where it keeps to C99."""


def drive(toolchain, folder, observations, resets):
    """Builds the driver with the policy in `folder` and runs it: outputs and state behind each step, side by side.

    The driver runs the self-test and feeds the policy bad input first; it answers 0 only if all of that is right.
    """
    toolchain.build(folder)
    rows = np.concatenate((resets[:, None].astype(np.float32), observations), axis=1)
    rows.astype(toolchain.number).tofile(folder / "input.bin")
    (folder / "output.bin").unlink(missing_ok=True)
    ran = toolchain.run(folder)
    said = ran.stdout + ran.stderr  # QEMU has a console of its own beside the standard output
    assert ran.returncode == 0, said
    assert said.startswith("self-test: ok, ")
    assert said.endswith("done\n")
    found = np.fromfile(folder / "output.bin", toolchain.number).astype(np.float32)
    return found.reshape(len(observations), -1)


PLAIN = {".hpp": PLAIN_HOST, ".h": C_HOST}
"""What a header is compiled with where its numbers alone matter."""


def check_header(policy, folder, steps, suffix=".hpp"):
    """Drives a header of a policy on this machine along a long trajectory, beside the policy."""
    contract = ganglion.export(policy, folder / f"policy{suffix}")
    drawn = draw_trajectory(contract, steps=steps, batch=1, seed=0)
    observations, resets = drawn.observation[:, 0], drawn.reset[:, 0]
    found = drive(PLAIN[suffix], folder, observations, resets)
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
