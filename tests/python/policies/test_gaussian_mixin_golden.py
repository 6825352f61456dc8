"""`GaussianMixin` against recorded runs of skrl 2.1.1: torch, and where the meaning is the same, jax and warp."""

from __future__ import annotations

import json
import math
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
import torch.distributions.normal

from ganglion.policies.skrl.gaussian_mixin import GaussianMixin
from ganglion.policies.skrl.model import Model

GOLDEN = Path(__file__).parents[2] / "golden" / "skrl"
FACTS = dict(json.loads((GOLDEN / "torch_facts.json").read_text()))
CASES = {backend: sorted(p.stem for p in GOLDEN.glob(f"{backend}_mixin_*.npz")) for backend in ("torch", "jax", "warp")}

UNBOUNDED = "skrl clip on unbounded space (torch) | RuntimeError at act | no clipping"
WARP_PROD = "skrl warp `prod`, warp entropy | defects | the torch meaning"
DIFFERENCES = {
    "torch_mixin_unbounded_clip": UNBOUNDED,
    "warp_mixin_prod_ca0_cm0_cl0": WARP_PROD,
    "warp_mixin_prod_ca1_cm1_cl1": WARP_PROD,
}
"""Rows of DECISIONS.md."""

# Bounds of the spaces of the recorded runs, as the torch files give them; no torch run has the space "partial".
LIMITS = {
    "bounded": ([-1.0, -0.5, -2.0], [1.0, 0.5, 0.25]),
    "low_only": ([-1.0, -1.0, -1.0], [math.inf] * 3),
    "partial": ([-1.0, -math.inf, -2.0], [1.0, 0.5, math.inf]),
    "unbounded": ([-math.inf] * 3, [math.inf] * 3),
}


class GivenGaussian(GaussianMixin, Model):
    """Mean and log standard deviation as given."""

    def __init__(self, mean: torch.Tensor, log_std: torch.Tensor, space: gymnasium.Space, **kwargs: object) -> None:
        observation_space = gymnasium.spaces.Box(-1.0, 1.0, (4,))
        Model.__init__(self, observation_space=observation_space, action_space=space, device="cpu")
        GaussianMixin.__init__(self, **kwargs)
        self.given = mean, log_std

    def compute(self, inputs, role=""):  # noqa: ARG002
        mean, log_std = self.given
        return mean, {"log_std": log_std, "extra": 1}


class Case:
    def __init__(self, name: str) -> None:
        with np.load(GOLDEN / f"{name}.npz") as file:
            arrays = dict(file)
        self.name = name
        self.meta = json.loads(str(arrays.pop("meta")))
        self.data = {key: torch.from_numpy(np.asarray(array)) for key, array in arrays.items()}

    def model(self) -> GivenGaussian:
        low, high = LIMITS[self.meta["space"]]
        if "low" in self.meta:
            assert [float(value) for value in self.meta["low"] + self.meta["high"]] == low + high
        space = gymnasium.spaces.Box(np.float32(low), np.float32(high))
        return GivenGaussian(self.data["mean_in"], self.data["log_std_in"], space, **self.meta["kwargs"])

    def inputs(self) -> dict[str, torch.Tensor]:
        return {"taken_actions": self.data["taken_actions"]} if "taken_actions" in self.data else {}


@pytest.fixture
def feed(monkeypatch: pytest.MonkeyPatch):
    """Makes every following draw from a normal distribution use these numbers."""

    def feed_numbers(eps: torch.Tensor) -> None:
        monkeypatch.setattr(torch.distributions.normal, "_standard_normal", lambda *_, **__: eps)

    return feed_numbers


def assert_close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=2e-6, rtol=2e-6)


def test_every_file_is_a_case_of_a_test() -> None:
    recurrent = {"torch_gru_2l_L6", "torch_lstm_1l_L8", "torch_rnn_1l_L8", "torch_rnn_2l_L6"}
    elsewhere = {*recurrent, "torch_ppo_rnn_stored_states"}  # test_models_golden.py
    assert {path.stem for path in GOLDEN.glob("*.npz")} == elsewhere.union(*CASES.values())
    assert {backend: len(cases) for backend, cases in CASES.items()} == {"torch": 40, "jax": 18, "warp": 8}
    assert set(DIFFERENCES) <= {name for cases in CASES.values() for name in cases}
    assert json.loads((GOLDEN / "jax_warp_facts.json").read_text()) == []


@pytest.mark.parametrize("name", CASES["torch"])
def test_torch(name: str) -> None:
    case = Case(name)
    data, model = case.data, case.model()
    assert model.distribution() is None
    assert bool(data["distribution_before_is_none"])
    assert_close(model.get_entropy(), data["entropy_before"])
    torch.manual_seed(int(data["torch_manual_seed"]))
    actions, outputs = model.act(case.inputs(), role="policy")
    if name in DIFFERENCES:
        assert case.meta["error"].startswith(FACTS[name].partition(":")[0] + ":") and DIFFERENCES[name] is UNBOUNDED
        assert_close(actions, data["mean_in"] + data["log_std_in"].exp() * data["eps"])
        assert torch.equal(outputs["mean_actions"], data["mean_in"])
        assert_close(outputs["log_prob"], Case("warp_mixin_unbounded_clip").data["log_prob"])
        return
    assert case.meta["error"] is None
    assert_close(actions, data["actions"])
    assert sorted(outputs) == case.meta["output_keys"]
    for key in ("log_prob", "mean_actions", "log_std"):
        assert_close(outputs[key], data[key])
    assert_close(model.get_entropy(role="policy"), data["entropy"])
    assert_close(model.distribution().mean, data["dist_mean"])
    assert_close(model.distribution().stddev, data["dist_std"])


@pytest.mark.parametrize("name", CASES["jax"])
def test_jax(name: str, feed) -> None:
    case = Case(name)
    data, model = case.data, case.model()
    feed(data["eps"])
    actions, outputs = model(case.inputs())
    assert_close(actions, data["actions"])
    for key in ("log_prob", "mean_actions", "log_std"):
        assert_close(outputs[key], data[key])
    assert_close(model.distribution().stddev, data["stddev"].expand(6, 3))
    assert_close(model.get_entropy(), data["entropy"].expand(6, 1))
    assert {*outputs, "stddev"} == {*case.meta["output_keys"], "extra"}


@pytest.mark.parametrize("name", CASES["warp"])
def test_warp(name: str, feed) -> None:
    case = Case(name)
    data, model = case.data, case.model()
    actions, outputs = model.act(case.inputs())
    assert_close(outputs["mean_actions"], data["mean_actions"])
    assert_close(model.distribution().stddev, data["stddev"].expand(6, 3))
    # The run does not say what was drawn; where an action lies inside the bounds, it follows.
    feed((data["actions"] - data["mean_actions"]) / data["stddev"])
    actions, outputs = model.act(case.inputs())
    torch.testing.assert_close(actions, data["actions"], atol=1e-5, rtol=1e-5)
    if name in DIFFERENCES:
        assert not data["log_prob"].any()
        separate = model.distribution().log_prob(data["taken_actions"])
        assert_close(outputs["log_prob"], separate.prod(-1, keepdim=True))
    else:
        assert_close(outputs["log_prob"], data["log_prob"])
    # Entropy of warp (`entropy_three_calls`) comes from memory that nobody wrote: it is not compared, see DECISIONS.md.
    expected = (0.5 + 0.5 * math.log(2 * math.pi) + data["stddev"].log()).sum().expand(6, 1)
    assert_close(model.get_entropy(), expected)


def test_every_fact_is_one_of_a_test() -> None:
    here = {
        "torch_mixin_unbounded_clip",
        "reduction=max",
        "unbatched log_prob shape (sum)",
        "unbatched entropy shape",
        "none log_prob shape",
        "taken_actions=None",
        "outputs keys",
    }
    # What the memory of PPO holds is in the meta data of its own file, too: test_models_golden.py.
    stored = json.loads(str(np.load(GOLDEN / "torch_ppo_rnn_stored_states.npz")["meta"]))
    assert set(FACTS) == here | {"PPO_RNN stored states"}
    assert FACTS["PPO_RNN stored states"].items() <= stored.items()


def test_facts_of_the_original() -> None:
    space = gymnasium.spaces.Box(*(np.float32(limit) for limit in LIMITS["bounded"]))
    one = GivenGaussian(torch.zeros(3), torch.zeros(3), space)
    _, outputs = one.act({})
    assert list(outputs["log_prob"].shape) == FACTS["unbatched log_prob shape (sum)"]
    assert list(one.get_entropy().shape) == FACTS["unbatched entropy shape"]
    assert sorted(outputs) == FACTS["outputs keys"]
    none = GivenGaussian(torch.zeros(6, 3), torch.zeros(3), space, reduction="none")
    assert list(none.act({})[1]["log_prob"].shape) == FACTS["none log_prob shape"]
    for fact, action in {
        "reduction=max": lambda: GivenGaussian(torch.zeros(3), torch.zeros(3), space, reduction="max"),
        "taken_actions=None": lambda: one.act({"taken_actions": None}),
    }.items():
        with pytest.raises(ValueError if fact == "reduction=max" else TypeError) as caught:
            action()
        assert FACTS[fact].startswith(f"{caught.type.__name__}:")
