"""A `.pt` file in `torch.jit`: its functional `step`, its stateful `forward`, or a module of others."""

from __future__ import annotations

import copy
import io
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion._foundation.sentences import first_line
from ganglion._foundation.trust import check_program
from ganglion.errors import ArtifactError, EngineUnavailableError, ExportError
from ganglion.verify.steppers.base import FunctionalStepper, file_of, initial_state, to_numpy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ganglion.contract import Contract
    from ganglion.verify.steppers.base import Floats, Stepper

ENGINE = "LibTorch"


def steppers(path: Path, contract: Contract, batch: int, *, trust: bool = False) -> list[Stepper]:
    """Of our own file its functional `step` and, with one row, its stateful form; of others their `forward`.

    Raises:
        EngineUnavailableError: torch is not installed.
        ArtifactError: torch refuses the file, it cannot be understood, or its program is not to be trusted.
    """
    try:
        import torch
    except ImportError as error:
        raise EngineUnavailableError("torch is not installed: pip install 'ganglion[torch]'") from error
    # What was checked is what is run, whatever the path names by then.
    file = file_of(path, contract)
    if not trust:
        check_program(file.data, str(path))
    try:
        with warnings.catch_warnings():
            # torch calls TorchScript deprecated, and would at every verification; the file is what it is.
            warnings.simplefilter("ignore", DeprecationWarning)
            module = torch.jit.load(io.BytesIO(file.data), map_location="cpu").eval()  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError, OSError) as error:
        raise ArtifactError(f"{path}: torch.jit refuses the file: {first_line(error)}") from error
    if contract.sha256 is None:
        from ganglion.reading.torchscript.parts import take_out_prints

        take_out_prints(module)
        return [_ModuleStepper(path, module, contract, batch)]
    found: list[Stepper] = []
    if hasattr(module, "step"):

        def function(observation: Floats, state: Floats) -> tuple[Sequence[Floats], Floats]:
            with torch.inference_mode():
                *outputs, hidden = module.step(torch.from_numpy(observation), torch.from_numpy(state))
            return [to_numpy(output) for output in outputs], to_numpy(hidden)

        found.append(FunctionalStepper("torch.jit step()", ENGINE, initial_state(contract, batch), function))
    if batch == 1 and hasattr(module, "reset"):
        found.append(_StatefulStepper(module, contract))
    if not found:
        raise ArtifactError(
            f"{path}: the file carries a contract, but its module has neither step(obs, hidden) nor, for one row, "
            "reset(); export the policy again"
        )
    return found


class _StatefulStepper:
    """The `forward(obs)` and `reset()` of our TorchScript modules, which keep one flat state, for one row."""

    name = "torch.jit forward()"
    engine = ENGINE
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
        return [to_numpy(action).reshape(1, -1)], self._state()

    def _state(self) -> Floats | None:
        hidden = dict(self._module.named_buffers()).get("hidden")
        return None if hidden is None or hidden.numel() != self._hidden_size else to_numpy(hidden).reshape(1, -1)


class _ModuleStepper:
    """The `forward(obs)` of a TorchScript module of others, which keeps the state of one row: a copy for each row."""

    name = "torch.jit forward()"
    engine = ENGINE
    action_only = True

    def __init__(self, path: Path, module: Any, contract: Contract, batch: int) -> None:
        import torch

        from ganglion.reading import torchscript as reading
        from ganglion.reading.torchscript import parts

        self._torch = torch
        self._buffers = parts
        sizes = {spec.name: spec.size for spec in contract.inputs}
        try:
            with torch.no_grad():
                # The contract calls the slots by the buffers that hold them.
                self._reading = reading.read(module, [slot.name for slot in contract.state], sizes)
        except ExportError as error:
            raise ArtifactError(f"{path}: {error}") from error
        self._modules = [copy.deepcopy(self._reading.module) for _ in range(batch)]

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
        action = to_numpy(module(given)).reshape(-1)
        state = [to_numpy(self._buffers.get_buffer(module, buffer.path)).reshape(-1) for buffer in reading.state]
        return action, np.concatenate(state) if state else np.empty(0, dtype=np.float32)
