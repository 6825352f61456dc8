"""What a checkpoint can name: classes and functions of the house, and how they become plain data and come back.

A class says `@kept()`; from then on every object of exactly that class remembers the arguments that it was made with. A
description is those arguments, with parts described likewise. It holds data only: whatever it names is looked up here.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import gymnasium
import numpy as np
import torch
from torch import nn

from ganglion.data.env_spec import EnvSpec
from ganglion.data.spaces_json import env_spec_from_json, env_spec_to_json, space_from_json, space_to_json
from ganglion.errors import ExportError
from ganglion.policies._modules import MODULES, build_module, describe_module, raise_if_adapted
from ganglion.policies.nonlinearities import FUNCTIONS

_Thing = TypeVar("_Thing", bound=Callable[..., Any])

_CLASSES: dict[str, type] = {}
_FUNCTIONS: dict[str, Callable[..., Any]] = dict(FUNCTIONS)
_LEFT_OUT: dict[type, frozenset[str]] = {}
_NEVER = frozenset({"use_cuda", "init_param_kwargs"})
"""Arguments without a meaning for a policy whose weights come from a file."""
_LARGEST_INTEGER = 2**24
"""No argument of a policy is beyond; a damaged file shall not ask for all memory there is."""


class _Arguments:
    """The arguments an object was made with. No dict: TorchScript would take that for an attribute of a module."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values


def kept(*, without: Collection[str] = ()) -> Callable[[_Thing], _Thing]:
    """Lets checkpoints keep a class, or name a function, under its `__name__`; a decorator.

    Args:
        without: arguments of the constructor that a description leaves out: what draws values that a state dictionary
            brings. They need a default.
    """

    def register(thing: _Thing) -> _Thing:
        if not isinstance(thing, type):
            _FUNCTIONS[thing.__name__] = thing
            return thing
        _CLASSES[thing.__name__] = thing
        _LEFT_OUT[thing] = _NEVER | frozenset(without)
        if not _has_fields(thing):
            thing.__init__ = _recording(thing, thing.__init__)  # type: ignore[misc]
        return thing

    return register


def amend(thing: Any, **changed: Any) -> None:
    """Corrects what an object remembers of its arguments; nothing where it remembers none."""
    arguments = vars(thing).get("_made_with")
    if arguments is not None:
        vars(thing)["_made_with"] = _Arguments({**arguments.values, **changed})


def is_kept(thing: Any) -> bool:
    """Tells whether an object is of a class that checkpoints keep; a sub-class of one is none."""
    return _CLASSES.get(type(thing).__name__) is type(thing)


def describe(thing: Any) -> dict[str, Any]:
    """Returns an object of a kept class as plain data: its class and arguments, without its weights.

    Raises:
        ExportError: the class, or something in the arguments, has no name here.
    """
    name = type(thing).__name__
    if not is_kept(thing):
        raise_if_adapted(thing)
        raise ExportError(
            f"{name} cannot be saved as a checkpoint: only classes of ganglion.policies have a name for a file. Save "
            "its state_dict(), and build it in your own code where you need it; ganglion.export takes it as it is"
        )
    described = {
        key: "cpu" if key == "device" else _plain(value, f"{name}: {key}")
        for key, value in _arguments(thing).items()
        if key not in _LEFT_OUT[type(thing)]
    }
    return {"class": name, "arguments": described}


def build(document: Any) -> Any:
    """Builds what `describe` described, with drawn weights.

    Raises:
        LookupError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError, MemoryError: the description
            is damaged.
    """
    name, arguments = document["class"], document["arguments"]
    if name not in _CLASSES:
        raise ValueError(f"unknown class {name!r}")
    cls = _CLASSES[name]
    if forbidden := _LEFT_OUT[cls] & arguments.keys():
        raise ValueError(f"{name}: {min(forbidden)!r} is no argument that a checkpoint has")
    return cls(**{key: _value(value) for key, value in arguments.items()})


def _recording(cls: type, init: Callable[..., None]) -> Callable[..., None]:
    signature = inspect.signature(init)

    @functools.wraps(init)
    def recording(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        # A sub-class has a constructor of its own, and what that was given is not known.
        if type(self) is cls:
            bound = signature.bind(self, *args, **kwargs)
            # Defaults may be others in a later release.
            bound.apply_defaults()
            given = dict(bound.arguments)
            del given[next(iter(given))]
            for name, parameter in signature.parameters.items():
                if parameter.kind is parameter.VAR_KEYWORD:
                    given.update(given.pop(name, {}))
            vars(self)["_made_with"] = _Arguments(given)

    return recording


def _arguments(thing: Any) -> Mapping[str, Any]:
    if _has_fields(type(thing)):
        names = getattr(thing, "_fields", None) or [field.name for field in dataclasses.fields(thing)]
        return {name: getattr(thing, name) for name in names}
    made_with: _Arguments | None = vars(thing).get("_made_with")
    if made_with is None:
        raise ExportError(
            f"{type(thing).__name__} cannot be saved as a checkpoint: its constructor was not called (an old pickle?), "
            "so its arguments are not known; build one and load the state_dict() of this one"
        )
    return made_with.values


def _has_fields(cls: type) -> bool:
    return dataclasses.is_dataclass(cls) or hasattr(cls, "_fields")


def _plain(value: Any, where: str) -> Any:
    """Plain data for a value of an argument: itself, or a dictionary that says what it is."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, (np.generic, np.ndarray)):
        return _plain(value.tolist(), where)
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, EnvSpec):
        return {"env_spec": _of_space(env_spec_to_json, value, where)}
    if isinstance(value, gymnasium.Space):
        return {"space": _of_space(space_to_json, value, where)}
    if is_kept(value):
        return describe(value)
    if type(value) is list:
        return [_plain(item, where) for item in value]
    if type(value) in (tuple, torch.Size):
        return {"tuple": [_plain(item, where) for item in value]}
    if isinstance(value, Mapping):
        return {"dict": [[_plain(key, where), _plain(item, where)] for key, item in value.items()]}
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    return _named(value, where)


def _named(value: Any, where: str) -> dict[str, Any]:
    """What can only be looked up: modules, classes and functions."""
    if isinstance(value, type):
        for name, cls in (*_CLASSES.items(), *MODULES.items()):
            if value is cls:
                return {"type": name}
        raise ExportError(f"{where} {value.__name__} cannot be saved in a checkpoint; known: {', '.join(MODULES)}")
    if type(value) is nn.Sequential or type(value) in MODULES.values():
        return {"module": describe_module(value)}
    if isinstance(value, nn.Module):
        # Both refuse it, and say what there is instead.
        return describe_module(value) if type(value).__module__.startswith("torch.") else describe(value)
    if isinstance(value, functools.partial):
        parts = (value.func, list(value.args), dict(value.keywords))
        return {"partial": [_plain(part, where) for part in parts]}
    for name, function in _FUNCTIONS.items():
        if value is function:
            return {"function": name}
    if not callable(value):
        raise ExportError(f"{where} {value!r} cannot be saved in a checkpoint")
    known = ", ".join(name for name in _FUNCTIONS if not name.startswith(("torch.Tensor.", "torch.special.")))
    raise ExportError(f"{where} {value!r} cannot be saved in a checkpoint; known: {known}")


def _of_space(to_json: Callable[[Any], dict[str, Any]], value: Any, where: str) -> dict[str, Any]:
    try:
        return to_json(value)
    except ValueError as error:
        raise ExportError(f"{where} cannot be saved in a checkpoint: {error}") from error


def _value(data: Any) -> Any:
    """Undoes `_plain`."""
    if isinstance(data, list):
        return [_value(item) for item in data]
    if isinstance(data, int) and abs(data) > _LARGEST_INTEGER:
        raise ValueError(f"{data} is too large for an argument of a policy")
    if not isinstance(data, dict):
        return data
    if "class" in data:
        return build(data)
    (kind, content), *others = data.items()
    if others or kind not in _READERS:
        raise ValueError(f"a value is described by {', '.join(map(repr, data))}, which is not known")
    return _READERS[kind](content)


def _lookup(table: Mapping[str, Any], name: Any, what: str) -> Any:
    if name not in table:
        raise ValueError(f"unknown {what} {name!r}")
    return table[name]


def _dtype(name: Any) -> torch.dtype:
    found = getattr(torch, str(name), None)
    if not isinstance(found, torch.dtype):
        raise ValueError(f"unknown dtype {name!r}")
    return found


def _env_spec(data: Any) -> EnvSpec:
    spec = env_spec_from_json(data)
    if max(spec.observation_size, spec.action_size) > _LARGEST_INTEGER:
        raise ValueError(f"{spec} is too large for a policy")
    return spec


def _partial(parts: Any) -> functools.partial[Any]:
    function, args, keywords = map(_value, parts)
    return functools.partial(function, *args, **keywords)


_READERS: dict[str, Callable[[Any], Any]] = {
    "tuple": lambda items: tuple(map(_value, items)),
    "dict": lambda pairs: {_value(key): _value(item) for key, item in pairs},
    "dtype": _dtype,
    "env_spec": _env_spec,
    "space": space_from_json,
    "type": lambda name: _lookup({**MODULES, **_CLASSES}, name, "class"),
    "function": lambda name: _lookup(_FUNCTIONS, name, "function"),
    "module": build_module,
    "partial": _partial,
}
