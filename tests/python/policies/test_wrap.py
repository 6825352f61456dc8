"""`ganglion.wrap`: how a module is called is found, and the file does what the module does."""

from __future__ import annotations

import contextlib
import copy
import warnings

import numpy as np
import pytest
import torch
from module_zoo import CASES

import ganglion

STEPS, RESET = 40, 17


def made(name):
    case = CASES[name]
    torch.manual_seed(5)
    module = case.make()
    with pytest.warns(UserWarning, match="keeps its state in itself") if case.holds else contextlib.nullcontext():
        return case, module, ganglion.wrap(module, **case.said)


@pytest.mark.parametrize("name", CASES)
def test_the_call_is_found(name):
    case, module, policy = made(name)
    assert case.call in str(policy)
    assert {slot.name: slot.shape for slot in policy.state_layout} == case.state
    assert {spec.name: spec.size for spec in policy.output_specs} == case.outputs


@pytest.mark.parametrize("suffix", ["ganglion", "onnx", "pt", "hpp"])
@pytest.mark.parametrize("name", CASES)
def test_every_file(name, suffix, tmp_path):
    _, _, policy = made(name)
    path = tmp_path / f"policy.{suffix}"
    ganglion.export(policy, path)
    if suffix == "hpp":
        assert ganglion.verify(path, policy, steps=40).ok
        return
    pilot = ganglion.load(path)
    hidden = policy.init_hidden()
    rng = np.random.default_rng(0)
    for index in range(STEPS):
        if index == RESET:
            pilot.reset()
            hidden = policy.init_hidden()
        obs = rng.uniform(-1, 1, pilot.contract.observation_size).astype(np.float32)
        action, *_, hidden = policy.eval()(torch.from_numpy(obs), hidden)
        np.testing.assert_allclose(pilot.step(obs), action.detach().numpy(), rtol=1e-4, atol=1e-5)
