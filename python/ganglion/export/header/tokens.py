"""C++ as a tree of tokens: what stands between brackets is one of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_TOKEN = re.compile(
    r"""(?P<comment>//[^\n]*)
      | (?P<directive>(?<![^\n])[ ]*\#(?:\\\n|[^\n])*)
      | (?P<space>\s+)
      | (?P<string>"(?:\\.|[^"\\])*")
      | (?P<number>(?:0[xX][0-9A-Fa-f]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\w*)
      | (?P<word>[A-Za-z_]\w*)
      | (?P<sign><<=|>>=|->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||::|[-+*/%&|^]=|.)""",
    re.VERBOSE,
)
CLOSING = {"(": ")", "[": "]", "{": "}", "<": ">"}
CASTS = frozenset({"static_cast", "reinterpret_cast"})
_LIBRARY = {"fabs": "fabsf", "sqrt": "sqrtf"}
"""Functions of `std::` that have another name for floats."""


@dataclass(frozen=True)
class Token:
    """One word, number, sign, string, comment or directive, or the space between them."""

    kind: str
    text: str


@dataclass(frozen=True)
class Group:
    """What stands between brackets."""

    opening: str
    items: tuple[Item, ...]


Item: TypeAlias = "Token | Group"


def tree_of(text: str, templates: set[str]) -> Iterator[Item]:
    """The tokens of a piece of C++, with the brackets of templates where one of `templates` is called."""
    text = re.sub(r"std::(\w+)", lambda match: _LIBRARY.get(match[1], match[1]), text)
    tokens = [Token(str(match.lastgroup), match.group()) for match in _TOKEN.finditer(text)]
    return iter(_items(tokens, None, templates))


def _items(tokens: list[Token], closing: str | None, templates: set[str]) -> tuple[Item, ...]:
    out: list[Item] = []
    while tokens:
        token = tokens.pop(0)
        if token.text == closing:
            return tuple(out)
        before = out[-1].text if out and isinstance(out[-1], Token) else ""
        is_template = token.text == "<" and (
            before in templates
            or before in CASTS
            or (before.isspace() and len(out) > 1 and source_of(out[-2]) == "template")
        )
        if token.kind == "sign" and (token.text in "([{" or is_template):
            out.append(Group(token.text, _items(tokens, CLOSING[token.text], templates)))
        else:
            out.append(token)
    return tuple(out)


def take_template(items: list[Item]) -> list[tuple[str, str]]:
    """Takes a template's brackets away from the beginning; answers the kind and the name of each parameter."""
    group = next(item for item in items if isinstance(item, Group))
    del items[: items.index(group) + 1]
    while isinstance(items[0], Token) and items[0].kind == "space":
        del items[0]
    parts = (significant(part) for part in separated(group.items))
    return [("".join(source_of(word) for word in part[:-1]), source_of(part[-1])) for part in parts]


def source_of(item: Item) -> str:
    """The C++ of an item."""
    if isinstance(item, Token):
        return item.text
    return f"{item.opening}{''.join(map(source_of, item.items))}{CLOSING[item.opening]}"


def flattened(items: Sequence[Item]) -> Iterator[Token]:
    """The tokens in their order, brackets among them."""
    for item in items:
        if isinstance(item, Group):
            yield Token("sign", item.opening)
            yield from flattened(item.items)
            yield Token("sign", CLOSING[item.opening])
        else:
            yield item


def significant(items: Sequence[Item]) -> list[Item]:
    """Without space, comments and directives."""
    return [item for item in items if isinstance(item, Group) or item.kind not in ("space", "comment", "directive")]


def separated(items: Sequence[Item]) -> list[list[Item]]:
    """What stands between commas."""
    parts: list[list[Item]] = [[]]
    for item in items:
        if isinstance(item, Token) and item.text == ",":
            parts.append([])
        else:
            parts[-1].append(item)
    return parts


def take_until(items: list[Item], sign: str) -> list[Item]:
    """Takes away all up to a sign, and the sign."""
    at = next(i for i, item in enumerate(items) if isinstance(item, Token) and item.text == sign)
    taken = items[:at]
    del items[: at + 1]
    return taken


def take_until_group(items: list[Item], opening: str) -> list[Item]:
    """Takes away all before a bracket."""
    at = next(i for i, item in enumerate(items) if isinstance(item, Group) and item.opening == opening)
    taken = items[:at]
    del items[:at]
    return taken


def replaced(group: Group, word: str, text: str) -> Group:
    """With another text in place of a word."""
    items = (
        replaced(item, word, text)
        if isinstance(item, Group)
        else Token("word", text) if item.text == word else item
        for item in group.items
    )  # fmt: skip
    return Group(group.opening, tuple(items))
