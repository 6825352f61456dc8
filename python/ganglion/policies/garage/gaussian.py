"""Gaussian policies as in garage: LSTM, GRU and perceptron.

Names of the arguments, defaults, gate order and input order follow garage's `garage.tf.policies`; initialisers and
nonlinearities are callables on torch tensors. Trained parameters are loaded by `load_garage_parameters`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from ganglion.policies.cores import Perceptron
from ganglion.policies.dense import check_flags
from ganglion.policies.garage.base import GaussianPolicy
from ganglion.policies.garage.cells import GRUCell, LSTMCell
from ganglion.policies.garage.head import GaussianHead
from ganglion.policies.kept import kept

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ganglion.data.env_spec import EnvSpec
    from ganglion.policies.dense import Initializer, Nonlinearity

_INITIALIZERS = (
    "hidden_w_init",
    "hidden_b_init",
    "recurrent_w_init",
    "output_w_init",
    "output_b_init",
    "hidden_state_init",
    "cell_state_init",
)


@kept(without=_INITIALIZERS)
class GaussianLSTMPolicy(GaussianPolicy):
    """Gaussian policy with an LSTM cell, garage's `GaussianLSTMPolicy`; see `GaussianPolicy` for its use.

    State slots: `prev_action [action_size]` (with `state_include_action`), `h [1, hidden_dim]`, `c [1, hidden_dim]`.

    Args:
        env_spec: spaces of the environment; the action space must be a `Box`.
        hidden_dim: number of units.
        name: name of the policy.
        hidden_nonlinearity: of candidate and cell output; None for linear in both places.
        hidden_w_init: draws the input weight `[4 hidden_dim, input_dim]`.
        hidden_b_init: draws the bias `[4 hidden_dim]`.
        recurrent_nonlinearity: of the gates; None for linear.
        recurrent_w_init: draws the recurrent weight `[4 hidden_dim, hidden_dim]`.
        output_nonlinearity: of the output layer; None for linear. With `std_share_network` it applies to mean and log
            standard deviation.
        output_w_init: draws the output weight `[outputs, hidden_dim]`.
        output_b_init: draws the output bias `[outputs]`.
        hidden_state_init: draws the initial hidden state `[hidden_dim]`.
        hidden_state_init_trainable: train it.
        cell_state_init: draws the initial cell state `[hidden_dim]`.
        cell_state_init_trainable: train it.
        forget_bias: the forget gate's bias starts at one, whatever `hidden_b_init` draws for it.
        learn_std: train the standard deviation; without effect with `std_share_network`.
        std_share_network: compute the log standard deviation from the LSTM, instead of keeping it as a vector.
        init_std: standard deviation at the start; without effect with `std_share_network`.
        layer_normalization: normalise the gates' pre-activations. garage accepts this argument and ignores it.
        state_include_action: feed the previous action back, behind the observation.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: the action space is no `Box`, a size is below 1, `init_std` is not positive and finite, or an
            initialiser draws another shape.
    """

    def __init__(
        self,
        env_spec: EnvSpec,
        hidden_dim: int = 32,
        name: str = "GaussianLSTMPolicy",
        hidden_nonlinearity: Nonlinearity | None = torch.tanh,
        hidden_w_init: Initializer = nn.init.xavier_uniform_,
        hidden_b_init: Initializer = nn.init.zeros_,
        recurrent_nonlinearity: Nonlinearity | None = torch.sigmoid,
        recurrent_w_init: Initializer = nn.init.xavier_uniform_,
        output_nonlinearity: Nonlinearity | None = None,
        output_w_init: Initializer = nn.init.xavier_uniform_,
        output_b_init: Initializer = nn.init.zeros_,
        hidden_state_init: Initializer = nn.init.zeros_,
        hidden_state_init_trainable: bool = False,
        cell_state_init: Initializer = nn.init.zeros_,
        cell_state_init_trainable: bool = False,
        forget_bias: bool = True,
        learn_std: bool = True,
        std_share_network: bool = False,
        init_std: float = 1.0,
        layer_normalization: bool = False,
        state_include_action: bool = True,
    ) -> None:
        super().__init__(env_spec, name, state_include_action)
        check_flags(
            type(self).__name__,
            hidden_state_init_trainable=hidden_state_init_trainable,
            cell_state_init_trainable=cell_state_init_trainable,
            forget_bias=forget_bias,
            learn_std=learn_std,
            std_share_network=std_share_network,
            layer_normalization=layer_normalization,
        )
        self.core = LSTMCell(
            self.input_dim,
            hidden_dim,
            hidden_nonlinearity,
            recurrent_nonlinearity,
            hidden_w_init,
            recurrent_w_init,
            hidden_b_init,
            forget_bias,
            layer_normalization,
            (hidden_state_init, hidden_state_init_trainable),
            (cell_state_init, cell_state_init_trainable),
        )
        self.head = GaussianHead(
            hidden_dim,
            env_spec.action_size,
            output_nonlinearity,
            output_w_init,
            output_b_init,
            learn_std,
            std_share_network,
            init_std,
        )


@kept(without=_INITIALIZERS)
class GaussianGRUPolicy(GaussianPolicy):
    """Gaussian policy with a GRU cell, garage's `GaussianGRUPolicy`; see `GaussianPolicy` for its use.

    State slots: `prev_action [action_size]` (with `state_include_action`), `h [1, hidden_dim]`.

    Args:
        env_spec: spaces of the environment; the action space must be a `Box`.
        hidden_dim: number of units.
        name: name of the policy.
        hidden_nonlinearity: of the candidate; None for linear.
        hidden_w_init: draws the input weight `[3 hidden_dim, input_dim]`.
        hidden_b_init: draws each of the two biases `[3 hidden_dim]`.
        recurrent_nonlinearity: of the gates; None for linear.
        recurrent_w_init: draws the recurrent weight `[3 hidden_dim, hidden_dim]`.
        output_nonlinearity: of the output layer; None for linear.
        output_w_init: draws the output weight `[outputs, hidden_dim]`.
        output_b_init: draws the output bias `[outputs]`.
        hidden_state_init: draws the initial hidden state `[hidden_dim]`.
        hidden_state_init_trainable: train it.
        learn_std: train the standard deviation; without effect with `std_share_network`.
        std_share_network: compute the log standard deviation from the GRU, instead of keeping it as a vector.
        init_std: standard deviation at the start; without effect with `std_share_network`.
        layer_normalization: normalise the gates' pre-activations. garage accepts this argument and ignores it.
        state_include_action: feed the previous action back, behind the observation.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: as for `GaussianLSTMPolicy`.
    """

    def __init__(
        self,
        env_spec: EnvSpec,
        hidden_dim: int = 32,
        name: str = "GaussianGRUPolicy",
        hidden_nonlinearity: Nonlinearity | None = torch.tanh,
        hidden_w_init: Initializer = nn.init.xavier_uniform_,
        hidden_b_init: Initializer = nn.init.zeros_,
        recurrent_nonlinearity: Nonlinearity | None = torch.sigmoid,
        recurrent_w_init: Initializer = nn.init.xavier_uniform_,
        output_nonlinearity: Nonlinearity | None = None,
        output_w_init: Initializer = nn.init.xavier_uniform_,
        output_b_init: Initializer = nn.init.zeros_,
        hidden_state_init: Initializer = nn.init.zeros_,
        hidden_state_init_trainable: bool = False,
        learn_std: bool = True,
        std_share_network: bool = False,
        init_std: float = 1.0,
        layer_normalization: bool = False,
        state_include_action: bool = True,
    ) -> None:
        super().__init__(env_spec, name, state_include_action)
        check_flags(
            type(self).__name__,
            hidden_state_init_trainable=hidden_state_init_trainable,
            learn_std=learn_std,
            std_share_network=std_share_network,
            layer_normalization=layer_normalization,
        )
        self.core = GRUCell(
            self.input_dim,
            hidden_dim,
            hidden_nonlinearity,
            recurrent_nonlinearity,
            hidden_w_init,
            recurrent_w_init,
            hidden_b_init,
            layer_normalization,
            (hidden_state_init, hidden_state_init_trainable),
        )
        self.head = GaussianHead(
            hidden_dim,
            env_spec.action_size,
            output_nonlinearity,
            output_w_init,
            output_b_init,
            learn_std,
            std_share_network,
            init_std,
        )


@kept(without=_INITIALIZERS)
class GaussianMLPPolicy(GaussianPolicy):
    """Gaussian policy with a multilayer perceptron, after garage's `GaussianMLPPolicy`; see `GaussianPolicy`.

    Its only memory is the previous action, and that only with `state_include_action`; without, `get_actions` needs no
    `reset`. garage's separate network for the standard deviation and its limits are left out.

    Args:
        env_spec: spaces of the environment; the action space must be a `Box`.
        name: name of the policy.
        hidden_sizes: number of units of each hidden layer.
        hidden_nonlinearity: of the hidden layers; None for linear.
        hidden_w_init: draws each hidden weight `[units, inputs]`.
        hidden_b_init: draws each hidden bias `[units]`.
        output_nonlinearity: of the output layer; None for linear.
        output_w_init: draws the output weight `[outputs, units]`.
        output_b_init: draws the output bias `[outputs]`.
        learn_std: train the standard deviation; without effect with `std_share_network`.
        std_share_network: compute the log standard deviation from the features, instead of keeping it as a vector.
        init_std: standard deviation at the start; without effect with `std_share_network`.
        layer_normalization: normalise what comes out of each hidden nonlinearity, as garage does here.
        state_include_action: feed the previous action back, behind the observation.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: as for `GaussianLSTMPolicy`.
    """

    def __init__(
        self,
        env_spec: EnvSpec,
        name: str = "GaussianMLPPolicy",
        hidden_sizes: Sequence[int] = (32, 32),
        hidden_nonlinearity: Nonlinearity | None = torch.tanh,
        hidden_w_init: Initializer = nn.init.xavier_uniform_,
        hidden_b_init: Initializer = nn.init.zeros_,
        output_nonlinearity: Nonlinearity | None = None,
        output_w_init: Initializer = nn.init.xavier_uniform_,
        output_b_init: Initializer = nn.init.zeros_,
        learn_std: bool = True,
        std_share_network: bool = False,
        init_std: float = 1.0,
        layer_normalization: bool = False,
        state_include_action: bool = False,
    ) -> None:
        super().__init__(env_spec, name, state_include_action)
        check_flags(
            type(self).__name__,
            learn_std=learn_std,
            std_share_network=std_share_network,
            layer_normalization=layer_normalization,
        )
        self.core = Perceptron(
            self.input_dim, hidden_sizes, hidden_nonlinearity, hidden_w_init, hidden_b_init, layer_normalization
        )
        self.head = GaussianHead(
            self.core.output_size,
            env_spec.action_size,
            output_nonlinearity,
            output_w_init,
            output_b_init,
            learn_std,
            std_share_network,
            init_std,
        )
        self.is_recurrent = self.hidden_size > 0
