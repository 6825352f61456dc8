"""Actor policies against recorded runs of the original (TF-Agents).

Not compared: the samples in `action.action` themselves. They come from TensorFlow's random generators, which torch does
not have. What they must obey (clipping, bounds, the recorded distribution) is checked instead.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from actor_cases import (
    ACTION,
    FACTS,
    GOLDEN,
    NETWORKS,
    OBSERVATION,
    Case,
    masked_policy,
    policy_of,
    rnn_network,
    time_step,
)

from ganglion.policies.tf_agents.heads import Deterministic
from ganglion.policies.tf_agents.networks import ActorNetwork
from ganglion.policies.tf_agents.weights import load_tf_agents_weights

TOLERANCE = {"atol": 2e-5, "rtol": 2e-5}
SEQUENCES = sorted(set(NETWORKS) - {"ff_discrete_masked"})


@pytest.fixture(scope="module", params=SEQUENCES)
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


def parameters(distribution: Any) -> dict[str, torch.Tensor]:
    """What the files hold of a distribution."""
    if hasattr(distribution, "raw_logits"):
        return {"logits": distribution.raw_logits}
    if isinstance(distribution, Deterministic):
        return {"loc": distribution.mean}
    return {"loc": distribution.mean, "stddev": distribution.stddev}


def assert_recorded(case: Case, prefix: str, found: dict[str, torch.Tensor]) -> None:
    names = {key.removeprefix(prefix) for key in case.data if key.startswith(prefix)}
    assert set(found) == names
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, case.data[prefix + name], **TOLERANCE)


def test_every_file_is_used() -> None:
    files = {path.name for path in GOLDEN.iterdir()}
    assert files == {f"{name}.npz" for name in NETWORKS} | {"facts.json", "README.md"}
    assert set(SEQUENCES) | {"ff_discrete_masked"} == set(NETWORKS)


@torch.no_grad()
def test_step_by_step(case: Case) -> None:
    policy, state, steps = case.policy(), (), []
    for step in case.steps():
        action, state, info = policy.distribution(step, state)
        assert info == ()
        steps.append(parameters(action) | {f"state.{i}": leaf for i, leaf in enumerate(state)})
    assert_recorded(case, "dist.", {name: torch.stack([step[name] for step in steps]) for name in steps[0]})


@torch.no_grad()
def test_whole_sequences(case: Case) -> None:
    policy = case.policy()
    step = time_step(case.data["obs"].transpose(0, 1), case.data["step_type"].T)
    action, state, _ = policy.distribution(step)
    assert_recorded(case, "seq.", parameters(action) | {f"state.{i}": leaf for i, leaf in enumerate(state)})


@torch.no_grad()
def test_the_flat_function_is_the_same_policy(case: Case) -> None:
    policy = case.policy()
    hidden = policy.init_hidden(3)
    names = [spec.name for spec in policy.output_specs]
    for number, (obs, first) in enumerate(zip(case.data["obs"], case.data["step_type"] == 0, strict=True)):
        hidden = torch.where(first[:, None], policy.init_hidden(3), hidden)
        *outputs, hidden = policy(obs, hidden)
        found = dict(zip(names, outputs, strict=True))
        recorded = {key.removeprefix("dist."): case.data[key][number] for key in case.data if key.startswith("dist.")}
        if "logits" in recorded:
            torch.testing.assert_close(found["logits"], recorded["logits"], **TOLERANCE)
            assert torch.equal(found["actions"][:, 0], recorded["logits"].argmax(-1).float())
            continue
        mean = recorded["loc"]
        if policy.clip:
            mean = mean.clamp(torch.tensor(ACTION.minimum), torch.tensor(ACTION.maximum))
        torch.testing.assert_close(outputs[0], mean, **TOLERANCE)
        if "stddev" in recorded:
            torch.testing.assert_close(found["log_std"].exp(), recorded["stddev"], **TOLERANCE)


@torch.no_grad()
def test_unbatched_steps(case: Case) -> None:
    policy, state = case.policy(), ()
    for number, (obs, step_type) in enumerate(zip(case.data["obs"], case.data["step_type"], strict=True)):
        action, state, _ = policy.distribution(time_step(obs[0], step_type[0]), state)
        for name, tensor in parameters(action).items():
            torch.testing.assert_close(tensor, case.data[f"dist.{name}"][number, 0], **TOLERANCE)


def test_initial_state(case: Case) -> None:
    state = case.policy().get_initial_state(3)
    names = [key for key in case.data if key.startswith("state0.")]
    assert len(names) == len(state)
    for leaf, name in zip(state, names, strict=True):
        assert torch.equal(leaf, case.data[name])


def test_normaliser_statistics() -> None:
    case = Case("rnn_dist_normalizer")
    normalizer = case.normalizer()
    assert normalizer is not None
    torch.testing.assert_close(normalizer.mean, case.data["normalizer.mean"], **TOLERANCE)
    torch.testing.assert_close(normalizer.variance, case.data["normalizer.var"], **TOLERANCE)


@torch.no_grad()
def test_mask() -> None:
    case = Case("ff_discrete_masked")
    policy = masked_policy(case.network())
    observation = {"obs": case.data["obs"], "mask": case.data["mask"]}
    logits = policy.distribution(time_step(observation)).action.raw_logits
    torch.testing.assert_close(logits, case.data["logits"], **TOLERANCE)
    unmasked = policy_of(case.network()).distribution(time_step(case.data["obs"])).action.raw_logits
    torch.testing.assert_close(unmasked, case.data["logits_unmasked"], **TOLERANCE)
    recorded = FACTS["constraint_splitter.create_variables_fails_or_masks"]["result"]
    forbidden = torch.tensor(recorded["masked"]) != torch.tensor(recorded["unmasked"])
    assert torch.tensor(recorded["masked"])[forbidden].unique().tolist() == logits[~case.data["mask"]].unique().tolist()


# --- recorded samples ---


class Recorded(ActorNetwork):
    """Gives recorded actions."""

    def __init__(self, action: torch.Tensor) -> None:
        super().__init__(OBSERVATION, ACTION)
        self.action = action

    def forward(self, observation: Any, step_type: Any, network_state: Any, mask: Any) -> Any:  # noqa: ARG002
        return self.action[: len(observation)], network_state


@torch.no_grad()
def test_deterministic_actions_are_the_recorded_ones() -> None:
    case = Case("rnn_det_lstm8")
    policy, state, actions = case.policy(), (), []
    for step in case.steps():
        action, state, _ = policy.action(step, state, seed=1)
        actions.append(action)
    torch.testing.assert_close(torch.stack(actions), case.data["action.action"], **TOLERANCE)


def test_clipping_of_recorded_samples() -> None:
    samples = Case("rnn_dist_statestd_noclip").arrays["action.action"].reshape(-1, 2)
    low, high = np.float32(ACTION.minimum), np.float32(ACTION.maximum)
    assert ((samples < low) | (samples > high)).any()
    network, step = Recorded(torch.from_numpy(samples)), time_step(torch.zeros(len(samples), 5))
    assert np.array_equal(policy_of(network, clip=False).action(step).action, samples)
    assert np.array_equal(policy_of(network).action(step).action, np.clip(samples, low, high))


@pytest.mark.parametrize("name", [name for name in SEQUENCES if name not in ("rnn_det_lstm8", "rnn_dist_discrete")])
@torch.no_grad()
def test_recorded_samples_come_from_our_distributions(name: str) -> None:
    case = Case(name)
    policy, state, scores, inside = case.policy(), (), [], []
    low, high = torch.tensor(ACTION.minimum), torch.tensor(ACTION.maximum)
    for step, action in zip(case.steps(), case.data["action.action"], strict=True):
        # States do not depend on the samples.
        distribution, state, _ = policy.distribution(step, state)
        scores.append((action - distribution.mean) / distribution.stddev)
        inside.append((action > low) & (action < high))
    noise, inside = torch.stack(scores), torch.stack(inside)
    if policy.clip:
        assert not inside.all()
        assert ((case.data["action.action"] >= low) & (case.data["action.action"] <= high)).all()
    else:
        assert noise.abs().max() < 4.5
        assert abs(noise.mean()) < 0.2
        assert abs(noise.std() - 1.0) < 0.15
    assert noise[inside].abs().max() < 4.5


@torch.no_grad()
def test_recorded_categories_are_likely() -> None:
    case = Case("rnn_dist_discrete")
    policy, state, excess = case.policy(), (), []
    for step, action in zip(case.steps(), case.data["action.action"], strict=True):
        distribution, state, _ = policy.distribution(step, state)
        assert policy.action(step, state).action.dtype == action.dtype
        # The expectation of the log probability of a sample is the negative entropy.
        excess.append(distribution.log_prob(action) + distribution.entropy())
    assert abs(torch.stack(excess).mean()) < 0.2


def test_loader_refuses_other_variables() -> None:
    case = Case("rnn_dist_lstm8")
    variables = [case.arrays[key] for key in sorted(case.arrays) if key.startswith("param.")]
    network = NETWORKS["rnn_dist_lstm8"]()
    before = {name: parameter.clone() for name, parameter in network.named_parameters()}
    with pytest.raises(ValueError, match="there are 9 variables"):
        load_tf_agents_weights(network, variables[:-1])
    with pytest.raises(ValueError, match="there are 11 variables; the network has 10"):
        load_tf_agents_weights(network, [*variables, variables[-1]])
    for position in range(len(variables)):
        wrong = list(variables)
        wrong[position] = np.zeros([*wrong[position].shape[:-1], wrong[position].shape[-1] + 4], np.float32)
        with pytest.raises(ValueError, match=r"expected \("):
            load_tf_agents_weights(network, wrong)
    with pytest.raises(ValueError, match="LayerNorm in Keras"):
        load_tf_agents_weights(torch.nn.Sequential(torch.nn.LayerNorm(3)), variables)
    assert all(torch.equal(parameter, before[name]) for name, parameter in network.named_parameters())
    load_tf_agents_weights(network, variables)
    assert not all(torch.equal(parameter, before[name]) for name, parameter in network.named_parameters())


def test_gru_kernels_of_keras() -> None:
    # Keras: z, r, h in [inputs, 3 units], biases [2, 3 units], reset after the product; h' = z h + (1 - z) g.
    network = rnn_network(
        input_fc_layer_params=(),
        lstm_size=None,
        output_fc_layer_params=(),
        rnn_construction_fn=torch.nn.GRU,
        rnn_construction_kwargs={"hidden_size": 3},
    )
    generator = np.random.default_rng(0)
    shapes = [(5, 9), (3, 9), (2, 9), (3, 2), (2,), (2,)]
    kernel, recurrent_kernel, bias, mean_kernel, mean_bias, std_bias = variables = [
        generator.standard_normal(shape).astype(np.float32) for shape in shapes
    ]
    load_tf_agents_weights(network, variables)
    x, h = generator.standard_normal((4, 5)), generator.standard_normal((4, 3))
    z_x, r_x, g_x = np.split(x @ kernel + bias[0], 3, axis=1)
    z_h, r_h, g_h = np.split(h @ recurrent_kernel + bias[1], 3, axis=1)
    z, r = 1.0 / (1.0 + np.exp(-z_x - z_h)), 1.0 / (1.0 + np.exp(-r_x - r_h))
    expected = z * h + (1.0 - z) * np.tanh(g_x + r * g_h)
    action, state = network(torch.from_numpy(x).float(), network_state=torch.from_numpy(h).float())
    np.testing.assert_allclose(state.detach(), expected, atol=1e-5)
    mean = np.array([0.5, 0.0]) + np.array([2.5, 1.0]) * np.tanh(expected @ mean_kernel + mean_bias)
    np.testing.assert_allclose(action.mean.detach(), mean, atol=1e-5)
    np.testing.assert_allclose(action.stddev.detach(), np.log1p(np.exp(std_bias))[None].repeat(4, 0), atol=1e-5)
