"""Neural field policies and their convolution, beyond recorded numbers."""

from __future__ import annotations

import math
import multiprocessing
import pickle
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from ganglion.contract import StateSlot
from ganglion.policies.pyrado.neural_field import MirrConv1d, NFPolicy

if TYPE_CHECKING:
    from ganglion.data.env_spec import EnvSpec

MODES = ["circular", "reflect", "zeros"]
every_mode = pytest.mark.parametrize("mode", MODES)
mirrored_or_full = pytest.mark.parametrize("mirrored", [True, False])


def field(spec: EnvSpec, hidden_size: int = 6, **kwargs) -> NFPolicy:
    return NFPolicy(spec, hidden_size, **({"kappa_init": 0.01} | kwargs))


def neighbour(index: int, size: int, mode: str) -> int | None:
    """Index of the neuron that stands at a place beyond the first or the last one."""
    if 0 <= index < size:
        return index
    if mode == "circular":
        return index % size
    return (-index if index < 0 else 2 * (size - 1) - index) if mode == "reflect" else None


# --- the convolution ---


@pytest.mark.parametrize(("kernel", "full"), [(1, "a"), (2, "aa"), (3, "aba"), (4, "abba"), (5, "abcba")])
def test_kernel_is_mirrored(kernel: int, full: str) -> None:
    layer = MirrConv1d(1, 2, kernel)
    assert layer.weight.shape == (2, 1, math.ceil(kernel / 2))
    assert layer.bias is None
    order = ["abc".index(letter) for letter in full]
    assert torch.equal(layer.full_weight, layer.weight[..., order])


@every_mode
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_mirrored_convolution_is_the_plain_one_with_the_whole_kernel(mode: str, kernel: int) -> None:
    mirrored = MirrConv1d(2, 3, kernel, padding=kernel // 2, padding_mode=mode, bias=True)
    plain = nn.Conv1d(2, 3, kernel, padding=kernel // 2, padding_mode=mode)
    plain.load_state_dict({"weight": mirrored.full_weight, "bias": mirrored.bias})
    x = torch.randn(4, 2, 7)
    torch.testing.assert_close(mirrored(x), plain(x))


def test_kernel_is_drawn_for_its_half() -> None:
    layer = MirrConv1d(1, 5000, 5)
    bound = 1.0 / math.sqrt(3)
    assert 0.99 * bound < layer.weight.abs().max() <= bound


# --- construction ---


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("neurons", "kernel"), [(2, 3), (6, 7), (7, 7)])
def test_default_kernel_spans_all_neurons(spec: EnvSpec, neurons: int, kernel: int) -> None:
    assert field(spec, neurons).conv_layer.kernel_size == (kernel,)


def test_even_kernels_are_made_odd_with_a_warning(spec: EnvSpec) -> None:
    with pytest.warns(UserWarning, match="conv_kernel_size 4 is even; 5 is used") as caught:
        assert field(spec, conv_kernel_size=4).conv_layer.kernel_size == (5,)
    assert len(caught) == 1


def test_default_warns_of_its_learnable_kappa(spec: EnvSpec) -> None:
    with pytest.warns(UserWarning, match="NFPolicy: a learnable kappa") as caught:
        NFPolicy(spec, 6)
    assert len(caught) == 1


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"hidden_size": True}, TypeError, "hidden_size must be an int, not True"),
        ({"conv_kernel_size": 3.0}, TypeError, "conv_kernel_size must be an int"),
        ({"conv_kernel_size": 0}, ValueError, "conv_kernel_size must be at least 1, not 0"),
        ({"conv_out_channels": 0}, ValueError, "conv_out_channels must be at least 1, not 0"),
        ({"activation_nonlin": ["tanh"] * 5}, ValueError, "5 nonlinearities for 6 elements"),
        ({"init_param_kwargs": {"sigmoid_nlin": True}}, TypeError, "sigmoid_nlin"),
    ],
)
def test_wrong_arguments(spec: EnvSpec, kwargs: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        field(spec, **kwargs)


@pytest.mark.parametrize(("mode", "longest"), [("circular", 9), ("reflect", 7)])
def test_longest_kernel_of_each_padding(spec: EnvSpec, mode: str, longest: int) -> None:
    field(spec, 4, conv_kernel_size=longest, conv_padding_mode=mode)(torch.zeros(4))
    with pytest.raises(ValueError, match=f"{mode} padding of 4 neurons gives at most {longest // 2}"):
        field(spec, 4, conv_kernel_size=longest + 2, conv_padding_mode=mode)
    field(spec, 4, conv_kernel_size=longest + 2, conv_padding_mode="zeros")(torch.zeros(4))


def test_start_method_of_processes_stays(spec: EnvSpec) -> None:
    before = multiprocessing.get_start_method(allow_none=True)
    field(spec)
    assert multiprocessing.get_start_method(allow_none=True) == before


# --- one step ---


@every_mode
@mirrored_or_full
def test_one_step_is_the_formula(spec: EnvSpec, mode: str, mirrored: bool) -> None:
    policy = field(
        spec, 7, conv_padding_mode=mode, mirrored_conv_weights=mirrored, conv_kernel_size=5, conv_out_channels=2
    )
    obs, p = torch.randn(3, 4), 4.0 * torch.randn(3, 7)
    scale, offset = policy.pot_to_activ.weight, policy.pot_to_activ.bias
    weight = policy.conv_layer.full_weight if mirrored else policy.conv_layer.weight
    activations = torch.sigmoid(scale * (p + offset))
    internal = torch.zeros(3, 7)
    for neuron in range(7):
        for tap in range(5):
            other = neighbour(neuron + tap - 2, 7, mode)
            if other is not None:
                internal[:, neuron] += weight[:, 0, tap].sum() * activations[:, other]
    e = policy.resting_level - p
    expected = p + (policy.obs_layer(obs) + internal + e + policy.kappa * e**3) / policy.tau
    action, potentials = policy(obs, p)
    torch.testing.assert_close(potentials, expected)
    torch.testing.assert_close(policy.stimuli_internal, internal.detach())
    torch.testing.assert_close(action, torch.sigmoid(scale * (expected + offset)) @ policy.act_layer.weight.T)


def test_reflection_is_real_with_a_mirrored_kernel(spec: EnvSpec) -> None:
    reflect, zeros = (field(spec, 9, conv_kernel_size=5, conv_padding_mode=mode) for mode in ("reflect", "zeros"))
    zeros.load_state_dict(reflect.state_dict())
    obs = torch.randn(4)
    difference = (reflect(obs)[1] - zeros(obs)[1]).abs()
    assert difference[[0, 1, 7, 8]].min() > 0.0
    assert difference[2:7].max() == 0.0


@pytest.mark.parametrize("batch", [0, 1, 3])
def test_shapes_follow_the_observation(spec: EnvSpec, batch: int) -> None:
    policy = field(spec)
    assert policy.state_layout == (StateSlot("potentials", (6,)),)
    assert [tuple(result.shape) for result in policy(torch.randn(batch, 4))] == [(batch, 2), (batch, 6)]
    assert policy.stimuli_external.shape == policy.stimuli_internal.shape == (batch, 6)
    assert [tuple(result.shape) for result in policy(torch.randn(4))] == [(2,), (6,)]
    assert policy.stimuli_external.shape == policy.stimuli_internal.shape == (6,)


def test_wrong_shapes_name_both(spec: EnvSpec) -> None:
    policy = field(spec)
    with pytest.raises(ValueError, match=r"obs has shape \(3, 5\); expected \(3, 4\)"):
        policy(torch.zeros(3, 5))
    with pytest.raises(ValueError, match=r"hidden has shape \(3, 7\).*\(3, 6\)"):
        policy(torch.zeros(3, 4), torch.zeros(3, 7))
    with pytest.raises(ValueError, match=r"external stimuli has shape \(1, 1\); expected \(1, 6\)"):
        field(spec, obs_layer=nn.Linear(4, 1))(torch.zeros(4))


@mirrored_or_full
def test_policies_can_be_pickled(spec: EnvSpec, mirrored: bool) -> None:
    policy = field(spec, mirrored_conv_weights=mirrored)
    obs = torch.randn(4)
    assert torch.equal(pickle.loads(pickle.dumps(policy))(obs)[0], policy(obs)[0])


# --- parameters ---


@mirrored_or_full
def test_init_param_draws_everything_anew(spec: EnvSpec, mirrored: bool) -> None:
    policy = field(spec, mirrored_conv_weights=mirrored)
    before = {name: param.clone() for name, param in policy.named_parameters()}
    policy.init_param(None)
    for name, param in policy.named_parameters():
        assert (param != before[name]).all() or name in ("_log_tau", "_log_kappa")


@mirrored_or_full
def test_bell(spec: EnvSpec, mirrored: bool) -> None:
    policy = field(spec, conv_kernel_size=5, conv_out_channels=4, mirrored_conv_weights=mirrored)
    policy.init_param(None, bell=True)
    kernel = policy.conv_layer.full_weight if mirrored else policy.conv_layer.weight
    assert torch.equal(kernel, kernel.flip(-1))
    heights = kernel[:, :, 2]  # 2 a (1 - 1/2)
    assert ((heights >= 0.0) & (heights < 1.0)).all()
    assert len(set(heights.flatten().tolist())) == 4
    shape = torch.tensor([2.0 * (math.exp(-((length / 1.5) ** 2)) - 0.5) for length in (3.0, 1.5, 0.0, 1.5, 3.0)])
    torch.testing.assert_close(kernel, heights.unsqueeze(-1) * shape.expand(4, 1, 5))


def test_kappa_of_zero_is_no_cubic_term(spec: EnvSpec) -> None:
    policy = field(spec, kappa_init=0.0, kappa_learnable=False)
    p, s = 5.0 * torch.randn(3, 6), torch.randn(3, 6)
    torch.testing.assert_close(policy.potentials_dot(p, s), (s + policy.resting_level - p) / policy.tau)


# --- gradients ---


@every_mode
@mirrored_or_full
def test_gradient_through_time_agrees_with_finite_differences(spec: EnvSpec, mode: str, mirrored: bool) -> None:
    policy = field(
        spec,
        5,
        activation_nonlin=["tanh", "sigmoid", "tanh", "softplus", "tanh"],
        conv_kernel_size=3,
        conv_out_channels=2,
        conv_padding_mode=mode,
        mirrored_conv_weights=mirrored,
        tau_init=3.0,
        kappa_init=0.05,
        potential_init_learnable=True,
    ).double()
    observations = torch.randn(5, 4, dtype=torch.float64)

    def outputs(*_: torch.Tensor) -> torch.Tensor:
        out = policy.evaluate({"observations": observations, "lengths": [3, 2]})
        assert isinstance(out, torch.Tensor)
        return out

    assert torch.autograd.gradcheck(outputs, tuple(policy.parameters()))


def test_learnable_kappa_of_zero_stays_there(spec: EnvSpec) -> None:
    with pytest.warns(UserWarning, match="kappa"):
        policy = NFPolicy(spec, 6)
    policy.evaluate({"observations": torch.randn(5, 4), "lengths": [5]}).sum().backward()
    assert policy._log_kappa.grad.tolist() == [0.0]
    assert all(param.grad.isfinite().all() for param in policy.parameters())
