"""How a file was understood: its own contract, or what was recognised by names, shapes and connections.

The recognition itself is in the C++ runtime, so that a robot reads a file as the workstation does.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ganglion import _core
from ganglion._foundation.core_errors import core_errors
from ganglion.contract import Contract
from ganglion.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from ganglion._foundation.files import ReadFile


@dataclass(frozen=True)
class Finding:
    """Something in a file that its user should know of; none of it keeps the policy from running.

    Attributes:
        code: stable name of the kind of finding, for example `"gru-linear-before-reset"`.
        sentence: what was found, and what to do.
    """

    code: str
    sentence: str


@dataclass(frozen=True)
class StateNames:
    """What a file calls one state slot.

    Attributes:
        slot: name of the slot in the contract.
        input: the tensor that takes the state; a buffer in a TorchScript module.
        output: the tensor that gives the next state; empty for a slot that counts steps.
    """

    slot: str
    input: str
    output: str


@dataclass(frozen=True)
class Reading:
    """How a file was understood.

    Attributes:
        contract: what goes in, what comes out, which state.
        dialect: who wrote it: `"rsl_rl"`, `"rl_games"`, `"rllib"`, `"torchrl"`, `"exploy"`, `"mjlab"`, `"legged_gym"`,
            `"mlagents"`, `"pyrado"`, `"leapp"`, `"generic"`, `"unknown"`, or `"ganglion"` where the file carries a
            contract.
        state: one entry per state slot of the contract.
        constants: inputs that always hold one value, such as a sequence length of 1.
        notes: one sentence for each thing that was recognised.
        findings: what is suspicious.
        signer: Ed25519 public key of who signed the file, in hexadecimal; empty for nobody.
    """

    contract: Contract
    dialect: str = "ganglion"
    state: tuple[StateNames, ...] = ()
    constants: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    signer: str = ""

    @classmethod
    def from_json(cls, text: str) -> Reading:
        """Reads what the C++ runtime wrote."""
        document = json.loads(text)
        return cls(
            contract=Contract.from_json(document["contract"]),
            dialect=document["dialect"],
            state=tuple(StateNames(**names) for names in document["state"]),
            constants=document["constants"],
            notes=tuple(map(printable, document["notes"])),
            findings=tuple(
                Finding(finding["code"], printable(finding["sentence"])) for finding in document["findings"]
            ),
            signer=document["signer"],
        )


def kept_findings(findings: Iterable[Finding]) -> dict[str, str]:
    """Entries for the provenance of a file that is made of another: whoever reads the new one finds them again.

    What is said of the old file's contract is not true of the new one.
    """
    entries: dict[str, str] = {}
    for finding in findings:
        if finding.code in ("contract-unsealed", "golden-missing"):
            continue
        key, count = f"finding:{finding.code}", 1
        while key in entries:
            count += 1
            key = f"finding:{finding.code}:{count}"
        entries[key] = finding.sentence
    return entries


def hints(
    state: Mapping[str, str] | None, action: str | None, observation: int | Mapping[str, int] | None = None
) -> _core.ReadingHints:
    """What the user says of a file: state inputs and the outputs that feed them, the action, elements of observations.

    None: recognise.

    Raises:
        ValueError: see `observation_sizes`.
    """
    pairs = None if state is None else list(state.items())
    return _core.ReadingHints(state=pairs, constants={}, action=action, observation=observation_sizes(observation))


def observation_sizes(observation: int | Mapping[str, int] | None) -> dict[str, int]:
    """Elements of observations by name, as the C++ runtime takes them: `""` stands for the only one.

    Raises:
        ValueError: a number of elements is none.
    """
    sizes = {} if observation is None else {"": observation} if isinstance(observation, int) else dict(observation)
    for name, size in sizes.items():
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise ValueError(
                f"the observation {repr(name) + ' ' if name else ''}must have at least 1 element, not {size}"
            )
    return sizes


def hints_beside(path: Path, given: _core.ReadingHints) -> _core.ReadingHints:
    """The same, with what the file `<path>.yaml` says, where there is one.

    Raises:
        GanglionError: that file cannot be read.
    """
    with core_errors():
        return _core.hints_for(path, given)


def read_onnx(file: bytes, name: str, state: Mapping[str, str] | None = None, action: str | None = None) -> Reading:
    """Understands an ONNX model in memory that carries no contract.

    Args:
        file: the serialised model, weights inside.
        name: stands for its path in messages.
        state: see `ganglion.load`.
        action: see `ganglion.load`.

    Raises:
        ArtifactError: it is damaged, or its state cannot be recognised.
    """
    with core_errors():
        return Reading.from_json(_core.explain_onnx_json(file, name, hints(state, action)))


def judge(file: ReadFile) -> None:
    """Has the C++ runtime check the bytes of a file that carries a contract: container, contract, digests.

    Raises:
        ArtifactError: it is damaged, was changed after export, or is of a newer format.
    """
    with core_errors():
        _core.explain_bytes_json(file.data, str(file.path), _core.LoadOptions({}))
