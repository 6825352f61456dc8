"""What every way to step a policy is, and one trajectory through one of them."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ganglion._foundation.files import read_file
from ganglion._foundation.sentences import first_line
from ganglion.errors import ArtifactError, GanglionError, StepError
from ganglion.runtime.policy import explain_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ganglion._foundation.files import ReadFile
    from ganglion.contract import Contract
    from ganglion.verify.trajectory import Trajectory

    Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Run:
    """What one implementation answered along a trajectory.

    Attributes:
        name: which implementation, in words.
        outputs: by name of the output, `[steps, batch, size]`, float32; some may be missing, the action never.
        state: `[steps, batch, hidden_size]` after each step, or None where the implementation hides its state.
        failure: why the run stopped early, or None; steps that were not reached hold NaN.
        engine: what calculated it, in words: two runs of one file on one engine agree by themselves.
        file: the file that was run where it is another than the one that is verified.
    """

    name: str
    outputs: Mapping[str, Floats]
    state: Floats | None
    failure: str | None = None
    engine: str = ""
    file: str = ""


def tensors_of(run: Run) -> Mapping[str, Floats]:
    """Outputs by name, and `"state"`."""
    return run.outputs if run.state is None else {**run.outputs, "state": run.state}


def file_of(path: Path, contract: Contract) -> ReadFile:
    """The file, read once more: the one that `contract` is of, or an error.

    Raises:
        ArtifactError: it cannot be read, or is another one by now.
    """
    file = read_file(path)
    if contract.sha256 is not None and explain_file(file).contract != contract:
        raise ArtifactError(f"{path}: the file was replaced while it was verified; verify it again")
    return file


class Stepper(Protocol):
    """One implementation of a policy, ready to step; it owns its state and starts from the initial one."""

    @property
    def name(self) -> str:
        """Which implementation, in words."""

    @property
    def engine(self) -> str:
        """What calculates, in words."""

    @property
    def action_only(self) -> bool:
        """Whether `step` gives only the first output."""

    def reset(self, rows: NDArray[np.bool_]) -> None:
        """Restores the initial state of the rows that are set in `rows [batch]`."""

    def step(self, observation: Floats) -> tuple[Sequence[Floats], Floats | None]:
        """Takes `observation [batch, n]`; returns the outputs `[batch, size]` and the state `[batch, hidden_size]`."""


class Running:
    """A run that goes on block after block.

    Args:
        stepper: the implementation, fresh.
        contract: names and sizes of the outputs.
        trajectory: gives the resets.
        tick: called with the number of steps done, now and then.
        rows: how many rows the implementation takes, the first of the trajectory; None for all.
        precision: of what is kept.
    """

    def __init__(
        self,
        stepper: Stepper,
        contract: Contract,
        trajectory: Trajectory,
        tick: Callable[[int], None] | None = None,
        rows: int | None = None,
        precision: type[np.floating[Any]] = np.float32,
    ) -> None:
        self._stepper, self._tick = stepper, tick
        self._reset = trajectory.reset[:, :rows]
        shape = self._reset.shape
        specs = contract.outputs[:1] if stepper.action_only else contract.outputs
        self._outputs = {spec.name: np.full((*shape, spec.size), np.nan, dtype=precision) for spec in specs}
        self._state: Floats | None = np.full((*shape, contract.hidden_size), np.nan, dtype=precision)
        self._step = 0
        self._failure: str | None = None

    def go_on(self, observation: Floats) -> None:
        """Runs the next steps.

        Args:
            observation: `[some, batch, observation_size]`.

        Raises:
            ArtifactError: an answer does not have the shape that the contract states.
            GanglionError: a step raised; a step that the C++ runtime refuses is no error but a `Run.failure`.
        """
        for given in observation[:, : self._reset.shape[1]]:
            if self._failure is not None:
                return
            try:
                self._one_step(given)
            except StepError as error:
                self._failure = f"step {self._step} was refused: {error}"
            self._step += 1
            if self._tick is not None and (self._step % 50 == 0 or self._step == len(self._reset)):
                self._tick(self._step)

    def done(self) -> Run:
        """What was answered."""
        stepper = self._stepper
        return Run(stepper.name, self._outputs, self._state, self._failure, stepper.engine)

    def _one_step(self, observation: Floats) -> None:
        stepper, reset = self._stepper, self._reset[self._step]
        try:
            if reset.any():
                stepper.reset(reset)
            found, new_state = stepper.step(observation)
        except GanglionError:
            raise
        except Exception as error:  # whatever the policy's own code or an engine raises
            raise GanglionError(
                f"{stepper.name}: step {self._step} raised {type(error).__name__}: {first_line(error)}"
            ) from error
        outputs = self._outputs
        if len(found) != len(outputs):
            raise ArtifactError(
                f"{stepper.name}: {len(found)} outputs, but the contract names {len(outputs)}: {', '.join(outputs)}"
            )
        for (name, kept), values in zip(outputs.items(), found, strict=True):
            _store(stepper.name, f"output '{name}'", kept, self._step, values)
        if new_state is None or self._state is None:
            self._state = None
        else:
            _store(stepper.name, "state", self._state, self._step, new_state)


def run(stepper: Stepper, contract: Contract, trajectory: Trajectory, tick: Callable[[int], None] | None = None) -> Run:
    """Runs a whole trajectory; see `Running`, also for what it raises."""
    running = Running(stepper, contract, trajectory, tick)
    for block in trajectory.blocks():
        running.go_on(block)
    return running.done()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Lets torch, where it is in use, compute on one thread: single steps are too small to share among several."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class FunctionalStepper:
    """Keeps the state of a pure step function `(observation, state) -> (outputs, state)`."""

    action_only = False

    def __init__(
        self,
        name: str,
        engine: str,
        initial: Floats,
        function: Callable[[Floats, Floats], tuple[Sequence[Floats], Floats]],
    ) -> None:
        self.name = name
        self.engine = engine
        self._initial = initial
        self._state = initial.copy()
        self._function = function

    def reset(self, rows: NDArray[np.bool_]) -> None:
        """Restores the initial state of the rows that are set."""
        self._state = np.where(rows[:, None], self._initial, self._state)

    def step(self, observation: Floats) -> tuple[Sequence[Floats], Floats | None]:
        """One step of all rows."""
        outputs, self._state = self._function(observation, self._state)
        return outputs, self._state


class RowsStepper:
    """Rows one after the other, each in an implementation of its own for one row.

    Args:
        rows: one for each row.
    """

    def __init__(self, rows: Sequence[Stepper]) -> None:
        self.name = rows[0].name
        self.engine = rows[0].engine
        self.action_only = rows[0].action_only
        self._rows = rows

    def reset(self, rows: NDArray[np.bool_]) -> None:
        """Restores the initial state of the rows that are set."""
        for stepper, wanted in zip(self._rows, rows, strict=True):
            if wanted:
                stepper.reset(np.ones(1, np.bool_))

    def step(self, observation: Floats) -> tuple[Sequence[Floats], Floats | None]:
        """One step of all rows."""
        done = [stepper.step(row[None]) for stepper, row in zip(self._rows, observation, strict=True)]
        outputs, states = zip(*done, strict=True)
        known = [state for state in states if state is not None]
        state = np.concatenate(known) if len(known) == len(states) else None
        return [np.concatenate(column) for column in zip(*outputs, strict=True)], state


def initial_state(contract: Contract, batch: int) -> Floats:
    """`[batch, hidden_size]` of a file."""
    return np.tile(np.asarray(contract.initial_state, dtype=np.float32), (batch, 1))


def _store(who: str, what: str, kept: Floats, step: int, values: Floats) -> None:
    if values.shape != kept.shape[1:]:
        raise ArtifactError(
            f"{who}: {what} has shape {list(values.shape)}; the contract and the batch say {list(kept.shape[1:])}"
        )
    kept[step] = values


def to_numpy(tensor: Any, precision: type[np.floating[Any]] = np.float32) -> Floats:
    """A copy of a tensor of torch, in float32 or another precision."""
    array: Floats = tensor.detach().numpy().astype(precision, copy=True)
    return array
