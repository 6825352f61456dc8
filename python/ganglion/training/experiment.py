"""Experiments: a function whose every call gets a folder of its own, with all that is needed to know what ran."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np

from ganglion._foundation.files import replacing
from ganglion.training.launch_archive import archive_launch_repo, describe_launch
from ganglion.training.logger import ExperimentLogger
from ganglion.training.snapshotter import check_snapshot_mode

if TYPE_CHECKING:
    import os

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class ExperimentContext:
    """What an experiment knows of itself; the first argument, `ctxt`, of a function in `wrap_experiment`.

    Attributes:
        snapshot_dir: folder of this run.
        snapshot_mode: see `Snapshotter`.
        snapshot_gap: see `Snapshotter`.
        logger: where a `Trainer` reports to; by default nowhere.

    Raises:
        TypeError: `snapshot_gap` is no int.
        ValueError: an unknown snapshot mode, or a gap that does not fit it.
    """

    snapshot_dir: str
    snapshot_mode: str = "last"
    snapshot_gap: int = 1
    logger: ExperimentLogger = field(default_factory=ExperimentLogger, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_snapshot_mode(self.snapshot_mode, self.snapshot_gap)


@dataclass(frozen=True)
class _Options:
    """The options of `wrap_experiment`."""

    log_dir: str | os.PathLike[str] | None = None
    prefix: str = "experiment"
    name: str | None = None
    snapshot_mode: str = "last"
    snapshot_gap: int = 1
    archive_launch_repo: bool = True
    name_parameters: str | None = None
    use_existing_dir: bool = False
    x_axis: str = "TotalEnvSteps"

    def __post_init__(self) -> None:
        check_snapshot_mode(self.snapshot_mode, self.snapshot_gap)
        if self.name_parameters not in (None, "passed", "all"):
            raise ValueError(
                f'wrap_experiment: name_parameters must be None, "passed" or "all", not {self.name_parameters!r}'
            )

    def replaced(self, changes: Mapping[str, Any]) -> _Options:
        known = self.__dict__
        if unknown := [key for key in changes if key not in known]:
            raise ValueError(f"wrap_experiment has no option {unknown[0]!r}; its options are {', '.join(known)}")
        return _Options(**{**known, **changes})


@overload
def wrap_experiment(function: Callable[..., _Result]) -> Callable[..., _Result]: ...


@overload
def wrap_experiment(
    function: None = None,
    *,
    log_dir: str | os.PathLike[str] | None = None,
    prefix: str = "experiment",
    name: str | None = None,
    snapshot_mode: str = "last",
    snapshot_gap: int = 1,
    archive_launch_repo: bool = True,
    name_parameters: str | None = None,
    use_existing_dir: bool = False,
    x_axis: str = "TotalEnvSteps",
) -> Callable[[Callable[..., _Result]], Callable[..., _Result]]: ...


def wrap_experiment(function: Any = None, **options: Any) -> Any:
    """Makes an experiment of a function, with or without options: `@wrap_experiment`, `@wrap_experiment(name="x")`.

    Every call makes a folder, `<working directory>/data/local/<prefix>/<name>`, and hands the function an
    `ExperimentContext` as its first argument, `ctxt`. The folder gets `variant.json` (the arguments of the call),
    `metadata.json` (script and commit), `progress.csv`, `debug.log`, TensorBoard's event files, snapshots, and
    `launch_archive.tar.xz`, the repository of the script. If the folder exists, `_1`, `_2`, ... is appended.

    The experiment takes keyword arguments only. One mapping may stand before them: options for that call alone.

    Args:
        function: the function; None when options are given.
        **options: by name:

            * `log_dir`: the folder, relative to the working directory or absolute; `prefix`, `name` and
              `name_parameters` are then without effect.
            * `prefix`: folder of a group of experiments, `"experiment"`.
            * `name`: name of the folder; by default that of the function.
            * `snapshot_mode`, `snapshot_gap`: see `Snapshotter`; `"last"` and 1.
            * `archive_launch_repo`: write the archive of the repository; True.
            * `name_parameters`: append `_key=value` to the name: `"passed"` for the arguments of the call, `"all"` also
              for those that have a default, in the order of the function's signature. None for neither.
            * `use_existing_dir`: write into the folder if it exists, instead of a new one; False.
            * `x_axis`: name of the scalar that is TensorBoard's step; `"TotalEnvSteps"`.

    Raises:
        TypeError: `snapshot_gap` is no int.
        ValueError: the function's first parameter is not called `ctxt`, an unknown option or snapshot mode, or, when it
            is called, a positional argument.
    """
    settings = _Options().replaced(options)
    return functools.partial(_decorate, settings) if function is None else _decorate(settings, function)


def _decorate(settings: _Options, *functions: Any, **others: Any) -> Callable[..., Any]:
    if len(functions) != 1 or others or not callable(functions[0]):
        raise ValueError("wrap_experiment: give it one function, and all options by name")
    function = functions[0]
    signature = inspect.signature(function)
    first = next(iter(signature.parameters), None)
    if first != "ctxt":
        found = "there is none" if first is None else f"it is '{first}'"
        raise ValueError(f"the first parameter of the experiment {function!r} must be called 'ctxt'; {found}")

    @functools.wraps(function)
    def experiment(*args: Any, **kwargs: Any) -> Any:
        if len(args) > 1 or not all(isinstance(arg, Mapping) for arg in args):
            raise ValueError(
                f"the experiment '{function.__name__}' takes keyword arguments only, and before them at most one "
                "mapping with options of wrap_experiment"
            )
        current = settings.replaced(args[0]) if args else settings
        return _run(function, signature, current, kwargs)

    experiment.__signature__ = _visible(signature)  # type: ignore[attr-defined]
    return experiment


def _run(function: Callable[..., Any], signature: inspect.Signature, options: _Options, kwargs: dict[str, Any]) -> Any:
    root = Path.cwd() / "data" / "local"
    if options.log_dir is not None:
        folder = Path(options.log_dir)
        root = folder
    else:
        name = function.__name__ if options.name is None else options.name
        folder = root / options.prefix / _full_name(name, signature, options.name_parameters, kwargs)
    folder = _made(folder, options.use_existing_dir)
    _write_json(folder / "variant.json", kwargs)
    _write_json(folder / "metadata.json", describe_launch())
    if options.archive_launch_repo:
        archive_launch_repo(folder, exclude=folder if options.log_dir is not None else root)
    logger = ExperimentLogger(folder, options.x_axis)
    context = ExperimentContext(str(folder), options.snapshot_mode, options.snapshot_gap, logger)
    try:
        with logger.prefix(f"[{folder.name}] "):
            logger.log(f"snapshots go to {folder}")
            return function(context, **kwargs)
    finally:
        logger.close()


def _visible(signature: inspect.Signature) -> inspect.Signature:
    """The signature of the experiment: no `ctxt`, all parameters by keyword only."""
    kinds = inspect.Parameter
    parameters = [
        parameter
        if parameter.kind in (kinds.VAR_KEYWORD, kinds.VAR_POSITIONAL)
        else parameter.replace(kind=kinds.KEYWORD_ONLY)
        for parameter in list(signature.parameters.values())[1:]
        if parameter.kind is not kinds.VAR_POSITIONAL
    ]
    return signature.replace(parameters=parameters)


def _full_name(name: str, signature: inspect.Signature, name_parameters: str | None, kwargs: Mapping[str, Any]) -> str:
    values = {}
    for key, parameter in list(signature.parameters.items())[1:]:
        if key in kwargs:
            values[key] = kwargs[key]
        elif name_parameters == "all" and parameter.default is not inspect.Parameter.empty:
            values[key] = parameter.default
    # Arguments that the function takes as **kwargs have no place in the signature; they come last.
    values |= {key: value for key, value in kwargs.items() if key not in values}
    parts = [f"{key}={value}" for key, value in values.items()] if name_parameters is not None else []
    full = "_".join([name, *parts])
    if ".." in PurePath(full).parts or PurePath(full).is_absolute():
        raise ValueError(f"wrap_experiment: the name {full!r} leads out of the folder of the experiments")
    return full


def _made(folder: Path, use_existing: bool) -> Path:
    """Makes the folder, or the first of `folder_1`, `folder_2`, ... that does not exist."""
    number = 0
    while True:
        candidate = folder.with_name(f"{folder.name}_{number}") if number else folder
        try:
            candidate.mkdir(parents=True, exist_ok=use_existing)
        except FileExistsError:
            if use_existing:  # then it is a file
                raise
            number += 1
        else:
            return candidate


def _write_json(path: Path, value: Any) -> None:
    text = json.dumps(value, indent=2, default=_as_json, skipkeys=True)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _as_json(value: Any) -> Any:
    """What stands in `variant.json` for a value that JSON does not have."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, PurePath):
        return str(value)
    name = getattr(value, "__qualname__", None)
    return repr(value) if name is None else f"{getattr(value, '__module__', '')}.{name}"
