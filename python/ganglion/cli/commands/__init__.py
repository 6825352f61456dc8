"""One file for each command: `run` takes the parsed command line and gives an `Outcome`."""

from __future__ import annotations

from ganglion.cli.commands import bench, compile, doctor, export, inspect, repair, sign, verify  # noqa: A004

COMMANDS = {
    "export": export.run,
    "compile": compile.run,
    "inspect": inspect.run,
    "verify": verify.run,
    "sign": sign.run,
    "repair": repair.run,
    "bench": bench.run,
    "doctor": doctor.run,
}

__all__ = ["COMMANDS"]
