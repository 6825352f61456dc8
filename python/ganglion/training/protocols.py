"""What training asks of others: an agent that acts, and an algorithm that learns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from ganglion.training.trainer import Trainer


@runtime_checkable
class Agent(Protocol):
    """Draws actions for several environments at once, and keeps a hidden state per environment.

    A sampler works on a copy of the agent. What it draws may come from the generators of `random`, NumPy or PyTorch: a
    sampler seeds all three for every job. An agent with weights also has `state_dict()` and `load_state_dict(weights)`,
    as `torch.nn.Module`.
    """

    def reset(self, rows: NDArray[np.bool_], /) -> None:
        """Puts the flagged rows back to the initial hidden state.

        Args:
            rows: `[environments]`. Another number of rows than last time starts all of them anew.
        """

    def get_actions(self, observations: NDArray[Any], /) -> tuple[NDArray[Any], Mapping[str, Any]]:
        """Draws one action per environment and goes on to the next hidden states.

        Args:
            observations: `[environments, ...]`.

        Returns:
            Actions `[environments, ...]`, and by name what the agent knew: arrays `[environments, ...]`, the same names
            at every step. Recurrent agents give `hidden_states`, the flat hidden vectors that this step was FED (or
            have an attribute of that name, which is read before the step), and agents that learn from probabilities
            `log_prob`, that of the action that was drawn.
        """


class Algorithm(Protocol):
    """Anything with `train(trainer)`. What else it has, a `Trainer` finds by name:

    * `policy`, or `exploration_policy`, which goes first: an `Agent`; its weights are sent to the sampler.
    * `sampler`, where none is given to `Trainer.setup`.
    * `state_dict()` and `load_state_dict(state)`: all that it needs to go on as if nothing had happened: weights, state
      of the optimiser, schedules. Tensors, arrays, numbers, strings, and lists, tuples and dictionaries of them.
      Generators of random numbers need not be in it, as long as they are the global ones.
    * `state_version`: an integer, 1 where absent; a new one for state that older code cannot read, or the other way.
    """

    def train(self, trainer: Trainer, /) -> Any:
        """Trains, for example in a loop over `trainer.step_epochs()`; what it returns, `Trainer.train` returns."""
