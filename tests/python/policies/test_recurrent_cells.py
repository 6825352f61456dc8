"""Recurrent cores against other people's implementations or a slow formula, and each sequence against its steps."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings

from ganglion.policies import LRU, S5, CfC, DecoderLayer, MinGRU, MinLSTM
from ganglion.policies.cells.scan import scan

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


def copied(parameter, values):
    with torch.no_grad():
        parameter.copy_(values)


@pytest.mark.parametrize("name", CORES)
@few
@given(length=st.integers(1, 33), rows=st.integers(1, 3), seed=st.integers(0, 1000))
def test_a_sequence_is_its_steps(name, length, rows, seed):
    torch.manual_seed(seed)
    core = CORES[name]().double()
    assert core.output_size == core(torch.zeros(1, 3, dtype=torch.float64), drawn(core, 1))[0].shape[1]
    x, state = 3.0 * torch.randn(length, rows, 3, dtype=torch.float64), drawn(core, rows)
    (found, end), (expected, last) = core.sequence(x, state), steps(core, x, state)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(end, last, rtol=1e-9, atol=1e-9)


@few
@given(length=st.integers(1, 70), is_complex=st.booleans(), seed=st.integers(0, 1000))
def test_scan(length, is_complex, seed):
    torch.manual_seed(seed)
    kind = torch.complex128 if is_complex else torch.float64
    factor, term, first = (torch.randn(*shape, dtype=kind) for shape in ((length, 1, 3), (length, 2, 3), (2, 3)))
    h, expected = first, []
    for a, b in zip(factor, term, strict=True):
        h = a * h + b
        expected.append(h)
    torch.testing.assert_close(scan(factor, term, first), torch.stack(expected), rtol=1e-9, atol=1e-9)


def test_min_gru_is_that_of_minGRU_pytorch():
    theirs = pytest.importorskip("minGRU_pytorch").minGRU(5)
    ours = MinGRU(5, 5)
    copied(ours.linear.weight, theirs.to_hidden_and_gate.weight)
    copied(ours.linear.bias, torch.zeros(10))
    x = 2.0 * torch.randn(40, 3, 5)
    with torch.no_grad():
        whole, _ = ours.sequence(x, (torch.zeros(3, 5),))
        torch.testing.assert_close(whole.transpose(0, 1), theirs(x.transpose(0, 1)), rtol=1e-4, atol=1e-5)
        hidden, state = None, (torch.zeros(3, 5),)
        for frame in x:
            expected, hidden = theirs(frame[:, None], hidden, return_next_prev_hidden=True)
            found, state = ours(frame, state)
            torch.testing.assert_close(found, expected[:, 0], rtol=1e-5, atol=1e-6)


def test_min_lstm_by_hand():
    core = MinLSTM(3, 4).double()
    candidate, forget, enter = np.split(core.linear.weight.detach().numpy(), 3)
    biases = np.split(core.linear.bias.detach().numpy(), 3)
    x = 5.0 * np.random.default_rng(0).normal(size=(30, 3))
    h, state = np.full(4, 0.7), (torch.full((1, 4), 0.7, dtype=torch.float64),)
    for frame in x:
        c, f, i = (w @ frame + b for w, b in zip((candidate, forget, enter), biases, strict=True))
        f, i = 1 / (1 + np.exp(-f)), 1 / (1 + np.exp(-i))
        h = f / (f + i) * h + i / (f + i) * np.where(c >= 0, c + 0.5, 1 / (1 + np.exp(-c)))
        found, state = core(torch.from_numpy(frame)[None], state)
        np.testing.assert_allclose(found[0].detach().numpy(), h, rtol=1e-12)


def test_gates_that_are_both_shut_are_no_nan():
    core = MinLSTM(1, 1)
    copied(core.linear.weight, torch.tensor([[1.0], [-300.0], [-300.0]]))
    copied(core.linear.bias, torch.zeros(3))
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


def test_s5_is_that_of_s5_pytorch():
    theirs = pytest.importorskip("s5").S5(6, 8).seq
    ours = S5(6, 8)
    entering, leaving = theirs.get_BC_tilde()
    for name, values in (
        ("L", theirs.Lambda),
        ("B", entering),
        ("C", leaving / 2.0),
    ):
        copied(getattr(ours, f"{name}_real"), values.real)
        copied(getattr(ours, f"{name}_imaginary"), values.imag)
    copied(ours.D, theirs.D)
    copied(ours.log_step, theirs.log_step.reshape(-1))
    x = torch.randn(50, 1, 6)
    with torch.no_grad():
        expected = theirs(x[:, 0])
        state = tuple(part[None] for part in ours.initial_state())
        torch.testing.assert_close(ours.sequence(x, state)[0][:, 0], expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(steps(ours, x, state)[0][:, 0], expected, rtol=1e-4, atol=1e-5)


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
    cells = pytest.importorskip("ncps.torch")
    theirs = cells.CfCCell(3, 5, mode, activation, 7, layers or 1)
    ours = CfC(3, 5, mode, 7, layers or 1, activation, timespan=0.7)
    ours.load_state_dict(theirs.state_dict())
    h, state = torch.zeros(2, 5), (torch.zeros(2, 5),)
    for frame in torch.randn(30, 2, 3):
        expected, h = theirs(frame, h, 0.7)
        found, state = ours(frame, state)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_a_decoder_layer_is_that_of_torch_under_a_band():
    torch.manual_seed(0)
    heads, window, length, rows = 2, 5, 17, 3
    theirs = torch.nn.TransformerEncoderLayer(8, heads, 12, dropout=0.0, norm_first=True, batch_first=False)
    ours = _with_positions(DecoderLayer(8, heads, window, 12))
    ours.load_state_dict(
        {
            **{name.replace("self_attn.in_proj_", "in_proj.").replace("self_attn.", ""): value
               for name, value in theirs.state_dict().items()},
            "position_bias": ours.position_bias,
        }
    )  # fmt: skip
    age = torch.arange(length)[:, None] - torch.arange(length)
    is_seen = (age >= 0) & (age < window)
    bias = ours.position_bias.flip(1)[:, age.clamp(0, window - 1)]
    mask = torch.where(is_seen, bias, -torch.inf).repeat(rows, 1, 1)
    x = torch.randn(length, rows, 8)
    with torch.no_grad():
        expected = theirs(x, mask)
        state = tuple(part.repeat(rows, 1) for part in ours.initial_state())
        torch.testing.assert_close(ours.sequence(x, state)[0], expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(steps(ours, x, state)[0], expected, rtol=1e-5, atol=1e-5)


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
