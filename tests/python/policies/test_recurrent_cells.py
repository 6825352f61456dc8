"""Recurrent cores against other people's implementations or a slow formula, and each sequence against its steps."""

from __future__ import annotations

import core_references
import numpy as np
import pytest
import torch
from hypothesis import settings

from ganglion.policies import LRU, S5, CfC, DecoderLayer, MinGRU, MinLSTM

few = settings(max_examples=40, deadline=None)
CORES = {
    "MinGRU": lambda: MinGRU(3, 4),
    "MinGRU linear": lambda: MinGRU(3, 4, positive=False),
    "MinLSTM": lambda: MinLSTM(3, 4),
    "LRU": lambda: LRU(3, 5),
    "S5": lambda: S5(3, 5),
    "CfC": lambda: CfC(3, 4, backbone_units=6),
    "decoder": lambda: _with_positions(DecoderLayer(3, 1, 4)),
    "decoder of one step": lambda: DecoderLayer(3, 3, 1),
    "gated decoder": lambda: _with_positions(DecoderLayer(3, 3, 6, 5, gated=True)),
    "CfC pure": lambda: CfC(3, 4, "pure", backbone_layers=0),
}


def _with_positions(layer):
    torch.nn.init.normal_(layer.position_bias)
    return layer


def drawn(core, rows):
    """Any state, and not the one that an episode begins with."""
    state = {slot.name: torch.rand(rows, slot.size, dtype=torch.float64) for slot in core.state_layout}
    if "seen" in state:
        state["seen"] = torch.floor(state["seen"] * core.window)
    return tuple(state.values())


def steps(core, x, state):
    features = []
    for frame in x:
        feature, state = core(frame, state)
        features.append(feature)
    return torch.stack(features), state


REFERENCES = {
    "minGRU-pytorch": core_references.min_gru,
    "the formula of minLSTM": core_references.min_lstm,
    "memorax": core_references.lru,
    "s5-pytorch": core_references.s5,
    "torch, under a band": core_references.decoder,
}


def sameness(core, run, length=50):
    """Steps and the sequence of a core are what another implementation makes of the run."""
    x = 2.0 * torch.randn(length, core.input_size)
    with torch.no_grad():
        expected = run(x).float()
        state = tuple(part[None] for part in core.initial_state())
        torch.testing.assert_close(steps(core, x[:, None], state)[0][:, 0], expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(core.sequence(x[:, None], state)[0][:, 0], expected, rtol=1e-5, atol=1e-5)


DEEP = {"memorax"}  # JAX compiles


@pytest.mark.sampled(1)
@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.deep] * (name in DEEP)) for name in REFERENCES])
def test_a_core_is_that_of(name):
    torch.manual_seed(0)
    sameness(*REFERENCES[name]())


def test_gates_that_are_both_shut_are_no_nan():
    core = MinLSTM(1, 1)
    core_references.copied(core.linear.weight, torch.tensor([[1.0], [-300.0], [-300.0]]))
    core_references.copied(core.linear.bias, torch.zeros(3))
    found, _ = core(torch.ones(1, 1), (torch.zeros(1, 1),))
    torch.testing.assert_close(found, torch.tensor([[0.75]]))


def test_lru_by_hand():
    core = LRU(3, 5).double()
    p = {name: value.detach().numpy() for name, value in core.named_parameters()}
    a = np.exp(-np.exp(p["nu_log"]) + 1j * np.exp(p["theta_log"]))
    assert (np.abs(a) < 0.99).all() and np.allclose(np.exp(p["gamma_log"]), np.sqrt(1 - np.abs(a) ** 2))
    h, state = np.zeros(5, complex), tuple(part[None].double() for part in core.initial_state())
    for frame in np.random.default_rng(0).normal(size=(30, 3)):
        h = a * h + np.exp(p["gamma_log"]) * ((p["B_real"] + 1j * p["B_imaginary"]) @ frame)
        y = ((p["C_real"] + 1j * p["C_imaginary"]) @ h).real + p["D"] * frame
        found, state = core(torch.from_numpy(frame)[None], state)
        np.testing.assert_allclose(found[0].detach().numpy(), y, rtol=1e-9, atol=1e-12)


def test_the_spectrum_of_s5_is_that_of_s5_pytorch():
    init = pytest.importorskip("s5.init")
    spectrum = np.sort_complex(init.make_DPLR_HiPPO(16)[0])
    core = S5(3, 8)
    ours = torch.complex(core.L_real, core.L_imaginary).detach().numpy()
    np.testing.assert_allclose(np.sort(ours.imag), np.sort(spectrum.imag)[:8], rtol=1e-5)
    np.testing.assert_allclose(ours.real, -0.5, rtol=1e-5)


@pytest.mark.parametrize("mode", ["default", "pure", "no_gate"])
@pytest.mark.parametrize(
    ("activation", "layers"), [("lecun_tanh", 1), ("silu", 2), ("relu", 1), ("gelu", 3), ("tanh", 0)]
)
def test_cfc_is_that_of_ncps(mode, activation, layers):
    sameness(*core_references.cfc(mode, activation, layers))


def test_the_gates_of_a_decoder_by_hand():
    layer = DecoderLayer(3, 1, 2, gated=True).double()
    gate = layer.gate1
    x, y = np.random.default_rng(0).normal(size=(2, 3))
    reset_y, update_y, candidate_y = np.split(gate.of_y.weight.detach().numpy() @ y, 3)
    reset_x, update_x = np.split(gate.of_x.weight.detach().numpy() @ x, 2)
    r, z = 1 / (1 + np.exp(-reset_y - reset_x)), 1 / (1 + np.exp(2.0 - update_y - update_x))
    h = np.tanh(candidate_y + gate.of_reset.weight.detach().numpy() @ (r * x))
    found = gate(torch.from_numpy(x)[None], torch.from_numpy(y)[None])
    np.testing.assert_allclose(found[0].detach().numpy(), (1 - z) * x + z * h, rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LRU(3, 4, 0.9, 0.5), "0 <= smallest < largest < 1"),
        (lambda: S5(3, 4, 0.1, 0.1), "0 < smallest_step < largest_step"),
        (lambda: DecoderLayer(6, 4, 3), "multiple of num_heads, not 3, 6 and 4"),
        (lambda: DecoderLayer(6, 2, 0), "window of at least 1"),
        (lambda: CfC(3, 4, "gated"), "mode must be one of default, pure, no_gate, not 'gated'"),
        (lambda: CfC(3, 4, backbone_activation="elu"), "backbone_activation must be one of lecun_tanh"),
    ],
)
def test_arguments_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()
