"""`load`, `inspect` and `Policy`: names, shapes and messages around the C++ runtime `ganglion._core`."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion import _core
from ganglion._foundation.boundary import bounded
from ganglion._foundation.checkpoints import naming_checkpoints
from ganglion._foundation.core_errors import core_errors
from ganglion._foundation.files import read_file, suffix_of
from ganglion.errors import ArtifactError, GanglionError, ParityError, StepError
from ganglion.reading import Reading, StateNames, hints
from ganglion.reading.leapp import is_bundle
from ganglion.runtime.engines import engine_names, libtorch_library_for, onnxruntime_library

if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike

    from numpy.typing import ArrayLike, NDArray

    from ganglion._foundation.files import ReadFile
    from ganglion.contract import Contract, TensorSpec
    from ganglion.flight import FlightRecorder
    from ganglion.runtime.engines import EngineName, InstructionSet

SelfTest = _core.SelfTest

_STEP_MESSAGES = {
    "non_finite_observation": "the observation has a NaN or infinite element; the action and the state were kept",
    "non_finite_action": (
        "the policy produced a NaN or infinite action, other output or state; the action and the state were kept"
    ),
    "engine_failure": "the engine reported an error; the action and the state were kept",
    "non_finite_state": "the state has a NaN or infinite element; the old one was kept",
}


def _options(
    path: Path,
    *,
    state: Mapping[str, str] | None = None,
    action: str | None = None,
    observation: int | Mapping[str, int] | None = None,
    **given: Any,
) -> _core.LoadOptions:
    """Options for the runtime. All of `given` goes through by name; None leaves the runtime's own default."""
    engine, batch, seed = (given.get(name) for name in ("engine", "batch", "sample_seed"))
    if engine not in (None, "automatic", *engine_names()):
        raise ValueError(f"engine '{engine}' is not one of automatic, {', '.join(engine_names())}")
    if batch is not None and batch < 1:
        raise ValueError(f"batch must be at least 1, not {batch}")
    if seed is not None and not 0 <= seed < 2**64:
        raise ValueError(f"sample_seed must be a whole number of 64 bits, not {seed}")
    given["hints"] = hints(state, action, observation)
    given["onnxruntime_library"] = given.get("onnxruntime_library") or onnxruntime_library()
    given["libtorch_library"] = given.get("libtorch_library") or libtorch_library_for(path)
    return _core.LoadOptions(given)


@naming_checkpoints
@bounded()
def load(
    path: str | PathLike[str],
    *,
    engine: EngineName = "automatic",
    threads: int = 1,
    warmup_steps: int = 20,
    self_test: bool = True,
    batch: int | None = None,
    lock_memory: bool = False,
    isa: InstructionSet = "automatic",
    sample_seed: int | None = None,
    state: Mapping[str, str] | None = None,
    action: str | None = None,
    observation: int | Mapping[str, int] | None = None,
    trust: bool = False,
    public_key: str | PathLike[str] | None = None,
    onnxruntime_library: str | PathLike[str] | None = None,
    libtorch_library: str | PathLike[str] | None = None,
) -> Policy:
    """Opens an artifact in the C++ runtime.

    Args:
        path: `.ganglion`, `.onnx` or `.pt` file; an `.onnx` or `.pt` file without a contract is understood if it is
            written in one of the dialects of docs/DIALECTS.md, and `explain` says how. Or the `.yaml` file of a LEAPP
            bundle, Isaac Lab's export, whose models are compiled to one program in memory.
        engine: what runs it; `"automatic"` picks by the kind of file. `"native"` compiles an `.onnx` file in memory.
        threads: threads inside one step; the native engine has one.
        warmup_steps: steps run at load; they leave no trace in the state.
        self_test: replay the golden trajectory and refuse a file that misses it.
        batch: rows of one step for an artifact that takes any number; None is what the contract says, else 1.
        lock_memory: keep the native engine's weights and buffers in RAM (mlock).
        isa: the instruction set of the native engine's kernels; `"automatic"` is what the environment variable
            `GANGLION_ISA` says, else the fastest of this CPU. The bits are the same.
        sample_seed: draw actions with this seed, for a policy whose outputs are a distribution (`mean` and `log_std`,
            or an index and `logits`); None takes the mean or the best index. The same seed draws the same noise in
            every engine, on every machine; after a reset a row goes on with its next episode.
        state: for a file without a contract, its state inputs and the outputs that feed them, exactly these; None
            recognises them by names, shapes and connections, or takes them from the file `<policy>.yaml` beside it.
        action: for an `.onnx` file without a contract, the output that is the action; None recognises it, or takes it
            from the file `<policy>.yaml` beside it.
        observation: for a TorchScript file without a contract, how many elements its observation has, where running it
            does not tell; of several observations each by its name. None tries, or takes it from `<policy>.yaml`.
        trust: run a `.pt` file whose program has what no policy needs. Such a file may do all that its user may;
            without consent its program is read first, and not run where it could do more than calculate.
        public_key: file with Ed25519 public keys (PEM); a file that is signed with none of them is refused, see
            `ganglion.sign`. None takes any file.
        onnxruntime_library: the `libonnxruntime.so` to open; None takes the one that the environment variable
            `GANGLION_ONNXRUNTIME` names, else the one of the onnxruntime wheel, else the one that the loader finds.
        libtorch_library: the `libganglion_libtorch.so` to open; None takes the one that the environment variable
            `GANGLION_LIBTORCH` names, else builds one against the installed torch, once.

    Raises:
        ArtifactError: the file is missing, damaged, of a newer format, or changed after export.
        EngineUnavailableError: the engine is not installed; the message names the extra to install.
        ParityError: the golden trajectory was missed; `report` is the `SelfTest`.
        GanglionError: an option does not fit the artifact, or the engine refused its program.
        ExportError: the native engine cannot run the graph of the `.onnx` file; the message names the node.
    """
    path = Path(path)
    given: dict[str, Any] = {
        "engine": engine,
        "threads": threads,
        "warmup_steps": warmup_steps,
        "batch": batch,
        "lock_memory": lock_memory,
        "isa": isa,
        "sample_seed": sample_seed,
        "state": state,
        "action": action,
        "observation": observation,
        "trust": trust,
        "onnxruntime_library": onnxruntime_library,
        "libtorch_library": libtorch_library,
    }
    if is_bundle(path):
        policy = _of_bundle(path, engine, action, public_key, given)
    elif engine == "native" and suffix_of(path) == ".onnx":
        # What is compiled in memory is signed by nobody; the file is asked itself.
        policy = _compiled(read_file(path), _options(path, **given), state, action, public_key)
    else:
        with core_errors():
            policy = Policy(_core.Policy.load(path, _options(path, public_key=public_key, **given)))
    for finding in policy._brief.findings:
        warnings.warn(
            f"'{path}': {finding.sentence} [{finding.code}]", stacklevel=4
        )  # past the boundary and the look at checkpoints
    if self_test:
        result = policy.self_test()
        if not result.ok:
            raise ParityError(f"'{path}': {result.message}", result)
    return policy


def _compiled(
    file: ReadFile,
    options: _core.LoadOptions,
    state: Mapping[str, str] | None,
    action: str | None,
    public_key: str | PathLike[str] | None,
) -> Policy:
    # The compiler needs the package onnx, which a robot that flies .ganglion files does not have.
    from ganglion.compiler import compile_onnx
    from ganglion.compiler.file import plain_bytes

    # The compiled bytes carry a contract; what was recognised, and what is wrong, is known of the file alone.
    origin = explain_file(file, state=state, action=action, public_key=public_key)
    data = plain_bytes(*compile_onnx(file, state=state, action=action))[0]
    with core_errors():
        return Policy(_core.Policy.load_bytes(data, str(file.path), options), origin)


def _of_bundle(
    path: Path, engine: str, action: str | None, public_key: str | PathLike[str] | None, given: Mapping[str, Any]
) -> Policy:
    from ganglion.compiler import compile_onnx
    from ganglion.compiler.bundle import bundle_model
    from ganglion.compiler.file import plain_bytes

    if engine not in ("automatic", "native"):
        raise ArtifactError(f"engine '{engine}' does not open '{path}': a LEAPP bundle runs on the native engine")
    _refuse_keys(path, public_key)
    model = bundle_model(path, action)
    data = plain_bytes(*compile_onnx(model))[0]
    with core_errors():
        return Policy(
            _core.Policy.load_bytes(data, str(path), _options(path, **{**given, "action": None})),
            _reading_of_bundle(model),
        )


def _refuse_keys(path: Path, public_key: str | PathLike[str] | None) -> None:
    if public_key is not None:
        raise ArtifactError(f"'{path}': nobody signs a LEAPP bundle; compile it, and sign that file")


def _reading_of_bundle(model: Any) -> Reading:
    from ganglion.compiler.signature import stored_contract

    contract = stored_contract(model)
    assert contract is not None
    slots = tuple(StateNames(slot.name, f"{slot.name}_in", f"{slot.name}_out") for slot in contract.state)
    return Reading(contract, "leapp", slots, notes=("several models are one policy, as the bundle connects them",))


def load_compiled(data: bytes, path: Path, *, batch: int | None = None) -> Policy:
    """Opens the bytes of a `.ganglion` file that was compiled in memory, on the native engine.

    Args:
        data: the bytes.
        path: the file that they were compiled from, for messages.
        batch: see `load`.

    Raises:
        ArtifactError, GanglionError: see `load`.
    """
    with core_errors():
        return Policy(_core.Policy.load_bytes(data, str(path), _options(path, batch=batch, libtorch_library="unused")))


@naming_checkpoints
@bounded()
def explain(
    path: str | PathLike[str],
    *,
    state: Mapping[str, str] | None = None,
    action: str | None = None,
    observation: int | Mapping[str, int] | None = None,
    trust: bool = False,
    public_key: str | PathLike[str] | None = None,
) -> Reading:
    """Says how a file is understood, without running it.

    Needs no engine, but for a TorchScript file without a contract.

    Args:
        path: `.ganglion`, `.onnx` or `.pt` file, or the `.yaml` file of a LEAPP bundle.
        state: see `load`.
        action: see `load`.
        observation: see `load`.
        trust: see `load`; a `.pt` file without a contract is run to be understood.
        public_key: see `load`.

    Raises:
        ArtifactError: the file is missing, damaged, of a newer format, signed by nobody of `public_key`, or its state
            cannot be recognised.
        EngineUnavailableError: the file is TorchScript without a contract, and LibTorch is not installed.
    """
    path = Path(path)
    if is_bundle(path):
        from ganglion.compiler.bundle import bundle_model

        _refuse_keys(path, public_key)
        return _reading_of_bundle(bundle_model(path, action))
    given = {"state": state, "action": action, "observation": observation, "trust": trust, "public_key": public_key}
    return _explained(path, lambda options: _core.explain_json(path, options), given)


def explain_file(
    file: ReadFile,
    *,
    state: Mapping[str, str] | None = None,
    action: str | None = None,
    public_key: str | PathLike[str] | None = None,
) -> Reading:
    """The same for a file that was read already.

    Raises:
        ArtifactError, EngineUnavailableError: see `explain`.
    """
    name = str(file.path)
    given = {"state": state, "action": action, "public_key": public_key}
    return _explained(file.path, lambda options: _core.explain_bytes_json(file.data, name, options), given)


def _explained(path: Path, explain: Callable[[_core.LoadOptions], str], given: Mapping[str, Any]) -> Reading:
    with core_errors():
        # A file with a contract needs no engine, so none is looked for (or built) before the first attempt fails.
        options = _options(path, **given, libtorch_library="unused")
        try:
            text = explain(options)
        except _core.Error as error:
            if error.args[0] != "engine_unavailable":
                raise
            text = explain(_options(path, **given))
    return Reading.from_json(text)


def inspect(path: str | PathLike[str]) -> Contract:
    """Returns the contract of a file, as of `explain`; reads no weights where the file carries one."""
    return explain(path).contract


class Policy:
    """A loaded policy that owns its hidden state. Made by `ganglion.load`; one thread at a time.

    Shapes: with a batch of one row, observations are `[n]` (or `[1, n]`), actions `[m]` (or `[1, m]`) and states
    `[hidden_size]`; with `B` rows they are `[B, n]`, `[B, m]` and `[B, hidden_size]`. Everything is float32.

    What the contract gives a shape of its own, as an image, may be given in it, too: `[3, 64, 64]` or
    `[B, 3, 64, 64]`; and a policy of several inputs takes them as a dictionary by their names in the contract.
    """

    def __init__(self, core: _core.Policy, origin: Reading | None = None) -> None:
        self._core = core
        self._origin = origin
        # A loop needs sizes and names; the golden run, hundreds of kilobytes of numbers, is read when it is looked at.
        self._brief = self._read(with_golden=False)
        self._contract = self._brief.contract
        self._reading: Reading | None = None
        self._batch = core.batch
        inputs = self._contract.inputs
        self._input_shapes = {spec.name: self._shapes_of(spec) for spec in inputs}
        total = self._shapes(self._contract.observation_size)
        self._observation_shapes = self._input_shapes[inputs[0].name] if len(inputs) == 1 else total
        self._shaped = inputs[0] if len(inputs) == 1 and inputs[0].shape else None
        self._action_size = self._contract.action_size

    def step(
        self, observation: ArrayLike | Mapping[str, ArrayLike], out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Runs one control step and returns the action.

        Args:
            observation: `[n]` or `[batch, n]`, the inputs of the contract side by side. A float32 C-contiguous array
                is read in place; any other array of real numbers is converted to one first. Or a dictionary with an
                array for each input, by name: `[size]` or `[batch, size]`, or of the shape that the contract gives it.
            out: float32, C-contiguous, writeable array of the action's shape to write to; with it and a float32
                observation nothing is allocated. None returns a new array.

        Raises:
            StepError: the step was refused; `out` and the state kept their old values.
            ValueError, TypeError: `out` is not such an array.
        """
        if out is not None and self._core.step_in_place(observation, out):
            return out
        array = self._flat(observation)
        shape = (*array.shape[:-1], self._action_size)
        if out is None:
            out = np.empty(shape, np.float32)
        elif not isinstance(out, np.ndarray) or out.dtype != np.float32:
            raise TypeError(f"out must be a float32 array, not {getattr(out, 'dtype', type(out).__name__)}")
        elif out.shape != shape or not out.flags.c_contiguous or not out.flags.writeable:
            raise ValueError(f"out must be a C-contiguous, writeable array of shape {shape}; it has shape {out.shape}")
        self._check(self._core.step(array, out))
        return out

    def burn_in(self, observations: ArrayLike | Mapping[str, ArrayLike]) -> None:
        """Steps along live observations without acting on them, so that the memory is filled before the robot engages.

        Begins in the state that there is; `reset` comes first where it is to be filled anew.

        Args:
            observations: `[steps, ...]`, the oldest one first, each of a shape that `step` takes; or a dictionary of
                such arrays.

        Raises:
            StepError: a step was refused; its number is in the message. The steps before it stay in the state, nothing
                of that one does. Of observations of a wrong shape none is stepped.
        """
        if isinstance(observations, Mapping):
            arrays = {name: np.asarray(values) for name, values in observations.items()}
            counts = {len(array) if array.ndim else 0 for array in arrays.values()}
            if len(counts) > 1:
                raise StepError("bad_size", f"the inputs have different numbers of steps: {sorted(counts)}")
            flat = [
                self._flat({name: array[i] for name, array in arrays.items()}) for i in range(max(counts, default=0))
            ]
        else:
            flat = [self._flat(observation) for observation in np.atleast_1d(np.asarray(observations))]
        if not flat:
            return
        status, steps = self._core.burn_in(np.stack(flat))
        if status != _core.Status.ok:
            message = _STEP_MESSAGES.get(status.name, "a buffer has the wrong size")
            raise StepError(status.name, f"step {steps} of the burn-in: {message}")

    def reset(self, rows: ArrayLike | None = None) -> None:
        """Restores the initial state of all rows, or of those where `rows` (`[batch]`, bool) is true.

        Raises:
            StepError: `rows` is not one flag for each batch row.
        """
        if rows is None:
            self._core.reset()
            return
        flags = np.asarray(rows)
        if flags.dtype != np.bool_ or flags.shape != (self._batch,):
            raise StepError("bad_size", f"rows must be {self._batch} bools; got {flags.dtype} of shape {flags.shape}")
        self._check(self._core.reset_rows(np.ascontiguousarray(flags).view(np.uint8)))

    def state(self) -> NDArray[np.float32]:
        """Returns a copy of the hidden state, `[hidden_size]` or `[batch, hidden_size]`."""
        return self._core.state().reshape(self._shapes(self._contract.hidden_size)[0])

    def set_state(self, state: ArrayLike) -> None:
        """Takes over a hidden state of the shape that `state()` returns.

        Raises:
            StepError: wrong shape, or an element is not finite; the state was kept.
        """
        array = self._float32(state, self._shapes(self._contract.hidden_size), "state")
        self._check(self._core.set_state(array))

    def set_applied_action(self, action: ArrayLike) -> None:
        """Tells the policy what was executed in place of its last action; the next step uses it.

        Behind an action map the policy remembers its own action, before the map; what is told here is taken back
        through it. An element that is what the policy has commanded changes nothing, clipped or not.

        Args:
            action: `[m]` or `[batch, m]`, as `step` returns it.

        Raises:
            GanglionError: the policy does not remember its action: the contract has no state slot `prev_action`; or
                nothing says how what the slot holds becomes a command (a file of another exporter).
            StepError: wrong shape, or an element is not finite; the state was kept.
        """
        if self._contract.action_map is None:
            raise GanglionError(
                "nothing says how a remembered action becomes a command; export the policy with ganglion, which writes "
                "that down"
            )
        if self._contract.previous_action is None:
            raise GanglionError(
                "the contract has no state slot 'prev_action': this policy does not look at its last action"
            )
        array = self._float32(action, self._shapes(self._action_size), "action")
        if not np.isfinite(array).all():
            raise StepError("non_finite_action", "the action has a NaN or infinite element; the state was kept")
        self._check(self._core.set_applied_action(array))

    def output(self, which: int | str) -> NDArray[np.float32]:
        """Returns a copy of one output of the last good step, by index or name; output 0 is the action.

        Raises:
            KeyError: there is no such output.
            GanglionError: no step has been run yet.
        """
        names = [spec.name for spec in self._contract.outputs]
        index = names.index(which) if which in names else which
        if not isinstance(index, int) or not 0 <= index < len(names):
            raise KeyError(f"output {which!r}: the outputs are {names}")
        values = self._core.output(index)
        if values.size == 0:
            raise GanglionError("no step has been run yet, so there are no outputs")
        return values.reshape(self._shapes(self._contract.outputs[index].size)[0])

    def self_test(self) -> SelfTest:
        """Replays the golden trajectory on a copy of the state."""
        return self._core.self_test()

    def clone(self) -> Policy:
        """Returns a second policy with the same weights and a copy of the state."""
        return Policy(self._core.clone(), self._origin)

    def attach(self, recorder: FlightRecorder) -> None:
        """Records every step, reset and change of the state from now on, and the policy itself; not its clones.

        Raises:
            GanglionError: the policy is recorded already, the recording is closed, or the file was changed or removed
                after it was loaded.
        """
        with core_errors():
            self._core.attach(recorder._core)

    @property
    def contract(self) -> Contract:
        """What goes in, what comes out, which state, at what period."""
        return self.reading.contract

    @property
    def reading(self) -> Reading:
        """How the file was understood, and what is suspicious about it."""
        if self._reading is None:
            self._reading = self._read(with_golden=True)
        return self._reading

    @property
    def batch(self) -> int:
        """Rows of one step."""
        return self._batch

    @property
    def engine(self) -> str:
        """Name of the engine that runs the steps."""
        return self._core.engine

    @property
    def realtime_safe(self) -> bool:
        """True when a step makes no heap allocation, takes no lock and makes no system call."""
        return self._core.realtime_safe

    def __repr__(self) -> str:
        return (
            f"<ganglion.Policy on {self.engine}: {self._contract.observation_size} observation elements, "
            f"{self._action_size} action elements, {self._contract.hidden_size} state elements, batch {self._batch}>"
        )

    def _read(self, *, with_golden: bool) -> Reading:
        reading = Reading.from_json(self._core.reading_json(with_golden))
        return reading if self._origin is None else dataclasses.replace(self._origin, contract=reading.contract)

    def _shapes(self, *row: int) -> tuple[tuple[int, ...], ...]:
        rows = (self._batch, *row)
        return (row, rows) if self._batch == 1 else (rows,)

    def _shapes_of(self, spec: TensorSpec) -> tuple[tuple[int, ...], ...]:
        return self._shapes(spec.size) + (self._shapes(*spec.shape) if spec.shape else ())

    def _flat(self, observation: ArrayLike | Mapping[str, ArrayLike]) -> NDArray[np.float32]:
        """The vector `[n]` or `[batch, n]`, as many axes as were given."""
        if isinstance(observation, np.ndarray) or not isinstance(observation, Mapping):
            array = self._float32(observation, self._observation_shapes, "observation", self._parts_of_observation)
            return array if self._shaped is None else self._rows_of(array, self._shaped)
        inputs = self._contract.inputs
        if observation.keys() != self._input_shapes.keys():
            raise StepError(
                "bad_size",
                f"the observation has the inputs {sorted(map(str, observation))}; the policy takes "
                f"{[spec.name for spec in inputs]}",
            )
        parts = []
        for spec in inputs:
            array = self._float32(observation[spec.name], self._input_shapes[spec.name], f"input '{spec.name}'")
            parts.append(self._rows_of(array, spec))
        if any(part.ndim == 2 for part in parts):
            parts = [part.reshape(self._batch, -1) for part in parts]
        return np.concatenate(parts, axis=-1)

    def _rows_of(self, array: NDArray[np.float32], spec: TensorSpec) -> NDArray[np.float32]:
        if array.shape in self._shapes(spec.size):
            return array
        one_row = array.ndim == len(spec.shape)
        return array.reshape(spec.size) if one_row else array.reshape(self._batch, spec.size)

    def _parts_of_observation(self) -> str:
        """`: 22 = obs 6 + h0 16`, and what to do where one of them is no observation."""
        inputs = self._contract.inputs
        if len(inputs) == 1:
            return ""
        parts = " + ".join(f"{spec.name} {spec.size}" for spec in inputs)
        told = "; one of them that is a state is named at load: state={INPUT: OUTPUT}"
        own = self._brief.dialect == "ganglion"
        return f": {self._contract.observation_size} = {parts}{'' if own else told}"

    @staticmethod
    def _float32(
        values: ArrayLike, shapes: tuple[tuple[int, ...], ...], what: str, explain: Callable[[], str] = str
    ) -> NDArray[np.float32]:
        array: NDArray[Any] = np.asarray(values)
        if array.shape not in shapes:
            needed = " or ".join(map(str, shapes))
            raise StepError("bad_size", f"the {what} has shape {array.shape}; {needed} is needed{explain()}")
        if array.dtype.kind not in "fiu":
            raise StepError("bad_size", f"the {what} holds {array.dtype}; real numbers are needed")
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, which the step refuses
            return np.ascontiguousarray(array, np.float32)

    @staticmethod
    def _check(status: _core.Status) -> None:
        if status != _core.Status.ok:
            raise StepError(status.name, _STEP_MESSAGES.get(status.name, "a buffer has the wrong size"))
