"""Learning is real: an LSTM holds a pole of which positions only are seen, and without its memory it cannot.

The full table, with several seeds and with sb3-contrib beside it, is that of `tests/bench/recurrent_ppo.py`.
"""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import recurrent_ppo
import torch

pytestmark = pytest.mark.deep  # trains


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


class Enough(Exception):  # noqa: N818  (nothing went wrong)
    pass


def learning_curve(run, steps: int) -> list[tuple[int, float]]:
    """Mean returns of ten judged episodes by steps; ends early when they are good."""
    judge = recurrent_ppo.Judge(steps, 2000, lambda _: None)
    look = judge.look

    def looking(*arguments) -> None:
        look(*arguments)
        if judge.curve and judge.curve[-1][1] >= recurrent_ppo.WANTED:
            raise Enough

    judge.look = looking
    with contextlib.suppress(Enough):
        run(1, steps, judge)
    return judge.curve


@pytest.mark.whole
def test_memory_holds_the_pole() -> None:
    curve = learning_curve(recurrent_ppo.run_ours, 30_000)
    assert curve[-1][1] >= 900.0
    # The same network, algorithm and steps, but each step begins with the initial hidden state.
    cut = learning_curve(recurrent_ppo.run_forgetful, curve[-1][0])
    assert cut[-1][0] >= curve[-1][0]
    assert np.max([value for _, value in cut]) < 200.0
