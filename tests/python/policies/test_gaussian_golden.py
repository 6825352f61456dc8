"""GaussianLSTMPolicy against recorded runs of the original (garage)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from garage_cases import CASES, GOLDEN, Case

STATE_PARTS = ("hidden", "cell")


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


def memory(policy) -> dict[str, np.ndarray]:
    """Hidden and cell state that `get_actions` keeps, `[N, H]` each."""
    parts = torch.split(policy._state, [slot.size for slot in policy.state_layout], dim=-1)
    return {name: part.numpy() for name, part in zip(STATE_PARTS, parts[-2:], strict=True)}


def test_all_cases_are_here() -> None:
    assert len(CASES) == 21
    assert {path.name for path in GOLDEN.iterdir()} == {
        *(f"{name}.npz" for name in CASES),
        *("policy_behaviour_cases.json", "env_spec_cases.json", "README.md"),
        *("dtypes_cases.json", "experiment_cases.json"),  # of the rooms data and training
    }


def test_no_key_is_left_out(case: Case) -> None:
    names = {f"{kind}.{name}" for kind in ("init", "param") for name in case.meta["global_vars"]}
    steps = {f"step.{key}" for key in ("action", "mean", "log_std", "hidden", "cell", "rnd")}
    single = {f"single.{key}" for key in ("action", "mean", "hidden", "cell", "np_random_seed")}
    keys = ("input", "mean", "std", "init_hidden", "init_cell", "actions", "log_prob", "entropy")
    known = names | steps | single | {f"full.{key}" for key in keys}
    known |= {"get_param_values", "obs", "resets", "np_random_seed"}
    known |= {"step.prev_action"} if case.fresh().state_include_action else set()
    assert set(case.data) == known


def test_sizes_and_specs(case: Case) -> None:
    policy = case.policy()
    assert policy.input_dim == case.meta["input_dim"]
    assert policy.state_info_specs == [(name, tuple(shape)) for name, shape in case.meta["state_info_specs"]]
    assert policy.num_param == case.data["get_param_values"].size
    assert policy.vectorized is True


def test_initial_values(case: Case) -> None:
    policy = case.fresh()
    kernel, recurrent, bias, output, output_bias, hidden, cell, *log_std = case.values("init")
    assert np.array_equal(policy.core.input_term.bias.detach(), bias)
    assert np.array_equal(policy.head.output.bias.detach(), output_bias)
    assert np.array_equal(policy.core.initial_h, hidden)
    assert np.array_equal(policy.core.initial_c, cell)
    if log_std:
        np.testing.assert_allclose(policy.head.log_std.detach(), log_std[0], rtol=1e-6)
    else:
        assert policy.head.log_std is None
    # Glorot uniform is random: equal in its bounds, which it comes close to.
    weights = (policy.core.input_term.weight, policy.core.recurrent_term.weight, policy.head.output.weight)
    for ours, theirs in zip(weights, (kernel, recurrent, output), strict=True):
        assert tuple(ours.shape) == theirs.T.shape
        bound = np.sqrt(6.0 / sum(theirs.shape))
        for values in (ours.detach().numpy(), theirs):
            assert 0.6 * bound < np.abs(values).max() <= bound


def test_step_by_step_with_resets(case: Case) -> None:
    policy = case.policy()
    np.random.seed(int(case.data["np_random_seed"]))
    rows = {"action": [], "mean": [], "log_std": [], "hidden": [], "cell": [], "prev_action": []}
    for obs, resets in zip(case.data["obs"], case.data["resets"], strict=True):
        if resets.any():
            policy.reset(resets)
        action, infos = policy.get_actions(obs)
        for key, value in {"action": action, **infos, **memory(policy)}.items():
            assert value.dtype == np.float32
            rows[key].append(value)
    if not policy.state_include_action:
        assert rows.pop("prev_action") == []
    for key, values in rows.items():
        case.assert_close(np.stack(values), f"step.{key}")


def test_noise_is_that_of_numpys_global_generator(case: Case) -> None:
    np.random.seed(int(case.data["np_random_seed"]))
    assert np.array_equal(np.random.normal(size=case.data["step.rnd"].shape), case.data["step.rnd"])
    mean, log_std, noise = (case.data[f"step.{key}"] for key in ("mean", "log_std", "rnd"))
    np.testing.assert_allclose(mean + np.exp(log_std) * noise, case.data["step.action"], rtol=1e-6, atol=1e-6)


@torch.no_grad()
def test_forward_with_the_state_outside(case: Case) -> None:
    policy = case.policy()
    hidden, rows = policy.init_hidden(3), {"mean": [], "log_std": [], "hidden": [], "cell": []}
    for step, obs in enumerate(case.data["obs"]):
        flagged = torch.from_numpy(case.data["resets"][step]).unsqueeze(1)
        hidden = torch.where(flagged, policy.init_hidden(3), hidden)
        mean, log_std, hidden = policy(torch.from_numpy(obs), hidden)
        h, c = hidden[:, -12:-6], hidden[:, -6:]
        for key, value in zip(rows, (mean, log_std, h, c), strict=True):
            rows[key].append(value)
        if policy.state_include_action:
            assert torch.equal(hidden[:, :2], mean)
        hidden = policy.with_applied_action(hidden, torch.from_numpy(case.data["step.action"][step]))
    for key, values in rows.items():
        case.assert_close(torch.stack(values), f"step.{key}")


def test_single_environment(case: Case) -> None:
    policy = case.policy()
    np.random.seed(int(case.data["single.np_random_seed"]))
    policy.reset()
    rows = {"action": [], "mean": [], "hidden": [], "cell": []}
    for obs in case.data["obs"][:20, 0]:
        action, infos = policy.get_action(obs)
        assert action.shape == infos["mean"].shape == infos["log_std"].shape == (2,)
        for key, value in {"action": action, "mean": infos["mean"], **memory(policy)}.items():
            rows[key].append(value)
    for key, values in rows.items():
        case.assert_close(np.stack(values), f"single.{key}")


def test_whole_sequences(case: Case) -> None:
    policy = case.policy()
    found = policy.build(torch.from_numpy(case.data["full.input"]))
    actions = torch.from_numpy(case.data["full.actions"])
    assert found.dist.batch_shape == (2, 15)
    assert found.dist.event_shape == (2,)
    case.assert_close(found.step_mean, "full.mean")
    case.assert_close(found.dist.mean, "full.mean")
    case.assert_close(found.dist.stddev, "full.std")
    case.assert_close(found.step_log_std.exp(), "full.std")
    case.assert_close(found.init_hidden, "full.init_hidden")
    case.assert_close(found.init_cell, "full.init_cell")
    case.assert_close(found.dist.entropy(), "full.entropy")
    case.assert_close(found.dist.log_prob(actions), "full.log_prob")
    assert found.step_hidden is not None
    assert found.step_cell is not None
    assert found.step_hidden.shape == found.step_cell.shape == (2, 15, 6)
