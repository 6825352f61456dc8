"""`torch.nn.RNN`, `GRU` and `LSTM` rewritten for one time step.

A control loop runs its recurrent layers at sequence length one. There the general kernels behind `torch.nn.LSTM` are
several times slower in LibTorch than one linear map followed by the gates. Equations and weight order are those of the
`torch.nn.RNN`, `torch.nn.GRU` and `torch.nn.LSTM` documentation.
"""

# Much of torch.nn has no annotations; the layers take over the calls of several torch classes.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Sequence

Layer = tuple[Tensor, Tensor, Tensor, Tensor]
"""`weight_ih`, `weight_hh`, `bias_ih`, `bias_hh` of one layer; absent biases are zeros."""


def layer_weights(module: nn.RNNBase) -> list[Layer]:
    """The weights of each layer of a unidirectional recurrent module, in torch's gate order."""
    layers = []
    for index in range(module.num_layers):
        weight_ih = getattr(module, f"weight_ih_l{index}")
        weight_hh = getattr(module, f"weight_hh_l{index}")
        zeros = torch.zeros(weight_ih.shape[0], dtype=weight_ih.dtype)
        bias_ih = getattr(module, f"bias_ih_l{index}") if module.bias else zeros
        bias_hh = getattr(module, f"bias_hh_l{index}") if module.bias else zeros
        layers.append(cast("Layer", tuple(tensor.detach() for tensor in (weight_ih, weight_hh, bias_ih, bias_hh))))
    return layers


class SingleStepLayers(nn.RNNBase):
    """The part that step-wise recurrent layers share: unpacking the call, walking the layers, packing the result.

    Instances are never constructed: `convert` changes the class of an existing module, so that its attributes
    and its `isinstance` relations stay as the policy's own code expects them. A subclass stands before the torch
    class in its bases and says what one layer computes.
    """

    def convert_weights(self, layers: Sequence[Layer]) -> None:
        """Registers the buffers that `layer_step` needs."""
        raise NotImplementedError

    def layer_step(self, index: int, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """One time step of one layer.

        Args:
            index: number of the layer.
            x: `[batch, input]` or `[input]`.
            state: the layer's state, each part `[batch, hidden]` or `[hidden]`.

        Returns:
            The layer's next state; its first part is the output.
        """
        raise NotImplementedError

    def flatten_parameters(self) -> None:
        """Does nothing: there are no cuDNN weights to lay out."""

    def forward(self, input: Tensor, hx: Any = None) -> Any:  # noqa: A002
        """Same arguments and results as the torch module, for a sequence of length one.

        Raises:
            ValueError: the sequence does not have length one.
        """
        time_axis = 1 if self.batch_first and input.dim() == 3 else 0
        # The axis has a constant length: while tracing, shape[i] would be a tensor and the comparison a warning.
        if list(input.shape)[time_axis] != 1:
            raise ValueError(f"a policy step has sequence length one, not {int(input.shape[time_axis])}")
        x = input.select(time_axis, 0)
        has_cell_state = isinstance(self, nn.LSTM)
        if hx is None:
            zeros = x.new_zeros((self.num_layers, *x.shape[:-1], self.hidden_size))
            hx = (zeros, zeros) if has_cell_state else zeros
        parts: tuple[Tensor, ...] = hx if has_cell_state else (hx,)
        new_states: list[tuple[Tensor, ...]] = []
        for index in range(self.num_layers):
            new_states.append(self.layer_step(index, x, tuple(part[index] for part in parts)))
            x = new_states[-1][0]
        stacked = tuple(_stack(list(tensors)) for tensors in zip(*new_states, strict=True))
        return x.unsqueeze(time_axis), (stacked if has_cell_state else stacked[0])


def convert(module: nn.RNNBase, single_step: type[SingleStepLayers]) -> None:
    """Turns a torch recurrent module into `single_step`, in place; the original weights are dropped."""
    layers = layer_weights(module)
    for name in list(module._parameters):
        delattr(module, name)
    module._flat_weights_names, module._all_weights, module._flat_weights = [], [], []
    module.__class__ = single_step
    cast("SingleStepLayers", module).convert_weights(layers)


def convert_all(policy: nn.Module, kinds: dict[type[nn.RNNBase], type[SingleStepLayers]]) -> None:
    """Converts every `torch.nn.RNN`, `GRU` and `LSTM` inside `policy`, in place.

    A user's subclass of one of them is left alone: its own `forward` may compute something else.
    """
    for module in list(policy.modules()):
        single_step = kinds.get(type(module))  # type: ignore[arg-type]
        if single_step is not None:
            convert(cast("nn.RNNBase", module), single_step)


def use_fast_cells(policy: nn.Module) -> None:
    """Converts every recurrent layer inside `policy` to a linear map plus gates, in place."""
    convert_all(policy, {nn.RNN: _FastRNN, nn.GRU: _FastGRU, nn.LSTM: _FastLSTM})


class _FastLayers(SingleStepLayers):
    def layer_step(self, index: int, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        if x.dim() == 1 or x.shape[0] != 1:
            return self.gates(index, x, state)
        # A batch of one row: vectors need fewer operations than matrices. The reshaping cancels out, see simplify.py.
        new_state = self.gates(index, x.squeeze(0), tuple(part.squeeze(0) for part in state))
        return tuple(part.unsqueeze(0) for part in new_state)

    def gates(self, index: int, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """As `layer_step`, for any number of rows or none."""
        raise NotImplementedError

    def affine(self, x: Tensor, suffix: str) -> Tensor:
        weight, bias = getattr(self, f"weight_{suffix}"), getattr(self, f"bias_{suffix}")
        # addmv skips the reshaping around a matrix product that torch.nn.functional.linear goes through.
        return torch.addmv(bias, weight, x) if x.dim() == 1 else nn.functional.linear(x, weight, bias)


class _FastRNN(_FastLayers, nn.RNN):  # type: ignore[misc]
    def convert_weights(self, layers: Sequence[Layer]) -> None:
        for index, (weight_ih, weight_hh, bias_ih, bias_hh) in enumerate(layers):
            self.register_buffer(f"weight_{index}", _by_columns(torch.cat((weight_ih, weight_hh), dim=1)))
            self.register_buffer(f"bias_{index}", bias_ih + bias_hh)

    def gates(self, index: int, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        total = self.affine(torch.cat((x, state[0]), -1), str(index))
        return (torch.tanh(total) if self.nonlinearity == "tanh" else torch.relu(total),)


class _FastLSTM(_FastLayers, nn.LSTM):  # type: ignore[misc]
    def convert_weights(self, layers: Sequence[Layer]) -> None:
        for index, (weight_ih, weight_hh, bias_ih, bias_hh) in enumerate(layers):
            weight = torch.cat((weight_ih, weight_hh), dim=1)
            self.register_buffer(f"weight_{index}", _by_columns(_ifgo_to_ifog(weight)))
            self.register_buffer(f"bias_{index}", _ifgo_to_ifog(bias_ih + bias_hh))

    def gates(self, index: int, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden, cell = state
        total = self.affine(torch.cat((x, hidden), -1), str(index))
        gates, candidate = total.split([3 * self.hidden_size, self.hidden_size], -1)
        input_gate, forget_gate, output_gate = torch.sigmoid(gates).split(self.hidden_size, -1)
        cell = torch.addcmul(forget_gate * cell, input_gate, torch.tanh(candidate))
        return output_gate * torch.tanh(cell), cell


class _FastGRU(_FastLayers, nn.GRU):  # type: ignore[misc]
    def convert_weights(self, layers: Sequence[Layer]) -> None:
        # The reset gate multiplies the hidden part of the candidate, bias included, so the two maps stay apart.
        for index, (weight_ih, weight_hh, bias_ih, bias_hh) in enumerate(layers):
            self.register_buffer(f"weight_x{index}", _by_columns(weight_ih))
            self.register_buffer(f"weight_h{index}", _by_columns(weight_hh))
            self.register_buffer(f"bias_x{index}", bias_ih.clone())
            self.register_buffer(f"bias_h{index}", bias_hh.clone())

    def gates(self, index: int, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        sizes = [2 * self.hidden_size, self.hidden_size]
        gates_x, candidate_x = self.affine(x, f"x{index}").split(sizes, -1)
        gates_h, candidate_h = self.affine(state[0], f"h{index}").split(sizes, -1)
        reset_gate, update_gate = torch.sigmoid(gates_x + gates_h).split(self.hidden_size, -1)
        candidate = torch.tanh(torch.addcmul(candidate_x, reset_gate, candidate_h))
        # (1 - z) * candidate + z * hidden
        return (torch.lerp(candidate, state[0], update_gate),)


def _ifgo_to_ifog(rows: Tensor) -> Tensor:
    # The three sigmoid gates side by side need one call of sigmoid instead of three.
    input_gate, forget_gate, candidate, output_gate = rows.chunk(4)
    return torch.cat((input_gate, forget_gate, output_gate, candidate))


def _by_columns(weight: Tensor) -> Tensor:
    # The same matrix, stored column after column: one matrix-vector product reads it about a tenth faster.
    return weight.t().contiguous().t()


def _stack(tensors: list[Tensor]) -> Tensor:
    return tensors[0].unsqueeze(0) if len(tensors) == 1 else torch.stack(tensors)
