"""`ganglion doctor`: what this machine can run."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from rich.text import Text

from ganglion._foundation.tables import FilledTable
from ganglion.cli.outcome import Outcome
from ganglion.cli.progress import status
from ganglion.diagnosis import diagnose

if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> Outcome:
    """Runs `ganglion doctor`."""
    del arguments
    with status("looking at the engines"):
        diagnosis = diagnose()
    usable = {True: Text("usable", style="green"), False: Text("not usable", style="yellow")}
    engines = FilledTable(
        "Engines",
        ("engine", "here", "version", "note"),
        [(engine.name, usable[engine.usable], engine.version or "", engine.reason) for engine in diagnosis.engines],
    )
    missing = Text("not installed", style="dim")
    versions = FilledTable(
        "Versions",
        ("package", "version"),
        [(package, version or missing) for package, version in diagnosis.versions.items()],
    )
    notes = [Text(f"{engine.name}: {engine.library}") for engine in diagnosis.engines if engine.library is not None]
    notes.append(Text(f"{diagnosis.platform}; CPU features: {', '.join(diagnosis.cpu_features) or 'none found'}"))
    if diagnosis.problem is not None:
        notes.append(Text(diagnosis.problem, style="bold red"))
    elif not diagnosis.ok:
        notes.append(Text("no engine is usable: pip install 'ganglion[onnx]' or 'ganglion[torch]'", style="bold red"))
    document = {"ok": diagnosis.ok} | dataclasses.asdict(diagnosis)
    for engine in document["engines"]:
        engine["library"] = None if engine["library"] is None else str(engine["library"])
    return Outcome(document, (engines, versions, *notes), diagnosis.ok)
