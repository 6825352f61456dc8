"""libganglion.so as the build leaves it, what its header says, and ctypes over it."""

from __future__ import annotations

import ctypes
import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
HEADER = ROOT / "cpp" / "include" / "ganglion.h"
_CALL = re.compile(r"GANGLION_API\s+(GANGLION_LOOP\s+)?(?:ganglion_status|const char\*)\s+(ganglion_\w+)\(")


def library() -> Path:
    """libganglion.so, or the one that GANGLION_C_LIBRARY names; skips where it was not built."""
    if "GANGLION_C_LIBRARY" in os.environ:
        return Path(os.environ["GANGLION_C_LIBRARY"])
    path = ROOT / "build" / "dev" / "cpp" / "shared" / "libganglion.so"
    if not path.exists():
        pytest.skip("libganglion.so is not built: cmake --preset dev && cmake --build --preset dev")
    return path


def calls() -> dict[str, bool]:
    """Every function of the header; true for loop calls."""
    return {name: bool(loop) for loop, name in _CALL.findall(HEADER.read_text(encoding="utf-8"))}


def numbers() -> dict[str, int]:
    """Every enumerator of the header."""
    found = re.findall(r"\b(GANGLION_[A-Z_]+) = (0x[0-9A-Fa-f]+|\d+)", HEADER.read_text(encoding="utf-8"))
    return {name: int(number, 0) for name, number in found}


class PolicyInfo(ctypes.Structure):
    """`ganglion_policy_info`."""

    _fields_ = (
        *((name, ctypes.c_size_t) for name in ("size", "batch", "observation_size", "action_size", "output_size")),
        *((name, ctypes.c_size_t) for name in ("hidden_size", "input_count", "output_count", "slot_count")),
        ("initial_state", ctypes.POINTER(ctypes.c_float)),
        ("period_s", ctypes.c_double),
        ("engine", ctypes.c_char_p),
        ("sha256", ctypes.c_char_p),
        ("realtime_safe", ctypes.c_int32),
        ("has_golden", ctypes.c_int32),
    )


class LoadOptions(ctypes.Structure):
    """`ganglion_load_options`."""

    _fields_ = (
        ("size", ctypes.c_size_t),
        ("engine", ctypes.c_char_p),
        ("isa", ctypes.c_char_p),
        ("batch", ctypes.c_size_t),
        ("sample_seed", ctypes.POINTER(ctypes.c_uint64)),
        *((name, ctypes.c_char_p) for name in ("public_key", "onnxruntime_library", "libtorch_library")),
        ("hints", ctypes.c_void_p),
        *(
            (name, ctypes.c_int32)
            for name in ("threads", "warmup_steps", "self_test", "lock_memory", "trust", "reserved")
        ),
    )
