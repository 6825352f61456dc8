"""Recurrent cores of ours beside other people's implementations of them, with the same weights.

Each function returns a core and what maps a run `[time, inputs]` from the initial state to features `[time, outputs]`
by the other implementation; it skips the test where that is not installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import memorax_cells
import numpy as np
import pytest
import torch

from ganglion.policies import LRU, S5, CfC, DecoderLayer, MinGRU, MinLSTM

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from ganglion.policies import Core

    Pair = tuple[Core, Callable[[Tensor], Tensor]]


def copied(parameter: Tensor, values: Tensor) -> None:
    """Gives a parameter other values."""
    with torch.no_grad():
        parameter.copy_(values)


def min_gru(size: int = 5) -> Pair:
    """minGRU of minGRU-pytorch, step by step."""
    theirs = pytest.importorskip("minGRU_pytorch").minGRU(size)
    ours = MinGRU(size, size)
    copied(ours.linear.weight, theirs.to_hidden_and_gate.weight)
    copied(ours.linear.bias, torch.zeros(2 * size))

    def run(x: Tensor) -> Tensor:
        hidden, found = None, []
        for frame in x:
            feature, hidden = theirs(frame[None, None], hidden, return_next_prev_hidden=True)
            found.append(feature[0, 0])
        return torch.stack(found)

    return ours, run


def min_lstm(inputs: int = 3, units: int = 4) -> Pair:
    """The formula of the paper, in float64."""
    core = MinLSTM(inputs, units)
    rows = np.split(core.linear.weight.detach().numpy().astype(np.float64), 3)
    biases = np.split(core.linear.bias.detach().numpy().astype(np.float64), 3)

    def run(x: Tensor) -> Tensor:
        h, found = np.zeros(units), []
        for frame in x.numpy().astype(np.float64):
            c, f, i = (w @ frame + b for w, b in zip(rows, biases, strict=True))
            f, i = 1 / (1 + np.exp(-f)), 1 / (1 + np.exp(-i))
            h = f / (f + i) * h + i / (f + i) * np.where(c >= 0, c + 0.5, 1 / (1 + np.exp(-c)))
            found.append(h)
        return torch.from_numpy(np.stack(found))

    return core, run


def lru(inputs: int = 5, units: int = 7) -> Pair:
    """LRU of memorax, over the whole run."""
    memoroid, cells = memorax_cells.load("memoroid", "lru")
    theirs = memoroid.Memoroid(cells.LRUCell(features=inputs, hidden_dim=units))
    parameters, ours = _initialised(theirs, inputs), LRU(inputs, units)
    ours.load_state_dict({name.replace("_imag", "_imaginary"): value for name, value in _torch_of(parameters).items()})
    return ours, _memorax(theirs, parameters)


def s5(inputs: int = 6, states: int = 8) -> Pair:
    """S5 of s5-pytorch, over the whole run."""
    theirs = pytest.importorskip("s5").S5(inputs, states).seq
    ours = S5(inputs, states)
    entering, leaving = theirs.get_BC_tilde()
    for name, values in (("L", theirs.Lambda), ("B", entering), ("C", leaving / 2.0)):
        copied(getattr(ours, f"{name}_real"), values.real)
        copied(getattr(ours, f"{name}_imaginary"), values.imag)
    copied(ours.D, theirs.D)
    copied(ours.log_step, theirs.log_step.reshape(-1))
    return ours, theirs


def cfc(mode: str = "default", activation: str = "lecun_tanh", layers: int = 1, timespan: float = 0.7) -> Pair:
    """CfCCell of ncps, step by step."""
    theirs = pytest.importorskip("ncps.torch").CfCCell(3, 5, mode, activation, 7, layers or 1)
    ours = CfC(3, 5, mode, 7, layers or 1, activation, timespan=timespan)
    ours.load_state_dict(theirs.state_dict())

    def run(x: Tensor) -> Tensor:
        h, found = torch.zeros(1, 5), []
        for frame in x:
            feature, h = theirs(frame[None], h, timespan)
            found.append(feature[0])
        return torch.stack(found)

    return ours, run


def decoder(size: int = 8, heads: int = 2, window: int = 5) -> Pair:
    """TransformerEncoderLayer of PyTorch under a band of the window, over the whole run."""
    theirs = torch.nn.TransformerEncoderLayer(size, heads, 12, dropout=0.0, norm_first=True, batch_first=False).eval()
    ours = DecoderLayer(size, heads, window, 12)
    torch.nn.init.normal_(ours.position_bias)
    names = {
        name: name.replace("self_attn.in_proj_", "in_proj.").replace("self_attn.", "") for name in theirs.state_dict()
    }
    weights = {names[name]: value for name, value in theirs.state_dict().items()}
    ours.load_state_dict({**weights, "position_bias": ours.position_bias})

    def run(x: Tensor) -> Tensor:
        age = torch.arange(len(x))[:, None] - torch.arange(len(x))
        bias = ours.position_bias.flip(1)[:, age.clamp(0, window - 1)]
        return theirs(x[:, None], torch.where((age >= 0) & (age < window), bias, -torch.inf))[:, 0]

    return ours, run


def _initialised(theirs: Any, inputs: int) -> Any:
    import jax

    return theirs.init(jax.random.key(0), np.zeros((1, 2, inputs), np.float32), np.zeros((1, 2), np.float32))


def _torch_of(parameters: Any) -> dict[str, Any]:
    import jax

    found: dict[str, Any] = jax.tree.map(lambda a: torch.tensor(np.asarray(a)), parameters["params"]["cell"])
    return found


def _memorax(theirs: Any, parameters: Any) -> Callable[[Tensor], Tensor]:
    def run(x: Tensor) -> Tensor:
        # JAX compiles for every length: there are few.
        frames = np.zeros((1, 256 * -(-len(x) // 256), x.shape[1]), np.float32)
        frames[0, : len(x)] = x.numpy()
        _, found = theirs.apply(parameters, frames, np.zeros(frames.shape[:2], np.float32))
        return torch.from_numpy(np.array(found))[0, : len(x)]

    return run
