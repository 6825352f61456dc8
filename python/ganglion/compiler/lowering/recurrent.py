"""Lowers the operators LSTM, GRU and RNN: one direction, one time step.

Gate orders and formulas: ONNX operator documentation, LSTM, GRU and RNN, opset 14.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion.compiler.builder import Symbol, Tensor
from ganglion.compiler.lowering.site import Site, lowers
from ganglion.compiler.vocabulary import RNN_ACTIVATIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_LSTM_ORDER = (0, 2, 3, 1)  # ONNX: input, output, forget, cell; ours: input, forget, cell, output
_GRU_ORDER = (1, 0, 2)  # ONNX: update, reset, hidden; ours: reset, update, new


@lowers("LSTM")
def _lstm(site: Site) -> tuple[Tensor, ...]:
    _expect(site, 7, ("Sigmoid", "Tanh", "Tanh"))
    if site.attribute("input_forget", 0):
        raise site.refuse("coupled input and forget gates (input_forget) are not supported")
    weight, bias, _ = _weights(site, 4, _LSTM_ORDER)
    tensors = {"weight": weight, "bias": bias}
    hidden = len(weight) // 4
    peepholes = site.array(7, "peephole weight").astype(np.float32).ravel() if site.has(7) else np.zeros(3 * hidden)
    if peepholes.shape != (3 * hidden,):
        raise site.refuse(f"its peephole weight has {peepholes.size} elements; {3 * hidden} are needed")
    h, c = [], []
    for x, (h_before, c_before) in _rows(site, hidden, 2):
        if peepholes.any():
            values = _with_peepholes(site, tensors, np.split(peepholes, 3), (x, h_before, c_before))
        else:
            values = site.builder.emit("lstm", [x, h_before, c_before], [hidden, hidden], tensors)
        h.append(values[0])
        c.append(values[1])
    return _results(site, hidden, h, c)


def _with_peepholes(
    site: Site,
    tensors: dict[str, NDArray[np.float32]],
    peepholes: Sequence[NDArray[np.float32]],
    values: tuple[int, int, int],
) -> list[int]:
    """Input and forget gate look at the old cell state, the output gate at the new one; no operation has that."""
    builder = site.builder
    x, h, c = (builder.symbol(value, (-1,)) for value in values)
    source = builder.vector(Symbol(np.concatenate((x.address, h.address))))
    gates = builder.symbol(builder.emit("affine", [source], [len(tensors["bias"])], tensors)[0], (4, -1)).address
    i, f, g, o = (Symbol(gate) for gate in gates)
    from_i, from_o, from_f = peepholes  # ONNX: input, output, forget

    def gate(linear: Tensor, weight: NDArray[np.float32], cell: Tensor) -> Tensor:
        return site.unary("sigmoid", site.binary("add", linear, site.binary("mul", cell, weight)))

    kept = site.binary("mul", gate(f, from_f, c), c)
    new_c = site.binary("add", kept, site.binary("mul", gate(i, from_i, c), site.unary("tanh", g)))
    new_h = site.binary("mul", gate(o, from_o, new_c), site.unary("tanh", new_c))
    return [builder.vector(new_h), builder.vector(new_c)]


@lowers("GRU")
def _gru(site: Site) -> tuple[Tensor, ...]:
    _expect(site, 6, ("Sigmoid", "Tanh"))
    weight, from_x, from_h = _weights(site, 3, _GRU_ORDER, together=False)
    hidden = len(weight) // 3
    # Only the bias inside of the reset gate's product cannot be added to the other one.
    bias = from_x + np.concatenate((from_h[: 2 * hidden], np.zeros(hidden, np.float32)))
    tensors = {"weight": weight, "bias": bias, "recurrent_bias": from_h[2 * hidden :]}
    linear = bool(site.attribute("linear_before_reset", 0))
    h = [
        site.builder.emit("gru", [x, before], [hidden], tensors, linear_before_reset=linear)[0]
        for x, (before,) in _rows(site, hidden, 1)
    ]
    return _results(site, hidden, h)


@lowers("RNN")
def _rnn(site: Site) -> tuple[Tensor, ...]:
    given = [str(name) for name in site.attribute("activations", ["Tanh"])]
    activation = given[0].lower()
    if activation not in RNN_ACTIVATIONS:
        raise site.refuse(f"activation {given[0]}; Tanh and Relu are supported")
    _expect(site, 6, (given[0],))
    weight, bias, _ = _weights(site, 1, (0,))
    hidden = len(weight)
    tensors = {"weight": weight, "bias": bias}
    h = [
        site.builder.emit("rnn", [x, before], [hidden], tensors, activation={"name": activation})[0]
        for x, (before,) in _rows(site, hidden, 1)
    ]
    return _results(site, hidden, h)


def _expect(site: Site, unsupported_input: int, activations: Sequence[str]) -> None:
    direction = site.attribute("direction", "forward")
    if direction == "bidirectional":
        raise site.refuse("a bidirectional layer needs the future of the observation; use one direction")
    given = [str(name).lower() for name in site.attribute("activations", activations)]
    if given != [name.lower() for name in activations]:
        raise site.refuse(f"activations {given}; {list(activations)} are supported")
    if "clip" in site.attributes:
        raise site.refuse("attribute 'clip' is not supported")
    if len(site.inputs) > unsupported_input + 1:
        raise site.refuse(f"it has {len(site.inputs)} inputs, which are too many")
    x = site.tensor(0)
    if len(x.shape) != 3:
        raise site.refuse(f"its input has shape {list(x.shape)}; three axes are needed")
    steps = x.shape[1 if site.attribute("layout", 0) else 0]
    if steps != 1:
        raise site.refuse(
            f"it runs over a sequence of length {steps}; export a policy that takes one observation per step and gets "
            "its state as an input"
        )
    if site.has(4) and np.any(site.array(4, "sequence length") != 1):
        raise site.refuse("sequence_lens other than 1 is not supported")


def _weights(
    site: Site, gates: int, order: Sequence[int], together: bool = True
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Matrix over `[x, h]`, bias and recurrent bias, all with our order of gates; both biases in one if wanted."""
    from_x, from_h = site.array(1, "weight W"), site.array(2, "weight R")
    hidden = from_h.shape[2]
    if from_x.shape[:2] != (1, gates * hidden) or from_h.shape != (1, gates * hidden, hidden):
        raise site.refuse(
            f"weights of shapes {list(from_x.shape)} and {list(from_h.shape)}; [1, {gates} * hidden, input] and "
            f"[1, {gates} * hidden, hidden] are needed (a layer with projection is not supported; use proj_size=0)"
        )
    if site.attribute("hidden_size", hidden) != hidden:
        raise site.refuse(f"hidden_size is {site.attribute('hidden_size')} but the weights are for {hidden}")
    bias = site.array(3, "bias") if site.has(3) else np.zeros((1, 2 * gates * hidden), np.float32)

    def reordered(rows: NDArray[Any]) -> NDArray[np.float32]:
        blocks = np.split(rows.astype(np.float32), gates)
        return np.concatenate([blocks[position] for position in order])

    first, second = (reordered(half) for half in np.split(bias[0], 2))
    weight = reordered(np.concatenate((from_x[0], from_h[0]), axis=1))
    return weight, first + second if together else first, second


def _rows(site: Site, hidden: int, states: int) -> list[tuple[int, list[int]]]:
    """For each row of the batch, which is one row except in odd graphs: the values of x and of the states."""
    x = site.builder.addresses(site.tensor(0))
    x = x.reshape(-1, x.shape[2])
    rows = []
    for row in range(len(x)):
        found = []
        for index in range(5, 5 + states):
            before = site.tensor(index) if site.has(index) else np.zeros((1, len(x), hidden), np.float32)
            if before.shape not in ((1, len(x), hidden), (len(x), 1, hidden)):
                raise site.refuse(f"its state has shape {list(before.shape)}; [1, {len(x)}, {hidden}] is needed")
            address = site.builder.addresses(before).reshape(len(x), hidden)[row]
            found.append(site.builder.vector(site.builder.view(address)))
        rows.append((site.builder.vector(site.builder.view(x[row])), found))
    return rows


def _results(site: Site, hidden: int, *states: list[int]) -> tuple[Tensor, ...]:
    addresses = [np.stack([site.builder.symbol(value, (hidden,)).address for value in state]) for state in states]
    rows = len(addresses[0])
    if site.attribute("layout", 0):
        shapes = [(rows, 1, 1, hidden)] + [(rows, 1, hidden)] * len(states)
    else:
        shapes = [(1, 1, rows, hidden)] + [(1, rows, hidden)] * len(states)
    return tuple(
        Symbol(address.reshape(shape)) for address, shape in zip((addresses[0], *addresses), shapes, strict=True)
    )
