"""One step of an ONNX graph from Python: how a policy's flat vectors go into its tensors and come out again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion.compiler.signature import contract_ports
from ganglion.errors import EngineUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from ganglion.compiler.signature import Port
    from ganglion.contract import Contract

    Array = NDArray[np.float32]


def open_session(model: str | bytes) -> Any:
    """An `onnxruntime.InferenceSession` that computes on one thread of the CPU and logs nothing.

    Args:
        model: path of the file, or the serialised model.

    Raises:
        EngineUnavailableError: onnxruntime is not installed.
        Exception: onnxruntime refuses the model; its exceptions have no common base of their own.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise EngineUnavailableError("onnxruntime is not installed: pip install 'ganglion[onnx]'") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run_step(
    session: Any,
    contract: Contract,
    observation: Array,
    hidden: Array,
    ports: tuple[Sequence[Port], Sequence[Port]] | None = None,
) -> list[Array]:
    """Runs one step of a functional graph.

    Args:
        session: what has `run(output names, feeds)`: an `onnxruntime.InferenceSession`, a reference evaluator of onnx.
        contract: sizes and order of what goes in and comes out.
        observation: `[rows, observation_size]`.
        hidden: flat hidden vector, `[rows, hidden_size]`.
        ports: inputs and outputs of the graph in contract order; None for those of a file that we wrote.

    Returns:
        The outputs in contract order, each `[rows, size]`, then the new flat hidden vector.
    """
    inputs, outputs = contract_ports(contract) if ports is None else ports
    count = len(contract.inputs)
    feeds = _split(observation, inputs[:count]) | _split(hidden, inputs[count:])
    results = session.run([port.name for port in outputs], feeds)
    flat = [_flat(result, port, len(observation)) for result, port in zip(results, outputs, strict=True)]
    count = len(contract.outputs)
    return [*flat[:count], np.concatenate(flat[count:], axis=1) if flat[count:] else hidden]


def named_parts(vector: Array, sizes: Mapping[str, int]) -> dict[str, Array]:
    """The tensors that lie side by side in a flat vector.

    Args:
        vector: `[..., n]`.
        sizes: elements of each tensor by its name, in their order.

    Returns:
        `[..., size]` by name.
    """
    if not sizes:
        return {}
    return dict(zip(sizes, np.split(vector, np.cumsum(list(sizes.values()))[:-1], axis=-1), strict=True))


def _split(vector: Array, ports: Sequence[Port]) -> dict[str, Array]:
    feeds, first = {}, 0
    for port in ports:
        shape = [size for axis, size in enumerate(port.shape) if axis != port.batch_axis]
        size = int(np.prod(shape))
        part = vector[:, first : first + size].reshape(len(vector), *shape)
        first += size
        feeds[port.name] = np.ascontiguousarray(
            part[0] if port.batch_axis is None else np.moveaxis(part, 0, port.batch_axis)
        )
    return feeds


def _flat(result: Array, port: Port, rows: int) -> Array:
    if port.batch_axis is None or result.ndim != len(port.shape):
        return result.reshape(rows, -1)
    return np.moveaxis(result, port.batch_axis, 0).reshape(rows, -1)
