"""Arrays of other libraries as NumPy's, without importing one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def to_numpy(value: Any) -> NDArray[Any]:
    """A copy of an array; of torch also where it lies on a GPU, of warp, of anything that NumPy reads."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    if not isinstance(value, np.ndarray) and callable(getattr(value, "numpy", None)):
        value = value.numpy()
    return np.array(value)


def is_numbers(value: Any) -> bool:
    """Whether a value is an array of numbers with a fraction, of whatever library; warp has vectors and quaternions."""
    return hasattr(value, "shape") and any(word in str(attribute(value, "dtype")) for word in ("float", "vec", "quat"))


def is_mapping(value: Any) -> bool:
    """Whether a value is a dictionary, or like one: a TensorDict is no `Mapping`."""
    return hasattr(value, "keys") and hasattr(value, "__getitem__")


def attribute(owner: Any, name: str) -> Any:
    """An attribute, or None. What another library computes when it is asked may raise anything: then it has none."""
    try:
        return getattr(owner, name, None)
    except Exception:  # NotImplementedError of mjlab's joint_torques, RuntimeError of a view that is gone, ...
        return None
