"""The parts of the header target around the operations: contract, golden trajectory, class."""

from __future__ import annotations

import importlib.metadata
import math
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion.export.header import kernels as cpp
from ganglion.export.header.code import flushed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ganglion.contract import ActionStage, Contract, TensorSpec
    from ganglion.export.header.code import Code

_POLICY = Path(__file__).with_name("policy.hpp")
_WIDTH = 118


def introduction(namespace: str, contract: Contract) -> str:
    """What the reader of the file sees first."""
    try:
        version = f" {importlib.metadata.version('ganglion')}"
    except importlib.metadata.PackageNotFoundError:  # raised in a source tree
        version = ""
    return f"""\
// A trained policy as C++17, written by ganglion{version}. Needs no library, no heap, no exceptions, no RTTI.
//
//   {namespace}::Policy policy;                          // starts in the initial state
//   if (!{namespace}::Policy::self_test().ok) stop();    // once: the recorded run of the Python policy
//   float observation[{namespace}::observation_size], action[{namespace}::action_size];
//   if (policy.step(observation, action) != {namespace}::Status::ok) hold();
//
// One object steps one robot: there are no batches here. {contract.observation_size} observation elements go in, \
{contract.action_size} action elements come out.
// The weights are constants, which a microcontroller keeps in flash. Do not edit: export the policy again.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

{cpp.arithmetic("includes")}

{cpp.arithmetic("guards")}

{cpp.arithmetic("begin")}"""


def end() -> str:
    """Behind everything."""
    return cpp.arithmetic("end")


def contract_constants(contract: Contract, code: Code) -> str:
    """What goes in, what comes out, in which units, at what period."""
    assert contract.sha256 is not None
    period = "0.0" if contract.period_s is None else cpp.double_literal(contract.period_s)
    slots = [(slot.name, slot.size) for slot in contract.state]
    initial = flushed(np.asarray(contract.initial_state or (0.0,), np.float32))
    lines = [
        f"inline constexpr std::size_t observation_size = {contract.observation_size};  ///< all inputs side by side",
        f"inline constexpr std::size_t action_size = {contract.action_size};  ///< the first output",
        f"inline constexpr std::size_t output_size = {contract.output_size};  ///< all outputs side by side",
        f"inline constexpr std::size_t hidden_size = {contract.hidden_size};  ///< all state slots side by side",
        f"inline constexpr double period_s = {period};  ///< control period in training, seconds; 0: unknown",
        "/// Digest over program and weights: two files of one policy have the same.",
        f"inline constexpr char sha256[] = {cpp.string(contract.sha256)};",
        "",
        "/// A named part of the observation, the outputs or the state: `size` elements from `offset` on.",
        "struct Tensor {",
        "  const char* name;",
        "  std::size_t offset;",
        "  std::size_t size;",
        "};",
        *_tensors("inputs", [(spec.name, spec.size) for spec in contract.inputs]),
        *_tensors("outputs", [(spec.name, spec.size) for spec in contract.outputs]),
        *_tensors("state_slots", slots),
        "",
        '/// One element: name and unit ("" where unknown), bounds (infinite where there are none or none are known).',
        "struct Element {",
        "  const char* name;",
        "  const char* unit;",
        "  float low;",
        "  float high;",
        "};",
        *_elements("observation_elements", "observation_size", contract.inputs),
        *_elements("output_elements", "output_size", contract.outputs),
        "",
        "/// Where the policy comes from.",
        "struct Note {",
        "  const char* key;",
        "  const char* text;",
        "};",
        f"inline constexpr std::size_t num_notes = {len(contract.provenance)};",
    ]
    if contract.provenance:
        lines.append("inline constexpr Note provenance[num_notes] = {")
        lines += [f"    {{{cpp.string(key)}, {cpp.string(text)}}}," for key, text in contract.provenance.items()]
        lines.append("};")
    if _has_stages(contract):
        assert contract.action_map is not None
        lines += ["", *_action_map(contract.action_map, contract.action_size)]
    lines += [
        "",
        "/// What reset() restores.",
        array("float", "initial_state", initial),
        "",
        "/// Working memory of a step, and where in it outputs and next state end up.",
        f"inline constexpr std::size_t scratch_size = {code.scratch_size};",
        f"inline constexpr std::size_t next_offset = {code.next_offset};",
    ]
    return "\n".join(lines)


def _has_stages(contract: Contract) -> bool:
    return bool(contract.action_map and (contract.distribution or contract.previous_action))


def weights(code: Code) -> str:
    """The constants of the program."""
    if not code.arrays:
        return ""
    title = "/// Weights and constants of the program, in the layout of `product`."
    arrays = (array(item.c_type, item.name, item.values) for item in code.arrays)
    return "\n".join((title, "namespace weights {", *arrays, "}  // namespace weights"))


def operations(text: str) -> str:
    """The arithmetic, and the functions that `text` calls."""
    return "\n\n".join(
        (
            "/// The operations that this policy needs.\nnamespace detail {\ninline namespace GANGLION_KIND {",
            *(cpp.arithmetic(name) for name in ("rounding", "mode", "vectors")),
            cpp.functions(text),
            "}  // namespace GANGLION_KIND\n}  // namespace detail",
        )
    )


def golden(contract: Contract) -> str:
    """Row 0 of the golden trajectory."""
    recorded = contract.golden
    assert recorded is not None
    allowed = np.zeros(recorded.outputs.shape, np.float32) if recorded.allowed is None else recorded.allowed
    beside = array("float", "rounding", allowed[:, 0] if allowed.any() else allowed[:1, 0, :1])
    return "\n".join(
        (
            "/// A short recorded run of the Python policy with a reset in the middle, which self_test() replays.",
            "namespace golden {",
            f"inline constexpr std::size_t steps = {recorded.steps};",
            f"inline constexpr float tolerance = {cpp.literal(recorded.tolerance)};",
            array("bool", "reset", recorded.reset[:, 0]),
            array("float", "observation", recorded.observation[:, 0]),
            array("float", "outputs", recorded.outputs[:, 0]),
            "/// What float32 itself may change of an output beside the tolerance; one 0 where that is enough.",
            beside,
            f"inline constexpr bool has_rounding = {str(bool(allowed.any())).lower()};",
            "}  // namespace golden",
        )
    )


def to_command(contract: Contract) -> str:
    """The function that takes an action through the stages of the action map, in double as the runtime does."""
    return _TO_COMMAND if _has_stages(contract) else ""


_TO_COMMAND = """\
/// Makes a command of an action that the policy itself gives (what the slot prev_action holds), or that is
/// drawn around the output unmapped_mean, or around mean where there is none. What step() gives is a command
/// already. Both are [action_size] and may be the same.
inline void to_command(const float* own, float* command) noexcept {
  const detail::FloatMode mode;
  for (std::size_t i = 0; i < action_size; ++i) {
    double value = static_cast<double>(own[i]);
    for (const ActionStage& stage : action_stages) {
      if (stage.squash) value = detail::squashed(value);
      value = detail::product(stage.scale[i], value) + stage.offset[i];
      if (value < stage.low[i]) value = stage.low[i];
      if (value > stage.high[i]) value = stage.high[i];
    }
    command[i] = static_cast<float>(value);
  }
}"""


def policy(code: Code) -> str:
    """The class, with the statements of the step in it."""
    _, _, text = _POLICY.read_text(encoding="utf-8").partition("// --- policy\n")
    statements = "\n".join(_wrapped(line) for line in code.lines)
    return text.replace("    // @step@", statements).strip()


def _wrapped(statement: str) -> str:
    return textwrap.fill(
        statement,
        120,
        initial_indent="    ",
        subsequent_indent="    // " if statement.startswith("//") else "        ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def array(c_type: str, name: str, values: NDArray[Any]) -> str:
    """A constant array, 118 columns wide."""
    flat = values.ravel()
    if flat.dtype == np.float32:
        items = [cpp.literal(value) for value in flat]
    else:
        items = [str(value).lower() for value in flat.tolist()]
    lines, line = [], "   "
    for item in items:
        if len(line) + len(item) + 2 > _WIDTH:
            lines.append(line)
            line = "   "
        line += f" {item},"
    lines.append(line)
    return "\n".join((f"inline constexpr {c_type} {name}[{len(items)}] = {{", *lines, "};"))


def _tensors(name: str, tensors: Sequence[tuple[str, int]]) -> list[str]:
    lines = [f"inline constexpr std::size_t num_{name} = {len(tensors)};"]
    if not tensors:  # C++ has no empty arrays
        return lines
    offset, items = 0, []
    for tensor, size in tensors:
        items.append(f"{{{cpp.string(tensor)}, {offset}, {size}}}")
        offset += size
    return [*lines, f"inline constexpr Tensor {name}[num_{name}] = {{{', '.join(items)}}};"]


def _action_map(stages: Sequence[ActionStage], size: int) -> list[str]:
    rows = []
    for stage in stages:
        lists = (
            stage.scale or (1.0,) * size,
            stage.offset or (0.0,) * size,
            stage.low or (-math.inf,) * size,
            stage.high or (math.inf,) * size,
        )
        numbers = ", ".join(f"{{{', '.join(cpp.double_literal(value) for value in values)}}}" for values in lists)
        row = f"{{{str(stage.squash).lower()}, {numbers}}},"
        rows += textwrap.wrap(row, _WIDTH, initial_indent="    ", subsequent_indent="     ")
    return [
        "/// One step of to_command: clip(scale * x + offset, low, high), of tanh(x) where squash is set.",
        "struct ActionStage {",
        "  bool squash;",
        *(f"  double {name}[action_size];" for name in ("scale", "offset", "low", "high")),
        "};",
        f"inline constexpr std::size_t num_action_stages = {len(stages)};",
        "inline constexpr ActionStage action_stages[num_action_stages] = {",
        *rows,
        "};",
    ]


def _elements(name: str, size: str, specs: Sequence[TensorSpec]) -> list[str]:
    lines = [f"inline constexpr Element {name}[{size}] = {{"]
    for spec in specs:
        names, units = spec.element_names or ("",) * spec.size, spec.units or ("",) * spec.size
        low, high = spec.low or (-np.inf,) * spec.size, spec.high or (np.inf,) * spec.size
        for values in zip(names, units, low, high, strict=True):
            texts = (cpp.string(values[0]), cpp.string(values[1]), cpp.literal(values[2]), cpp.literal(values[3]))
            lines.append(f"    {{{', '.join(texts)}}},")
    return [*lines, "};"]
