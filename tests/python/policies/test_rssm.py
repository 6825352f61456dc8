"""The recurrent state-space model against its formula, step by step."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from torch import nn

from ganglion.policies import EnvSpec, Rollout, RSSMPolicy, catalogue

SPEC = EnvSpec(gymnasium.spaces.Box(-1, 1, (5,)), gymnasium.spaces.Box(-1, 1, (2,)))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("latent", ["mode", "sample"])
def test_by_hand(latent):
    torch.manual_seed(0)
    policy = RSSMPolicy(SPEC, nn.Linear(5, 7), nn.Linear(20, 2), 8, 3, 4, latent, uniform=0.3).double()
    w = {name: value.detach().numpy() for name, value in policy.named_parameters()}

    def linear(name, x):
        return w[f"{name}.weight"] @ x + w[f"{name}.bias"]

    generator = np.random.default_rng(0)
    h, z, action, hidden, changes = np.zeros(8), np.zeros(12), np.zeros(2), policy.init_hidden(), 0
    for _ in range(40):
        obs, noise = 3 * generator.normal(size=5), generator.gumbel(size=12)
        x = linear("enter", np.concatenate([z, action]))
        x = np.where(x > 0, x, np.expm1(x))
        of_x = w["gru.weight_ih"] @ x + w["gru.bias_ih"]
        of_h = w["gru.weight_hh"] @ h + w["gru.bias_hh"]
        r, u = sigmoid(of_x[:8] + of_h[:8]), sigmoid(of_x[8:16] + of_h[8:16])
        h = (1 - u) * np.tanh(of_x[16:] + r * of_h[16:]) + u * h
        scores = linear("posterior", np.concatenate([h, linear("encoder", obs)])).reshape(3, 4)
        p = 0.7 * np.exp(scores) / np.exp(scores).sum(1, keepdims=True) + 0.3 / 4
        chosen = (np.log(p) + (noise.reshape(3, 4) if latent == "sample" else 0.0)).argmax(1)
        changes += int((chosen != p.argmax(1)).any())
        z = np.eye(4)[chosen].reshape(-1)
        action = linear("head", np.concatenate([h, z]))
        given = np.concatenate([obs, noise]) if latent == "sample" else obs
        found, hidden = policy(torch.from_numpy(given), hidden)
        np.testing.assert_allclose(found.detach().numpy(), action, rtol=1e-9)
        np.testing.assert_allclose(hidden.detach().numpy(), np.concatenate([h, z, action]), rtol=1e-9)
    assert (changes > 5) == (latent == "sample")


def test_noise_of_zeros_is_the_mode():
    policy = catalogue.example("RSSMPolicy sample")
    mode = RSSMPolicy(SPEC, nn.Linear(5, 7), nn.Linear(20, 2), 8, 3, 4).eval()
    mode.load_state_dict(policy.state_dict())
    obs = torch.randn(6, 5)
    torch.testing.assert_close(policy(torch.cat((obs, torch.zeros(6, 12)), -1)), mode(obs))


def test_gradients_go_straight_through_the_latent_and_back_in_time():
    policy = catalogue.example("RSSMPolicy")
    action = policy.evaluate(Rollout(torch.randn(5, 5), torch.tensor([5])))
    action[-1].sum().backward()
    assert all(float(parameter.grad.abs().sum()) > 0.0 for parameter in policy.parameters())


def test_what_was_executed_is_the_action_before():
    policy = catalogue.example("RSSMPolicy")
    _, hidden = policy(torch.ones(5))
    told = policy.with_applied_action(hidden, torch.tensor([5.0, -5.0]))
    assert not torch.allclose(policy(torch.ones(5), told)[0], policy(torch.ones(5), hidden)[0])


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"latent": "mean"}, ValueError, "latent must be 'mode' or 'sample', not 'mean'"),
        ({"uniform": 1.0}, ValueError, r"uniform must be in \[0, 1\), not 1"),
        ({"head": torch.tanh}, TypeError, r"head must be a torch\.nn\.Module"),
    ],
)
def test_arguments_out_of_range(changes, error, message):
    with pytest.raises(error, match=message):
        RSSMPolicy(**{"spec": SPEC, "encoder": nn.Linear(5, 7), "head": nn.Linear(20, 2), "hidden_size": 8, **changes})
