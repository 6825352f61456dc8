"""The mixin and the base class of skrl's models on JAX (`skrl.models.jax`), for those who train there.

Meaning, names and defaults follow skrl 2.1.1, as in `gaussian_mixin`, and so do the numbers: from one key the actions
are those of skrl. Models are modules of flax, and their parameters are outside, in `state_dict.params`. Files are
written from the classes on PyTorch; a model of JAX gets there by its parameters.
"""

# flax's fields have no annotations.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion._foundation.files import replacing
from ganglion.policies.skrl.model import draw_rows, flat_box, flat_size

try:
    import flax
    import flax.linen
    import flax.struct
    import jax
    import jax.numpy as jnp
except ImportError as error:
    raise ImportError(f"models of JAX need ganglion[jax]: {error}", name=error.name) from error

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    import gymnasium

_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)
_REDUCTIONS: dict[str, Callable[..., Any] | None] = {"mean": jnp.mean, "sum": jnp.sum, "prod": jnp.prod, "none": None}


class JaxState(flax.struct.PyTreeNode):  # type: ignore[misc, no-untyped-call, unused-ignore]
    """What a model holds outside of itself.

    Attributes:
        apply_fn: `(params, inputs, role)`, the network.
        params: its parameters.
    """

    apply_fn: Callable[..., Any] = flax.struct.field(pytree_node=False)
    params: Any = flax.struct.field(pytree_node=True)


class JaxModel(flax.linen.Module, ABC):
    """A network over the spaces of an environment; a sub-class gives `__call__`, a mixin before it gives `act`.

    `__call__(inputs, role)` is the network; it is flax's, so it may be `@flax.linen.compact`.

    Args:
        observation_space: space of `inputs["observations"]`.
        state_space: space of `inputs["states"]`, what a critic may know beyond the observation.
        action_space: space of the actions.
        device: where arrays live; None for JAX's default.
        parent: of flax.
        name: of flax.

    Attributes:
        num_observations: elements of a flat observation, 0 without that space; `num_states` and `num_actions` likewise.
        state_dict: a `JaxState`, once `init_state_dict` has made it.
        key: where random numbers come from; `jax.random.PRNGKey(0)`, as in skrl. Set it before the mixin is made.
        training: set by `enable_training_mode`.
    """

    observation_space: gymnasium.Space[Any] | None = None
    state_space: gymnasium.Space[Any] | None = None
    action_space: gymnasium.Space[Any] | None = None
    device: Any = None

    def __init__(
        self,
        *,
        observation_space: gymnasium.Space[Any] | None = None,
        state_space: gymnasium.Space[Any] | None = None,
        action_space: gymnasium.Space[Any] | None = None,
        device: Any = None,
        parent: Any = None,
        name: str | None = None,
    ) -> None:
        self.device = jax.devices(device)[0] if isinstance(device, str) else device
        self.observation_space = observation_space
        self.state_space = state_space
        self.action_space = action_space
        self.num_observations = flat_size(observation_space)
        self.num_states = flat_size(state_space)
        self.num_actions = flat_size(action_space)
        self.state_dict: Any = None
        self.key: Any = jax.random.PRNGKey(0)
        self.training = False
        self.parent = parent
        self.name = name

    @abstractmethod
    def act(self, inputs: dict[str, Any], *, role: str = "", params: Any = None) -> tuple[Any, dict[str, Any]]:
        """Answers with actions (or values) and further results; given by a mixin that stands before `JaxModel`."""
        raise NotImplementedError

    def get_specification(self) -> dict[str, Any]:
        """Says what an agent must provide; nothing unless a recurrent model says so."""
        return {}

    def init_state_dict(self, inputs: dict[str, Any] | None = None, *, role: str = "", key: Any = None) -> None:
        """Draws the parameters, and makes `state_dict`.

        Args:
            inputs: what to try the network on; one random row of every space where not given.
            role: see `act`.
            key: where random numbers come from; that of the model if None.
        """
        if not inputs:
            spaces = {
                "observations": self.observation_space,
                "states": self.state_space,
                "taken_actions": self.action_space,
            }
            inputs = {label: None if space is None else self._sample(space, 1) for label, space in spaces.items()}
        with jax.default_device(self.device):
            params = self.init(self.key if key is None else key, inputs, role)
        self.state_dict = JaxState(apply_fn=self.apply, params=params)

    def random_act(
        self,
        inputs: dict[str, Any],
        *,
        role: str = "",  # noqa: ARG002
        params: Any = None,  # noqa: ARG002
    ) -> tuple[Any, dict[str, Any]]:
        """Draws one action per observation from the action space; see `Model.random_act`."""
        if self.action_space is None:
            raise ValueError(f"{type(self).__name__}: random_act needs an action space")
        return self._sample(self.action_space, len(inputs["observations"])), {}

    def init_parameters(self, method_name: str = "normal", *args: Any, **kwargs: Any) -> None:
        """Sets all parameters by a function of `flax.linen.initializers`, for example `"normal"`, with its arguments.

        Raises:
            ValueError: there is no such function.
        """
        self._initialize(method_name, args, kwargs, lambda _: True)

    def init_weights(self, method_name: str = "normal", *args: Any, **kwargs: Any) -> None:
        """Sets all kernels by a function of `flax.linen.initializers`; see `init_parameters`."""
        self._initialize(method_name, args, kwargs, lambda name: name == "kernel")

    def init_biases(self, method_name: str = "constant", *args: Any, **kwargs: Any) -> None:
        """Sets all biases by a function of `flax.linen.initializers`; see `init_parameters`."""
        self._initialize(method_name, args, kwargs, lambda name: name == "bias")

    def enable_training_mode(self, enabled: bool = True) -> None:
        """Sets `training`."""
        self.training = enabled

    def freeze_parameters(self, freeze: bool = True) -> None:
        """Does nothing, as in skrl: what is trained is up to the optimiser."""

    def update_parameters(self, model: Any, *, polyak: float = 1.0) -> None:
        """Moves the parameters towards those of another model: `(1 - polyak) * own + polyak * other`.

        Raises:
            ValueError: `polyak` is not between 0 and 1.
        """
        if not 0.0 <= polyak <= 1.0:
            raise ValueError(f"{type(self).__name__}: polyak must lie between 0 and 1, not {polyak}")
        other = model.state_dict.params
        if polyak < 1.0:
            own = self.state_dict.params
            other = jax.tree_util.tree_map(lambda a, b: (1.0 - polyak) * a + polyak * b, own, other)
        self.state_dict = self.state_dict.replace(params=other)

    def save(self, path: str | os.PathLike[str], *, state_dict: Any = None) -> None:
        """Writes the parameters, or those of another `JaxState`, in flax's format (MessagePack)."""
        state = self.state_dict if state_dict is None else state_dict
        with replacing(path) as temporary:
            temporary.write_bytes(flax.serialization.to_bytes(state.params))

    def load(self, path: str | os.PathLike[str]) -> None:
        """Reads the parameters, and leaves the training mode.

        Raises:
            ValueError: the file does not fit the parameters.
        """
        with open(path, "rb") as file:  # noqa: PTH123  (a path of any kind)
            params = flax.serialization.from_bytes(self.state_dict.params, file.read())
        self.state_dict = self.state_dict.replace(params=params)
        self.enable_training_mode(False)

    def _sample(self, space: gymnasium.Space[Any], rows: int) -> Any:
        return jax.device_put(draw_rows(space, rows).numpy(), self.device)

    def _initialize(self, method: str, args: Any, kwargs: Any, wanted: Callable[[str], bool]) -> None:
        function = getattr(flax.linen.initializers, method, None)
        if function is None:
            raise ValueError(f"flax.linen.initializers has no function {method!r}; for example 'orthogonal'")
        draw = function if method in ("ones", "zeros") else function(*args, **kwargs)
        params = jax.tree_util.tree_map_with_path(
            lambda path, param: draw(self.key, param.shape) if wanted(path[-1].key) else param, self.state_dict.params
        )
        self.state_dict = self.state_dict.replace(params=params)


if TYPE_CHECKING:
    _Base = JaxModel
else:
    _Base = object


class JaxGaussianMixin(_Base):
    """Makes `act` of a network that gives mean and log standard deviation; `GaussianMixin` on JAX.

    It stands before `JaxModel`, or skrl's own `Model` of JAX, in the bases, and is initialised after it.

    Args:
        clip_actions: clip the drawn actions to the bounds of the action space. The density stays that of the
            unclipped normal distribution.
        clip_mean_actions: clip the means to the bounds of the action space before drawing.
        clip_log_std: clip the log standard deviations.
        min_log_std: their least value.
        max_log_std: their greatest value.
        reduction: how the log densities of the elements of an action become one: `"sum"`, `"mean"`, `"prod"`, or
            `"none"` to keep them apart.
        role: unused, as in skrl.

    Raises:
        ValueError: unknown reduction, an action space that is no `Box` (or `Dict` or `Tuple` of them), or `min_log_std`
            above `max_log_std`.
    """

    def __init__(
        self,
        *,
        clip_actions: bool = False,
        clip_mean_actions: bool = False,
        clip_log_std: bool = True,
        min_log_std: float = -20.0,
        max_log_std: float = 2.0,
        reduction: str = "sum",
        role: str = "",  # noqa: ARG002  (part of skrl's signature)
    ) -> None:
        if reduction not in _REDUCTIONS:
            raise ValueError(f"reduction must be one of {', '.join(map(repr, _REDUCTIONS))}, not {reduction!r}")
        if min_log_std > max_log_std:
            raise ValueError(f"min_log_std {min_log_std} lies above max_log_std {max_log_std}")
        box = flat_box(self.action_space)
        bounds = tuple(None if np.isinf(bound).all() else jnp.asarray(bound) for bound in (box.low, box.high))
        self._g_bounds = bounds if clip_actions else (None, None)
        self._g_mean_bounds = bounds if clip_mean_actions else (None, None)
        self._g_log_std_bounds = (min_log_std, max_log_std) if clip_log_std else (None, None)
        self._g_reduction = _REDUCTIONS[reduction]
        self._g_i = 0
        self._g_key = getattr(self, "key", jax.random.PRNGKey(0))
        # What flax does behind the constructor that it would have made itself.
        flax.linen.Module.__post_init__(self)

    def act(self, inputs: dict[str, Any], *, role: str = "", params: Any = None) -> tuple[Any, dict[str, Any]]:
        """Draws actions; `mean_actions` is the deterministic choice.

        Args:
            inputs: what the network needs; `"taken_actions"`, `[rows, actions]`, to get the log density of these
                instead of that of the drawn (and clipped) actions. It gets the `"key"` of this call, as in skrl.
            role: passed on to the network.
            params: parameters of the network; those of `state_dict` if None.

        Returns:
            Actions `[rows, actions]`, and the dictionary of the network with `"mean_actions"` (clipped), `"log_std"`
            (clipped), `"stddev"` and `"log_prob"`, `[rows, 1]`, or `[rows, actions]` with reduction `"none"`.

        Raises:
            KeyError: the network gives no `"log_std"`.
        """
        self._g_i += 1
        with jax.default_device(self.device):
            key = inputs["key"] = jax.random.fold_in(self._g_key, self._g_i)
        result: Any = self.apply(self.state_dict.params if params is None else params, inputs, role)
        mean, outputs = result
        mean = jnp.clip(mean, *self._g_mean_bounds)
        log_std = jnp.clip(outputs["log_std"], *self._g_log_std_bounds)
        stddev = jnp.exp(log_std)
        actions = jnp.clip(jax.random.normal(key, mean.shape) * stddev + mean, *self._g_bounds)
        taken = inputs.get("taken_actions")
        distance = ((actions if taken is None else taken) - mean) / stddev
        log_prob = -0.5 * jnp.square(distance) - log_std - _HALF_LOG_2PI
        if self._g_reduction is not None:
            log_prob = jnp.expand_dims(self._g_reduction(log_prob, axis=-1), -1)
        outputs.update(log_std=log_std, stddev=stddev, log_prob=log_prob, mean_actions=mean)
        return actions, outputs

    def get_entropy(self, stddev: Any, *, role: str = "") -> Any:  # noqa: ARG002  (one distribution for all roles)
        """Entropy of normal distributions with these standard deviations `[..., actions]`: `[..., 1]`."""
        return (0.5 + _HALF_LOG_2PI + jnp.log(stddev)).sum(axis=-1, keepdims=True)
