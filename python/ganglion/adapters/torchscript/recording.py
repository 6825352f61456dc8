"""A step of a TorchScript module as a graph of ATen operators without side effects, its recurrent layers as modules.

torch takes `aten::lstm` and its sisters apart before a recorder sees them. While a step is recorded they are therefore
overridden by operators of our own, which leave one node each; these become `torch.nn` layers again, for which every
export target has its own single-step form.
"""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.proxy_tensor import make_fx

from ganglion._foundation.sentences import last_line
from ganglion.adapters.torchscript.guard import survive
from ganglion.reading.torchscript.parts import refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_LIBRARY = torch.library.Library("ganglion_recorded", "DEF")
_OPTIONS = "Tensor[] weights, bool bias, int layers, bool batch_first"
_LIBRARY.define(f"lstm(Tensor x, Tensor h, Tensor c, {_OPTIONS}) -> (Tensor, Tensor, Tensor)")
for _name in ("gru", "rnn_tanh", "rnn_relu"):
    _LIBRARY.define(f"{_name}(Tensor x, Tensor h, {_OPTIONS}) -> (Tensor, Tensor)")


# Only shapes matter: nothing that is recorded may depend on values.
def _layer_shapes(x: Tensor, h: Tensor, *_: Any) -> tuple[Tensor, ...]:
    return x.new_zeros((*x.shape[:-1], h.shape[-1])), torch.zeros_like(h)


def _lstm_shapes(x: Tensor, h: Tensor, c: Tensor, *_: Any) -> tuple[Tensor, ...]:
    return x.new_zeros((*x.shape[:-1], h.shape[-1])), torch.zeros_like(h), torch.zeros_like(c)


_LIBRARY.impl("lstm", _lstm_shapes, "CPU")
for _name in ("gru", "rnn_tanh", "rnn_relu"):
    _LIBRARY.impl(_name, _layer_shapes, "CPU")


_LISTS = {"FloatType": "float", "IntType": "int", "BoolType": "bool"}
for _name in _LISTS.values():
    _LIBRARY.define(f"list_{_name}({_name}[] values, ScalarType? dtype) -> Tensor")
    _LIBRARY.impl(f"list_{_name}", lambda values, dtype: torch.tensor(values, dtype=dtype), "BackendSelect")


def record(step: Callable[..., tuple[Tensor, ...]], observation: Tensor, states: Sequence[Tensor]) -> fx.GraphModule:
    """Records a step, in float32.

    Args:
        step: `(observation, *states) -> tensors`; may change tensors on its way, but not its arguments.
        observation: an example.
        states: examples.

    Raises:
        ExportError: the step cannot be recorded.
    """
    arguments = (observation, *(state.clone() for state in states))
    survive(lambda: _recorded(step, arguments))
    try:
        graph = _recorded(step, arguments)
    except Exception as error:  # whatever an operator of the file does with the recording
        raise refusal(
            "not-recordable",
            f"its program cannot be recorded ({last_line(error)}); it may decide by the values of its tensors. Run it "
            "with the engine libtorch, or export the policy with ganglion.export",
        ) from error
    if observation.dtype != torch.float32:
        _to_float32(graph)
    return graph


def _recorded(step: Callable[..., tuple[Tensor, ...]], arguments: tuple[Tensor, ...]) -> fx.GraphModule:
    graph = _with_layers(step, arguments) or _trace(step, arguments)
    _insert_lists(graph)
    return graph


def prepare(module: torch.jit.ScriptModule) -> None:
    """Makes a module ready to be recorded: `torch.tensor` of a list writes where a recorder has no memory.

    Lists of numbers become an operator of ours; a list of lists is put together of these.

    Raises:
        ExportError: there is a list of lists whose length is not known.
    """
    for name in module._c._method_names():
        graph: Any = module._c._get_method(name).graph
        torch._C._jit_pass_inline(graph)
        for node in [*graph.findAllNodes("aten::tensor"), *graph.findAllNodes("aten::as_tensor")]:
            values, dtype, *_ = node.inputs()
            if values.type().kind() != "ListType":
                continue
            graph.setInsertPoint(node)
            tensor = _tensor_of(graph, values, dtype)
            if tensor is None:
                raise refusal(
                    "not-recordable",
                    "its program cannot be recorded: it makes a tensor of a list of lists that has no fixed length. "
                    "Run it with the engine libtorch, or export the policy with ganglion.export",
                )
            node.output().replaceAllUsesWith(tensor)
            node.destroy()


def _tensor_of(graph: Any, values: Any, dtype: Any) -> Any | None:
    element = values.type().getElementType()
    kind = _LISTS.get(str(element.kind()))
    if kind is not None:
        return _inserted(graph, f"ganglion_recorded::list_{kind}", [values, dtype], torch._C.TensorType.get())
    if values.node().kind() != "prim::ListConstruct":
        return None
    if element.kind() == "TensorType":
        return None
    rows = [_tensor_of(graph, row, dtype) for row in values.node().inputs()]
    if not rows or None in rows:
        return None
    rows_type = torch._C.ListType(torch._C.TensorType.get())
    return _inserted(
        graph,
        "aten::stack",
        [_inserted(graph, "prim::ListConstruct", rows, rows_type), graph.insertConstant(0)],
        torch._C.TensorType.get(),
    )


def _inserted(graph: Any, kind: str, inputs: Sequence[Any], type_: Any) -> Any:
    node = graph.insertNode(graph.create(kind, list(inputs), 1))
    node.output().setType(type_)
    return node.output()


def _insert_lists(graph_module: fx.GraphModule) -> None:
    """Puts a constant in the place of each of our tensors of a list: what is in it was known while it was recorded."""
    ours = [getattr(torch.ops.ganglion_recorded, f"list_{kind}").default for kind in _LISTS.values()]
    for node in list(graph_module.graph.nodes):
        if node.target not in ours:
            continue
        values, dtype = node.args
        name = f"list_{sum(1 for _ in graph_module.buffers())}"
        graph_module.register_buffer(name, torch.tensor(values, dtype=dtype))
        with graph_module.graph.inserting_before(node):
            node.replace_all_uses_with(graph_module.graph.get_attr(name))
        graph_module.graph.erase_node(node)
    graph_module.recompile()


def _trace(step: Callable[..., tuple[Tensor, ...]], arguments: tuple[Tensor, ...]) -> fx.GraphModule:
    graph = make_fx(torch.func.functionalize(step, remove="mutations"))(*arguments)
    # The operators that a composite one is made of appear only below the first pass.
    graph = make_fx(torch.func.functionalize(graph, remove="mutations"))(*arguments)
    _shorten(graph)
    return graph


def _with_layers(step: Callable[..., tuple[Tensor, ...]], arguments: tuple[Tensor, ...]) -> fx.GraphModule | None:
    """Records with one node per recurrent layer; None where a layer is of a kind that has no single-step form."""
    ours = torch.ops.ganglion_recorded
    other_kinds = []

    def options(  # the last arguments of aten::lstm.input
        weights: Any, bias: bool, layers: int, dropout: float, train: bool, bidirectional: bool, batch_first: bool
    ) -> tuple[Any, bool, int, bool]:
        if bidirectional or (train and dropout > 0.0) or len(weights) != layers * (4 if bias else 2):
            other_kinds.append(True)
            raise ValueError("the exception is lost on its way through TorchScript's interpreter")
        return weights, bias, layers, batch_first

    def lstm(x: Tensor, hx: Sequence[Tensor], *others: Any) -> Any:
        return ours.lstm(x, *hx, *options(*others))

    def layer(kind: Any) -> Any:
        return lambda x, h, *others: kind(x, h, *options(*others))

    with torch.library._scoped_library("aten", "IMPL") as aten:
        overrides = {"lstm.input": lstm} | {
            f"{name}.input": layer(getattr(ours, name)) for name in ("gru", "rnn_tanh", "rnn_relu")
        }
        for name, function in overrides.items():
            aten.impl(name, function, "CompositeImplicitAutograd", allow_override=True)
        try:
            graph = _trace(step, arguments)
        except Exception:
            if other_kinds:
                return None
            raise
    return graph if _insert_layers(graph) else None


def _insert_layers(graph_module: fx.GraphModule) -> bool:
    """Puts a `torch.nn` layer in the place of each of our operators; False where weights are computed in the step."""
    ours = torch.ops.ganglion_recorded
    kinds: dict[Any, Any] = {
        ours.lstm.default: nn.LSTM,
        ours.gru.default: nn.GRU,
        ours.rnn_tanh.default: nn.RNN,
        ours.rnn_relu.default: nn.RNN,
    }
    graph = graph_module.graph
    for node in list(graph.nodes):
        kind = kinds.get(node.target)
        if kind is None:
            continue
        x, *states, weights, bias, layers, batch_first = node.args
        if any(weight.op != "get_attr" for weight in weights):
            return False
        options = {"nonlinearity": node.target.overloadpacket.__name__.removeprefix("rnn_")} if kind is nn.RNN else {}
        name = f"recurrent_{sum(1 for _ in graph_module.children())}"
        graph_module.add_module(name, _layer(graph_module, kind, weights, bias, layers, batch_first, options))
        with graph.inserting_before(node):
            call = graph.call_module(name, (x, tuple(states) if len(states) > 1 else states[0]))
            new_state = graph.call_function(operator.getitem, (call, 1))
            results = [graph.call_function(operator.getitem, (call, 0)), new_state]
            if kind is nn.LSTM:
                results[1:] = [graph.call_function(operator.getitem, (new_state, index)) for index in (0, 1)]
        for user in list(node.users):
            user.replace_all_uses_with(results[user.args[1]])
            graph.erase_node(user)
        graph.erase_node(node)
    graph.eliminate_dead_code()
    graph_module.delete_all_unused_submodules()
    graph_module.recompile()
    return True


def _layer(
    graph_module: fx.GraphModule,
    kind: type[nn.RNNBase],
    weights: Sequence[fx.Node],
    bias: bool,
    layers: int,
    batch_first: bool,
    options: dict[str, Any],
) -> nn.RNNBase:
    tensors = [getattr(graph_module, str(weight.target)) for weight in weights]
    input_size, hidden_size = tensors[0].shape[1], tensors[1].shape[1]
    layer: Any = kind(input_size, hidden_size, layers, bias=bias, batch_first=batch_first, **options)
    layer.to(tensors[0].dtype)
    for parameter, value in zip((p for part in layer.all_weights for p in part), tensors, strict=True):
        parameter.requires_grad_(False).copy_(value)
    layer.eval()
    return layer  # type: ignore[no-any-return]


def _shorten(graph_module: fx.GraphModule) -> None:
    """Takes out copies and writes of whole tensors: `buffer[:] = value` becomes `value`."""
    aten = torch.ops.aten
    source = {
        aten.clone.default: 0,
        aten.copy.default: 1,
        aten.slice.Tensor: 0,
        aten.slice_scatter.default: 1,
        aten.detach.default: 0,
        aten.lift_fresh_copy.default: 0,
    }
    for node in list(graph_module.graph.nodes):
        index = source.get(node.target)
        if index is not None and _alike(node, node.args[index]):
            node.replace_all_uses_with(node.args[index])
    graph_module.graph.eliminate_dead_code()
    graph_module.recompile()


def _alike(node: fx.Node, other: Any) -> bool:
    found, expected = node.meta.get("tensor_meta"), getattr(other, "meta", {}).get("tensor_meta")
    if found is None or expected is None:
        return False
    # A slice of the same shape takes everything: steps are positive.
    return bool(found.shape == expected.shape and found.dtype == expected.dtype)


def _to_float32(graph_module: fx.GraphModule) -> None:
    def narrowed(value: Any) -> Any:
        return torch.float32 if isinstance(value, torch.dtype) and value.is_floating_point else value

    for node in graph_module.graph.nodes:
        node.args = tuple(narrowed(value) for value in node.args)
        node.kwargs = {key: narrowed(value) for key, value in node.kwargs.items()}
    graph_module.recompile()
    graph_module.float()
