"""Actor policies of TF-Agents from saved variables."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ganglion._foundation.boundary import bounded
from ganglion.adapters._arrays import read_arrays
from ganglion.adapters._settings import answers, said
from ganglion.adapters.tf_agents.shapes import HEAD, network_of, read_shapes
from ganglion.errors import ArtifactError
from ganglion.policies import (
    ActorPolicy,
    load_tf_agents_weights,
    streaming_tensor_normalizer,
    tensor_normalizer,
    time_step_spec,
)

if TYPE_CHECKING:
    import os

    from numpy.typing import ArrayLike

    from ganglion.adapters._settings import Config
    from ganglion.policies import ActorTimeStep, ObservationNormalizer
    from ganglion.policies.tf_agents.networks import ActorNetwork

_NETWORK = re.compile(r"param\.\d{1,6}(\..*)?")
_STATISTICS = re.compile(r"normalizer\.(?:.*[./])?(count|avg|m2_carry|m2|mean|var)(?:_\d+)?(?::0)?")

HOW_TO_SAVE = (
    "in TensorFlow, write the variables of the network, and of the normaliser if there is one: numpy.savez(path, "
    "**{f'param.{i}.{v.name}': v.numpy() for i, v in enumerate(network.variables)}, "
    "**{f'normalizer.{i}.{v.name}': v.numpy() for i, v in enumerate(normalizer.variables)})"
)


@bounded()
def load(
    path: str | os.PathLike[str],
    *,
    network: ActorNetwork | None = None,
    step_spec: ActorTimeStep | None = None,
    config: Config | None = None,
    allow_pickle: bool = False,
    **kwargs: Any,
) -> ActorPolicy:
    """Loads the variables of an actor network of TF-Agents and puts the network into an `ActorPolicy`.

    TF-Agents saves checkpoints that only TensorFlow opens. There, write `param.<index>.<name>` in the order of
    `network.variables`, and `normalizer.<index>.<name>` of a `StreamingTensorNormalizer` (or `normalizer.mean` and
    `normalizer.var`)::

        numpy.savez(
            path,
            **{f"param.{i}.{v.name}": v.numpy() for i, v in enumerate(network.variables)},
            **{f"normalizer.{i}.{v.name}": v.numpy() for i, v in enumerate(normalizer.variables)},
        )

    `numpy.savez(path, *[v.numpy() for v in network.variables])` will do, too. Without `network` its layers are read off
    names and shapes; what these do not say, such as nonlinearities and bounds, must be said.

    Args:
        path: the file: of `numpy.savez`, or a pickle of the same things.
        network: our network with the layers of the original, which is changed; None for the one that the variables are
            of.
        step_spec: spec of the time steps; None for that of the network's observations.
        config: without `network`, a YAML file of settings by name, or what is in it.
        allow_pickle: also read a pickle of other things than arrays, which can run code.
        **kwargs: further arguments of `ActorPolicy`; without `observation_normalizer` it is the one of the file.
            Without `network`, settings: `activation_fn` of the dense layers by name, `action_low` and `action_high`,
            `squash` and `std_transform` of a normal distribution, `clip` of the policy, `action_size` of a categorical
            one, `head` where the names do not say what ends the network; `defaults=True` for those of TF-Agents.

    Returns:
        The policy.

    Raises:
        ArtifactError: the file is missing, damaged, a checkpoint of TensorFlow, holds names that are not known, or
            objects of classes without `allow_pickle`; or a normaliser is both in the file and given.
        TypeError: an argument of the policy has the wrong type.
        ValueError: number or shapes of the variables do not fit the network, an argument does not fit it, or something
            must be said that is not; all of that is named.
    """
    if Path(path).suffix == ".index" or Path(path).is_dir() or Path(f"{path}.index").exists():
        raise ArtifactError(f"'{path}' is a checkpoint of TensorFlow, which only TensorFlow opens; {HOW_TO_SAVE}")
    variables, normalizer = _parts(read_arrays(path, allow_pickle=allow_pickle), path)
    if normalizer is not None and kwargs.get("observation_normalizer") is not None:
        raise ArtifactError(f"'{path}' has a normaliser, and observation_normalizer is another one; which one?")
    if network is None:
        # Construction draws parameters that are replaced at once; the caller's random numbers stay as they are.
        with torch.random.fork_rng(devices=[]):
            network, kwargs = _network_from_shapes(variables, path, config, kwargs)
    elif config is not None:
        raise ValueError("config is for a network that is built from its variables: leave network out")
    if normalizer is not None:
        kwargs["observation_normalizer"] = normalizer
    load_tf_agents_weights(network, variables)
    spec = time_step_spec(network.input_tensor_spec) if step_spec is None else step_spec
    return ActorPolicy(spec, network.output_tensor_spec, network, **kwargs)


def _network_from_shapes(
    variables: Mapping[str, ArrayLike] | Sequence[ArrayLike],
    path: str | os.PathLike[str],
    config: Config | None,
    kwargs: dict[str, Any],
) -> tuple[ActorNetwork, dict[str, Any]]:
    """Returns the network, and the arguments of the policy."""
    label = f"'{path}'"
    shapes = read_shapes(variables, label)
    settings = said(config, kwargs)
    if shapes.head is None:
        # What else must be said depends on it.
        head = {name: settings.pop(name) for name in ("head",) if name in settings}
        shapes = shapes.ending_as(answers(label, "TF-Agents", {"head": HEAD}, head)["head"], label)
    found = answers(label, "TF-Agents", shapes.questions(), settings)
    network = network_of(shapes, found, label)
    return network, {"clip": found["clip"]} if "clip" in found else {}


def _parts(
    found: Any, path: str | os.PathLike[str]
) -> tuple[Mapping[str, ArrayLike] | Sequence[ArrayLike], ObservationNormalizer | None]:
    if isinstance(found, (list, tuple)):
        return found, None
    if not isinstance(found, Mapping):
        raise ArtifactError(f"'{path}' holds a {type(found).__name__}; {HOW_TO_SAVE}")
    statistics = {name: _STATISTICS.fullmatch(str(name)) for name in found}
    unknown = [name for name, match in statistics.items() if match is None and _NETWORK.fullmatch(str(name)) is None]
    if unknown:
        raise ArtifactError(f"'{path}' has arrays of unknown use: {unknown}; {HOW_TO_SAVE}")
    network = {name: array for name, array in found.items() if statistics[name] is None}
    kinds = [match[1] for match in statistics.values() if match is not None]
    if len(kinds) != len(set(kinds)):
        raise ArtifactError(f"'{path}' has statistics of more than one observation: {kinds}; one vector is supported")
    values = {match[1]: found[name] for name, match in statistics.items() if match is not None}
    return network, _normalizer(values, path)


def _normalizer(values: Mapping[str, ArrayLike], path: str | os.PathLike[str]) -> ObservationNormalizer | None:
    if not values:
        return None
    if {"count", "avg", "m2"} <= values.keys():
        return streaming_tensor_normalizer(values["count"], values["avg"], values["m2"])
    if {"mean", "var"} <= values.keys():
        return tensor_normalizer(values["mean"], values["var"])
    raise ArtifactError(f"'{path}' has of the normaliser {sorted(values)}; expected count, avg and m2, or mean and var")
