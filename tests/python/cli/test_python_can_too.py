"""Nothing on the command line that Python cannot call: every option of every command is an argument of a call."""

from __future__ import annotations

import argparse
import inspect

import pytest

import ganglion
from ganglion import adapters, flight, verify
from ganglion.adapters import deployment
from ganglion.cli import completion
from ganglion.cli.commands import COMMANDS
from ganglion.cli.parser import command_line
from ganglion.export import export
from ganglion.training import load_policy
from ganglion.verify import matrix
from ganglion.wiring import wiring

OUTPUT = {"json", "traceback", "help", "help_all"}  # how a result is printed
FILE = {"file": "path", "output": "out"}
SOURCE = {"source": "policy", "trainer": None, "set": None}  # a policy; which adapter; any argument of its `load`

LOADERS = [getattr(adapters, name).load for name in adapters.TRAINERS]

# command: the calls that do it; what an option is called there if not the same, None where it is the choice of a call
CALLS = {
    "export": (
        [export, deployment.read, load_policy, *LOADERS],
        SOURCE | {"output": "path", "annotate_only": None, "deployment": "path", "itr": "from_epoch"},
    ),
    "compile": ([ganglion.compile], FILE),
    "chain": ([ganglion.chain], {"output": "out"}),
    "inspect": ([ganglion.explain], {"file": "path"}),
    "verify": (
        [verify.verify, matrix.matrix, ganglion.ParityReport.save, *LOADERS],
        {"file": "path", "engine": "engines", "matrix": "kinds", "report": "path", "trainer": None, "set": None}
        | {"key": "public_key"},
    ),
    "profile": ([ganglion.wiring.profile], {"file": "path", "output": "out"}),
    "sign": ([ganglion.sign], {"file": "path", "key": "private_key", "output": "out", "passphrase_env": "passphrase"}),
    "repair": ([ganglion.repair, *LOADERS], FILE | SOURCE),
    "bench": ([verify.bench], {"engine": "engines"}),
    "replay": ([ganglion.replay], {"file": "path"}),
    "report": ([flight.report], {"file": "path"}),
    "wiring": ([wiring, ganglion.WiringReport.save], {"files": "trained", "output": "path"}),
    "doctor": ([ganglion.diagnose], {}),
    "completion": ([completion.script], {}),
}


def options(command: str) -> set[str]:
    parser = command_line(COMMANDS)
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return {action.dest for action in commands.choices[command]._actions} - OUTPUT


def test_every_command_is_listed() -> None:
    assert CALLS.keys() == COMMANDS.keys()


@pytest.mark.parametrize("command", CALLS)
def test_every_option_is_an_argument(command: str) -> None:
    calls, names = CALLS[command]
    arguments = {name for call in calls for name in inspect.signature(call).parameters}
    missing = {option for option in options(command) if names.get(option, option) not in arguments | {None}}
    assert not missing, f"`ganglion {command}` takes {sorted(missing)}, and no call does"
    assert names.keys() <= options(command)
    assert all(inspect.getdoc(call) for call in calls)


def test_what_doctor_says() -> None:
    found = ganglion.diagnose()
    assert found.ok and found.problem is None and {engine.name for engine in found.engines} > {"native"}
