"""What the command line of `ganglion` takes: commands and options."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ganglion.adapters import TRAINERS
from ganglion.cli import values
from ganglion.cli.command_parser import CommandParser, HelpAll

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_SOURCE_HELP = (
    "where the policy comes from: file.py or file.py:attribute (default: 'policy' or 'load_policy'; run like an "
    "import), module:attribute, a checkpoint written by save_checkpoint, or the snapshot folder of a training run (its "
    "last snapshot). The attribute is a policy, a pair (policy, contract), or a function that returns one of these"
)
_SOURCE_BRIEF = "file.py[:NAME], module:NAME, checkpoint, snapshots"
_FILE_BRIEF = "a .ganglion, .onnx or .pt file, ours or anybody's"
_WEIGHTS = ("float32", "float16", "int8", "int8x16", "int8x8")

FRONT_PAGE = """\
ganglion takes a policy trained in Python to a C++ control loop, with proof.

Three jobs:
  export   write a trained policy to one file
           $ ganglion export walker.py -o walker.ganglion
  embed    step that file from C++ (ganglion::Policy::load); this times a step
           $ ganglion bench walker.ganglion
  verify   run Python, the file and C++ along one trajectory, and compare
           $ ganglion verify walker.ganglion --policy walker.py
And beside them:
  inspect     show what goes in, what comes out, and which state is kept
  compile     an .onnx or .pt file, ours or anybody's, for the native engine
  chain       two files, one feeding the other, as one policy in one file
  repair      put right what another exporter lost in a GRU
  profile     put into a file what observations looked like in training
  sign        sign a file, so that a robot can insist on its own
  replay      fly a recorded flight again, bit for bit, from its file alone
  report      show a recorded flight on an HTML page
  wiring      name what an adapter does to observations that training did not
  doctor      show which engines this machine can run
  completion  print the script that makes TAB complete all this
Every command: --help on one screen, --help-all in full, --json for programs.
Read on: README.md, docs/. Exit status: 0 good, 1 bad verdict or error, 2 usage.
"""
"""What `ganglion` alone and `ganglion --help` print."""


def _add_hints(parser: CommandParser, *, torchscript: bool = True) -> None:
    group = parser.add_argument_group("a file without a contract")
    parser.option(
        "--state",
        to=group,
        action=values.State,
        metavar="INPUT:OUTPUT",
        brief="this output is its next value; or 'none'",
        help="for a file without a contract: this output is the next value of this state input; can be given again, "
        "and then says it of all; 'none': the file has no state. The file <FILE>.yaml beside it can say the same",
    )
    parser.option(
        "--action",
        to=group,
        metavar="OUTPUT",
        brief="this output is the action",
        help="for an .onnx file without a contract: this output is the action; <FILE>.yaml can say the same",
    )
    if torchscript:
        parser.option(
            "--observation",
            to=group,
            action=values.Observation,
            metavar="N",
            brief=None if parser.prog == "ganglion verify" else "so many elements has the observation (TorchScript)",
            help="for a TorchScript file without a contract: the observation has N elements; INPUT:N, given again, "
            "where it takes several; <FILE>.yaml can say the same",
        )
        parser.option(
            "--trust",
            to=group,
            action="store_true",
            help="run a .pt file whose program has what no policy needs: it may do all that you may",
        )


def _add_deployment(parser: CommandParser, what: str, brief: str | None = None) -> Any:
    group = parser.add_argument_group("the controller around the network")
    parser.option(
        "--deployment",
        to=group,
        metavar="FILE",
        brief=brief,
        help="what stands around the network in its controller (IO_descriptors.yaml of Isaac Lab, deploy.yaml of "
        f"Unitree, an .onnx file with metadata of mjlab): {what}",
    )
    parser.option(
        "--annotate-only",
        to=group,
        action="store_true",
        help="with --deployment: names, units, limits and the control period go into the contract, and the function "
        "stays as it is",
    )
    parser.option(
        "--joint-sdk-names",
        to=group,
        type=values.names,
        metavar="NAME,NAME,...",
        help="with a deploy.yaml of Unitree: the names of the motors in the order of the robot's SDK, which it lacks",
    )
    return group


def _add_trainer(parser: CommandParser, *, all_brief: bool = False) -> None:
    group = parser.add_argument_group("the checkpoint of another trainer")
    parser.option(
        "--from",
        to=group,
        dest="trainer",
        choices=TRAINERS,
        metavar="TRAINER",
        brief=f"{', '.join(TRAINERS[2:6])}, ... ({len(TRAINERS)} in all)",
        help="SOURCE is a checkpoint of this trainer: %(choices)s",
    )
    parser.option(
        "--config",
        to=group,
        metavar="FILE",
        brief="the trainer's settings (agent.yaml)" if all_brief else None,
        help="with --from: the trainer's settings (agent.yaml)",
    )
    parser.option(
        "--vecnormalize",
        to=group,
        metavar="FILE",
        brief="of sb3: statistics of VecNormalize" if all_brief else None,
        help="with --from sb3: statistics of VecNormalize",
    )
    parser.option(
        "--set",
        to=group,
        action="append",
        metavar="NAME=VALUE",
        brief="any other argument of the adapter" if all_brief else None,
        help="with --from: any other argument of the adapter's load()",
    )
    parser.option(
        "--allow-pickle",
        to=group,
        action="store_true",
        help="with --from: run what a pickle asks for, where it cannot be read as data; that can be any code",
    )


def _add_tolerance(parser: CommandParser, difference: str, brief: str) -> None:
    parser.option(
        "--tolerance",
        type=values.tolerance,
        metavar="X",
        brief=brief,
        help=f"largest accepted {difference} (default: 1e-5, or what rounding does in float32 where that is more)",
    )


def _add_weights(parser: CommandParser, tolerance: str) -> None:
    parser.option(
        "--weights",
        choices=_WEIGHTS,
        default="float32",
        metavar="FORM",
        brief=f"stored as {', '.join(_WEIGHTS)}",
        help="how the native engine stores the weights: %(choices)s (default: %(default)s); int8 takes the fastest "
        "scheme that holds the tolerance, with inputs of products rounded to 8 bits (int8x8), to 16 bits (int8x16) or "
        "not at all",
    )
    parser.option(
        tolerance,
        type=values.tolerance,
        metavar="X",
        brief="largest difference that smaller weights may make" if tolerance == "--tolerance" else None,
        help="largest accepted |difference| that smaller weights make in any output (default: 0.01)",
    )


class _Version(argparse.Action):
    """Prints the version; unlike argparse's own action, looks for it only when asked."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        import ganglion

        print(f"ganglion {ganglion.__version__}")
        parser.exit()


class _FrontParser(CommandParser):
    def format_help(self) -> str:
        return FRONT_PAGE


def command_line(commands: Mapping[str, Callable[[argparse.Namespace], object]]) -> CommandParser:
    """Returns the parser of `ganglion`.

    Args:
        commands: what runs, by the name of the command; a parse leaves it in `command`.
    """
    parser = _FrontParser(prog="ganglion", usage="ganglion COMMAND [options]")
    parser.option("--version", action=_Version, nargs=0, help="show the version and leave")
    parsers = parser.add_subparsers(prog="ganglion", required=True, metavar="COMMAND", parser_class=CommandParser)

    def add(name: str, text: str, takes: str, *examples: str) -> CommandParser:
        added: CommandParser = parsers.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            usage=" ".join(("ganglion", name, *takes.split(), "[options]")),
            examples=[f"ganglion {name}{' ' * bool(example)}{example}" for example in examples],
        )
        added.set_defaults(command=commands[name], name=name)
        added.option(
            "--json",
            action="store_true",
            brief="one JSON document on standard output (docs/json.md)",
            help="print exactly one JSON document on standard output",
        )
        added.option("--traceback", action="store_true", help="on an error, show where in the code it was raised")
        added.option("--help-all", action=HelpAll, nargs=0, brief="all", help="show this page and leave")
        parser.commands[name] = added
        return added

    _export(add)
    _compile(add)
    _chain(add)
    _inspect(add)
    _profile(add)
    _sign(add)
    _verify(add)
    _repair(add)
    _bench(add)
    _replay(add)
    _report(add)
    _wiring(add)
    add("doctor", "show which engines are usable, library files, CPU features and versions", "", "", "--json")
    _completion(add)
    return parser


def _export(add: Callable[..., CommandParser]) -> None:
    export = add(
        "export",
        "write a policy to one file, checked against the policy before it appears",
        "SOURCE -o FILE",
        "walker.py -o walker.ganglion",
        "model_1500.pt --from rsl_rl -o walker.onnx",
    )
    export.option(
        "source",
        metavar="SOURCE",
        brief=_SOURCE_BRIEF,
        help=f"{_SOURCE_HELP}; with --from, a checkpoint of that trainer",
    )
    export.option(
        "--itr",
        type=values.iteration,
        metavar="N|last|first",
        help="SOURCE is a folder of snapshots: the one to take (default: last)",
    )
    export.option(
        "-o",
        "--output",
        metavar="FILE",
        required=True,
        brief=".ganglion, .hpp, .h, .onnx or .pt picks the form",
        help="the file; .ganglion, .hpp (C++), .h (C), .onnx, .pt or .yaml (a LEAPP bundle) picks the form",
    )
    export.option(
        "--batch",
        type=values.batch_or_any,
        metavar="N|any",
        brief="rows of one step (default: 1)",
    )
    _add_tolerance(export, "|file - policy| / max(1, |policy|)", "largest accepted error of the file")
    _add_weights(export, "--weight-tolerance")
    export.option(
        "--golden-steps",
        type=values.golden_steps,
        metavar="N",
        help="steps of the run that is recorded in the file and replayed at every load (default: the fewest)",
    )
    export.option(
        "--recording",
        metavar="RUN.npz",
        help="take the observations of that run from recorded episodes or a flight (see verify), around the beginning "
        "of one",
    )
    _add_trainer(export, all_brief=True)
    _add_deployment(export, "with --annotate-only")
    export.set_defaults(joint_order=None)


def _compile(add: Callable[..., CommandParser]) -> None:
    compile_ = add(
        "compile",
        "compile an .onnx or .pt file, ours or anybody's, for the native engine",
        "FILE -o FILE",
        "policy.onnx -o policy.ganglion",
        "policy.onnx -o policy.hpp --weights float16",
    )
    compile_.option("file", metavar="FILE", brief="an .onnx or .pt file, or a LEAPP bundle (.yaml)")
    compile_.option(
        "-o",
        "--output",
        type=values.native_path,
        metavar="FILE",
        required=True,
        brief="the file; .ganglion, .hpp or .h",
    )
    _add_weights(compile_, "--tolerance")
    compile_.option(
        "--recording",
        metavar="RUN.npz",
        help="a recorded run ('observation', 'reset'; see verify) to measure smaller weights with, beside the golden "
        "trajectory",
    )
    group = _add_deployment(
        compile_,
        "scales, clips, histories and joint orders become part of the function",
        "Isaac Lab's or Unitree's yaml: becomes part of it",
    )
    compile_.option(
        "--joint-order",
        to=group,
        type=values.names,
        metavar="NAME,NAME,...",
        help="with --deployment: the joints in the order in which the controller gives and takes them (default: that "
        "of Unitree's motors, else that of the training)",
    )
    _add_hints(compile_)


def _chain(add: Callable[..., CommandParser]) -> None:
    chain = add(
        "chain",
        "join two files, the first of which feeds the second, to one policy in one file",
        "FIRST SECOND -o FILE",
        "estimator.onnx actor.onnx -o policy.ganglion",
        "encoder.onnx actor.onnx -o a.ganglion --feed latent,obs:30",
        "adaptation.pt body.pt -o walker.onnx --feed history,latent",
    )
    chain.option("first", metavar="FIRST", brief="an .onnx or .pt file: encoder, estimator, adaptation module")
    chain.option("second", metavar="SECOND", brief="the file that gives the action")
    chain.option(
        "-o",
        "--output",
        type=values.chained_path,
        metavar="FILE",
        required=True,
        brief="the file; .ganglion, .onnx, .hpp or .h",
    )
    chain.option(
        "--feed",
        action=values.Feed,
        metavar="PART,PART,...",
        brief="what SECOND's observation is made of, in order",
        help="what the second file's observation is made of, in order: outputs of the first, inputs that both take "
        "(also in part: history[-45:]), and new inputs with their size (commands:5); INPUT=PART,... for each input of "
        "a second file with several (default: where names or sizes tell)",
    )
    _add_weights(chain, "--tolerance")
    chain.option(
        "--observation",
        action=values.Observation,
        metavar="first:N",
        help="elements of the observation of a TorchScript file that does not tell, first:N or second:N",
    )
    chain.option(
        "--trust",
        action="store_true",
        help="run .pt files whose programs have what no policy needs: they may do all that you may",
    )


def _inspect(add: Callable[..., CommandParser]) -> None:
    inspect = add(
        "inspect",
        "show the contract of a file: inputs, outputs, state, period, digest",
        "FILE",
        "walker.ganglion",
        "policy.onnx --state h_in:h_out",
    )
    inspect.option("file", metavar="FILE", brief=_FILE_BRIEF, help="a .ganglion, .onnx or .pt file")
    _add_hints(inspect)


def _profile(add: Callable[..., CommandParser]) -> None:
    profile = add(
        "profile",
        "put into a file what observations looked like in training",
        "FILE --recording RUN.npz",
        "walker.ganglion --recording training.npz",
        "walker.ganglion --recording training.npz -o profiled.ganglion",
    )
    profile.option("file", metavar="FILE", brief="a .ganglion, .onnx or .pt file with a contract, not signed")
    profile.option(
        "--recording",
        metavar="RUN.npz",
        required=True,
        brief="observations, and actions, of the training: .npz or .mcap",
        help="a recording of the policy in training: .npz with observation and where known action and reset, a file of "
        "EpisodeBatch.save, or .mcap; at least 256 steps, better minutes",
    )
    profile.option("-o", "--output", metavar="FILE", brief="the file with the profile (default: FILE itself)")


def _sign(add: Callable[..., CommandParser]) -> None:
    sign = add(
        "sign",
        "sign a file with the key of a lab, so that a robot can insist on its own",
        "FILE --key PRIVATE.pem",
        "walker.ganglion --key PRIVATE.pem",
        "walker.ganglion --key PRIVATE.pem -o signed.ganglion",
    )
    sign.option("file", metavar="FILE", brief="a .ganglion, .onnx or .pt file with a contract")
    sign.option(
        "--key",
        metavar="PRIVATE.pem",
        required=True,
        brief="openssl genpkey -algorithm ed25519 -out PRIVATE.pem",
        help="an Ed25519 private key; openssl genpkey -algorithm ed25519 -out PRIVATE.pem makes one",
    )
    sign.option(
        "--passphrase-env",
        metavar="NAME",
        brief="the environment variable with the key's passphrase",
        help="the environment variable that holds the passphrase of the key",
    )
    sign.option(
        "-o",
        "--output",
        metavar="FILE",
        brief="the signed file (default: FILE itself)",
    )


def _verify(add: Callable[..., CommandParser]) -> None:
    verify = add(
        "verify",
        "run one long trajectory through every implementation and compare them",
        "FILE",
        "walker.ganglion --policy walker.py --report report.html",
    )
    verify.option("file", metavar="FILE", nargs="?", brief=_FILE_BRIEF, help="an exported .ganglion, .onnx or .pt file")
    verify.option(
        "--policy",
        action="append",
        metavar="SOURCE",
        brief="the reference: file.py, checkpoint, another file of it",
        help="the reference (default: the file in Python): another .onnx, .pt or .ganglion file of the policy; or "
        f"{_SOURCE_HELP}; with --from, a checkpoint of that trainer. Can be given again: the first is the reference, "
        "and the others are compared with it, too",
    )
    trajectory = verify.add_mutually_exclusive_group()
    verify.option(
        "--steps",
        to=trajectory,
        type=values.at_least(1),
        metavar="N",
        brief="length of the trajectory (default: 2000)",
    )
    verify.option(
        "--recording",
        to=trajectory,
        metavar="RUN.npz",
        brief="recorded episodes or a flight, and none drawn",
        help="in place of a drawn trajectory, episodes that EpisodeBatch.save wrote, each beginning with a reset; "
        "or arrays 'observation' [T, n] or [T, batch, n] and, if there were resets, 'reset' [T] or [T, batch]; or the "
        ".mcap file of a flight",
    )
    verify.option(
        "--recorded-actions",
        nargs="?",
        const="actions",
        metavar="NAME",
        help="also compare the actions of recorded episodes (or this entry of agent_infos, 'mean' say), or an array "
        "'action', with those of the reference: for runs of this very policy, without noise",
    )
    verify.option(
        "--seed", type=values.at_least(0), default=0, metavar="S", help="of the drawn trajectory (default: 0)"
    )
    _add_tolerance(verify, "|found - expected| / max(1, |expected|)", "largest accepted error")
    verify.option(
        "--engine",
        action="append",
        choices=values.Engines(),
        metavar="ENGINE",
        brief="that must run; again for more (see: ganglion doctor)",
        help="engine of the C++ runtime that must run: %(choices)s; can be given again (default: every one that opens "
        "the file, or what it is compiled to in memory)",
    )
    verify.option("--batch", type=values.at_least(1), metavar="N", help="rows, for a file that takes any number")
    verify.option(
        "--report",
        type=values.report_path,
        metavar="OUT",
        brief="also write a report: .html (plots) or .json",
    )
    verify.option(
        "--key",
        metavar="PUBLIC.pem",
        help="refuse a file that is signed with none of these Ed25519 public keys; see ganglion sign",
    )
    verify.option(
        "--matrix",
        metavar="POLICY",
        nargs="*",
        help="in place of a file: export an example of every kind of policy (or of those named) to every kind of file, "
        "and run each on every engine, along drawn observations and recorded episodes, with one row and with three of "
        "which some are reset",
    )
    _add_trainer(verify)
    _add_hints(verify)


def _repair(add: Callable[..., CommandParser]) -> None:
    repair = add(
        "repair",
        "set linear_before_reset in the GRUs of an .onnx file if a reference wants it",
        "FILE -o OUT",
        "policy.onnx -o repaired.onnx --recording run.npz",
    )
    repair.option("file", metavar="FILE", brief="an .onnx file of another exporter")
    repair.option(
        "-o",
        "--output",
        metavar="OUT",
        required=True,
        brief="written if it is right and FILE is not; else exit 1",
        help="written only if it is right and FILE is not; else exit 1",
    )
    reference = repair.add_mutually_exclusive_group(required=True)
    repair.option(
        "--recording",
        to=reference,
        metavar="RUN.npz",
        brief="recorded episodes of the policy without noise",
        help="recorded episodes of the policy without noise (EpisodeBatch.save), or arrays 'observation', 'action' "
        "and, if there were resets, 'reset', [T, ...] or [T, batch, ...]",
    )
    repair.option(
        "--policy",
        to=reference,
        dest="source",
        metavar="SOURCE",
        brief=_SOURCE_BRIEF,
        help=f"the policy; {_SOURCE_HELP}; with --from, a checkpoint of that trainer",
    )
    repair.option(
        "--recorded-actions",
        metavar="NAME",
        default="actions",
        help="entry of the episodes' agent_infos to compare with, 'mean' say (default: %(default)s)",
    )
    _add_tolerance(repair, "|found - expected| / max(1, |expected|) of an action", "largest accepted error")
    _add_trainer(repair)
    repair.set_defaults(itr=None)
    _add_hints(repair, torchscript=False)


def _bench(add: Callable[..., CommandParser]) -> None:
    bench = add(
        "bench",
        "measure the latency of a step in the C++ runtime, engines interleaved",
        "FILE [FILE ...]",
        "walker.ganglion walker.onnx",
    )
    bench.option("files", nargs="+", metavar="FILE", brief=_FILE_BRIEF, help="a .ganglion, .onnx or .pt file")
    bench.option(
        "--engine",
        action="append",
        choices=values.Engines(),
        metavar="ENGINE",
        brief="only this one; again for more (see: ganglion doctor)",
        help="only this engine of %(choices)s; can be given again (default: all)",
    )
    bench.option(
        "--steps",
        type=values.at_least(1),
        metavar="N",
        brief="timed steps per round",
    )
    bench.option(
        "--rounds",
        type=values.at_least(1),
        metavar="R",
        brief="in each, every engine has its turn",
        help="rounds; in each, every engine has its turn",
    )
    bench.option(
        "--cold",
        type=values.at_least(1),
        metavar="N",
        brief="steps with empty caches per round, and a load",
        help="per round, so many steps with everything put out of the caches before each: so a control loop finds "
        "them; the table then says, too, what a load takes",
    )
    bench.option(
        "--record",
        action="store_true",
        brief="once more with a flight recorder attached",
        help="step every file once more in every round with a flight recorder attached: what recording adds to a step",
    )
    _add_hints(bench)


def _replay(add: Callable[..., CommandParser]) -> None:
    replay = add(
        "replay",
        "fly a recorded flight again from its file alone, and compare every bit",
        "FLIGHT.mcap",
        "flight.mcap",
        "flight.mcap --from 120000",
    )
    replay.option("file", metavar="FLIGHT.mcap", brief="what FlightRecorder wrote")
    replay.option(
        "--policy",
        action="append",
        metavar="FILE",
        brief="in place of the policy in the recording",
        help="another file in place of the recorded one: it replaces the policy of the same digest, or the only one; "
        "of several, give one for each, in their order. What is no copy of what flew is compared within the tolerance",
    )
    replay.option(
        "--engine",
        choices=values.Engines(),
        metavar="ENGINE",
        brief="what runs it (default: what flew it)",
        help="what runs it: %(choices)s (default: what flew it); bits are compared on the native engine",
    )
    replay.option(
        "--from",
        dest="from_step",
        type=values.at_least(0),
        metavar="STEP",
        brief="begin at the recorded state before this step",
    )
    _add_tolerance(replay, "|replayed - recorded| / max(1, |recorded|)", "where not every bit is compared")
    replay.option(
        "--trust",
        action="store_true",
        help="run a recorded .pt file whose program has what no policy needs: it may do all that you may",
    )


def _report(add: Callable[..., CommandParser]) -> None:
    report = add(
        "report",
        "show a recorded flight on one HTML page: traces, resets, statuses, gaps, timing",
        "FLIGHT.mcap -o OUT.html",
        "flight.mcap -o report.html",
    )
    report.option("file", metavar="FLIGHT.mcap", brief="what FlightRecorder wrote")
    report.option("-o", "--output", metavar="OUT.html", required=True, brief="one page, which needs no other file")


def _wiring(add: Callable[..., CommandParser]) -> None:
    wiring = add(
        "wiring",
        "name what an adapter does to observations that training did not",
        "TRAINED FOUND",
        "trained.npz adapter.npz --output correction.yaml",
        "--policy walker.ganglion flight.mcap",
    )
    wiring.option(
        "files",
        nargs="+",
        metavar="FILE",
        brief="what the policy saw, and what the adapter gave; or a log alone",
        help="two recordings of the same moments: what the policy saw in training, and what the robot's adapter makes "
        "of the raw states of these moments; each a .npz file with 'observation' [T, n] and, where known, 'action', "
        "'reset' and 'names', episodes that EpisodeBatch.save wrote, or the .mcap file of a flight. Or, with --policy, "
        "the log of a robot alone, beside what the policy file tells of its training",
    )
    wiring.option(
        "--policy",
        metavar="POLICY",
        brief="a policy file: names of elements, and what training saw",
        help="the policy's file: its contract names the elements, and where one recording is given, its observation "
        "profile is what that is compared with",
    )
    wiring.option(
        "--tolerance",
        type=values.tolerance,
        metavar="X",
        brief="size of sensor noise (default: rounding of float32)",
        help="size of the sensors' noise in units of the observation: its root mean square, and no value beyond six "
        "times it, is no difference (default: what rounding does in float32)",
    )
    wiring.option(
        "-o",
        "--output",
        type=values.wiring_path,
        metavar="OUT",
        brief="also write .html (traces), .json, or .yaml (the correction)",
        help="also write the report: .html with traces before and after, .json, or .yaml with the correction alone",
    )


def _completion(add: Callable[..., CommandParser]) -> None:
    completion = add(
        "completion",
        "print the script that makes TAB complete commands, options and files",
        "SHELL",
        "bash >> ~/.bashrc",
        "zsh >> ~/.zshrc",
        "fish > ~/.config/fish/completions/ganglion.fish",
    )
    completion.option(
        "shell",
        choices=("bash", "zsh", "fish"),
        metavar="SHELL",
        brief="bash, zsh or fish",
        help="the shell: %(choices)s",
    )
