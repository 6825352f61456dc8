"""How good episodes are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ganglion.data import StepType

if TYPE_CHECKING:
    from ganglion.data import EpisodeBatch


def episode_scalars(episodes: EpisodeBatch) -> tuple[dict[str, float], list[float]]:
    """Returns what a `Trainer` logs of episodes, under garage's names, and the sum of rewards of each of them."""
    starts = np.cumsum(episodes.lengths) - episodes.lengths
    returns = np.add.reduceat(episodes.rewards.astype(np.float64), starts)
    terminal = episodes.step_types[starts + episodes.lengths - 1] == StepType.TERMINAL
    scalars = {
        "NumEpisodes": float(len(returns)),
        "AverageReturn": float(returns.mean()),
        "StdReturn": float(returns.std()),
        "MinReturn": float(returns.min()),
        "MaxReturn": float(returns.max()),
        "AverageEpisodeLength": float(episodes.lengths.mean()),
        "TerminationRate": float(terminal.mean()),
    }
    return scalars, returns.tolist()
