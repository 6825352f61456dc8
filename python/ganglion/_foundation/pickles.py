"""Pickles read as data: numbers, text and containers come out, everything else as an inert stand-in.

Nothing in a pickle is called: the opcodes are those of `pickletools`, and the few names whose results are data (arrays
of NumPy, ordered dictionaries) have functions here. A class that is not installed is no obstacle, and one that is
installed is not looked at.
"""

from __future__ import annotations

import io
import math
import pickletools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

NUMERIC = "biuf"
"""Kinds of NumPy's dtypes that are read; arrays of others come out empty, of dtype object."""

_DEEPEST_KEY = 3
_SPARE_BYTES = 1 << 20


class PickleError(ValueError):
    """A pickle is damaged, or asks for what data never need."""


@dataclass(frozen=True)
class Name:
    """A class or function that a pickle names.

    Attributes:
        path: its module and name.
    """

    path: str


@dataclass(eq=False)
class StandIn:
    """Stands for an object that a pickle would have made by a call.

    Attributes:
        kind: what it would have called, such as the name of a class.
        arguments: what with.
        attributes: what it would have set on the object.
        items: what it would have put in, of a kind of dictionary.
    """

    kind: str
    arguments: tuple[Any, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    items: dict[Any, Any] = field(default_factory=dict)

    def build(self, state: Any) -> None:
        """Takes the attributes out of the state that the object would have got."""
        # Objects with slots give a pair of dictionaries.
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, dict):
                self.attributes.update((key, value) for key, value in part.items() if isinstance(key, str))


@dataclass(frozen=True)
class Persistent:
    """Stands for what lies outside the pickle, such as the numbers of a tensor.

    Attributes:
        key: how the pickle calls it.
    """

    key: Any


def read_pickle(data: bytes | BinaryIO, *, names: set[str] | None = None) -> Any:
    """Reads one pickle; a stream is left behind it.

    Args:
        data: the pickle.
        names: gets the names that the pickle has, if it is given.

    Raises:
        PickleError: the pickle is damaged, or asks for what data never need.
    """
    stream = io.BytesIO(data) if isinstance(data, bytes) else data
    start = stream.tell()
    size = stream.seek(0, io.SEEK_END) - start
    stream.seek(start)
    try:
        return _Machine(size, names).run(stream)
    except PickleError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, MemoryError, RecursionError) as error:
        # What a damaged stream leads pickletools and the stack to.
        raise PickleError(f"damaged pickle: {type(error).__name__}: {error}") from error


def stand_ins(value: Any, deepest: int = 6) -> Iterator[str]:
    """Yields what stands for something else in plain data, by name, down to a depth."""
    if isinstance(value, (StandIn, Name, Persistent)):
        yield value.kind if isinstance(value, StandIn) else str(getattr(value, "path", "what lies outside"))
    elif isinstance(value, np.ndarray):
        if value.dtype.kind not in NUMERIC:
            yield f"an array of {value.dtype}"
    elif deepest and isinstance(value, Mapping):
        for part in value.values():
            yield from stand_ins(part, deepest - 1)
    elif deepest and isinstance(value, (list, tuple, set, frozenset)):
        for part in value:
            yield from stand_ins(part, deepest - 1)


class _DType:
    """A dtype; NumPy's own could be changed by a hostile state."""

    def __init__(self, code: Any, *_: Any) -> None:
        found = np.dtype(code) if isinstance(code, str) and len(code) < 8 else np.dtype(object)
        self.value = found if found.kind in NUMERIC else np.dtype(object)

    def set(self, state: Any) -> None:
        if self.value.kind in NUMERIC and state[1] in ("<", ">", "="):
            self.value = self.value.newbyteorder(state[1])


class _Machine:
    """The stack of an unpickler, with calls left out."""

    def __init__(self, size: int, names: set[str] | None) -> None:
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._names = names
        # Numbers take as many bytes in the pickle; only a hostile one has more of them.
        self._budget = 4 * size + _SPARE_BYTES

    def run(self, stream: BinaryIO) -> Any:
        for opcode, argument, _ in pickletools.genops(stream):
            name = opcode.name
            if name in _LITERALS:
                self._stack.append(argument)
            elif name in _EMPTY:
                self._stack.append(_EMPTY[name]())
            elif name == "STOP":
                return self._stack.pop()
            elif name not in ("PROTO", "FRAME"):
                act = getattr(self, f"_do_{name.lower()}", None)
                if act is None:
                    raise PickleError(f"the pickle has the opcode {name}, which data never need")
                act() if argument is None else act(argument)
        raise PickleError("the pickle has no end")

    # The stack.

    def _do_mark(self) -> None:
        self._marks.append(self._stack)
        self._stack = []

    def _marked(self) -> list[Any]:
        found, self._stack = self._stack, self._marks.pop()
        return found

    def _do_pop(self) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._marked()

    def _do_pop_mark(self) -> None:
        self._marked()

    def _do_dup(self) -> None:
        self._stack.append(self._stack[-1])

    def _do_put(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    _do_binput = _do_long_binput = _do_put

    def _do_memoize(self) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _do_get(self, index: int) -> None:
        self._stack.append(self._memo[index])

    _do_binget = _do_long_binget = _do_get

    # Constants and containers.

    def _do_none(self) -> None:
        self._stack.append(None)

    def _do_newtrue(self) -> None:
        self._stack.append(True)

    def _do_newfalse(self) -> None:
        self._stack.append(False)

    def _do_tuple(self) -> None:
        found = tuple(self._marked())
        self._stack.append(found)

    def _last(self, count: int) -> list[Any]:
        if len(self._stack) < count:
            raise PickleError("the stack of the pickle is empty")
        found = self._stack[-count:]
        del self._stack[-count:]
        return found

    def _do_tuple1(self) -> None:
        self._stack.append(tuple(self._last(1)))

    def _do_tuple2(self) -> None:
        self._stack.append(tuple(self._last(2)))

    def _do_tuple3(self) -> None:
        self._stack.append(tuple(self._last(3)))

    def _do_list(self) -> None:
        found = self._marked()
        self._stack.append(found)

    def _do_dict(self) -> None:
        found = self._marked()
        self._stack.append({})
        self._put_items(found)

    def _do_append(self) -> None:
        (item,) = self._last(1)
        self._extend([item])

    def _do_appends(self) -> None:
        self._extend(self._marked())

    def _extend(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, list):
            target.extend(items)
        elif not isinstance(target, StandIn):
            raise PickleError(f"the pickle appends to a {type(target).__name__}")

    def _do_setitem(self) -> None:
        self._put_items(self._last(2))

    def _do_setitems(self) -> None:
        self._put_items(self._marked())

    def _put_items(self, pairs: list[Any]) -> None:
        target = self._stack[-1]
        target = target.items if isinstance(target, StandIn) else target
        if not isinstance(target, dict):
            raise PickleError(f"the pickle sets items of a {type(target).__name__}")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            target[_key(key)] = value

    def _do_additems(self) -> None:
        items = self._marked()
        target = self._stack[-1]
        if not isinstance(target, set):
            raise PickleError(f"the pickle adds to a {type(target).__name__}")
        target.update(map(_key, items))

    def _do_frozenset(self) -> None:
        items = self._marked()
        self._stack.append(frozenset(map(_key, items)))

    # Names, and what would be calls.

    def _do_global(self, text: str) -> None:
        self._name(*text.split(" ", 1))

    def _do_stack_global(self) -> None:
        module, name = self._last(2)
        self._name(module, name)

    def _name(self, module: Any, name: Any) -> None:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise PickleError("a name in the pickle is no text")
        path = f"{module}.{name}"
        if self._names is not None:
            self._names.add(path)
        self._stack.append(Name(path))

    def _do_persid(self, key: str) -> None:
        self._stack.append(Persistent(key))

    def _do_binpersid(self) -> None:
        self._stack.append(Persistent(*self._last(1)))

    def _do_reduce(self) -> None:
        function, arguments = self._last(2)
        self._call(function, arguments)

    def _do_newobj(self) -> None:
        self._do_reduce()

    def _do_newobj_ex(self) -> None:
        cls, arguments, _ = self._last(3)
        self._call(cls, arguments)

    def _do_inst(self, text: str) -> None:
        self._do_global(text)
        (cls,) = self._last(1)
        arguments = tuple(self._marked())
        self._call(cls, arguments)

    def _do_obj(self) -> None:
        cls, *arguments = self._marked()
        self._call(cls, tuple(arguments))

    def _call(self, function: Any, arguments: Any) -> None:
        if not isinstance(arguments, tuple):
            raise PickleError("the arguments of a call in the pickle are no tuple")
        path = _path(function)
        maker = _MAKERS.get(path)
        self._stack.append(StandIn(path, arguments) if maker is None else maker(self, *arguments))

    def _do_build(self) -> None:
        (state,) = self._last(1)
        target = self._stack[-1]
        if isinstance(target, _DType):
            target.set(state)
        elif isinstance(target, np.ndarray):
            _, shape, dtype, is_fortran, data = state
            self._fill(target, data, dtype, shape, bool(is_fortran))
        elif isinstance(target, StandIn):
            target.build(state)

    # Arrays.

    def spend(self, size: int) -> None:
        self._budget -= size
        if self._budget < 0:
            raise PickleError("the pickle unpacks to far more than it has bytes")

    def _fill(self, array: NDArray[Any], data: Any, dtype: Any, shape: Any, is_fortran: bool) -> None:
        kind = dtype.value if isinstance(dtype, _DType) else np.dtype(object)
        if kind.kind not in NUMERIC:
            return
        # Python 2 had bytes as text.
        data = data.encode("latin1") if isinstance(data, str) else data
        shape = (shape,) if isinstance(shape, int) else shape
        if not isinstance(shape, tuple) or not all(type(length) is int and length >= 0 for length in shape):
            raise PickleError("an array in the pickle has no shape")
        if not isinstance(data, (bytes, bytearray)) or len(data) != math.prod(shape) * kind.itemsize:
            raise PickleError(f"an array of shape {shape} in the pickle has other bytes than that")
        self.spend(len(data))
        state: Any = (1, shape, kind, is_fortran, bytes(data))
        array.__setstate__(state)

    def array(self, data: Any = None, dtype: Any = None, shape: Any = None, is_fortran: bool = False) -> NDArray[Any]:
        found: NDArray[Any] = np.zeros(0, object)
        if data is not None:
            self._fill(found, data, dtype, shape, is_fortran)
        return found


def _key(value: Any, deepest: int = _DEEPEST_KEY) -> Any:
    """A key of a dictionary; nested tuples take time to hash that grows with the powers of two."""
    if isinstance(value, tuple) and deepest:
        return tuple(_key(part, deepest - 1) for part in value)
    if value is None or isinstance(value, (str, bytes, int, float, complex, Name, StandIn)):
        return value
    raise PickleError(f"a key of a dictionary in the pickle is a {type(value).__name__}")


def _path(function: Any) -> str:
    path = function.path if isinstance(function, Name) else type(function).__name__
    # NumPy 2 has renamed its core, Python 3 its builtins.
    for old, new in (("numpy._core.", "numpy.core."), ("__builtin__.", "builtins."), ("copy_reg.", "copyreg.")):
        path = new + path.removeprefix(old) if path.startswith(old) else path
    return path


def _jax_array(machine: _Machine, *arguments: Any) -> NDArray[Any]:
    # `_reconstruct_array(function, arguments, state, ...)`: an array of NumPy, and what JAX notes of it.
    found = machine.array()
    if len(arguments) > 2 and isinstance(arguments[2], tuple) and len(arguments[2]) == 5:
        _, shape, dtype, is_fortran, data = arguments[2]
        found = machine.array(data, dtype, shape, bool(is_fortran))
    return found


def _reconstructed(_: _Machine, cls: Any, *rest: Any) -> Any:
    # Protocols 0 and 1 make objects so; a kind of dictionary brings its items along.
    items = rest[1] if len(rest) > 1 and isinstance(rest[1], dict) else {}
    return StandIn(_path(cls), items=dict(items))


def _dictionary(machine: _Machine, *arguments: Any) -> dict[Any, Any]:
    # OrderedDict of old Pythons, of a list of pairs; the factory of a defaultdict is no dictionary.
    found: dict[Any, Any] = {}
    for argument in arguments:
        pairs = argument.items() if isinstance(argument, dict) else argument if isinstance(argument, list) else ()
        machine.spend(16 * len(pairs))
        found.update((_key(key), value) for key, value in pairs)
    return found


def _encoded(machine: _Machine, text: str = "", _: str = "latin1") -> bytes:
    machine.spend(len(text))
    return text.encode("latin1")


def _bytes(machine: _Machine, data: Any = b"", *_: Any) -> bytes:
    if isinstance(data, str):
        return _encoded(machine, data)
    if not isinstance(data, (bytes, bytearray)):
        raise PickleError(f"bytes in the pickle are made of a {type(data).__name__}")
    machine.spend(len(data))
    return bytes(data)


def _scalar(machine: _Machine, dtype: Any, data: Any = b"") -> Any:
    found = machine.array(data, dtype, ())
    return found.item() if found.dtype.kind in NUMERIC else StandIn("numpy.core.multiarray.scalar", (data,))


def _set(machine: _Machine, items: Any = ()) -> set[Any]:
    machine.spend(16 * len(items))
    return set(map(_key, items))


_MAKERS: dict[str, Callable[..., Any]] = {
    "numpy.dtype": lambda _, *arguments: _DType(*arguments),
    "numpy.core.multiarray._reconstruct": lambda machine, *_: machine.array(),
    "numpy.core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": lambda machine, data, dtype, shape, order: machine.array(
        data, dtype, shape, order == "F"
    ),
    "collections.OrderedDict": _dictionary,
    "flax.core.frozen_dict.FrozenDict": _dictionary,
    "jax._src.array._reconstruct_array": _jax_array,
    "collections.defaultdict": _dictionary,
    "builtins.bytes": _bytes,
    "builtins.bytearray": _bytes,
    "builtins.dict": _dictionary,
    "builtins.set": _set,
    "builtins.frozenset": lambda machine, *items: frozenset(_set(machine, *items)),
    "_codecs.encode": _encoded,
    "copyreg._reconstructor": _reconstructed,
}
_LITERALS = frozenset(
    (
        "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
        "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES",
        "BINBYTES8", "BYTEARRAY8",
    )
)  # fmt: skip
_EMPTY: dict[str, Callable[[], Any]] = {
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
}
