"""Policies that see images: their golden trajectories fit into every kind of file."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from torch import nn

import ganglion
from ganglion._foundation.observations import golden_size
from ganglion.contract import GOLDEN_STEPS
from ganglion.policies import EnvSpec, LayeredPolicy

pytestmark = pytest.mark.deep  # exports large policies

IMAGE = (4, 84, 84)
SIZE = 4 * 84 * 84


def policy():
    torch.manual_seed(0)
    encoder = nn.Sequential(
        nn.Unflatten(1, IMAGE), nn.Conv2d(4, 4, 8, 8), nn.ReLU(), nn.Conv2d(4, 4, 4, 4), nn.ReLU(), nn.Flatten()
    )
    return LayeredPolicy(EnvSpec(Box(0.0, 1.0, (SIZE,)), Box(-1.0, 1.0, (2,))), nn.Linear(8, 2), nn.GRU(16, 8), encoder)


@pytest.mark.whole
@pytest.mark.parametrize(
    ("suffix", "engines"), [(".ganglion", ["native"]), (".onnx", ["native", "onnxruntime"]), (".pt", ["libtorch"])]
)
def test_a_policy_with_large_images_is_exported_loaded_and_verified(tmp_path, suffix, engines):
    path = tmp_path / f"camera{suffix}"
    seeing = policy().eval()
    contract = ganglion.export(seeing, path)
    assert contract.golden.observation.shape == (37, 1, SIZE)
    image = np.random.default_rng(0).random(SIZE, np.float32)
    with torch.no_grad():
        expected, _ = seeing(torch.from_numpy(image))
    for engine in engines:
        pilot = ganglion.load(path, engine=engine)
        np.testing.assert_allclose(pilot.step(image), expected.numpy(), atol=1e-5)
        assert pilot.self_test().ok
    report = ganglion.verify(path, steps=4)
    assert report.ok
    assert len(report.runs) >= len(engines)


@pytest.mark.whole
def test_a_header_has_room_for_it_too(tmp_path):
    assert ganglion.export(policy(), tmp_path / "camera.hpp").golden.observation.shape == (37, 1, SIZE)


@pytest.mark.parametrize("batch", [None, 1, 2, 64])
@pytest.mark.parametrize("size", [0, 1, 48, 5000, SIZE, 3 * 480 * 640])
@pytest.mark.parametrize("steps", [GOLDEN_STEPS, 5000])
def test_every_golden_trajectory_fits_into_a_file(size, steps, batch):
    found, rows = golden_size(size, steps, batch)
    assert 2 <= found <= steps
    assert rows <= min(batch or 3, 3)
    assert found * rows * size <= 4_200_000 or found == 2
    if rows * steps * size <= 1 << 20:
        assert found == steps
