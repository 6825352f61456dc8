"""The base classes of all policies: parameters as one vector, and the recurrent contract."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence, unpack_sequence

from ganglion.contract import Contract, StateSlot, TensorSpec, distribution_of, previous_action_of
from ganglion.data.env_spec import EnvSpec
from ganglion.policies._tensors import eval_mode, is_tracing, match
from ganglion.policies.rollout import Rollout

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ganglion.contract import ActionStage

_Results = TypeVar("_Results", bound="tuple[Tensor, ...]")


class TrainablePolicy(nn.Module):
    """A trainable map from observations to actions.

    Args:
        spec: spaces of the environment.
        use_cuda: put the policy on the CUDA device; without one, a warning is given and the CPU is used. A sub-class
            calls `_place()` once it has created its parameters.

    Raises:
        TypeError: `spec` is no `EnvSpec`, or `use_cuda` is no bool.
    """

    name: str = "policy"
    """Short name of the kind of policy."""
    is_recurrent: bool = False
    """Whether the policy has a hidden state."""

    def __init__(self, spec: EnvSpec, use_cuda: bool = False) -> None:
        super().__init__()
        if not isinstance(spec, EnvSpec):
            raise TypeError(f"{type(self).__name__}: the spec must be an EnvSpec, not {type(spec).__name__}")
        if type(use_cuda) is not bool:
            raise TypeError(f"{type(self).__name__}: use_cuda must be a bool, not {type(use_cuda).__name__}")
        if use_cuda and not torch.cuda.is_available():
            warnings.warn("use_cuda is set but torch finds no CUDA device; the policy stays on the CPU", stacklevel=2)
            use_cuda = False
        self.env_spec = spec
        self._use_cuda = use_cuda

    @property
    def device(self) -> str:
        """Device of the parameters, for example `"cpu"`."""
        return str(self._reference().device)

    @property
    def num_param(self) -> int:
        """Total number of elements of all parameters."""
        return sum(param.numel() for param in self.parameters())

    @property
    def param_values(self) -> Tensor:
        """`[num_param]` copy of all parameters, in the order of `parameters()`; can be assigned."""
        return self._flat([param.detach() for param in self.parameters()])

    @param_values.setter
    def param_values(self, values: Tensor) -> None:
        with torch.no_grad():
            for param, chunk in zip(self.parameters(), self._chunks(values), strict=True):
                param.copy_(chunk)

    @property
    def param_grad(self) -> Tensor:
        """`[num_param]` copy of all gradients, zero where there is none; can be assigned."""
        return self._flat([torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters()])

    @param_grad.setter
    def param_grad(self, values: Tensor) -> None:
        for param, chunk in zip(self.parameters(), self._chunks(values), strict=True):
            param.grad = match(chunk, param).clone()

    def init_param(self, init_values: Tensor | None = None, **kwargs: Any) -> None:
        """Sets all parameters.

        Args:
            init_values: `[num_param]` values in the order of `parameters()`; None to draw new ones.
            **kwargs: options of the drawing, see the policy's class.

        Raises:
            ValueError: `init_values` has another shape.
        """
        if init_values is not None:
            self.param_values = init_values
        else:
            with torch.no_grad():
                self._draw_param(**kwargs)

    def reset(self, **kwargs: Any) -> None:
        """Prepares for a new episode; policies keep no state inside, so there is nothing to do."""

    def init_hidden(self, batch_size: int | None = None) -> Tensor:  # noqa: ARG002  (for the sub-classes)
        """Refuses: this policy has no hidden state.

        Raises:
            AttributeError: always; recurrent policies override this method.
        """
        raise AttributeError(f"{type(self).__name__} is not recurrent and has no hidden state")

    def _draw_param(self, *args: Any, **kwargs: Any) -> None:
        """Draws new parameter values; sub-classes name the options that they take."""
        raise NotImplementedError(f"{type(self).__name__} does not say how to draw its parameters")

    def _place(self) -> None:
        """Moves the finished policy to the device that the constructor was asked for."""
        if self._use_cuda:
            self.to("cuda")

    def _reference(self) -> Tensor:
        """Returns a tensor with the device and dtype that the policy computes with."""
        for param in self.parameters():
            return param
        return torch.empty(0)

    def _flat(self, tensors: list[Tensor]) -> Tensor:
        return torch.cat([tensor.reshape(-1) for tensor in tensors]) if tensors else torch.empty(0)

    def _chunks(self, values: Tensor) -> list[Tensor]:
        if not isinstance(values, Tensor):
            raise TypeError(f"{type(self).__name__}: expected a torch.Tensor, not {type(values).__name__}")
        if values.shape != (self.num_param,):
            raise ValueError(
                f"{type(self).__name__}: expected a vector of shape {(self.num_param,)}, not {tuple(values.shape)}"
            )
        chunks = torch.split(values.detach(), [param.numel() for param in self.parameters()])
        return [chunk.view_as(param) for chunk, param in zip(chunks, self.parameters(), strict=True)]


class RecurrentPolicy(TrainablePolicy, ABC):
    """A policy with a hidden state that the caller keeps: `(observation, hidden) -> (action, new hidden)`.

    The hidden state is one flat vector, `[hidden_size]` or `[batch, hidden_size]`; `state_layout` names its slices.
    """

    is_recurrent = True

    @property
    def period_s(self) -> float | None:
        """Control period in seconds that a part of the policy was made for, as a filter is; None where none was."""
        return None

    @property
    @abstractmethod
    def state_layout(self) -> tuple[StateSlot, ...]:
        """Slices of the flat hidden vector, in order."""
        raise NotImplementedError

    @property
    def hidden_size(self) -> int:
        """Number of elements of the flat hidden vector."""
        return sum(slot.size for slot in self.state_layout)

    @property
    def input_specs(self) -> tuple[TensorSpec, ...]:
        """Tensors that `forward` takes, side by side in one observation vector."""
        return (self.env_spec.observation_spec,)

    @property
    def output_specs(self) -> tuple[TensorSpec, ...]:
        """Tensors that `forward` returns before the hidden state; the first one is the action."""
        return (self.env_spec.action_spec,)

    @property
    def action_stages(self) -> tuple[ActionStage, ...]:
        """What becomes of an action that is drawn, or that `prev_action` holds, until it is a command; here nothing."""
        return ()

    @abstractmethod
    def forward(self, obs: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, ...]:
        """Runs one step.

        Args:
            obs: `[observation_size]` or `[batch, observation_size]`; cast to the dtype of the parameters.
            hidden: `[hidden_size]` or `[batch, hidden_size]`, cast likewise; None for the initial state.

        Returns:
            The outputs in the order of `output_specs`, each `[size]` or `[batch, size]`, and last the new hidden state.

        Raises:
            TypeError: an argument is no tensor.
            ValueError: an argument has the wrong shape.
        """
        raise NotImplementedError

    def init_hidden(self, batch_size: int | None = None) -> Tensor:
        """Returns a new copy of the initial state, `[hidden_size]` or `[batch_size, hidden_size]`; here zeros."""
        shape = (self.hidden_size,) if batch_size is None else (batch_size, self.hidden_size)
        return self._reference().new_zeros(shape)

    def as_command(self, own: Tensor) -> Tensor:
        """Maps actions `[..., action_size]` as the policy itself draws them to commands: `action_stages` in torch."""
        return own

    def with_previous_action(self, hidden: Tensor, own: Tensor) -> Tensor:
        """Puts an action into the slot `prev_action`, as the policy itself draws it: before `as_command`.

        Args:
            hidden: `[..., hidden_size]` state behind a step.
            own: `[..., action_size]` action of that step.

        Returns:
            The new state; `hidden` itself for a policy without that slot.

        Raises:
            ValueError: the shapes do not fit each other or the policy.
        """
        size = self.output_specs[0].size
        if hidden.shape[-1:] != (self.hidden_size,) or own.shape != (*hidden.shape[:-1], size):
            raise ValueError(
                f"hidden has shape {tuple(hidden.shape)} and action {tuple(own.shape)}; expected [..., "
                f"{self.hidden_size}] and [..., {size}] with equal leading axes"
            )
        place = self.previous_action
        if place is None:
            return hidden
        return torch.cat((hidden[..., : place.start], match(own, hidden), hidden[..., place.stop :]), -1)

    def with_applied_action(self, hidden: Tensor, action: Tensor) -> Tensor:
        """Tells a hidden state that another command was executed than the policy gave.

        Args:
            hidden: `[..., hidden_size]` state behind a step.
            action: `[..., action_size]` command that was executed in that step.

        Returns:
            The state with what the policy would have given itself for that command as the previous action; `hidden`
            itself for a policy that does not see it.

        Raises:
            ValueError: the shapes do not fit each other or the policy.
        """
        return self.with_previous_action(hidden, action)

    @property
    def previous_action(self) -> slice | None:
        """Where in the hidden state the slot `prev_action` lies that holds an action; None without one."""
        return previous_action_of(self.output_specs, self.state_layout)

    def evaluate(self, rollout: Any, hidden_states_name: str = "hidden_states") -> Tensor | tuple[Tensor, ...]:
        """Runs recorded observations through the policy again, in eval mode, with gradients through time.

        Every sub-rollout starts from its first stored hidden state, or from the initial state where none is stored;
        of later stored states only the slot `prev_action` is used, because what was executed need not be what the
        policy says. Without them the policy sees its own actions again. The mode (train or eval) of every module is
        restored afterwards.

        Args:
            rollout: a `Rollout`, or anything that `Rollout.of` takes.
            hidden_states_name: name of the field of `rollout` with the stored hidden states.

        Returns:
            The actions `[sum T_i, action_size]` in the order of the rollout; for a policy with several outputs the
            tuple of them.

        Raises:
            TypeError: the data are not torch tensors.
            ValueError: the sizes do not fit each other or the policy, or the steps are not continuous.
        """
        data = Rollout.of(rollout, hidden_states_name)
        sizes = sum(spec.size for spec in self.input_specs)
        if data.observations.shape[1] != sizes:
            raise ValueError(f"evaluate: observations have {data.observations.shape[1]} elements, not {sizes}")
        hidden = data.first_hidden_states()
        if hidden is None:
            hidden = self.init_hidden(len(data.lengths))
        elif hidden.shape[1] != self.hidden_size:
            raise ValueError(f"evaluate: hidden states have {hidden.shape[1]} elements, not {self.hidden_size}")
        reference = self._reference()
        sequences = [match(chunk, reference) for chunk in data.split_observations()]
        with eval_mode(self):
            packed = pack_sequence(sequences, enforce_sorted=False)
            previous = self._packed_previous_actions(data)
            told = () if previous is None else (previous,)
            outputs = self._evaluate_packed(packed, match(hidden, reference), *told)
            ordered = tuple(torch.cat(unpack_sequence(packed._replace(data=output))) for output in outputs)
        return ordered[0] if len(ordered) == 1 else ordered

    def contract(
        self, *, batch: int | None = 1, period_s: float | None = None, provenance: Mapping[str, str] | None = None
    ) -> Contract:
        """Describes this policy for an artifact, without digest and golden trajectory.

        Args:
            batch: rows of one step, or None for any number.
            period_s: control period that the policy was trained at, in seconds; None for `self.period_s`.
            provenance: free text by key: trainer, versions, date.

        Raises:
            ValueError: a part of the policy was made for another period.
        """
        if None not in (period_s, self.period_s) and period_s != self.period_s:
            raise ValueError(
                f"{type(self).__name__}: it was made for a control period of {self.period_s} s, not {period_s} s"
            )
        return Contract(
            inputs=self.input_specs,
            outputs=self.output_specs,
            state=self.state_layout,
            initial_state=tuple(self.init_hidden().detach().to(torch.float32).tolist()),
            batch=batch,
            period_s=self.period_s if period_s is None else period_s,
            provenance={} if provenance is None else dict(provenance),
            action_map=self.action_stages if self._is_drawn_or_remembered else (),
        )

    def script(self) -> torch.jit.ScriptModule:
        """Returns the policy as a TorchScript module that keeps its own state.

        `forward(obs)` steps, `reset()` restores the initial state; see `ganglion.export`.
        """
        # The export room builds on this one; a top-level import would be circular.
        from ganglion.policies.scripting.stateful import StatefulRecurrentNetwork

        script: torch.jit.ScriptModule = torch.jit.script(StatefulRecurrentNetwork(self))
        return script

    def _packed_previous_actions(self, data: Rollout) -> Tensor | None:
        chunks = data.split_previous_actions(self.previous_action)
        if chunks is None:
            return None
        reference = self._reference()
        return pack_sequence([match(chunk, reference) for chunk in chunks], enforce_sorted=False).data

    def _evaluate_packed(
        self, packed: PackedSequence, hidden: Tensor, previous: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Runs a packed batch of observation sequences.

        Args:
            packed: observations, longest sequence first.
            hidden: `[sequences, hidden_size]` initial states, in the unsorted order.
            previous: what the slot `prev_action` holds at each step, packed likewise; None for what the policy says,
                and always for a policy without that slot.

        Returns:
            The data of every output, `[sum T_i, size]`, in the order of `packed.data`.
        """
        if packed.sorted_indices is not None:
            hidden = hidden[packed.sorted_indices]
        steps: list[tuple[Tensor, ...]] = []
        rows = packed.batch_sizes.tolist()
        told = [None] * len(rows) if previous is None else torch.split(previous, rows)
        for count, obs, actions in zip(rows, torch.split(packed.data, rows), told, strict=True):
            # Sequences are sorted by length, so those that still run are the first ones.
            before = hidden[:count]
            *outputs, hidden = self(obs, before if actions is None else self.with_previous_action(before, actions))
            steps.append(tuple(outputs))
        return tuple(torch.cat(column) for column in zip(*steps, strict=True))

    @property
    def _is_drawn_or_remembered(self) -> bool:
        """Whether anybody asks for actions before they are commands: to draw them, or to remember them."""
        return distribution_of(self.output_specs) is not None or self.previous_action is not None

    def _as_batch(self, obs: Tensor, hidden: Tensor | None) -> tuple[Tensor, Tensor]:
        """Checks the arguments of `forward` and returns both as `[batch, n]`, with device and dtype of the parameters.

        Raises:
            TypeError: an argument is no tensor.
            ValueError: an argument has the wrong shape.
        """
        reference = self._reference()
        if not isinstance(obs, Tensor):
            raise TypeError(f"{type(self).__name__}: obs must be a torch.Tensor, not {type(obs).__name__}")
        if obs.ndim not in (1, 2):
            raise ValueError(f"{type(self).__name__}: obs must have 1 or 2 axes, not shape {tuple(obs.shape)}")
        batch_size = None if obs.ndim == 1 else obs.shape[0]
        if hidden is None:
            hidden = self.init_hidden(batch_size)
        elif not isinstance(hidden, Tensor):
            raise TypeError(f"{type(self).__name__}: hidden must be a torch.Tensor, not {type(hidden).__name__}")
        # A tracer would warn about every comparison of sizes, and bake it in.
        if not is_tracing():
            self._check_sizes(obs, hidden)
        if obs.ndim == 1:
            obs, hidden = obs.unsqueeze(0), hidden.unsqueeze(0)
        return match(obs, reference), match(hidden, reference)

    def _as_given(self, obs: Tensor, results: _Results) -> _Results:
        """Takes the batch axis off the results `[batch, n]` of a step again where `obs` had none."""
        if obs.ndim == 1:
            return cast("_Results", tuple(result.squeeze(0) for result in results))
        return results

    def _check_sizes(self, obs: Tensor, hidden: Tensor) -> None:
        size = sum(spec.size for spec in self.input_specs)
        if obs.shape[-1] != size:
            raise ValueError(
                f"{type(self).__name__}: obs has shape {tuple(obs.shape)}; expected {(*obs.shape[:-1], size)}"
            )
        expected = (*obs.shape[:-1], self.hidden_size)
        if tuple(hidden.shape) != expected:
            raise ValueError(
                f"{type(self).__name__}: hidden has shape {tuple(hidden.shape)}; with obs of shape "
                f"{tuple(obs.shape)} expected {expected}"
            )
