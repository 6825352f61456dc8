"""What the tests keep of torch's exporter: the same for the very same program, and nothing for any other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import exporter_tables
import onnx
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    import pytest


class Scaled(nn.Module):
    def __init__(self, factor: float = 0.5, offset: float = 1.0, bias: float = 0.25) -> None:
        super().__init__()
        self.factor = factor
        self.weight = nn.Parameter(torch.full((2, 3), 0.125))
        self.register_buffer("offset", torch.tensor(offset))
        self.register_buffer("count", torch.tensor(3))
        self.plain = torch.full((2,), bias)  # a constant of the program, no state

    def forward(self, obs: Tensor) -> Tensor:
        return torch.tanh(obs @ self.weight.T + self.plain) * self.factor + self.offset + self.count


def translated(module: nn.Module, size: tuple[int, int] = (1, 3), output: str = "action") -> bytes:
    program = torch.onnx.export(
        module.eval(), (torch.zeros(size),), dynamo=True, input_names=["obs"], output_names=[output], verbose=False
    )
    assert program is not None
    return program.model_proto.graph.SerializeToString(deterministic=True)


def test_what_is_kept_is_what_torch_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    first = translated(Scaled())
    with monkeypatch.context() as patch:
        exporter_tables.keep(patch)  # which knows nothing yet
        assert translated(Scaled()) == first
        assert translated(Scaled()) == first


def test_every_difference_is_another_program() -> None:
    nudged = Scaled()
    with torch.no_grad():
        nudged.weight[1, 2] = torch.nextafter(nudged.weight[1, 2], torch.tensor(1.0))
    counted = Scaled()
    counted.count += 1
    graphs = [
        translated(Scaled()),
        translated(nudged),
        translated(counted),
        translated(Scaled(factor=0.50000001)),
        translated(Scaled(offset=1.5)),
        translated(Scaled(bias=0.5)),
        translated(Scaled(), size=(2, 3)),
        translated(Scaled(), output="command"),
    ]
    assert len(set(graphs)) == len(graphs)
    initializers = map(onnx.numpy_helper.to_array, onnx.GraphProto.FromString(graphs[1]).initializer)
    assert any(nudged.weight[1, 2].item() in array for array in initializers)
