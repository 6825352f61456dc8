"""What weights do not say about a policy: asked of the user by name, all at once, and never guessed in silence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import gymnasium
import numpy as np

from ganglion._foundation.yaml_files import read_yaml
from ganglion.data.env_spec import EnvSpec
from ganglion.errors import ArtifactError
from ganglion.policies.nonlinearities import as_nonlinearity

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

Config: TypeAlias = "str | os.PathLike[str] | Mapping[str, Any]"

_ASK = object()
_LINEAR = (None, "identity", "linear", "none")


@dataclass(frozen=True)
class Question:
    """One setting.

    Attributes:
        expected: what may be said, for messages.
        parse: makes the argument of what was said; raises TypeError or ValueError.
        default: the trainer's own default, as it may be said; it is taken on request only.
        optional: without an answer there is none, since no number depends on it.
    """

    expected: str
    parse: Callable[[Any], Any]
    default: Any = _ASK
    optional: bool = False


def said(config: Config | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns all settings by name.

    Args:
        config: a YAML file of settings by name, or what is in it; None for no file.
        given: settings by name, which win over `config`.

    Raises:
        ArtifactError: the file is missing, no YAML or no mapping.
        EngineUnavailableError: PyYAML is not installed.
    """
    return {**_of_file(config), **given}


def answers(label: str, trainer: str, questions: Mapping[str, Question], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the answers to all questions.

    Args:
        label: what messages call the file, with what its weights say.
        trainer: its name, for messages.
        questions: questions by the name of the setting.
        settings: what was said, by name. With `defaults=True` there, what is not said is as the trainer's own
            constructors have it.

    Raises:
        ValueError: settings are missing, unknown, or of the wrong kind; all that are missing are named.
    """
    use_defaults = _flag(settings.get("defaults", False), "defaults")
    unknown = sorted(set(settings) - {*questions, "defaults"})
    if unknown:
        known = ", ".join([*questions, "defaults"])
        raise ValueError(f"{label}: there is no setting {', '.join(map(repr, unknown))} for it; there are {known}")
    missing: dict[str, Question] = {}
    found: dict[str, Any] = {}
    for name, question in questions.items():
        if name in settings:
            found[name] = _parsed(name, question, settings[name])
        elif use_defaults and question.default is not _ASK:
            found[name] = question.parse(question.default)
        elif not question.optional:
            missing[name] = question
    if missing:
        raise ValueError(_missing(label, trainer, missing))
    return found


def nonlinearity(value: Any) -> Any:
    """Makes a function of a name; None for linear."""
    return None if isinstance(value, (str, type(None))) and value in _LINEAR else as_nonlinearity(value)


def flag(value: Any) -> bool:
    """Takes true or false only."""
    return _flag(value, "the value")


def number(value: Any) -> float:
    """Takes a finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no finite number")
    return float(value)


def size(value: Any) -> int:
    """Takes a positive whole number."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{value!r} is no positive whole number")
    return value


def sizes(value: Any) -> tuple[int, ...]:
    """Takes a list of positive whole numbers."""
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{value!r} is no list")
    return tuple(map(size, value))


def one_of(choices: Mapping[str, Any]) -> Callable[[Any], Any]:
    """Takes a name out of some, or one of the things that they stand for."""

    def parse(value: Any) -> Any:
        if isinstance(value, str):
            if value not in choices:
                raise ValueError(f"{value!r} is none of {', '.join(choices)}")
            return choices[value]
        if not callable(value) or value not in choices.values():
            raise ValueError(f"{value!r} is none of {', '.join(choices)}")
        return value

    return parse


def bounds(value: Any) -> tuple[float, ...]:
    """Takes a number, or a list with one for each element; infinite ones, too."""
    values = value if isinstance(value, (list, tuple)) else (value,)
    return tuple(float(bound) if bound in (-math.inf, math.inf) else number(bound) for bound in values)


NONLINEARITY = "tanh, relu, sigmoid, ..., or identity"
FLAG = "true or false"
BOUNDS = {
    f"action_{side}": Question("a number, or a list with one for each action", bounds, optional=True)
    for side in ("low", "high")
}
"""Bounds that are only told: what the policy computes does not depend on them."""


def spec_of(
    label: str, observation_size: int, action_size: int, low: Sequence[float] | None, high: Sequence[float] | None
) -> EnvSpec:
    """Makes the spec of vectors of these sizes; actions have bounds where these are given.

    Raises:
        ValueError: there is another number of bounds than of actions, or a lower one is not below the upper one.
    """
    limits = [
        spread(label, side, values, action_size)
        for side, values in (("action_low", low or (-math.inf,)), ("action_high", high or (math.inf,)))
    ]
    if not (limits[0] < limits[1]).all():
        raise ValueError(f"{label}: action_low must lie below action_high, not {low} and {high}")
    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (observation_size,), np.float32)
    return EnvSpec(observation_space, gymnasium.spaces.Box(limits[0], limits[1], dtype=np.float32))


def spread(label: str, name: str, values: Sequence[float], count: int) -> Any:
    """Makes an array of `count` numbers of as many, or of one for all.

    Raises:
        ValueError: there is another number of them.
    """
    if len(values) not in (1, count):
        raise ValueError(f"{label}: {name} has {len(values)} elements; there are {count} actions")
    return np.broadcast_to(np.asarray(values, np.float32), (count,)).copy()


def default_name(value: Any) -> Any:
    """What the user would say for an argument of a constructor."""
    return "identity" if value is None else getattr(value, "__name__", value)


def _of_file(config: Config | None) -> dict[str, Any]:
    if config is None:
        return {}
    content = config if isinstance(config, Mapping) else read_yaml(config)
    if not isinstance(content, Mapping) or not all(isinstance(name, str) for name in content):
        raise ArtifactError(f"'{config}' holds a {type(content).__name__}; expected settings, 'NAME: VALUE' a line")
    return dict(content)


def _flag(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, not {value!r}")
    return value


def _parsed(name: str, question: Question, value: Any) -> Any:
    try:
        return question.parse(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be {question.expected}: {error}") from error


def _missing(label: str, trainer: str, missing: Mapping[str, Question]) -> str:
    texts = [
        f"{name} ({question.expected}"
        + (")" if question.default is _ASK else f"; the default of {trainer}: {_shown(question.default)})")
        for name, question in missing.items()
    ]
    example = " ".join(f"--set {name}=..." for name in missing)
    defaulted = any(question.default is not _ASK for question in missing.values())
    return (
        f"{label} does not say {', '.join(texts)}. Say it: {example}, or lines 'NAME: VALUE' in a file for --config"
        + (f"; --set defaults=true stands for all defaults of {trainer}" if defaulted else "")
        + " (in Python, arguments of load)"
    )


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
