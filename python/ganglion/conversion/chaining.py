"""Two files whose first feeds the second, as a policy in one file."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ganglion._foundation.boundary import bounded
from ganglion._foundation.checkpoints import naming_checkpoints
from ganglion._foundation.comparison import first_difference
from ganglion._foundation.targets import HEADERS, check_target
from ganglion.conversion.compiling import opened, write
from ganglion.conversion.feeds import new_parts, read_feed
from ganglion.conversion.joined_graph import identifier, joined_contract, joined_model
from ganglion.errors import ExportError

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from ganglion.compiler.model import OnnxModel
    from ganglion.contract import Contract, Golden
    from ganglion.conversion.feeds import Feed
    from ganglion.reading import Finding


@dataclass(frozen=True)
class ChainReport:
    """What `ganglion.chain` made of two files.

    Attributes:
        path: the file that was written.
        contract: its contract, with digest and golden trajectory.
        feed: for each input of the second file, the parts that it is made of, in order, as `chain` takes them.
        findings: what is suspicious about the two files.
    """

    path: Path
    contract: Contract
    feed: dict[str, tuple[str, ...]]
    findings: tuple[Finding, ...]


@naming_checkpoints
@bounded(ExportError, what="cannot be chained")
def chain(
    first: str | os.PathLike[str],
    second: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    feed: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    observation: Mapping[str, int] | None = None,
    trust: bool = False,
    weights: str = "float32",
    tolerance: float | None = None,
) -> ChainReport:
    """Joins two files, the first of which feeds the second, to one policy in one file.

    An estimator or an encoder beside an actor, an adaptation module beside a body: a controller that runs both has to
    put the second's input together itself, in the order of the training. Here that becomes part of the function. The
    joined policy is run beside the two files, over a golden trajectory with resets, before it appears under its name.

    Args:
        first: an `.onnx` or `.pt` file, ours or anybody's, with memory or without.
        second: the file whose action is that of the joined policy. Chain twice where there are three.
        out: target; `.ganglion`, `.onnx`, or a header: `.hpp` for C++17, `.h` for C99.
        feed: what the second file's observation is made of, in order, or that for each of its inputs by name. A part is
            the name of an output of the first file, of an input of the first file, which both take then, either with
            neighbouring elements picked, `"history[-45:]"`, or a new input with its size, `"commands:5"`. Inputs that
            are not named are new inputs, or the first file's where name and size are the same. None where one output
            of the first and one input of the second have one name, or alone are of one size.
        observation: for TorchScript files without a contract that do not tell: how many elements the observation has,
            by `"first"` and `"second"`.
        trust: run `.pt` files whose programs have what no policy needs; see `ganglion.load`.
        weights: how a `.ganglion` file or a header stores its weights; see `ganglion.compile`.
        tolerance: see `ganglion.compile`.

    Returns:
        What was written. Its observation is the first file's, then the new inputs in their order; behind the second
        file's outputs stand those of the first, under its name: `encoder_latent`.

    Raises:
        ArtifactError: a file is missing or damaged, or the two were trained at different periods.
        ExportError: the parts do not fit (says which sizes there are), the joined policy differs from the two files, or
            see `ganglion.compile`.
        EngineUnavailableError: a package is not installed: onnx; torch for a `.pt` file or a header.
        TypeError: `feed` is one string.
        ValueError: an argument is wrong.
    """
    from ganglion.compiler.model import open_model

    target = Path(out)
    if target.suffix not in (".ganglion", ".onnx", *HEADERS):
        raise ExportError(f"'{target.name}': unknown suffix '{target.suffix}'; use .ganglion, .onnx, .hpp or .h")
    if target.suffix == ".onnx" and (weights != "float32" or tolerance is not None):
        raise ValueError("weights and tolerance are of .ganglion files and headers: an .onnx file has float32 weights")
    check_target(target)
    models: list[OnnxModel] = []
    findings: list[Finding] = []
    for which, file in (("first", first), ("second", second)):
        model, told, found = opened(file, None, None, (observation or {}).get(which), trust=trust)
        models.append(open_model(model, **told))
        findings += found
    parts = read_feed(models[0].contract, models[1].contract, feed)
    name = Path(first).stem if Path(first).stem != Path(second).stem else "first"
    joined = _joined(models[0], models[1], parts, identifier(name))
    contract = _written(target, joined, weights, tolerance)
    said = {spec: tuple(str(part) for part in made) for spec, made in parts.items()}
    return ChainReport(target, contract, said, tuple(findings))


def _joined(first: OnnxModel, second: OnnxModel, feed: Feed, name: str) -> OnnxModel:
    """The joined graph, whose golden trajectory is what the two graphs did apart from each other."""
    from ganglion.compiler.prove import record
    from ganglion.compiler.signature import store_contract

    contract = joined_contract(first, second, feed, name)
    joined = joined_model(first, second, feed, contract)
    golden = record(joined)
    apart = dataclasses.replace(golden, outputs=_apart(first, second, feed, golden))
    if difference := first_difference(golden.outputs, apart.outputs, golden.tolerance):
        place = contract.output_place(difference.element)
        raise ExportError(
            f"the joined graph differs from the two files: {difference.sentence(place)}. Either a file mixes the rows "
            "of a batch, which a policy must not do, or this is a defect of ganglion; please report it"
        )
    stored = store_contract(joined.proto, dataclasses.replace(contract, golden=apart))
    return dataclasses.replace(joined, contract=stored)


def _apart(first: OnnxModel, second: OnnxModel, feed: Feed, golden: Golden) -> NDArray[np.float32]:
    """Outputs `[steps, rows, n]` of both files, the second fed by hand as a controller would."""
    from ganglion.compiler.prove import run_graph
    from ganglion.compiler.session import named_parts

    one, two = first.contract, second.contract
    front = golden.observation[:, :, : one.observation_size]
    outputs = run_graph(first, front, golden.reset)[:, :, : one.output_size]
    sources = {
        "shared": named_parts(front, {spec.name: spec.size for spec in one.inputs}),
        "output": named_parts(outputs, {spec.name: spec.size for spec in one.outputs}),
        "new": named_parts(
            golden.observation[:, :, one.observation_size :], {part.name: part.size for part in new_parts(feed)}
        ),
    }
    parts = (part for spec in two.inputs for part in feed[spec.name])
    fed = [sources[part.origin][part.name][:, :, part.start : part.stop] for part in parts]
    action = run_graph(second, np.concatenate(fed, axis=2), golden.reset)[:, :, : two.output_size]
    return np.concatenate((action, outputs), axis=2)


def _written(target: Path, joined: OnnxModel, weights: str, tolerance: float | None) -> Contract:
    from ganglion.compiler import compile_onnx

    if target.suffix != ".onnx":
        integer_inputs = target.suffix not in HEADERS
        program, contract = compile_onnx(
            joined.proto, weights=weights, tolerance=tolerance, integer_inputs=integer_inputs
        )
        return write(target, program, contract)
    from ganglion.runtime.proof import other_rows, proven

    with proven(target, joined.contract, engine="onnxruntime", rows=other_rows(joined.contract)) as file:
        file.write_bytes(joined.proto.SerializeToString(deterministic=True))
    return joined.contract
