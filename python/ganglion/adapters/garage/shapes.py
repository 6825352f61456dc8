"""Which policy of garage arrays are of, and its sizes; what names and shapes do not tell becomes questions."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from ganglion.adapters._settings import (
    FLAG,
    NONLINEARITY,
    Question,
    default_name,
    flag,
    nonlinearity,
    number,
    size,
    sizes,
)
from ganglion.errors import ArtifactError
from ganglion.policies import GaussianGRUPolicy, GaussianLSTMPolicy, GaussianMLPPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_CELLS: dict[str, type[Any]] = {"lstm_layer": GaussianLSTMPolicy, "gru_layer": GaussianGRUPolicy}
_STATES: dict[type[Any], tuple[str, ...]] = {
    GaussianLSTMPolicy: ("hidden", "cell"),
    GaussianGRUPolicy: ("hidden",),
    GaussianMLPPolicy: (),
}
"""Names of the initial states."""
_NAMED_POLICIES = "policy=GaussianLSTMPolicy, GaussianGRUPolicy or GaussianMLPPolicy"


@dataclass(frozen=True)
class Shapes:
    """What arrays say.

    Attributes:
        kind: the class of the policy.
        input_size: elements of what the network gets, the previous action included; None for not told.
        action_size: elements of an action; None for not told.
        arguments: arguments of the constructor.
        questions: further settings that the user must say, by name.
    """

    kind: type[Any]
    input_size: int | None
    action_size: int | None
    arguments: dict[str, Any]
    questions: dict[str, Question]


def read_shapes(values: Any, kind: type[Any] | None, label: str) -> Shapes:
    """Reads names and shapes.

    Args:
        values: arrays by name, a list of them, or a vector.
        kind: the class of the policy, which only arrays by name tell; or None.
        label: what messages call the file.

    Raises:
        ArtifactError: the arrays are those of no policy that is known here.
        ValueError: the arrays have no names, and there is no `kind`; or it is another one than the names tell.
    """
    if not isinstance(values, Mapping):
        if kind is None:
            raise ValueError(f"{label} has arrays without names, which do not say what they are of: {_NAMED_POLICIES}")
        return _unnamed(kind)
    shapes = _named({name: np.asarray(array) for name, array in values.items()}, label)
    if kind not in (None, shapes.kind):
        raise ValueError(f"{label} has the parameters of a {shapes.kind.__name__}, not of a {kind.__name__}")
    return shapes


def sizes_of(shapes: Shapes, found: dict[str, Any], label: str) -> tuple[int, int]:
    """Returns the sizes of observation and action, and takes the answers about them out of `found`.

    Raises:
        ArtifactError: no observation is left beside the previous action.
        ValueError: with `std_share_network`, the outputs are no pairs.
    """
    action_size = found.pop("action_size", None) if shapes.action_size is None else shapes.action_size
    if shapes.arguments.get("std_share_network", found.get("std_share_network")) and shapes.action_size is not None:
        if action_size % 2:
            raise ValueError(f"{label}: {action_size} outputs are no pairs of mean and log standard deviation")
        action_size //= 2
    if shapes.input_size is None:
        return found.pop("observation_size"), action_size
    observation_size = shapes.input_size - (action_size if found["state_include_action"] else 0)
    if observation_size < 1:
        raise ArtifactError(f"{label} takes {shapes.input_size} elements, no more than the previous action has")
    return observation_size, action_size


def _named(arrays: Mapping[str, NDArray[Any]], label: str) -> Shapes:
    def find(ending: str) -> NDArray[Any] | None:
        found = [array for name, array in arrays.items() if name.split(":")[0].endswith(ending)]
        return found[0] if len(found) == 1 else None

    def length(ending: str, axis: int) -> int:
        array = find(ending)
        if array is None or array.ndim <= axis:
            raise ArtifactError(f"{label} has no array '...{ending}' of a policy of garage, but {list(arrays)[:6]}")
        return int(array.shape[axis])

    arguments: dict[str, Any] = {}
    kind = next((kind for layer, kind in _CELLS.items() if find(f"{layer}/kernel") is not None), GaussianMLPPolicy)
    if kind is GaussianMLPPolicy:
        units: list[int] = []
        while find(f"hidden_{len(units)}/bias") is not None:
            units.append(length(f"hidden_{len(units)}/bias", 0))
        arguments["hidden_sizes"] = tuple(units)
        arguments["layer_normalization"] = any("layer_normalization" in name for name in arrays)
        first, last = "hidden_0" if units else "output", "output"
    else:
        first, last = next(layer for layer, cell in _CELLS.items() if cell is kind), "output_layer"
        arguments["hidden_dim"] = length(f"{first}/recurrent_kernel", 0)
    input_size, outputs = length(f"{first}/kernel", 0), length(f"{last}/bias", 0)
    questions = _questions(kind)
    for state in _STATES[kind]:
        if find(f"initial_{state}") is not None:
            del questions[f"{state}_state_init"]
    if find("parameter") is not None:
        arguments["std_share_network"] = False
        del questions["std_share_network"], questions["init_std"]
    return Shapes(kind, input_size, outputs, arguments, questions)


def _unnamed(kind: type[Any]) -> Shapes:
    # A list may hold everything or what is trained only, a vector the latter: both leave the same questions.
    questions = {
        "observation_size": Question("a number of elements", size),
        "action_size": Question("a number of elements", size),
        **_questions(kind),
    }
    if kind is GaussianMLPPolicy:
        questions["hidden_sizes"] = _question(kind, "hidden_sizes", "a list of numbers of units", sizes)
        questions["layer_normalization"] = _question(kind, "layer_normalization", FLAG, flag)
    else:
        questions["hidden_dim"] = _question(kind, "hidden_dim", "a number of units", size)
    return Shapes(kind, None, None, {}, questions)


def _questions(kind: type[Any]) -> dict[str, Question]:
    """All settings that change numbers, or that tell which of the variables are saved."""
    names = [name for name in inspect.signature(kind).parameters if name.endswith("_nonlinearity")]
    questions = {name: _question(kind, name, NONLINEARITY, nonlinearity) for name in names}
    for name in ("state_include_action", "std_share_network"):
        questions[name] = _question(kind, name, FLAG, flag)
    questions["init_std"] = _question(kind, "init_std", "a number", number)
    for name in ("learn_std", *(f"{state}_state_init_trainable" for state in _STATES[kind])):
        questions[name] = Question(FLAG, flag, inspect.signature(kind).parameters[name].default, optional=True)
    for state in _STATES[kind]:
        questions[f"{state}_state_init"] = Question("a number", _constant, 0.0)
    return questions


def _constant(value: Any) -> Callable[..., Any]:
    return functools.partial(nn.init.constant_, val=number(value))


def _question(kind: type[Any], name: str, expected: str, parse: Callable[[Any], Any]) -> Question:
    return Question(expected, parse, default_name(inspect.signature(kind).parameters[name].default))
