"""Mixtures of experts, as people write them: the k best experts of each row, weighted, by every route."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from header_toolchains import PLAIN_HOST, drive
from torch import Tensor, nn

import ganglion

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.deep  # torch.export, once a form

OBS, EXPERTS, ACTIONS = 5, 6, 3


class Mixture(nn.Module):
    """A gate and linear experts."""

    def __init__(self, k: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.k, self.gate = k, nn.Linear(OBS, EXPERTS)
        self.weight = nn.Parameter(torch.randn(EXPERTS, ACTIONS, OBS))
        self.bias = nn.Parameter(torch.randn(EXPERTS, ACTIONS))

    def chosen(self, x: Tensor) -> tuple[Tensor, Tensor]:
        values, index = torch.topk(self.gate(x), self.k, dim=-1)
        return torch.softmax(values, -1), index

    def everyone(self, x: Tensor) -> Tensor:
        return torch.einsum("eai,bi->bea", self.weight, x) + self.bias


class Scattered(Mixture):
    """Weights of all experts, zero but for the best."""

    def forward(self, x: Tensor) -> Tensor:
        share, index = self.chosen(x)
        gates = torch.zeros(x.shape[0], EXPERTS).scatter(-1, index, share)
        return (gates[..., None] * self.everyone(x)).sum(1)


class Masked(Mixture):
    """What is not chosen becomes minus infinity."""

    def forward(self, x: Tensor) -> Tensor:
        scores = self.gate(x)
        values, index = torch.topk(scores, self.k, dim=-1)
        kept = torch.full_like(scores, float("-inf")).scatter(-1, index, values)
        return (torch.softmax(kept, -1)[..., None] * self.everyone(x)).sum(1)


class Gathered(Mixture):
    """The weights of the chosen experts alone."""

    def forward(self, x: Tensor) -> Tensor:
        share, index = self.chosen(x)
        actions = torch.einsum("bkai,bi->bka", self.weight[index], x) + self.bias[index]
        return (actions * share[..., None]).sum(1)


class Picked(Mixture):
    """The actions of the chosen experts."""

    def forward(self, x: Tensor) -> Tensor:
        share, index = self.chosen(x)
        actions = torch.gather(self.everyone(x), 1, index[..., None].expand(-1, -1, ACTIONS))
        return (actions * share[..., None]).sum(1)


class Listed(Mixture):
    """Experts that are networks, one after the other."""

    def __init__(self, k: int) -> None:
        super().__init__(k)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(OBS, 4), nn.SiLU(), nn.Linear(4, ACTIONS)) for _ in range(6)
        )

    def forward(self, x: Tensor) -> Tensor:
        share, index = self.chosen(x)
        return sum(
            (share * (index == number)).sum(-1, keepdim=True) * one(x) for number, one in enumerate(self.experts)
        )


FORMS = [(Scattered, 2), (Masked, 2), (Gathered, 1), (Gathered, 3), (Picked, EXPERTS), (Listed, 2)]


@pytest.mark.sampled(1)
@pytest.mark.parametrize(("form", "k"), FORMS, ids=lambda one: getattr(one, "__name__", str(one)))
def test_every_file_of_a_mixture(form: type[Mixture], k: int, tmp_path: Path) -> None:
    module = form(k).eval()
    policy = ganglion.wrap(module, observation=OBS)
    observations = (2.0 * np.random.default_rng(0).normal(size=(300, 3, OBS))).astype(np.float32)
    with torch.no_grad():
        expected = module(torch.from_numpy(observations.reshape(-1, OBS))).numpy().reshape(300, 3, -1)
        best = torch.topk(module.gate(torch.from_numpy(observations)), k).indices
    assert len(best[..., 0].unique()) == EXPERTS  # every expert has its turn
    files = [(".ganglion", "native"), (".onnx", "onnxruntime")] + [(".pt", "libtorch")] * (form is Scattered)
    for suffix, engine in files:
        ganglion.export(policy, tmp_path / f"policy{suffix}", batch=None)
        pilot = ganglion.load(tmp_path / f"policy{suffix}", engine=engine, batch=3)
        found = np.stack([pilot.step(observation).copy() for observation in observations])
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5, err_msg=suffix)
    if k in (1, 2):
        ganglion.export(policy, tmp_path / "policy.hpp")
        found = drive(PLAIN_HOST, tmp_path, observations[:, 0], np.zeros(300, np.bool_))
        np.testing.assert_allclose(found, expected[:, 0], rtol=0, atol=1e-5)
