"""`ganglion export`: a policy to one file."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from ganglion.cli.outcome import Outcome
from ganglion.cli.progress import status
from ganglion.cli.source import source_of
from ganglion.cli.tables import contract_document, contract_tables, memory_document, memory_lines

if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> Outcome:
    """Runs `ganglion export`."""
    from ganglion.export import export

    check_deployment(arguments)
    if arguments.deployment is not None and not arguments.annotate_only:
        raise ValueError("export leaves the function as it is: --deployment FILE --annotate-only, or compile the file")
    with status("loading the policy"):
        source = source_of(arguments)
        policy, contract = source.policy, source.contract
    rows = {None: 1, "any": None}.get(arguments.batch, arguments.batch)
    if contract is not None and arguments.batch is not None:
        contract = dataclasses.replace(contract, batch=rows)
    if arguments.deployment is not None:
        from ganglion.adapters import deployment

        description = deployment.read(arguments.deployment, joint_sdk_names=arguments.joint_sdk_names)
        contract = deployment.annotate(contract or policy.contract(batch=rows), description)
    with status(f"exporting {arguments.output}"):
        written = export(
            policy,
            arguments.output,
            contract=contract,
            batch=rows,
            recording=arguments.recording,
            tolerance=arguments.tolerance,
            weights=arguments.weights,
            weight_tolerance=arguments.weight_tolerance,
            **({} if arguments.golden_steps is None else {"golden_steps": arguments.golden_steps}),
        )
    size = Path(arguments.output).stat().st_size
    document = {
        "ok": True,
        "file": arguments.output,
        "bytes": size,
        "memory": memory_document(written),
        "contract": contract_document(written),
    }
    headline = Text(f"{arguments.output}: {size:,} bytes", style="bold")
    return Outcome(document, (headline, *memory_lines(written), *contract_tables(written)))


def check_deployment(arguments: argparse.Namespace) -> None:
    """Refuses options of a deployment description without one.

    Raises:
        ValueError: they do not fit together.
    """
    if arguments.deployment is None and (arguments.annotate_only or arguments.joint_sdk_names or arguments.joint_order):
        raise ValueError("--annotate-only, --joint-order and --joint-sdk-names go with --deployment FILE")
    if arguments.annotate_only and arguments.joint_order:
        raise ValueError("--joint-order changes the function, --annotate-only leaves it as it is: one of the two")
