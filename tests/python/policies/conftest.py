from __future__ import annotations

import gymnasium
import pytest
import torch

from ganglion.policies import EnvSpec


@pytest.fixture(autouse=True)
def _repeatable() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def spec() -> EnvSpec:
    """Four observations in [-1, 1], two actions in [-2, 2]."""
    return EnvSpec(gymnasium.spaces.Box(-1.0, 1.0, (4,)), gymnasium.spaces.Box(-2.0, 2.0, (2,)))
