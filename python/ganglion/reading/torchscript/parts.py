"""What a TorchScript module is made of, and what was said of it: for the readers of its different forms."""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ganglion.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def refusal(code: str, sentence: str) -> ExportError:
    """An error with a stable code at its end."""
    return ExportError(f"{sentence} [{code}]")


def buffers_of(module: torch.jit.ScriptModule) -> dict[str, Tensor]:
    """Every buffer by its path, also where two are one tensor, as after a reset that torch has made shorter."""
    return dict(module.named_buffers(remove_duplicate=False))


def get_buffer(module: torch.jit.ScriptModule, path: str) -> Tensor:
    """The tensor that is there now: a step may have put a new one."""
    owner, name = _owner(module, path)
    value: Tensor = getattr(owner, name)
    return value


def set_buffer(module: torch.jit.ScriptModule, path: str, value: Tensor) -> None:
    """Puts a tensor there."""
    owner, name = _owner(module, path)
    setattr(owner, name, value)


def put_back(module: torch.jit.ScriptModule, values: Iterable[tuple[str, Tensor]]) -> None:
    """Puts copies of values into buffers."""
    for path, value in values:
        set_buffer(module, path, value.clone())


def takes_nothing(module: torch.jit.ScriptModule, name: str) -> bool:
    """Whether it has a method of that name that can be called as it is."""
    if name not in module._c._method_names():
        return False
    return all(argument.has_default_value() for argument in module._c._get_method(name).schema.arguments[1:])


def matrices_of(module: torch.jit.ScriptModule) -> list[Tensor]:
    """Matrices among the parameters, or among the constants of a frozen program."""
    found: list[Tensor] = [weight for weight in module.parameters() if weight.dim() == 2 and weight.is_floating_point()]
    if found:
        return found
    graph: Any = module.inlined_graph
    constants = [node.t("value") for node in graph.findAllNodes("prim::Constant") if _is_tensor(node)]
    return [
        matrix
        for constant in constants
        if constant.dim() == 2 and constant.is_floating_point()
        for matrix in (constant, constant.t())
    ]


def size_of(sizes: Mapping[str, int], name: str, count: int) -> int:
    """Elements of an observation, of `count` in all; 0 where nothing was said."""
    only = sizes.get("", sizes.get("obs", 0)) if count == 1 else 0
    return sizes.get(name, only)


def take_out_prints(module: torch.jit.ScriptModule) -> int:
    """Takes the prints and warnings out of every method, which nobody reads in a control loop; how many there were."""
    found = 0
    for name in module._c._method_names():
        graph: Any = module._c._get_method(name).graph
        torch._C._jit_pass_inline(graph)
        for kind in ("prim::Print", "aten::warn"):
            for node in graph.findAllNodes(kind):
                node.destroy()
                found += 1
    return found


def _owner(module: torch.jit.ScriptModule, path: str) -> tuple[Any, str]:
    *parents, name = path.split(".")
    return functools.reduce(getattr, parents, module), name


def _is_tensor(node: Any) -> bool:
    return bool(node.hasAttribute("value") and node.kindOf("value") == "t")
