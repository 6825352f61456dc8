"""Removes data movement that cancels out: a state that is split, reshaped, stacked and split again.

A policy packs its state into one flat vector and unpacks it again; the exported file does the same between the vector
and its named tensors. At one step per call these copies cost as much as the arithmetic of a small network. With static
shapes they can be followed exactly: every operator that only moves elements is executed once on element numbers
instead of values, which tells for each tensor where each of its elements comes from. Where that is one piece of one
computed tensor, or a few pieces behind each other, the whole chain before it is replaced by taking those pieces.
"""

from __future__ import annotations

import bisect
import functools
import inspect
import itertools
import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn
from torch.export.graph_signature import InputKind

if TYPE_CHECKING:
    from collections.abc import Callable, Set

    from torch.export import ExportedProgram

_MOST_PIECES = 8
"""Beyond this many pieces the original operators stay: they are probably the shorter description."""

_MOVING = frozenset(
    {
        "alias", "cat", "chunk", "clone", "concat", "contiguous", "detach", "detach_", "expand", "expand_as", "flatten",
        "getitem", "index_select", "lift_fresh_copy", "movedim", "narrow", "permute", "reshape", "select", "slice",
        "split", "split_with_sizes", "squeeze", "stack", "swapaxes", "t", "transpose", "unbind", "unflatten",
        "unsqueeze", "view", "view_as",
    }
)  # fmt: skip
"""Operators whose result elements are copies of argument elements, whatever the values are."""

_CONVERTING = frozenset({"to", "_to_copy", "type_as"})
"""Operators that move elements only if the type stays as it is."""


def capture(module: nn.Module, arguments: tuple[Tensor, ...]) -> ExportedProgram:
    """Records a module as a program of ATen operators with static shapes and simplifies it.

    Args:
        module: takes and returns tensors.
        arguments: example arguments; their shapes become part of the program.

    Raises:
        Exception: whatever `torch.export` raises for a module that it cannot record.
    """
    program = torch.export.export(module, arguments, strict=False)
    _simplify(program)
    return program


def as_module(program: ExportedProgram) -> nn.Module:
    """A captured program as a module."""
    # Guards would check the shapes of the arguments again at every call.
    has_guards = "check_guards" in inspect.signature(program.module).parameters
    return program.module(check_guards=False) if has_guards else program.module()


def _simplify(program: ExportedProgram) -> None:
    """Shortens the data movement in a program of ATen operators with static shapes, in place."""
    graph_module, signature = program.graph_module, program.graph_signature
    weights = {spec.arg.name for spec in signature.input_specs if spec.kind is not InputKind.USER_INPUT}
    graph = graph_module.graph
    if any(_needs_its_layout(node) for node in graph.nodes):
        return
    for node in graph.nodes:
        # The shorter way to the same elements may not be contiguous.
        if node.target is torch.ops.aten.view.default:
            node.target = torch.ops.aten.reshape.default
    origins = _Origins(weights)
    rewriter = _Rewriter(origins)
    for node in list(graph.nodes):
        if node.op == "output" or (node.op == "call_function" and node not in origins.codes):
            shortened = functools.partial(rewriter.shortened, user=node)
            node.args = fx.node.map_arg(node.args, shortened)
            node.kwargs = fx.node.map_arg(node.kwargs, shortened)
        origins.follow(node)
    for spec, result in zip(signature.output_specs, graph.output_node().args[0], strict=True):
        if isinstance(result, fx.Node):  # the signature has the names of what is returned
            spec.arg.name = result.name
    graph.eliminate_dead_code()
    graph_module.recompile()


class _Origins:
    """Where each element of each tensor comes from, as numbers that are unique over all computed tensors.

    Weights, the inputs of a captured program that are named here, are left out: they are never moved at run time.
    """

    def __init__(self, weights: Set[str]) -> None:
        self._weights = weights
        self.codes: dict[fx.Node, Any] = {}
        self._sources: list[tuple[int, fx.Node]] = []
        self._next_code = 0

    def follow(self, node: fx.Node) -> None:
        """Finds the origins of the result of `node`; all nodes before it have been followed."""
        if self._moves(node):
            try:
                self.codes[node] = _call_on_codes(node, self.codes)
            except (RuntimeError, TypeError, KeyError, IndexError):
                pass  # an argument form that does not work on integers: a computed tensor like any other
            else:
                return
        value = node.meta.get("val")
        if node.name not in self._weights and isinstance(value, Tensor) and value.is_floating_point():
            size = value.numel()
            self.codes[node] = torch.arange(self._next_code, self._next_code + size).reshape(value.shape)
            self._sources.append((self._next_code, node))
            self._next_code += size

    def source(self, code: int) -> tuple[fx.Node, int]:
        """The computed tensor that holds the element `code`, and the position of the element in it."""
        first, node = self._sources[bisect.bisect_right(self._sources, code, key=lambda item: item[0]) - 1]
        return node, code - first

    def _moves(self, node: fx.Node) -> bool:
        if node.op != "call_function":
            return False
        name = _operator_name(node)
        tensors = [arg for arg in node.all_input_nodes if isinstance(arg.meta.get("val"), (Tensor, tuple, list))]
        if not tensors or any(arg not in self.codes for arg in tensors):
            return False
        if name in _CONVERTING:
            value, original = node.meta.get("val"), tensors[0].meta.get("val")
            return isinstance(value, Tensor) and isinstance(original, Tensor) and value.dtype == original.dtype
        return name in _MOVING


class _Rewriter:
    """Rebuilds tensors from pieces of computed tensors, each tensor once."""

    def __init__(self, origins: _Origins) -> None:
        self._origins = origins
        self._built: dict[tuple[Any, ...], fx.Node] = {}

    def shortened(self, original: fx.Node, user: fx.Node) -> fx.Node:
        """The shortest node that holds the same elements as `original`, created before `user` if it does not exist."""
        codes = self._origins.codes.get(original)
        if not isinstance(codes, Tensor) or codes.numel() == 0:
            return original
        pieces = self._pieces(codes)
        if len(pieces) > _MOST_PIECES:
            return original
        key = (pieces, tuple(codes.shape))
        if key not in self._built:
            with user.graph.inserting_before(user):
                built = self._build(pieces, tuple(codes.shape))
            if built is None:
                return original
            self._built[key] = built
            self._origins.codes[built] = codes
        return self._built[key]

    def _pieces(self, codes: Tensor) -> tuple[tuple[fx.Node, int, int], ...]:
        """Splits into runs of neighbours: `(computed tensor, first element, number of elements)`."""
        flat = codes.flatten()
        starts = [0, *((flat[1:] != flat[:-1] + 1).nonzero().flatten() + 1).tolist(), flat.numel()]
        runs: list[tuple[fx.Node, int, int]] = []
        for start, stop in itertools.pairwise(starts):
            runs += self._within_sources(int(flat[start]), stop - start)
            if len(runs) > _MOST_PIECES:
                break
        return tuple(runs)

    def _within_sources(self, code: int, count: int) -> list[tuple[fx.Node, int, int]]:
        # The last element of one tensor and the first of the next have neighbouring numbers too.
        runs = []
        while count > 0:
            node, first = self._origins.source(code)
            length = min(count, node.meta["val"].numel() - first)
            runs.append((node, first, length))
            code, count = code + length, count - length
        return runs

    def _build(self, pieces: tuple[tuple[fx.Node, int, int], ...], shape: tuple[int, ...]) -> fx.Node | None:
        if len(pieces) == 1:
            return _piece(*pieces[0], shape)
        # Pieces lie behind each other along the first axis that is longer than one.
        axis = next(index for index, length in enumerate(shape) if length > 1)
        row = math.prod(shape[axis + 1 :])
        if any(count % row for _, _, count in pieces):
            return None
        parts = [_piece(*piece, (*shape[:axis], piece[2] // row, *shape[axis + 1 :])) for piece in pieces]
        return _call(torch.ops.aten.cat.default, (parts, axis), _meta_cat(parts, axis))


def _piece(node: fx.Node, first: int, count: int, shape: tuple[int, ...]) -> fx.Node:
    value = node.meta["val"]
    if count < value.numel():
        axis = next(index for index, length in enumerate(value.shape) if length > 1)
        row = math.prod(value.shape[axis + 1 :])
        if first % row or count % row:
            node, axis, row = _reshape(node, (value.numel(),)), 0, 1
        start, stop = first // row, (first + count) // row
        value = node.meta["val"].narrow(axis, start, stop - start)
        node = _call(torch.ops.aten.slice.Tensor, (node, axis, start, stop), value, graph_of=node)
    return node if tuple(node.meta["val"].shape) == shape else _reshape(node, shape)


def _reshape(node: fx.Node, shape: tuple[int, ...]) -> fx.Node:
    return _call(torch.ops.aten.reshape.default, (node, list(shape)), node.meta["val"].reshape(shape), graph_of=node)


def _call(target: Callable[..., Any], args: tuple[Any, ...], value: Tensor, graph_of: fx.Node | None = None) -> fx.Node:
    graph = (graph_of or args[0][0]).graph
    node = graph.call_function(target, args)
    node.meta["val"] = value
    return node


def _meta_cat(parts: list[fx.Node], axis: int) -> Tensor:
    return torch.cat([part.meta["val"] for part in parts], axis)


def _call_on_codes(node: fx.Node, codes: dict[fx.Node, Any]) -> Any:
    args = fx.node.map_arg(node.args, lambda arg: codes[arg])
    kwargs = fx.node.map_arg(node.kwargs, lambda arg: codes[arg])
    if _operator_name(node) in _CONVERTING:
        return args[0]
    return node.target(*args, **kwargs)  # type: ignore[operator]


def _operator_name(node: fx.Node) -> str:
    target: Any = node.target
    if isinstance(target, torch._ops.OpOverload):
        return target.overloadpacket.__name__ if target.namespace == "aten" else ""
    return str(getattr(target, "__name__", ""))


def _needs_its_layout(node: fx.Node) -> bool:
    """Whether an operator writes into its argument, or depends on how its argument lies in memory."""
    target = node.target
    if not isinstance(target, torch._ops.OpOverload) or target is torch.ops.aten.detach_.default:
        return False
    return target._schema.is_mutable or "as_strided" in target._schema.name
