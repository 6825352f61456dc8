"""Algorithm, environment and policy in a snapshot, and how each comes back."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import pickle
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ganglion._foundation.checkpoints import naming_checkpoints
from ganglion.data import EpisodeBatch
from ganglion.errors import ArtifactError, ExportError
from ganglion.policies import RecurrentPolicy, save_checkpoint
from ganglion.policies.checkpoint import check_checkpoint, read_checkpoint
from ganglion.training._plain import first_nan
from ganglion.training.errors import TrainingError
from ganglion.training.snapshotter import find_snapshot, load_snapshot

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping

    from ganglion.training.train_state import TrainStats

_EPISODES = "$EpisodeBatch"


def class_name(value: Any) -> str:
    """Returns module and name of the class of a value."""
    return f"{type(value).__module__}.{type(value).__qualname__}"


def check_protocol(algo: Any) -> None:
    """Refuses an algorithm that cannot be saved.

    Raises:
        TypeError: it lacks `state_dict` or `load_state_dict`.
    """
    for method in ("state_dict", "load_state_dict"):
        if not callable(getattr(algo, method, None)):
            raise TypeError(
                f"{type(algo).__name__} has no method {method}(), so no snapshot of it can be written; add it, or set "
                'snapshot_mode="none", or allow pickles: Trainer(ctxt, allow_pickle=True)'
            )


def describe_algo(algo: Any, epoch: int) -> dict[str, Any]:
    """Returns class, version and state of an algorithm; the state is None if it has no `state_dict`.

    Raises:
        TrainingError: the state holds NaN.
    """
    state = algo.state_dict() if hasattr(algo, "state_dict") else None
    found = first_nan(state, "state")
    if found is not None:
        raise TrainingError(
            f"epoch {epoch} left NaN in {type(algo).__name__}'s {found}, so no snapshot is written; the last one is as "
            "it was. Restore it and train with a smaller step"
        )
    return {"class": class_name(algo), "version": _version(algo), "state": state}


def load_algo(content: Any, algo: Any, label: str, needs_state: bool) -> None:
    """Loads the state of an algorithm, if it is of the class and version that was saved.

    Raises:
        ArtifactError: it is not, the state does not fit, or there is none and `needs_state` is set.
    """
    with damage(label):
        saved, version, state = content["class"], content["version"], content["state"]
    # A script's own classes are in `__main__` when it is run and elsewhere when it is imported.
    parts = [name.rpartition(".") for name in (saved, class_name(algo))]
    same = saved == class_name(algo) or (
        parts[0][2] == parts[1][2] and any(module == "__main__" for module, _, _ in parts)
    )
    if not same:
        raise ArtifactError(
            f"{label} is one of the algorithm {saved}, not of {class_name(algo)}; give one of that class"
        )
    if version != _version(algo):
        raise ArtifactError(
            f"{label} has state version {version} of {saved}; this one has {_version(algo)}. Use the release that "
            "wrote the snapshot"
        )
    if state is None and needs_state:
        raise ArtifactError(
            f"{label} holds {saved} as a pickle only, as that has no state_dict(): if you trust whoever wrote it, "
            "restore(folder, allow_pickle=True)"
        )
    if state is None:
        return
    check_protocol(algo)
    try:
        algo.load_state_dict(state)
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ArtifactError(f"{label} does not fit {class_name(algo)}, which was made otherwise: {what}") from error


def describe_env(env: Any) -> dict[str, str] | None:
    """Returns the class of an environment and its spaces, as text."""
    if env is None:
        return None
    result = {"class": class_name(env)}
    spec = getattr(env, "spec", None)
    for name in ("observation_space", "action_space"):
        space = getattr(spec, name, None)
        if space is not None:
            result[name] = str(space)
    return result


def check_env(content: Any, env: Any, label: str) -> None:
    """Refuses an environment with other spaces than the one of the snapshot.

    Raises:
        ArtifactError: the spaces differ.
    """
    if content is None or env is None:
        return
    found = describe_env(env) or {}
    for name in ("observation_space", "action_space"):
        if name in content and name in found and content[name] != found[name]:
            raise ArtifactError(
                f"{label} was made in an environment with {name} {content[name]}; this one has {found[name]}"
            )


def pickled(algo: Any, env: Any) -> torch.Tensor:
    """Returns algorithm and environment as a pickle, in a tensor of bytes: reading the snapshot does not unpickle it.

    Raises:
        TrainingError: they cannot be pickled.
    """
    try:
        data = pickle.dumps((algo, env))
    except Exception as error:  # every class may raise its own
        raise TrainingError(f"{type(algo).__name__} or its environment cannot be pickled: {error}") from error
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


def unpickled(data: Any, label: str, allow_pickle: bool) -> tuple[Any, Any]:
    """Returns the algorithm and the environment of a snapshot.

    Raises:
        ArtifactError: there is no pickle in it, it is not allowed, or it cannot be read.
    """
    if data is None:
        raise ArtifactError(f"{label} holds no pickled algorithm: make one and give it, restore(folder, algo=...)")
    if not allow_pickle:
        raise ArtifactError(
            f"{label} holds the algorithm as a pickle, which can run any code when it is read; give an algorithm, "
            "restore(folder, algo=...), or, if you trust whoever wrote the file, allow_pickle=True"
        )
    warnings.warn(f"{label} is unpickled, which can run any code that its author put there", stacklevel=3)
    try:
        algo, env = pickle.loads(data.numpy().tobytes())
    except Exception as error:  # unpickling runs what the file says
        raise ArtifactError(f"{label} cannot be unpickled: {type(error).__name__}: {error}") from error
    return algo, env


def stats_to_plain(stats: TrainStats) -> dict[str, Any]:
    """Returns the fields, an `EpisodeBatch` as the bytes of its file."""
    result = {field.name: getattr(stats, field.name) for field in dataclasses.fields(stats)}
    if isinstance(stats.last_episode, EpisodeBatch):
        result["last_episode"] = {_EPISODES: _file_bytes(stats.last_episode.save, ".npz")}
    return result


def stats_from_plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Undoes `stats_to_plain`."""
    episode = fields["last_episode"]
    if isinstance(episode, dict) and episode.keys() == {_EPISODES}:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "file.npz"
            path.write_bytes(_bytes(episode[_EPISODES]))
            episode = EpisodeBatch.load(path)
    return {**fields, "last_episode": episode}


def check_policy(algo: Any) -> None:
    """Refuses an algorithm with a policy that no snapshot could keep.

    Raises:
        TrainingError: there is a policy, and `save_checkpoint` refuses it.
    """
    policy = _deployed(algo)
    if policy is None:
        return
    try:
        check_checkpoint(policy)
    except ExportError as error:
        raise TrainingError(
            f"no snapshot could keep the policy of {type(algo).__name__}: {error}. To train it all the same, say "
            "Trainer(ctxt, keep_policy=False): snapshots then hold its weights, for an algorithm that is made as now"
        ) from error


def describe_policy(algo: Any) -> torch.Tensor | str:
    """Returns the file that `load_policy` builds the policy from, or the reason why there is none.

    That is the algorithm's `deployed_policy`, if it has one, else its `policy`.
    """
    policy = _deployed(algo)
    if policy is None:
        return f"{class_name(algo)} has no RecurrentPolicy as its `deployed_policy` or `policy`"
    try:
        return _file_bytes(lambda path: save_checkpoint(policy, path), ".pt")
    except ExportError as error:
        return str(error)


@naming_checkpoints
def load_policy(from_dir: str | os.PathLike[str], from_epoch: int | str = "last") -> RecurrentPolicy:
    """Builds the policy of a snapshot, ready for `ganglion.export`, without the algorithm. No code of the file is run.

    Args:
        from_dir: folder of the snapshots.
        from_epoch: which one, see `find_snapshot`.

    Raises:
        ArtifactError: there is no such snapshot, it is damaged, or it holds no policy that can be built.
    """
    content = load_snapshot(from_dir, from_epoch)
    path = find_snapshot(from_dir, from_epoch)
    data = content.get("policy", "it was not written by a Trainer")
    if not isinstance(data, torch.Tensor):
        raise ArtifactError(
            f"'{path}' holds no policy that can be built without its algorithm: {data}. Build the algorithm, "
            "Trainer.restore(folder, algo=algo), and export its policy"
        )
    with damage(f"'{path}'"):
        file = io.BytesIO(_bytes(data))
    return read_checkpoint(file, f"'{path}': the policy in the snapshot cannot be built")


@contextlib.contextmanager
def damage(label: str) -> Iterator[None]:
    """Makes `ArtifactError`s of what damaged content raises.

    Raises:
        ArtifactError: the body raised because of its content.
    """
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ArtifactError(f"{label} is damaged, or was not written by a Trainer: {what}") from error


def _deployed(algo: Any) -> RecurrentPolicy | None:
    policy = getattr(algo, "deployed_policy", None)
    if policy is None:
        policy = getattr(algo, "policy", None)
    return policy if isinstance(policy, RecurrentPolicy) else None


def _version(algo: Any) -> int:
    return int(getattr(algo, "state_version", 1))


def _file_bytes(write: Callable[[Path], None], suffix: str) -> torch.Tensor:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"file{suffix}"
        write(path)
        return torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8)


def _bytes(data: torch.Tensor) -> bytes:
    return np.asarray(data, np.uint8).tobytes()
