"""When to write a snapshot of a training run, under which name, and how to find it again."""

from __future__ import annotations

import io
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ganglion._foundation.files import opened, replacing
from ganglion.errors import ArtifactError
from ganglion.training._plain import from_plain, to_plain
from ganglion.training.errors import SnapshotNotFoundError, TrainingError

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

SNAPSHOT_MODES = ("all", "last", "gap", "gap_and_last", "gap_overwrite", "none")

_KEY = "ganglion_snapshot"
_FORMAT = 1
_LAST = "params.pt"
_NUMBERED = re.compile(r"itr_(0|[1-9][0-9]*)\.pt")


class Snapshotter:
    """Writes one snapshot per iteration, or fewer, as garage's `Snapshotter`.

    A file holds tensors and plain data: `torch.load(path, weights_only=True)` reads it, and it can run no code. It
    takes the place of an older one in one move, once it is complete and on the disk.

    Args:
        snapshot_dir: where the files go; made when it does not exist.
        snapshot_mode: `"all"`: `itr_N.pt` in every iteration; `"last"`: `params.pt`, overwritten; `"gap"`: `itr_N.pt`
            in every `snapshot_gap`-th iteration; `"gap_and_last"`: both; `"gap_overwrite"`: `params.pt` in every
            `snapshot_gap`-th iteration; `"none"`: no file.
        snapshot_gap: iterations from one snapshot to the next.

    Raises:
        TypeError: `snapshot_gap` is no int.
        ValueError: an unknown mode, or a gap that does not fit it.
    """

    def __init__(
        self,
        snapshot_dir: str | os.PathLike[str] = "data/local/experiment",
        snapshot_mode: str = "last",
        snapshot_gap: int = 1,
    ) -> None:
        check_snapshot_mode(snapshot_mode, snapshot_gap)
        self._dir = Path(snapshot_dir)
        self._mode = snapshot_mode
        self._gap = snapshot_gap
        self._dir.mkdir(parents=True, exist_ok=True)

    @property
    def snapshot_dir(self) -> str:
        """Where the files go."""
        return str(self._dir)

    @property
    def snapshot_mode(self) -> str:
        """One of `SNAPSHOT_MODES`."""
        return self._mode

    @property
    def snapshot_gap(self) -> int:
        """Iterations from one snapshot to the next."""
        return self._gap

    def file_names(self, itr: int) -> tuple[str, ...]:
        """Returns the names of the files that iteration `itr` writes; none where it writes nothing."""
        numbered = f"itr_{itr}.pt"
        in_gap = itr % self._gap == 0
        return {
            "all": (numbered,),
            "last": (_LAST,),
            "gap": (numbered,) if in_gap else (),
            "gap_and_last": (numbered, _LAST) if in_gap else (_LAST,),
            "gap_overwrite": (_LAST,) if in_gap else (),
            "none": (),
        }[self._mode]

    def save_itr_params(self, itr: int, params: Mapping[str, Any]) -> None:
        """Writes the snapshot of an iteration, if the mode asks for one.

        Args:
            itr: number of the iteration, from 0.
            params: tensors, arrays, numbers, strings, None, and lists, tuples and dictionaries of them.

        Raises:
            TypeError: `params` holds something else; nothing is written.
            TrainingError: a file cannot be written, for example because the disk is full; the older one stays.
        """
        names = self.file_names(itr)
        if not names:
            return
        buffer = io.BytesIO()
        torch.save({_KEY: _FORMAT, "content": to_plain(dict(params), "params")}, buffer)
        for name in names:
            _write(self._dir / name, buffer.getbuffer())

    def load(self, load_dir: str | os.PathLike[str], itr: int | str = "last") -> dict[str, Any]:
        """Reads a snapshot; see `load_snapshot`."""
        return load_snapshot(load_dir, itr)


def check_snapshot_mode(mode: str, gap: int) -> None:
    """Refuses modes that do not exist and gaps that do not fit.

    Raises:
        TypeError: `gap` is no int.
        ValueError: an unknown mode, or a gap that does not fit it.
    """
    if mode not in SNAPSHOT_MODES:
        raise ValueError(f"unknown snapshot mode {mode!r}; the modes are {', '.join(SNAPSHOT_MODES)}")
    if isinstance(gap, bool) or not isinstance(gap, int):
        raise TypeError(f"snapshot_gap must be an int, not {gap!r}")
    if gap < 1:
        raise ValueError(f"snapshot_gap must be at least 1, not {gap}")
    if mode == "last" and gap != 1:
        raise ValueError(f'snapshot_mode="last" has no gap ({gap} was given); did you mean snapshot_mode="gap"?')
    if mode == "gap_overwrite" and gap == 1:
        raise ValueError('snapshot_mode="gap_overwrite" needs a gap above 1; snapshot_mode="last" writes every time')


def find_snapshot(load_dir: str | os.PathLike[str], itr: int | str = "last") -> Path:
    """Returns the file of a snapshot.

    Args:
        load_dir: a folder that a `Snapshotter` wrote to.
        itr: an iteration, as int or as text; `"last"`: `params.pt` where there is one, else the largest iteration;
            `"first"`: the smallest iteration where there is one, else `params.pt`.

    Raises:
        SnapshotNotFoundError: there is no such snapshot.
        ValueError: `itr` is something else.
    """
    folder = Path(load_dir)
    text = str(itr)
    if isinstance(itr, bool) or not (text in ("last", "first") or (text.isascii() and text.isdigit())):
        raise ValueError(f"the iteration of a snapshot is an integer from 0, 'last' or 'first', not {itr!r}")
    if not folder.is_dir():
        raise SnapshotNotFoundError(f"'{folder}' is no folder; give the folder with the snapshots")
    numbers = sorted(int(match[1]) for path in folder.iterdir() if (match := _NUMBERED.fullmatch(path.name)))
    has_last = (folder / _LAST).is_file()
    if not numbers and not has_last:
        raise SnapshotNotFoundError(f"'{folder}' holds no snapshot: neither {_LAST} nor itr_N.pt")
    if text == "last":
        return folder / (_LAST if has_last else f"itr_{numbers[-1]}.pt")
    if text == "first":
        return folder / (f"itr_{numbers[0]}.pt" if numbers else _LAST)
    if int(text) not in numbers:
        known = f"iterations {', '.join(map(str, numbers))}" if numbers else f"only {_LAST}"
        raise SnapshotNotFoundError(f"'{folder}' holds no snapshot of iteration {text}; there are {known}")
    return folder / f"itr_{int(text)}.pt"


def load_snapshot(load_dir: str | os.PathLike[str], itr: int | str = "last") -> dict[str, Any]:
    """Reads what `Snapshotter.save_itr_params` wrote. No code of the file is run.

    Args:
        load_dir: a folder that a `Snapshotter` wrote to.
        itr: which snapshot, see `find_snapshot`.

    Raises:
        SnapshotNotFoundError: there is no such snapshot.
        ArtifactError: the file is damaged, no snapshot of ganglion, or of a newer format.
        ValueError: `itr` is none of the values that `find_snapshot` takes.
    """
    path = find_snapshot(load_dir, itr)
    try:
        with warnings.catch_warnings():
            # torch warns when it meets a TorchScript archive; the message below says what to do.
            warnings.simplefilter("ignore")
            with opened(path) as file:
                document = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what its unpickler happens to meet
        raise ArtifactError(f"'{path}' is no readable snapshot; give another iteration: {error}") from error
    found = document.get(_KEY) if isinstance(document, dict) else None
    if type(found) is not int or found < 1:
        raise ArtifactError(f"'{path}' is no snapshot of ganglion")
    if found > _FORMAT:
        raise ArtifactError(
            f"'{path}': snapshot format {found} is newer than {_FORMAT}, the newest that this version of ganglion "
            "reads; install a newer ganglion"
        )
    content = document.get("content")
    if not isinstance(content, dict):
        raise ArtifactError(f"'{path}': damaged snapshot: its content is no dictionary")
    result: dict[str, Any] = from_plain(content)
    return result


def _write(path: Path, data: memoryview) -> None:
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        kept = "the older one is as it was" if path.exists() else "nothing was left behind"
        raise TrainingError(
            f"cannot write the snapshot '{path}': {error.strerror or error}; {kept}. Make room, restore() and resume()"
        ) from error
