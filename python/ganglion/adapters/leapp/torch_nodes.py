"""Nodes of a LEAPP bundle that are torch programs, `jit` and `pt2`: as functions, and as ONNX models."""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ganglion._foundation.comparison import first_difference
from ganglion._foundation.rounding import LEAST, allowance, several
from ganglion._foundation.sentences import last_line
from ganglion._foundation.trust import check_program
from ganglion.adapters.torchscript.recording import prepare, record
from ganglion.compiler.session import named_parts, open_session
from ganglion.errors import ArtifactError, ExportError
from ganglion.reading.torchscript.parts import take_out_prints

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from ganglion.reading.leapp import BundleNode

    Floats = NDArray[np.float32]
    TorchNode = Callable[..., tuple[Tensor, ...]]
    ArrayNode = Callable[[Mapping[str, Floats]], Sequence[Floats]]

_TRIES = 64


def node_module(node: BundleNode, *, trust: bool = False) -> TorchNode:
    """A node as a function of its inputs, in their order, that gives all of its outputs.

    Args:
        node: of the backend `"jit"` or `"pt2"`.
        trust: run a program that has what no policy needs, and load `.pt2` files, which are pickles in part.

    Raises:
        ArtifactError: the file is damaged or not to be trusted.
        ExportError: the backend is another one, or the node keeps state that the bundle does not name.
    """
    if node.backend == "jit":
        module = _jit(node, trust=trust)
    elif node.backend == "pt2":
        module = _pt2(node, trust=trust)
    else:
        raise ExportError(
            f"the node '{node.name}' is of the backend '{node.backend}'; onnx, jit and pt2 are known: export it with "
            'export_with="onnx", the default of Isaac Lab'
        )
    count = len(node.outputs)

    def step(*tensors: Tensor) -> tuple[Tensor, ...]:
        found = module(*tensors)
        found = (found,) if isinstance(found, Tensor) else tuple(found)
        if len(found) != count:
            raise ArtifactError(
                f"'{node.file.path.name}' gives {len(found)} tensors, and its bundle names {count}; export it again"
            )
        return found

    _refuse_memory(node, module, step)
    return step


def node_function(node: BundleNode, *, trust: bool = False) -> ArrayNode:
    """A node as a function of arrays by name; see `node_module`."""
    return _of_arrays(node, node_module(node, trust=trust))


def node_model(node: BundleNode, *, trust: bool = False) -> Any:
    """A node as an `onnx.ModelProto`, held against the node itself over 64 random inputs.

    Its names are those of the bundle, see `BundleNode.graph_outputs`.

    Raises:
        ArtifactError: see `node_module`.
        ExportError: see `node_module`; or its program cannot be recorded, holds an operator that ONNX has not, or does
            something else then.
        EngineUnavailableError: onnx, onnxscript or onnxruntime is not installed.
    """
    from ganglion.export.cell_nodes import use_onnx_cells
    from ganglion.export.graph import to_proto
    from ganglion.policies.scripting.capture import capture
    from ganglion.policies.scripting.preparation import undisturbed

    with undisturbed(), torch.backends.mkldnn.flags(enabled=False):
        step = node_module(node, trust=trust)
        first, *others = examples = _drawn(node, np.random.default_rng(0))
        program = record(step, first, others)
        use_onnx_cells(program)
        names = [tensor.name for tensor in node.inputs], node.graph_outputs
        try:
            proto = to_proto(capture(program, tuple(examples)), tuple(examples), *names)
        except Exception as error:  # whatever torch's exporter meets
            raise ExportError(
                f"the node '{node.name}' cannot be written as ONNX ({last_line(error)}); export it with "
                'export_with="onnx", the default of Isaac Lab'
            ) from error
        _prove(node, _of_arrays(node, step), proto)
    return proto


def _jit(node: BundleNode, *, trust: bool) -> Any:
    if not trust:
        check_program(node.file.data, str(node.file.path))
    try:
        module = torch.jit.load(io.BytesIO(node.file.data), map_location="cpu")
    except Exception as error:  # torch raises what its readers happen to meet
        raise ArtifactError(
            f"'{node.file.path}' is no TorchScript file ({last_line(error)}); export it again"
        ) from error
    module.eval()
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    take_out_prints(module)
    prepare(module)
    return module


def _pt2(node: BundleNode, *, trust: bool) -> Any:
    if not trust:
        raise ArtifactError(
            f"'{node.file.path}' is a program of torch.export, which is a pickle in part: loading it may run code. "
            "Where you know who wrote it, say trust=True (--trust)"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.load(io.BytesIO(node.file.data)).module()
    except Exception as error:
        raise ArtifactError(
            f"'{node.file.path}' is no program of torch.export ({last_line(error)}); export it again"
        ) from error


def _drawn(node: BundleNode, rng: np.random.Generator) -> list[Tensor]:
    return [torch.from_numpy(rng.normal(size=tensor.shape).astype(np.float32)) for tensor in node.inputs]


def _refuse_memory(node: BundleNode, module: Any, step: TorchNode) -> None:
    """The bundle says what is fed back; what a node keeps by itself, no reset would reach."""
    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    with torch.no_grad():
        given = _drawn(node, np.random.default_rng(1))
        try:
            step(*given)
        except RuntimeError as error:
            raise ArtifactError(
                f"'{node.file.path.name}' does not run on the tensors that its bundle names ({last_line(error)}); "
                "export it again"
            ) from error
        kept = [name for name, buffer in module.named_buffers() if not torch.equal(buffer, before[name])]
    if kept:
        raise ExportError(
            f"the node '{node.name}' keeps state in {', '.join(kept)}, of which its bundle says nothing; name it with "
            "annotate.state_tensors, so that it is fed back"
        )


def _of_arrays(node: BundleNode, step: TorchNode) -> ArrayNode:
    def run(given: Mapping[str, Floats]) -> list[Floats]:
        with torch.no_grad():
            found = step(*(torch.from_numpy(given[tensor.name]) for tensor in node.inputs))
        return [tensor.numpy().astype(np.float32) for tensor in found]

    return run


def _prove(node: BundleNode, itself: ArrayNode, proto: Any) -> None:
    session = open_session(proto.SerializeToString())
    shapes = {tensor.name: tensor.shape for tensor in node.inputs}
    sizes = {name: int(np.prod(shape)) for name, shape in shapes.items()}
    drawn = np.random.default_rng(2).normal(size=(_TRIES, 1, sum(sizes.values()))).astype(np.float32)

    def run(of_arrays: ArrayNode, rows: Floats) -> Floats:
        found = []
        for row in rows:
            parts = named_parts(row[0], sizes)
            outputs = of_arrays({name: part.reshape(shapes[name]) for name, part in parts.items()})
            found.append(np.concatenate([one.reshape(-1) for one in outputs])[None])
        return np.stack(found)

    def its_run(rows: Floats) -> Floats:
        return run(itself, rows)

    wanted = its_run(drawn)
    found = run(lambda given: session.run(node.graph_outputs, dict(given)), drawn)
    allowed = allowance(wanted, several(its_run, drawn, wanted), np.ones((_TRIES, 1), np.bool_), 0)
    difference = first_difference(found, wanted, LEAST, allowed)
    if difference is not None:
        raise ExportError(
            f"the node '{node.name}' is another function once it is recorded: {difference.error:.3g} away, where "
            f"rounding explains {difference.allowed:.3g}. It may draw random numbers or decide by its values; "
            'export it with export_with="onnx", the default of Isaac Lab'
        )
