"""The files that brax writes, as plain arrays: pickles of `model.save_params`, and checkpoints of orbax."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ganglion._foundation.pickles import StandIn
from ganglion._foundation.sentences import first_line
from ganglion.adapters._files import read_stand_in
from ganglion.errors import ArtifactError, EngineUnavailableError

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

CONFIGS = ("ppo_network_config.json", "sac_network_config.json", "bc_network_config.json")
"""What brax writes into the folder of a checkpoint beside its arrays."""

_STATISTICS = "RunningStatisticsState"
_EXPECTED = (
    "expected (normalizer, policy, ...) as brax's model.save_params(path, params) and its checkpoints hold them; of a "
    "training in memory write it so"
)


class Statistics(NamedTuple):
    """Running statistics of observations.

    Attributes:
        mean: `[n]` for every key of the observation; the key is empty where the observation is one array.
        std: the same.
    """

    mean: dict[str, NDArray[np.float32]]
    std: dict[str, NDArray[np.float32]]


class Saved(NamedTuple):
    """What a file holds.

    Attributes:
        statistics: of the observations.
        weights: parameters of the policy: maps by name, arrays at the leaves.
        config: what the checkpoint says of the network, or empty.
    """

    statistics: Statistics
    weights: Mapping[str, Any]
    config: Mapping[str, Any]


def read(path: str | os.PathLike[str]) -> Saved:
    """Reads a pickle, or the folder of a checkpoint.

    Raises:
        ArtifactError: it is missing, damaged, or something else.
        EngineUnavailableError: a folder, and tensorstore is not installed.
    """
    place = Path(path)
    config: Mapping[str, Any] = {}
    if place.is_dir():
        document = _of_folder(place)
        config = _config(place)
    else:
        document = _plain(read_stand_in(place))
    if isinstance(document, Mapping) and {"0", "1"} <= document.keys():
        document = [document[key] for key in sorted(document, key=int)]
    if not isinstance(document, (list, tuple)) or len(document) < 2:
        raise ArtifactError(f"'{path}' holds a {type(document).__name__}; {_EXPECTED}")
    weights = document[1]
    if not isinstance(weights, Mapping) or not isinstance(weights.get("params", weights), Mapping):
        raise ArtifactError(f"'{path}': its second part is a {type(weights).__name__}; {_EXPECTED}")
    return Saved(_statistics(document[0], path), weights.get("params", weights), config)


def _plain(value: Any) -> Any:
    """Objects as the maps of what they hold."""
    if isinstance(value, StandIn):
        return _plain(value.items or value.attributes)
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, (list, tuple)) else value


def _statistics(said: Any, path: str | os.PathLike[str]) -> Statistics:
    if not isinstance(said, Mapping) or not {"mean", "std"} <= said.keys():
        raise ArtifactError(f"'{path}': its first part has no mean and std, as {_STATISTICS} of brax has; {_EXPECTED}")
    found = []
    for name in ("mean", "std"):
        values = said[name] if isinstance(said[name], Mapping) else {"": said[name]}
        if not values or not all(isinstance(one, np.ndarray) and one.ndim == 1 for one in values.values()):
            raise ArtifactError(f"'{path}': the {name} of the observations is no vector; images are not read")
        found.append({str(key): np.asarray(one, np.float32) for key, one in values.items()})
    mean, std = found
    for key in mean:
        if key not in std or mean[key].shape != std[key].shape:
            raise ArtifactError(f"'{path}': mean and std of the observation '{key}' have other sizes")
        if not (np.isfinite(mean[key]).all() and np.isfinite(std[key]).all() and (std[key] > 0).all()):
            raise ArtifactError(f"'{path}': mean or std of the observation '{key}' is no usable number")
    return Statistics(mean, std)


def _config(folder: Path) -> Mapping[str, Any]:
    for name in CONFIGS:
        if (folder / name).is_file():
            try:
                config = json.loads((folder / name).read_text(encoding="utf-8"))
            except (OSError, ValueError, RecursionError) as error:
                raise ArtifactError(f"'{folder / name}' is no JSON: {first_line(error)}") from error
            if not isinstance(config, dict) or not isinstance(config.get("network_factory_kwargs", {}), dict):
                raise ArtifactError(f"'{folder / name}' is no configuration of a network of brax")
            return {**config.pop("network_factory_kwargs", {}), **config}
    return {}


def _of_folder(folder: Path) -> Any:
    """The arrays of an orbax checkpoint, read by tensorstore: neither orbax nor JAX is needed."""
    try:
        import tensorstore
    except ImportError as error:
        raise EngineUnavailableError(
            f"'{folder}' is a checkpoint of orbax, which is read by tensorstore: pip install tensorstore ({error}); or "
            "write the parameters as a pickle: brax.io.model.save_params(path, params)"
        ) from error
    try:
        metadata = json.loads((folder / "_METADATA").read_text(encoding="utf-8"))
        driver = "zarr3" if metadata.get("use_zarr3") else "zarr"
        kept: dict[str, Any] = {"driver": "ocdbt", "base": f"file://{folder.resolve()}/"}
        entries = metadata["tree_metadata"].values()
        keys = [[str(part["key"]) for part in entry["key_metadata"]] for entry in entries]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ArtifactError(f"'{folder}' is no checkpoint of orbax: {first_line(error)}") from error
    if not metadata.get("use_ocdbt", True):
        kept = {"driver": "file", "path": f"{folder.resolve()}/"}
    tree: dict[str, Any] = {}
    for parts in keys:
        if parts[:1] not in (["0"], ["1"]) or (parts[0] == "0" and parts[1:2] not in (["mean"], ["std"])):
            continue  # the critic, and what statistics are updated with
        store = {**kept, "path": f"{kept.get('path', '')}{'.'.join(parts)}/"}
        try:
            array = tensorstore.open({"driver": driver, "kvstore": store}, read=True, open=True).result()
            values = np.asarray(array.read().result())
        except Exception as error:  # its errors have no common base of their own
            raise ArtifactError(f"'{folder}': '{'.'.join(parts)}' cannot be read: {first_line(error)}") from error
        place = tree
        for part in parts[:-1]:
            place = place.setdefault(part, {})
        place[parts[-1]] = values
    return tree
