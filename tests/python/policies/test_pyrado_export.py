"""Two-headed, ADN and neural field policies as files of every target: the same numbers over a run with resets."""

from __future__ import annotations

import re
import warnings

import gymnasium
import numpy as np
import onnxruntime
import pytest
import torch
from header_bits import check_together
from torch import nn

import ganglion
from ganglion.compiler.session import run_step
from ganglion.contract import StateSlot
from ganglion.data.env_spec import EnvSpec
from ganglion.export import export
from ganglion.policies.deployable import DeployablePolicy
from ganglion.policies.normalizer import ObservationNormalizer
from ganglion.policies.pyrado.adn import ADNPolicy, pd_capacity_21, pd_capacity_32_abs, pd_cubic
from ganglion.policies.pyrado.neural_field import NFPolicy
from ganglion.policies.pyrado.two_headed import TwoHeadedGRUPolicy, TwoHeadedLSTMPolicy, TwoHeadedRNNPolicy

pytestmark = pytest.mark.deep  # exports every policy to every kind of file

STEPS, OBSERVATIONS = 300, 4
SPEC = EnvSpec(gymnasium.spaces.Box(-2.0, 2.0, (OBSERVATIONS,)), gymnasium.spaces.Box(-1.0, 1.0, (2,)))


def sinh_dynamics(p, s, h, tau, kappa, capacity):
    assert capacity is None
    return (s - kappa * torch.exp(0.1 * (p - h))) / tau


POLICIES = {
    "two-headed lstm": lambda: TwoHeadedLSTMPolicy(SPEC, 8, 2, head_2_size=3, head_2_output_nonlin=torch.tanh),
    "two-headed gru": lambda: TwoHeadedGRUPolicy(SPEC, 8, 1, head_1_size=1),
    "two-headed rnn": lambda: TwoHeadedRNNPolicy(SPEC, 8, 2, "relu"),
    "adn cubic tanh": lambda: ADNPolicy(SPEC, torch.tanh, pd_cubic),
    "adn capacity sigmoid": lambda: ADNPolicy(SPEC, torch.sigmoid, pd_capacity_21),
    "adn everything": lambda: ADNPolicy(
        SPEC,
        ["sigmoid", nn.Tanh],
        pd_capacity_32_abs,
        obs_layer=nn.Sequential(nn.Linear(OBSERVATIONS, 5), nn.ReLU(), nn.Linear(5, 2)),
        tau_learnable=False,
        capacity_learnable=False,
        potential_init_learnable=True,
    ),
    "adn own dynamics": lambda: ADNPolicy(SPEC, torch.tanh, sinh_dynamics, kappa_init=0.5),
    "nf mirrored circular": lambda: NFPolicy(SPEC, 8),
    "nf mirrored reflect": lambda: NFPolicy(SPEC, 9, conv_kernel_size=5, conv_padding_mode="reflect", kappa_init=0.01),
    "nf full zeros": lambda: NFPolicy(
        SPEC, 9, mirrored_conv_weights=False, conv_padding_mode="zeros", kappa_init=0.0, kappa_learnable=False
    ),
    "nf full reflect": lambda: NFPolicy(
        SPEC, 9, mirrored_conv_weights=False, conv_kernel_size=5, conv_padding_mode="reflect", conv_out_channels=3
    ),
    "nf deployable": lambda: DeployablePolicy(
        NFPolicy(SPEC, 6, activation_nonlin="tanh"),
        ObservationNormalizer(np.linspace(-1, 1, OBSERVATIONS), np.linspace(0.5, 2, OBSERVATIONS)),
    ),
}


def make(name):
    torch.manual_seed(len(name))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a learnable kappa that is 0
        return POLICIES[name]().eval()


def trajectory(rows):
    generator = np.random.default_rng(0)
    observations = generator.uniform(-2.0, 2.0, (STEPS, rows, OBSERVATIONS)).astype(np.float32)
    resets = generator.random((STEPS, rows)) < 0.02
    assert resets.any(axis=0).all()
    return observations, resets


@torch.no_grad()
def run_policy(policy, observations, resets):
    """All outputs and the state behind each step of the Python policy, side by side: `[steps, rows, n]`."""
    initial = policy.init_hidden(observations.shape[1])
    hidden, steps = initial, []
    for observation, reset in zip(torch.from_numpy(observations), torch.from_numpy(resets), strict=True):
        *outputs, hidden = policy(observation, torch.where(reset[:, None], initial, hidden))
        steps.append(torch.cat((*outputs, hidden), dim=1).numpy())
    return np.stack(steps)


def run_functional(step, contract, observations, resets):
    initial = np.tile(np.float32(contract.initial_state), (observations.shape[1], 1))
    hidden, steps = initial, []
    for observation, reset in zip(observations, resets, strict=True):
        *outputs, hidden = step(observation, np.where(reset[:, None], initial, hidden))
        steps.append(np.concatenate((*outputs, hidden), axis=1))
    return np.stack(steps)


def run_torchscript(path, contract, observations, resets):
    module = torch.jit.load(path)
    return run_functional(
        lambda *tensors: [tensor.numpy() for tensor in module.step(*map(torch.from_numpy, tensors))],
        contract,
        observations,
        resets,
    )


def run_onnx(path, contract, observations, resets):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return run_functional(lambda *arrays: run_step(session, contract, *arrays), contract, observations, resets)


def run_native(path, contract, observations, resets):
    pilot, steps = ganglion.load(path), []
    for observation, reset in zip(observations, resets, strict=True):
        pilot.reset(reset)
        pilot.step(observation)
        outputs = [np.atleast_2d(pilot.output(spec.name)) for spec in contract.outputs]
        steps.append(np.concatenate((*outputs, np.atleast_2d(pilot.state())), axis=1))
    return np.stack(steps)


ENGINES = {".pt": run_torchscript, ".onnx": run_onnx, ".ganglion": run_native}


@pytest.mark.sampled(6)
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("suffix", ENGINES)
@pytest.mark.parametrize("name", POLICIES)
def test_files_are_the_policy(tmp_path, name, suffix, rows):
    policy = make(name)
    path = tmp_path / f"policy{suffix}"
    contract = export(policy, path, batch=rows)
    observations, resets = trajectory(rows)
    found = ENGINES[suffix](str(path), contract, observations, resets)
    assert np.abs(found - run_policy(policy, observations, resets)).max() < 1e-5
    assert contract.state == policy.state_layout
    assert [spec.name for spec in contract.outputs] == [spec.name for spec in policy.output_specs]


@pytest.mark.whole
def test_the_headers_give_the_bits_of_the_engine(tmp_path):
    check_together({name: make(name) for name in POLICIES}, tmp_path)


def test_torchscript_that_keeps_its_state(tmp_path):
    policy = make("adn capacity sigmoid")
    export(policy, tmp_path / "policy.pt")
    module = torch.jit.load(tmp_path / "policy.pt")
    observations, resets = trajectory(1)
    expected = run_policy(policy, observations, resets)[:, 0, :2]
    for observation, reset, action in zip(observations[:, 0], resets[:, 0], expected, strict=True):
        if reset:
            module.reset()
        np.testing.assert_allclose(module(torch.from_numpy(observation)).numpy(), action, rtol=0.0, atol=1e-5)


def test_names_and_initial_potentials_of_the_files(tmp_path):
    adn = export(make("adn capacity sigmoid"), tmp_path / "adn.onnx")
    assert adn.state == (StateSlot("potentials", (2,)),)
    assert adn.initial_state == (-7.0, -7.0)
    export(make("two-headed lstm"), tmp_path / "heads.onnx")
    names = {
        path.stem: [tensor.name for tensor in onnxruntime.InferenceSession(str(path)).get_outputs()]
        for path in tmp_path.glob("*.onnx")
    }
    assert names == {"adn": ["actions", "potentials_out"], "heads": ["head_1", "head_2", "h_out", "c_out"]}


@pytest.mark.parametrize("name", ["adn cubic tanh", "nf mirrored circular"])
def test_recorded_stimuli_stay_out_of_the_files(tmp_path, name):
    policy = make(name)
    policy(torch.rand(OBSERVATIONS))
    external, internal = policy.stimuli_external, policy.stimuli_internal
    for path in (tmp_path / "policy.pt", tmp_path / "policy.onnx", tmp_path / "policy.ganglion"):
        export(policy, path)
        # TorchScript writes the attributes of a module as "name : type"; a local variable has no type.
        assert not re.search(rb"stimuli\w* : ", path.read_bytes())
    # And a step of the export is no step of the policy.
    assert policy.stimuli_external is external
    assert policy.stimuli_internal is internal


@pytest.mark.filterwarnings("error::UserWarning")  # torch.export warns of attributes that a step assigns
def test_stimuli_are_not_recorded_while_a_graph_is():
    policy = make("adn cubic tanh")
    policy(torch.rand(OBSERVATIONS))
    external = policy.stimuli_external
    torch.jit.trace(policy, (torch.rand(3, OBSERVATIONS), torch.rand(3, 2)), check_trace=False)
    torch.export.export(policy, (torch.rand(3, OBSERVATIONS), torch.rand(3, 2)), strict=False)
    assert policy.stimuli_external is external
