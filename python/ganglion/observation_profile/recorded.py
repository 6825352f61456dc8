"""The profile of a recording of any kind, for a policy."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from ganglion._foundation.recordings import read_rows
from ganglion.errors import ArtifactError
from ganglion.observation_profile import MOST_ELEMENTS
from ganglion.observation_profile.statistics import FEWEST_STEPS, measured

if TYPE_CHECKING:
    from ganglion._foundation.recordings import RecordingSource
    from ganglion.observation_profile import ObservationProfile


def profile_of(recording: RecordingSource, observation_size: int, action_size: int) -> ObservationProfile:
    """Measures a recording for a policy.

    Args:
        recording: whatever `ganglion.verify` takes as one.
        observation_size: elements of the policy's observation.
        action_size: elements of its action.

    Raises:
        ArtifactError: the recording cannot be read, is too short, or is of another policy.
        EngineUnavailableError: gymnasium is not installed, which episodes need.
    """
    rows = read_rows(recording)
    label = os.fspath(recording) if isinstance(recording, (str, os.PathLike)) else "the recording"
    for what, found, wanted in (
        ("observations", rows.observation.shape[1], observation_size),
        ("actions", action_size if rows.action is None else rows.action.shape[1], action_size),
    ):
        if found != wanted:
            raise ArtifactError(
                f"{label}: {what} of {found} elements; the policy has {wanted}: it is of another policy"
            )
    if rows.action is not None and not np.isfinite(rows.action).all():
        raise ArtifactError(f"{label}: 'action' has an element that is not finite")
    lengths = np.diff(np.flatnonzero(np.append(rows.reset, True)))
    try:
        return measured(rows.observation, lengths, rows.action)
    except ArtifactError as error:
        raise ArtifactError(f"{label}: {error}") from error


def profile_if_enough(recording: RecordingSource, action_size: int) -> ObservationProfile | None:
    """The same, but None of a recording that is too short or of images, and no responses to actions of another size.

    Raises:
        ArtifactError: the recording cannot be read.
        EngineUnavailableError: gymnasium is not installed, which episodes need.
    """
    rows = read_rows(recording)
    if len(rows.observation) < FEWEST_STEPS or rows.observation.shape[1] > MOST_ELEMENTS:
        return None
    action = rows.action
    if action is not None and (action.shape[1] != action_size or not np.isfinite(action).all()):
        action = None
    return measured(rows.observation, np.diff(np.flatnonzero(np.append(rows.reset, True))), action)
