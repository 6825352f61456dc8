"""Rollouts and what `evaluate` takes."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from ganglion.contract import StateSlot, TensorSpec
from ganglion.policies import EnvSpec, GRUPolicy, LSTMPolicy, RecurrentPolicy, Rollout

LENGTHS = [2, 5, 1, 4]
STEPS = sum(LENGTHS)


class Integrator(RecurrentPolicy):
    """Two outputs, a state of one element that does not start at zero; runs on `evaluate` of the base class."""

    def __init__(self, spec: EnvSpec) -> None:
        super().__init__(spec)
        self.gain = torch.nn.Parameter(torch.tensor(0.5))
        self.start = torch.nn.Parameter(torch.tensor([3.0]))

    @property
    def state_layout(self) -> tuple[StateSlot, ...]:
        return (StateSlot("sum", (1,)),)

    @property
    def output_specs(self) -> tuple[TensorSpec, ...]:
        return (*super().output_specs, TensorSpec("value", 1))

    def init_hidden(self, batch_size: int | None = None) -> Tensor:
        return self.start.clone() if batch_size is None else self.start.repeat(batch_size, 1)

    def forward(self, obs: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        self.last_mode = self.training
        rows, state = self._as_batch(obs, hidden)
        state = state + self.gain * rows.sum(-1, keepdim=True)
        action = state.repeat(1, 2)
        if obs.ndim == 1:
            return action.squeeze(0), -state.squeeze(0), state.squeeze(0)
        return action, -state, state


def stepped(policy: RecurrentPolicy, observations: Tensor, starts: list[Tensor] | None) -> tuple[Tensor, ...]:
    """One sub-rollout after the other, one step at a time."""
    outputs = []
    for index, chunk in enumerate(torch.split(observations, LENGTHS)):
        hidden = policy.init_hidden() if starts is None else starts[index]
        for obs in chunk:
            *out, hidden = policy(obs, hidden)
            outputs.append(out)
    return tuple(torch.stack(column) for column in zip(*outputs, strict=True))


def test_base_class_steps_policies_of_any_kind(spec: EnvSpec) -> None:
    policy = Integrator(spec)
    observations = torch.randn(STEPS, 4)
    outputs = policy.evaluate({"observations": observations, "lengths": LENGTHS})
    assert isinstance(outputs, tuple)
    for output, expected in zip(outputs, stepped(policy, observations, None), strict=True):
        torch.testing.assert_close(output, expected)
    # Every output is the initial state plus something: its gradient counts the steps.
    outputs[0][:, 0].sum().backward()
    assert policy.start.grad is not None
    assert policy.start.grad.item() == STEPS
    assert policy.contract().initial_state == (3.0,)


def test_base_class_starts_each_part_from_its_own_state_in_eval_mode(spec: EnvSpec) -> None:
    policy = Integrator(spec)
    observations, states = torch.randn(STEPS, 4), torch.randn(STEPS, 1)
    outputs = policy.evaluate(Rollout(observations, torch.tensor(LENGTHS), states))
    for output, expected in zip(outputs, stepped(policy, observations, list(states[[0, 2, 7, 8]])), strict=True):
        torch.testing.assert_close(output, expected)
    policy.evaluate(Rollout(observations, torch.tensor(LENGTHS)))
    assert policy.last_mode is False
    assert policy.training


@pytest.mark.parametrize("cls", [GRUPolicy, LSTMPolicy])
def test_only_the_first_stored_state_of_each_part_counts(spec: EnvSpec, cls: type[GRUPolicy]) -> None:
    policy = cls(spec, 8, 2)
    observations = torch.randn(STEPS, 4)
    states = torch.randn(STEPS, policy.hidden_size)
    first = [0, 2, 7, 8]
    (expected,) = stepped(policy, observations, [states[row] for row in first])
    torch.testing.assert_close(policy.evaluate(Rollout(observations, torch.tensor(LENGTHS), states)), expected)
    others = [row for row in range(STEPS) if row not in first]
    states[others] = torch.nan
    torch.testing.assert_close(policy.evaluate(Rollout(observations, torch.tensor(LENGTHS), states)), expected)


def test_final_observations_and_states_are_left_out(spec: EnvSpec) -> None:
    policy = GRUPolicy(spec, 8, 1)
    observations, states = torch.randn(STEPS, 4), torch.randn(STEPS, 8)

    def with_final(tensor: Tensor) -> Tensor:
        spoilt = torch.full((1, tensor.shape[1]), torch.nan)
        return torch.cat([part for chunk in torch.split(tensor, LENGTHS) for part in (chunk, spoilt)])

    lengths = torch.tensor(LENGTHS)
    expected = policy.evaluate(Rollout(observations, lengths, states))
    assert torch.equal(policy.evaluate(Rollout(with_final(observations), lengths, states)), expected)
    assert torch.equal(policy.evaluate(Rollout(with_final(observations), lengths, with_final(states))), expected)


@pytest.mark.parametrize("container", [dict, SimpleNamespace])
@pytest.mark.parametrize(
    "when",
    [
        {"lengths": LENGTHS},
        {"rollout_lengths": np.array(LENGTHS)},
        {"rollout_bounds": [0, 2, 7, 8, 12]},
        {"lengths": torch.tensor(LENGTHS), "continuous": True},
    ],
)
def test_mappings_and_objects_will_do(spec: EnvSpec, container: type, when: dict[str, object]) -> None:
    policy = GRUPolicy(spec, 8, 1)
    observations, states = torch.randn(STEPS, 4), torch.randn(STEPS, 8)
    expected = policy.evaluate(Rollout(observations, torch.tensor(LENGTHS), states))
    data = container(observations=observations, policy_states=states, **when)
    assert torch.equal(policy.evaluate(data, hidden_states_name="policy_states"), expected)
    assert not torch.equal(policy.evaluate(data), expected)


def test_gradient_reaches_the_stored_states(spec: EnvSpec) -> None:
    policy = GRUPolicy(spec, 8, 1)
    states = torch.randn(STEPS, 8, requires_grad=True)
    policy.evaluate(Rollout(torch.randn(STEPS, 4), torch.tensor(LENGTHS), states)).sum().backward()
    assert states.grad is not None
    assert states.grad.abs().sum(1).nonzero().flatten().tolist() == [0, 2, 7, 8]


def test_mode_of_every_module_is_restored_and_dropout_is_off(spec: EnvSpec) -> None:
    policy = GRUPolicy(spec, 32, 2, dropout=0.5)
    rollout = {"observations": torch.randn(6, 4), "lengths": [6]}
    for training in (True, False):
        policy.train(training)
        assert torch.equal(policy.evaluate(rollout), policy.evaluate(rollout))
        assert {module.training for module in policy.modules()} == {training}
    policy.rnn_layers.train()
    policy.evaluate(rollout)
    assert [policy.training, policy.rnn_layers.training, policy.output_layer.training] == [False, True, False]
    assert policy.rnn_layers.dropout == 0.5


def test_mode_is_restored_after_an_error(spec: EnvSpec) -> None:
    def fail(_: Tensor) -> Tensor:
        raise RuntimeError("planted")

    policy = GRUPolicy(spec, 8, 2, output_nonlin=fail, dropout=0.5)
    with pytest.raises(RuntimeError, match="planted"):
        policy.evaluate({"observations": torch.randn(6, 4), "lengths": [6]})
    assert policy.training
    assert policy.rnn_layers.training


def test_float64_rollouts_are_cast(spec: EnvSpec) -> None:
    policy = LSTMPolicy(spec, 8, 1)
    rollout = Rollout(torch.randn(6, 4).double(), torch.tensor([6]), torch.randn(6, 16).double())
    out = policy.evaluate(rollout)
    assert isinstance(out, Tensor)
    assert out.dtype == torch.float32


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ({"observations": np.zeros((6, 4)), "lengths": [6]}, TypeError, "torch.Tensor, not ndarray"),
        (
            {"observations": torch.zeros(6, 4), "lengths": [6], "hidden_states": np.zeros((6, 8))},
            TypeError,
            "hidden_states must be a torch.Tensor",
        ),
        ({"observations": torch.zeros(6, 4), "lengths": [6.0]}, TypeError, "integers"),
        ({"observations": torch.zeros(6, 4), "lengths": [6], "continuous": False}, ValueError, "not continuous"),
        ({"observations": torch.zeros(6, 4)}, ValueError, "'lengths'"),
        ({"lengths": [6]}, ValueError, "'observations'"),
        ({"observations": torch.zeros(6, 4), "lengths": [6, 0]}, ValueError, "at least 1"),
        ({"observations": torch.zeros(6, 4), "lengths": torch.zeros(0, dtype=torch.int64)}, ValueError, "at least 1"),
        ({"observations": torch.zeros(8, 4), "lengths": [3, 4]}, ValueError, "7 rows, or 9 with the final"),
        ({"observations": torch.zeros(7, 4), "lengths": [3, 3]}, ValueError, "6 rows, or 8"),
        ({"observations": torch.zeros(6), "lengths": [6]}, ValueError, "observations has shape"),
        ({"observations": torch.zeros(6, 5), "lengths": [6]}, ValueError, "5 elements, not 4"),
        (
            {"observations": torch.zeros(6, 4), "lengths": [6], "hidden_states": torch.zeros(6, 7)},
            ValueError,
            "7 elements, not 8",
        ),
        (
            {"observations": torch.zeros(6, 4), "lengths": [6], "hidden_states": torch.zeros(4, 8)},
            ValueError,
            "hidden_states has shape",
        ),
    ],
)
def test_bad_rollouts(spec: EnvSpec, data: dict[str, object], error: type[Exception], message: str) -> None:
    policy = GRUPolicy(spec, 8, 1)
    with pytest.raises(error, match=message):
        policy.evaluate(data)
