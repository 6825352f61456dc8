"""What every agent around a recurrent policy keeps between steps: the hidden state of each environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ganglion.policies import RecurrentPolicy


class Memory:
    """The hidden states of one policy in several environments."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._hidden: Tensor | None = None

    @torch.no_grad()
    def reset(self, policy: RecurrentPolicy, rows: NDArray[np.bool_]) -> None:
        """Puts the flagged rows `[environments]` back to the initial hidden state."""
        initial = policy.init_hidden(len(rows))
        if self._hidden is None or len(self._hidden) != len(rows):
            self._hidden = initial
        self._hidden = torch.where(torch.from_numpy(rows)[:, None].to(initial.device), initial, self._hidden)

    def recall(self, count: int) -> Tensor:
        """Returns the hidden states `[count, hidden_size]`.

        Raises:
            RuntimeError: there was no `reset`, or one with another number of environments.
        """
        if self._hidden is None or len(self._hidden) != count:
            raise RuntimeError(f"{self._owner}: call reset(rows) with {count} rows before get_actions()")
        return self._hidden

    def keep(self, hidden: Tensor) -> None:
        """Takes the hidden states after a step."""
        self._hidden = hidden
