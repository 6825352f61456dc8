"""What all Gaussian policies share: one step for a control loop, whole sequences for training, sampling in between."""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import utils as space_utils
from torch import Tensor
from torch.distributions import Independent, Normal

from ganglion.contract import StateSlot, TensorSpec
from ganglion.policies._tensors import match
from ganglion.policies.base import RecurrentPolicy
from ganglion.policies.dense import check_flags
from ganglion.policies.kept import amend

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from typing_extensions import Self

    from ganglion.data.env_spec import EnvSpec
    from ganglion.policies.cores import Core
    from ganglion.policies.garage.head import GaussianHead


class GaussianSequence(NamedTuple):
    """What `GaussianPolicy.build` returns: N sequences of T steps; N, T and the action are the axes, in this order."""

    dist: Independent[Normal]
    """Distribution of the actions: batch shape `[N, T]`, event shape `[action_size]`."""
    step_mean: Tensor
    """`[N, T, action_size]`."""
    step_log_std: Tensor
    """`[N, T, action_size]`."""
    step_hidden: Tensor | None
    """`[N, T, hidden_dim]` hidden states behind each step; None for a policy without them."""
    step_cell: Tensor | None
    """`[N, T, hidden_dim]` cell states behind each step; None for a policy without them."""
    init_hidden: Tensor | None
    """`[hidden_dim]` hidden state before the first step, or None."""
    init_cell: Tensor | None
    """`[hidden_dim]` cell state before the first step, or None."""


class GaussianPolicy(RecurrentPolicy):
    """A diagonal Gaussian over actions: a core with the memory, and a head that makes mean and log standard deviation.

    There are three ways to run it:

    * `forward(obs, hidden)` is one step with the state outside, as of every `RecurrentPolicy`. It never samples: the
      action is the mean, and the mean is also the previous action that the next step sees. Whoever executed another
      action says so with `with_applied_action`.
    * `build(state_input)` runs whole sequences, previous actions included, with gradients through time, and so does
      `evaluate` on recorded episodes: for training.
    * `reset`, `get_action` and `get_actions` sample step by step, with NumPy's global generator, and keep the state
      inside, as in garage. They change nothing that the other two see.

    A sub-class sets `core` and `head` behind this constructor.

    Args:
        env_spec: spaces of the environment.
        name: name of the policy.
        state_include_action: the input of the core is the observation and behind it the previous action.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: the action space is no `Box`.
    """

    vectorized = True
    """Whether `get_actions` takes several observations at once."""
    core: Core
    head: GaussianHead

    def __init__(self, env_spec: EnvSpec, name: str, state_include_action: bool) -> None:
        super().__init__(env_spec)
        if not isinstance(env_spec.action_space, gymnasium.spaces.Box):
            raise ValueError(
                f"{type(self).__name__} only works with a Box action space, not {type(env_spec.action_space).__name__}"
            )
        if not isinstance(name, str):
            raise TypeError(f"{type(self).__name__}: name must be a string, not {name!r}")
        check_flags(type(self).__name__, state_include_action=state_include_action)
        self.name = name
        self.state_include_action = state_include_action
        self._state: Tensor | None = None
        self._distribution: Independent[Normal] | None = None

    @property
    def distribution(self) -> Independent[Normal] | None:
        """Diagonal Gaussian of the actions that `build` or `get_actions` saw last, with its graph; None before.

        `log_prob` and `entropy` sum over the elements of an action. Copies and pickles of a policy begin without.
        """
        return self._distribution

    @property
    def input_dim(self) -> int:
        """Number of elements of the core's input: observation, and the previous action where that is included."""
        return self.env_spec.observation_size + (self.env_spec.action_size if self.state_include_action else 0)

    @property
    def state_info_specs(self) -> list[tuple[str, tuple[int, ...]]]:
        """Name and shape of what `get_actions` tells about the state: the previous action where that is included."""
        return [("prev_action", (self.env_spec.action_size,))] if self.state_include_action else []

    @property
    def state_layout(self) -> tuple[StateSlot, ...]:
        """`prev_action [action_size]` where that is included, then the memory of the core."""
        previous = tuple(StateSlot(name, shape) for name, shape in self.state_info_specs)
        return previous + self.core.state_layout

    @property
    def output_specs(self) -> tuple[TensorSpec, ...]:
        """`mean`, with names and bounds of the action space (it is not clipped to them), and `log_std`."""
        action = self.env_spec.action_spec
        return (
            dataclasses.replace(action, name="mean"),
            TensorSpec("log_std", action.size, action.element_names),
        )

    @property
    def log_std(self) -> Tensor | None:
        """`[action_size]` log standard deviations; None where they are computed from the features."""
        return self.head.log_std

    @property
    def hidden_states(self) -> NDArray[np.float32] | None:
        """`[N, hidden_size]` states that `get_actions` steps from next; None without memory, or before `reset`.

        garage's infos do not hold them; a sampler takes them from here.
        """
        return None if self._state is None or not self.hidden_size else _array(self._state)

    def init_hidden(self, batch_size: int | None = None) -> Tensor:
        """Returns a new copy of the initial state; gradients flow into trainable parts of it."""
        previous = (self._reference().new_zeros(size) for _, (size,) in self.state_info_specs)
        parts = (*previous, *self.core.initial_state())
        state = torch.cat(parts) if parts else self._reference().new_zeros(0)
        return state if batch_size is None else state.repeat(batch_size, 1)

    def forward(self, obs: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Runs one step; see `RecurrentPolicy.forward`.

        Returns:
            Mean `[action_size]`, log standard deviation `[action_size]` and new hidden state `[hidden_size]`, or all
            with the batch axis in front. The previous action in the new state is the mean.
        """
        rows, hidden_rows = self._as_batch(obs, hidden)
        parts = torch.split(hidden_rows, [slot.size for slot in self.state_layout], dim=-1)
        if self.state_include_action:
            previous, *memory = parts
            features, state = self.core(torch.cat((rows, previous), -1), tuple(memory))
            mean, log_std = self.head(features)
            state = (mean, *state)
        else:
            features, state = self.core(rows, parts)
            mean, log_std = self.head(features)
        new_hidden = torch.cat(state, -1) if state else hidden_rows
        return self._as_given(obs, (mean, log_std, new_hidden))

    def build(self, state_input: Tensor, name: str | None = None) -> GaussianSequence:  # noqa: ARG002
        """Runs whole sequences from the initial state, with gradients through time.

        Args:
            state_input: `[N, T, input_dim]`: the observations, and behind each the action of the step before where
                `state_include_action` is set (zeros at the first step).
            name: unused: nothing here is part of a graph that needs names.

        Raises:
            TypeError: `state_input` is no tensor.
            ValueError: `state_input` has another shape.
        """
        if not isinstance(state_input, Tensor):
            raise TypeError(f"{type(self).__name__}: state_input must be a torch.Tensor, not {type(state_input)}")
        if state_input.ndim != 3 or state_input.shape[1] < 1 or state_input.shape[2] != self.input_dim:
            raise ValueError(
                f"{type(self).__name__}: state_input has shape {tuple(state_input.shape)}; expected "
                f"[N, T, {self.input_dim}] with at least one step"
            )
        initial = self.core.initial_state()
        state = tuple(part.expand(len(state_input), -1) for part in initial)
        features, states = [], []
        for x in match(state_input, self._reference()).unbind(1):
            feature, state = self.core(x, state)
            features.append(feature)
            states.append(state)
        mean, log_std = self.head(torch.stack(features, 1))
        names = [slot.name for slot in self.core.state_layout]
        before = dict(zip(names, initial, strict=True))
        behind = {name: torch.stack(parts, 1) for name, parts in zip(names, zip(*states, strict=True), strict=True)}
        self._distribution = Independent(Normal(mean, log_std.exp()), 1)
        return GaussianSequence(
            self._distribution,
            mean,
            log_std,
            behind.get("h"),
            behind.get("c"),
            before.get("h"),
            before.get("c"),
        )

    @torch.no_grad()
    def reset(  # type: ignore[override]  # the argument of garage, which may be given by position
        self, do_resets: Sequence[bool] | NDArray[np.bool_] | None = None
    ) -> None:
        """Puts rows of the state that `get_actions` keeps back to the initial state.

        Args:
            do_resets: one flag per environment; None for one environment, reset. Another number of flags than last
                time starts all rows from the initial state.

        Raises:
            TypeError: the flags are no bools.
            ValueError: the flags are no vector with at least one element.
        """
        flags = np.asarray([True] if do_resets is None else do_resets)
        if flags.ndim != 1 or len(flags) < 1:
            raise ValueError(f"do_resets has shape {flags.shape}; expected a vector with at least one flag")
        if flags.dtype != np.bool_:
            raise TypeError(f"do_resets must be bools, not {flags.dtype}")
        initial = self.init_hidden(len(flags))
        if self._state is None or len(self._state) != len(flags):
            self._state = initial
        else:
            flagged = torch.from_numpy(flags).to(initial.device).unsqueeze(1)
            self._state = torch.where(flagged, initial, match(self._state, initial))

    def get_action(
        self,
        observation: Any,
        episode_info: Mapping[str, Any] | None = None,  # noqa: ARG002  (the example on garage's page gives it)
    ) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]:
        """Samples one action; `get_actions` for one observation, without the leading axis. No info is looked at."""
        actions, infos = self.get_actions([observation])
        return actions[0], {name: rows[0] for name, rows in infos.items()}

    @torch.no_grad()
    def get_actions(self, observations: Any) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]:
        """Samples one action per environment, and keeps the new states and the sampled actions.

        The noise is `numpy.random.normal(size=[N, action_size])`, as in garage: from NumPy's global generator. Actions
        are not clipped to the action space.

        Args:
            observations: one observation per environment: flat vectors, or elements of the observation space.

        Returns:
            Actions `[N, *action shape]`, and what belongs to them: `mean` and `log_std`, `[N, action_size]` each, and
            `prev_action`, `[N, action_size]`, where the state includes it: the action that this step was given. All
            are float32 and copies.

        Raises:
            ValueError: an observation does not fit the space, or there was no `reset` for that number of environments.
        """
        rows = self._flat_observations(observations)
        state = self._state if self.hidden_size else self.init_hidden(len(rows))
        if state is None:
            raise ValueError(f"{type(self).__name__} has no state to step from; call reset() first")
        if len(rows) != len(state):
            raise ValueError(
                f"observations have shape {tuple(rows.shape)}, but the last reset() was for {len(state)} environments"
            )
        mean, log_std, hidden = self(rows, state)
        self._distribution = Independent(Normal(mean, log_std.exp()), 1)
        action = mean + log_std.exp() * torch.from_numpy(np.random.normal(size=tuple(mean.shape))).to(mean)
        self._state = self.with_applied_action(hidden, action)
        infos = {"mean": _array(mean), "log_std": _array(log_std)}
        if self.state_include_action:
            infos["prev_action"] = _array(state[:, : self.env_spec.action_size])
        return _array(action).reshape(-1, *(self.env_spec.action_space.shape or ())), infos

    def clone(self, name: str, copy_parameters: bool = False) -> Self:
        """Returns a new policy of the same configuration, without the state of `get_actions`.

        Args:
            name: name of the new policy.
            copy_parameters: copy the parameters as well; else they are drawn anew.
        """
        other = copy.deepcopy(self)
        other.name = name
        amend(other, name=name)
        other._state = None
        if not copy_parameters:
            other.init_param(None)
        return other

    def __getstate__(self) -> dict[str, Any]:
        # A distribution may hang on the graph of its step, which can neither be copied nor pickled.
        return {**vars(self), "_distribution": None}

    def _draw_param(self) -> None:
        self.core.reset_parameters()
        self.head.reset_parameters()

    def _flat_observations(self, observations: Any) -> Tensor:
        """Makes `[N, observation_size]` of observations of any form."""
        rows = [row.detach().cpu().numpy() if isinstance(row, Tensor) else row for row in observations]
        if not rows:
            raise ValueError(f"{type(self).__name__}: no observation")
        if not isinstance(rows[0], np.ndarray) or rows[0].ndim > 1:
            rows = [space_utils.flatten(self.env_spec.observation_space, row) for row in rows]
        expected = (self.env_spec.observation_size,)
        for row in rows:
            if np.shape(row) != expected:
                raise ValueError(f"an observation has flat shape {np.shape(row)}; expected {expected}")
        return match(torch.from_numpy(np.stack(rows)), self._reference())


def _array(tensor: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.to("cpu", torch.float32).numpy().copy()
    return array
