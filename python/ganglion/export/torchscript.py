"""Target `.pt`: a TorchScript archive of `StatefulRecurrentNetwork` with the contract as an extra file."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ganglion._foundation.targets import replacing
from ganglion._foundation.trust import check_program
from ganglion.compiler.containers import CONTRACT_FILE
from ganglion.errors import ArtifactError, EngineUnavailableError, ExportError
from ganglion.export.golden import compare, replay
from ganglion.policies.scripting.stateful import StatefulRecurrentNetwork
from ganglion.runtime.engines import engines
from ganglion.runtime.proof import prove, prove_readable

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

    from ganglion.contract import Contract

_EXTRA = f"/extra/{CONTRACT_FILE}"
_SERIALIZATION_ID = "/.data/serialization_id"


def write(policy: nn.Module, contract: Contract, path: Path) -> Contract:
    """Writes a policy as TorchScript, after replaying the golden trajectory through the written file.

    `torch.jit` runs it, `step` as well as `forward` and `reset`, and the C++ runtime reads it. The LibTorch engine of
    the C++ runtime replays it too where that engine is there; where it would first have to be built, which takes a
    minute, the first load builds it.

    Args:
        policy: a recurrent policy.
        contract: its contract with the golden trajectory; `sha256` is filled in here.
        path: target; replaced only when the new file is right.

    Returns:
        The contract as written.

    Raises:
        UnsupportedModuleError: a module cannot be exported.
        ExportError: the file cannot be written, differs from the Python policy, or the C++ runtime refuses it.
    """
    scripted = torch.jit.script(StatefulRecurrentNetwork(policy, contract.initial_state))
    archive = _save(scripted)
    contract = dataclasses.replace(contract, sha256=digest(archive))
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_STORED) as members:
        folder = members.namelist()[0].split("/", 1)[0]
        members.writestr(zipfile.ZipInfo(folder + _EXTRA), contract.to_json())
    with replacing(path) as temporary:
        temporary.write_bytes(archive.getvalue())
        _check(temporary, contract)
        _prove(temporary, contract, f"'{path.name}'")
    return contract


def digest(archive: Path | io.BytesIO) -> str:
    """SHA-256 over the members of a TorchScript archive, lower-case hex.

    Every member goes in, sorted by its full name: name, length as 8 bytes little-endian, bytes. The contract, which
    carries this digest, and torch's serialization id are left out.
    """
    sha = hashlib.sha256()
    with zipfile.ZipFile(archive) as members:
        for name in sorted(members.namelist(), key=str.encode):
            if name.endswith((_EXTRA, _SERIALIZATION_ID)):
                continue
            payload = members.read(name)
            sha.update(name.encode())
            sha.update(len(payload).to_bytes(8, "little"))
            sha.update(payload)
    return sha.hexdigest()


def _save(module: torch.jit.ScriptModule) -> io.BytesIO:
    saved, archive = io.BytesIO(), io.BytesIO()
    torch.jit.save(module, saved)
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as target:
        for name in source.namelist():
            # Where the code came from: paths of the exporting machine, of no use on a robot.
            if not name.endswith(".debug_pkl"):
                target.writestr(zipfile.ZipInfo(name), source.read(name))
    return archive


def _check(path: Path, contract: Contract) -> None:
    try:
        check_program(path.read_bytes(), path.name)
    except ArtifactError as error:
        raise ExportError(f"a load would refuse the TorchScript file: {error}") from error
    extra = {CONTRACT_FILE: ""}
    module = torch.jit.load(str(path), map_location="cpu", _extra_files=extra)  # type: ignore[no-untyped-call]
    stored: Any = extra[CONTRACT_FILE]
    if (stored if isinstance(stored, str) else stored.decode()) != contract.to_json():
        raise ExportError(f"'{path.name}': the contract cannot be read back from the TorchScript archive")
    with torch.inference_mode():

        def step(observation: NDArray[np.float32], hidden: NDArray[np.float32]) -> list[NDArray[np.float32]]:
            result = module.step(torch.from_numpy(observation), torch.from_numpy(hidden))
            return [tensor.numpy() for tensor in result]

        assert contract.golden is not None
        # One more row than recorded: a policy that computed with the batch size it was traced with is found out.
        for rows in {1, contract.golden.rows, contract.golden.rows + 1}:
            replay(step, contract, f"TorchScript step() with {rows} rows", rows)
        _check_stateful(module, contract)


def _prove(file: Path, contract: Contract, what: str) -> None:
    golden = contract.golden
    assert golden is not None
    libtorch = next(engine for engine in engines(build=False) if engine.name == "libtorch")
    if libtorch.usable:
        with contextlib.suppress(EngineUnavailableError):  # it is there, but cannot be opened: no fault of the file
            prove(file, contract, what=what, engine="libtorch", rows=(contract.batch or golden.rows + 1,))
            return
    prove_readable(file, contract, what=what)


def _check_stateful(module: Any, contract: Contract) -> None:
    # Each row alone and without a batch axis, because reset() restores all rows.
    golden = contract.golden
    assert golden is not None
    actions = np.empty((golden.steps, golden.rows, contract.action_size), dtype=np.float32)
    for row in range(golden.rows):
        module.reset()
        for index in range(golden.steps):
            if golden.reset[index, row]:
                module.reset()
            actions[index, row] = module(torch.from_numpy(golden.observation[index, row])).numpy()
    recorded_rest = golden.outputs[:, :, contract.action_size :]
    compare(np.concatenate((actions, recorded_rest), axis=2), contract, "TorchScript forward()")
