"""The observation profile of a file: measured on a recording, and put into its contract."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ganglion._foundation.boundary import bounded
from ganglion._foundation.documents import unique_keys
from ganglion._foundation.files import ReadFile, read_file
from ganglion._foundation.targets import check_target, replacing
from ganglion.compiler.containers import contract_to_change
from ganglion.contract import Contract, sealed
from ganglion.errors import ArtifactError, ExportError
from ganglion.observation_profile.recorded import profile_of
from ganglion.runtime.policy import explain_file

if TYPE_CHECKING:
    import os

    from ganglion._foundation.recordings import RecordingSource
    from ganglion.observation_profile import ObservationProfile

_ENTRY = re.compile(r',"observation_profile":')


@bounded(ArtifactError, what="cannot be given a profile")
def profile(
    path: str | os.PathLike[str],
    recording: RecordingSource,
    out: str | os.PathLike[str] | None = None,
) -> ObservationProfile:
    """Measures what observations looked like in training, and writes it into the contract of a file.

    A profile that is there already is replaced. Program, weights and every other entry of the contract keep their
    bytes; the digest of the contract is made anew. `wiring(policy=..., found=...)` and `ObservationMonitor` want one.

    Args:
        path: `.ganglion`, `.onnx` or `.pt` file with a contract of ganglion; not a signed one.
        recording: of the policy in training: a `.npz` file with `observation` and where known `action` and `reset`,
            an `EpisodeBatch` or its file, or the `.mcap` file of a flight; at least 256 steps. Minutes are better:
            everything that is healthy should be in it.
        out: the file with the profile; None replaces `path`. It appears when the runtime has read it.

    Returns:
        The profile.

    Raises:
        ArtifactError: the file has no contract, or a signed one, or one of a format without a digest; the recording
            cannot be read, is too short, or is of another policy.
        ExportError: the file cannot be written.
        EngineUnavailableError: gymnasium is not installed, which episodes need.
    """
    file = read_file(path)
    target = Path(path if out is None else out)
    check_target(target)
    if target.suffix != file.path.suffix:
        raise ExportError(f"cannot write '{target}': a {file.path.suffix} file with a profile keeps its suffix")
    reading = explain_file(file)
    text, put = contract_to_change(file, reading.dialect, "hold a profile")
    if reading.signer:
        raise ArtifactError(
            f"'{path}' is signed, and a contract with a profile is another one: give the profile to the file as it was "
            "before it was signed, and sign that"
        )
    contract = Contract.from_json(text)
    found = profile_of(recording, contract.observation_size, contract.action_size)
    made = ReadFile(target, put(_with_profile(text, found)))
    explain_file(made)  # the C++ runtime reads the very bytes
    with replacing(target) as temporary:
        temporary.write_bytes(made.data)
    return found


def _with_profile(text: str, profile: ObservationProfile) -> str:
    """The text of a contract with this profile in it, and nothing else changed but the digest."""
    before = json.loads(text, object_pairs_hook=unique_keys)
    entry = ',"observation_profile":' + json.dumps(profile.to_document(), allow_nan=False, separators=(",", ":"))
    place = _ENTRY.search(text)
    if place is not None:
        _, end = json.JSONDecoder().raw_decode(text, place.end())
        text = text[: place.start()] + text[end:]
    made = sealed(text.rstrip().removesuffix("}") + entry + "}")
    after = json.loads(made, object_pairs_hook=unique_keys)
    changed = {key for key in before | after if before.get(key) != after.get(key)}
    if not changed <= {"observation_profile", "contract_sha256"}:
        raise ArtifactError("its contract was written by another tool; export or compile the policy again")
    return made
