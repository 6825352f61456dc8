"""Activation dynamics network: one neuron per action, and a choice of dynamics for its potential.

After Luksch, Gienger, Muehlig and Yoshiike 2012, "Adaptive movement sequences and predictive decisions based on
hierarchical dynamical systems" (IROS). Names, parameter order and numbers follow Pyrado 0.7 (SimuRLacra,
`pyrado.policies.recurrent.adn`).

The dynamics functions compute the change of the potentials in one step, with `e = h - p`:

| function | change |
|---|---|
| `pd_linear` | `(s + e) / tau` |
| `pd_cubic` | `(s + e + kappa e^3) / tau` |
| `pd_capacity_21` | `(s - e (1 - e^2/C^2)) / tau` |
| `pd_capacity_21_abs` | `(s - e (1 - abs(e)/C)) / tau` |
| `pd_capacity_32` | `(s + e (1 - e^2/C^2) (1 - (2e)^2/C^2)) / tau` |
| `pd_capacity_32_abs` | `(s + e (1 - abs(e)/C) (1 - 2 abs(e)/C)) / tau` |

Their arguments are tensors that broadcast: potentials `p`, stimuli `s`, resting level `h`, time constant `tau` in
steps, and by keyword the cubic decay `kappa` and the capacity `capacity`. Each raises `ValueError` if `tau` or the
capacity is not positive, or `kappa` is negative. A policy does not ask at every step: its values are exponentials.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ganglion.policies.kept import kept
from ganglion.policies.nonlinearities import Nonlinearity, as_nonlinearities, is_sigmoid, is_tanh
from ganglion.policies.pyrado.indi_nonlin import IndiNonlinLayer
from ganglion.policies.pyrado.potential import PotentialBasedPolicy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ganglion.data.env_spec import EnvSpec

PotentialDynamics = Callable[..., Tensor]
"""`f(p, s, h, tau, kappa=, capacity=)`, like the dynamics functions of this module."""


def _checked(formula: PotentialDynamics) -> PotentialDynamics:
    """Looks at the values of the arguments before the formula; the attribute `unchecked` is without the look."""

    @functools.wraps(formula)
    def dynamics(p: Tensor, s: Tensor, h: Tensor, tau: Tensor, **more: Tensor | None) -> Tensor:
        name = formula.__name__
        if not (torch.as_tensor(tau) > 0.0).all():
            raise ValueError(f"{name}: tau must be positive, not {tau}")
        kappa, capacity = more.get("kappa"), more.get("capacity")
        if kappa is not None and not (torch.as_tensor(kappa) >= 0.0).all():
            raise ValueError(f"{name}: kappa must not be negative, not {kappa}")
        if capacity is not None and not (torch.as_tensor(capacity) > 0.0).all():
            raise ValueError(f"{name}: capacity must be positive, not {capacity}")
        return formula(p, s, h, tau, **more)

    vars(dynamics)["unchecked"] = formula
    return kept()(dynamics)


@_checked
def pd_linear(p: Tensor, s: Tensor, h: Tensor, tau: Tensor, **_: Any) -> Tensor:
    """Computes `(s + h - p) / tau`: the potential goes to the resting level plus the stimulus."""
    return (s + h - p) / tau


@_checked
def pd_cubic(p: Tensor, s: Tensor, h: Tensor, tau: Tensor, *, kappa: Tensor, **_: Any) -> Tensor:
    """Computes `(s + e + kappa e^3) / tau` with `e = h - p`: far from rest, the potential comes back faster."""
    e = h - p
    return (s + e + kappa * e**3) / tau


@_checked
def pd_capacity_21(p: Tensor, s: Tensor, h: Tensor, tau: Tensor, *, capacity: Tensor, **_: Any) -> Tensor:
    """Computes `(s - e (1 - e^2/C^2)) / tau` with `e = h - p`: stable at `-C` and `C` from rest, unstable between."""
    e = h - p
    return (s - e * (1.0 - e**2 / capacity**2)) / tau


@_checked
def pd_capacity_21_abs(p: Tensor, s: Tensor, h: Tensor, tau: Tensor, *, capacity: Tensor, **_: Any) -> Tensor:
    """Computes `(s - e (1 - abs(e)/C)) / tau` with `e = h - p`: `pd_capacity_21` of a lower order."""
    e = h - p
    return (s - e * (1.0 - e.abs() / capacity)) / tau


@_checked
def pd_capacity_32(p: Tensor, s: Tensor, h: Tensor, tau: Tensor, *, capacity: Tensor, **_: Any) -> Tensor:
    """Computes `(s + e (1 - e^2/C^2) (1 - (2e)^2/C^2)) / tau` with `e = h - p`.

    Stable at rest and at `-C` and `C` from it, unstable half way between. (The published formula has a minus before
    the product, which would turn stable and unstable points round.)
    """
    e = h - p
    return (s + e * (1.0 - e**2 / capacity**2) * (1.0 - (2.0 * e) ** 2 / capacity**2)) / tau


@_checked
def pd_capacity_32_abs(p: Tensor, s: Tensor, h: Tensor, tau: Tensor, *, capacity: Tensor, **_: Any) -> Tensor:
    """Computes `(s + e (1 - abs(e)/C) (1 - 2 abs(e)/C)) / tau` with `e = h - p`: `pd_capacity_32` of a lower order."""
    e = h - p
    return (s + e * (1.0 - e.abs() / capacity) * (1.0 - 2.0 * e.abs() / capacity)) / tau


_CAPACITY_DYNAMICS = (pd_capacity_21, pd_capacity_21_abs, pd_capacity_32, pd_capacity_32_abs)


@kept()
class ADNPolicy(PotentialBasedPolicy):
    """Activation dynamics network: one neuron per action, whose activation is the action.

    One step, with a time step of 1 and scales `w` for each neuron:

        s = obs_layer(obs) + prev_act_layer(nonlin(w p))
        p <- clip(p + potentials_dyn_fcn(p, s, resting_level, tau, kappa=kappa, capacity=capacity), -100, 100)
        action = nonlin(w p)

    `init_param` takes `sigmoid_nlin=True`: every neuron then starts to excite itself (1) and inhibit others (-0.5).

    Args:
        spec: spaces of the environment.
        activation_nonlin: nonlinearity between potentials and activations: a name, function or module, or a sequence
            with one for each neuron. Sigmoid suits positions, tanh velocities.
        potentials_dyn_fcn: dynamics of the potentials: a function of this module, or any
            `f(p, s, h, tau, kappa=, capacity=)` of tensors `[batch, neurons]` (`p`, `s`), `[neurons]` (`h`) and `[1]`,
            where `capacity` is None.
        obs_layer: module that maps observations `[batch, observation_size]` to the external stimuli `[batch, neurons]`;
            None for a linear layer with bias. `init_param` draws a `torch.nn.Linear` anew and leaves other modules.
        tau_init: initial time constant of all neurons, in steps; positive.
        tau_learnable: train the time constant, in log space.
        kappa_init: initial factor of the cubic decay; 0 for none.
        kappa_learnable: train the factor, in log space. From 0 it can never move: log(0) has gradient 0.
        capacity_learnable: train the capacity, in log space. It exists for capacity dynamics and starts at 7.0 for
            sigmoid and 3.8 for tanh, where the activation is nearly full; one for all neurons that start alike.
        potential_init_learnable: train the initial potentials, which are then drawn from N(0, 1); otherwise they are
            -7 for neurons with sigmoid and 0 for others.
        init_param_kwargs: options for `init_param`.
        use_cuda: put the policy on the CUDA device.

    Raises:
        TypeError: an argument has the wrong type, or capacity dynamics are given another nonlinearity than sigmoid or
            tanh.
        ValueError: an argument is out of range.
    """

    name = "adn"
    _log_capacity: Tensor

    def __init__(
        self,
        spec: EnvSpec,
        activation_nonlin: Nonlinearity | Sequence[Nonlinearity],
        potentials_dyn_fcn: PotentialDynamics,
        obs_layer: nn.Module | None = None,
        tau_init: float = 10.0,
        tau_learnable: bool = True,
        kappa_init: float = 1e-3,
        kappa_learnable: bool = True,
        capacity_learnable: bool = True,
        potential_init_learnable: bool = False,
        init_param_kwargs: Mapping[str, Any] | None = None,
        use_cuda: bool = False,
    ) -> None:
        super().__init__(
            spec,
            obs_layer,
            activation_nonlin,
            tau_init,
            tau_learnable,
            kappa_init,
            kappa_learnable,
            potential_init_learnable,
            use_cuda,
        )
        if not callable(potentials_dyn_fcn):
            raise TypeError(f"ADNPolicy: potentials_dyn_fcn must be callable, not {potentials_dyn_fcn!r}")
        self.potentials_dot_fcn = potentials_dyn_fcn
        self.capacity_learnable = capacity_learnable
        self.prev_act_layer = nn.Linear(self._num_neurons, self._num_neurons, bias=False)
        self.pot_to_act_layer = IndiNonlinLayer(self._num_neurons, activation_nonlin, bias=False)
        self._capacity_init: tuple[float, ...] = ()
        if potentials_dyn_fcn in _CAPACITY_DYNAMICS:
            self._capacity_init = _initial_capacity(as_nonlinearities(activation_nonlin, self._num_neurons))
            self._register("_log_capacity", torch.zeros(len(self._capacity_init)), capacity_learnable)
        self.init_param(None, **({} if init_param_kwargs is None else init_param_kwargs))
        self._place()

    @property
    def activation_layer(self) -> IndiNonlinLayer:
        """Layer from potentials to activations."""
        return self.pot_to_act_layer

    @property
    def capacity(self) -> Tensor | None:
        """Capacity, `[1]`, or `[neurons]` where they do not start alike; None but for capacity dynamics."""
        return torch.exp(self._log_capacity) if self._capacity_init else None

    def potentials_dot(self, potentials: Tensor, stimuli: Tensor) -> Tensor:
        """Computes the change of the potentials in one step; see `PotentialBasedPolicy.potentials_dot`."""
        dynamics = getattr(self.potentials_dot_fcn, "unchecked", self.potentials_dot_fcn)
        change: Tensor = dynamics(
            potentials, stimuli, self.resting_level, self.tau, kappa=self.kappa, capacity=self.capacity
        )
        return change

    def extra_repr(self) -> str:
        """Text of the settings for `repr`."""
        return f"{super().extra_repr()}, capacity_learnable={self.capacity_learnable}"

    def _internal_stimuli(self, activations: Tensor) -> Tensor:
        stimuli: Tensor = self.prev_act_layer(activations)
        return stimuli

    def _action(self, activations: Tensor) -> Tensor:
        return activations

    def _draw_param(self, *, sigmoid_nlin: bool = False) -> None:
        super()._draw_param()
        self.prev_act_layer.reset_parameters()
        if sigmoid_nlin:
            self.prev_act_layer.weight.fill_(-0.5).fill_diagonal_(1.0)
        self.pot_to_act_layer.reset_parameters()
        if self._capacity_init:
            self._log_capacity.copy_(torch.tensor(self._capacity_init).log())


def _initial_capacity(nonlinearities: Sequence[Callable[[Tensor], Tensor]]) -> tuple[float, ...]:
    """Returns where the activation is nearly full (0.999): one value, or one per neuron where they differ."""
    if not all(is_sigmoid(nonlin) or is_tanh(nonlin) for nonlin in nonlinearities):
        raise TypeError("ADNPolicy: capacity dynamics need sigmoid or tanh as activation_nonlin")
    capacities = tuple(7.0 if is_sigmoid(nonlin) else 3.8 for nonlin in nonlinearities)
    return capacities if len(set(capacities)) > 1 else capacities[:1]
