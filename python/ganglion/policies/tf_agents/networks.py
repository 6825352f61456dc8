"""Actor networks after TF-Agents: from an observation to the distribution of an action, or to the action itself.

Observations, actions and states are nests (see `specs`). A nest of observations is laid side by side, dicts in the
order of their sorted keys.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ganglion.contract import StateSlot
from ganglion.policies.cores import Perceptron
from ganglion.policies.kept import kept
from ganglion.policies.tf_agents.heads import CategoricalProjection, TanhProjection, normal_projection, variance_scaling
from ganglion.policies.tf_agents.nests import Nest, flatten, pack_like
from ganglion.policies.tf_agents.recurrence import RecurrentLayers
from ganglion.policies.tf_agents.specs import ArraySpec, flat_size, pack

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ganglion.policies.dense import Nonlinearity

    Head = Callable[[int, ArraySpec], nn.Module]


class ActorNetwork(nn.Module, ABC):
    """The base class of networks that an `ActorPolicy` can use; own networks derive from it.

    Args:
        input_tensor_spec: nest of `ArraySpec`s, the observation.
        output_tensor_spec: nest of `ArraySpec`s, the action.
        state_spec: nest of `ArraySpec`s, the state; `()` for none.
    """

    def __init__(self, input_tensor_spec: Nest, output_tensor_spec: Nest, state_spec: Nest = ()) -> None:
        super().__init__()
        self.input_tensor_spec = input_tensor_spec
        self.output_tensor_spec = output_tensor_spec
        self.state_spec = state_spec

    @property
    def state_slots(self) -> tuple[tuple[StateSlot, tuple[int, ...]], ...]:
        """The slots of an artifact's state: each holds some of the state's leaves, named by their positions."""
        leaves = flatten(self.state_spec)
        return tuple((StateSlot(f"state_{index}", leaf.shape), (index,)) for index, leaf in enumerate(leaves))

    @abstractmethod
    def forward(
        self, observation: Nest, step_type: Tensor | None = None, network_state: Nest = (), mask: Tensor | None = None
    ) -> tuple[Nest, Nest]:
        """Runs the network.

        Args:
            observation: nest of tensors with the axes `[]`, `[batch]` or `[batch, time]` in front.
            step_type: integer tensor of these axes; None if no row begins an episode here, or if the caller has
                restored the state of those that do.
            network_state: the state, with a batch axis in front if there is one; `()` for zeros.
            mask: bool, true for the actions that are allowed; None for all.

        Returns:
            A nest like the action, of distributions and tensors, and the next state.
        """
        raise NotImplementedError


@kept()
class ActorDistributionNetwork(ActorNetwork):
    """Dense layers, then the distribution of every action.

    Args:
        input_tensor_spec: nest of `ArraySpec`s, the observation.
        output_tensor_spec: nest of `ArraySpec`s, the action.
        fc_layer_params: units of each dense layer.
        activation_fn: nonlinearity of the dense layers; None for linear ones.
        discrete_projection_net: `(input_size, spec) -> module`, makes the distribution of a discrete action.
        continuous_projection_net: the same for other actions.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: a size is below 1, or an action does not suit its projection.
    """

    def __init__(
        self,
        input_tensor_spec: Nest,
        output_tensor_spec: Nest,
        fc_layer_params: Sequence[int] | None = (200, 100),
        activation_fn: Nonlinearity | None = torch.relu,
        discrete_projection_net: Head = CategoricalProjection,
        continuous_projection_net: Head = normal_projection,
    ) -> None:
        super().__init__(input_tensor_spec, output_tensor_spec)
        self.encoder = _dense_layers(flat_size(input_tensor_spec), fc_layer_params, activation_fn)
        self.projections = _projections(
            self.encoder.output_size, output_tensor_spec, discrete_projection_net, continuous_projection_net
        )

    def forward(
        self,
        observation: Nest,
        step_type: Tensor | None = None,  # noqa: ARG002  (nothing to reset)
        network_state: Nest = (),
        mask: Tensor | None = None,
    ) -> tuple[Nest, Nest]:
        """Runs the network; see `ActorNetwork.forward`."""
        features, _ = self.encoder(pack(observation, self.input_tensor_spec, _weight_of(self)))
        return _project(self.projections, features, mask, self.output_tensor_spec), network_state


@kept()
class ActorDistributionRnnNetwork(ActorNetwork):
    """Dense layers, LSTM cells, dense layers, then the distribution of every action.

    The state is `[h, c]`, with several cells `[[h, c], [h, c], ...]`, with a GRU one tensor. In a sequence
    `[batch, time]` it is reset at every FIRST step, before that step; with `rnn_construction_fn` it is not, as in the
    original.

    Args:
        input_tensor_spec: nest of `ArraySpec`s, the observation.
        output_tensor_spec: nest of `ArraySpec`s, the action.
        input_fc_layer_params: units of each dense layer before the cells.
        lstm_size: units of each LSTM cell.
        output_fc_layer_params: units of each dense layer behind the cells.
        activation_fn: nonlinearity of the dense layers; None for linear ones.
        discrete_projection_net: `(input_size, spec) -> module`, makes the distribution of a discrete action.
        continuous_projection_net: the same for other actions.
        rnn_construction_fn: `torch.nn.LSTM` or `torch.nn.GRU`, in place of `lstm_size`.
        rnn_construction_kwargs: its arguments, for example `{"hidden_size": 40}`.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: a size is below 1, an action does not suit its projection, or not exactly one of `lstm_size` and
            `rnn_construction_fn` is given.
    """

    def __init__(
        self,
        input_tensor_spec: Nest,
        output_tensor_spec: Nest,
        input_fc_layer_params: Sequence[int] | None = (200, 100),
        lstm_size: Sequence[int] | None = None,
        output_fc_layer_params: Sequence[int] | None = (200, 100),
        activation_fn: Nonlinearity | None = torch.relu,
        discrete_projection_net: Head = CategoricalProjection,
        continuous_projection_net: Head = normal_projection,
        rnn_construction_fn: Callable[..., nn.RNNBase] | None = None,
        rnn_construction_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        if bool(lstm_size) == (rnn_construction_fn is not None):
            raise ValueError(f"{type(self).__name__}: give either lstm_size or rnn_construction_fn")
        encoder = _dense_layers(flat_size(input_tensor_spec), input_fc_layer_params, activation_fn)
        if rnn_construction_fn is None:
            recurrent = RecurrentLayers.of_lstm_cells(encoder.output_size, lstm_size or ())
        else:
            kwargs = dict(rnn_construction_kwargs or {})
            layer = rnn_construction_fn(input_size=encoder.output_size, batch_first=True, **kwargs)
            recurrent = RecurrentLayers([layer], reset_in_sequence=False)
        super().__init__(input_tensor_spec, output_tensor_spec, recurrent.state_spec)
        self.encoder = encoder
        self.recurrent = recurrent
        self.decoder = _dense_layers(recurrent.output_size, output_fc_layer_params, activation_fn)
        self.projections = _projections(
            self.decoder.output_size, output_tensor_spec, discrete_projection_net, continuous_projection_net
        )

    @property
    def state_slots(self) -> tuple[tuple[StateSlot, tuple[int, ...]], ...]:
        """`h` and `c`, each of all cells if these have the same size, else one of each per cell."""
        return self.recurrent.state_slots

    def forward(
        self, observation: Nest, step_type: Tensor | None = None, network_state: Nest = (), mask: Tensor | None = None
    ) -> tuple[Nest, Nest]:
        """Runs the network; see `ActorNetwork.forward`."""
        features, _ = self.encoder(pack(observation, self.input_tensor_spec, _weight_of(self)))
        features, network_state = self.recurrent(features, step_type, network_state)
        features, _ = self.decoder(features)
        return _project(self.projections, features, mask, self.output_tensor_spec), network_state


@kept()
class ActorRnnNetwork(ActorDistributionRnnNetwork):
    """Dense layers, LSTM cells, dense layers, then every action itself: tanh, scaled to its bounds.

    Args:
        input_tensor_spec: nest of `ArraySpec`s, the observation.
        output_tensor_spec: nest of `BoundedArraySpec`s, the action.
        input_fc_layer_params: units of each dense layer before the cells.
        lstm_size: units of each LSTM cell.
        output_fc_layer_params: units of each dense layer behind the cells.
        activation_fn: nonlinearity of the dense layers; None for linear ones.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: a size is below 1, an action has no finite bounds or is discrete, or there is no `lstm_size`.
    """

    def __init__(
        self,
        input_tensor_spec: Nest,
        output_tensor_spec: Nest,
        input_fc_layer_params: Sequence[int] | None = (200, 100),
        lstm_size: Sequence[int] | None = None,
        output_fc_layer_params: Sequence[int] | None = (200, 100),
        activation_fn: Nonlinearity | None = torch.relu,
    ) -> None:
        super().__init__(
            input_tensor_spec,
            output_tensor_spec,
            input_fc_layer_params,
            lstm_size,
            output_fc_layer_params,
            activation_fn,
            TanhProjection,
            TanhProjection,
        )


def _dense_layers(input_size: int, units: Sequence[int] | None, activation_fn: Nonlinearity | None) -> Perceptron:
    return Perceptron(input_size, units or (), activation_fn, variance_scaling(2.0), nn.init.zeros_)


def _projections(input_size: int, action_spec: Nest, discrete: Head, continuous: Head) -> nn.ModuleList:
    return nn.ModuleList(
        (discrete if leaf.is_discrete else continuous)(input_size, leaf) for leaf in flatten(action_spec)
    )


def _project(projections: nn.ModuleList, features: Tensor, mask: Tensor | None, action_spec: Nest) -> Nest:
    return pack_like(action_spec, [projection(features, mask) for projection in projections])


def _weight_of(module: nn.Module) -> Tensor:
    return next(module.parameters())
