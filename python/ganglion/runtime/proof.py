"""The proof at the end of every export: the C++ runtime loads the very file and replays its golden run.

What a load would refuse never gets the name that was asked for, and an older file of that name stays as it was.
"""

from __future__ import annotations

import contextlib
import warnings
from typing import TYPE_CHECKING

from ganglion._foundation.targets import replacing
from ganglion.errors import EngineUnavailableError, ExportError, GanglionError, ParityError
from ganglion.runtime.policy import inspect, load

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ganglion.contract import Contract
    from ganglion.runtime.engines import EngineName

_KEPT = "Nothing was written"


@contextlib.contextmanager
def proven(
    path: Path, contract: Contract, *, engine: EngineName = "automatic", rows: Sequence[int] | None = None
) -> Iterator[Path]:
    """Yields a temporary name beside `path`; what is written there becomes `path` once it is proven.

    Args:
        path: target.
        contract: what the file says of itself, with a golden trajectory.
        engine: see `prove`.
        rows: see `prove`.

    Raises:
        ExportError: the file system refused, or see `prove`.
        EngineUnavailableError: the engine is not installed.
    """
    with replacing(path) as temporary:
        yield temporary
        prove(temporary, contract, what=f"'{path.name}'", engine=engine, rows=rows)


def other_rows(contract: Contract) -> tuple[int, int] | None:
    """Rows to prove a graph with that takes any number: others than were traced, so that one which computed with their
    number is found out. None for a graph that has a number.
    """
    golden = contract.golden
    return None if contract.batch or golden is None else (1, golden.rows + 1)


def prove(
    file: Path,
    contract: Contract,
    *,
    what: str,
    engine: EngineName = "automatic",
    rows: Sequence[int] | None = None,
) -> None:
    """Loads a file in the C++ runtime as `ganglion.load` does, and replays its golden trajectory.

    Args:
        file: the file, complete.
        contract: what it says of itself.
        what: what it is, in words.
        engine: what runs it.
        rows: how many rows a step takes, each in a run of its own; None for those of the contract or, where it takes
            any number, those of the golden trajectory.

    Raises:
        ExportError: a load would refuse the file; says why.
        EngineUnavailableError: the engine is not installed.
    """
    if rows is None:
        rows = (contract.batch or (1 if contract.golden is None else contract.golden.rows),)
    for count in rows:
        # What is suspicious about it its maker says, and not of a name that is gone afterwards.
        with _refusals(file, what), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            try:
                pilot = load(file, engine=engine, warmup_steps=0, batch=count)
            except ParityError as error:
                raise ExportError(f"{what} {_difference(error, contract)}. {_KEPT}") from error
        _check_contract(pilot.contract, contract, what)


def prove_readable(file: Path, contract: Contract, *, what: str) -> None:
    """Reads a file in the C++ runtime as far as that needs no engine: container, contract, digest.

    Args:
        file: see `prove`.
        contract: see `prove`.
        what: see `prove`.

    Raises:
        ExportError: see `prove`.
    """
    with _refusals(file, what):
        found = inspect(file)
    _check_contract(found, contract, what)


@contextlib.contextmanager
def _refusals(file: Path, what: str) -> Iterator[None]:
    try:
        yield
    except (EngineUnavailableError, ExportError):
        raise
    except GanglionError as error:
        reason = str(error).replace(f"'{file}': ", "")
        raise ExportError(f"the C++ runtime refuses {what} as it would be: {reason}. {_KEPT}") from error


def _check_contract(found: Contract, contract: Contract, what: str) -> None:
    # Not the whole: what is float32 in C++ may have been written with more digits.
    if found.sha256 != contract.sha256:
        raise ExportError(f"{what}: the contract cannot be read back from the file. {_KEPT}")


def _difference(error: ParityError, contract: Contract) -> str:
    test = error.report
    if test.step == test.steps:  # that step was refused
        return f"fails in the C++ runtime: {test.message}"
    return (
        f"differs from the Python policy or the file that it was made from, in the C++ runtime: first at step "
        f"{test.step}, row {test.row}, {contract.output_place(test.element)}: the largest difference anywhere is "
        f"{test.max_error:.3g}, the tolerance {test.tolerance:.3g}"
    )
