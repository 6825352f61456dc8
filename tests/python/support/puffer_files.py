"""Recorded runs of PufferLib's own models (`tests/golden/pufferlib`), and what their checkpoints do not say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from same_actions import Run

from ganglion.adapters import pufferlib

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ganglion.policies import RecurrentPolicy

GOLDEN = Path(__file__).parents[2] / "golden" / "pufferlib"
LOW, HIGH = -0.5, 1.0
SETTINGS: dict[str, dict[str, Any]] = {
    "2_continuous": {},
    "2_lstm": {"nvec": 4},
    "2_lstm_multidiscrete": {},
    "3_lstm": {"nvec": 4},
    "3_lstm_continuous": {"action_low": LOW, "action_high": HIGH},
    "3_lstm_dict": {"nvec": 4},
    "3_lstm_multidiscrete": {"nvec": [3, 2]},
    "3_no_lstm": {"nvec": 4},
    "4_gru": {"nvec": 4},
    "4_lstm": {"nvec": 4},
    "4_mingru": {"nvec": 4},
    "4_mingru_continuous": {},
    "4_mingru_multidiscrete": {"nvec": [3, 2]},
    "4_mlp": {"nvec": 4},
}
"""By the name of the case: arguments of `load`."""


def loaded(case: str) -> RecurrentPolicy:
    return pufferlib.load(GOLDEN / f"{case}.pt", **SETTINGS[case])


def results(case: str) -> NDArray[np.float32]:
    """Means or logits `[steps, n]`, as the model gave them."""
    with np.load(GOLDEN / f"{case}.npz") as file:
        return file["result"]


def categories(case: str) -> list[int]:
    if "continuous" in case:
        return []
    return [3, 2] if "multidiscrete" in case else [4]


def run(case: str, steps: int | None = None) -> Run:
    """What the trainer's mode does: the mean, clipped in version 3, or the indices of the largest logits."""
    result = results(case)
    with np.load(GOLDEN / "inputs.npz") as shared, np.load(GOLDEN / f"{case}.npz") as own:
        observation, reset = own["observation"] if "observation" in own else shared["observation"], shared["reset"]
    if counts := categories(case):
        several = np.split(result, np.cumsum(counts)[:-1], -1)
        action = np.stack([one.argmax(-1) for one in several], -1).astype(np.float32)
    else:
        action = result.clip(LOW, HIGH) if case.startswith("3") else result
    return Run(*(array[:steps] for array in (observation, reset, action)))
