"""What holds for every kind of policy: shapes in and out, rows that do not know each other, and clear refusals."""

from __future__ import annotations

import re

import gymnasium
import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings

from ganglion.policies import EnvSpec, GRUPolicy, LSTMPolicy, RNNPolicy, catalogue

NAMES = catalogue.names()
POLICIES = {name: catalogue.example(name) for name in NAMES}
few = settings(max_examples=25, deadline=None)


def sizes(policy):
    return sum(spec.size for spec in policy.input_specs), policy.hidden_size


@pytest.mark.parametrize("name", NAMES)
@few
@given(rows=st.integers(1, 5), seed=st.integers(0, 100))
def test_each_row_is_a_policy_of_its_own(name, rows, seed):
    policy = POLICIES[name]
    observation_size, hidden_size = sizes(policy)
    generator = torch.Generator().manual_seed(seed)
    obs = torch.randn(rows, observation_size, generator=generator)
    hidden = policy.init_hidden(rows) + 0.1 * torch.randn(rows, hidden_size, generator=generator)
    with torch.no_grad():
        together = policy(obs, hidden)
        alone = [policy(obs[row], hidden[row]) for row in range(rows)]
    assert [tuple(part.shape) for part in together] == [
        *((rows, spec.size) for spec in policy.output_specs),
        (rows, hidden_size),
    ]
    for part, single in zip(together, zip(*alone, strict=True), strict=True):
        torch.testing.assert_close(torch.stack(single), part, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@few
@given(data=st.data())
def test_wrong_shapes_are_refused_and_both_are_named(name, data):
    policy = POLICIES[name]
    observation_size, hidden_size = sizes(policy)
    rows = data.draw(st.one_of(st.none(), st.integers(1, 4)))
    good = (observation_size,) if rows is None else (rows, observation_size)
    wrong_size = data.draw(st.integers(0, 12).filter(lambda size: size != observation_size))
    axes = data.draw(st.sampled_from([(wrong_size,), (2, wrong_size), (1, 1, observation_size), ()]))
    with pytest.raises(ValueError, match=re.escape(str(axes))):
        policy(torch.zeros(axes))
    if hidden_size == 0:
        return
    bad = data.draw(
        st.sampled_from(
            [(hidden_size + 1,), (2, hidden_size - 1), ((rows or 0) + 1, hidden_size), (1, 1, hidden_size), ()]
        )
    )
    with pytest.raises(ValueError) as caught:
        policy(torch.zeros(good), torch.zeros(bad))
    assert str(bad) in str(caught.value) and str(hidden_size) in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_other_kinds_of_numbers(name):
    policy = POLICIES[name]
    observation_size, hidden_size = sizes(policy)
    for wrong in (np.zeros(observation_size, np.float32), [0.0] * observation_size, None):
        with pytest.raises(TypeError, match=r"torch\.Tensor"):
            policy(wrong)
    with pytest.raises(TypeError, match=r"torch\.Tensor"):
        policy(torch.zeros(observation_size), [0.0] * hidden_size)
    with torch.no_grad():
        single = policy(torch.ones(observation_size), policy.init_hidden())
        double = policy(torch.ones(observation_size, dtype=torch.float64), policy.init_hidden().double())
        whole = policy(torch.ones(observation_size, dtype=torch.int64), policy.init_hidden())
    for parts in (double, whole):
        for part, expected in zip(parts, single, strict=True):
            assert part.dtype == torch.float32
            torch.testing.assert_close(part, expected)


@pytest.mark.parametrize("name", NAMES)
def test_the_initial_state_is_a_copy(name):
    policy = POLICIES[name]
    before = policy.init_hidden().detach().clone()
    policy.init_hidden().detach().add_(1.0)
    policy.init_hidden(2).detach().add_(1.0)
    torch.testing.assert_close(policy.init_hidden().detach(), before)
    torch.testing.assert_close(policy.init_hidden(3).detach(), before.repeat(3, 1))
    assert len(before) == policy.hidden_size == sum(slot.size for slot in policy.state_layout)


@few
@given(
    kind=st.sampled_from([RNNPolicy, GRUPolicy, LSTMPolicy]),
    observations=st.integers(1, 6),
    actions=st.integers(1, 4),
    units=st.integers(1, 9),
    layers=st.integers(1, 3),
    batch=st.integers(1, 4),
)
def test_every_size_of_recurrent_policies(kind, observations, actions, units, layers, batch):
    box = gymnasium.spaces.Box
    policy = kind(EnvSpec(box(-1, 1, (observations,)), box(-1, 1, (actions,))), units, layers)
    states = 2 if kind is LSTMPolicy else 1
    assert policy.hidden_size == states * layers * units
    action, hidden = policy(torch.zeros(batch, observations))
    assert action.shape == (batch, actions) and hidden.shape == (batch, policy.hidden_size)
