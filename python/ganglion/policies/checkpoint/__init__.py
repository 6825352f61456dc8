"""Checkpoints: a policy with everything that is needed to build it again, in a file that holds data only."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import torch

from ganglion._foundation.checkpoints import raise_if_checkpoint
from ganglion._foundation.files import opened, replacing
from ganglion.errors import ArtifactError, ExportError
from ganglion.policies.base import RecurrentPolicy
from ganglion.policies.checkpoint.budget import Budget
from ganglion.policies.checkpoint.format_1 import upgraded
from ganglion.policies.kept import build, describe

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

_FORMAT = 2
_KEY = "ganglion_checkpoint"
_DAMAGE = (LookupError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError, MemoryError)
"""What a constructor raises for arguments that make no sense."""


def save_checkpoint(policy: RecurrentPolicy, path: str | os.PathLike[str]) -> None:
    """Writes a policy to a file that `load_checkpoint` builds it from again.

    The file holds tensors and plain data, no code and no pickled classes. The policy is built from it once, and must
    do the same as the given one, before there is a file.

    Args:
        policy: a policy of any class in `ganglion.policies`, a `SkrlPolicy` around one of the ready models included;
            with nonlinearities, modules and heads of torch or of ganglion. How values were drawn (initialisers) is
            not kept.
        path: the file; replaced when it exists.

    Raises:
        ExportError: a class, a function, a module or a space that a checkpoint cannot name; or the policy has been
            changed since it was made, so that its constructor's arguments do not describe it.
    """
    document = _document(policy)
    with replacing(path) as temporary:
        torch.save(document, temporary)


def check_checkpoint(policy: RecurrentPolicy) -> None:
    """Does all that `save_checkpoint` does but for the file; to know before a long training.

    Raises:
        ExportError: see `save_checkpoint`.
    """
    _document(policy)


def load_checkpoint(path: str | os.PathLike[str]) -> RecurrentPolicy:
    """Builds the policy that `save_checkpoint` wrote, on the CPU and in evaluation mode.

    Running code from the file is not possible: it is read with `weights_only=True`.

    Raises:
        ArtifactError: the file is missing, damaged, no checkpoint of ganglion, or of a newer format.
    """
    path = Path(path)
    if not path.is_file():
        raise ArtifactError(f"{path}: {'a folder, not a checkpoint' if path.is_dir() else 'no such checkpoint'}")
    try:
        with opened(path) as file:
            return read_checkpoint(file, str(path))
    except ArtifactError as error:
        raise_if_checkpoint(path, error, ours=False)
        raise


def read_checkpoint(source: Path | BinaryIO, label: str) -> RecurrentPolicy:
    """As `load_checkpoint`, of a file that is there or of bytes in memory; errors begin with `label`."""
    document = _read(source, label)
    try:
        return _built(document if document[_KEY] == _FORMAT else upgraded(document))
    except _DAMAGE as error:
        what = f"field {error} is missing" if isinstance(error, KeyError) else str(error)
        raise ArtifactError(f"{label}: damaged checkpoint: {what}") from error


def _read(source: Path | BinaryIO, label: str) -> Mapping[str, Any]:
    try:
        with warnings.catch_warnings():
            # torch warns when it meets a TorchScript archive; the message below says what to do.
            warnings.simplefilter("ignore")
            document: dict[str, Any] | Any = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what its unpickler happens to meet
        raise ArtifactError(
            f"{label}: not a readable checkpoint; write one with save_checkpoint(policy, path)"
        ) from error
    found = document.get(_KEY) if isinstance(document, dict) else None
    if not isinstance(found, int) or found < 1:
        raise ArtifactError(f"{label}: not a checkpoint of ganglion; write one with save_checkpoint(policy, path)")
    if found > _FORMAT:
        raise ArtifactError(
            f"{label}: checkpoint format {found} is newer than {_FORMAT}, the newest that this version of ganglion "
            "reads; install a newer ganglion"
        )
    return document


def _document(policy: Any) -> dict[str, Any]:
    if not isinstance(policy, RecurrentPolicy):
        raise ExportError(f"{type(policy).__name__} cannot be saved as a checkpoint: it is no RecurrentPolicy")
    document = {
        _KEY: _FORMAT,
        "policy": describe(policy),
        "dtype": str(policy._reference().dtype).removeprefix("torch."),
        "state_dict": {name: tensor.detach().cpu().clone() for name, tensor in policy.state_dict().items()},
    }
    _prove(policy, document)
    return document


def _built(document: Mapping[str, Any]) -> RecurrentPolicy:
    state_dict = document["state_dict"]
    # Construction draws parameters that are replaced at once; the caller's random numbers stay as they are. What it
    # warns of was said when the policy was made.
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings(), Budget(state_dict):
        warnings.simplefilter("ignore")
        policy = build(document["policy"])
    if not isinstance(policy, RecurrentPolicy):
        raise ValueError(f"it describes a {type(policy).__name__}, which is no policy")
    policy.to(getattr(torch, str(document["dtype"])))
    policy.load_state_dict(state_dict)
    return policy.eval()


def _prove(policy: RecurrentPolicy, document: Mapping[str, Any]) -> None:
    """Builds the policy from its document and compares both.

    Raises:
        ExportError: they differ.
    """
    name = type(policy).__name__
    hint = "it has been changed since it was made; build one with these arguments and load its state_dict()"
    try:
        twin = _built(document)
    except _DAMAGE as error:
        raise ExportError(f"{name} cannot be built from a checkpoint of it ({error}); {hint}") from error
    original = copy.deepcopy(policy).cpu().eval()
    pairs = [(value, twin.state_dict()[key]) for key, value in original.state_dict().items()]
    pairs += zip(_two_steps(original), _two_steps(twin), strict=False)
    if not all(one.dtype == other.dtype and one.equal(other) for one, other in map(_without_nan, pairs)):
        raise ExportError(f"{name} does not do the same when it is built from a checkpoint of it: {hint}")


def _without_nan(pair: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    # A policy that diverged has NaN in its weights, and is what it is.
    return pair if not pair[0].is_floating_point() else (pair[0].nan_to_num(7.0), pair[1].nan_to_num(7.0))


@torch.no_grad()
def _two_steps(policy: RecurrentPolicy) -> tuple[torch.Tensor, ...]:
    size = sum(spec.size for spec in policy.input_specs)
    first = torch.linspace(-1.0, 1.0, 2 * size).reshape(2, size)
    *outputs, hidden = policy(first)
    return (*outputs, hidden, *policy(-first, hidden))
