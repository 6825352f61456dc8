"""What runs along a trajectory: the file on every engine that opens it, and what it is compared with."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion import runtime
from ganglion._foundation.files import is_torchscript, read_file
from ganglion.compiler.signature import stored_contract
from ganglion.errors import ArtifactError, EngineUnavailableError, GanglionError
from ganglion.reading.leapp import is_bundle
from ganglion.verify.report import NotRun
from ganglion.verify.steppers import compiled, file_steppers
from ganglion.verify.steppers.base import RowsStepper, Run, Running
from ganglion.verify.steppers.policy import policy_stepper
from ganglion.verify.steppers.runtime import RuntimeStepper

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping

    from ganglion.contract import Contract
    from ganglion.verify.steppers.base import Stepper
    from ganglion.verify.trajectory import Trajectory


@dataclass(frozen=True)
class Hints:
    """What is said of a file without a contract, and whether it may be run; see `ganglion.load`."""

    state: Mapping[str, str] | None = None
    action: str | None = None
    observation: int | Mapping[str, int] | None = None
    trust: bool = False

    def named(self) -> dict[str, Any]:
        """As arguments of `ganglion.load`."""
        return {"state": self.state, "action": self.action, "observation": self.observation, "trust": self.trust}


@dataclass(frozen=True)
class Contender:
    """One implementation, ready to run.

    Attributes:
        stepper: steps it.
        contract: names and sizes of what it gives.
        name: which implementation, in words.
        file: the file that it runs where it is another than the one that is verified.
        rows: how many rows it takes, the first of the trajectory; None for all.
        precision: what it calculates in.
    """

    stepper: Stepper
    contract: Contract
    name: str
    file: str = ""
    rows: int | None = None
    precision: type[np.floating[Any]] = np.float32

    def start(self, trajectory: Trajectory, tick: Callable[[int], None] | None = None) -> Running:
        """Begins a run."""
        return Running(self.stepper, self.contract, trajectory, tick, self.rows, self.precision)

    def finish(self, running: Running, contract: Contract) -> Run:
        """The run with the names of the file that is verified."""
        run = running.done()
        outputs = {own.name: run.outputs[own.name] for own in self.contract.outputs if own.name in run.outputs}
        action = outputs.pop(self.contract.outputs[0].name)
        sizes = {spec.name: spec.size for spec in contract.outputs[1:]}
        others = {name: values for name, values in outputs.items() if sizes.get(name) == values.shape[-1]}
        return dataclasses.replace(
            run,
            name=self.name,
            file=self.file,
            outputs={contract.outputs[0].name: action, **others},
            # The same slots elsewhere, or others: numbers side by side would say nothing.
            state=run.state if _slots(self.contract) == _slots(contract) else None,
        )


def _slots(contract: Contract) -> list[tuple[str, int]]:
    return [(slot.name, slot.size) for slot in contract.state]


def engines_of(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Engines of the C++ runtime that run a file, or what it is compiled to; the automatic one first."""
    able: tuple[str, ...] = runtime.engines_for(path)
    return (*able, compiled.ENGINE) if "libtorch" in able else able


def of_file(
    path: Path, contract: Contract, hints: Hints, *, engines: Iterable[str] | None, batch: int
) -> tuple[list[Contender], list[NotRun]]:
    """The file in its own Python engine, then in the C++ runtime on its engines; and which of them cannot run it.

    Args:
        path: the file.
        contract: its contract.
        hints: what is said of it.
        engines: those that must run; None for all that can.
        batch: number of rows.

    Raises:
        EngineUnavailableError: an engine in `engines` is not usable.
        GanglionError: the file is not run by the engine that fits it, or by one in `engines`.
        ValueError: one in `engines` does not open such files.
    """
    able = engines_of(path)
    asked = set(able if engines is None else engines)
    if not asked <= set(able):
        raise ValueError(f"engine '{min(asked - set(able))}' does not open {path}; {', '.join(able)} does")
    not_run: list[NotRun] = []
    found: list[Contender] = []
    try:
        steppers = file_steppers(path, contract, batch=batch, state=hints.state, action=hints.action, trust=hints.trust)
        found += [Contender(stepper, contract, stepper.name) for stepper in steppers]
    except EngineUnavailableError as error:
        not_run.append(NotRun("the file in Python", str(error)))
    for engine in able:
        if engine not in asked:
            continue
        try:
            found.append(_in_the_runtime(path, engine, hints, batch))
        except GanglionError as error:
            # What the file is made for must run it; another engine may not know what is in it.
            if engines is not None or (engine == able[0] and not isinstance(error, EngineUnavailableError)):
                raise
            not_run.append(NotRun(f"C++ {engine}", str(error)))
    return found, not_run


def as_loaded(path: Path, contract: Contract, hints: Hints) -> Contender | Run | None:
    """A file for any number of rows with the one row that `ganglion.load` takes where nothing is said.

    A graph may call its batch dynamic and have been traced with a number of rows: then that is what the run says. None
    where the engine is not installed.
    """
    engine = runtime.engines_for(path)[0]
    name = f"C++ {engine}, 1 row"
    try:
        stepper = RuntimeStepper(path, engine=engine, batch=None, **hints.named())
    except EngineUnavailableError:
        return None
    except GanglionError as error:
        return Run(name, {}, None, str(error), engine)
    return Contender(stepper, contract, name, rows=1)


def _in_the_runtime(path: Path, engine: str, hints: Hints, batch: int) -> Contender:
    if engine in runtime.engines_for(path):
        stepper = RuntimeStepper(path, engine=engine, batch=batch, **hints.named())
        return Contender(stepper, stepper.contract, stepper.name)
    made, contract = compiled.torchscript_stepper(
        path, batch=batch, state=hints.state, observation=hints.observation, trust=hints.trust
    )
    return Contender(made, contract, made.name)


@dataclass(frozen=True)
class Reference:
    """What a file is compared with: a Python policy, or another file.

    Attributes:
        name: what to call it, or empty.
        policy: the policy, or None.
        path: the file, or None.
        contract: of that file.
    """

    name: str
    policy: Any | None = None
    path: Path | None = None
    contract: Contract | None = None

    @property
    def batch(self) -> int | None:
        """Rows that it is made for; None for any number."""
        return None if self.contract is None else self.contract.batch


def is_policy_file(path: str | os.PathLike[str]) -> bool:
    """Whether a path names something to run, an `.onnx`, `.ganglion` or TorchScript file, and not a checkpoint."""
    able = runtime.engines_for(path)
    return bool(able and Path(path).suffix) and ("libtorch" not in able or is_torchscript(path))


def reference_of(given: Any, name: str, path: Path, contract: Contract, *, trust: bool) -> Reference:
    """What a user names as a reference.

    Args:
        given: a policy, a skrl model, or the path of a file or of a checkpoint of `save_checkpoint`.
        name: what to call it, or empty.
        path: the file that is verified.
        contract: its contract.
        trust: see `ganglion.load`.

    Raises:
        ArtifactError: it cannot be read, is the very file that is verified, or has other sizes.
    """
    if not isinstance(given, (str, Path)) and not hasattr(given, "__fspath__"):
        return _of_policy(given, name, path, contract)
    other = Path(given)
    name = name or str(other)
    if not is_policy_file(other):
        from ganglion.policies.checkpoint import load_checkpoint

        return _of_policy(load_checkpoint(other), name, path, contract)
    if read_file(other).data == read_file(path).data:
        raise ArtifactError(
            f"nothing was compared: {other} is {path} itself, byte for byte; give the policy or another file of it, or "
            "leave it out, and every engine that opens the file is compared"
        )
    own = _contract_of(other, trust=trust)
    pairs = (
        ("observation", own.observation_size, contract.observation_size),
        ("action", own.action_size, contract.action_size),
    )
    _check_sizes(path, f"the policy of {other}", "there", pairs)
    return Reference(name, path=other, contract=own)


def _contract_of(path: Path, *, trust: bool) -> Contract:
    if not is_bundle(path):
        return runtime.explain(path, trust=trust).contract
    from ganglion.adapters import leapp

    contract = stored_contract(leapp.to_onnx(path, trust=trust))
    assert contract is not None
    return contract


def of_reference(reference: Reference, contract: Contract, *, batch: int, trust: bool) -> Contender:
    """Makes a reference ready to run: a policy in torch, a file in its own Python engine or, without it, in C++.

    Raises:
        EngineUnavailableError: no engine of the file is installed.
        ArtifactError: the file cannot be run.
    """
    if reference.path is None or reference.contract is None:
        stepper = policy_stepper(reference.policy, batch=batch)
        return Contender(stepper, contract, reference.name or stepper.name)
    path, own = reference.path, reference.contract
    parts = batch if own.batch == 1 else 1
    found = [_one_of(path, own, batch=batch // parts, trust=trust) for _ in range(parts)]
    stepper = found[0] if parts == 1 else RowsStepper(found)
    return Contender(stepper, own, f"{reference.name}, {stepper.name}", file=str(path))


def _one_of(path: Path, contract: Contract, *, batch: int, trust: bool) -> Stepper:
    try:
        return file_steppers(path, contract, batch=batch, trust=trust)[0]
    except EngineUnavailableError:
        return RuntimeStepper(path, engine=runtime.engines_for(path)[0], batch=batch, trust=trust)


def _of_policy(policy: Any, name: str, path: Path, contract: Contract) -> Reference:
    from ganglion.policies import RecurrentPolicy
    from ganglion.policies.skrl.policy import recurrent

    policy = recurrent(policy)
    if not isinstance(policy, RecurrentPolicy):
        raise TypeError(
            "a reference is a policy (a RecurrentPolicy, a skrl model) or the path of a file, not "
            f"{type(policy).__name__}"
        )
    pairs = (
        ("observation", sum(spec.size for spec in policy.input_specs), contract.observation_size),
        ("action", policy.output_specs[0].size, contract.action_size),
        ("output", sum(spec.size for spec in policy.output_specs), contract.output_size),
        ("hidden state", policy.hidden_size, contract.hidden_size),
    )
    _check_sizes(path, "this policy", "in the policy", pairs)
    return Reference(name, policy=policy)


def _check_sizes(path: Path, of_what: str, where: str, pairs: Iterable[tuple[str, int, int]]) -> None:
    for label, of_reference_, of_file_ in pairs:
        if of_reference_ != of_file_:
            raise ArtifactError(
                f"{path}: not a file of {of_what}: {label} has {of_reference_} elements {where} and {of_file_} in the "
                "file"
            )
