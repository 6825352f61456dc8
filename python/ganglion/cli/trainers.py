"""Checkpoints of other trainers for the command line: the options of `ganglion export --from TRAINER`."""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any

from ganglion import adapters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ganglion.policies import RecurrentPolicy


def load_checkpoint_of(trainer: str, checkpoint: str, settings: Sequence[str], **options: Any) -> RecurrentPolicy:
    """Loads a checkpoint by the adapter of its trainer.

    Args:
        trainer: one of `ganglion.adapters.TRAINERS`.
        checkpoint: path of the file.
        settings: further arguments of the adapter's `load`, each `name=value`; a value is JSON, or else a text.
        **options: arguments of the adapter's `load`; those that are None or False are left out.

    Raises:
        ValueError: the adapter has no such argument; those that it has are named.
        GanglionError: as the adapter's `load`.
    """
    load = getattr(adapters, trainer).load
    arguments = {name: value for name, value in options.items() if value not in (None, False)}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise ValueError(f"--set takes NAME=VALUE, not '{setting}'")
        arguments[name] = _value(text)
    parameters = inspect.signature(load).parameters
    known = [name for name in parameters if name != "allow_pickle"][1:]
    # An adapter that takes any argument knows them once it has seen the checkpoint, and says so itself.
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    for name in arguments:
        if name not in parameters and not takes_any:
            raise ValueError(f"checkpoints of {trainer} take no '{name}'; they take {', '.join(known)}")
    try:
        policy: RecurrentPolicy = load(checkpoint, **arguments)
    except TypeError as error:
        # A value of another type than the adapter takes, which on a command line is a wrong argument.
        raise ValueError(f"{trainer}: {error}") from error
    return policy


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
