"""Policies out of TorchScript files: those of rsl_rl, Isaac Lab, legged_gym and Pyrado, and our own.

The former keep their state in buffers and carry no contract.

The program inside is recorded as a function with the state outside; from there every export target can be written.
"""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import dataclasses
import io
import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import torch
from torch import Tensor

from ganglion._foundation.boundary import bounded
from ganglion._foundation.comparison import first_difference
from ganglion._foundation.files import read_file
from ganglion._foundation.rounding import LEAST, allowance, several
from ganglion._foundation.sentences import last_line
from ganglion._foundation.trust import check_program
from ganglion.adapters.torchscript.recording import prepare, record
from ganglion.compiler.signature import METADATA_KEY
from ganglion.contract import GOLDEN_STEPS, Contract, Golden, StateSlot, TensorSpec
from ganglion.data.env_spec import EnvSpec
from ganglion.errors import ArtifactError, ExportError
from ganglion.policies import RecurrentPolicy
from ganglion.reading import hints, hints_beside, judge, kept_findings
from ganglion.reading.torchscript import ModuleReading, printing, read
from ganglion.reading.torchscript.parts import get_buffer, put_back, refusal, set_buffer, take_out_prints

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import fx

    from ganglion.reading import Finding

CONTRACT_FILE = "ganglion.json"


class TorchScriptPolicy(RecurrentPolicy):
    """A policy whose step is a recorded program.

    Args:
        program: `(obs, *states) -> (*outputs, *states)` for one row.
        contract: sizes, names and initial state; its golden trajectory is what the file itself did.
        observation_shape: shape of the observation that `program` takes.
        state_shapes: shapes of the states that it takes and gives; side by side they are the flat hidden vector.
        findings: what is suspicious about the file.

    Attributes:
        file_contract: the contract given.
        many_rows: whether the program, written for one row, also holds for several at once.
        findings: what is suspicious about the file.
    """

    name = "torchscript"

    def __init__(
        self,
        program: fx.GraphModule,
        contract: Contract,
        observation_shape: tuple[int, ...],
        state_shapes: Sequence[tuple[int, ...]],
        findings: tuple[Finding, ...] = (),
    ) -> None:
        def box(size: int) -> gymnasium.spaces.Box:
            return gymnasium.spaces.Box(-math.inf, math.inf, (size,))

        super().__init__(EnvSpec(box(contract.observation_size), box(contract.action_size)))
        self.program = program
        self.file_contract = contract
        self.findings = findings
        self._observation_shape = observation_shape
        self._state_shapes = tuple(state_shapes)
        self.many_rows = False
        self.register_buffer("initial_state", torch.tensor(contract.initial_state, dtype=torch.float32))
        self.many_rows = self._runs_many_rows()

    @property
    def state_layout(self) -> tuple[StateSlot, ...]:
        """One slot per state buffer of the file, or those of its contract."""
        return self.file_contract.state

    @property
    def input_specs(self) -> tuple[TensorSpec, ...]:
        """`obs`, or the inputs of the file's contract."""
        return self.file_contract.inputs

    @property
    def output_specs(self) -> tuple[TensorSpec, ...]:
        """`actions`, or the outputs of the file's contract."""
        return self.file_contract.outputs

    def contract(
        self, *, batch: int | None = 1, period_s: float | None = None, provenance: Mapping[str, str] | None = None
    ) -> Contract:
        """As of any policy; what is suspicious about the file goes with it. See `RecurrentPolicy.contract`."""
        kept = {**kept_findings(self.findings), **(provenance or {})}
        return super().contract(batch=batch, period_s=period_s, provenance=kept)

    def init_hidden(self, batch_size: int | None = None) -> Tensor:
        """What the file's reset sets; see `RecurrentPolicy.init_hidden`."""
        initial: Any = self.initial_state
        return initial.clone() if batch_size is None else initial.repeat(batch_size, 1)  # type: ignore[no-any-return]

    def forward(self, obs: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, ...]:
        """Runs one step; see `RecurrentPolicy.forward`. A program that was written for one row runs row after row."""
        rows, states = self._as_batch(obs, hidden)
        if self.many_rows:
            return self._as_given(obs, self._run(rows, states))
        steps = [self._run(row.unsqueeze(0), state.unsqueeze(0)) for row, state in zip(rows, states, strict=True)]
        return self._as_given(obs, tuple(torch.cat(column) for column in zip(*steps, strict=True)))

    def _run(self, obs: Tensor, hidden: Tensor) -> tuple[Tensor, ...]:
        rows = obs.shape[0]
        sizes = [math.prod(shape) for shape in self._state_shapes]
        parts = torch.split(hidden, sizes, dim=1) if sizes else ()
        states = [self._with_rows(part, shape) for part, shape in zip(parts, self._state_shapes, strict=True)]
        results = self.program(obs if len(self._observation_shape) == 2 else obs[0], *states)
        count = len(self.output_specs)
        outputs = [result.reshape(rows, -1) for result in results[:count]]
        after = [
            (state if axis is None else state.movedim(axis, 0)).reshape(rows, -1)
            for state, axis in zip(results[count:], map(_rows_axis, self._state_shapes), strict=True)
        ]
        return (*outputs, torch.cat(after, dim=1) if after else hidden)

    def _with_rows(self, part: Tensor, shape: tuple[int, ...]) -> Tensor:
        axis = _rows_axis(shape)
        if axis is None:
            return part.reshape(shape)
        return part.reshape(part.shape[0], *shape[:axis], *shape[axis + 1 :]).movedim(0, axis)

    def _runs_many_rows(self) -> bool:
        """Tries whether the program, written for one row, holds for several."""
        if len(self._observation_shape) != 2 or None in map(_rows_axis, self._state_shapes):
            return False
        generator = torch.Generator().manual_seed(1)
        obs = torch.randn(3, self.file_contract.observation_size, generator=generator)
        hidden = self.init_hidden(3) + 0.1 * torch.randn(3, self.hidden_size, generator=generator)

        def row_by_row(observation: NDArray[np.float32]) -> NDArray[np.float32]:
            """Outputs and state of one step, `[1, 3, size]`."""
            given = torch.from_numpy(observation[0])
            done = [self._run(given[row : row + 1], hidden[row : row + 1]) for row in range(3)]
            return torch.cat([torch.cat(parts, dim=1) for parts in done]).numpy()[None]

        single = row_by_row(obs.numpy()[None])
        try:
            together = torch.cat(self._run(obs, hidden), dim=1).numpy()[None]
        except Exception:  # whatever an operator says of a shape that it was not written for
            return False
        if together.shape != single.shape:
            return False
        allowed = allowance(single, several(row_by_row, obs.numpy()[None], single), np.zeros((1, 3), np.bool_), 0)
        return first_difference(together, single, LEAST, allowed) is None


def _rows_axis(shape: tuple[int, ...]) -> int | None:
    """Where a buffer of one row has its row: `[layers, 1, hidden]`, `[1, n]`; None for `[n]`."""
    axis = 1 if len(shape) == 3 else 0
    return axis if len(shape) > 1 and shape[axis] == 1 else None


@bounded()
def load(
    path: str | os.PathLike[str],
    *,
    state_names: Sequence[str] | None = None,
    observation: int | Mapping[str, int] | None = None,
    trust: bool = False,
) -> TorchScriptPolicy:
    """Reads a TorchScript file: one of rsl_rl, Isaac Lab, legged_gym or Pyrado, a plain network, or one of ours.

    Without a contract inside, the file is run to find out how long its observation is and which buffers hold its state:
    those that a step changes and `reset()` or `reset_memory()` restores; where it has neither method, the values in the
    file are the initial ones. A file in another floating type becomes float32.

    Args:
        path: the file.
        state_names: names of the buffers that are the state, where that is known better; all others then keep the
            values that a reset gives them. An empty list says that there is no state, None that it is to be found.
        observation: elements of the observation, see `ganglion.load`; None finds them.
        trust: run a file whose program has what no policy needs, see `ganglion.load`.

    Returns:
        The policy; exporting it writes any target. Its hidden vector is the buffers side by side.

    Raises:
        ArtifactError: the file is missing or no TorchScript file, or its program is not to be trusted.
        ExportError: it cannot be understood or recorded, or the recorded program does something else than the file;
            the sentence ends with a stable code in square brackets.
    """
    module, contract = _open(path, trust=trust)
    # oneDNN has operators for whole layers of its own, which ONNX has not; turning it off and on may give a warning.
    with warnings.catch_warnings(), torch.no_grad(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        with torch.backends.mkldnn.flags(enabled=False):
            if contract is None:
                policy = _from_buffers(_read(module, Path(path), state_names, observation), Path(path).name)
            else:
                policy = _from_contract(module, contract)
    for finding in policy.findings:
        warnings.warn(f"'{path}': {finding.sentence} [{finding.code}]", stacklevel=3)  # past the boundary
    return policy


@bounded(ExportError, what="cannot be written as ONNX")
def to_onnx(source: str | os.PathLike[str] | TorchScriptPolicy, *, state_names: Sequence[str] | None = None) -> Any:
    """A TorchScript file as an `onnx.ModelProto`, with the contract in its metadata.

    Inputs are `obs` and `<slot>_in`, outputs `actions` and `<slot>_out`, one slot per state buffer: `[layers, batch,
    hidden]` where the buffer is `[layers, 1, hidden]`, else `[batch, size]`. The batch is any, or one where the file's
    program was written for one row. The golden trajectory in the contract is
    what the TorchScript file did.

    Args:
        source: the file, or what `load` made of it.
        state_names: see `load`; for a file alone.

    Raises:
        ArtifactError: see `load`.
        ExportError: see `load`; or the program holds an operator that ONNX has not.
        EngineUnavailableError: onnx or onnxscript is not installed.
    """
    from ganglion.export.graph import build_model
    from ganglion.policies.scripting.preparation import prepare, undisturbed

    policy = source if isinstance(source, TorchScriptPolicy) else load(source, state_names=state_names)
    contract = dataclasses.replace(policy.file_contract, batch=None if policy.many_rows else 1, sha256=None)
    with undisturbed():
        model = build_model(prepare(policy), contract)
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, contract.to_json()
    return model


def _open(path: str | os.PathLike[str], *, trust: bool) -> tuple[torch.jit.ScriptModule, Contract | None]:
    file = read_file(path)
    if not trust:
        check_program(file.data, str(path))
    extra: dict[str, Any] = {CONTRACT_FILE: ""}
    try:
        module = torch.jit.load(io.BytesIO(file.data), map_location="cpu", _extra_files=extra)
    except Exception as error:  # torch raises what its readers happen to meet
        raise ArtifactError(
            f"'{path}' is no TorchScript file ({last_line(error)}); write one with torch.jit.save. A checkpoint of a "
            "trainer is read by ganglion.adapters.<trainer>"
        ) from error
    module.eval()
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    text = extra[CONTRACT_FILE]
    if not text:
        return module, None
    judge(file)
    return module, Contract.from_json(text if isinstance(text, str) else text.decode())


def _read(
    module: torch.jit.ScriptModule,
    path: Path,
    state_names: Sequence[str] | None,
    observation: int | Mapping[str, int] | None,
) -> ModuleReading:
    state = None if state_names is None else {name: name for name in state_names}
    told = hints_beside(path, hints(state, None, observation))
    prints = take_out_prints(module)
    prepare(module)
    names = None if told.state is None else [name for name, _ in told.state]
    reading = read(module, names, told.observation)
    return dataclasses.replace(reading, findings=(*reading.findings, *printing(prints)))


def _from_contract(module: torch.jit.ScriptModule, contract: Contract) -> TorchScriptPolicy:
    """Our own files have the functional method step(obs, hidden)."""
    if "step" not in module._c._method_names():
        raise refusal("step-missing", "the file carries a contract but its module has no method step(obs, hidden)")
    hidden = torch.tensor(contract.initial_state, dtype=torch.float32).unsqueeze(0)
    observation = torch.zeros(1, contract.observation_size)
    program = record(module.step, observation, (hidden,))
    return TorchScriptPolicy(program, contract, tuple(observation.shape), [tuple(hidden.shape)])


def _from_buffers(reading: ModuleReading, name: str) -> TorchScriptPolicy:
    module = reading.module

    def step(observation: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        for buffer in reading.held:
            # A sum with something computed: the recorder follows no write into a plain copy of a constant.
            zeros = observation.new_zeros(buffer.initial.shape, dtype=buffer.initial.dtype)
            set_buffer(module, buffer.path, zeros + buffer.initial)
        for buffer, state in zip(reading.state, states, strict=True):
            # A copy: a module may write into its buffer.
            set_buffer(module, buffer.path, state.clone().to(buffer.initial.dtype))
        action = module(observation)
        after = zip(reading.state, (get_buffer(module, buffer.path) for buffer in reading.state), strict=True)
        return (action, *(value if buffer.is_real else value.to(reading.dtype) for buffer, value in after))

    observation = torch.zeros(reading.observation_shape, dtype=reading.dtype)
    examples = [buffer.initial if buffer.is_real else buffer.initial.to(reading.dtype) for buffer in reading.state]
    program = record(step, observation, examples)
    initial = [buffer.initial.flatten() for buffer in reading.state]
    contract = Contract(
        inputs=tuple(TensorSpec(name, size) for name, size in reading.inputs),
        outputs=(TensorSpec("actions", reading.action_size),),
        state=tuple(StateSlot(buffer.path, buffer.slot_shape) for buffer in reading.state),
        initial_state=tuple(torch.cat(initial).float().tolist()) if initial else (),
        provenance={"source": name, **kept_findings(reading.findings)},
        golden=_run_file(module, reading),
        action_map=None,
    )
    shapes = [tuple(buffer.initial.shape) for buffer in reading.state]
    policy = TorchScriptPolicy(program, contract, reading.observation_shape, shapes, reading.findings)
    _prove(policy, contract)
    return policy


def _run_file(module: torch.jit.ScriptModule, reading: ModuleReading) -> Golden:
    """What the file does by itself, state inside, with a reset in the middle and steps from elsewhere before each."""
    generator = torch.Generator().manual_seed(0)
    size = reading.observation_shape[-1]
    observations = 1.5 * torch.randn(GOLDEN_STEPS, size, generator=generator)
    reset = np.zeros((GOLDEN_STEPS, 1), dtype=np.bool_)
    reset[[0, GOLDEN_STEPS // 2]] = True
    actions = []
    for index, observation in enumerate(observations):
        if reset[index, 0]:
            put_back(module, ((buffer.path, buffer.initial) for buffer in reading.state))
        put_back(module, ((buffer.path, buffer.initial) for buffer in reading.held))
        action = module(observation.reshape(reading.observation_shape).to(reading.dtype))
        actions.append(action.flatten().float().numpy().copy())
    try:
        return Golden(observations[:, None].numpy(), reset, np.stack(actions)[:, None], LEAST)
    except ArtifactError as error:
        raise refusal("action-not-finite", "the file gives actions that are not finite") from error


def _prove(policy: TorchScriptPolicy, contract: Contract) -> None:
    golden = contract.golden
    assert golden is not None

    def run(observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Action and state behind each step, `[steps, 1, size]`."""
        hidden, found = policy.init_hidden(), []
        for index, observed in enumerate(observation):
            if golden.reset[index, 0]:
                hidden = policy.init_hidden()
            action, hidden = policy(torch.from_numpy(observed[0]), hidden)
            found.append(torch.cat((action, hidden)).numpy()[None])
        return np.stack(found)

    whole, size = run(golden.observation), golden.outputs.shape[2]
    difference = first_difference(whole[:, :, :size], golden.outputs, golden.tolerance)
    if difference is not None:
        runs = several(run, golden.observation, whole)
        allowed = allowance(whole, runs, golden.reset, policy.hidden_size)[:, :, :size]
        difference = first_difference(whole[:, :, :size], golden.outputs, golden.tolerance, allowed)
    if difference is not None:
        raise refusal(
            "step-not-repeatable",
            f"the recorded program differs from the file at step {difference.step} by {difference.error:.3g}, more "
            f"than rounding does ({difference.allowed:.3g}): forward draws random numbers, keeps state outside of its "
            "buffers, or needs float64; export the deterministic policy with its state in buffers",
        )
