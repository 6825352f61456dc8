"""Finds the policy that a command line names: in a Python file, a module, a checkpoint, or a training run."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganglion.contract import Contract
from ganglion.errors import ArtifactError, EngineUnavailableError, GanglionError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from types import ModuleType

    from ganglion.policies import RecurrentPolicy

_DEFAULT_ATTRIBUTES = ("policy", "load_policy")
_SNAPSHOT_FILE = re.compile(r"params\.pt|itr_([0-9]+)\.pt")
_MODULE_ATTRIBUTE = re.compile(r"([^\W\d]\w*(?:\.[^\W\d]\w*)*):([^\W\d]\w*)")


@dataclass(frozen=True)
class Source:
    """A policy and, where its source states one, the contract to export it with."""

    policy: RecurrentPolicy
    contract: Contract | None


def load_source(text: str, itr: str | None = None) -> Source:
    """Loads the policy that `text` names.

    Args:
        text: one of
            `file.py` or `file.py:attribute`: the file is run like an import (its `__name__` is not `"__main__"`),
            with its folder on `sys.path`; the attribute, `policy` or `load_policy` by default, is the policy, a
            pair (policy, contract), or a function without arguments that returns one of these. An attribute
            `contract` of the file is used as the contract where it is a `Contract`;
            `module:attribute`: the same for an importable module;
            a folder of snapshots of a training run, or one of the snapshots in it: the policy that was trained;
            any other file: a checkpoint written by `ganglion.policies.checkpoint.save_checkpoint`.
        itr: which snapshot of the folder: a number, `"last"` (where None) or `"first"`.

    Raises:
        ArtifactError: no such file, it is no checkpoint, or the folder holds no such snapshot or none with a policy.
        EngineUnavailableError: torch or gymnasium is not installed.
        GanglionError: the source raised, or what it names is no policy.
        ValueError: `itr` is given for something else than a folder.
    """
    _need_torch()
    if Path(text).is_dir():
        return _from_snapshot(text, itr or "last")
    if itr is not None:
        raise ValueError(f"--itr goes with a folder of snapshots; '{text}' is none")
    snapshot = _SNAPSHOT_FILE.fullmatch(Path(text).name)
    if snapshot is not None and Path(text).is_file():
        return _from_snapshot(str(Path(text).parent), snapshot[1] or "last")
    file, colon, attribute = text.rpartition(":") if not text.endswith(".py") else (text, "", "")
    if file.endswith(".py") and (not colon or attribute.isidentifier()):
        return _from_module(_run_file(Path(file)), file, attribute)
    match = _MODULE_ATTRIBUTE.fullmatch(text)
    if match is not None and not Path(text).exists():
        module = _guarded(text, lambda: _import_module(match[1]))
        return _from_module(module, match[1], match[2])
    from ganglion.policies.checkpoint import load_checkpoint

    return Source(load_checkpoint(text), None)


def source_of(arguments: argparse.Namespace) -> Source:
    """Loads the policy that the options of `ganglion export` name: `SOURCE`, `--itr`, `--from` and what goes with it.

    Raises:
        GanglionError: as `load_source`, or the `load` of the trainer's adapter.
        ValueError: options do not fit together.
    """
    if arguments.trainer is not None and arguments.itr is not None:
        raise ValueError("--itr goes with a folder of snapshots, not with --from")
    return _of_trainer_or_ours(arguments, arguments.source, arguments.itr)


def references_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """What `--policy` names, each under its name: files to run as their paths, all else as the policy.

    `--from` says whose checkpoints those are that are no files to run.

    Raises:
        GanglionError: see `source_of`.
        ValueError: options do not fit together.
    """
    from ganglion.verify.contenders import is_policy_file

    texts = arguments.policy or []
    if not texts and (arguments.trainer is not None or _trainer_options(arguments)):
        raise ValueError("--from TRAINER and its options go with --policy")
    return {
        text: text if Path(text).is_file() and is_policy_file(text) else _of_trainer_or_ours(arguments, text).policy
        for text in texts
    }


def _trainer_options(arguments: argparse.Namespace) -> bool:
    return bool(arguments.config or arguments.vecnormalize or arguments.allow_pickle or arguments.set)


def _of_trainer_or_ours(arguments: argparse.Namespace, text: str, itr: str | None = None) -> Source:
    if arguments.trainer is not None:
        from ganglion.cli.trainers import load_checkpoint_of

        policy = load_checkpoint_of(
            arguments.trainer,
            text,
            arguments.set or (),
            config=arguments.config,
            vecnormalize=arguments.vecnormalize,
            allow_pickle=arguments.allow_pickle,
        )
        return Source(policy, None)
    if _trainer_options(arguments):
        raise ValueError("--config, --vecnormalize, --allow-pickle and --set go with --from TRAINER")
    return load_source(text, itr)


def _from_snapshot(folder: str, itr: str) -> Source:
    from ganglion.training import load_policy

    return Source(load_policy(folder, itr), None)


def _need_torch() -> None:
    try:
        import gymnasium  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise EngineUnavailableError(f"a Python policy needs '{error.name}': pip install 'ganglion[torch]'") from error


def _import_module(name: str) -> ModuleType:
    # As with `python -m`: what lies in the current folder can be imported.
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    return importlib.import_module(name)


def _run_file(file: Path) -> ModuleType:
    if not file.is_file():
        raise ArtifactError(f"{file}: no such Python file")
    file = file.resolve()
    if str(file.parent) not in sys.path:
        sys.path.insert(0, str(file.parent))
    # Not the bare stem: a file `torch.py` must not take the place of torch.
    name = f"ganglion_source_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise GanglionError(f"{file}: cannot be run as Python")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and pickles look their module up by name.
    sys.modules[name] = module
    loader = spec.loader
    _guarded(str(file), lambda: loader.exec_module(module))
    return module


def _from_module(module: ModuleType, where: str, attribute: str) -> Source:
    name = attribute or next((name for name in _DEFAULT_ATTRIBUTES if hasattr(module, name)), "")
    if not name or not hasattr(module, name):
        wanted = f"'{name}'" if name else " or ".join(f"'{default}'" for default in _DEFAULT_ATTRIBUTES)
        raise GanglionError(f"{where}: no attribute {wanted}; name another one as {where}:attribute")
    from ganglion.policies import RecurrentPolicy
    from ganglion.policies.skrl.policy import is_skrl_model, recurrent

    value: Any = getattr(module, name)
    if callable(value) and not isinstance(value, RecurrentPolicy) and not is_skrl_model(value):
        value = _guarded(f"{where}:{name}", value)
    policy, contract = value if isinstance(value, tuple) and len(value) == 2 else (value, None)
    policy = recurrent(policy)
    if not isinstance(policy, RecurrentPolicy):
        raise GanglionError(f"{where}:{name} is a {type(policy).__name__}, not a policy (a RecurrentPolicy)")
    if contract is None:
        stated = getattr(module, "contract", None)
        contract = stated if isinstance(stated, Contract) else None
    elif not isinstance(contract, Contract):
        raise GanglionError(f"{where}:{name} gives a {type(contract).__name__} beside the policy, not a Contract")
    return Source(policy, contract)


def _guarded(where: str, call: Callable[[], Any]) -> Any:
    """Calls foreign code; whatever it raises becomes one sentence that names the line."""
    try:
        return call()
    except GanglionError:
        raise
    except (Exception, SystemExit) as error:
        # The import machinery's own lines say nothing.
        frames = [one for one in traceback.extract_tb(error.__traceback__) if not one.filename.startswith("<frozen")]
        line = f", line {frames[-1].lineno} of {Path(frames[-1].filename).name}" if frames else ""
        raise GanglionError(f"{where} raised {type(error).__name__}: {error}{line}") from error
