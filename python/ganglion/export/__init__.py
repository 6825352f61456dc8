"""From a trained policy to one file that runs without Python: `export` picks the target by the suffix."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import importlib.metadata
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganglion._foundation.boundary import bounded
from ganglion._foundation.callable_module import make_callable as _make_callable
from ganglion.errors import EngineUnavailableError, ExportError

try:
    import torch
except ImportError as error:
    raise EngineUnavailableError(f"exporting a policy needs torch ({error}); install ganglion[torch]") from error

from ganglion._foundation.targets import HEADERS as _HEADERS
from ganglion._foundation.targets import check_target as _check_target
from ganglion.contract import GOLDEN_STEPS as _GOLDEN_STEPS
from ganglion.export import drawn as _drawn
from ganglion.export import golden as _golden
from ganglion.export.signing import sign
from ganglion.observation_profile.recorded import profile_if_enough as _profile_if_enough
from ganglion.policies.base import RecurrentPolicy
from ganglion.policies.scripting.preparation import check_step as _check_step
from ganglion.policies.scripting.preparation import prepare as _prepare
from ganglion.policies.scripting.preparation import undisturbed as _undisturbed
from ganglion.policies.scripting.stateful import StatefulRecurrentNetwork
from ganglion.policies.wrapped.policy import WrappedPolicy, wrap

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from torch import nn

    from ganglion.contract import Contract
    from ganglion.data import EpisodeBatch

_DEFECT = "if the policy runs in torch, this is a defect of ganglion: report it with the policy"

__all__ = ["StatefulRecurrentNetwork", "export", "sign", "wrap"]


@bounded(ExportError, what="cannot be written", at=1, remedy=_DEFECT)
def export(
    policy: nn.Module,
    path: str | os.PathLike[str],
    *,
    observation_size: int | None = None,
    contract: Contract | None = None,
    batch: int | None = 1,
    golden_steps: int = _GOLDEN_STEPS,
    recording: str | os.PathLike[str] | EpisodeBatch | None = None,
    tolerance: float | None = None,
    seed: int = 0,
    weights: str = "float32",
    weight_tolerance: float | None = None,
) -> Contract:
    """Writes a policy to one file and proves the file before it appears under its name.

    The policy may be in training mode, on any device, of any floating type; it is copied, and neither it nor any
    random state changes. The file holds float32 weights, the contract and a golden trajectory recorded from the
    Python policy. In the end the C++ runtime loads the very bytes and replays that trajectory, before they get the name
    `path`: a file that a load would refuse is never left behind, and an older file of that name stays as it was. The
    native engine proves a `.ganglion` file and the program of a header, ONNX Runtime an `.onnx` file. A `.pt` file is
    run by `torch.jit`, and by the LibTorch engine where that is built already; where it is not, the C++ runtime reads
    the file without running it, and the first load builds the engine.

    Args:
        policy: a `RecurrentPolicy`, or a model in the style of skrl (`compute` and `act`), as it is; with
            `observation_size` any other module, which `ganglion.wrap` makes one of.
        path: target file; its suffix picks the format: `.ganglion`, `.onnx`, `.pt`, `.hpp` (a C++17 header),
            `.h` (a C99 header), or `.yaml` (a LEAPP bundle, with `.onnx` and initial values beside it).
        observation_size: elements of the observation `[batch, observation_size]` that a module without memory takes,
            for modules that are no policy; `ganglion.wrap` takes states, shapes and several observations.
        contract: names, units, bounds, period, batch, initial state and provenance to write instead of
            `policy.contract(batch=batch)`; must agree with the sizes of the policy. What a deployment description says
            gets into it by `adapters.deployment.annotate`.
        batch: number of rows of one step, or None for any number; ignored where a contract is given, and in a header,
            which steps one row.
        golden_steps: steps of the golden trajectory, at least 64; large images have fewer, so that a file can hold it.
        recording: take the observations of the golden trajectory from recorded episodes, around the beginning of one
            for every row: an `EpisodeBatch`, the file that its `save` wrote, or any recording that `verify` takes; None
            to draw them over the bounds of the observation space. From 256 steps on, the contract also gets its
            observation profile, what observations looked like in it; not that of a header.
        tolerance: largest accepted `|file - policy| / max(1, |policy|)`, here and at every later load. None for what
            float32 can hold: 1e-5 or, of an element for which that is more, 16 times what the policy's float32 runs
            are away from its float64 run in the steps before, along the golden trajectory.
        seed: seed of the drawn observations of the golden trajectory.
        weights: how a `.ganglion` file or a header stores its weights: `"float32"`, `"float16"` or `"int8"`.
        weight_tolerance: largest accepted |difference| that smaller weights make in any output; 0.01 if None.

    Returns:
        The contract as written, with its digest and golden trajectory.

    Raises:
        ExportError: unknown suffix, missing folder, contract that does not fit, a recording with too few steps, a file
            that differs, or one that the C++ runtime refuses.
        ArtifactError: the recording cannot be read, or its observations have another size.
        UnsupportedModuleError: a module inside the policy cannot be exported; names its path.
        EngineUnavailableError: all but `.pt` need packages that are not installed.
        TypeError: `policy` is neither a `RecurrentPolicy` nor a model in the style of skrl, and no `observation_size`
            is given.
        ValueError: `golden_steps` or `tolerance` out of range, or `weights` given for a file that has no choice.
    """
    target = Path(path)
    write = _writer(target, weights, weight_tolerance)
    _check_target(target)
    if golden_steps < _GOLDEN_STEPS:
        raise ValueError(f"golden_steps must be at least {_GOLDEN_STEPS}, not {golden_steps}")
    if tolerance is not None and not (math.isfinite(tolerance) and tolerance > 0.0):
        raise ValueError(f"tolerance must be positive and finite, not {tolerance}")
    policy = _as_policy(policy, observation_size)
    with _undisturbed():
        prepared: Any = _prepare(policy)
        for part in prepared.modules():
            if isinstance(part, WrappedPolicy):
                part.check()  # its weights may be others since it was made
        own = prepared.contract(batch=batch)
        contract = own if contract is None else contract
        _check_contract(contract, own)
        rows = contract.batch or 2
        hidden = torch.tensor(contract.initial_state, dtype=torch.float32).repeat(rows, 1)
        sizes = (*(spec.size for spec in contract.outputs), contract.hidden_size)
        _check_step(prepared, (torch.zeros(rows, contract.observation_size), hidden), sizes)
        contract = dataclasses.replace(
            contract,
            provenance={**_provenance(prepared), **contract.provenance},
            golden=_golden.record(
                prepared, contract, steps=golden_steps, seed=seed, tolerance=tolerance, recording=recording
            ),
        )
        if recording is not None and contract.observation_profile is None:
            contract = dataclasses.replace(
                contract, observation_profile=_profile_if_enough(recording, contract.action_size)
            )
        _drawn.check_map(prepared, contract)
        return write(prepared, contract, target)


def _as_policy(policy: nn.Module, observation_size: int | None) -> nn.Module:
    """The policy itself, or one around a module that is none."""
    if observation_size is None:
        return policy
    if isinstance(policy, RecurrentPolicy):
        size = sum(spec.size for spec in policy.input_specs)
        if size != observation_size:
            raise ValueError(
                f"observation_size is {observation_size}, but {type(policy).__name__} takes {size} elements"
            )
        return policy
    return wrap(policy, observation_size)


def _writer(
    target: Path, weights: str, weight_tolerance: float | None
) -> Callable[[nn.Module, Contract, Path], Contract]:
    # Imported here: each target needs only its own packages.
    if target.suffix == ".ganglion":
        from ganglion.export import native

        return functools.partial(native.write, weights=weights, weight_tolerance=weight_tolerance)
    if target.suffix in _HEADERS:
        from ganglion.export import header

        return functools.partial(header.write, weights=weights, weight_tolerance=weight_tolerance)
    if weights != "float32" or weight_tolerance is not None:
        raise ValueError(f"'{target.name}': only .ganglion files and headers (.hpp, .h) have a choice of weights")
    if target.suffix == ".pt":
        from ganglion.export import torchscript

        return torchscript.write
    if target.suffix == ".onnx":
        from ganglion.export import onnx

        return onnx.write
    if target.suffix == ".yaml":
        from ganglion.export import leapp

        return leapp.write
    raise ExportError(
        f"'{target.name}': unknown suffix '{target.suffix}'; use .ganglion (native engine), .onnx (ONNX), .pt "
        "(TorchScript), .hpp (C++ header), .h (C header) or .yaml (LEAPP bundle)"
    )


def _check_contract(given: Contract, own: Contract) -> None:
    checks = {
        "observation elements": (given.observation_size, own.observation_size),
        "output sizes": ([spec.size for spec in given.outputs], [spec.size for spec in own.outputs]),
        "action map": (given.action_map, own.action_map),
        "state shapes": ([slot.shape for slot in given.state], [slot.shape for slot in own.state]),
    }
    for what, (said, actual) in checks.items():
        if said != actual:
            raise ExportError(f"the contract does not fit the policy: {what}: contract {said}, policy {actual}")
    _drawn.check_names(given.outputs, own.outputs)


def _provenance(policy: nn.Module) -> dict[str, str]:
    kind = type(policy)
    found = {
        "policy": f"{kind.__module__}.{kind.__qualname__}",
        "torch": torch.__version__,
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # raised in a source tree
        found["ganglion"] = importlib.metadata.version("ganglion")
    return found


_make_callable(__name__)
