"""Ready Gaussian models: feed-forward, convolutional, and recurrent (Elman RNN, GRU, LSTM).

They follow the examples of skrl's documentation, names of parameters included, so that checkpoints of those load.
Means come from a network; the log standard deviation does not depend on the observation.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ganglion.policies._tensors import is_tracing
from ganglion.policies.kept import kept
from ganglion.policies.skrl.gaussian_mixin import GaussianMixin
from ganglion.policies.skrl.model import Model

if TYPE_CHECKING:
    from collections.abc import Sequence

    import gymnasium


class GaussianModel(GaussianMixin, Model):
    """What the ready models share: the spaces, the settings of the mixin, and `log_std_parameter`.

    Args:
        observation_space: space of the observations, a `Box`, or a `Dict` or `Tuple` of them.
        action_space: space of the actions, likewise.
        state_space: not used by the ready models.
        device: see `Model`.
        initial_log_std: first value of the log standard deviation of all actions.
        **gaussian: settings of `GaussianMixin`.
    """

    def __init__(
        self,
        *,
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
        state_space: gymnasium.Space[Any] | None = None,
        device: str | torch.device | None = None,
        initial_log_std: float = 0.0,
        **gaussian: Any,
    ) -> None:
        Model.__init__(
            self,
            observation_space=observation_space,
            state_space=state_space,
            action_space=action_space,
            device=device,
        )
        GaussianMixin.__init__(self, **gaussian)
        self.log_std_parameter = nn.Parameter(torch.full((self.num_actions,), initial_log_std))


@kept()
class GaussianMLPModel(GaussianModel):
    """Linear layers.

    Args:
        hidden_sizes: elements of each hidden layer.
        activation: class of the module behind each hidden layer.
        output_activation: class of the module behind the last layer, or None.
        **settings: arguments of `GaussianModel`.
    """

    def __init__(
        self,
        *,
        hidden_sizes: Sequence[int] = (64, 32),
        activation: type[nn.Module] = nn.ReLU,
        output_activation: type[nn.Module] | None = nn.Tanh,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        sizes = (self.num_observations, *hidden_sizes, self.num_actions)
        self.net = nn.Sequential(*_linear_layers(sizes, activation, output_activation))
        self.to(self.device)

    def compute(self, inputs: dict[str, Any], role: str = "") -> tuple[Tensor, dict[str, Any]]:  # noqa: ARG002
        """Maps `inputs["observations"]`, `[rows, size]`, to means and log standard deviation."""
        return self.net(inputs["observations"]), {"log_std": self.log_std_parameter}


@kept()
class GaussianCNNModel(GaussianModel):
    """Convolutions over an image, one linear layer of features, and linear layers.

    Observations are flat vectors of a `Box` of shape `[height, width, channels]`, as gymnasium has images, or
    `[channels, height, width]`.

    Args:
        convolutions: `(channels, kernel size, stride)` of each convolution; ReLU stands behind each.
        num_features: elements of the linear layer behind the convolutions; ReLU stands behind it.
        hidden_sizes: elements of each further hidden layer.
        activation: class of the module behind each further hidden layer.
        output_activation: class of the module behind the last layer, or None.
        channels_last: whether the last axis of the space holds the channels, or else the first one.
        **settings: arguments of `GaussianModel`.

    Raises:
        ValueError: the observation space is no `Box` with three axes, or an image is too small for the convolutions.
    """

    def __init__(
        self,
        *,
        convolutions: Sequence[tuple[int, int, int]] = ((32, 8, 4), (64, 4, 2), (64, 3, 1)),
        num_features: int = 512,
        hidden_sizes: Sequence[int] = (16, 64, 32),
        activation: type[nn.Module] = nn.Tanh,
        output_activation: type[nn.Module] | None = None,
        channels_last: bool = True,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        shape = self.observation_space.shape if self.observation_space is not None else None
        if shape is None or len(shape) != 3:
            raise ValueError(f"{type(self).__name__}: images have three axes; the space is {self.observation_space}")
        self.image_shape = tuple(shape)
        self.channels_last = channels_last
        channels, *image = self._channels_first(torch.zeros(1, self.num_observations)).shape[1:]
        layers: list[nn.Module] = []
        for out_channels, kernel, stride in convolutions:
            image = [(length - kernel) // stride + 1 for length in image]
            if min(image) < 1:
                raise ValueError(f"{type(self).__name__}: an image of shape {shape} is too small for {convolutions}")
            layers += [nn.Conv2d(channels, out_channels, kernel, stride), nn.ReLU()]
            channels = out_channels
        layers += [nn.Flatten(), nn.Linear(channels * image[0] * image[1], num_features), nn.ReLU()]
        sizes = (num_features, *hidden_sizes, self.num_actions)
        self.net = nn.Sequential(*layers, *_linear_layers(sizes, activation, output_activation))
        self.to(self.device)

    def compute(self, inputs: dict[str, Any], role: str = "") -> tuple[Tensor, dict[str, Any]]:  # noqa: ARG002
        """Maps `inputs["observations"]`, `[rows, size]`, to means and log standard deviation."""
        return self.net(self._channels_first(inputs["observations"])), {"log_std": self.log_std_parameter}

    def _channels_first(self, observations: Tensor) -> Tensor:
        images = observations.reshape(-1, *self.image_shape)
        return images.permute(0, 3, 1, 2) if self.channels_last else images


class RecurrentGaussianModel(GaussianModel):
    """Recurrent layers and linear layers; sub-classes name the recurrent layers.

    In eval mode (rollout) `compute` takes one step of every environment. In training mode the rows are sequences of
    `sequence_length` steps, one behind the other; each starts from the state of its first row. Where
    `inputs["terminated"]` is set, the state of that sequence is zero behind that step. A truncated episode does not
    end the state in a sequence (skrl 2.1.1 does the same, although it resets the state in the rollout).

    A training batch must hold the states that were *used* for its rows. (The agents of skrl 2.1.1 store the state that
    a step *produced*, from the second step on.)

    Args:
        num_envs: environments of a rollout, for `get_specification`.
        num_layers: recurrent layers.
        hidden_size: units of each recurrent layer.
        sequence_length: steps of a training sequence.
        hidden_sizes: elements of each hidden linear layer behind the recurrent ones.
        activation: class of the module behind each hidden linear layer.
        output_activation: class of the module behind the last layer, or None.
        **settings: arguments of `GaussianModel`.

    Raises:
        ValueError: a length or number is below 1.
    """

    layers_name: str
    """Name of the recurrent layers among the modules, as in skrl's examples."""
    layers_type: type[nn.RNN] | type[nn.GRU] | type[nn.LSTM]
    """Their torch module."""

    def __init__(
        self,
        *,
        num_envs: int = 1,
        num_layers: int = 1,
        hidden_size: int = 64,
        sequence_length: int = 128,
        hidden_sizes: Sequence[int] = (64, 32),
        activation: type[nn.Module] = nn.ReLU,
        output_activation: type[nn.Module] | None = nn.Tanh,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        if min(num_envs, num_layers, hidden_size, sequence_length) < 1:
            raise ValueError(f"{type(self).__name__}: num_envs, num_layers, hidden_size, sequence_length start at 1")
        self.num_envs = num_envs
        self.sequence_length = sequence_length
        layers = self.layers_type(
            input_size=self.num_observations, hidden_size=hidden_size, num_layers=num_layers, batch_first=True
        )
        self.add_module(self.layers_name, layers)
        sizes = (hidden_size, *hidden_sizes, self.num_actions)
        self.net = nn.Sequential(*_linear_layers(sizes, activation, output_activation))
        self.to(self.device)

    def get_specification(self) -> dict[str, Any]:
        """Sequence length, and `(layers, num_envs, units)` of each state."""
        return {"rnn": {"sequence_length": self.sequence_length, "sizes": self._state_shapes(self.num_envs)}}

    def compute(self, inputs: dict[str, Any], role: str = "") -> tuple[Tensor, dict[str, Any]]:  # noqa: ARG002
        """Maps observations and states to means, log standard deviation and new states.

        Args:
            inputs: `"observations"`, `[rows, size]`; `"rnn"`, a list of states `[layers, rows, units]`; in training
                mode, where there is one, `"terminated"`, `[rows, 1]`.
            role: not used.

        Returns:
            Means `[rows, actions]`, and `"log_std"` with `"rnn"`: the states behind the last step of each sequence, a
            list of `[layers, sequences, units]`.

        Raises:
            ValueError: a shape does not fit, or the rows are not whole sequences.
        """
        length = self.sequence_length if self.training else 1
        observations, terminated = inputs["observations"], inputs.get("terminated") if self.training else None
        # A tracer would warn about every comparison of sizes, and bake it in.
        if not is_tracing():
            self._check_inputs(observations, inputs["rnn"], terminated, length)
        sequences = observations.reshape(-1, length, self.num_observations)
        # One state per row is given; a sequence starts from that of its first row. cuDNN takes contiguous states only.
        states = tuple(state.unflatten(1, (-1, length))[:, :, 0].contiguous() for state in inputs["rnn"])
        features, states = self._run(sequences, states, None if terminated is None else terminated.reshape(-1, length))
        return self.net(features.flatten(0, 1)), {"log_std": self.log_std_parameter, "rnn": list(states)}

    @property
    def _layers(self) -> nn.RNNBase:
        return getattr(self, self.layers_name)  # type: ignore[no-any-return]

    def _state_shapes(self, rows: int) -> list[tuple[int, int, int]]:
        shape = (self._layers.num_layers, rows, self._layers.hidden_size)
        return [shape, shape] if isinstance(self._layers, nn.LSTM) else [shape]

    def _run(
        self, sequences: Tensor, states: tuple[Tensor, ...], terminated: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Runs sequences `[sequences, length, size]`; a state is zero behind a step with `terminated`."""
        if terminated is None:
            return self._run_piece(sequences, states)
        ends = terminated != 0
        # The layers run a batch at once, so they stop where any sequence of it ends.
        cuts = sorted({0, *(ends.any(0).nonzero().flatten() + 1).tolist(), sequences.shape[1]})
        pieces = []
        for first, last in itertools.pairwise(cuts):
            features, states = self._run_piece(sequences[:, first:last], states)
            pieces.append(features)
            states = tuple(state.masked_fill(ends[:, last - 1, None], 0.0) for state in states)
        return torch.cat(pieces, dim=1), states

    def _run_piece(self, sequences: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        is_lstm = isinstance(self._layers, nn.LSTM)
        features, new = self._layers(sequences, states if is_lstm else states[0])
        return features, new if is_lstm else (new,)

    def _check_inputs(
        self, observations: Tensor, states: Sequence[Tensor], terminated: Tensor | None, length: int
    ) -> None:
        name, rows = type(self).__name__, observations.shape[0]
        if tuple(observations.shape) != (rows, self.num_observations):
            raise ValueError(
                f"{name}: observations have shape {tuple(observations.shape)}; expected {(rows, self.num_observations)}"
            )
        if rows % length:
            raise ValueError(f"{name}: {rows} rows are not whole sequences of {length} steps")
        found = [tuple(state.shape) for state in states]
        expected = self._state_shapes(rows)
        if found != expected:
            raise ValueError(f"{name}: the states have shapes {found}; expected {expected}")
        if terminated is not None and terminated.numel() != rows:
            raise ValueError(f"{name}: terminated has shape {tuple(terminated.shape)}; expected {(rows, 1)}")


@kept()
class GaussianRNNModel(RecurrentGaussianModel):
    """With Elman recurrent layers (`torch.nn.RNN`, tanh); arguments as for `RecurrentGaussianModel`."""

    layers_name = "rnn"
    layers_type = nn.RNN


@kept()
class GaussianGRUModel(RecurrentGaussianModel):
    """With gated recurrent units (`torch.nn.GRU`); arguments as for `RecurrentGaussianModel`."""

    layers_name = "gru"
    layers_type = nn.GRU


@kept()
class GaussianLSTMModel(RecurrentGaussianModel):
    """With long short-term memory (`torch.nn.LSTM`); arguments as for `RecurrentGaussianModel`."""

    layers_name = "lstm"
    layers_type = nn.LSTM


def _linear_layers(
    sizes: Sequence[int], activation: type[nn.Module], output_activation: type[nn.Module] | None
) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for size, next_size in itertools.pairwise(sizes):
        layers += [nn.Linear(size, next_size), activation()]
    return layers[:-1] if output_activation is None else [*layers[:-1], output_activation()]
