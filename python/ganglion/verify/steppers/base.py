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
    """

    name: str
    outputs: Mapping[str, Floats]
    state: Floats | None
    failure: str | None = None


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
    def action_only(self) -> bool:
        """Whether `step` gives only the first output."""

    def reset(self, rows: NDArray[np.bool_]) -> None:
        """Restores the initial state of the rows that are set in `rows [batch]`."""

    def step(self, observation: Floats) -> tuple[Sequence[Floats], Floats | None]:
        """Takes `observation [batch, n]`; returns the outputs `[batch, size]` and the state `[batch, hidden_size]`."""


def run(stepper: Stepper, contract: Contract, trajectory: Trajectory, tick: Callable[[int], None] | None = None) -> Run:
    """Runs a whole trajectory.

    Args:
        stepper: the implementation, fresh.
        contract: names and sizes of the outputs.
        trajectory: the observations and resets.
        tick: called with the number of steps done, now and then.

    Raises:
        ArtifactError: an answer does not have the shape that the contract states.
        GanglionError: a step raised; a step that the C++ runtime refuses is no error but a `Run.failure`.
    """
    shape = (trajectory.steps, trajectory.batch)
    specs = contract.outputs[:1] if stepper.action_only else contract.outputs
    outputs = {spec.name: np.full((*shape, spec.size), np.nan, dtype=np.float32) for spec in specs}
    state: Floats | None = np.full((*shape, contract.hidden_size), np.nan, dtype=np.float32)
    for step in range(trajectory.steps):
        try:
            if trajectory.reset[step].any():
                stepper.reset(trajectory.reset[step])
            found, new_state = stepper.step(trajectory.observation[step])
        except StepError as error:
            return Run(stepper.name, outputs, state, failure=f"step {step} was refused: {error}")
        except GanglionError:
            raise
        except Exception as error:  # whatever the policy's own code or an engine raises
            raise GanglionError(
                f"{stepper.name}: step {step} raised {type(error).__name__}: {first_line(error)}"
            ) from error
        if len(found) != len(outputs):
            raise ArtifactError(
                f"{stepper.name}: {len(found)} outputs, but the contract names {len(outputs)}: {', '.join(outputs)}"
            )
        for (name, kept), values in zip(outputs.items(), found, strict=True):
            _store(stepper.name, f"output '{name}'", kept, step, values)
        if new_state is None or state is None:
            state = None
        else:
            _store(stepper.name, "state", state, step, new_state)
        if tick is not None and (step % 50 == 49 or step == trajectory.steps - 1):
            tick(step + 1)
    return Run(stepper.name, outputs, state)


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
        initial: Floats,
        function: Callable[[Floats, Floats], tuple[Sequence[Floats], Floats]],
    ) -> None:
        self.name = name
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


def initial_state(contract: Contract, batch: int) -> Floats:
    """`[batch, hidden_size]` of a file."""
    return np.tile(np.asarray(contract.initial_state, dtype=np.float32), (batch, 1))


def _store(who: str, what: str, kept: Floats, step: int, values: Floats) -> None:
    if values.shape != kept.shape[1:]:
        raise ArtifactError(
            f"{who}: {what} has shape {list(values.shape)}; the contract and the batch say {list(kept.shape[1:])}"
        )
    kept[step] = values


def to_numpy(tensor: Any) -> Floats:
    """A float32 copy of a tensor of torch."""
    array: Floats = tensor.detach().numpy().astype(np.float32, copy=True)
    return array
