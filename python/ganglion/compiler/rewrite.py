"""Replaces groups of operations by one: the machinery. The rules are in `fuse.py` and `cells.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ganglion.compiler.builder import Node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from numpy.typing import NDArray

    from ganglion.compiler.builder import Builder
    from ganglion.compiler.lowering.graph import Lowered

    Rule = Callable[["Graph", Node], Node | None]
    """Looks at an operation and those before it; returns one that writes the same values, or None."""


class Graph:
    """The operations of a builder, with who writes and how many read each value."""

    def __init__(self, builder: Builder, ends: Iterable[int]) -> None:
        self.builder = builder
        self._added: list[Node] = []
        self._removed: set[int] = set()
        self._gathers: dict[tuple[bytes, ...], int] = {}
        self._readers = [0] * len(builder.sizes)
        for value in ends:
            self._read(value)
        # What nothing reads must not keep others from being the only reader of something.
        live = []
        for node in reversed(builder.nodes):
            if any(self._readers[value] for value in node.outputs):
                live.append(node)
                for value in node.inputs:
                    self._read(value)
        builder.nodes = live[::-1]

    def apply(self, rules: Sequence[Rule]) -> None:
        """Applies rules to every operation, from the first to the last, as long as one of them fits."""
        result: list[Node] = []
        for node in self.builder.nodes:
            current = node
            while True:
                replacement = next(filter(None, (rule(self, current) for rule in rules)), None)
                if replacement is None:
                    break
                result += self._added
                self._added = []
                for value in replacement.inputs:
                    self._read(value)
                for old in self._replaced(current, replacement):
                    for value in old.inputs:
                        self._release(value)
                current = replacement
                self.builder.producers.update((value, current) for value in current.outputs)
            result.append(current)
        self.builder.nodes = _sorted([node for node in result if id(node) not in self._removed])

    def _replaced(self, current: Node, replacement: Node) -> list[Node]:
        """The operations whose values the new one writes: the current one, and others before it."""
        others = [self.builder.producers[value] for value in replacement.outputs if value not in current.outputs]
        self._removed.update(id(node) for node in others)
        return [current, *others]

    def add(self, node: Node) -> None:
        """Adds an operation before the one that is being replaced."""
        self._added.append(node)
        self.builder.producers.update((value, node) for value in node.outputs)
        self._readers += [0] * (len(self.builder.sizes) - len(self._readers))
        for value in node.inputs:
            self._read(value)

    def gather(self, sources: Sequence[int], index: NDArray[Any]) -> int:
        """The value with these elements of some values, by an operation before the one that is being replaced."""
        index = index.astype(np.int32)
        key = (*(str(source).encode() for source in sources), index.tobytes())
        if key not in self._gathers:
            self._gathers[key] = self.builder.new_value(index.size)
            self.add(Node("gather", list(sources), [self._gathers[key]], {"index": index}))
        return self._gathers[key]

    def size(self, value: int) -> int:
        """Number of elements of a value."""
        return self.builder.sizes[value]

    def producer(self, value: int, kind: str, function: str | None = None) -> Node | None:
        """The operation that writes a value, if it is of this kind (and computes this function)."""
        node = self.builder.producers.get(value)
        if node is None or node.kind != kind or (function is not None and node.attributes["function"] != function):
            return None
        return node

    def only_reader(self, value: int) -> bool:
        """Whether a single operation reads the value, once, and it is no output or state."""
        return self._readers[value] == 1

    def constant(self, value: int) -> NDArray[np.float32] | None:
        """Elements of a constant value."""
        return self.builder.constants.get(value)

    def is_number(self, value: int, number: float, tolerance: float = 1e-6) -> bool:
        """Whether a value is a constant with all elements this number, to float32 rounding."""
        elements = self.constant(value)
        return elements is not None and bool((abs(elements - number) <= tolerance * abs(number)).all())

    def _read(self, value: int) -> None:
        self._readers[value] += 1

    def _release(self, value: int) -> None:
        self._readers[value] -= 1
        node = self.builder.producers.get(value)
        if node is not None and not any(self._readers[output] for output in node.outputs):
            for source in node.inputs:
                self._release(source)


def rewrite(lowered: Lowered, *passes: Sequence[Rule]) -> None:
    """Applies passes of rules, one pass after the other."""
    for rules in passes:
        ends = (*lowered.outputs, *(after for _, after in lowered.state))
        Graph(lowered.builder, ends).apply(rules)


def _sorted(nodes: list[Node]) -> list[Node]:
    """Operations in an order in which each value is written before it is read; as they are, wherever that is one.

    An operation that writes several values stands where the last of those that it replaced stood, which may be behind
    a reader of the first.
    """
    writers = {value: node for node in nodes for value in node.outputs}
    result: list[Node] = []
    done: set[int] = set()
    stack = nodes[::-1]
    while stack:
        node = stack[-1]
        waiting = [writers[value] for value in node.inputs if value in writers and id(writers[value]) not in done]
        if waiting and id(node) not in done:
            stack += waiting
            continue
        stack.pop()
        if id(node) not in done:
            done.add(id(node))
            result.append(node)
    return result
