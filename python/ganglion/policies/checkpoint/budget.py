"""A limit on the memory that building a policy from a file may take."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode


class Budget(TorchFunctionMode):
    """Stops what is computed inside once its tensors have too many elements in all.

    A description of a policy is a few bytes, whatever sizes it names; its weights lie in the file, so whoever builds it
    knows how many elements there should be.

    Args:
        state_dict: the weights.
    """

    _PER_WEIGHT = 64  # drawing weights takes a few times their number, some policies try a step or draw them again
    _FREE = 2**25
    _PER_TENSOR = 10_000  # many small tensors take time

    def __init__(self, state_dict: Any) -> None:
        super().__init__()
        weights = sum(value.numel() for value in state_dict.values() if isinstance(value, Tensor))
        self._left = self._FREE + self._PER_WEIGHT * weights

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Runs one function; see `TorchFunctionMode`.

        Raises:
            ValueError: the budget is used up.
        """
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            # Work in place takes no memory.
            if isinstance(tensor, Tensor) and not any(tensor is given for given in (*args, *kwargs.values())):
                self._left -= tensor.numel() + self._PER_TENSOR
        if self._left < 0:
            raise ValueError("its sizes do not belong to its weights: building it takes far too much memory")
        return result
