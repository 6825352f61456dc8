"""What the command line of `ganglion` takes: commands, options, and what their values may be."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganglion.adapters import TRAINERS
from ganglion.contract import GOLDEN_STEPS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_SOURCE_HELP = (
    "where the policy comes from: file.py or file.py:attribute (default: 'policy' or 'load_policy'; run like an "
    "import), module:attribute, a checkpoint written by save_checkpoint, or the snapshot folder of a training run (its "
    "last snapshot). The attribute is a policy, a pair (policy, contract), or a function that returns one of these"
)


def _engines() -> tuple[str, ...] | None:
    """The names to choose from; any where the C++ runtime cannot be loaded, of which `ganglion doctor` tells."""
    try:
        from ganglion.runtime import engine_names
    except ImportError:
        return None
    return engine_names()


def _at_least(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"'{text}' is not an integer of at least {least}")
        return value

    return parse


def _tolerance(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0.0):
        raise argparse.ArgumentTypeError(f"'{text}' is not a positive number")
    return value


def _batch_or_any(text: str) -> int | str:
    return "any" if text == "any" else _at_least(1)(text)


def _iteration(text: str) -> str:
    return text if text in ("last", "first") else str(_at_least(0)(text))


def _native_path(text: str) -> str:
    if Path(text).suffix not in (".ganglion", ".hpp"):
        raise argparse.ArgumentTypeError(f"'{text}': a compiled policy ends in .ganglion or .hpp")
    return text


class _State(argparse.Action):
    """Gathers `--state INPUT:OUTPUT` into a dictionary."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, text: Any, *_: Any) -> None:
        if text == "none":
            setattr(namespace, self.dest, getattr(namespace, self.dest) or {})
            return
        source, colon, target = str(text).rpartition(":")
        if not (source and colon and target):
            parser.error(f"--state takes INPUT:OUTPUT, not '{text}'")
        setattr(namespace, self.dest, {**(getattr(namespace, self.dest) or {}), source: target})


class _Observation(argparse.Action):
    """Takes `--observation N`, or gathers `--observation INPUT:N` into a dictionary."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, text: Any, *_: Any) -> None:
        name, colon, count = str(text).rpartition(":")
        try:
            size = _at_least(1)(count)
        except argparse.ArgumentTypeError as error:
            parser.error(f"--observation takes N or INPUT:N: {error}")
        given = getattr(namespace, self.dest)
        setattr(namespace, self.dest, {**(given if isinstance(given, dict) else {}), name: size} if colon else size)


def _add_hints(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--state",
        action=_State,
        metavar="INPUT:OUTPUT",
        help="for a file without a contract: this output is the next value of this state input; can be given again, "
        "and then says it of all; 'none': the file has no state. The file <FILE>.yaml beside it can say the same",
    )
    parser.add_argument(
        "--action",
        metavar="OUTPUT",
        help="for an .onnx file without a contract: this output is the action; <FILE>.yaml can say the same",
    )


def _add_observation(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--observation",
        action=_Observation,
        metavar="N",
        help="for a TorchScript file without a contract: the observation has N elements; INPUT:N, given again, where "
        "it takes several; <FILE>.yaml can say the same",
    )


def _add_trust(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--trust",
        action="store_true",
        help="run a .pt file whose program has what no policy needs: it may do all that you may",
    )


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"'{text}': names with commas between them are expected")
    return names


def _add_deployment(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument(
        "--deployment",
        metavar="FILE",
        help="what stands around the network in its controller (IO_descriptors.yaml of Isaac Lab, deploy.yaml of "
        f"Unitree, an .onnx file with metadata of mjlab): {what}",
    )
    parser.add_argument(
        "--annotate-only",
        action="store_true",
        help="with --deployment: names, units, limits and the control period go into the contract, and the function "
        "stays as it is",
    )
    parser.add_argument(
        "--joint-sdk-names",
        type=_names,
        metavar="NAME,NAME,...",
        help="with a deploy.yaml of Unitree: the names of the motors in the order of the robot's SDK, which it lacks",
    )


def _add_trainer(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--from", dest="trainer", choices=TRAINERS, help="SOURCE is a checkpoint of this trainer")
    parser.add_argument("--config", metavar="FILE", help="with --from: the trainer's settings (agent.yaml)")
    parser.add_argument("--vecnormalize", metavar="FILE", help="with --from sb3: statistics of VecNormalize")
    parser.add_argument(
        "--allow-pickle",
        action="store_true",
        help="with --from: run what a pickle asks for, where it cannot be read as data; that can be any code",
    )
    parser.add_argument(
        "--set", action="append", metavar="NAME=VALUE", help="with --from: any other argument of the adapter's load()"
    )


def _add_tolerance(parser: argparse.ArgumentParser, difference: str) -> None:
    parser.add_argument(
        "--tolerance",
        type=_tolerance,
        metavar="X",
        help=f"largest accepted {difference} (default: 1e-5, or what rounding does in float32 where that is more)",
    )


def _add_weights(parser: argparse.ArgumentParser, tolerance: str) -> None:
    parser.add_argument(
        "--weights",
        choices=("float32", "float16", "int8", "int8x16", "int8x8"),
        default="float32",
        help="how the native engine stores the weights (default: %(default)s); int8 takes the fastest scheme that "
        "holds the tolerance, with inputs of products rounded to 8 bits (int8x8), to 16 bits (int8x16) or not at all",
    )
    parser.add_argument(
        tolerance,
        type=_tolerance,
        metavar="X",
        help="largest accepted |difference| that smaller weights make in any output (default: 0.01)",
    )


def _report_path(text: str) -> str:
    if Path(text).suffix not in (".html", ".json"):
        raise argparse.ArgumentTypeError(f"'{text}': a report ends in .html or .json")
    return text


class _Version(argparse.Action):
    """Prints the version; unlike argparse's own action, looks for it only when asked."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        import ganglion

        print(f"ganglion {ganglion.__version__}")
        parser.exit()


def command_line(commands: Mapping[str, Callable[[argparse.Namespace], object]]) -> argparse.ArgumentParser:
    """Returns the parser of `ganglion`.

    Args:
        commands: what runs, by the name of the command; a parse leaves it in `command`.
    """
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print exactly one JSON document on standard output")
    common.add_argument("--traceback", action="store_true", help="on an error, show where in the code it was raised")
    parser = argparse.ArgumentParser(
        prog="ganglion",
        description="Takes a recurrent policy trained in Python to a C++ control loop, and proves that both agree.",
        epilog="exit status: 0 good verdict, 1 bad verdict or error, 2 wrong command line",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and leave")
    parsers = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        added = parsers.add_parser(name, parents=[common], help=text, description=f"{text[0].upper()}{text[1:]}.")
        added.set_defaults(command=commands[name])
        return added

    export = add("export", "write a policy to one file, checked against the policy before it appears")
    export.add_argument("source", metavar="SOURCE", help=f"{_SOURCE_HELP}; with --from, a checkpoint of that trainer")
    export.add_argument(
        "--itr",
        type=_iteration,
        metavar="N|last|first",
        help="SOURCE is a folder of snapshots: the one to take (default: last)",
    )
    _add_trainer(export)
    export.add_argument(
        "-o", "--output", metavar="FILE", required=True, help="the file; .ganglion, .hpp, .onnx or .pt picks the form"
    )
    export.add_argument("--batch", type=_batch_or_any, metavar="N|any", help="rows of one step (default: 1)")
    export.add_argument(
        "--golden-steps",
        type=_at_least(GOLDEN_STEPS),
        default=GOLDEN_STEPS,
        metavar="N",
        help="steps of the run that is recorded in the file and replayed at every load (default: %(default)s)",
    )
    export.add_argument(
        "--recording",
        metavar="RUN.npz",
        help="take the observations of that run from recorded episodes (see verify), around the beginning of one",
    )
    _add_tolerance(export, "|file - policy| / max(1, |policy|)")

    _add_deployment(export, "with --annotate-only")
    export.set_defaults(joint_order=None)
    _add_weights(export, "--weight-tolerance")

    compile_ = add("compile", "compile an .onnx or .pt file, ours or anybody's, for the native engine")
    compile_.add_argument("file", metavar="FILE", help="an .onnx or .pt file")
    _add_hints(compile_)
    _add_observation(compile_)
    _add_trust(compile_)
    _add_deployment(compile_, "scales, clips, histories and joint orders become part of the function")
    compile_.add_argument(
        "--joint-order",
        type=_names,
        metavar="NAME,NAME,...",
        help="with --deployment: the joints in the order in which the controller gives and takes them (default: that "
        "of Unitree's motors, else that of the training)",
    )
    compile_.add_argument(
        "-o", "--output", type=_native_path, metavar="FILE", required=True, help="the file; .ganglion or .hpp"
    )
    _add_weights(compile_, "--tolerance")
    compile_.add_argument(
        "--recording",
        metavar="RUN.npz",
        help="a recorded run ('observation', 'reset'; see verify) to measure smaller weights with, beside the golden "
        "trajectory",
    )

    inspect = add("inspect", "show the contract of a file: inputs, outputs, state, period, digest")
    inspect.add_argument("file", metavar="FILE")
    _add_hints(inspect)
    _add_observation(inspect)
    _add_trust(inspect)

    sign = add("sign", "sign a file with the private key of a lab, so that a robot can insist on its own")
    sign.add_argument("file", metavar="FILE", help="a .ganglion, .onnx or .pt file with a contract")
    sign.add_argument(
        "--key",
        metavar="PRIVATE.pem",
        required=True,
        help="an Ed25519 private key; openssl genpkey -algorithm ed25519 -out PRIVATE.pem makes one",
    )
    sign.add_argument(
        "--passphrase-env", metavar="NAME", help="the environment variable that holds the passphrase of the key"
    )
    sign.add_argument("-o", "--output", metavar="FILE", help="the signed file (default: FILE itself)")

    verify = add("verify", "run one long trajectory through every implementation and compare them")
    verify.add_argument("file", metavar="FILE", nargs="?", help="an exported .ganglion, .onnx or .pt file")
    _add_hints(verify)
    _add_observation(verify)
    _add_trust(verify)
    verify.add_argument(
        "--matrix",
        metavar="POLICY",
        nargs="*",
        help="in place of a file: export an example of every kind of policy (or of those named) to every kind of file, "
        "and run each on every engine, along drawn observations and recorded episodes, with one row and with three of "
        "which some are reset",
    )
    verify.add_argument(
        "--key",
        metavar="PUBLIC.pem",
        help="refuse a file that is signed with none of these Ed25519 public keys; see ganglion sign",
    )
    verify.add_argument(
        "--policy",
        action="append",
        metavar="SOURCE",
        help="the reference (default: the file in Python): another .onnx, .pt or .ganglion file of the policy; or "
        f"{_SOURCE_HELP}; with --from, a checkpoint of that trainer. Can be given again: the first is the reference, "
        "and the others are compared with it, too",
    )
    _add_trainer(verify)
    trajectory = verify.add_mutually_exclusive_group()
    trajectory.add_argument("--steps", type=_at_least(1), metavar="N", help="length of the trajectory (default: 2000)")
    trajectory.add_argument(
        "--recording",
        metavar="RUN.npz",
        help="in place of a drawn trajectory, episodes that EpisodeBatch.save wrote, each beginning with a reset; "
        "or arrays 'observation' [T, n] or [T, batch, n] and, if there were resets, 'reset' [T] or [T, batch]",
    )
    verify.add_argument(
        "--recorded-actions",
        nargs="?",
        const="actions",
        metavar="NAME",
        help="also compare the actions of recorded episodes (or this entry of agent_infos, 'mean' say), or an array "
        "'action', with those of the reference: for runs of this very policy, without noise",
    )
    verify.add_argument(
        "--seed", type=_at_least(0), default=0, metavar="S", help="of the drawn trajectory (default: 0)"
    )
    _add_tolerance(verify, "|found - expected| / max(1, |expected|)")
    verify.add_argument(
        "--engine",
        action="append",
        choices=_engines(),
        help="engine of the C++ runtime that must run; can be given "
        "again (default: every one that opens the file, or what it is compiled to in memory)",
    )
    verify.add_argument("--batch", type=_at_least(1), metavar="N", help="rows, for a file that takes any number")
    verify.add_argument(
        "--report", type=_report_path, metavar="OUT", help="also write a report: .html (plots) or .json"
    )

    repair = add("repair", "set linear_before_reset in the GRUs of an .onnx file if a reference wants it")
    repair.add_argument("file", metavar="FILE", help="an .onnx file of another exporter")
    repair.add_argument(
        "-o", "--output", metavar="OUT", required=True, help="written only if it is right and FILE is not; else exit 1"
    )
    reference = repair.add_mutually_exclusive_group(required=True)
    reference.add_argument(
        "--recording",
        metavar="RUN.npz",
        help="recorded episodes of the policy without noise (EpisodeBatch.save), or arrays 'observation', 'action' "
        "and, if there were resets, 'reset', [T, ...] or [T, batch, ...]",
    )
    reference.add_argument(
        "--policy",
        dest="source",
        metavar="SOURCE",
        help=f"the policy; {_SOURCE_HELP}; with --from, a checkpoint of that trainer",
    )
    _add_trainer(repair)
    repair.set_defaults(itr=None)
    repair.add_argument(
        "--recorded-actions",
        metavar="NAME",
        default="actions",
        help="entry of the episodes' agent_infos to compare with, 'mean' say (default: %(default)s)",
    )
    _add_tolerance(repair, "|found - expected| / max(1, |expected|) of an action")
    _add_hints(repair)

    bench = add("bench", "measure the latency of a step in the C++ runtime, engines interleaved")
    bench.add_argument("files", nargs="+", metavar="FILE")
    _add_hints(bench)
    _add_observation(bench)
    _add_trust(bench)
    bench.add_argument(
        "--engine", action="append", choices=_engines(), help="only this engine; can be given again (default: all)"
    )
    bench.add_argument("--steps", type=_at_least(1), metavar="N", help="timed steps per round")
    bench.add_argument("--rounds", type=_at_least(1), metavar="R", help="rounds; in each, every engine has its turn")

    add("doctor", "show which engines are usable, library files, CPU features and versions")
    return parser
