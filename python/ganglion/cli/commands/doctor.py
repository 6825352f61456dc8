"""`ganglion doctor`: what this machine can run."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

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
    engines = Table("engine", "", "version", "note", title="Engines", title_justify="left", box=SIMPLE_HEAD)
    for engine in diagnosis.engines:
        state = Text("usable", style="green") if engine.usable else Text("not usable", style="yellow")
        engines.add_row(Text(engine.name), state, Text(engine.version or "-"), Text(engine.reason))
    versions = Table("package", "version", title="Versions", title_justify="left", box=SIMPLE_HEAD)
    for package, version in diagnosis.versions.items():
        versions.add_row(Text(package), Text(version or "not installed", style="" if version else "dim"))
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
