"""Random generators: one seed for all of them, their state as plain data, and a place apart for jobs."""

from __future__ import annotations

import contextlib
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SEEDS = 4294967294
"""Seeds are taken modulo this number, as in garage (`garage/experiment/deterministic.py`)."""

_seed: int | None = None


def set_seed(seed: int) -> None:
    """Seeds `random`, NumPy's global generator and PyTorch on all devices, and asks cuDNN for repeatable algorithms.

    Args:
        seed: any integer; taken modulo 4294967294.

    Raises:
        TypeError: `seed` is no integer.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise TypeError(f"set_seed: the seed must be an int, not {seed!r}")
    global _seed
    _seed = int(seed) % _SEEDS
    random.seed(_seed)
    np.random.seed(_seed)
    torch.manual_seed(_seed)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


def get_seed() -> int | None:
    """Returns the seed of the last `set_seed`, or None."""
    return _seed


def random_state() -> dict[str, Any]:
    """Returns the state of the generators of `random`, NumPy (the global one) and PyTorch (CPU and CUDA devices)."""
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(legacy=False),
        "torch": torch.get_rng_state(),
        # Asking before the first use of CUDA would start the driver.
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],  # type: ignore[no-untyped-call]
    }


def set_random_state(state: Mapping[str, Any]) -> None:
    """Puts the generators back to what `random_state` returned.

    Generators of CUDA devices that this machine does not have are left out.
    """
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"][: torch.cuda.device_count()])


@contextlib.contextmanager
def apart(sequence: np.random.SeedSequence) -> Iterator[None]:
    """Runs its body with generators that are seeded by `sequence`, on one thread, and puts everything back.

    What the body draws depends on nothing that happened before, and nothing behind it notices that it drew. One
    thread, because the order of a sum, and so its last bit, may depend on their number.
    """
    before, threads = random_state(), torch.get_num_threads()
    words = sequence.generate_state(8)
    random.seed(words[:2].tobytes())
    np.random.seed(words[2:6])
    torch.manual_seed(int(words[6]) << 32 | int(words[7]))
    torch.set_num_threads(1)
    try:
        yield
    finally:
        set_random_state(before)
        torch.set_num_threads(threads)
