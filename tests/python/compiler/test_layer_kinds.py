"""What PyTorch's exporters write for the kinds of layers that policies have: the program gives torch's numbers."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings

import numpy as np
import pytest
import torch
from layer_kinds import KINDS, layer

from ganglion.compiler import compile_onnx
from ganglion.compiler.interpreter import Interpreter

pytestmark = pytest.mark.deep  # exports every kind of layer

torch.set_num_threads(1)

# The older exporter cannot write these; of the others the newer one, which is slow, writes those that it takes apart.
NEWER = (
    "bilinear",
    "channel_shuffle",
    "fourier",
    "hyperbolic",
    "inverse",
    "logarithms",
    "powers",
    "rms_norm_layer",
    "rounding",
    "scatter_add",
    "spectral_norm",
    "threshold",
)
BOTH = ("einsum_attention", "einsum_diagonal", "scaled_dot_product", "upsample_bicubic", "in_place", "filled_mask")


def exported(module, path, *, newer):
    """The module as an ONNX file: for one row by the older exporter, for any number by the newer one."""
    given = {"dynamic_shapes": {"obs": {0: "batch"}}} if newer else {"opset_version": 18}
    silence = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    previous = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    with silence[0], silence[1], warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names = {"input_names": ["obs"], "output_names": ["actions"]}
        torch.onnx.export(module, (torch.randn(2 if newer else 1, 24),), path, dynamo=newer, **names, **given)
    logging.disable(previous)
    return path


@pytest.mark.sampled(40)
@pytest.mark.parametrize(
    ("name", "newer"), [(name, name in NEWER) for name in KINDS] + [(name, True) for name in BOTH], ids=str
)
def test_a_layer_gives_the_numbers_of_torch(name, newer, tmp_path):
    module = layer(name)
    program, contract = compile_onnx(exported(module, tmp_path / "layer.onnx", newer=newer))
    observations = torch.randn(20, 24, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = np.concatenate([module(row[None]).numpy() for row in observations])
    assert contract.action_size == expected.shape[1]
    found, _ = Interpreter(program).step(observations.numpy(), np.zeros((20, 0), np.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_there_are_as_many_kinds_as_were_tried_on_users_behalf():
    assert len(KINDS) >= 87
