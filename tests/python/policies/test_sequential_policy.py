"""A row of parts: the step by hand, the sequence as its steps, what goes into the contract and the files, refusals."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from torch import nn

import ganglion
from ganglion.policies import (
    ActionFilter,
    ActionMap,
    DeployablePolicy,
    EnvSpec,
    GaussianGRUPolicy,
    LSTMPolicy,
    ObservationHistory,
    ObservationNormalizer,
    ObservationStack,
    Rollout,
    SequentialPolicy,
    StackTerm,
    catalogue,
)

SEQUENTIAL = [name for name in catalogue.names() if name.startswith("SequentialPolicy")]


def actor(inputs=30, outputs=2):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(inputs, 7), nn.ELU(), nn.Linear(7, outputs))


def spec(observations=6, actions=2):
    return EnvSpec(gymnasium.spaces.Box(-1, 1, (observations,)), gymnasium.spaces.Box(-3, 3, (actions,)))


@pytest.mark.parametrize("suffix", ["ganglion", "onnx", "pt", "hpp"])
def test_a_plain_network_on_five_frames_becomes_a_file_that_takes_one(tmp_path, suffix):
    network = actor()
    path = tmp_path / f"walker.{suffix}"
    policy = SequentialPolicy([ObservationHistory(6, 5), network, ActionFilter(2, period_s=0.02, low_pass_hz=5.0)])
    ganglion.export(policy, path)
    if suffix == "hpp":
        return
    pilot = ganglion.load(path)
    assert pilot.contract.period_s == 0.02 and pilot.contract.observation_size == 6
    frames = np.random.default_rng(0).normal(size=(12, 6)).astype(np.float32)
    seen, smooth = [], None
    for index, frame in enumerate(frames):
        if index in (0, 7):
            pilot.reset()
            seen, smooth = [frame] * 5, None
        seen = [*seen[1:], frame]
        with torch.no_grad():
            action = network(torch.from_numpy(np.concatenate(seen))).numpy()
        smooth = action if smooth is None else smooth + (1 - np.exp(-2 * np.pi * 5.0 * 0.02)) * (action - smooth)
        np.testing.assert_allclose(pilot.step(frame), smooth, atol=1e-5)


@pytest.mark.parametrize("name", SEQUENTIAL)
def test_evaluation_of_recorded_episodes_is_that_of_their_steps(name):
    policy = catalogue.example(name)
    lengths = [3, 9, 1, 6]
    episodes = [torch.randn(length, policy.env_spec.observation_size) for length in lengths]
    with torch.no_grad():
        # Every episode begins somewhere else; of the states of later steps nothing is looked at.
        begins = [policy.init_hidden() + torch.rand(policy.hidden_size) for _ in lengths]
        stored = torch.cat([begin.expand(length, -1) for begin, length in zip(begins, lengths, strict=True)])
        together = policy.evaluate(Rollout(torch.cat(episodes), torch.tensor(lengths), stored))
        together = together if isinstance(together, tuple) else (together,)
        steps = []
        for episode, hidden in zip(episodes, begins, strict=True):
            for obs in episode:
                *outputs, hidden = policy(obs, hidden)
                steps.append(outputs)
    for found, expected in zip(together, zip(*steps, strict=True), strict=True):
        torch.testing.assert_close(found, torch.stack(expected), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", SEQUENTIAL)
def test_gradients_of_the_sequence_are_those_of_the_steps(name):
    policy = catalogue.example(name).double()
    x = torch.randn(7, policy.env_spec.observation_size, dtype=torch.float64)
    outputs = policy.evaluate(Rollout(x, torch.tensor([7])))
    (outputs if isinstance(outputs, torch.Tensor) else outputs[0]).square().sum().backward()
    found = policy.param_grad
    policy.zero_grad()
    hidden, loss = policy.init_hidden(), 0.0
    for obs in x:
        action, *_, hidden = policy(obs, hidden)
        loss = loss + action.square().sum()
    loss.backward()
    torch.testing.assert_close(found, policy.param_grad, rtol=1e-6, atol=1e-9)
    assert float(found.abs().max()) > 0.0 or policy.num_param == 0


def test_slots_have_names_of_their_own():
    parts = [
        ObservationStack([StackTerm("gyro", 3, 2), StackTerm("command", 3)]),
        ObservationHistory(9, 2),
        nn.Linear(18, 2),
        ActionFilter(2, delay_steps=1, start=0.5),
        ActionFilter(2, delay_steps=2),
    ]
    policy = SequentialPolicy(parts)
    assert [(slot.name, slot.size) for slot in policy.state_layout] == [
        ("gyro_history", 3),
        ("history_started", 1),
        ("obs_history", 9),
        ("history_started_2", 1),
        ("filter_delayed", 2),
        ("filter_delayed_2", 4),
        ("filter_started", 1),
    ]
    assert policy.init_hidden().tolist() == [0.0] * 14 + [0.5] * 2 + [0.0] * 5
    assert policy.input_specs[0].element_names[:4] == ("gyro.0", "gyro.1", "gyro.2", "command.0")


def test_parts_without_a_parameter_compute_in_what_they_are_moved_to():
    policy = SequentialPolicy([ObservationHistory(2, 2), ActionFilter(4, delay_steps=1, start=0.1)]).double()
    obs = torch.full((1, 2), 0.1, dtype=torch.float64)
    action, hidden = policy(obs)
    assert action.dtype == hidden.dtype == torch.float64
    assert policy(obs, hidden)[0].tolist() == [[0.1] * 4]


def test_of_a_policy_among_the_parts_the_action_goes_on():
    inside = GaussianGRUPolicy(spec(12), hidden_dim=4, state_include_action=True)
    last = SequentialPolicy([ObservationHistory(6, 2), inside])
    assert [one.name for one in last.output_specs] == ["mean", "log_std"] and last.previous_action is not None
    hidden = last.with_applied_action(last.init_hidden(), torch.tensor([0.5, -0.5]))
    assert hidden[last.previous_action].tolist() == [0.5, -0.5]
    filtered = SequentialPolicy([ObservationHistory(6, 2), inside, ActionFilter(2, delay_steps=1)])
    assert [one.name for one in filtered.output_specs] == ["actions"] and filtered.previous_action is None
    assert "previous" in [slot.name for slot in filtered.state_layout]
    assert torch.equal(filtered.with_applied_action(hidden, torch.zeros(2)), hidden)


def test_a_module_with_a_memory_between_history_and_filter(tmp_path):
    class Actor(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.LSTM(18, 8), nn.Linear(8, 2)

        def forward(self, x, state):
            features, state = self.rnn(x, state)
            return self.head(features), state

    network = Actor()
    wrapped = ganglion.wrap(network, observation=18, state={"h": (1, 8), "c": (1, 8)})
    policy = SequentialPolicy([ObservationHistory(6, 3), wrapped, ActionFilter(2, delay_steps=1, start=0.0)])
    ganglion.export(policy, tmp_path / "walker.ganglion")
    pilot, frames = ganglion.load(tmp_path / "walker.ganglion"), torch.randn(6, 6)
    seen = torch.stack([torch.cat([frames[max(i - back, 0)] for back in (2, 1, 0)]) for i in range(6)])
    with torch.no_grad():
        expected, _ = network(seen[:, None], (torch.zeros(1, 1, 8), torch.zeros(1, 1, 8)))
    found = np.stack([pilot.step(frame.numpy()) for frame in frames])
    np.testing.assert_allclose(found[1:], expected[:-1, 0].numpy(), atol=1e-5)
    assert not found[0].any()


def test_everything_that_stands_around_a_policy_in_the_order_that_is_said():
    normalizer = ObservationNormalizer(torch.arange(6.0), torch.ones(6))
    inside = LSTMPolicy(spec(12), 8, 1)
    policy = SequentialPolicy(
        [
            normalizer,
            ObservationHistory(6, 2),
            DeployablePolicy(inside, action_map=ActionMap([2.0, 1.0])),
            ActionFilter(2, delay_steps=1, start=0.0),
        ],
        spec(),
    )
    assert (policy.output_specs[0].low, policy.output_specs[0].high) == ((-3.0, -3.0), (3.0, 3.0))
    obs = torch.randn(3, 6)
    first, hidden = policy(obs[0])
    second, _ = policy(obs[1], hidden)
    assert first.tolist() == [0.0, 0.0]
    mapped, _ = inside(normalizer(obs[0]).repeat(2))
    torch.testing.assert_close(second, mapped * torch.tensor([2.0, 1.0]))


def test_the_period_is_that_of_the_filters():
    smooth, limit = (
        ActionFilter(2, period_s=0.02, low_pass_hz=5.0),
        ActionFilter(2, period_s=0.01, rate_limit_per_s=1.0),
    )
    policy = SequentialPolicy([actor(6), smooth])
    assert policy.contract().period_s == 0.02 == policy.contract(period_s=0.02).period_s
    with pytest.raises(ValueError, match=r"made for a control period of 0\.02 s, not 0\.01 s"):
        policy.contract(period_s=0.01)
    around = SequentialPolicy([nn.Linear(4, 6), DeployablePolicy(policy, action_map=ActionMap([1.0, 2.0]))])
    assert around.contract().period_s == 0.02
    with pytest.raises(ValueError, match=r"different control periods: \[0\.01, 0\.02\] s"):
        SequentialPolicy([around, limit])
    with pytest.raises(ValueError, match=r"different control periods: \[0\.01, 0\.02\] s"):
        SequentialPolicy([actor(6), smooth, limit])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: SequentialPolicy([]), ValueError, "at least one part"),
        (lambda: SequentialPolicy([actor(), None]), TypeError, r"part 1 must be a torch\.nn\.Module, not NoneType"),
        (
            lambda: SequentialPolicy([ObservationHistory(6, 4), actor()]),
            ValueError,
            r"part 1 \(Sequential\) does not take the 24 elements",
        ),
        (
            lambda: SequentialPolicy([nn.Sequential(ObservationHistory(6, 5), actor())], spec()),
            ValueError,
            r"part 0 \(Sequential\) .* memory of the ObservationHistory in it: make that a part of its own",
        ),
        (lambda: SequentialPolicy([nn.GRU(6, 2)]), ValueError, r"part 0 \(GRU\) gives tuple .* ganglion\.wrap"),
        (lambda: SequentialPolicy([nn.Tanh(), actor(6)]), ValueError, "Tanh does not tell how many elements"),
        (lambda: SequentialPolicy([actor(6)], spec(6, 3)), ValueError, "its parts give 2 elements, the spec has 3"),
        (lambda: SequentialPolicy([actor(6)], spec(5)), ValueError, r"part 0 .* does not take the 5 elements"),
    ],
)
def test_rows_of_parts_that_do_not_fit(make, error, message):
    with pytest.raises(error, match=message):
        make()
