"""Policies of shared recurrent layers with two linear heads behind them: Elman RNN, GRU and LSTM.

Module names, parameter order, packing of the hidden vector and initialisation follow Pyrado 0.7
(SimuRLacra, `pyrado.policies.recurrent.two_headed_rnn`), so that its checkpoints load.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from ganglion.contract import TensorSpec
from ganglion.policies.kept import kept
from ganglion.policies.recurrent_layers import RecurrentLayersPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ganglion.data.env_spec import EnvSpec


class TwoHeadedRNNPolicyBase(RecurrentLayersPolicy):
    """Recurrent layers whose last output goes to two linear heads, each with its own nonlinearity.

    `forward` returns `(output of head 1, output of head 2, new hidden state)`; `evaluate` returns both outputs. The
    first output is the action.

    Args:
        spec: spaces of the environment.
        shared_hidden_size: number of units of each recurrent layer.
        shared_num_recurrent_layers: number of recurrent layers.
        head_1_size: number of outputs of head 1; None for the size of an action.
        head_2_size: number of outputs of head 2; None for the size of an action.
        head_1_output_nonlin: applied to the whole output of head 1, or None.
        head_2_output_nonlin: applied to the whole output of head 2, or None.
        shared_dropout: probability of dropping an output between two recurrent layers, in train mode only.
        init_param_kwargs: options for `init_param`, see `LSTMPolicy`; without effect for RNN and GRU.
        use_cuda: put the policy on the CUDA device.
        **recurrent_net_kwargs: further arguments of the torch module.

    Raises:
        TypeError: an argument has the wrong type, or this base class itself is instantiated.
        ValueError: torch or this class refuses a value.
    """

    shared: nn.RNNBase
    head_1: nn.Linear
    head_2: nn.Linear

    def __init__(
        self,
        spec: EnvSpec,
        shared_hidden_size: int,
        shared_num_recurrent_layers: int,
        head_1_size: int | None = None,
        head_2_size: int | None = None,
        head_1_output_nonlin: Callable[[Tensor], Tensor] | None = None,
        head_2_output_nonlin: Callable[[Tensor], Tensor] | None = None,
        shared_dropout: float = 0.0,
        init_param_kwargs: Mapping[str, Any] | None = None,
        use_cuda: bool = False,
        **recurrent_net_kwargs: Any,
    ) -> None:
        super().__init__(spec, use_cuda)
        self._check_nonlin("head_1_output_nonlin", head_1_output_nonlin)
        self._check_nonlin("head_2_output_nonlin", head_2_output_nonlin)
        self.head_1_size = self._head_size("head_1_size", head_1_size)
        self.head_2_size = self._head_size("head_2_size", head_2_size)
        self.shared = self._build_layers(
            shared_hidden_size, shared_num_recurrent_layers, shared_dropout, **recurrent_net_kwargs
        )
        self.head_1 = nn.Linear(shared_hidden_size, self.head_1_size)
        self.head_2 = nn.Linear(shared_hidden_size, self.head_2_size)
        self.head_1_output_nonlin = head_1_output_nonlin
        self.head_2_output_nonlin = head_2_output_nonlin
        self.init_param(None, **({} if init_param_kwargs is None else init_param_kwargs))
        self._place()

    @property
    def output_specs(self) -> tuple[TensorSpec, ...]:
        """`head_1`, with the bounds of the actions where it has their size, and `head_2`."""
        action = self.env_spec.action_spec
        head_1 = replace(action, name="head_1") if self.head_1_size == action.size else None
        return (head_1 or TensorSpec("head_1", self.head_1_size), TensorSpec("head_2", self.head_2_size))

    @property
    def _layers(self) -> nn.RNNBase:
        return self.shared

    def _heads(self, features: Tensor) -> tuple[Tensor, ...]:
        output_1, output_2 = self.head_1(features), self.head_2(features)
        if self.head_1_output_nonlin is not None:
            output_1 = self.head_1_output_nonlin(output_1)
        if self.head_2_output_nonlin is not None:
            output_2 = self.head_2_output_nonlin(output_2)
        return output_1, output_2

    def _draw_param(self, *, t_max: float | None = None) -> None:
        """Draws from U(-1/sqrt(fan), 1/sqrt(fan)), as torch does; `t_max` is for LSTM only."""
        self._draw_layers(t_max)
        self.head_1.reset_parameters()
        self.head_2.reset_parameters()

    def _head_size(self, label: str, size: int | None) -> int:
        if size is None:
            return self.env_spec.action_size
        if isinstance(size, bool) or not isinstance(size, int):
            raise TypeError(f"{type(self).__name__}: {label} must be an int or None, not {size!r}")
        if size < 1:
            raise ValueError(f"{type(self).__name__}: {label} must be at least 1, not {size}")
        return size


@kept()
class TwoHeadedRNNPolicy(TwoHeadedRNNPolicyBase):
    """Two-headed policy with Elman recurrent layers (`torch.nn.RNN`).

    Args:
        spec: spaces of the environment.
        shared_hidden_size: number of units of each recurrent layer.
        shared_num_recurrent_layers: number of recurrent layers.
        shared_hidden_nonlin: nonlinearity of the recurrent layers, `"tanh"` or `"relu"`.
        head_1_size: number of outputs of head 1; None for the size of an action.
        head_2_size: number of outputs of head 2; None for the size of an action.
        head_1_output_nonlin: applied to the whole output of head 1, or None.
        head_2_output_nonlin: applied to the whole output of head 2, or None.
        shared_dropout: probability of dropping an output between two recurrent layers, in train mode only.
        init_param_kwargs: options for `init_param`; `t_max` is accepted and has no effect.
        use_cuda: put the policy on the CUDA device.
        **recurrent_net_kwargs: further arguments of `torch.nn.RNN`.
    """

    name = "thrnn"
    recurrent_network_type = nn.RNN

    def __init__(
        self,
        spec: EnvSpec,
        shared_hidden_size: int,
        shared_num_recurrent_layers: int,
        shared_hidden_nonlin: str = "tanh",
        head_1_size: int | None = None,
        head_2_size: int | None = None,
        head_1_output_nonlin: Callable[[Tensor], Tensor] | None = None,
        head_2_output_nonlin: Callable[[Tensor], Tensor] | None = None,
        shared_dropout: float = 0.0,
        init_param_kwargs: Mapping[str, Any] | None = None,
        use_cuda: bool = False,
        **recurrent_net_kwargs: Any,
    ) -> None:
        super().__init__(
            spec,
            shared_hidden_size,
            shared_num_recurrent_layers,
            head_1_size,
            head_2_size,
            head_1_output_nonlin,
            head_2_output_nonlin,
            shared_dropout,
            init_param_kwargs,
            use_cuda,
            nonlinearity=shared_hidden_nonlin,
            **recurrent_net_kwargs,
        )


@kept()
class TwoHeadedGRUPolicy(TwoHeadedRNNPolicyBase):
    """Two-headed policy with gated recurrent units (`torch.nn.GRU`); arguments as for `TwoHeadedRNNPolicyBase`."""

    name = "thgru"
    recurrent_network_type = nn.GRU


@kept()
class TwoHeadedLSTMPolicy(TwoHeadedRNNPolicyBase):
    """Two-headed policy with long short-term memory (`torch.nn.LSTM`); arguments as for `TwoHeadedRNNPolicyBase`.

    Packing of the hidden vector and the option `t_max` of `init_param` are those of `LSTMPolicy`.
    """

    name = "thlstm"
    recurrent_network_type = nn.LSTM
