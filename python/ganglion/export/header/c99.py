"""From the C++ of the header target to C99: the functions of a policy are written once, and this makes C of them.

What it reads is the C++ of `math.hpp`, `numbers.hpp` and of the files beside this one, of which it knows so much:

* functions, aggregates, `using`, and constants with `constexpr`; no classes, references, or captures
* templates: numbers become the first parameters; `Weight` and `Index` make a function for each type that is asked for;
  `OfOne`, `OfTwo` and `OfRow` become pointers to functions, and a lambda is a function of its own
* `Vector` and `Mask`, which are `float` and `bool` here: `set(x)` is x. A product of Vectors becomes a call, behind
  which no compiler joins it with a sum; so does their minus sign, which is a difference from 0 (cpp/NUMERICS.md)

Every name gets that of the policy before it, so that a program can have several.
"""

from __future__ import annotations

import itertools
import re
import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ganglion.export.header.tokens import (
    CASTS,
    CLOSING,
    Group,
    Item,
    Token,
    flattened,
    replaced,
    separated,
    significant,
    source_of,
    take_template,
    take_until,
    take_until_group,
    tree_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_FUNCTION = re.compile(r"^(template <[^{;]*?>\s+)?(?:inline|GANGLION_INLINE)\s+([^(]*?)\b(\w+)\(([^)]*)", re.MULTILINE)
"""Template, result, name and parameters."""
_TYPES = {"Vector": "float", "Mask": "bool"}
_WORDS = {**_TYPES, "nullptr": "NULL", "asm": "__asm__"}
_KEYWORDS = (
    "auto bool char const constexpr double else float if inline int return sizeof static struct unsigned using void "
    "volatile for while break"
)
_NO_OPERAND = frozenset(_KEYWORDS.split()) | _TYPES.keys()
_FUNCTION_TYPES = {
    "OfOne": "float (*{})(float)", "OfTwo": "float (*{})(float, float)", "OfRow": "float (*{})(const float*)",
}  # fmt: skip
_ELEMENT_TYPES = frozenset({"Weight", "Index"})
_OPERATORS = {("*", 2): "times", ("-", 1): "negative"}
"""The operators of Vectors that become functions, by sign and number of operands; floats have the others."""


@dataclass
class Translator:
    """Makes C99 of pieces of C++, which come in the order of the header.

    Attributes:
        prefix: the name of the policy, which stands before every other one.
        element_types: the types of elements that each function with a `Weight` or `Index` is asked for.
        names: C names by C++ names, of all that has been defined.
        templates: numbers of the templates so far, by function; the size of an array in `_arrays`.
    """

    prefix: str
    element_types: Mapping[str, Sequence[str]]
    array_types: Mapping[str, str]
    names: dict[str, str] = field(default_factory=dict)
    _templates: set[str] = field(default_factory=set)
    _sized: set[str] = field(default_factory=set)
    _typed: set[str] = field(default_factory=set)
    _returns: dict[str, str] = field(default_factory=dict)
    _vector_members: set[str] = field(default_factory=set)
    _lambdas: dict[str, str] = field(default_factory=dict)
    _hoisted: list[str] = field(default_factory=list)
    # Of the function that is being written:
    _vectors: set[str] = field(default_factory=set)
    _result: str = ""
    _element_type: str | None = None

    def definitions(self, text: str, public: Mapping[str, str] | None = None) -> str:
        """Definitions as C99.

        Args:
            text: C++.
            public: C names of what is defined here, where they are others than `<prefix>_detail_<name>`.
        """
        self._define(text, public or {})
        out: list[str] = []
        items = list(tree_of(text, self._templates))
        while items:
            written = self._definition(items)
            at = len(out)  # what a definition brings along goes before the comment on it
            while at > 0 and out[at - 1].lstrip()[:2] in ("", "//"):
                at -= 1
            out[at:at] = [f"\n\n{function}\n\n" for function in self._hoisted]
            self._hoisted.clear()
            out.append(written)
        return _wrapped(re.sub(r"\n{3,}", "\n\n", "".join(out)).strip())

    def _define(self, text: str, public: Mapping[str, str]) -> None:
        code = re.sub(r"//.*", "", text)
        for name in set(re.findall(r"\b(?:struct|using)\s+(\w+)", code)) - _TYPES.keys():
            self.names.setdefault(name, public.get(name, f"{self.prefix}_detail_{name}"))
        found = _FUNCTION.findall(code)
        seen: set[str] = set()
        for template, result, name, parameters in found:
            self.names.setdefault(name, public.get(name, f"{self.prefix}_detail_{name}"))
            self._returns[name] = result.strip()
            if re.search(r"std::size_t|bool", template):
                self._templates.add(name)
            if "(&" in parameters:
                self._sized.add(name)
            if any(f"typename {kind}" in template for kind in _ELEMENT_TYPES) or (name in seen and "#" not in code):
                self._typed.add(name)
            seen.add(name)
        for name in re.findall(r"^constexpr [\w:]+ (\w+)", code, re.M):
            self.names.setdefault(name, public.get(name, f"{self.prefix}_detail_{name}"))
        for body in re.findall(r"\bstruct \w+ \{(.*?)\}", code, re.S):
            self._vector_members |= set(re.findall(r"\bVector (\w+);", body))

    # ---- definitions ----

    def _definition(self, items: list[Item]) -> str:
        item = items.pop(0)
        if isinstance(item, Token) and item.kind in ("space", "comment", "directive"):
            return item.text
        text = source_of(item)
        if text == "template":
            return self._function(items, take_template(items))
        if text in ("inline", "GANGLION_INLINE"):
            items.insert(0, item)
            return self._function(items, [])
        if text == "struct":
            return self._struct(items)
        if text == "using":
            words = take_until(items, ";")
            name, kind = significant(words)[0], words[words.index(Token("sign", "=")) + 1 :]
            return f"typedef {self._type(kind).strip()} {self.names[source_of(name)]};"
        if text == "constexpr":
            return self._constant(take_until(items, ";"), at_top=True)
        raise AssertionError(f"no definition: {text}")

    def _struct(self, items: list[Item]) -> str:
        words = take_until(items, ";")
        name, body = source_of(significant(words)[0]), words[-1]
        assert isinstance(body, Group)
        if name in _TYPES:
            return ""
        members = "".join(self._member(item, body.items[index + 1 :]) for index, item in enumerate(body.items))
        return f"typedef struct {self.names[name]} {{{members}}} {self.names[name]};"

    def _member(self, item: Item, rest: Sequence[Item]) -> str:
        """A member's name stays as it is; types and sizes do not."""
        behind = next((source_of(other) for other in rest if source_of(other).strip()), "")
        if isinstance(item, Token) and item.kind == "word" and (behind == ";" or behind.startswith("[")):
            return item.text
        return self._emit([item])

    def _constant(self, words: Sequence[Item], *, at_top: bool) -> str:
        at = words.index(Token("sign", "="))
        *kind, name = significant(words[:at])
        is_array = isinstance(name, Group)
        if is_array:
            *kind, name, _ = significant(words[:at])
        written = self._type(kind).strip()
        own = self.names[source_of(name)] if at_top else source_of(name)
        value = self._emit(words[at + 1 :]).strip()
        if is_array:
            return f"static const {written} {own}[] = {value};"
        if written in ("size_t", "int"):  # sizes of arrays are made of them
            return f"#define {own} {value}U" if at_top else f"enum {{ {own} = {value} }};"
        return f"{'static ' if at_top else ''}const {written} {own} = {value};"

    def _function(self, items: list[Item], template: Sequence[tuple[str, str]]) -> str:
        head = take_until_group(items, "(")
        parameters = items.pop(0)
        assert isinstance(parameters, Group)
        take_until_group(items, "{")
        body = items.pop(0)
        assert isinstance(body, Group)
        words = significant(head)
        if any(source_of(word) == "each" for word in words):
            return ""  # is left out where it is called
        kind, name = self._named(words, parameters)
        if name is None:
            return ""
        element = next((written for _, written in template if written in _ELEMENT_TYPES), None)
        asked: Sequence[str] = self.element_types["gather" if name == "gather" else "affine"]
        types: Sequence[str | None] = (None,)
        if element is not None:
            types = asked
        elif name in self._typed:
            types = [kind for kind in asked if kind == self._own_type(parameters)]
        written = [self._written(kind, name, words[0], template, parameters, body, element, one) for one in types]
        return "\n\n".join(written)

    def _own_type(self, parameters: Group) -> str:
        """Of one of several functions of a name: the type of elements that makes the difference."""
        return self._type(parameters.items).removeprefix("const ").partition("*")[0].strip()

    def _named(self, words: Sequence[Item], parameters: Group) -> tuple[str, str | None]:
        texts = [source_of(word) for word in words]
        if "operator" in texts:
            at = texts.index("operator")
            count = 1 + sum(source_of(item) == "," for item in parameters.items)
            name = _OPERATORS.get(("".join(texts[at + 1 :]), count))
            if name is not None:
                self.names[name] = f"{self.prefix}_detail_{name}"
                self._returns[name] = "Vector"
            return "Vector", name
        if texts[-1] == "set":
            return "Vector", None  # is left out where it is called
        return " ".join(texts[1:-1]), texts[-1]

    def _written(
        self,
        kind: str,
        name: str,
        storage: Item,
        template: Sequence[tuple[str, str]],
        parameters: Group,
        body: Group,
        element: str | None,
        element_type: str | None,
    ) -> str:
        self._vectors, self._element_type = set(), element_type
        if element is not None and element_type is not None:
            parameters, body = replaced(parameters, element, element_type), replaced(body, element, element_type)
        self._collect_vectors((*parameters.items, *body.items))
        result = self._type(tree_of(kind, set())).strip().replace(" *", "*")
        self._result = kind.split()[-1] if kind else ""
        numbers = [f"const {_plain_type(what)} {written}" for what, written in template if what != "typename"]
        given = [text for part in separated(parameters.items) if (text := self._parameter(part))]
        inner = self._emit(body.items)
        suffix = f"_{element_type}" if element_type else ""
        own = f"{self.names[name]}{suffix}"
        checked = "GANGLION_CHECKED " if kind == "Status" else ""
        how = "GANGLION_INLINE" if source_of(storage) == "GANGLION_INLINE" else "static inline"
        return f"{checked}{how} {result} {own}({', '.join([*numbers, *given]) or 'void'}) {{{inner}}}"

    def _parameter(self, part: Sequence[Item]) -> str:
        words = significant(part)
        if not words:
            return ""
        kind = source_of(words[0])
        if kind in _FUNCTION_TYPES:
            return _FUNCTION_TYPES[kind].format(source_of(words[-1]))
        for item in words:
            if isinstance(item, Group) and item.opening == "(":  # const double (&c)[Size]
                return f"const double* {source_of(significant(item.items)[-1])}"
        return " ".join(self._emit(part).split()).replace(" *", "*")

    def _type(self, items: Sequence[Item] | Iterator[Item]) -> str:
        return self._emit(list(items))

    def _collect_vectors(self, items: Sequence[Item]) -> None:
        flat = [item for item in flattened(items) if item.kind not in ("space", "comment", "directive")]
        for one, other in itertools.pairwise(flat):
            if one.text == "Vector" and other.kind == "word":
                self._vectors.add(other.text)

    # ---- what stands in a body ----

    def statements(self, lines: Sequence[str]) -> tuple[list[str], str]:
        """Statements of a step as C99, and the functions that they bring along."""
        self._vectors, self._element_type, self._result = set(), None, ""
        written = [
            line if line.startswith("//") else self._emit(list(tree_of(line, self._templates))) for line in lines
        ]
        functions, self._hoisted = self._hoisted, []
        return written, _wrapped("\n".join(functions))

    def _emit(self, items: Sequence[Item]) -> str:
        rest, out, before = list(items), [], ""
        while rest:
            item = rest[0]
            if isinstance(item, Token) and item.kind in ("space", "comment", "directive"):
                out.append(item.text)
                rest.pop(0)
                continue
            piece = self._special(rest, before)
            if piece is None:
                text, _ = self._product(rest, before)
                piece = text
            out.append(piece)
            before = piece.strip()[-1:] if piece.strip() else before
            if re.search(r"\b(return|sizeof|case)$", piece):
                before = ""
        return "".join(out)

    def _special(self, rest: list[Item], before: str) -> str | None:
        text = source_of(rest[0])
        if text == "constexpr":
            del rest[0]
            if out_of_if := self._is_condition(rest):
                return out_of_if
            return self._constant(take_until(rest, ";"), at_top=False)
        if text == "noexcept":
            del rest[0]
            return ""
        if text == "return":
            behind = significant(rest)[1]
            if isinstance(behind, Group) and behind.opening == "{":
                take_until(rest, ";")
                value = self._emit(behind.items).strip()
                if self._result in _TYPES:
                    return f"return {value};"
                kind = self.names[self._result]
                made = f"const {kind} answer = {{{value}}};"
                return f"{{ {made} return answer; }}" if before == ")" else f"{made}\n  return answer;"
        if text == "auto":
            del rest[0]
            cast = next(item for item in rest if isinstance(item, Group) and item.opening == "<")
            return self._type(cast.items)
        return None

    def _is_condition(self, rest: Sequence[Item]) -> str:
        first = significant(rest)[0]
        if isinstance(first, Group):
            return "\b"  # `if constexpr (...)`: taken out with the space before it
        return ""

    def _product(self, rest: list[Item], before: str) -> tuple[str, bool]:
        """A primary, or a chain of products and quotients of primaries; is it a Vector?"""
        operand = self._operand(rest, before)
        if operand is None:
            item = rest.pop(0)
            return self._plain(item), False
        text, is_vector = operand
        while True:
            at = next((i for i, item in enumerate(rest) if source_of(item).strip()), None)
            if at is None or source_of(rest[at]) not in ("*", "/"):
                return text, is_vector
            sign, behind = source_of(rest[at]), rest[at + 1 :]
            while behind and isinstance(behind[0], Token) and behind[0].kind == "space":
                del behind[0]
            other = self._operand(behind, sign)
            if other is None:
                return text, is_vector
            rest[:] = behind
            is_vector = is_vector or other[1]
            if sign == "*" and is_vector:
                text = f"{self.names['times']}({_bare(text)}, {_bare(other[0])})"
            else:
                text = f"{text} {sign} {other[0]}"

    def _operand(self, rest: list[Item], before: str) -> tuple[str, bool] | None:
        item = rest[0] if rest else None
        if item is None:
            return None
        if isinstance(item, Token) and item.text == "-" and before in ("", *"(,=?:+-*/<>{;&|[]!") and before != ")":
            behind = rest[1:]
            found = self._operand(behind, "-")
            if found is None:
                return None
            rest[:] = behind
            text, is_vector = found
            return (f"{self.names['negative']}({_bare(text)})", True) if is_vector else (f"-{text}", False)
        if isinstance(item, Group):
            if item.opening == "(":
                del rest[0]
                inner = self._emit(item.items)
                return self._postfix(f"({inner})", self._has_vector(item), rest)
            if item.opening == "[" and before != "" and not _is_word_end(before):
                return self._lambda(rest), False
            return None
        if item.kind == "number":
            del rest[0]
            return item.text, False
        if item.kind != "word" or item.text in _NO_OPERAND or item.text.endswith("_t"):
            return None
        return self._name(rest)

    def _name(self, rest: list[Item]) -> tuple[str, bool] | None:
        name = source_of(rest[0])
        if len(rest) > 2 and source_of(rest[1]) == "::":
            space, name = name, source_of(rest[2])
            del rest[:3]
            if space in ("weights", "golden"):
                return self._postfix(f"{self.prefix}_{space}_{name}", False, rest)
            if space == "Status":
                return f"{self.prefix}_{name}", False
            assert space == "detail", space
        else:
            del rest[0]
        if name in CASTS:
            kind, value = rest[0], rest[1]
            assert isinstance(kind, Group)
            assert isinstance(value, Group)
            del rest[:2]
            return f"({self._type(kind.items)}){_paren(self._emit(value.items))}", False
        called = bool(rest) and isinstance(rest[0], Group) and rest[0].opening in "(<"
        if name == "set" and called:
            value = rest.pop(0)
            assert isinstance(value, Group)
            return self._postfix(_paren(self._emit(value.items)), True, rest)
        if name == "each" and called:
            value = rest.pop(0)
            assert isinstance(value, Group)
            function, *arguments = (self._emit(part).strip() for part in separated(value.items))
            return f"{function}({', '.join(arguments)})", True
        if called and name in self.names:
            return self._postfix(self._call(name, rest), self._returns.get(name) == "Vector", rest)
        is_vector = name in self._vectors
        return self._postfix(self.names.get(name, _WORDS.get(name, name)), is_vector, rest)

    def _call(self, name: str, rest: list[Item]) -> str:
        numbers: list[str] = []
        given = rest.pop(0)
        assert isinstance(given, Group)
        if given.opening == "<":
            numbers = [self._emit(part).strip() for part in separated(given.items)]
            given = rest.pop(0)
            assert isinstance(given, Group)
        parts = [part for part in separated(given.items) if significant(part)]
        arguments = [self._emit_argument(part) for part in parts]
        own = self.names[name]
        if name in self._typed:
            kind = self._element_type or self._type_of_arguments(given)
            own = f"{own}_{kind}"
        if name in self._sized:
            array = arguments[0]
            numbers = [f"sizeof {array} / sizeof *{array}"]
        return f"{own}({', '.join([*numbers, *arguments])})"

    def _emit_argument(self, part: Sequence[Item]) -> str:
        # As behind a bracket, where a minus sign has one operand and a lambda can begin.
        rest, text = [Token("sign", "("), *part], ""
        text = self._emit(rest)
        return " ".join(text[1:].split())

    def _type_of_arguments(self, given: Group) -> str:
        texts = [item.text for item in flattened(given.items)]
        return self.array_types[texts[texts.index("weights") + 2]]

    def _postfix(self, text: str, is_vector: bool, rest: list[Item]) -> tuple[str, bool]:
        """Indices, calls and members behind a primary."""
        while rest:
            item = rest[0]
            if isinstance(item, Group) and item.opening in "[(":
                del rest[0]
                text += f"{item.opening}{self._emit(item.items)}{CLOSING[item.opening]}"
                continue
            sign = source_of(item)
            if sign in ("++", "--"):
                del rest[0]
                text += sign
                continue
            if sign not in (".", "->"):
                break
            member = source_of(rest[1])
            del rest[:2]
            if member in ("v", "bits") and sign == ".":  # of a Vector, of a Mask
                is_vector = False
                continue
            text, is_vector = f"{text}{sign}{member}", member in self._vector_members
        return text, is_vector

    def _has_vector(self, group: Group) -> bool:
        flat = list(flattened(group.items))
        return any(
            token.kind == "word"
            and (token.text in self._vectors or token.text == "set" or self._returns.get(token.text) == "Vector")
            and (index + 1 == len(flat) or flat[index + 1].text != ".")
            for index, token in enumerate(flat)
        )

    def _lambda(self, rest: list[Item]) -> str:
        del rest[0]
        parameters, body = (item for item in significant(rest)[:2])
        assert isinstance(parameters, Group)
        assert isinstance(body, Group)
        del rest[: rest.index(body) + 1]
        vectors = self._vectors
        self._vectors = set()
        self._collect_vectors(parameters.items)
        given = ", ".join(self._parameter(part) for part in separated(parameters.items))
        text = f"({given}) {{{self._emit(body.items)}}}"
        self._vectors = vectors
        if text not in self._lambdas:
            self._lambdas[text] = f"{self.prefix}_detail_function_{len(self._lambdas)}"
            self._hoisted.append(f"static inline float {self._lambdas[text]}{text}")
        return self._lambdas[text]

    def _plain(self, item: Item) -> str:
        if isinstance(item, Group):
            return f"{item.opening}{self._emit(item.items)}{CLOSING[item.opening]}"
        if item.kind == "word":
            return self.names.get(item.text, _WORDS.get(item.text, item.text))
        return item.text


def _plain_type(text: str) -> str:
    return text.removeprefix("std::")


def _paren(text: str) -> str:
    return text if re.fullmatch(r"\*?\w+(\.\w+)?|[\w.]+e-\d+F?", text) or _is_closed(text) else f"({text})"


def _is_closed(text: str) -> bool:
    """Whether one pair of brackets is around all of it, or one call is all of it."""
    if not re.fullmatch(r"\w*[([].*[)\]]", text, re.S):
        return False
    depth = 0
    for index, sign in enumerate(text):
        depth += (sign in "([") - (sign in ")]")
        if depth == 0 and sign in ")]":
            return index == len(text) - 1
    return False


def _bare(text: str) -> str:
    """Without brackets around all of it: an argument needs none."""
    return text[1:-1] if text.startswith("(") and _is_closed(text) else text


def _is_word_end(text: str) -> bool:
    return text.isalnum() or text in "_)]"


def _wrapped(text: str) -> str:
    """No line is longer than 120 columns, if a literal of characters does not make it so."""
    lines: list[str] = []
    for line in text.replace(" \b", "").split("\n"):
        if len(line) <= 120 or line.lstrip().startswith(("//", "#")):
            lines.append(line)
            continue
        indent = line[: len(line) - len(line.lstrip())]
        code, _, comment = line.strip().partition("  //")
        if comment:
            lines.append(f"{indent}//{comment}")
        whole = re.sub(r'"[^"]*"', lambda literal: literal[0].replace(" ", "\0"), code)
        parts = textwrap.wrap(
            whole, 120, initial_indent=indent, subsequent_indent=f"{indent}    ", break_long_words=False,
            break_on_hyphens=False,
        )  # fmt: skip
        lines += [part.replace("\0", " ") for part in parts]
    return "\n".join(lines)
