"""The recorded steps that `RecurrentPolicy.evaluate` runs again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Rollout:
    """One or more sub-rollouts (episodes), concatenated along the first axis.

    Attributes:
        observations: `[sum T_i, observation_size]`, or `[sum (T_i + 1), observation_size]` where every sub-rollout
            also holds the observation after its last step.
        lengths: `[number of sub-rollouts]`, integer; the number of steps `T_i` of each.
        hidden_states: `[sum T_i, hidden_size]` (or one more each, like `observations`) flat hidden vectors, each the
            one that the policy was given at that step; None to start every sub-rollout from the initial state.
        previous_actions: `[sum T_i, action_size]` what the slot `prev_action` held at each step; None to take it from
            `hidden_states`.

    Raises:
        TypeError: a field is no torch tensor, or `lengths` is not integer.
        ValueError: shapes do not fit `lengths`, or a length is below 1.
    """

    observations: Tensor
    lengths: Tensor
    hidden_states: Tensor | None = None
    previous_actions: Tensor | None = None

    def __post_init__(self) -> None:
        _check_tensor("observations", self.observations)
        _check_tensor("lengths", self.lengths)
        if self.lengths.is_floating_point() or self.lengths.is_complex() or self.lengths.dtype == torch.bool:
            raise TypeError(f"rollout: lengths must be integers, not {self.lengths.dtype}")
        if self.lengths.ndim != 1 or self.lengths.numel() == 0 or int(self.lengths.min()) < 1:
            raise ValueError(f"rollout: lengths must be a vector of step counts of at least 1, not {self.lengths}")
        self._check_rows("observations", self.observations)
        for name in ("hidden_states", "previous_actions"):
            if (tensor := getattr(self, name)) is not None:
                _check_tensor(name, tensor)
                self._check_rows(name, tensor)

    @classmethod
    def of(cls, data: Any, hidden_states_name: str = "hidden_states") -> Rollout:
        """Takes a rollout out of any mapping or object that has the fields.

        Args:
            data: holds `observations` and one of `lengths`, `rollout_lengths` or `rollout_bounds` (the first step of
                every sub-rollout and, last, the total: `[0, T_0, T_0 + T_1, ...]`); lengths and bounds may be any
                sequence of integers. A `Rollout`, a `ganglion.data.EpisodeBatch` or a dictionary will do. The arrays of
                what has `agent_infos`, as an `EpisodeBatch` has, may be NumPy's; tensors share their memory.
            hidden_states_name: name of the field, or of the entry of `agent_infos`, with the hidden states; it may be
                absent. So may `previous_actions`, in `agent_infos` called `prev_action`.

        Raises:
            TypeError: the tensors are not torch tensors, or (of an `EpisodeBatch`) arrays of other than numbers.
            ValueError: a field is missing or does not fit the others, or `data.continuous` is False (its steps are
                not in the order of time).
        """
        if _field(data, "continuous") is False:
            raise ValueError("rollout: the steps are not continuous in time; evaluate() needs whole sub-rollouts")
        lengths = _field(data, "lengths")
        if lengths is None:
            lengths = _field(data, "rollout_lengths")
        if lengths is None and (bounds := _field(data, "rollout_bounds")) is not None:
            lengths = torch.as_tensor(bounds).diff()
        observations, hidden_states = _field(data, "observations"), _field(data, hidden_states_name)
        previous_actions = _field(data, "previous_actions")
        if observations is None or lengths is None:
            raise ValueError(f"rollout: {type(data).__name__} needs the fields 'observations' and 'lengths'")
        if isinstance(agent_infos := _field(data, "agent_infos"), Mapping):
            # An episode batch. Its space may make one-hot vectors of numbers, and its lengths may be unsigned, which
            # torch hardly knows.
            if isinstance(lengths, np.ndarray) and lengths.dtype.kind == "u":
                lengths = lengths.astype(np.int64)
            flat = _field(data, "flat_observations")
            observations = _rows("observations", observations if flat is None else flat)
            if hidden_states is None and (hidden_states := agent_infos.get(hidden_states_name)) is not None:
                hidden_states = _rows(f"agent_infos['{hidden_states_name}']", hidden_states)
            if previous_actions is None and (previous_actions := agent_infos.get("prev_action")) is not None:
                previous_actions = _rows("agent_infos['prev_action']", previous_actions)
        return cls(observations, torch.as_tensor(lengths), hidden_states, previous_actions)

    def split_observations(self) -> list[Tensor]:
        """Returns one `[T_i, observation_size]` tensor per sub-rollout, without final observations."""
        return self._split(self.observations)

    def split_previous_actions(self, place: slice | None) -> list[Tensor] | None:
        """Returns one `[T_i, action_size]` tensor per sub-rollout, where there is anything to take them from.

        Args:
            place: where in the hidden states the previous action lies; None for a policy that does not see it.

        Raises:
            ValueError: the previous actions have another size.
        """
        if place is None or (self.previous_actions is None and self.hidden_states is None):
            return None
        if self.previous_actions is None:
            assert self.hidden_states is not None
            return self._split(self.hidden_states[:, place])
        size = place.stop - place.start
        if self.previous_actions.shape[1] != size:
            raise ValueError(
                f"rollout: previous actions have {self.previous_actions.shape[1]} elements, the policy's have {size}"
            )
        return self._split(self.previous_actions)

    def first_hidden_states(self) -> Tensor | None:
        """Returns the `[number of sub-rollouts, hidden_size]` states of the first steps, where they were stored."""
        if self.hidden_states is None:
            return None
        ends = (self.lengths + self._extra(self.hidden_states)).cumsum(0)
        starts = torch.cat([ends.new_zeros(1), ends[:-1]])
        return self.hidden_states[starts.to(self.hidden_states.device)]

    def _split(self, tensor: Tensor) -> list[Tensor]:
        lengths = self.lengths.tolist()
        extra = self._extra(tensor)
        chunks = torch.split(tensor, [length + extra for length in lengths])
        return [chunk[:length] for chunk, length in zip(chunks, lengths, strict=True)]

    def _extra(self, tensor: Tensor) -> int:
        return 0 if len(tensor) == int(self.lengths.sum()) else 1

    def _check_rows(self, label: str, tensor: Tensor) -> None:
        steps = int(self.lengths.sum())
        if tensor.ndim != 2 or len(tensor) not in (steps, steps + len(self.lengths)):
            raise ValueError(
                f"rollout: {label} has shape {tuple(tensor.shape)}; lengths ask for {steps} rows, or "
                f"{steps + len(self.lengths)} with the final one of every sub-rollout"
            )


def _field(data: Any, name: str) -> Any:
    return data.get(name) if isinstance(data, Mapping) else getattr(data, name, None)


def _rows(label: str, array: Any) -> Tensor:
    """The rows of an array as a tensor `[N, n]`, on its memory where torch can use that."""
    if isinstance(array, Tensor):
        return array
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
        found = f"dtype {array.dtype}" if isinstance(array, np.ndarray) else type(array).__name__
        raise TypeError(f"rollout: {label} must be an array of numbers, not {found}")
    # torch knows neither negative strides nor memory that may only be read.
    usable = array if array.flags.c_contiguous and array.flags.writeable else array.copy()
    return torch.from_numpy(usable.reshape(len(usable), -1))


def _check_tensor(label: str, value: Any) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"rollout: {label} must be a torch.Tensor, not {type(value).__name__}; convert it first")
