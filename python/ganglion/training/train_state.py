"""What a `Trainer` was asked to do, and how far it is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

N_EPOCHS_VARIABLE = "GANGLION_EXAMPLE_TEST_N_EPOCHS"
"""Environment variable that overrides the number of epochs, so that tests run examples for one."""


@dataclass
class TrainArgs:
    """The arguments of `Trainer.train`, and the epoch to start with."""

    n_epochs: int
    batch_size: int | None
    plot: bool
    store_episodes: bool
    pause_for_plot: bool
    start_epoch: int


@dataclass
class TrainStats:
    """How far training is.

    Attributes:
        total_epoch: number of the last epoch that ended, from 0.
        total_itr: number of the next iteration.
        total_env_steps: steps in environments so far.
        total_updates: how often episodes were obtained so far; the number of the sampler's next update.
        last_episode: what the algorithm left in `Trainer.step_episode`, with `store_episodes`.
    """

    total_epoch: int = 0
    total_itr: int = 0
    total_env_steps: int = 0
    total_updates: int = 0
    last_episode: Any = None


def overridden(n_epochs: int) -> int:
    """Returns the number of epochs that `N_EPOCHS_VARIABLE` says, or else `n_epochs`.

    Raises:
        ValueError: the variable is set, and to something else than a number.
    """
    text = os.environ.get(N_EPOCHS_VARIABLE)
    if text is None:
        return n_epochs
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"the environment variable {N_EPOCHS_VARIABLE} must be a number of epochs, not {text!r}")
    return int(text)


def check_number(name: str, value: int, least: int) -> None:
    """Refuses what is no count.

    Raises:
        TypeError: `value` is no int.
        ValueError: it is below `least`.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, not {value}")
