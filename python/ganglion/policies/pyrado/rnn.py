"""Policies of recurrent layers followed by one linear output layer: Elman RNN, GRU and LSTM.

Module names, parameter order, packing of the hidden vector and initialisation follow Pyrado 0.7
(SimuRLacra, `pyrado.policies.recurrent.rnn`), so that its checkpoints load.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from ganglion.policies.kept import kept
from ganglion.policies.recurrent_layers import RecurrentLayersPolicy, default_pack_hidden, default_unpack_hidden

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ganglion.data.env_spec import EnvSpec

__all__ = ["GRUPolicy", "LSTMPolicy", "RNNPolicy", "RNNPolicyBase", "default_pack_hidden", "default_unpack_hidden"]


class RNNPolicyBase(RecurrentLayersPolicy):
    """Recurrent layers, a linear layer, and a nonlinearity on the output.

    Args:
        spec: spaces of the environment.
        hidden_size: number of units of each recurrent layer.
        num_recurrent_layers: number of recurrent layers.
        output_nonlin: applied to the whole output of the linear layer, or None.
        dropout: probability of dropping an output between two recurrent layers, in train mode only.
        init_param_kwargs: options for `init_param`.
        use_cuda: put the policy on the CUDA device.
        **recurrent_net_kwargs: further arguments of the torch module.

    Raises:
        TypeError: an argument has the wrong type, or this base class itself is instantiated.
        ValueError: torch or this class refuses a value.
    """

    rnn_layers: nn.RNNBase
    output_layer: nn.Linear

    def __init__(
        self,
        spec: EnvSpec,
        hidden_size: int,
        num_recurrent_layers: int,
        output_nonlin: Callable[[Tensor], Tensor] | None = None,
        dropout: float = 0.0,
        init_param_kwargs: Mapping[str, Any] | None = None,
        use_cuda: bool = False,
        **recurrent_net_kwargs: Any,
    ) -> None:
        super().__init__(spec, use_cuda)
        self._check_nonlin("output_nonlin", output_nonlin)
        self.rnn_layers = self._build_layers(hidden_size, num_recurrent_layers, dropout, **recurrent_net_kwargs)
        self.output_layer = nn.Linear(hidden_size, spec.action_size)
        self.output_nonlin = output_nonlin
        self.init_param(None, **({} if init_param_kwargs is None else init_param_kwargs))
        self._place()

    @property
    def _layers(self) -> nn.RNNBase:
        return self.rnn_layers

    def _heads(self, features: Tensor) -> tuple[Tensor, ...]:
        output: Tensor = self.output_layer(features)
        return (output if self.output_nonlin is None else self.output_nonlin(output),)

    def _draw_param(self, *, t_max: float | None = None) -> None:
        """Draws from U(-1/sqrt(fan), 1/sqrt(fan)), as torch does; `t_max` is for LSTM only."""
        self._draw_layers(t_max)
        self.output_layer.reset_parameters()


@kept()
class RNNPolicy(RNNPolicyBase):
    """Policy with Elman recurrent layers (`torch.nn.RNN`).

    Args:
        spec: spaces of the environment.
        hidden_size: number of units of each recurrent layer.
        num_recurrent_layers: number of recurrent layers.
        hidden_nonlin: nonlinearity of the recurrent layers, `"tanh"` or `"relu"`.
        output_nonlin: applied to the whole output of the linear layer, or None.
        dropout: probability of dropping an output between two recurrent layers, in train mode only.
        init_param_kwargs: options for `init_param`; `t_max` is accepted and has no effect.
        use_cuda: put the policy on the CUDA device.
        **recurrent_net_kwargs: further arguments of `torch.nn.RNN`.
    """

    name = "rnn"
    recurrent_network_type = nn.RNN

    def __init__(
        self,
        spec: EnvSpec,
        hidden_size: int,
        num_recurrent_layers: int,
        hidden_nonlin: str = "tanh",
        output_nonlin: Callable[[Tensor], Tensor] | None = None,
        dropout: float = 0.0,
        init_param_kwargs: Mapping[str, Any] | None = None,
        use_cuda: bool = False,
        **recurrent_net_kwargs: Any,
    ) -> None:
        super().__init__(
            spec,
            hidden_size,
            num_recurrent_layers,
            output_nonlin,
            dropout,
            init_param_kwargs,
            use_cuda,
            nonlinearity=hidden_nonlin,
            **recurrent_net_kwargs,
        )


@kept()
class GRUPolicy(RNNPolicyBase):
    """Policy with gated recurrent units (`torch.nn.GRU`); arguments as for `RNNPolicyBase`."""

    name = "gru"
    recurrent_network_type = nn.GRU


@kept()
class LSTMPolicy(RNNPolicyBase):
    """Policy with long short-term memory (`torch.nn.LSTM`); arguments as for `RNNPolicyBase`.

    The flat hidden vector holds the hidden states of all layers and then the cell states of all layers.

    `init_param` takes `t_max`, the longest dependency to be learned, in steps: weights start orthogonal (input) and as
    identities (recurrent), and the biases of forget and input gates as by chrono initialisation (Tallec and Ollivier
    2018, "Can recurrent neural networks warp time?", eq. 16). Like Pyrado, `bias_ih` and `bias_hh` are drawn both.
    """

    name = "lstm"
    recurrent_network_type = nn.LSTM
