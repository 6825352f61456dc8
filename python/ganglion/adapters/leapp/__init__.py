"""LEAPP bundles, Isaac Lab's export, as one ONNX model, whatever their nodes are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ganglion._foundation.boundary import bounded
from ganglion.compiler.bundle import bundle_model
from ganglion.errors import EngineUnavailableError, ExportError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from ganglion.reading.leapp import BundleNode

    Floats = NDArray[np.float32]


@bounded(ExportError, what="cannot be written as ONNX")
def to_onnx(path: str | os.PathLike[str], action: str | None = None, *, trust: bool = False) -> Any:
    """A bundle as an `onnx.ModelProto`, with the contract in its metadata.

    Nodes of the backend `onnx` are taken as they are. Those of `jit` and `pt2` are recorded by torch, and held against
    themselves over 64 random inputs.

    Args:
        path: its YAML file.
        action: the output that is the action; see `ganglion.load`.
        trust: run `jit` nodes whose program has what no policy needs, and load `pt2` nodes, which are pickles in part.

    Raises:
        ArtifactError: the bundle or a file of it is damaged, or not to be trusted.
        ExportError: a node keeps state that the bundle does not name, or cannot be recorded, says which; or `action` is
            no output.
        EngineUnavailableError: PyYAML or onnx is not installed; or torch, where a node needs it.
    """
    return bundle_model(path, action, lambda node: _torch_nodes(node).node_model(node, trust=trust))


def node_function(node: BundleNode, *, trust: bool = False) -> Callable[[Mapping[str, Floats]], Sequence[Floats]]:
    """A node that is a torch program as a function of arrays by name, which gives its outputs in their order.

    Args:
        node: of the backend `jit` or `pt2`.
        trust: see `to_onnx`.

    Raises:
        ArtifactError: its file is damaged, or not to be trusted.
        ExportError: the backend is another one, or the node keeps state that its bundle does not name.
        EngineUnavailableError: torch is not installed.
    """
    return _torch_nodes(node).node_function(node, trust=trust)  # type: ignore[no-any-return]


def _torch_nodes(node: BundleNode) -> Any:
    try:
        from ganglion.adapters.leapp import torch_nodes
    except ImportError as error:
        raise EngineUnavailableError(
            f"the node '{node.name}' is of the backend '{node.backend}', which needs torch ({error}); install "
            "ganglion[torch]"
        ) from error
    return torch_nodes
