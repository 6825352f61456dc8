"""The ways to run one trajectory: the Python policy, the file in its own Python engine, the C++ runtime."""

from __future__ import annotations

import contextlib
import copy
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ganglion._foundation.sentences import first_line
from ganglion.errors import ArtifactError, EngineUnavailableError, ExportError, GanglionError, StepError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from ganglion.contract import Contract, StateSlot
    from ganglion.runtime.policy import EngineName
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


def _store(who: str, what: str, kept: Floats, step: int, values: Floats) -> None:
    if values.shape != kept.shape[1:]:
        raise ArtifactError(
            f"{who}: {what} has shape {list(values.shape)}; the contract and the batch say {list(kept.shape[1:])}"
        )
    kept[step] = values


class _FunctionalStepper:
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
        self._state = np.where(rows[:, None], self._initial, self._state)

    def step(self, observation: Floats) -> tuple[Sequence[Floats], Floats | None]:
        outputs, self._state = self._function(observation, self._state)
        return outputs, self._state


def policy_stepper(policy: Any, *, batch: int) -> Stepper:
    """Steps a Python policy: a copy on the CPU, in float32 and evaluation mode; the policy itself is not touched.

    Args:
        policy: a `ganglion.policies.RecurrentPolicy`.
        batch: number of rows.

    Raises:
        GanglionError: the policy cannot be copied.
    """
    import torch

    try:
        twin = copy.deepcopy(policy).to(device="cpu", dtype=torch.float32).eval()
    except RuntimeError as error:
        raise GanglionError(f"{type(policy).__name__} cannot be copied: {first_line(error)}") from error
    with torch.inference_mode():
        initial = _numpy(twin.init_hidden(batch))

    def function(observation: Floats, state: Floats) -> tuple[Sequence[Floats], Floats]:
        with torch.inference_mode():
            *outputs, hidden = twin(torch.from_numpy(observation), torch.from_numpy(state))
        return [_numpy(output) for output in outputs], _numpy(hidden)

    return _FunctionalStepper("Python policy", initial, function)


def file_steppers(
    path: str | os.PathLike[str], contract: Contract, *, batch: int, state: Mapping[str, str] | None = None
) -> list[Stepper]:
    """The file in its own Python engine: ONNX Runtime for `.onnx`, `torch.jit` for `.pt`, NumPy for `.ganglion`.

    With one row, a TorchScript file of ours is run twice: through its functional `step`, and through the stateful
    `forward` and `reset` that a LibTorch program uses. One of others is run as it is, once per row.

    Args:
        path: the artifact.
        contract: its contract; one without a digest was recognised, and is not in the file.
        batch: number of rows.
        state: for a file without a contract, see `ganglion.load`.

    Raises:
        EngineUnavailableError: the Python package of the engine is not installed.
        ArtifactError: the suffix is unknown, or the engine refuses the file.
    """
    suffix = Path(path).suffix
    if suffix == ".onnx":
        return [_onnx_stepper(Path(path), contract, batch, state)]
    if suffix == ".pt":
        return _torchscript_steppers(Path(path), contract, batch)
    if suffix == ".ganglion":
        return [_program_stepper(Path(path), contract, batch)]
    raise ArtifactError(f"{path}: cannot verify a '{suffix}' file; .ganglion, .onnx and .pt are known")


class RuntimeStepper:
    """Steps the file in the C++ runtime, the code that flies on the robot.

    Args:
        path: the artifact.
        engine: name of an engine that opens it.
        batch: number of rows.
        state: for a file without a contract, see `ganglion.load`.

    Raises:
        ArtifactError, EngineUnavailableError: as `ganglion.load`.
    """

    action_only = False

    def __init__(
        self, path: str | os.PathLike[str], *, engine: EngineName, batch: int, state: Mapping[str, str] | None = None
    ) -> None:
        from ganglion import runtime

        # The self-test would refuse a file that misses its golden trajectory; here the report is to show where.
        self._pilot = runtime.load(path, engine=engine, self_test=False, batch=batch, state=state)
        self._batch = batch
        self.name = f"C++ {engine}"
        self._outputs = len(self._pilot.contract.outputs)

    def reset(self, rows: NDArray[np.bool_]) -> None:
        """Restores the initial state of the rows that are set."""
        self._pilot.reset(rows)

    def step(self, observation: Floats) -> tuple[Sequence[Floats], Floats | None]:
        """One step of all rows."""
        actions = self._pilot.step(observation)
        others = [self._pilot.output(index) for index in range(1, self._outputs)]
        outputs = [np.array(values, dtype=np.float32).reshape(self._batch, -1) for values in (actions, *others)]
        return outputs, np.array(self._pilot.state(), dtype=np.float32).reshape(self._batch, -1)


def _program_stepper(path: Path, contract: Contract, batch: int) -> Stepper:
    from ganglion.compiler import file
    from ganglion.compiler.interpreter import Interpreter

    interpreter = Interpreter(file.read(path)[0])
    ends = np.cumsum([spec.size for spec in contract.outputs])[:-1]

    def function(observation: Floats, state: Floats) -> tuple[Sequence[Floats], Floats]:
        outputs, hidden = interpreter.step(observation, state)
        return np.split(outputs, ends, axis=1), hidden

    return _FunctionalStepper("Python program", _initial_state(contract, batch), function)


def _onnx_stepper(path: Path, contract: Contract, batch: int, state: Mapping[str, str] | None) -> Stepper:
    if contract.sha256 is None:
        return _foreign_onnx_stepper(path, contract, batch, state)
    session = _onnx_session(path, str(path))
    input_ends = np.cumsum([spec.size for spec in contract.inputs])[:-1]
    slot_ends = np.cumsum([slot.size for slot in contract.state])[:-1]
    names = [spec.name for spec in contract.outputs] + [f"{slot.name}_out" for slot in contract.state]
    split = len(contract.outputs)

    def function(observation: Floats, state: Floats) -> tuple[Sequence[Floats], Floats]:
        parts = np.split(observation, input_ends, axis=1)
        feeds = {spec.name: np.ascontiguousarray(part) for spec, part in zip(contract.inputs, parts, strict=True)}
        if contract.state:
            for slot, flat in zip(contract.state, np.split(state, slot_ends, axis=1), strict=True):
                feeds[f"{slot.name}_in"] = _unflatten(slot, flat)
        results = session.run(names, feeds)
        states = [_flatten(slot, array) for slot, array in zip(contract.state, results[split:], strict=True)]
        return results[:split], np.concatenate(states, axis=1) if states else state

    return _FunctionalStepper("Python onnxruntime", _initial_state(contract, batch), function)


def _foreign_onnx_stepper(path: Path, contract: Contract, batch: int, state: Mapping[str, str] | None) -> Stepper:
    """Of a file without a contract, the form with our names for its state; for one row, if that takes no more."""
    from ganglion.compiler.model import open_model
    from ganglion.compiler.prove import step_graph

    model = open_model(path, state=state)
    session = _onnx_session(path, model.proto.SerializeToString())
    ends = np.cumsum([spec.size for spec in contract.outputs])[:-1]
    parts = batch if model.batch == 1 else 1

    def function(observation: Floats, state: Floats) -> tuple[Sequence[Floats], Floats]:
        pairs = zip(np.split(observation, parts), np.split(state, parts), strict=True)
        outputs, states = zip(*(step_graph(session.run, model, *pair) for pair in pairs), strict=True)
        return np.split(np.concatenate(outputs), ends, axis=1), np.concatenate(states)

    return _FunctionalStepper("Python onnxruntime", _initial_state(contract, batch), function)


def _onnx_session(path: Path, model: str | bytes) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise EngineUnavailableError("onnxruntime is not installed: pip install 'ganglion[onnx]'") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common base of their own
        raise ArtifactError(f"{path}: ONNX Runtime refuses the file: {first_line(error)}") from error


def _unflatten(slot: StateSlot, flat: Floats) -> Floats:
    """Flat rows `[batch, slot.size]` -> the tensor of the ONNX file: the batch axis of `h [layers, hidden]` is 1."""
    tensor = flat.reshape(-1, *slot.shape)
    return np.ascontiguousarray(np.moveaxis(tensor, 0, 1) if len(slot.shape) == 2 else tensor)


def _flatten(slot: StateSlot, tensor: Floats) -> Floats:
    rows = np.moveaxis(tensor, 1, 0) if len(slot.shape) == 2 else tensor
    return rows.reshape(rows.shape[0], -1)


def _torchscript_steppers(path: Path, contract: Contract, batch: int) -> list[Stepper]:
    try:
        import torch
    except ImportError as error:
        raise EngineUnavailableError("torch is not installed: pip install 'ganglion[torch]'") from error
    try:
        with warnings.catch_warnings():
            # torch calls TorchScript deprecated, and would at every verification; the file is what it is.
            warnings.simplefilter("ignore", DeprecationWarning)
            module = torch.jit.load(str(path), map_location="cpu").eval()  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError, OSError) as error:
        raise ArtifactError(f"{path}: torch.jit refuses the file: {first_line(error)}") from error
    if contract.sha256 is None:
        return [_ModuleStepper(path, module, contract, batch)]
    steppers: list[Stepper] = []
    if hasattr(module, "step"):

        def function(observation: Floats, state: Floats) -> tuple[Sequence[Floats], Floats]:
            with torch.inference_mode():
                *outputs, hidden = module.step(torch.from_numpy(observation), torch.from_numpy(state))
            return [_numpy(output) for output in outputs], _numpy(hidden)

        steppers.append(_FunctionalStepper("torch.jit step()", _initial_state(contract, batch), function))
    if batch == 1 and hasattr(module, "reset"):
        steppers.append(_StatefulStepper(module, contract))
    if not steppers:
        raise ArtifactError(
            f"{path}: the file carries a contract, but its module has neither step(obs, hidden) nor, for one row, "
            "reset(); export the policy again"
        )
    return steppers


class _StatefulStepper:
    """The `forward(obs)` and `reset()` of our TorchScript modules, which keep one flat state, for one row."""

    name = "torch.jit forward()"
    action_only = True

    def __init__(self, module: Any, contract: Contract) -> None:
        import torch

        self._torch = torch
        self._module = module
        self._hidden_size = contract.hidden_size
        self._module.reset()

    def reset(self, rows: NDArray[np.bool_]) -> None:
        if rows[0]:
            self._module.reset()

    def step(self, observation: Floats) -> tuple[Sequence[Floats], Floats | None]:
        with self._torch.inference_mode():
            action = self._module(self._torch.from_numpy(observation[0]))
        return [_numpy(action).reshape(1, -1)], self._state()

    def _state(self) -> Floats | None:
        hidden = dict(self._module.named_buffers()).get("hidden")
        return None if hidden is None or hidden.numel() != self._hidden_size else _numpy(hidden).reshape(1, -1)


class _ModuleStepper:
    """The `forward(obs)` of a TorchScript module of others, which keeps the state of one row: a copy for each row."""

    name = "torch.jit forward()"
    action_only = True

    def __init__(self, path: Path, module: Any, contract: Contract, batch: int) -> None:
        import torch

        from ganglion.reading import torchscript as reading

        self._torch = torch
        self._buffers = reading
        try:
            with torch.no_grad():
                # The contract calls the slots by the buffers that hold them.
                self._reading = reading.read(module, [slot.name for slot in contract.state])
        except ExportError as error:
            raise ArtifactError(f"{path}: {error}") from error
        self._modules = [copy.deepcopy(module) for _ in range(batch)]

    def reset(self, rows: NDArray[np.bool_]) -> None:
        for module, wanted in zip(self._modules, rows, strict=True):
            if wanted:
                self._buffers.put_back(module, ((buffer.path, buffer.initial) for buffer in self._reading.state))

    def step(self, observation: Floats) -> tuple[Sequence[Floats], Floats | None]:
        # Not in inference mode: a module may write into a buffer that the reading made outside of it.
        with self._torch.no_grad():
            rows = [self._step_row(module, row) for module, row in zip(self._modules, observation, strict=True)]
        actions, states = zip(*rows, strict=True)
        return [np.stack(actions)], np.stack(states)

    def _step_row(self, module: Any, observation: Floats) -> tuple[Floats, Floats]:
        reading = self._reading
        self._buffers.put_back(module, ((buffer.path, buffer.initial) for buffer in reading.held))
        given = self._torch.from_numpy(observation.copy()).reshape(reading.observation_shape).to(reading.dtype)
        action = _numpy(module(given)).reshape(-1)
        state = [_numpy(self._buffers.get_buffer(module, buffer.path)).reshape(-1) for buffer in reading.state]
        return action, np.concatenate(state) if state else np.empty(0, dtype=np.float32)


def _initial_state(contract: Contract, batch: int) -> Floats:
    return np.tile(np.asarray(contract.initial_state, dtype=np.float32), (batch, 1))


def _numpy(tensor: Any) -> Floats:
    array: Floats = tensor.detach().numpy().astype(np.float32, copy=True)
    return array
