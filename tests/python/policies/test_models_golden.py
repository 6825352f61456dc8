"""The ready recurrent models against recorded runs of the same models under skrl 2.1.1."""

from __future__ import annotations

import json
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch

from ganglion.policies.skrl.models import GaussianGRUModel, GaussianLSTMModel, GaussianRNNModel, RecurrentGaussianModel
from ganglion.policies.skrl.policy import SkrlPolicy

GOLDEN = Path(__file__).parents[2] / "golden" / "skrl"
CASES = sorted(path.stem for kind in ("rnn", "gru", "lstm") for path in GOLDEN.glob(f"torch_{kind}_*.npz"))
MODELS = {"RNN": GaussianRNNModel, "GRU": GaussianGRUModel, "LSTM": GaussianLSTMModel}
SIZES = {"observation_space": gymnasium.spaces.Box(-1.0, 1.0, (5,)), "device": "cpu"}
# The space of the recorded runs; one of them clips its means to it.
ACTIONS = gymnasium.spaces.Box(np.float32([-1.0, -0.5, -2.0]), np.float32([1.0, 0.5, 0.25]))


class Case:
    def __init__(self, name: str) -> None:
        with np.load(GOLDEN / f"{name}.npz") as file:
            arrays = dict(file)
        self.meta = json.loads(str(arrays.pop("meta")))
        self.data = {key: torch.from_numpy(array) for key, array in arrays.items()}

    def model(self) -> RecurrentGaussianModel:
        meta = self.meta
        model = MODELS[meta["model"]](
            **SIZES,
            action_space=ACTIONS,
            num_envs=meta["num_envs"],
            num_layers=meta["num_layers"],
            hidden_size=meta["hidden_size"],
            sequence_length=meta["sequence_length"],
            hidden_sizes=(8,),
            **meta["kwargs"],
        )
        model.load_state_dict(self.params("param."), strict=True)
        return model

    def params(self, prefix: str) -> dict[str, torch.Tensor]:
        return {key.removeprefix(prefix): value for key, value in self.data.items() if key.startswith(prefix)}

    def states(self, prefix: str) -> list[torch.Tensor]:
        return [self.data[f"{prefix}_{index}"] for index in range(2) if f"{prefix}_{index}" in self.data]


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


def assert_close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=2e-6, rtol=2e-6)


def test_all_cases_are_here() -> None:
    assert CASES == ["torch_gru_2l_L6", "torch_lstm_1l_L8", "torch_rnn_1l_L8", "torch_rnn_2l_L6"]


def test_names_and_specification(case: Case) -> None:
    model = case.model()
    assert [name for name, _ in model.named_parameters()] == list(case.params("param."))
    assert str(model.get_specification()) == case.meta["spec"]


def test_rollout(case: Case) -> None:
    data, model = case.data, case.model().eval()
    for step, (obs, taken) in enumerate(zip(data["obs"], data["taken_actions"], strict=True)):
        states = [state[step] for state in case.states("rollout.state_in")]
        _, outputs = model.act({"observations": obs, "taken_actions": taken, "rnn": states}, role="policy")
        assert_close(outputs["mean_actions"], data["rollout.mean_actions"][step])
        assert_close(outputs["log_prob"], data["rollout.log_prob"][step])
        assert_close(model.get_entropy(role="policy"), data["rollout.entropy"][step])
        for actual, expected in zip(outputs["rnn"], case.states("rollout.state_out"), strict=True):
            assert_close(actual, expected[step])


def test_rollout_as_a_recurrent_policy(case: Case) -> None:
    # The whole run at once: the policy keeps the state, and an episode that ends in either way resets its row.
    data, model = case.data, case.model()
    policy = SkrlPolicy(model)
    ends = data["terminated"] | data["truncated"]
    assert ends.any()
    hidden = policy.init_hidden(3)
    for step, obs in enumerate(data["obs"]):
        flat = [state[step].transpose(0, 1).flatten(1) for state in case.states("rollout.state_in")]
        assert_close(hidden, torch.cat(flat, dim=1))
        mean, log_std, hidden = policy(obs, hidden)
        assert_close(mean, data["rollout.mean_actions"][step])
        assert torch.equal(log_std, model.log_std_parameter.expand(3, 3))
        hidden = torch.where(ends[step], policy.init_hidden(3), hidden)
    assert model.training


@pytest.mark.parametrize("kind", ["train", "trainnt", "trainall"])
def test_training_and_gradients(case: Case, kind: str) -> None:
    data, model = case.data, case.model()
    inputs = {
        "observations": data["train.rows_observations"],
        "taken_actions": data["train.rows_taken_actions"],
        "rnn": case.states("train.rows_state"),
    }
    if kind != "trainnt":
        flags = data["train.rows_terminated"]
        inputs["terminated"] = flags if kind == "train" else torch.zeros_like(flags)
    assert data["train.rows_terminated"].any()
    _, outputs = model.act(inputs, role="policy")
    assert_close(outputs["mean_actions"], data[f"{kind}.mean_actions"])
    assert_close(outputs["log_prob"], data[f"{kind}.log_prob"])
    for actual, expected in zip(outputs["rnn"], case.states(f"{kind}.rnn"), strict=True):
        assert_close(actual, expected)
    outputs["log_prob"].mean().backward()
    for name, param in model.named_parameters():
        # Sums over 72 rows: rounding grows with the largest element, not with each one.
        expected = data[f"{kind}.grad.{name}"]
        torch.testing.assert_close(param.grad, expected, atol=2e-6 * max(1.0, float(expected.abs().max())), rtol=2e-6)


def test_ppo_stores_another_state_than_it_used() -> None:
    """The recorded agent holds the produced state from its second step on (a defect); a replay needs the used one."""
    case = Case("torch_ppo_rnn_stored_states")
    data, meta = case.data, case.meta
    model = GaussianGRUModel(**SIZES, action_space=ACTIONS, num_envs=2, hidden_size=4, sequence_length=1)
    model.load_state_dict(case.params("param."), strict=True)
    ends, stored = data["terminated"], data["stored"].transpose(1, 2)
    assert ends.any()
    model.eval()
    means, state = [], torch.zeros(1, 2, 4)
    with torch.no_grad():
        for step, obs in enumerate(data["obs"]):
            assert_close(state, data["used"][step])
            mean, outputs = model.compute({"observations": obs, "rnn": [state]})
            means.append(mean)
            assert_close(outputs["rnn"][0], data["produced"][step])
            state = torch.where(ends[step, :, None], 0.0, outputs["rnn"][0])
            assert torch.equal(stored[step], data["used"][step]) is meta["stored_equals_state_used"][step]
            assert torch.equal(stored[step], data["produced"][step]) is meta["stored_equals_state_produced"][step]
        # Single rows in training repeat the rollout from the used states, and not from the stored ones.
        model.train()
        rows = data["obs"].flatten(0, 1)
        used, wrong = (
            model.compute({"observations": rows, "rnn": [states.transpose(0, 1).flatten(1, 2)]})[0]
            for states in (data["used"], stored)
        )
    assert_close(used, torch.cat(means))
    assert not torch.allclose(wrong, torch.cat(means), atol=1e-3)
