"""The C99 header of a policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ganglion.export.header import kernels, text
from ganglion.export.header.c99 import Translator
from ganglion.export.header.dialects import C99
from ganglion.export.header.version import made_by

if TYPE_CHECKING:
    from ganglion.contract import Contract
    from ganglion.export.header.code import Code

_CONSTANTS = """
observation_size action_size output_size hidden_size num_outputs outputs initial_state scratch_size next_offset
num_action_stages action_stages
"""
_FUNCTIONS = "init reset step output state set_state self_test to_command"
_GROUPS = frozenset(("detail", "golden", "weights"))
_BEGINNINGS = ("_initial", "_non_finite", "_num", "_set")
"""With what names begin that go on like another one: `set_state` like `state`."""


def prefix_of(name: str) -> str:
    """What stands before every name in C, so that policies of different names have no name in common.

    `gait_set` would: its `gait_set_state` is one of `gait`, too. Such a policy gets `_policy` behind its name, which
    stands in the middle of no other.

    Args:
        name: a C identifier without two underscores in a row.
    """
    meets = name.endswith(_BEGINNINGS) or not _GROUPS.isdisjoint(name.split("_")[1:])
    return f"{name}_policy" if meets and not name.endswith("_policy") else name


def render(code: Code, contract: Contract, prefix: str) -> str:
    """The text of a header.

    Args:
        code: the step.
        contract: contract of one row with a golden trajectory and a digest.
        prefix: C identifier, which stands before every name, see `prefix_of`.

    Returns:
        ASCII text.
    """
    dialect = C99(prefix)
    command = kernels.policy("command") if text.has_stages(contract) else ""
    types = {array.name: _plain(array.c_type) for array in code.arrays}
    translator = Translator(prefix, _element_types(code), types)
    loop = "\n".join((*code.lines, command, kernels.policy("loop")))
    functions = [
        translator.definitions(block)
        for block in (
            kernels.arithmetic("rounding"),
            kernels.arithmetic("mode"),
            kernels.one_lane(),
            *kernels.functions(loop, one_lane=True),
        )
    ]
    public = {name: f"{prefix}_{name}" for name in _FUNCTIONS.split()}
    public["Memory"] = f"{prefix}_policy"
    translator.names.update({name: f"{prefix}_{name}" for name in _CONSTANTS.split()})
    translator.names.update({name: dialect.type(name) for name in ("Status", "ActionStage")})
    translator.names["SelfTest"] = f"{prefix}_self_test_result"
    statements, own_functions = translator.statements(code.lines)
    parts = (
        _introduction(prefix, contract),
        text.contract_constants(dialect, contract, code),
        text.weights(dialect, code),
        text.golden(dialect, contract),
        kernels.c_types().replace("@", prefix),
        translator.definitions(kernels.policy("memory"), public),
        "// The operations that this policy needs.",
        *functions,
        own_functions,
        translator.definitions(kernels.policy("loop"), public).replace(
            "  // @step@", "\n".join(map(text.wrapped, statements))
        ),
        translator.definitions(command, public),
        kernels.arithmetic("end"),
        f"#endif  // GANGLION_{prefix}_H",
    )
    return text.with_digest("\n\n".join(part for part in parts if part) + "\n")


def _element_types(code: Code) -> dict[str, tuple[str, ...]]:
    """What the functions for several types of elements are called with."""
    types = {array.name: _plain(array.c_type) for array in code.arrays}
    found: dict[str, dict[str, None]] = {"affine": {}, "gather": {}}
    for line in code.lines:
        for function, given in found.items():
            if line.startswith(f"detail::{function}<"):
                given[types[line.partition("weights::")[2].partition(",")[0]]] = None
    return {function: tuple(given) for function, given in found.items()}


def _plain(c_type: str) -> str:
    return c_type.removeprefix("std::")


def _introduction(prefix: str, contract: Contract) -> str:
    """What the reader of the file sees first."""
    return f"""\
// A trained policy as C99, written by {made_by()}. Needs no library and no heap.
//
//   static {prefix}_policy policy;                             // all memory of one robot
//   if (!{prefix}_self_test(&policy).ok) stop();               // once: the recorded run of the Python policy
//   {prefix}_init(&policy);                                    // the initial state
//   float observation[{prefix}_observation_size], action[{prefix}_action_size];
//   if ({prefix}_step(&policy, observation, action) != {prefix}_ok) hold();
//
// One {prefix}_policy steps one robot: there are no batches here.
// {contract.observation_size} observation elements go in, {contract.action_size} action elements come out.
// The weights are constants, which a microcontroller keeps in flash: once for each source file that steps the policy.
// What is called {prefix}_detail_... may be called otherwise tomorrow. Do not edit: export the policy again.
{text.guard(prefix, f"GANGLION_{prefix}_H")}

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

{kernels.arithmetic("guards")}
typedef char {prefix}_detail_needs_doubles[sizeof(1.0) == 8 && sizeof(1.0F) == 4 ? 1 : -1];

{kernels.arithmetic("c begin")}"""
