"""The tolerance that nobody gave: what float32 can hold of a policy, and not more."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import pytest
import torch

import ganglion
from ganglion._foundation.rounding import LEAST, MOST, nudged, rounding, tolerance_for
from ganglion.errors import ExportError
from ganglion.policies import EnvSpec, GRUPolicy, LSTMPolicy

if TYPE_CHECKING:
    from pathlib import Path


def spec(observations: int, actions: int, bound: float = np.inf) -> EnvSpec:
    sizes = ((observations, bound), (actions, np.inf))
    return EnvSpec(*(gymnasium.spaces.Box(-limit, limit, (size,), np.float32) for size, limit in sizes))


def wide_observations(seed: int) -> Any:
    """Sums of 45 products as large as 100: their roundings alone are near 1e-5."""
    torch.manual_seed(seed)
    return GRUPolicy(spec(45, 12, bound=300.0), hidden_size=4, num_recurrent_layers=1)


def large_weights(seed: int) -> Any:
    """Weights as they are after a long training."""
    torch.manual_seed(seed)
    policy = LSTMPolicy(spec(24, 6), hidden_size=32, num_recurrent_layers=1)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.mul_(8.0)
    return policy


@pytest.mark.parametrize("make", [wide_observations, large_weights])
@pytest.mark.parametrize("seed", range(4))
def test_a_policy_that_amplifies_rounding_is_exported_loaded_compiled_and_verified(
    make: Any, seed: int, tmp_path: Path
) -> None:
    policy = make(seed)
    path = tmp_path / "policy.onnx"
    contract = ganglion.export(policy, path, batch=None)
    assert contract.golden is not None
    assert LEAST < contract.golden.tolerance < MOST
    ganglion.load(path)
    ganglion.compile(path, tmp_path / "policy.ganglion")
    ganglion.load(tmp_path / "policy.ganglion", batch=3)
    report = ganglion.verify(tmp_path / "policy.ganglion", policy, steps=300)
    assert report.ok, report.verdict
    assert report.tolerance < MOST


def test_a_policy_that_does_not_is_held_to_the_least(tmp_path: Path) -> None:
    torch.manual_seed(0)
    policy = GRUPolicy(spec(8, 2), hidden_size=16, num_recurrent_layers=1)
    contract = ganglion.export(policy, tmp_path / "policy.ganglion")
    assert contract.golden is not None
    assert contract.golden.tolerance == LEAST
    assert ganglion.verify(tmp_path / "policy.ganglion", policy, steps=50).tolerance == LEAST


@pytest.mark.parametrize("make", [wide_observations, large_weights])
def test_another_policy_is_found_in_spite_of_it(make: Any, tmp_path: Path) -> None:
    policy = make(0)
    ganglion.export(policy, tmp_path / "policy.ganglion")
    other = copy.deepcopy(policy)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.001)
    report = ganglion.verify(tmp_path / "policy.ganglion", other, steps=200)
    assert not report.ok


def test_a_tolerance_that_is_given_is_a_demand(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="tolerance 1e-09"):
        ganglion.export(large_weights(0), tmp_path / "policy.ganglion", tolerance=1e-9)
    assert not list(tmp_path.iterdir())
    policy = large_weights(0)
    ganglion.export(policy, tmp_path / "policy.ganglion")
    assert not ganglion.verify(tmp_path / "policy.ganglion", policy, steps=100, tolerance=1e-9).ok


def test_the_measure() -> None:
    observation = np.ones((2, 1, 3), np.float32)
    moved = nudged(observation)
    assert (moved != observation).all()
    assert np.abs(moved - observation).max() <= 2.0**-23
    truth = observation.astype(np.float64) * 1000.0
    sums = rounding(truth, *(given * np.float32(1000.0) for given in (observation, moved)))
    assert 0.0 < sums < 1e-6
    assert tolerance_for(0.0) == LEAST
    assert tolerance_for(1e-5) == pytest.approx(1.6e-4)
    assert tolerance_for(np.inf) == MOST
