"""How a profile's arrays stand in JSON, and how damage to it is told."""

from __future__ import annotations

import base64
import binascii
import math
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from ganglion.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

FLOAT = np.dtype("<f4")
PLACE = np.dtype("<u2")


def refuse(why: str) -> NoReturn:
    """Raises the error of a profile that is not one."""
    raise ArtifactError(f"contract: observation_profile: {why}; make it anew with ganglion profile")


def integer(value: Any) -> int:
    """A whole number of JSON."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r} is no whole number")
    return value


def count(document: Mapping[str, Any], name: str) -> int:
    """An entry that is a whole number of 0 or more."""
    number = integer(document[name])
    if not 0 <= number <= 1 << 53:
        refuse(f"{name} is {number}")
    return number


def encoded(values: NDArray[Any], dtype: np.dtype[Any]) -> str:
    """The bytes of an array, in Base64."""
    return base64.b64encode(np.ascontiguousarray(values, dtype).tobytes()).decode("ascii")


def decoded(document: Mapping[str, Any], name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """The array that `encoded` wrote."""
    text = document[name]
    if not isinstance(text, str):
        raise TypeError(f"observation_profile: {name} is no text")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ArtifactError(f"contract: observation_profile: {name} is no base64: {error}") from error
    if len(data) != math.prod(shape) * dtype.itemsize:
        refuse(f"{name} holds {len(data)} bytes; {math.prod(shape) * dtype.itemsize} are needed for {list(shape)}")
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def check_array(name: str, values: NDArray[Any], shape: tuple[int, ...]) -> None:
    """Refuses an array of another shape, or with an element that is not finite."""
    if values.shape != shape:
        refuse(f"{name} has the shape {list(values.shape)}; {list(shape)} is needed")
    if not np.isfinite(values).all():
        refuse(f"{name} has an element that is not finite")
