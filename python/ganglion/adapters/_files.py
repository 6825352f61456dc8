"""Reading what other trainers wrote, with nothing in the file able to run code unless the user says so."""

from __future__ import annotations

import io
import pickle
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from ganglion._foundation import files, pickles
from ganglion._foundation.pickles import StandIn, stand_ins
from ganglion._foundation.sentences import first_line
from ganglion._foundation.torch_files import torch_names
from ganglion.errors import ArtifactError

if TYPE_CHECKING:
    import os

_MOST_NODES = 1_000_000

LARGEST_BYTES = files.LARGEST_BYTES


_CONSENT = "if you trust whoever wrote it, allow it: --allow-pickle, or allow_pickle=True"
_SPARE_BYTES = 1 << 24
_CODE_WARNING = "'{path}' is unpickled, which can run any code that its author put there; load only what you trust"


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Reads a whole file.

    Raises:
        ArtifactError: the file is missing, no regular file, empty or larger than `LARGEST_BYTES`.
    """
    data = files.read_file(path, limit=LARGEST_BYTES).data
    if not data:
        raise ArtifactError(f"'{path}' is empty")
    return data


def read_torch(source: str | os.PathLike[str] | bytes, *, name: str | None = None, allow_pickle: bool = False) -> Any:
    """Reads what `torch.save` wrote, onto the CPU.

    Objects of classes beside tensors and plain data come out as `StandIn`, and nothing of them is run; see
    `refuse_stand_ins`.

    Args:
        source: a path, or the bytes of the file.
        name: what messages call it; None for the path.
        allow_pickle: make those objects in earnest; gives a warning, because that can run any code.

    Raises:
        ArtifactError: the file is missing, damaged, or no file of `torch.save`.
    """
    data = source if isinstance(source, bytes) else read_bytes(source)
    label = name or ("the data" if isinstance(source, bytes) else str(source))
    try:
        return _torch_data(data, label)
    except pickle.UnpicklingError:
        pass
    except ArtifactError:
        raise
    except Exception as error:  # torch raises what its readers happen to meet
        raise ArtifactError(f"'{label}' is no readable checkpoint of torch: {first_line(error)}") from error
    if allow_pickle:
        warnings.warn(_CODE_WARNING.format(path=label), stacklevel=2)
        try:
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=False)
        except Exception as error:
            raise _unreadable(label, error) from error
    stand_ins_for: list[Any] = []
    try:
        stand_ins_for += _stand_ins_for(data)
        with torch.serialization.safe_globals(stand_ins_for):
            return _torch_data(data, label)
    except ArtifactError:
        raise
    except Exception as error:
        known = ("torch.", "collections.", "__builtin__.", "copy_reg.")
        others = [path for _, path in stand_ins_for if not path.startswith(known)]
        what = ", ".join(others[:3]) or first_line(error)
        raise ArtifactError(f"'{label}' holds more than tensors and plain data ({what}); {_CONSENT}") from error


def _torch_data(data: bytes, label: str) -> Any:
    with warnings.catch_warnings():
        # torch warns when it meets a TorchScript archive, and of old files; the messages here say what to do.
        warnings.simplefilter("ignore")
        found = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    # A tensor may repeat its numbers, but not by the billion.
    _check_tensors(found, label, 2 * len(data) + _SPARE_BYTES)
    return found


def _stand_ins_for(data: bytes) -> list[Any]:
    """Classes for all names in a file of `torch.save`, which torch's own reader may call in place of these."""
    names = torch_names(data)
    # torch's reader translates what Python 2 called so.
    names |= {path.replace("__builtin__.", "builtins.", 1).replace("copy_reg.", "copyreg.", 1) for path in names}
    return [(type("Made", (_Made,), {"path": path}), path) for path in sorted(names)]


def _check_tensors(value: Any, label: str, spare: int, deepest: int = 6) -> None:
    """Refuses tensors that cannot be looked at: without numbers, or far larger than these."""
    if isinstance(value, torch.Tensor):
        if value.layout is not torch.strided or value.device.type != "cpu" or value.is_quantized:
            raise ArtifactError(f"'{label}' holds a tensor of {value.layout} on {value.device}; plain ones are read")
        if value.numel() * value.element_size() > spare:
            raise ArtifactError(f"'{label}' holds a tensor of shape {tuple(value.shape)}, of which it has no numbers")
    elif deepest and isinstance(value, (Mapping, list, tuple)):
        for part in value.values() if isinstance(value, Mapping) else value:
            _check_tensors(part, label, spare, deepest - 1)


class _Made(StandIn):
    """A `StandIn` as an unpickler makes one."""

    path = ""

    def __new__(cls, *_: Any) -> _Made:
        made: _Made = object.__new__(cls)
        StandIn.__init__(made, cls.path)
        return made

    def __init__(self, *arguments: Any) -> None:
        super().__init__(self.path, arguments)

    def __setstate__(self, state: Any) -> None:
        self.build(state)


def state_of_module(module: StandIn) -> dict[str, Any]:
    """The state dictionary of a module of torch that was saved as a whole; empty where it is none."""
    found: dict[str, Any] = {}
    left = [("", module)]
    while left:
        prefix, part = left.pop()
        kept = part.attributes
        transient = kept.get("_non_persistent_buffers_set")
        for group in ("_parameters", "_buffers"):
            values = kept.get(group)
            for name, value in values.items() if isinstance(values, Mapping) else ():
                if value is not None and not (isinstance(transient, (set, frozenset)) and name in transient):
                    found[f"{prefix}{name}"] = value
        parts = kept.get("_modules")
        inner = [(f"{prefix}{name}.", value) for name, value in parts.items()] if isinstance(parts, Mapping) else []
        left += [(name, value) for name, value in reversed(inner) if isinstance(value, StandIn)]
        if len(left) + len(found) > _MOST_NODES:
            return {}  # modules that hold each other
    return found


def refuse_stand_ins(value: Any, label: str) -> None:
    """Refuses data of which a needed part could only be made by running code of the file.

    Raises:
        ArtifactError: it has such a part; names it.
    """
    found = next(stand_ins(value), None)
    if found is not None:
        raise ArtifactError(f"{label} holds more than tensors and plain data ({found}, which is not run); {_CONSENT}")


def read_pickle(path: str | os.PathLike[str], *, allow_pickle: bool) -> Any:
    """Reads a pickle of numbers, text and containers without running anything of it.

    Args:
        path: the file.
        allow_pickle: unpickle a file in earnest that holds anything else; gives a warning, because that can run any
            code.

    Raises:
        ArtifactError: the file is missing or no readable pickle, or holds objects of classes and `allow_pickle` is not
            set.
    """
    data = read_bytes(path)
    try:
        found = pickles.read_pickle(data)
    except pickles.PickleError as error:
        if not allow_pickle:
            raise ArtifactError(f"'{path}' cannot be read as a pickle of data: {error}; {_CONSENT}") from error
    else:
        if not allow_pickle:
            refuse_stand_ins(found, f"'{path}'")
        if next(stand_ins(found), None) is None:
            return found
    warnings.warn(_CODE_WARNING.format(path=path), stacklevel=2)
    try:
        return pickle.loads(data)
    except Exception as error:
        raise _unreadable(path, error) from error


def _unreadable(path: object, error: Exception) -> ArtifactError:
    return ArtifactError(f"'{path}' cannot be unpickled: {type(error).__name__}: {first_line(error)}")


def read_stand_in(path: str | os.PathLike[str]) -> Any:
    """Reads a pickle of an object whose numbers are all that matters; nothing of it is run.

    Raises:
        ArtifactError: the file is missing, or no readable pickle.
    """
    try:
        return pickles.read_pickle(read_bytes(path))
    except pickles.PickleError as error:
        raise ArtifactError(f"'{path}' cannot be read as a pickle: {error}") from error
