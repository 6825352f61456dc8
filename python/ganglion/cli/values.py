"""What the values of options of `ganglion` may be. Importing this needs nothing that is slow."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Engines:
    """The names of the engines, looked up when somebody asks: the C++ runtime is loaded for that.

    Empty, and any name is in it, where the runtime cannot be loaded, of which `ganglion doctor` tells.
    """

    def __iter__(self) -> Iterator[str]:
        try:
            from ganglion.runtime import engine_names
        except ImportError:
            return iter(())
        return iter(engine_names())

    def __contains__(self, name: object) -> bool:
        names = tuple(self)
        return not names or name in names


def golden_steps(text: str) -> int:
    """An integer of at least `GOLDEN_STEPS`."""
    from ganglion.contract import GOLDEN_STEPS

    return at_least(GOLDEN_STEPS)(text)


def at_least(least: int) -> Callable[[str], int]:
    """An integer that is not smaller."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"'{text}' is not an integer of at least {least}")
        return value

    return parse


def tolerance(text: str) -> float:
    """A positive number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0.0):
        raise argparse.ArgumentTypeError(f"'{text}' is not a positive number")
    return value


def batch_or_any(text: str) -> int | str:
    """A number of rows, or `any`."""
    return "any" if text == "any" else at_least(1)(text)


def iteration(text: str) -> str:
    """A number of a snapshot, `last` or `first`."""
    return text if text in ("last", "first") else str(at_least(0)(text))


def _headers() -> tuple[str, ...]:
    from ganglion._foundation.targets import HEADERS  # here, because it comes with the C++ runtime

    return HEADERS


def native_path(text: str) -> str:
    """What a compiled policy is written to."""
    if Path(text).suffix not in (".ganglion", *_headers()):
        raise argparse.ArgumentTypeError(f"'{text}': a compiled policy ends in .ganglion, .hpp or .h")
    return text


def chained_path(text: str) -> str:
    """What a chained policy is written to."""
    if Path(text).suffix not in (".ganglion", ".onnx", *_headers()):
        raise argparse.ArgumentTypeError(f"'{text}': a chained policy ends in .ganglion, .onnx, .hpp or .h")
    return text


def names(text: str) -> list[str]:
    """Names with commas between them."""
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"'{text}': names with commas between them are expected")
    return names


def report_path(text: str) -> str:
    """What a report is written to."""
    if Path(text).suffix not in (".html", ".json"):
        raise argparse.ArgumentTypeError(f"'{text}': a report ends in .html or .json")
    return text


def wiring_path(text: str) -> str:
    """What a report of the wiring, or its correction, is written to."""
    if Path(text).suffix not in (".html", ".json", ".yaml"):
        raise argparse.ArgumentTypeError(f"'{text}': it ends in .html, .json or .yaml")
    return text


class State(argparse.Action):
    """Gathers `--state INPUT:OUTPUT` into a dictionary."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, text: Any, *_: Any) -> None:
        """Takes one more."""
        if text == "none":
            setattr(namespace, self.dest, getattr(namespace, self.dest) or {})
            return
        source, colon, target = str(text).rpartition(":")
        if not (source and colon and target):
            parser.error(f"--state takes INPUT:OUTPUT, not '{text}'")
        setattr(namespace, self.dest, {**(getattr(namespace, self.dest) or {}), source: target})


class Observation(argparse.Action):
    """Takes `--observation N`, or gathers `--observation INPUT:N` into a dictionary."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, text: Any, *_: Any) -> None:
        """Takes one more."""
        name, colon, count = str(text).rpartition(":")
        try:
            size = at_least(1)(count)
        except argparse.ArgumentTypeError as error:
            parser.error(f"--observation takes N or INPUT:N: {error}")
        given = getattr(namespace, self.dest)
        setattr(namespace, self.dest, {**(given if isinstance(given, dict) else {}), name: size} if colon else size)


class Feed(argparse.Action):
    """Takes `--feed PART,PART,...`, or gathers `--feed INPUT=PART,...` into a dictionary."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, text: Any, *_: Any) -> None:
        """Takes one more."""
        name, equals, said = str(text).rpartition("=")
        given = getattr(namespace, self.dest)
        if given is not None and not (equals and isinstance(given, dict)):
            parser.error("--feed is given once, or as INPUT=PART,... for each input of the second file")
        try:
            parts = names(said)
        except argparse.ArgumentTypeError as error:
            parser.error(f"--feed takes PART,PART,... or INPUT=PART,PART,...: {error}")
        setattr(namespace, self.dest, {**(given or {}), name: parts} if equals else parts)
