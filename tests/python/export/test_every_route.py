"""The headers of every kind of policy, and a policy of ten lines by every route."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from export_policies import SPEC
from header_bits import TOGETHER, check_together
from header_toolchains import check_header
from torch import nn

import ganglion
from ganglion.contract import StateSlot
from ganglion.policies import RecurrentPolicy, catalogue
from ganglion.verify import verify

pytestmark = pytest.mark.deep  # exports and compiles every policy

POLICIES = catalogue.names()


@pytest.mark.sampled(1)
@pytest.mark.parametrize("first", range(0, len(POLICIES), TOGETHER))
def test_the_headers_of_every_policy_give_the_bits_of_the_engine(tmp_path, first):
    """And test_matrix.py holds those of the engine against the policy."""
    names = POLICIES[first : first + TOGETHER]
    check_together({name: catalogue.example(name) for name in names}, tmp_path)


class LeakyPolicy(RecurrentPolicy):
    """All that a new policy needs: how it is made, what its state is, where it starts, and one step."""

    state_layout = (StateSlot("trace", (4,)),)

    def __init__(self, spec):
        super().__init__(spec)
        self.layer = nn.Linear(spec.observation_size + 4, 4)
        self.read_out = nn.Linear(4, spec.action_size)

    def init_hidden(self, batch_size=None):
        return torch.full((4,) if batch_size is None else (batch_size, 4), 0.5)

    def forward(self, obs, hidden=None):
        hidden = self.init_hidden(*obs.shape[:-1]) if hidden is None else hidden
        hidden = 0.9 * hidden + 0.1 * torch.tanh(self.layer(torch.cat((obs, hidden), dim=-1)))
        return self.read_out(hidden), hidden


class FromZerosPolicy(RecurrentPolicy):
    """All that a new policy needs that begins with zeros."""

    state_layout = (StateSlot("last", (2,)),)

    def forward(self, obs, hidden=None):
        hidden = self.init_hidden(*obs.shape[:-1]) if hidden is None else hidden
        return obs[..., :2] - hidden, obs[..., :2].clone()


def test_the_page_asks_for_what_a_policy_needs_and_no_more():
    page = (Path(__file__).parents[3] / "docs/policies.md").read_text(encoding="utf-8")
    asked = re.search(r"Any subclass of `RecurrentPolicy` exports: (.*?)\. ", page, re.DOTALL)[1]
    needed = {name for name in vars(FromZerosPolicy) if not name.startswith("_")}
    assert set(re.findall(r"`([a-z_]+)", asked)) == needed | {"init_hidden"}


@pytest.mark.sampled(1)
@pytest.mark.parametrize("kind", [LeakyPolicy, FromZerosPolicy])
def test_ten_lines_are_a_policy_by_every_route(tmp_path, kind):
    torch.manual_seed(0)
    policy = kind(SPEC).eval()
    for suffix in (".pt", ".onnx", ".ganglion"):
        ganglion.export(policy, tmp_path / f"policy{suffix}", batch=None)
        for rows in (1, 3):
            report = verify(tmp_path / f"policy{suffix}", policy, steps=300, batch=rows)
            assert report.ok and len(report.comparisons) >= 2
    for suffix in (".hpp", ".h"):
        check_header(policy, tmp_path, steps=300, suffix=suffix)
