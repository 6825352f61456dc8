"""Contracts and findings as text, as tables and as JSON."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from ganglion._foundation.tables import FilledTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from ganglion.contract import Contract
    from ganglion.reading import Finding


def contract_document(contract: Contract) -> dict[str, Any]:
    """The contract as in the file, with the size of the golden trajectory in place of its numbers."""
    document: dict[str, Any] = json.loads(dataclasses.replace(contract, golden=None).to_json())
    del document["contract_sha256"]  # it is of the whole text
    golden = contract.golden
    if golden is not None:
        document["golden"] = {"steps": golden.steps, "rows": golden.rows, "tolerance": golden.tolerance}
        if golden.allowed is not None:
            document["golden"]["largest_rounding"] = float(golden.allowed.max())
    profile = contract.observation_profile
    if profile is not None:
        counts = ("steps", "size", "segments", "actions")
        document["observation_profile"] = {name: document["observation_profile"][name] for name in counts}
    return document


def contract_tables(contract: Contract) -> tuple[RenderableType, ...]:
    """The facts of a contract, then what is known of the elements of every input and output."""
    # Here, because `ganglion doctor` runs where the C++ runtime cannot be loaded.
    from ganglion.verify.describe import ELEMENT_COLUMNS, NOTHING_KNOWN, contract_facts, element_rows

    facts = Table.grid(padding=(0, 2))
    for label, value in contract_facts(contract):
        if value:
            facts.add_row(Text(label, style="dim"), Text(value, overflow="fold"))
    tables: list[RenderableType] = [facts]
    for kind, specs in (("Input", contract.inputs), ("Output", contract.outputs)):
        for spec in specs:
            title, rows = f"{kind} {spec.name} [{spec.size}]", element_rows(spec)
            tables.append(FilledTable(title, ELEMENT_COLUMNS, rows) if rows else Text(f"{title}: {NOTHING_KNOWN}"))
    return tuple(tables)


_MEMORY = ("flash_bytes", "self_test_bytes", "ram_bytes")


def memory_document(contract: Contract) -> dict[str, int] | None:
    """The memory of a policy that is a header, as `export/header/footprint.py` counted it; None for other files."""
    if not all(name in contract.provenance for name in _MEMORY):
        return None
    return {name: int(contract.provenance[name]) for name in _MEMORY}


def memory_lines(contract: Contract) -> list[Text]:
    """A line for the memory of a policy that is a header."""
    found = memory_document(contract)
    if found is None:
        return []
    flash, self_test, ram = (f"{found[name]:,} bytes" for name in _MEMORY)
    return [Text(f"flash: {flash} and the code, {self_test} more with the self-test; RAM: {ram} for a robot")]


def finding_lines(findings: Sequence[Finding], file: str | None = None) -> list[Text]:
    """A line for everything that is suspicious about a file, which is named where there are several."""
    where = "" if file is None else f"{file}: "
    return [Text(f"{where}[{finding.code}] {finding.sentence}", style="bold yellow") for finding in findings]
