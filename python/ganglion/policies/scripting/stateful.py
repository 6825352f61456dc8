"""A recurrent policy as a TorchScript module that keeps its own state."""

# TorchScript infers the result type of step() and would read a "type:" comment on its line as a type.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

# No "from __future__ import annotations" here: torch.jit.script reads the annotations of the class as types.
import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ganglion.policies.scripting.capture import as_module, capture
from ganglion.policies.scripting.cells import use_fast_cells
from ganglion.policies.scripting.preparation import blame, check_step, prepare, undisturbed

_EXAMPLE_ROWS = 3
"""Rows of the traced batch; not 0 or 1, which a policy may treat in a special way."""


class StatefulRecurrentNetwork(nn.Module):
    """Wraps a recurrent policy for deployment: `torch.jit.script` of it loads in any LibTorch program.

    The policy is copied and traced in eval mode, on the CPU, in float32, its recurrent layers rewritten for single
    steps; the policy itself is not touched. The scripted module has three methods:

    * `forward(obs)` steps and keeps the state inside,
    * `reset()` restores the initial state,
    * `step(obs, hidden)` is the same function with the state outside; it touches nothing inside.

    Args:
        net: a `RecurrentPolicy`: `forward(obs, hidden) -> (action[, more outputs], hidden)` with a flat hidden
            vector, and the properties `hidden_size`, `input_specs` and `output_specs`.
        initial_state: `[hidden_size]` values that `reset()` restores; `net.init_hidden()` where not given.

    Attributes:
        input_size: number of elements of an observation.
        output_size: number of elements of an action.
        hidden: the current state, `[hidden_size]`, or `[batch, hidden_size]` after a batched step.

    Raises:
        UnsupportedModuleError: a module inside the policy cannot be exported; names its path.
        ExportError: the policy cannot be copied, or its `forward` does not return what it should.
    """

    hidden: Tensor
    initial_hidden: Tensor

    def __init__(self, net: nn.Module, initial_state: Sequence[float] | None = None) -> None:
        super().__init__()
        with undisturbed():
            prepared: Any = prepare(net)
            if initial_state is None:
                initial = prepared.init_hidden().detach().to("cpu", torch.float32).clone()
            else:
                initial = torch.tensor(initial_state, dtype=torch.float32)
            self.input_size: int = sum(spec.size for spec in prepared.input_specs)
            self.output_size: int = prepared.output_specs[0].size
            self.hidden_size: int = initial.numel()
            # Rows of the state: -2 right after a reset (any call fits), -1 for calls without a batch axis.
            self.rows: int = -2
            self.register_buffer("hidden", initial.clone())
            self.register_buffer("initial_hidden", initial)
            sizes = (*(spec.size for spec in prepared.output_specs), self.hidden_size)
            self.network: Any = _trace(prepared, self.input_size, initial, sizes)
        self.eval()

    def forward(self, obs: Tensor) -> Tensor:
        """Steps once and keeps the new state.

        Args:
            obs: `[input_size]` or `[batch, input_size]`, float32. The first call after `reset()` decides which, and
                how many rows; every row then starts from the initial state.

        Returns:
            The action, `[output_size]` or `[batch, output_size]`.

        Raises:
            RuntimeError: `obs` has another size or another number of rows than the calls since the last `reset()`.
        """
        self._check_observation(obs)
        rows = -1 if obs.dim() == 1 else obs.size(0)
        hidden = self.hidden
        if self.rows != rows:
            if self.rows != -2:
                raise RuntimeError(
                    "the state belongs to calls with another batch size (-1: no batch axis): it has "
                    + str(self.rows)
                    + ", this observation has "
                    + str(rows)
                    + "; call reset() first"
                )
            if rows >= 0:
                hidden = hidden.unsqueeze(0).expand(rows, -1)
        result = self.network.single(obs, hidden) if rows == -1 else self.network.batched(obs, hidden)
        self.hidden = result[-1]
        self.rows = rows
        action: Tensor = result[0]
        return action

    @torch.jit.export
    def reset(self) -> None:
        """Restores the initial state; the next call may have any number of rows."""
        self.hidden = self.initial_hidden.clone()
        self.rows = -2

    @torch.jit.export
    def step(self, obs: Tensor, hidden: Tensor):  # noqa: ANN201
        """Steps once with the state outside; the module's own state is neither read nor written.

        Gives a tuple: the outputs in the order of the contract, then the new hidden vector. (The number of outputs
        depends on the policy, so TorchScript infers the type.)

        Args:
            obs: `[input_size]` or `[batch, input_size]`, float32.
            hidden: `[hidden_size]` or `[batch, hidden_size]`, float32.

        Raises:
            RuntimeError: a size does not fit.
        """
        self._check_observation(obs)
        if hidden.dim() != obs.dim() or hidden.size(-1) != self.hidden_size:
            raise RuntimeError(
                "the hidden vector must be ["
                + str(self.hidden_size)
                + "] or [batch, "
                + str(self.hidden_size)
                + "] like the observation, not "
                + str(hidden.size())
            )
        if obs.dim() == 1:
            return self.network.single(obs, hidden)
        return self.network.batched(obs, hidden)

    def _check_observation(self, obs: Tensor) -> None:
        # Without this check a wrong length could reach an operation that broadcasts.
        if obs.dim() < 1 or obs.dim() > 2 or obs.size(-1) != self.input_size:
            raise RuntimeError(
                "the observation must be ["
                + str(self.input_size)
                + "] or [batch, "
                + str(self.input_size)
                + "], not "
                + str(obs.size())
            )


class _PureFunction(nn.Module):
    """The policy as two traceable methods whose results share no memory with anything that the caller holds."""

    def __init__(self, policy: nn.Module, single: nn.Module) -> None:
        super().__init__()
        self.policy = policy
        self.policy_of_one = single

    def batched(self, obs: Tensor, hidden: Tensor) -> tuple[Tensor, ...]:
        return _without_shared_memory(self.policy(obs, hidden), (obs, hidden))

    def single(self, obs: Tensor, hidden: Tensor) -> tuple[Tensor, ...]:
        return _without_shared_memory(self.policy_of_one(obs, hidden), (obs, hidden))


def _trace(prepared: nn.Module, input_size: int, initial: Tensor, sizes: tuple[int, ...]) -> nn.Module:
    observation = torch.zeros(_EXAMPLE_ROWS, input_size)
    hidden = initial.repeat(_EXAMPLE_ROWS, 1)
    check_step(prepared, (observation, hidden), sizes)
    check_step(prepared, (observation[0], hidden[0]), sizes)
    fast = copy.deepcopy(prepared)
    use_fast_cells(fast)
    try:
        return torch.jit.trace_module(  # type: ignore[no-any-return]
            _PureFunction(fast, as_module(capture(fast, (observation[0], hidden[0])))),
            {"single": (observation[0], hidden[0]), "batched": (observation, hidden)},
            check_trace=False,
        )
    except Exception as error:
        raise blame(prepared, (observation, hidden), error) from error


def _without_shared_memory(results: Sequence[Tensor], arguments: Sequence[Tensor]) -> tuple[Tensor, ...]:
    # A state that lies in the buffer of the observation, or of an action, would change when the caller reuses it.
    seen = [_address(tensor) for tensor in arguments]
    separate = []
    for result in results:
        separate.append(result.clone() if result.numel() > 0 and _address(result) in seen else result)
        seen.append(_address(result))
    return tuple(separate)


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
