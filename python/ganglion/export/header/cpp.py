"""The C++17 header of a policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ganglion.export.header import kernels, text
from ganglion.export.header.dialects import Cpp
from ganglion.export.header.version import made_by

if TYPE_CHECKING:
    from ganglion.contract import Contract
    from ganglion.export.header.code import Code


def render(code: Code, contract: Contract, namespace: str) -> str:
    """The text of a header.

    Args:
        code: the step.
        contract: contract of one row with a golden trajectory and a digest.
        namespace: C++ identifier.

    Returns:
        ASCII text.
    """
    dialect = Cpp()
    command = kernels.policy("command") if text.has_stages(contract) else ""
    statements = "\n".join(text.wrapped(line) for line in code.lines)
    loop = kernels.policy("loop").replace("  // @step@", statements)
    parts = (
        _introduction(namespace, contract),
        # Two source files may have two policies of one name: the linker shall not make one of them.
        f"namespace {namespace} {{\ninline namespace policy_{text.DIGEST} {{",
        text.contract_constants(dialect, contract, code),
        text.weights(dialect, code),
        text.golden(dialect, contract),
        kernels.policy("types"),
        _operations(loop, command),
        command,
        kernels.policy("class"),
        f"}}  // namespace policy_{text.DIGEST}\n}}  // namespace {namespace}",
        kernels.arithmetic("end"),
        f"#endif  // GANGLION_{namespace}_HPP",
    )
    return text.with_digest("\n\n".join(part for part in parts if part) + "\n")


def _operations(loop: str, command: str) -> str:
    return "\n\n".join(
        (
            "/// The operations that this policy needs.\nnamespace detail {",
            kernels.policy("memory"),
            "inline namespace GANGLION_KIND {",
            kernels.arithmetic("rounding"),
            kernels.arithmetic("mode"),
            f"{kernels.arithmetic('vectors')}\n\n#else\n{kernels.one_lane()}\n\n#endif",
            f"#if GANGLION_LANES > 1\n{kernels.arithmetic('several lanes')}\n#endif",
            *kernels.functions(f"{command}\n{loop}"),
            loop,
            "}  // namespace GANGLION_KIND\n}  // namespace detail",
        )
    )


def _introduction(namespace: str, contract: Contract) -> str:
    """What the reader of the file sees first."""
    return f"""\
// A trained policy as C++17, written by {made_by()}. Needs no library, no heap, no exceptions, no RTTI.
//
//   {namespace}::Policy policy;                          // starts in the initial state
//   if (!{namespace}::Policy::self_test().ok) stop();    // once: the recorded run of the Python policy
//   float observation[{namespace}::observation_size], action[{namespace}::action_size];
//   if (policy.step(observation, action) != {namespace}::Status::ok) hold();
//
// One object steps one robot: there are no batches here. {contract.observation_size} observation elements go in, \
{contract.action_size} action elements come out.
// The weights are constants, which a microcontroller keeps in flash. Do not edit: export the policy again.
{text.guard(namespace, f"GANGLION_{namespace}_HPP")}

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

{kernels.arithmetic("includes")}

{kernels.arithmetic("guards")}

{kernels.arithmetic("needs")}

{kernels.arithmetic("begin")}"""
