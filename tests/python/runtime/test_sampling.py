"""Actions drawn by the C++ runtime: the same bits as in Python, on every engine, in every episode and row."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from distribution_policies import SPEC, CategoricalPolicy, GaussianPolicy
from scipy.special import ndtri

import ganglion
from ganglion.contract import Contract, TensorSpec
from ganglion.policies import (
    ActorDistributionNetwork,
    ActorPolicy,
    ArraySpec,
    BoundedArraySpec,
    GRUPolicy,
    time_step_spec,
)
from ganglion.sampling import ActionSampler, noise_counter, philox, standard_gumbel, standard_normal

pytestmark = pytest.mark.deep  # exports to every engine

ACTION = BoundedArraySpec((2,), torch.float32, "act", [-2.0, -1.0], [3.0, 1.0])
CATEGORY = BoundedArraySpec((), torch.int32, "act", 0, 3)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sampling")
    torch.manual_seed(0)
    for name, policy in (("gaussian", GaussianPolicy()), ("categorical", CategoricalPolicy())):
        for suffix in ("ganglion", "onnx", "pt"):
            ganglion.export(policy, folder / f"{name}.{suffix}", batch=None)
    return folder


def fly(pilot, sampler, names, steps=60):
    """Steps a pilot with resets of some rows; checks every action against the Python sampler; returns them."""
    generator, actions = np.random.default_rng(0), []
    for step in range(steps):
        rows = generator.random(pilot.batch) < 0.1
        if step > 0:
            pilot.reset(rows)
            sampler.reset(rows)
        action = pilot.step(generator.normal(size=(pilot.batch, 3)).astype(np.float32))
        drawn = sampler.draw(*(pilot.output(name) for name in names))
        np.testing.assert_array_equal(action, drawn)
        if pilot.contract.state:
            np.testing.assert_array_equal(pilot.state(), action)
        actions.append(action)
    return np.stack(actions)


@pytest.mark.parametrize(
    ("name", "outputs"), [("gaussian", ("mean", "log_std")), ("categorical", ("actions", "logits"))]
)
def test_every_engine_draws_what_python_draws(files, name, outputs):
    seed = 0x1234_5678_9ABC_DEF0
    runs = {}
    for suffix in ("ganglion", "onnx", "pt"):
        path = files / f"{name}.{suffix}"
        pilot = ganglion.load(path, batch=3, sample_seed=seed)
        runs[suffix] = fly(pilot, ActionSampler(pilot.contract, seed, batch=3), outputs)
    np.testing.assert_allclose(runs["onnx"], runs["ganglion"], atol=1e-5)
    np.testing.assert_allclose(runs["pt"], runs["ganglion"], atol=1e-5)
    again = ganglion.load(files / f"{name}.ganglion", batch=3, sample_seed=seed)
    np.testing.assert_array_equal(fly(again, ActionSampler(again.contract, seed, batch=3), outputs), runs["ganglion"])
    other = ganglion.load(files / f"{name}.ganglion", batch=3, sample_seed=seed + 1)
    assert (fly(other, ActionSampler(other.contract, seed + 1, batch=3), outputs) != runs["ganglion"]).mean() > 0.5


@pytest.mark.parametrize("action_spec", [ACTION, CATEGORY], ids=["gaussian", "categorical"])
@pytest.mark.parametrize("suffix", ["ganglion", "onnx"])
def test_the_log_probability_is_that_of_the_drawn_action(tmp_path, action_spec, suffix):
    network = ActorDistributionNetwork(ArraySpec((3,)), action_spec, (8,))
    policy = ActorPolicy(time_step_spec(ArraySpec((3,))), action_spec, network, emit_log_probability=True)
    path = tmp_path / f"policy.{suffix}"
    ganglion.export(policy, path, batch=2)
    plain, pilot = ganglion.load(path), ganglion.load(path, sample_seed=9)
    sampler, clone = ActionSampler(pilot.contract, 9, batch=2), pilot.clone()
    generator = np.random.default_rng(0)
    for _ in range(10):
        observation = generator.normal(size=(2, 3)).astype(np.float32)
        action = pilot.step(observation)
        np.testing.assert_array_equal(sampler.draw(pilot.output(0), pilot.output(1)), action)
        np.testing.assert_array_equal(pilot.output("log_prob")[:, 0], sampler.log_prob)
        np.testing.assert_array_equal(clone.step(observation), action)
        np.testing.assert_array_equal(clone.output("log_prob"), pilot.output("log_prob"))
        # Of the mode, as in the file: no action is more likely.
        plain.step(observation)
        assert (plain.output("log_prob") >= pilot.output("log_prob") - 1e-6).all()
        parameters = torch.from_numpy(pilot.output(1))
        if action_spec is CATEGORY:
            expected = torch.log_softmax(parameters, 1).gather(1, torch.from_numpy(action).long())
            at_the_mode = torch.log_softmax(parameters, 1).amax(1, keepdim=True)
        else:
            normal = torch.distributions.Normal(torch.from_numpy(pilot.output(0)), parameters.exp())
            # Before it is clipped to its bounds, as TF-Agents has it.
            expected = normal.log_prob(torch.from_numpy(sampler.own_action)).sum(1, keepdim=True)
            at_the_mode = normal.log_prob(normal.mean).sum(1, keepdim=True)
        np.testing.assert_allclose(pilot.output("log_prob"), expected, atol=1e-4)
        np.testing.assert_allclose(plain.output("log_prob"), at_the_mode, atol=1e-5)


def test_without_a_seed_the_mean_flies_and_the_self_test_never_draws(files):
    path = files / "gaussian.ganglion"
    plain, drawing = ganglion.load(path, batch=1), ganglion.load(path, batch=1, sample_seed=1)
    observation = np.ones(3, np.float32)
    action = plain.step(observation)
    np.testing.assert_array_equal(action, plain.output("mean"))
    assert not np.array_equal(drawing.step(observation), drawing.output("mean"))
    assert drawing.self_test().ok and drawing.self_test().steps > 0


def test_a_clone_goes_on_where_its_origin_stands(files):
    pilot = ganglion.load(files / "gaussian.onnx", batch=1, sample_seed=1)
    pilot.step(np.zeros(3, np.float32))
    clone = pilot.clone()
    for _ in range(3):
        np.testing.assert_array_equal(pilot.step(np.ones(3, np.float32)), clone.step(np.ones(3, np.float32)))


@pytest.mark.parametrize("suffix", ["ganglion", "onnx", "pt"])
def test_what_was_executed_counts_in_the_next_step(files, suffix):
    pilot = ganglion.load(files / f"gaussian.{suffix}", batch=2)
    observation = np.ones((2, 3), np.float32)
    pilot.step(observation)
    unchanged = pilot.clone().step(observation)
    executed = np.array([[0.5, -0.5], [0.0, 1.0]], np.float32)
    pilot.set_applied_action(executed)
    np.testing.assert_array_equal(pilot.state(), executed)
    assert np.abs(pilot.step(observation) - unchanged).max() > 1e-3


def test_refusals(files):
    gaussian, categorical = (ganglion.load(files / f"{name}.ganglion") for name in ("gaussian", "categorical"))
    with pytest.raises(ganglion.GanglionError, match="no state slot 'prev_action'"):
        categorical.set_applied_action([0.0])
    with pytest.raises(ganglion.StepError, match="shape"):
        gaussian.set_applied_action(np.zeros(3, np.float32))
    with pytest.raises(ganglion.StepError, match="NaN"):
        gaussian.set_applied_action(np.array([0.0, np.nan], np.float32))
    for seed in (-1, 2**64):
        with pytest.raises(ValueError, match="sample_seed"):
            ganglion.load(files / "gaussian.ganglion", sample_seed=seed)
    plain = files.parent / "plain.ganglion"
    ganglion.export(GRUPolicy(SPEC, 4, 1), plain)
    with pytest.raises(ganglion.GanglionError, match="neither mean and log_std nor an index and logits"):
        ganglion.load(plain, sample_seed=1)


def test_known_answers_and_quantiles():
    assert [hex(word) for word in philox([0] * 4, [0] * 2)] == ["0x6627e8d5", "0xe169c58d", "0xbc57ac4c", "0x9b00dbd8"]
    answer = philox([0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], [0xA4093822, 0x299F31D0])
    assert [hex(word) for word in answer] == ["0xd16cfe09", "0x94fdcceb", "0x5001e420", "0x24126ea1"]
    bits = np.concatenate(([0, 2**32 - 1], np.random.default_rng(0).integers(0, 2**32, 20_000)))
    quantile = (bits + 0.5) * 2.0**-32
    np.testing.assert_allclose(standard_normal(bits), ndtri(quantile), rtol=0, atol=1e-14)
    np.testing.assert_allclose(standard_gumbel(bits), -np.log(-np.log(quantile)), rtol=0, atol=1e-13)


def test_no_step_has_the_noise_of_another_one_beyond_32_bits_neither():
    # The same numbers stand in tests/cpp/sampling_test.cpp.
    assert noise_counter(7, 2, 3, 1).tolist() == [7, 2, 3, 1]
    assert noise_counter(0xFFFFFFFF, 2, 3, 1).tolist() == [0xFFFFFFFF, 2, 3, 1]
    assert noise_counter(2**32, 2, 3, 1).tolist() == [0, 2, 0x01000003, 1]
    assert noise_counter((0x2A5FF << 32) + 9, 2, 0xFFFFFF, 0x3FFFFF).tolist() == [9, 2, 0xFFFFFFFF, 0xA97FFFFF]


def test_the_kind_of_distribution_is_read_from_the_outputs():
    def contract(*outputs):
        return Contract((TensorSpec("obs", 1),), tuple(TensorSpec(*output) for output in outputs))

    assert contract(("mean", 2), ("log_std", 2)).distribution == "gaussian"
    assert contract(("mean", 2), ("log_std", 1)).distribution is None
    assert contract(("actions", 1), ("logits", 4)).distribution == "categorical"
    assert contract(("actions", 2)).distribution is None
