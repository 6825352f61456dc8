"""What stands in a header beside the functions: contract, weights and golden trajectory, in the words of a dialect."""

from __future__ import annotations

import hashlib
import math
import textwrap
from typing import TYPE_CHECKING

import numpy as np

from ganglion.export.header import kernels
from ganglion.export.header.code import flushed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ganglion.contract import ActionStage, Contract, TensorSpec
    from ganglion.export.header.code import Code
    from ganglion.export.header.dialects import Dialect

_WIDTH = 118
DIGEST = "@digest@"
"""What `with_digest` writes over."""


def with_digest(header: str) -> str:
    """A header with its own digest where `DIGEST` stands, by which policies of one name are told apart."""
    return header.replace(DIGEST, hashlib.sha256(header.encode()).hexdigest()[:16])


def guard(name: str, macro: str) -> str:
    """Refuses a second policy of a name in one source file, and leaves out a second copy of the first."""
    return f"""\
#if defined({macro}) && !defined({macro}_{DIGEST})
#error "Two policies are called {name} here: export one of them to a file of another name."
#endif
#ifndef {macro}
#define {macro}
#define {macro}_{DIGEST}"""


def contract_constants(dialect: Dialect, contract: Contract, code: Code) -> str:
    """What goes in, what comes out, in which units, at what period."""
    assert contract.sha256 is not None
    period = "0.0" if contract.period_s is None else kernels.double_literal(contract.period_s)
    slots = [(slot.name, slot.size) for slot in contract.state]
    initial = flushed(np.asarray(contract.initial_state or (0.0,), np.float32))
    lines = [
        dialect.size("observation_size", contract.observation_size, "all inputs side by side"),
        dialect.size("action_size", contract.action_size, "the first output"),
        dialect.size("output_size", contract.output_size, "all outputs side by side"),
        dialect.size("hidden_size", contract.hidden_size, "all state slots side by side"),
        dialect.constant("double", "period_s", period, "control period in training, seconds; 0: unknown"),
        "/// Digest over program and weights: two files of one policy have the same.",
        dialect.text("sha256", kernels.string(contract.sha256)),
        "",
        "/// A named part of the observation, the outputs or the state: `size` elements from `offset` on.",
        *dialect.struct("Tensor", ("const char* name", "std::size_t offset", "std::size_t size")),
        *_tensors(dialect, "inputs", [(spec.name, spec.size) for spec in contract.inputs]),
        *_tensors(dialect, "outputs", [(spec.name, spec.size) for spec in contract.outputs]),
        *_tensors(dialect, "state_slots", slots),
        "",
        '/// One element: name and unit ("" where unknown), bounds (infinite where there are none or none are known).',
        *dialect.struct("Element", ("const char* name", "const char* unit", "float low", "float high")),
        *_elements(dialect, "observation_elements", "observation_size", contract.inputs),
        *_elements(dialect, "output_elements", "output_size", contract.outputs),
        "",
        "/// Where the policy comes from.",
        *dialect.struct("Note", ("const char* key", "const char* text")),
        dialect.size("num_notes", len(contract.provenance)),
    ]
    if contract.provenance:
        notes = ((kernels.string(key), kernels.string(text)) for key, text in contract.provenance.items())
        lines += dialect.structs("Note", "provenance", "num_notes", [f"    {{{key}, {text}}}," for key, text in notes])
    if has_stages(contract):
        assert contract.action_map is not None
        lines += ["", *_action_map(dialect, contract.action_map, contract.action_size)]
    lines += [
        "",
        "/// What reset() restores.",
        dialect.array("float", "initial_state", initial),
        "",
        "/// Working memory of a step, and where in it outputs and next state end up.",
        dialect.size("scratch_size", code.scratch_size),
        dialect.size("next_offset", code.next_offset),
    ]
    return "\n".join(lines)


def has_stages(contract: Contract) -> bool:
    """Whether a caller may want a command of an action that the policy itself did not map."""
    return bool(contract.action_map and (contract.distribution or contract.previous_action))


def weights(dialect: Dialect, code: Code) -> str:
    """The constants of the program."""
    if not code.arrays:
        return ""
    title = "/// Weights and constants of the program, in the layout of `affine`."
    arrays = [dialect.array(item.c_type, item.name, item.values, group="weights") for item in code.arrays]
    return "\n".join((title, dialect.group("weights", arrays)))


def golden(dialect: Dialect, contract: Contract) -> str:
    """Row 0 of the golden trajectory."""
    recorded = contract.golden
    assert recorded is not None
    allowed = np.zeros(recorded.outputs.shape, np.float32) if recorded.allowed is None else recorded.allowed
    has_rounding = bool(allowed.any())
    title = "/// A short recorded run of the Python policy with a reset in the middle, which the self-test replays."
    parts = [
        dialect.size("steps", recorded.steps, group="golden"),
        dialect.constant("float", "tolerance", kernels.literal(recorded.tolerance), group="golden"),
        dialect.array("bool", "reset", recorded.reset[:, 0], group="golden"),
        dialect.array("float", "observation", recorded.observation[:, 0], group="golden"),
        dialect.array("float", "outputs", recorded.outputs[:, 0], group="golden"),
        "/// What float32 itself may change of an output beside the tolerance; one 0 where that is enough.",
        dialect.array("float", "rounding", allowed[:, 0] if has_rounding else allowed[:1, 0, :1], group="golden"),
        dialect.constant("bool", "has_rounding", str(has_rounding).lower(), group="golden"),
    ]
    return "\n".join((title, dialect.group("golden", parts)))


def wrapped(statement: str) -> str:
    """A statement of the step, 120 columns wide."""
    return textwrap.fill(
        statement,
        120,
        initial_indent="  ",
        subsequent_indent="  // " if statement.startswith("//") else "      ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _tensors(dialect: Dialect, name: str, tensors: Sequence[tuple[str, int]]) -> list[str]:
    lines = [dialect.size(f"num_{name}", len(tensors))]
    if not tensors:  # neither language has empty arrays
        return lines
    offset, rows = 0, []
    for tensor, size in tensors:
        rows.append(f"    {{{kernels.string(tensor)}, {offset}, {size}}},")
        offset += size
    return [*lines, *dialect.structs("Tensor", name, f"num_{name}", rows)]


def _action_map(dialect: Dialect, stages: Sequence[ActionStage], size: int) -> list[str]:
    rows = []
    for stage in stages:
        lists = (
            stage.scale or (1.0,) * size,
            stage.offset or (0.0,) * size,
            stage.low or (-math.inf,) * size,
            stage.high or (math.inf,) * size,
        )
        numbers = ", ".join(f"{{{', '.join(kernels.double_literal(value) for value in values)}}}" for values in lists)
        row = f"{{{str(stage.squash).lower()}, {numbers}}},"
        rows += textwrap.wrap(row, _WIDTH, initial_indent="    ", subsequent_indent="     ")
    members = ("bool squash", *(f"double {name}[action_size]" for name in ("scale", "offset", "low", "high")))
    return [
        "/// One step of to_command: clip(scale * x + offset, low, high), of tanh(x) where squash is set.",
        *dialect.struct("ActionStage", members),
        dialect.size("num_action_stages", len(stages)),
        *dialect.structs("ActionStage", "action_stages", "num_action_stages", rows),
    ]


def _elements(dialect: Dialect, name: str, size: str, specs: Sequence[TensorSpec]) -> list[str]:
    rows = []
    for spec in specs:
        names, units = spec.element_names or ("",) * spec.size, spec.units or ("",) * spec.size
        low, high = spec.low or (-np.inf,) * spec.size, spec.high or (np.inf,) * spec.size
        for values in zip(names, units, low, high, strict=True):
            texts = (*(kernels.string(text) for text in values[:2]), *(kernels.literal(bound) for bound in values[2:]))
            rows.append(f"    {{{', '.join(texts)}}},")
    return dialect.structs("Element", name, size, rows)
