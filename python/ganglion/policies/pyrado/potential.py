"""The base class of policies whose neurons have a potential: its state, its parameters and its integration.

Names, parameter order and numbers follow Pyrado 0.7 (SimuRLacra, `pyrado.policies.recurrent.potential_based`).
"""

from __future__ import annotations

import math
import warnings
from abc import abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ganglion.contract import StateSlot
from ganglion.policies._tensors import is_tracing
from ganglion.policies.base import RecurrentPolicy
from ganglion.policies.nonlinearities import Nonlinearity, as_nonlinearities, is_sigmoid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ganglion.data.env_spec import EnvSpec
    from ganglion.policies.pyrado.indi_nonlin import IndiNonlinLayer

POTENTIALS_MAX = 100.0
"""Potentials are clipped to [-100, 100]."""

_SIGMOID_REST = -7.0
"""Where a neuron with sigmoid starts: sigmoid(-7) is about 0.001."""


class PotentialBasedPolicy(RecurrentPolicy):
    """Neurons with a potential `p`, which stimuli from the observation and from the other neurons change.

    One step, with a time step of 1:

        s = external stimuli(obs) + internal stimuli(activations(p))
        p <- clip(p + potentials_dot(p, s), -100, 100)
        action = action of (activations(p))

    The potentials are the whole state. Gradients flow through them, over time and into learnable initial potentials.

    Args:
        spec: spaces of the environment.
        obs_layer: module that maps observations `[batch, observation_size]` to the external stimuli `[batch, neurons]`;
            None for a linear layer with bias. `init_param` draws a `torch.nn.Linear` anew and leaves other modules.
        activation_nonlin: nonlinearity between potentials and activations: a name, function or module, or a sequence
            with one for each neuron.
        tau_init: initial time constant of all neurons, in steps; positive.
        tau_learnable: train the time constant, in log space.
        kappa_init: initial factor of the cubic decay; 0 for none.
        kappa_learnable: train the factor, in log space. From 0 it can never move: log(0) has gradient 0.
        potential_init_learnable: train the initial potentials, which are then drawn from N(0, 1); otherwise they are
            -7 for neurons with sigmoid and 0 for others.
        use_cuda: put the policy on the CUDA device.
        hidden_size: number of neurons; None for the size of an action.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: `tau_init` or `kappa_init` is out of range.
    """

    resting_level: nn.Parameter
    _potentials_init: Tensor
    _log_tau: Tensor
    _log_kappa: Tensor

    def __init__(
        self,
        spec: EnvSpec,
        obs_layer: nn.Module | None,
        activation_nonlin: Nonlinearity | Sequence[Nonlinearity],
        tau_init: float,
        tau_learnable: bool,
        kappa_init: float,
        kappa_learnable: bool,
        potential_init_learnable: bool,
        use_cuda: bool,
        hidden_size: int | None = None,
    ) -> None:
        super().__init__(spec, use_cuda)
        name = type(self).__name__
        if obs_layer is not None and not isinstance(obs_layer, nn.Module):
            raise TypeError(f"{name}: obs_layer must be a torch.nn.Module or None, not {type(obs_layer).__name__}")
        if not (math.isfinite(tau_init) and tau_init > 0.0):
            raise ValueError(f"{name}: tau_init must be positive and finite, not {tau_init}")
        if not (math.isfinite(kappa_init) and kappa_init >= 0.0):
            raise ValueError(f"{name}: kappa_init must be finite and not negative, not {kappa_init}")
        if kappa_learnable and kappa_init == 0.0:
            warnings.warn(
                f"{name}: a learnable kappa is trained in log space and never leaves kappa_init=0; "
                "start from a small positive value, or say kappa_learnable=False",
                stacklevel=3,
            )
        self.tau_init, self.tau_learnable = tau_init, tau_learnable
        self.kappa_init, self.kappa_learnable = kappa_init, kappa_learnable
        self.potential_init_learnable = potential_init_learnable
        self._num_neurons = spec.action_size if hidden_size is None else hidden_size
        # Plain attributes and not buffers: they are no part of what is saved or exported.
        self._stimuli_external = torch.zeros(self._num_neurons)
        self._stimuli_internal = torch.zeros(self._num_neurons)

        nonlinearities = as_nonlinearities(activation_nonlin, self._num_neurons)
        potentials = torch.tensor([_SIGMOID_REST if is_sigmoid(nonlin) else 0.0 for nonlin in nonlinearities])
        # Values that are learned come with init_param(), once the sub-class has made its layers.
        self.resting_level = nn.Parameter(torch.zeros(self._num_neurons))
        self.obs_layer = nn.Linear(spec.observation_size, self._num_neurons) if obs_layer is None else obs_layer
        if potential_init_learnable:
            potentials.normal_()  # for the sake of equal seeds
        self._register("_potentials_init", potentials, potential_init_learnable)
        self._register("_log_tau", torch.zeros(1), tau_learnable)
        self._register("_log_kappa", torch.zeros(1), kappa_learnable)

    @property
    @abstractmethod
    def activation_layer(self) -> IndiNonlinLayer:
        """Layer from potentials to activations."""
        raise NotImplementedError

    @abstractmethod
    def potentials_dot(self, potentials: Tensor, stimuli: Tensor) -> Tensor:
        """Computes the change of the potentials in one step.

        Args:
            potentials: `[batch, neurons]`.
            stimuli: `[batch, neurons]`, external and internal ones together.

        Returns:
            `[batch, neurons]`.
        """
        raise NotImplementedError

    @abstractmethod
    def _internal_stimuli(self, activations: Tensor) -> Tensor:
        """Computes what the neurons do to each other, `[batch, neurons]`."""
        raise NotImplementedError

    @abstractmethod
    def _action(self, activations: Tensor) -> Tensor:
        """Computes the action, `[batch, action_size]`."""
        raise NotImplementedError

    @property
    def num_recurrent_layers(self) -> int:
        """Number of recurrent layers: one."""
        return 1

    @property
    def state_layout(self) -> tuple[StateSlot, ...]:
        """One slot `potentials`, `[neurons]`."""
        return (StateSlot("potentials", (self._num_neurons,)),)

    @property
    def tau(self) -> Tensor:
        """Time constant of all neurons, `[1]`, in steps."""
        return torch.exp(self._log_tau)

    @property
    def kappa(self) -> Tensor:
        """Factor of the cubic decay, `[1]`."""
        return torch.exp(self._log_kappa)

    @property
    def stimuli_external(self) -> Tensor:
        """Stimuli from the observation in the last call of `forward`, detached, shaped like its hidden state."""
        return self._stimuli_external

    @property
    def stimuli_internal(self) -> Tensor:
        """Stimuli from the other neurons in the last call of `forward`, detached, shaped like its hidden state."""
        return self._stimuli_internal

    def init_hidden(self, batch_size: int | None = None) -> Tensor:
        """Returns a new copy of the initial potentials, `[neurons]` or `[batch_size, neurons]`.

        Where they are learnable, gradients flow into them through the copy.
        """
        return self._potentials_init.clone() if batch_size is None else self._potentials_init.repeat(batch_size, 1)

    def forward(self, obs: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Runs one step; see `RecurrentPolicy.forward`.

        Returns:
            Action `[action_size]` and new potentials `[neurons]`, or both with the batch axis in front.
        """
        rows, potentials = self._as_batch(obs, hidden)
        external = self._same_shape("the external stimuli", self.obs_layer(rows), potentials)
        internal = self._internal_stimuli(self.activation_layer(potentials))
        self._record(external, internal, obs.ndim == 1)
        change = self._same_shape("potentials_dot", self.potentials_dot(potentials, external + internal), potentials)
        potentials = torch.clamp(potentials + change, -POTENTIALS_MAX, POTENTIALS_MAX)
        action = self._action(self.activation_layer(potentials))
        return self._as_given(obs, (action, potentials))

    def extra_repr(self) -> str:
        """Text of the settings for `repr`."""
        return (
            f"tau_learnable={self.tau_learnable}, kappa_learnable={self.kappa_learnable}, "
            f"learn_init_potentials={self.potential_init_learnable}"
        )

    def _draw_param(self) -> None:
        """Draws from N(0, 1); the stimuli layer as torch does. Time constant and cubic decay start anew."""
        if isinstance(self.obs_layer, nn.Linear):
            self.obs_layer.reset_parameters()
        self.resting_level.normal_()
        if self.potential_init_learnable:
            self._potentials_init.normal_()
        self._log_tau.fill_(math.log(self.tau_init))
        self._log_kappa.fill_(math.log(self.kappa_init) if self.kappa_init > 0.0 else -math.inf)

    def _register(self, name: str, values: Tensor, learnable: bool) -> None:
        """Adds a parameter, or a buffer where the values are fixed: both move with the policy and are saved."""
        if learnable:
            self.register_parameter(name, nn.Parameter(values))
        else:
            self.register_buffer(name, values)

    def _same_shape(self, label: str, values: Tensor, potentials: Tensor) -> Tensor:
        # Layers and functions of the user must not meet the potentials by broadcasting.
        if not is_tracing() and values.shape != potentials.shape:
            raise ValueError(
                f"{type(self).__name__}: {label} has shape {tuple(values.shape)}; expected {tuple(potentials.shape)}"
            )
        return values

    def _record(self, external: Tensor, internal: Tensor, unbatched: bool) -> None:
        # A graph that is being recorded has no values.
        if not (is_tracing() or torch.compiler.is_compiling()):
            self._stimuli_external = external.detach().squeeze(0) if unbatched else external.detach()
            self._stimuli_internal = internal.detach().squeeze(0) if unbatched else internal.detach()
