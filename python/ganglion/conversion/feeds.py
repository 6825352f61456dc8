"""What the input of a second module is made of: the words that a user says, and what they mean."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ganglion.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ganglion.contract import Contract, TensorSpec

_SLICE = re.compile(r"(?P<name>.+?)\[(?P<start>-?\d*):(?P<stop>-?\d*)\]")
_NEW = re.compile(r"(?P<name>.+?):(?P<size>\d+)")
_WORDS = "a part is an output or an input of the first file, 'name' or 'name[start:stop]', or 'name:size', a new input"


@dataclass(frozen=True)
class FeedPart:
    """Neighbouring elements of one tensor.

    Attributes:
        origin: where it comes from: an output of the first module, an input that both take, or an input of its own.
        name: of the tensor.
        start: first element.
        stop: the one behind the last.
        size: elements of the whole tensor.
    """

    origin: Literal["output", "shared", "new"]
    name: str
    start: int
    stop: int
    size: int

    def __str__(self) -> str:
        whole = f"{self.name}:{self.size}" if self.origin == "new" else self.name
        return whole if (self.start, self.stop) == (0, self.size) else f"{self.name}[{self.start}:{self.stop}]"


Feed = dict[str, tuple[FeedPart, ...]]
"""For every input of the second module, what it is made of, in order."""


def read_feed(first: Contract, second: Contract, said: Sequence[str] | Mapping[str, Sequence[str]] | None) -> Feed:
    """What each input of the second module is made of.

    Args:
        first: contract of the first module.
        second: contract of the second module.
        said: parts in order, for a second module with one input, or for each input by its name; None where names and
            sizes tell: an input of the second that has name and size of an output or an input of the first, else the
            only pair of an output and an input of equal sizes.

    Raises:
        ExportError: a part is unknown or does not fit, or names and sizes do not tell.
    """
    named = _by_name(first, second, said)
    if unknown := sorted(set(named) - {spec.name for spec in second.inputs}):
        raise ExportError(f"the second file has no input '{unknown[0]}'; it has {_sizes(second.inputs)}")
    new: dict[str, int] = {}
    feed: Feed = {}
    for spec in second.inputs:
        words = named.get(spec.name)
        parts = (_itself(first, spec),) if words is None else tuple(_part(word, first) for word in words)
        for part in parts:
            if part.origin == "new" and new.setdefault(part.name, part.size) != part.size:
                raise ExportError(f"'{part.name}' is a new input of {new[part.name]} and of {part.size} elements")
        total = sum(part.stop - part.start for part in parts)
        if total != spec.size:
            told = " + ".join(f"{part} {part.stop - part.start}" for part in parts) or "nothing"
            raise ExportError(
                f"the second file's input '{spec.name}' has {spec.size} elements, and {told} are {total}; {_WORDS}"
            )
        feed[spec.name] = parts
    if not any(part.origin == "output" for parts in feed.values() for part in parts):
        raise ExportError(
            "nothing of the first file goes into the second one; name one of its outputs in feed: "
            f"{_sizes(first.outputs)}"
        )
    return feed


def new_parts(feed: Feed) -> list[FeedPart]:
    """The new inputs, each once, in the order in which they are mentioned."""
    found = (part for parts in feed.values() for part in parts if part.origin == "new")
    return list({part.name: part for part in found}.values())


def _by_name(
    first: Contract, second: Contract, said: Sequence[str] | Mapping[str, Sequence[str]] | None
) -> Mapping[str, Sequence[str]]:
    if isinstance(said, str):
        raise TypeError("feed is a sequence of parts, not one string")
    if said is None:
        return _guessed(first, second)
    if not hasattr(said, "keys"):
        if len(second.inputs) != 1:
            raise ExportError(
                f"the second file has several inputs, {_sizes(second.inputs)}; say for each by name what goes into it"
            )
        return {second.inputs[0].name: said}
    return said  # type: ignore[return-value]


def _guessed(first: Contract, second: Contract) -> Mapping[str, Sequence[str]]:
    """Where the output goes: an input of the same name and size, or the only one of an equal size."""
    outputs = {spec.name: spec.size for spec in first.outputs}
    same = {spec.name: [spec.name] for spec in second.inputs if outputs.get(spec.name) == spec.size}
    if same:
        return same
    pairs = [(out, spec) for out in first.outputs for spec in second.inputs if out.size == spec.size]
    if len(pairs) != 1:
        why = "no sizes are equal" if not pairs else "more than one pair of sizes is equal"
        raise ExportError(
            f"which outputs of the first file go where is not clear ({why}): it gives {_sizes(first.outputs)} and "
            f"takes {_sizes(first.inputs)}, the second takes {_sizes(second.inputs)}; say with feed what its input "
            f"is made of, in order: {_WORDS}{_example(first, second)}"
        )
    return {pairs[0][1].name: [pairs[0][0].name]}


def _example(first: Contract, second: Contract) -> str:
    output, rest = first.outputs[0], second.inputs[0].size - first.outputs[0].size
    return f"; for example {output.name},rest:{rest}" if len(second.inputs) == 1 and rest > 0 else ""


def _itself(first: Contract, spec: TensorSpec) -> FeedPart:
    """An input of the second module that nothing was said of: both take it, or it is one of the joined policy."""
    for other in first.inputs:
        if other.name == spec.name:
            if other.size != spec.size:
                raise ExportError(
                    f"both files have an input '{spec.name}', of {other.size} and of {spec.size} elements; say with "
                    f"feed what that of the second is: '{spec.name}[start:stop]' of the first one's, or another name "
                    f"with its size, 'observation:{spec.size}'"
                )
            return FeedPart("shared", spec.name, 0, spec.size, spec.size)
    return FeedPart("new", spec.name, 0, spec.size, spec.size)


def _part(word: str, first: Contract) -> FeedPart:
    known: dict[str, tuple[Literal["output", "shared"], int]] = {
        spec.name: ("shared", spec.size) for spec in first.inputs
    }
    known |= {spec.name: ("output", spec.size) for spec in first.outputs}
    if word in known:
        origin, size = known[word]
        return FeedPart(origin, word, 0, size, size)
    if (cut := _SLICE.fullmatch(word)) and cut["name"] in known:
        origin, size = known[cut["name"]]
        start, stop, _ = slice(*(int(cut[end]) if cut[end] else None for end in ("start", "stop"))).indices(size)
        asked = [int(cut[end]) for end in ("start", "stop") if cut[end]]
        if start >= stop or any(not -size <= bound <= size for bound in asked):
            raise ExportError(f"'{word}': '{cut['name']}' has {size} elements")
        return FeedPart(origin, cut["name"], start, stop, size)
    if new := _NEW.fullmatch(word):
        if new["name"] in known:
            raise ExportError(f"'{word}': the first file has '{new['name']}', of {known[new['name']][1]} elements")
        if not int(new["size"]):
            raise ExportError(f"'{word}': an input has at least one element")
        return FeedPart("new", new["name"], 0, int(new["size"]), int(new["size"]))
    raise ExportError(
        f"'{word}' is neither an output of the first file ({_sizes(first.outputs)}) nor an input of it "
        f"({_sizes(first.inputs)}); {_WORDS}"
    )


def _sizes(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(f"'{spec.name}' ({spec.size})" for spec in specs)
