"""Recurrent layers as exactly one ONNX `LSTM`, `GRU` or `RNN` node per layer, whatever the exporter would make of them.

How exporters translate `torch.nn.LSTM` and its sisters changed between versions: some unroll them, some lose
`linear_before_reset` of GRU. The layers are therefore replaced by operators of our own, whose translation stands here.
Gate order and attributes: ONNX operator documentation, LSTM, GRU and RNN, opset 14.
"""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ganglion.policies.scripting.cells import SingleStepLayers, convert_all

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ganglion.policies.scripting.cells import Layer

_LIBRARY = torch.library.Library("ganglion", "DEF")
_WEIGHTS = "Tensor w, Tensor r, Tensor b"
_LIBRARY.define(f"lstm_step(Tensor x, {_WEIGHTS}, Tensor h, Tensor c) -> (Tensor, Tensor)")
_LIBRARY.define(f"gru_step(Tensor x, {_WEIGHTS}, Tensor h) -> Tensor")
_LIBRARY.define(f"rnn_step(Tensor x, {_WEIGHTS}, Tensor h, str activation) -> Tensor")


# The operators exist only inside an exported graph: shapes are all that they ever compute.
def _lstm_shape(x: Tensor, w: Tensor, r: Tensor, b: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    return torch.empty_like(h), torch.empty_like(c)


def _gru_shape(x: Tensor, w: Tensor, r: Tensor, b: Tensor, h: Tensor) -> Tensor:  # noqa: ARG001
    return torch.empty_like(h)


def _rnn_shape(x: Tensor, w: Tensor, r: Tensor, b: Tensor, h: Tensor, activation: str) -> Tensor:  # noqa: ARG001
    return torch.empty_like(h)


for _name, _shape in (("lstm_step", _lstm_shape), ("gru_step", _gru_shape), ("rnn_step", _rnn_shape)):
    torch.library.register_fake(f"ganglion::{_name}", _shape, lib=_LIBRARY)


def use_onnx_cells(policy: nn.Module) -> None:
    """Converts every recurrent layer inside `policy` to operators that `translations` knows, in place."""
    convert_all(policy, {nn.RNN: _OnnxRNN, nn.GRU: _OnnxGRU, nn.LSTM: _OnnxLSTM})


def translations(op: Any) -> dict[Callable[..., Any], Callable[..., Any]]:
    """The translation of our operators, for `torch.onnx.export(custom_translation_table=...)`.

    Args:
        op: an opset of onnxscript, for example `onnxscript.opset18`.
    """

    def lstm(x: Any, w: Any, r: Any, b: Any, h: Any, c: Any) -> Any:
        _, new_h, new_c = op.LSTM(x, w, r, b, None, h, c, hidden_size=_hidden_size(r))
        return new_h, new_c

    def gru(x: Any, w: Any, r: Any, b: Any, h: Any) -> Any:
        _, new_h = op.GRU(x, w, r, b, None, h, hidden_size=_hidden_size(r), linear_before_reset=1)
        return new_h

    def rnn(x: Any, w: Any, r: Any, b: Any, h: Any, activation: str) -> Any:
        _, new_h = op.RNN(x, w, r, b, None, h, hidden_size=_hidden_size(r), activations=[activation])
        return new_h

    ours = torch.ops.ganglion
    return {ours.lstm_step.default: lstm, ours.gru_step.default: gru, ours.rnn_step.default: rnn}


class _OnnxLayers(SingleStepLayers):
    gate_order: tuple[int, ...]
    """For each gate of ONNX, in its order, the position of that gate in torch's order."""

    def convert_weights(self, layers: Sequence[Layer]) -> None:
        for index, (weight_ih, weight_hh, bias_ih, bias_hh) in enumerate(layers):
            self.register_buffer(f"w_{index}", self._reorder(weight_ih).unsqueeze(0))
            self.register_buffer(f"r_{index}", self._reorder(weight_hh).unsqueeze(0))
            self.register_buffer(f"b_{index}", torch.cat((self._reorder(bias_ih), self._reorder(bias_hh))).unsqueeze(0))

    def layer_step(self, index: int, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        # ONNX wants x as [sequence, batch, input] and states as [directions, batch, hidden].
        weights = (getattr(self, f"{name}_{index}") for name in "wrb")
        new_state = self.operator(x.unsqueeze(0), *weights, *(part.unsqueeze(0) for part in state))
        return tuple(part.squeeze(0) for part in (new_state if isinstance(new_state, tuple) else (new_state,)))

    def operator(self, *tensors: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """One of our operators, on `x, w, r, b` and the parts of the state."""
        raise NotImplementedError

    def _reorder(self, rows: Tensor) -> Tensor:
        gates = rows.chunk(len(self.gate_order))
        return torch.cat([gates[position] for position in self.gate_order])


class _OnnxRNN(_OnnxLayers, nn.RNN):  # type: ignore[misc]
    gate_order = (0,)

    def operator(self, *tensors: Tensor) -> Tensor:
        activation = {"tanh": "Tanh", "relu": "Relu"}[self.nonlinearity]
        return torch.ops.ganglion.rnn_step(*tensors, activation)  # type: ignore[no-any-return]


class _OnnxGRU(_OnnxLayers, nn.GRU):  # type: ignore[misc]
    gate_order = (1, 0, 2)  # torch: reset, update, new; ONNX: update, reset, hidden

    def operator(self, *tensors: Tensor) -> Tensor:
        return torch.ops.ganglion.gru_step(*tensors)  # type: ignore[no-any-return]


class _OnnxLSTM(_OnnxLayers, nn.LSTM):  # type: ignore[misc]
    gate_order = (0, 3, 1, 2)  # torch: input, forget, cell, output; ONNX: input, output, forget, cell

    def operator(self, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ops.ganglion.lstm_step(*tensors)  # type: ignore[no-any-return]


def _hidden_size(recurrent_weight: Any) -> int:
    return int(recurrent_weight.shape[2])
