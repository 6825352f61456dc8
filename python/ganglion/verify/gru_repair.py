"""Gives a GRU back the attribute that its exporter lost, where a reference shows that it was lost."""

from __future__ import annotations

import functools
import itertools
import json
import math
import shutil
import tempfile
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion._foundation.boundary import bounded
from ganglion._foundation.documents import SCHEMA
from ganglion._foundation.files import read_file, replacing
from ganglion._foundation.rounding import LEAST
from ganglion.errors import ArtifactError, ParityError
from ganglion.runtime.policy import explain_file
from ganglion.verify.parity import Judge, compare
from ganglion.verify.steppers.base import Run, one_thread, run
from ganglion.verify.steppers.policy import policy_stepper
from ganglion.verify.steppers.runtime import RuntimeStepper
from ganglion.verify.trajectory import Trajectory, draw_trajectory, load_recording
from ganglion.verify.truth import allowances

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    from ganglion._foundation.files import ReadFile
    from ganglion._foundation.recordings import RecordingSource
    from ganglion.contract import Contract
    from ganglion.verify.parity import Comparison

_ATTRIBUTE = "linear_before_reset"
_METADATA_KEY = "ganglion_repair"
_MOST_NODES_TRIED_ALONE = 4
_ROWS_WHERE_ANY = 4


@dataclass(frozen=True)
class RepairReport:
    """What a reference says of a file, as it is and with the attribute set.

    Attributes:
        file: the file.
        output: the repaired file, or None where none was written.
        nodes: GRU nodes that were given the attribute in the better variant.
        reference: what the file was compared with, in words.
        steps: length of the trajectory.
        tolerance: largest accepted `|found - expected| / max(1, |expected|)` of any action.
        original_error: largest `|found - expected|` of any action of the file as it is; infinite where it stopped.
        repaired_error: the same with the attribute set; None where the file agreed as it is.
    """

    file: str
    output: str | None
    nodes: tuple[str, ...]
    reference: str
    steps: int
    tolerance: float
    original_error: float
    repaired_error: float | None

    @property
    def ok(self) -> bool:
        """Whether the repaired file was written."""
        return self.output is not None

    @property
    def verdict(self) -> str:
        """The result in one sentence."""
        where = f"{self.reference} over {self.steps:,} steps (tolerance {self.tolerance:g})"
        as_it_is = f"{self.original_error:.3g} as it is"
        if self.repaired_error is None:
            return (
                f"nothing is wrong with {self.file}: its actions differ from {where} by at most {as_it_is}; nothing "
                "was written"
            )
        found = f"{self.repaired_error:.3g} with {_ATTRIBUTE} 1 in {', '.join(self.nodes)}"
        if self.output is None:
            return (
                f"{self.file} differs from {where} in either form: its actions by {as_it_is} and by {found}. So that "
                "is not what is wrong, or not the only thing: is the reference the same policy, without noise, and "
                "does it begin with a reset? Nothing was written"
            )
        return f"{self.output}: its actions differ from {where} by at most {found}; {as_it_is}"

    def to_json(self) -> str:
        """The report as strict JSON; an error that is not finite becomes a string (`"inf"`)."""
        document: dict[str, Any] = {"schema": SCHEMA, "ok": self.ok, "verdict": self.verdict} | asdict(self)
        for key in ("original_error", "repaired_error"):
            if document[key] is not None and not math.isfinite(document[key]):
                document[key] = str(document[key])
        return json.dumps(document, allow_nan=False)


@bounded(what="cannot be repaired")
def repair(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    recording: RecordingSource | None = None,
    policy: Any | None = None,
    recorded_actions: str = "actions",
    steps: int = 500,
    seed: int = 0,
    tolerance: float | None = None,
    state: Mapping[str, str] | None = None,
    action: str | None = None,
) -> RepairReport:
    """Sets `linear_before_reset` in the GRU nodes of an ONNX file of another exporter, if that makes it right.

    `torch.nn.GRU` computes with 1, the default of ONNX is 0, and some exporters leave the attribute out (finding
    `gru-linear-before-reset` of `ganglion.explain`). Such a file may also be right as it is, which only a reference
    can tell: both forms are stepped beside it in the C++ runtime. All nodes get the attribute; where that does not
    help, and there are at most four of them, some do.

    Args:
        path: the `.onnx` file, without a contract of ganglion.
        out: the `.onnx` file to write, weights inside; may be `path`. It is replaced in one piece, and only where the
            file as it is differs from the reference and the repaired one does not.
        recording: what the policy really did: episodes of the policy without noise (an `EpisodeBatch`, or the file
            that its `save` wrote), or a `.npz` with `observation`, maybe `reset` (see `verify.load_recording`), and
            `action` `[T, m]` or `[T, batch, m]`.
        policy: or the Python policy that was exported; it is compared along a drawn trajectory.
        recorded_actions: of episodes, what to compare with: `"actions"`, or an entry of `agent_infos` (`"mean"`, say).
        steps: length of the drawn trajectory.
        seed: of the drawn trajectory.
        tolerance: largest accepted `|found - expected| / max(1, |expected|)`; None for 1e-5 or, where that is more,
            what rounding does to the form of the file that is stepped, see `_foundation.rounding`.
        state: state inputs of the file and the outputs that feed them; see `ganglion.load`.
        action: the output that is the action; see `ganglion.load`.

    Returns:
        the report: `ok` where the repaired file was written, not where nothing is wrong with the file.

    Raises:
        ArtifactError: a file cannot be read, the reference has other sizes, or there is no GRU without the attribute.
        EngineUnavailableError: onnx or onnxruntime is not installed.
        ParityError: neither form agrees with the reference; `report` is the `RepairReport`.
        ValueError: an argument is out of its range, or there is not exactly one reference.
        OSError: `out` cannot be written.
    """
    path, out = Path(path), Path(out)
    _check_arguments(path, out, recording, policy, steps, tolerance)
    file = read_file(path)
    contract = _contract_of(file, state, action)
    model = _open(file)
    names = [node.name or node.output[0] for node in _faulty_nodes(model)]
    if not names:
        raise ArtifactError(f"{path}: every GRU has {_ATTRIBUTE} 1, or there is none; nothing else is repaired")
    trajectory, reference = _reference(contract, recording, policy, recorded_actions, steps, seed)

    def step(proto: Any) -> Comparison:
        # A file of that name in a folder of its own: what the user said beside the original holds for it too.
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the finding that this is all about
            variant = Path(folder) / path.name
            variant.write_bytes(proto.SerializeToString())
            if _hints(path).exists():
                shutil.copyfile(_hints(path), _hints(variant))
            stepper = RuntimeStepper(variant, engine="onnxruntime", batch=trajectory.batch, state=state, action=action)
            own = functools.partial(_again, stepper, contract)
            found = own(trajectory)
            comparison = compare(reference, found, contract, tolerance=tolerance or LEAST)
            if tolerance is not None or comparison.ok or found.failure is not None:
                return comparison
            memory = contract.hidden_size > 0
            judge = Judge(LEAST, None, allowances(found, None, own, None, trajectory, memory=memory))
            held = judge.lost(found, contract) < 1.0
            return compare(reference, found, contract, judge=judge) if held else comparison

    def report(nodes: Sequence[int], error: float | None, output: Path | None) -> RepairReport:
        return RepairReport(
            file=str(path),
            output=None if output is None else str(output),
            nodes=tuple(names[index] for index in nodes),
            reference=_words(reference, trajectory),
            steps=trajectory.steps,
            tolerance=tolerance or LEAST,
            original_error=_error(original),
            repaired_error=error,
        )

    with one_thread():
        original = step(model)
        if original.ok:
            return report((), None, None)
        best, best_error = tuple(range(len(names))), math.inf
        for nodes in _choices(len(names)):
            repaired = _with_attribute(model, nodes, names)
            comparison = step(repaired)
            if comparison.ok:
                with replacing(out) as temporary:
                    temporary.write_bytes(repaired.SerializeToString())
                return report(nodes, _error(comparison), out)
            if _error(comparison) < best_error:
                best, best_error = nodes, _error(comparison)
    failed = report(best, best_error, None)
    raise ParityError(failed.verdict, failed)


def _again(stepper: RuntimeStepper, contract: Contract, trajectory: Trajectory) -> Run:
    stepper.reset(np.ones(trajectory.batch, np.bool_))
    return run(stepper, contract, trajectory)


def _check_arguments(
    path: Path, out: Path, recording: RecordingSource | None, policy: Any | None, steps: int, tolerance: float | None
) -> None:
    if (recording is None) == (policy is None):
        raise ValueError("repair needs a reference: a recording, or the policy, one of the two")
    for file in (path, out):
        if file.suffix != ".onnx":
            raise ValueError(f"{file}: repair reads and writes .onnx files")
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    if tolerance is not None and not (math.isfinite(tolerance) and tolerance > 0.0):
        raise ValueError(f"tolerance must be positive and finite, not {tolerance}")


def _contract_of(file: ReadFile, state: Mapping[str, str] | None, action: str | None) -> Contract:
    reading = explain_file(file, state=state, action=action)
    if reading.dialect == "ganglion":
        raise ArtifactError(
            f"{file.path}: carries a contract of ganglion, which sets {_ATTRIBUTE} itself and seals the file with a "
            "digest; export the policy again"
        )
    return reading.contract


def _open(file: ReadFile) -> Any:
    from ganglion.compiler.model import load_proto

    return load_proto(file)


def _hints(path: Path) -> Path:
    return path.with_name(f"{path.name}.yaml")


def _faulty_nodes(model: Any) -> list[Any]:
    return [
        node
        for nodes in (model.graph.node, *(function.node for function in model.functions))
        for node in _all_nodes(nodes)
        if node.op_type == "GRU" and node.domain in ("", "ai.onnx")
        if not any(attribute.name == _ATTRIBUTE and attribute.i for attribute in node.attribute)
    ]


def _all_nodes(nodes: Any) -> Iterator[Any]:
    """Nodes and those of their inner graphs."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _all_nodes(graph.node)


def _choices(count: int) -> Iterator[tuple[int, ...]]:
    """All nodes; then, of a few, every other choice, small ones first."""
    yield tuple(range(count))
    if count <= _MOST_NODES_TRIED_ALONE:
        for size in range(1, count):
            yield from itertools.combinations(range(count), size)


def _with_attribute(model: Any, nodes: Sequence[int], names: Sequence[str]) -> Any:
    import onnx

    repaired = onnx.ModelProto()
    repaired.CopyFrom(model)
    faulty = _faulty_nodes(repaired)
    for index in nodes:
        kept = [attribute for attribute in faulty[index].attribute if attribute.name != _ATTRIBUTE]
        del faulty[index].attribute[:]
        faulty[index].attribute.extend([*kept, onnx.helper.make_attribute(_ATTRIBUTE, 1)])
    for position in reversed(range(len(repaired.metadata_props))):
        if repaired.metadata_props[position].key == _METADATA_KEY:
            del repaired.metadata_props[position]
    said = f"{_ATTRIBUTE}=1: {', '.join(names[index] for index in nodes)}"
    repaired.metadata_props.add(key=_METADATA_KEY, value=said)
    return repaired


def _reference(
    contract: Contract,
    recording: RecordingSource | None,
    policy: Any | None,
    recorded_actions: str,
    steps: int,
    seed: int,
) -> tuple[Trajectory, Run]:
    """The trajectory, and the actions along it that are right."""
    action = contract.outputs[0]
    if recording is not None:
        trajectory = load_recording(
            recording, observation_size=contract.observation_size, batch=contract.batch, actions=recorded_actions
        )
        assert trajectory.actions is not None
        _check_size("the recording", "action", trajectory.actions.shape[2], action.size)
        return trajectory, Run("the recording", {action.name: trajectory.actions}, None)
    from ganglion.policies.skrl.policy import recurrent

    policy = recurrent(policy)
    _check_size("the policy", "observation", sum(spec.size for spec in policy.input_specs), contract.observation_size)
    _check_size("the policy", "action", policy.output_specs[0].size, action.size)
    trajectory = draw_trajectory(contract, steps=steps, batch=contract.batch or _ROWS_WHERE_ANY, seed=seed)
    stepper = policy_stepper(policy, batch=trajectory.batch)
    with one_thread():
        done = run(stepper, policy.contract(), trajectory)
    return trajectory, Run("the policy", {action.name: done.outputs[policy.output_specs[0].name]}, None)


def _check_size(who: str, what: str, found: int, wanted: int) -> None:
    if found != wanted:
        raise ArtifactError(f"{who} is not of this file: {what} has {found} elements there and {wanted} in the file")


def _words(reference: Run, trajectory: Trajectory) -> str:
    return trajectory.source if trajectory.actions is not None else f"{reference.name}, {trajectory.source},"


def _error(comparison: Comparison) -> float:
    return comparison.outputs[0].max_absolute_error
