"""The agent that does what a policy says, without noise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor, nn

from ganglion.policies import RecurrentPolicy
from ganglion.training._memory import Memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class PolicyAgent(nn.Module):
    """Steps a recurrent policy: to record what will be exported, to fly a student, to ask a teacher.

        episodes = LocalSampler(PolicyAgent(policy), make_env, envs_per_worker=4).obtain_episodes(0, num_steps=1000)
        episodes.save("run.npz")

    and then `ganglion verify policy.ganglion --recording run.npz --recorded-actions`.

    Args:
        policy: who acts.
        sees: which elements of a flat observation the policy sees, in this order; None for all of them.

    Raises:
        TypeError: `policy` is no `RecurrentPolicy`.
        ValueError: the action space has no actions that a policy gives.
    """

    def __init__(self, policy: RecurrentPolicy, sees: Sequence[int] | None = None) -> None:
        super().__init__()
        if not isinstance(policy, RecurrentPolicy):
            raise TypeError(f"PolicyAgent: policy must be a RecurrentPolicy, not {type(policy).__name__}")
        space = policy.env_spec.action_space
        if not isinstance(space, (Box, Discrete)):
            raise ValueError(f"PolicyAgent: the action space must be a Box or Discrete, not {space}")
        self.policy = policy
        self._sees = None if sees is None else np.asarray(sees, np.int64)
        self._memory = Memory("PolicyAgent")

    def seen(self, observations: NDArray[Any]) -> Tensor:
        """Returns what the policy sees of `[N, ...]` observations: `[N, observation_size]`, on the CPU.

        Raises:
            ValueError: the observations have another size.
        """
        flat = np.reshape(observations, (len(observations), -1))
        space = self.policy.env_spec.observation_space
        if isinstance(space, Discrete) and self._sees is None and flat.shape[1] == 1:
            flat = np.eye(int(space.n))[flat[:, 0].astype(np.int64) - int(space.start)]
        if self._sees is not None:
            if self._sees.size and self._sees.max() >= flat.shape[1]:
                raise ValueError(
                    f"PolicyAgent: sees has {self._sees.max()}, observations have {flat.shape[1]} elements"
                )
            flat = flat[:, self._sees]
        return torch.from_numpy(np.ascontiguousarray(flat, np.float32))

    def reset(self, rows: NDArray[np.bool_]) -> None:
        """Puts the flagged rows `[environments]` back to the initial hidden state."""
        self._memory.reset(self.policy, rows)

    @torch.no_grad()
    def get_actions(self, observations: NDArray[Any]) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
        """Takes the policy's first output as the action; of a `Discrete` space the index, or the largest score.

        Args:
            observations: `[environments, ...]`.

        Returns:
            Actions `[environments, ...]`, and `hidden_states`: those that this step was fed.

        Raises:
            RuntimeError: there was no `reset`, or one with another number of environments.
            ValueError: the observations have another size.
        """
        hidden = self._memory.recall(len(observations))
        self.policy.eval()
        action, *_, after = self.policy(self.seen(observations).to(hidden.device), hidden)
        self._memory.keep(after)
        return self._as_element(action.cpu().numpy()), {"hidden_states": hidden.cpu().numpy()}

    @torch.no_grad()
    def set_applied_actions(self, actions: NDArray[Any]) -> None:
        """Tells the policy what was executed in place of the actions `[environments, ...]` that it gave last."""
        hidden, place = self._memory.recall(len(actions)), self.policy.previous_action
        flat = torch.from_numpy(np.reshape(actions, (len(actions), -1)))
        # The index of a `Discrete` action is no action of a policy that gives scores.
        if place is not None and flat.shape[1] == place.stop - place.start:
            self._memory.keep(self.policy.with_applied_action(hidden, flat.to(hidden)))

    def _as_element(self, action: NDArray[Any]) -> NDArray[Any]:
        space = self.policy.env_spec.action_space
        if isinstance(space, Discrete):
            index = action[:, 0] if action.shape[1] == 1 else action.argmax(axis=1)
            return (index + (0 if action.shape[1] == 1 else space.start)).astype(np.int64)
        # What is no action of the space stays flat, for an environment that takes it.
        shape = (space.shape or ()) if action.shape[1] == self.policy.env_spec.action_size else action.shape[1:]
        return action.astype(space.dtype, copy=False).reshape(len(action), *shape)
