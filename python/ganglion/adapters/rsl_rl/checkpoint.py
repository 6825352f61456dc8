"""What the checkpoints of rsl_rl's runners hold of the actor, whatever the version that wrote them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ganglion.adapters._files import refuse_stand_ins
from ganglion.adapters._state_dict import StateDict, unwrapped
from ganglion.errors import ArtifactError

if TYPE_CHECKING:
    from torch import Tensor, nn

EPSILON = 1e-2
"""`EmpiricalNormalization` adds it to the standard deviation; every version, no runner sets another one."""


@dataclass(frozen=True)
class Layout:
    """Where a checkpoint keeps the parts of the actor.

    Attributes:
        key: entry of the checkpoint with the state dictionary.
        mlp: prefix of the feed-forward layers.
        recurrent: prefix of the recurrent layers.
        normalizer: prefix of the statistics of the observations.
        ignored: prefixes of what only training needs.
        sections: where the runner's configuration describes the actor, the first that is there.
        std_decides: without a standard deviation as a parameter, the head can only be one that computes it.
    """

    key: str
    mlp: str
    recurrent: str
    normalizer: str
    ignored: tuple[str, ...]
    sections: tuple[str, ...]
    std_decides: bool


_MODEL = ("mlp.", "rnn.rnn.", "obs_normalizer.", ())
_LAYOUTS = (
    # rsl_rl 4 and 5: `PPO.save` and `Distillation.save` of `rsl_rl/algorithms`.
    Layout("actor_state_dict", *_MODEL, ("actor", "policy"), False),
    Layout("student_state_dict", *_MODEL, ("student", "policy"), False),
    # rsl_rl 1 to 3: `ActorCritic`, `ActorCriticRecurrent`, `StudentTeacher` and `StudentTeacherRecurrent`.
    Layout(
        "model_state_dict",
        "actor.",
        "memory_a.rnn.",
        "actor_obs_normalizer.",
        ("critic.", "memory_c.rnn.", "critic_obs_normalizer."),
        ("policy", "actor"),
        True,
    ),
    Layout(
        "model_state_dict",
        "student.",
        "memory_s.rnn.",
        "student_obs_normalizer.",
        ("teacher.", "memory_t.rnn.", "teacher_obs_normalizer."),
        ("policy", "student"),
        True,
    ),
)
_STD = ("std", "log_std", "distribution.std_param", "distribution.log_std_param")
_FOR_TRAINING = {
    "critic_state_dict", "teacher_state_dict", "optimizer_state_dict", "iter", "infos", "rnd_state_dict",
    "rnd_optimizer_state_dict", "privileged_obs_norm_state_dict",
}  # fmt: skip


@dataclass(frozen=True)
class Actor:
    """The parts of an actor.

    Attributes:
        layout: where they were.
        layers: the feed-forward layers, behind the recurrent ones.
        recurrent: the recurrent layers, or None.
        statistics: mean and standard deviation of the observations, `[observation_size]` each; None without normaliser.
        std_size: elements of the standard deviation, where it is a parameter, else None.
    """

    layout: Layout
    layers: tuple[nn.Linear, ...]
    recurrent: nn.LSTM | nn.GRU | None
    statistics: tuple[Tensor, Tensor] | None
    std_size: int | None

    @property
    def observation_size(self) -> int:
        """Elements of an observation."""
        return self.layers[0].in_features if self.recurrent is None else self.recurrent.input_size

    @property
    def output_size(self) -> int:
        """Outputs of the last layer."""
        return self.layers[-1].out_features


def read_actor(document: Any, path: str) -> Actor:
    """Finds the actor in a checkpoint; every tensor of it has a place, or there is an error.

    Raises:
        ArtifactError: no checkpoint of rsl_rl, the actor has parts that are not known or not supported or do not fit
            each other, or a value is not finite.
    """
    layout, tensors = _state_dict(document, path)
    images = sorted({name.split(".")[1] for name in tensors.names("cnns.")})
    if images:
        raise ArtifactError(
            f"{tensors.label} has convolutional encoders for {images}; MLP and recurrent models are read. Export with "
            "rsl_rl's own export_policy_to_onnx, whose files ganglion reads"
        )
    if layout.ignored:
        tensors.drop(*layout.ignored)
    recurrent = None
    if tensors.names(layout.recurrent):
        recurrent = tensors.recurrent(layout.recurrent.removesuffix("."))
    layers = _layers(tensors, layout.mlp)
    statistics = _statistics(document, tensors, layout)
    stds = [tensors.take(name, 1) for name in _STD if name in tensors.names()]
    tensors.finish("rsl_rl's own models are: a class of your own may compute anything, so build it with LayeredPolicy")
    actor = Actor(layout, layers, recurrent, statistics, len(stds[0]) if stds else None)
    _check_sizes(actor, tensors.label)
    return actor


def _state_dict(document: Any, path: str) -> tuple[Layout, StateDict]:
    if not isinstance(document, Mapping):
        refuse_stand_ins(document, f"'{path}'")
        raise ArtifactError(f"'{path}' holds a {type(document).__name__}; a runner of rsl_rl writes a dict")
    for layout in _LAYOUTS:
        tensors = document.get(layout.key)
        if not isinstance(tensors, Mapping):
            continue
        tensors = unwrapped(tensors, f"'{path}': {layout.key}")
        if any(name.startswith((layout.mlp, "cnns.")) for name in tensors):
            break
    else:
        refuse_stand_ins(document, f"'{path}'")
        keys = sorted({layout.key for layout in _LAYOUTS})
        raise ArtifactError(
            f"'{path}' is no checkpoint of a runner of rsl_rl: it has the entries {sorted(map(str, document))}; "
            f"expected one of {keys} with the layers of an actor"
        )
    others = sorted(set(map(str, document)) - _FOR_TRAINING - {layout.key, "obs_norm_state_dict"})
    if others:
        warnings.warn(
            f"'{path}' has entries that no runner of rsl_rl writes and that are not read: {others}; if the actor needs "
            "them, this policy is not complete",
            stacklevel=5,
        )
    return layout, StateDict(tensors, f"'{path}': {layout.key}")


def _layers(tensors: StateDict, prefix: str) -> tuple[nn.Linear, ...]:
    """Takes the linear layers, which stand at every other place, with activations between them."""
    layers = [tensors.linear(f"{prefix}0")]
    while f"{prefix}{2 * len(layers)}.weight" in tensors.names(prefix):
        layers.append(tensors.linear(f"{prefix}{2 * len(layers)}"))
    return tuple(layers)


def _statistics(document: Mapping[str, Any], tensors: StateDict, layout: Layout) -> tuple[Tensor, Tensor] | None:
    """Takes mean and standard deviation: inside the model, or in rsl_rl 2 beside it."""
    beside = document.get("obs_norm_state_dict")
    is_inside = bool(tensors.names(layout.normalizer))
    if is_inside and beside:
        raise ArtifactError(f"{tensors.label} has a normaliser of its own, and 'obs_norm_state_dict' is another one")
    if is_inside:
        source, prefix = tensors, layout.normalizer
    elif beside:
        source, prefix = StateDict(beside, f"{tensors.label}, obs_norm_state_dict"), ""
    else:
        return None
    mean, std = (source.take(f"{prefix}{name}", 2).reshape(-1) for name in ("_mean", "_std"))
    # What else the normaliser has says how the standard deviation goes on in training.
    source.drop(f"{prefix}_var", f"{prefix}count")
    if source is not tensors:
        source.finish("a normaliser of rsl_rl has _mean, _var, _std and count")
    return mean, std


def _check_sizes(actor: Actor, label: str) -> None:
    bare = [2 * index for index, layer in enumerate(actor.layers) if layer.bias is None]
    if bare:
        raise ArtifactError(f"{label}: '{actor.layout.mlp}{bare[0]}.bias' is missing; every layer of rsl_rl has one")
    if actor.recurrent is not None and not actor.recurrent.bias:
        raise ArtifactError(f"{label}: '{actor.layout.recurrent}bias_ih_l0' is missing; every layer of rsl_rl has one")
    sizes = [layer.in_features for layer in actor.layers[1:]], [layer.out_features for layer in actor.layers[:-1]]
    if sizes[0] != sizes[1]:
        raise ArtifactError(f"{label}: layers with {sizes[1]} outputs are followed by layers with {sizes[0]} inputs")
    units = None if actor.recurrent is None else actor.recurrent.hidden_size
    if units is not None and units != actor.layers[0].in_features:
        raise ArtifactError(
            f"{label}: the recurrent layers have {units} units, but the layers behind them take "
            f"{actor.layers[0].in_features}"
        )
    found = [] if actor.statistics is None else [len(values) for values in actor.statistics]
    if any(size != actor.observation_size for size in found):
        raise ArtifactError(
            f"{label}: the normaliser has {found[0]} elements, the actor takes {actor.observation_size}"
        )
    if actor.std_size not in (None, actor.output_size):
        raise ArtifactError(
            f"{label} has a standard deviation of {actor.std_size} elements, but its layers have {actor.output_size} "
            "outputs; a Gaussian head of rsl_rl has as many of both"
        )
