"""Checkpoints of trainers handed in as policies: what they are, told by their bytes, and the command that reads them.

Nothing in them is run, and neither torch nor their libraries are needed.
"""

from __future__ import annotations

import functools
import io
import json
import re
import shlex
import struct
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from ganglion._foundation.files import read_file
from ganglion._foundation.pickles import PickleError, StandIn, read_pickle
from ganglion._foundation.torch_files import is_old_torch, read_torch_pickle
from ganglion._foundation.trainers import TRAINERS
from ganglion.errors import ArtifactError, GanglionError, ParityError

if TYPE_CHECKING:
    import os

_F = TypeVar("_F", bound=Callable[..., Any])

_OURS = ("ganglion_checkpoint", "ganglion_snapshot")
_NAMES: tuple[tuple[str, str], ...] = (
    (r"a2c_network\.", "rl_games"),
    (r"(mlp_extractor|lstm_actor|action_net|q_net\.q_net|quantile_net\.quantile_net|actor\.latent_pi)\.", "sb3"),
    (r"(\w+_container|policy_layer|mean_layer|mean_net)\.|log_std_parameter$", "skrl"),
    (r"(policy\.)*(decoder\.)?decoder(_mean)?\.(\d+\.)?weight|(policy\.)*network\.layers\.", "pufferlib"),
    (r"(rnn_layers|shared|prev_act_layer|conv_layer)\.(weight|bias)", "pyrado"),
    (r"(actor|student)\.\d+\.|memory_[as]\.rnn\.|mlp\.\d+\.|(actor_)?obs_normalizer\.", "rsl_rl"),
    (r"(\d+\.|actor\.|module\.)*(module\.|lstm\.|gru\.)", "torchrl"),
)
"""How names of weights begin, most telling first."""
COMPILED = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""What torch.compile, FSDP and activation checkpointing put into the names of the tensors that they wrap."""

PARALLEL = "module"
"""What DistributedDataParallel and DataParallel put there; a model may have a part of that name, too."""

_WRAPPERS = re.compile(rf"(?<![^.])({'|'.join((*COMPILED, PARALLEL))})\.(?!\d)")
_RSL_RL = ("actor_state_dict", "student_state_dict", "model_state_dict")
_FOLDERS = (
    ("_CHECKPOINT_METADATA", "orbax (JAX)"),
    ("manifest.ocdbt", "orbax (JAX)"),
    ("saved_model.pb", "TensorFlow"),
    ("checkpoint", "TensorFlow"),
    ("rllib_checkpoint.json", "RLlib"),
    ("algorithm_state.pkl", "RLlib"),
)


def naming_checkpoints(function: _F) -> _F:
    """Lets a function whose first argument is the path of a policy say so where that is a trainer's checkpoint.

    Files are looked at where the function fails only.
    """

    @functools.wraps(function)
    def named(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except (GanglionError, OSError) as error:
            if isinstance(error, (CheckpointError, ParityError)):
                raise
            path = (*args, *kwargs.values(), "")[0]
            for one in path if isinstance(path, (list, tuple)) else [path]:
                raise_if_checkpoint(one, error)
            raise

    return cast("_F", named)


class CheckpointError(ArtifactError):
    """A file is a checkpoint, which has to be exported before it runs."""


def raise_if_checkpoint(path: str | os.PathLike[str], error: Exception, *, ours: bool = True) -> None:
    """Raises what to do with a checkpoint, in place of an error that its being no policy led to.

    Args:
        path: the file.
        error: that error.
        ours: also where it is a checkpoint of ganglion itself; without, one of ganglion was expected.

    Raises:
        CheckpointError: the file is one.
    """
    try:
        sentence = checkpoint_advice(path, ours=ours)
    except (ArtifactError, OSError, ValueError):
        return  # the file is missing, or no regular one, and the first error says so
    if sentence is not None:
        raise CheckpointError(sentence if ours else f"not a checkpoint of ganglion: {sentence}") from error


def checkpoint_advice(path: str | os.PathLike[str], *, ours: bool = True) -> str | None:
    """One sentence that says what a checkpoint is and which command reads it; None for any other file.

    Args:
        path: the file.
        ours: also for a checkpoint of ganglion itself.

    Raises:
        ArtifactError: the file cannot be read.
    """
    place = Path(path)
    if place.is_dir():
        kind = next((kind for name, kind in _FOLDERS if (place / name).exists()), None)
        trainer = "brax" if any(place.glob("*_network_config.json")) else None
        return None if kind is None else _sentence(place, f"a folder with a checkpoint of {kind}", trainer)
    found = _recognised(read_file(place).data)
    return None if found is None or (found[1] == "ganglion" and not ours) else _sentence(place, *found)


def _sentence(path: Path, what: str, trainer: str | None) -> str:
    said = f"'{path}' is {what}: weights to go on training with, not a policy that runs"
    file = shlex.quote(str(path))
    if trainer == "ganglion":
        return f"{said}; export it first: ganglion export {file} -o policy.ganglion"
    if trainer is not None:
        return f"{said}; export it first: ganglion export {file} --from {trainer} -o policy.ganglion"
    return (
        f"{said}, and what it holds does not tell its trainer; if it is one of {', '.join(TRAINERS)}, export it first: "
        f"ganglion export {file} --from TRAINER -o policy.ganglion. A network of your own is exported in Python, by "
        "ganglion.export(policy, path)"
    )


_Found = tuple[str, "str | None"]


def _recognised(data: bytes) -> _Found | None:
    try:
        if data.startswith(b"PK\x03\x04"):
            return _archive(data)
        if data[7:9] == b"\0{":
            return _safetensors(data)  # its length may begin as a pickle does
        if is_old_torch(data):
            return _document(read_torch_pickle(data), "torch.save, in its format before version 1.6")
        if data[:1] == b"\x80" and len(data) > 2 and data[1] in (2, 3, 4, 5):
            return _document(read_pickle(data), "pickle")
        if data.startswith(b"\x93NUMPY"):
            return "an array of numpy.save", None
        if data.startswith(b"\x89HDF\r\n"):
            return "an HDF5 file, as Keras writes its weights", None
        return _flax(data)
    except (PickleError, zipfile.BadZipFile, OSError, ValueError, LookupError, NotImplementedError, RuntimeError):
        return None


def _archive(data: bytes) -> _Found | None:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = set(archive.namelist())
    inner = {name.partition("/")[2] for name in names}
    if "constants.pkl" in inner:
        return None  # TorchScript
    if "data.pkl" in inner:
        return _document(read_torch_pickle(data), "torch.save")
    if "policy.pth" in names:
        return "a checkpoint of Stable-Baselines3", "sb3"
    if names and all(name.endswith(".npy") for name in names):
        trainer = _of_arrays([name.removesuffix(".npy") for name in names])
        return _named("arrays of numpy.savez", trainer)
    return None


def _document(document: Any, written: str) -> _Found | None:
    """What a pickle or a file of `torch.save` holds."""
    if isinstance(document, StandIn):
        return _object(document, written)
    if isinstance(document, Mapping) and any(key in document for key in _OURS):
        return "a checkpoint of ganglion", "ganglion"
    if not _holds_weights(document, 4):
        return None
    if isinstance(document, (list, tuple)) and document and _is_statistics(document[0]):
        return "a checkpoint of brax", "brax"
    if isinstance(document, (list, tuple, np.ndarray)):
        return f"a {type(document).__name__} that was written by {written}", None
    if not isinstance(document, Mapping):
        return None
    entries = {str(key): value for key, value in document.items()}
    trainer = _of_entries(entries) or _of_arrays(entries) or _of_names(entries)
    if trainer is None:
        inner = (value for value in entries.values() if isinstance(value, Mapping))
        trainer = next(filter(None, map(_of_names, inner)), None)
    shown = ", ".join(list(entries)[:4])
    return _named(f"a dictionary ({shown}{', ...' if len(entries) > 4 else ''}) of {written}", trainer)


def _is_statistics(value: Any) -> bool:
    return isinstance(value, StandIn) and value.kind.endswith("running_statistics.RunningStatisticsState")


def _holds_weights(value: Any, deepest: int) -> bool:
    """Whether plain data have tensors or arrays in them, or bytes that may hold some."""
    if isinstance(value, StandIn):
        return value.kind.startswith("torch._utils._rebuild")
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return isinstance(value, (np.ndarray, bytes))
    return deepest > 0 and any(_holds_weights(part, deepest - 1) for part in value)


def _named(what: str, trainer: str | None) -> _Found:
    return (what if trainer is None else f"a checkpoint of {trainer}"), trainer


def _of_entries(entries: Mapping[str, Any]) -> str | None:
    """The trainer by the entries of its checkpoints."""
    if isinstance(entries.get("model"), Mapping) and _of_names(entries["model"]) in ("rl_games", None):
        return "rl_games" if {"a2c_network", "running_mean_std"} & _heads(entries["model"]) else None
    if any(isinstance(entries.get(key), Mapping) for key in _RSL_RL):
        weights = next(entries[key] for key in _RSL_RL if isinstance(entries.get(key), Mapping))
        return "rsl_rl" if "iter" in entries or _of_names(weights) == "rsl_rl" else None
    others = {"value", "optimizer", "state_preprocessor", "observation_preprocessor", "critic_1", "critic"}
    return "skrl" if isinstance(entries.get("policy"), (Mapping, bytes)) and others & entries.keys() else None


def _heads(names: Iterable[Any]) -> set[str]:
    return {_plain(str(name)).partition(".")[0] for name in names}


def _plain(name: str) -> str:
    """The name without what wrappers of torch put in."""
    return _WRAPPERS.sub("", name)


def _of_names(names: Iterable[Any]) -> str | None:
    """The trainer by the names of weights."""
    for given in ([_plain(str(name)) for name in names], list(map(str, names))):
        for pattern, trainer in _NAMES:
            if any(re.match(pattern, name) for name in given) and any(
                name.endswith(("weight", "weight_ih_l0", "log_std_parameter")) for name in given
            ):
                return trainer
    return None


def _of_arrays(names: Iterable[str]) -> str | None:
    """The trainer by the names of arrays: variables of TensorFlow."""
    given = list(names)
    if any(re.match(r"param\.\d+\.", name) for name in given):
        return "tf_agents"
    return "garage" if any(re.search(r"/(kernel|bias|gamma|parameter)(:0)?$", name) for name in given) else None


def _object(found: StandIn, written: str) -> _Found:
    kind = found.kind
    package = kind.partition(".")[0]
    if kind.endswith(".VecNormalize"):
        return "statistics of VecNormalize, which go with model.zip as --vecnormalize, and no checkpoint", "sb3"
    if package in ("pyrado", "garage", "pufferlib"):
        return f"a {kind.rpartition('.')[2]} of {package}, saved as a whole by {written}", package
    return f"a {kind}, saved as a whole by {written}", None


def _safetensors(data: bytes) -> _Found | None:
    (size,) = struct.unpack("<Q", data[:8])
    if size > len(data) - 8:
        return None
    header = json.loads(data[8 : 8 + size])
    metadata = header.pop("__metadata__", None)
    if isinstance(metadata, dict) and "ganglion" in metadata:
        return None
    return _named(f"a safetensors file ({', '.join(list(header)[:4])}, ...)", None)


def _flax(data: bytes) -> _Found | None:
    # A map of MessagePack whose first key is a short text.
    if not (0x81 <= data[0] <= 0x8F or data[0] in (0xDE, 0xDF)):
        return None
    start = {0xDE: 3, 0xDF: 5}.get(data[0], 1)
    if not 0xA1 <= data[start] <= 0xBF:
        return None
    is_skrl = any(name in data for name in (b"log_std_parameter", b"net_container", b"policy_layer"))
    return _named("a MessagePack of flax (JAX)", "skrl" if is_skrl else None)
