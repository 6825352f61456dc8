"""The base class of models in the style of skrl 2.1.1 (`skrl.models.torch.Model`): spaces, and one `compute` per role.

A model answers a dictionary of inputs. `compute(inputs, role)` is the network; a mixin such as `GaussianMixin` makes
the action of it. Flat observations and actions are laid out as skrl does it: parts of a `Tuple` in their order, parts
of a `Dict` in the order of the sorted keys.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector.utils import batch_space
from torch import Tensor, nn

from ganglion.policies._tensors import eval_mode

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping


class Model(nn.Module, ABC):
    """A network over the spaces of an environment; a sub-class gives `compute`, a mixin before it gives `act`.

    Args:
        observation_space: space of `inputs["observations"]`.
        state_space: space of `inputs["states"]`, what a critic may know beyond the observation.
        action_space: space of the actions.
        device: where the tensors live; None for CUDA where there is one, else the CPU.

    Attributes:
        num_observations: elements of a flat observation, 0 without that space; `num_states` and `num_actions` likewise.
    """

    def __init__(
        self,
        *,
        observation_space: gymnasium.Space[Any] | None = None,
        state_space: gymnasium.Space[Any] | None = None,
        action_space: gymnasium.Space[Any] | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        super().__init__()
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.observation_space = observation_space
        self.state_space = state_space
        self.action_space = action_space
        self.num_observations = flat_size(observation_space)
        self.num_states = flat_size(state_space)
        self.num_actions = flat_size(action_space)

    @abstractmethod
    def compute(self, inputs: dict[str, Any], role: str = "") -> tuple[Tensor, dict[str, Any]]:
        """Runs the network.

        Args:
            inputs: `"observations"` and where needed `"states"`, `[rows, size]`; `"rnn"`, a list of states
                `[layers, rows, units]`; `"terminated"` and `"taken_actions"` in training.
            role: what the model is asked for, `"policy"` or `"value"`; models of one role need not look.

        Returns:
            The result `[rows, size]`, and further results by name (`"log_std"`, `"rnn"`).
        """
        raise NotImplementedError

    @abstractmethod
    def act(self, inputs: dict[str, Any], *, role: str = "") -> tuple[Tensor, dict[str, Any]]:
        """Answers with actions (or values) and further results; given by a mixin that stands before `Model`."""
        raise NotImplementedError

    def forward(self, inputs: dict[str, Any], *, role: str = "") -> tuple[Tensor, dict[str, Any]]:
        """The same as `act`."""
        return self.act(inputs, role=role)

    def get_specification(self) -> dict[str, Any]:
        """Says what an agent must provide; nothing unless a recurrent model says so.

        Returns:
            For a recurrent model `{"rnn": {"sequence_length": Q, "sizes": [(layers, num_envs, units), ...]}}` with one
            tuple per state.
        """
        return {}

    def random_act(self, inputs: dict[str, Any], *, role: str = "") -> tuple[Tensor, dict[str, Any]]:  # noqa: ARG002
        """Draws one action per observation from the action space; repeatable by `torch.manual_seed`.

        Returns:
            Actions `[rows, size]` (one index per `Discrete` action), and an empty dictionary.

        Raises:
            ValueError: there is no action space, or it has no numbers.
        """
        if self.action_space is None:
            raise ValueError(f"{type(self).__name__}: random_act needs an action space")
        return self._sample(self.action_space, len(inputs["observations"])), {}

    def init_state_dict(self, inputs: dict[str, Any] | None = None, *, role: str = "") -> None:
        """Creates the parameters of lazy modules: runs `compute` once, in eval mode, on the device of the model.

        Args:
            inputs: what to run on; one random row of every space, and zero recurrent states, where not given.
            role: see `compute`.
        """
        if not inputs:
            spaces = {
                "observations": self.observation_space,
                "states": self.state_space,
                "taken_actions": self.action_space,
            }
            inputs = {key: None if space is None else self._sample(space, 1) for key, space in spaces.items()}
            sizes = self.get_specification().get("rnn", {}).get("sizes", [])
            inputs["rnn"] = [torch.zeros(layers, 1, units, device=self.device) for layers, _, units in sizes]
        self.to(self.device)
        with torch.no_grad(), eval_mode(self):
            self.compute(inputs, role)

    def init_parameters(self, method_name: str = "normal_", *args: Any, **kwargs: Any) -> None:
        """Sets all parameters by a function of `torch.nn.init`, for example `"uniform_"`, with its arguments.

        Raises:
            ValueError: `torch.nn.init` has no such function.
        """
        initialize = _initializer(method_name)
        for param in self.parameters():
            initialize(param, *args, **kwargs)

    def init_weights(self, method_name: str = "orthogonal_", *args: Any, **kwargs: Any) -> None:
        """Sets the weights of all linear layers by a function of `torch.nn.init`; see `init_parameters`."""
        initialize = _initializer(method_name)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                initialize(module.weight, *args, **kwargs)

    def init_biases(self, method_name: str = "constant_", *args: Any, **kwargs: Any) -> None:
        """Sets the biases of all linear layers by a function of `torch.nn.init`; see `init_parameters`."""
        initialize = _initializer(method_name)
        for module in self.modules():
            if isinstance(module, nn.Linear) and module.bias is not None:
                initialize(module.bias, *args, **kwargs)

    def update_parameters(self, model: nn.Module, *, polyak: float = 1.0) -> None:
        """Moves the parameters towards those of another model: `(1 - polyak) * own + polyak * other`.

        Buffers stay as they are.

        Args:
            model: a model with parameters of the same shapes in the same order.
            polyak: between 0 and 1; 1 copies exactly.

        Raises:
            ValueError: `polyak` is out of range, or the parameters have other shapes.
        """
        if not 0.0 <= polyak <= 1.0:
            raise ValueError(f"{type(self).__name__}: polyak must lie between 0 and 1, not {polyak}")
        own, other = list(self.parameters()), list(model.parameters())
        shapes = [tuple(param.shape) for param in own], [tuple(param.shape) for param in other]
        if shapes[0] != shapes[1]:
            raise ValueError(f"{type(self).__name__}: parameters have shapes {shapes[0]}; the source has {shapes[1]}")
        with torch.no_grad():
            for param, source in zip(own, other, strict=True):
                param.copy_(source if polyak == 1.0 else (1.0 - polyak) * param + polyak * source.to(param.device))

    def freeze_parameters(self, freeze: bool = True) -> None:
        """Stops (or with False resumes) the computation of gradients of all parameters."""
        self.requires_grad_(not freeze)

    def enable_training_mode(self, enabled: bool = True) -> None:
        """Chooses training mode (sequences of a batch) or evaluation mode (one step of every environment)."""
        self.train(enabled)

    def set_mode(self, mode: str) -> None:
        """Chooses the mode by name, as skrl 1 does.

        Args:
            mode: `"train"` or `"eval"`.

        Raises:
            ValueError: another name.
        """
        if mode not in ("train", "eval"):
            raise ValueError(f"{type(self).__name__}: mode must be 'train' or 'eval', not {mode!r}")
        self.enable_training_mode(mode == "train")

    def save(self, path: str | os.PathLike[str], *, state_dict: Mapping[str, Any] | None = None) -> None:
        """Writes the state dictionary of the model, or the given one, with `torch.save`."""
        torch.save(self.state_dict() if state_dict is None else state_dict, path)

    def load(self, path: str | os.PathLike[str]) -> None:
        """Reads a state dictionary onto the device of the model, and ends in eval mode.

        Only tensors and plain containers are read (`weights_only=True`): unlike skrl, which unpickles anything, a
        file from elsewhere cannot run code.

        Raises:
            pickle.UnpicklingError: the file holds other objects.
            RuntimeError: names or shapes do not fit the model.
        """
        self.load_state_dict(torch.load(path, map_location=self.device, weights_only=True))
        self.eval()

    def _sample(self, space: gymnasium.Space[Any], rows: int) -> Tensor:
        return draw_rows(space, rows).to(self.device)


def draw_rows(space: gymnasium.Space[Any], rows: int) -> Tensor:
    """Draws `[rows, size]` flat vectors of a space; repeatable by `torch.manual_seed`.

    Raises:
        ValueError: the space has no numbers.
    """
    batch = batch_space(space, rows)
    # A batched space starts from a copy of the generator of the space: unseeded it would draw the same each time.
    batch.seed(int(torch.randint(2**31 - 1, ())))
    return _flatten(batch.sample(), rows)


def flat_box(space: gymnasium.Space[Any] | None) -> gymnasium.spaces.Box:
    """Returns the `Box` of the flat vectors of a space of numbers, float32, with the bounds of the parts.

    Args:
        space: a `Box`, or a `Dict` or `Tuple` of such spaces.

    Raises:
        ValueError: another space, or none.
    """
    if isinstance(space, gymnasium.spaces.Box):
        low, high = (bound.reshape(-1).astype(np.float32) for bound in (space.low, space.high))
        return gymnasium.spaces.Box(low, high, dtype=np.float32)
    if not isinstance(space, (gymnasium.spaces.Dict, gymnasium.spaces.Tuple)):
        raise ValueError(f"expected a Box, or a Dict or Tuple of them, not {space}")
    parts = [flat_box(part) for part in _ordered(space)]
    low, high = (np.concatenate([getattr(part, bound) for part in parts]) for bound in ("low", "high"))
    return gymnasium.spaces.Box(low, high, dtype=np.float32)


def flat_size(space: gymnasium.Space[Any] | None) -> int:
    """Number of elements of the flat vectors of a space; 0 without one."""
    return 0 if space is None else int(gymnasium.spaces.utils.flatdim(space))


def _ordered(parts: Any) -> list[Any]:
    """The parts of a `Dict` or `Tuple` space, or of a sample of one, in the order of skrl's flat vectors."""
    return list(parts) if isinstance(parts, (tuple, gymnasium.spaces.Tuple)) else [parts[key] for key in sorted(parts)]


def _flatten(sample: Any, rows: int) -> Tensor:
    if isinstance(sample, (dict, tuple)):
        return torch.cat([_flatten(part, rows) for part in _ordered(sample)], dim=-1)
    if not isinstance(sample, np.ndarray) or sample.dtype.kind not in "biuf":
        raise ValueError(f"cannot make a tensor of {type(sample).__name__} samples; use a space of numbers")
    return torch.from_numpy(sample).reshape(rows, -1)


def _initializer(name: str) -> Callable[..., Any]:
    function = getattr(nn.init, name, None) if name.endswith("_") else None
    if function is None:
        raise ValueError(f"torch.nn.init has no function {name!r} that sets a tensor; for example 'orthogonal_'")
    return function  # type: ignore[no-any-return]
