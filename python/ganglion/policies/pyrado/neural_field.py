"""Neural field: neurons along a line, which excite and inhibit their neighbours through one convolution kernel.

After Amari 1977, "Dynamics of pattern formation in lateral-inhibition type neural fields" (Biological Cybernetics 27).
Names, parameter order and numbers follow Pyrado 0.7 (SimuRLacra, `pyrado.policies.recurrent.neural_fields`).
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor, nn

from ganglion.policies.kept import kept
from ganglion.policies.pyrado.indi_nonlin import IndiNonlinLayer
from ganglion.policies.pyrado.potential import PotentialBasedPolicy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ganglion.data.env_spec import EnvSpec
    from ganglion.policies.nonlinearities import Nonlinearity

PaddingMode = Literal["circular", "reflect", "zeros"]


class MirrConv1d(nn.Conv1d):
    """`torch.nn.Conv1d` with a symmetric kernel, of which only the first half and the centre are parameters.

    Of a kernel `[w0, w1, w2, w1, w0]` the parameter `weight` holds `[w0, w1, w2]`; of an even one
    `[w0, w1, w1, w0]` it holds `[w0, w1]`. Arguments are those of `torch.nn.Conv1d`, but there is no bias by default.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"bias": False, **kwargs})
        half = (self.kernel_size[0] + 1) // 2
        self.weight = nn.Parameter(self.weight.detach()[..., :half].clone())
        self.reset_parameters()

    @property
    def full_weight(self) -> Tensor:
        """The whole kernel, `[out_channels, in_channels / groups, kernel_size]`."""
        mirrored = self.weight[..., : self.kernel_size[0] // 2].flip(-1)
        return torch.cat([self.weight, mirrored], dim=-1)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (torch's name)
        """Computes the convolution; shapes as for `torch.nn.Conv1d`."""
        result: Tensor = self._conv_forward(input, self.full_weight, self.bias)
        return result


@kept()
class NFPolicy(PotentialBasedPolicy):
    """Neural field: the activations of all neurons act on all potentials through a convolution.

    One step, with a time step of 1, scales `w` and offsets `b` for each neuron, and `e = resting_level - p`:

        s = obs_layer(obs) + sum of the channels of conv_layer(nonlin(w (p + b)))
        p <- clip(p + (s + e + kappa e^3) / tau, -100, 100)
        action = act_layer(nonlin(w (p + b)))

    `init_param` takes `bell=True`: the kernel then starts as a bell that excites near neurons and inhibits far ones.

    Args:
        spec: spaces of the environment.
        hidden_size: number of neurons, at least 2.
        obs_layer: module that maps observations `[batch, observation_size]` to the external stimuli `[batch, neurons]`;
            None for a linear layer with bias. `init_param` draws a `torch.nn.Linear` anew and leaves other modules.
        activation_nonlin: nonlinearity between potentials and activations: a name, function or module, or a sequence
            with one for each neuron.
        mirrored_conv_weights: learn only one half of a symmetric kernel.
        conv_out_channels: number of kernels; their results are added.
        conv_kernel_size: number of neurons under the kernel, made odd by adding one; None for all neurons.
        conv_padding_mode: what lies beyond the first and the last neuron: `"circular"`, `"reflect"` or `"zeros"`.
        tau_init: initial time constant of all neurons, in steps; positive.
        tau_learnable: train the time constant, in log space.
        kappa_init: initial factor of the cubic decay; 0 for none.
        kappa_learnable: train the factor, in log space. From 0 (the default) it can never move: log(0) has gradient 0.
        potential_init_learnable: train the initial potentials, which are then drawn from N(0, 1); otherwise they are
            -7 for neurons with sigmoid and 0 for others.
        init_param_kwargs: options for `init_param`.
        use_cuda: put the policy on the CUDA device.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range, or the kernel is too long for the padding.
    """

    name = "nf"
    conv_layer: nn.Conv1d

    def __init__(
        self,
        spec: EnvSpec,
        hidden_size: int,
        obs_layer: nn.Module | None = None,
        activation_nonlin: Nonlinearity | Sequence[Nonlinearity] = torch.sigmoid,
        mirrored_conv_weights: bool = True,
        conv_out_channels: int = 1,
        conv_kernel_size: int | None = None,
        conv_padding_mode: PaddingMode = "circular",
        tau_init: float = 10.0,
        tau_learnable: bool = True,
        kappa_init: float = 0.0,
        kappa_learnable: bool = True,
        potential_init_learnable: bool = False,
        init_param_kwargs: Mapping[str, Any] | None = None,
        use_cuda: bool = False,
    ) -> None:
        _check_int("hidden_size", hidden_size, least=2)
        _check_int("conv_out_channels", conv_out_channels, least=1)
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
            hidden_size,
        )
        kernel_size = _kernel_size(conv_kernel_size, conv_padding_mode, hidden_size)
        self.mirrored_conv_weights = mirrored_conv_weights
        self.conv_layer = (MirrConv1d if mirrored_conv_weights else nn.Conv1d)(
            in_channels=1,  # the neurons are what is a sequence over time elsewhere
            out_channels=conv_out_channels,
            kernel_size=kernel_size,
            padding=kernel_size // 2,
            padding_mode=conv_padding_mode,
            bias=False,
        )
        self.pot_to_activ = IndiNonlinLayer(hidden_size, activation_nonlin, bias=True)
        self.act_layer = nn.Linear(hidden_size, spec.action_size, bias=False)
        # Not self.init_param(): the kernel has just been drawn, and equal seeds shall give Pyrado's parameters.
        super().init_param(None, **({} if init_param_kwargs is None else init_param_kwargs))
        self._place()

    @property
    def activation_layer(self) -> IndiNonlinLayer:
        """Layer from potentials to activations."""
        return self.pot_to_activ

    def potentials_dot(self, potentials: Tensor, stimuli: Tensor) -> Tensor:
        """Computes the change of the potentials in one step; see `PotentialBasedPolicy.potentials_dot`."""
        e = self.resting_level - potentials
        return (stimuli + e + self.kappa * e**3) / self.tau

    def init_param(self, init_values: Tensor | None = None, **kwargs: Any) -> None:
        """Sets all parameters; see `TrainablePolicy.init_param`."""
        if init_values is None:
            self.conv_layer.reset_parameters()
        super().init_param(init_values, **kwargs)

    def _internal_stimuli(self, activations: Tensor) -> Tensor:
        channels: Tensor = self.conv_layer(activations.unsqueeze(1))
        return channels.sum(dim=1)

    def _action(self, activations: Tensor) -> Tensor:
        action: Tensor = self.act_layer(activations)
        return action

    def _draw_param(self, *, bell: bool = False) -> None:
        super()._draw_param()
        if bell:
            self.conv_layer.weight.copy_(self._bells())
        self.pot_to_activ.reset_parameters()
        self.act_layer.reset_parameters()

    def _bells(self) -> Tensor:
        """Draws the heights of bells `2 a (exp(-l^2 / (m/2)^2) - 1/2)` with `a` from U(0, 1).

        `l` goes from `m` at the end of the kernel to 0 at its centre, over `m` elements.
        """
        kernel = self.conv_layer.weight
        half = (self.conv_layer.kernel_size[0] + 1) // 2
        distance = torch.linspace(half, 0, half)
        if not self.mirrored_conv_weights:
            distance = torch.cat([distance, distance[:-1].flip(0)])
        bell = torch.exp(-((distance / (half / 2)) ** 2)) - 0.5
        return 2.0 * torch.rand(*kernel.shape[:2], 1) * bell


def _kernel_size(given: int | None, padding_mode: str, neurons: int) -> int:
    if padding_mode not in (modes := get_args(PaddingMode)):
        raise ValueError(f"NFPolicy: conv_padding_mode must be one of {', '.join(modes)}, not {padding_mode!r}")
    if given is not None:
        _check_int("conv_kernel_size", given, least=1)
        if given % 2 == 0:
            warnings.warn(f"NFPolicy: conv_kernel_size {given} is even; {given + 1} is used", stacklevel=3)
    kernel_size = (neurons if given is None else given) // 2 * 2 + 1
    longest = {"circular": neurons, "reflect": neurons - 1}.get(padding_mode)
    if longest is not None and kernel_size // 2 > longest:
        raise ValueError(
            f"NFPolicy: {padding_mode} padding of {neurons} neurons gives at most {longest} more on each side, but a "
            f"kernel of {kernel_size} needs {kernel_size // 2}"
        )
    return kernel_size


def _check_int(label: str, value: int, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"NFPolicy: {label} must be an int, not {value!r}")
    if value < least:
        raise ValueError(f"NFPolicy: {label} must be at least {least}, not {value}")
