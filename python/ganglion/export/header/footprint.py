"""How much memory a policy takes that is a header: what can be counted without the compiler of the target."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ganglion.contract import Contract
    from ganglion.export.header.code import Code

_FLOAT = 4


def footprint(code: Code, contract: Contract) -> dict[str, str]:
    """The memory of a policy, in the words of a contract's provenance.

    Args:
        code: the step.
        contract: contract of one row with a golden trajectory.

    Returns:
        Bytes: `flash_bytes` of the constants that a policy reads as it runs (weights and initial state; its code comes
        on top, and depends on the compiler), `self_test_bytes` of the golden trajectory, which a program that never
        calls the self-test does not have, `ram_bytes` of one robot: its state, outputs, and scratch memory of a step.
    """
    golden = contract.golden
    assert golden is not None
    elements = golden.observation[:, 0].size + golden.outputs[:, 0].size
    if golden.allowed is not None:
        elements += golden.outputs[:, 0].size if np.any(golden.allowed) else 1
    else:
        elements += 1
    weights = sum(array.values.nbytes for array in code.arrays)
    floats = max(1, contract.hidden_size) + contract.output_size + code.scratch_size
    return {
        "flash_bytes": str(weights + _FLOAT * max(1, contract.hidden_size)),
        "self_test_bytes": str(golden.steps + _FLOAT * elements),
        "ram_bytes": str(_FLOAT * floats + _FLOAT),  # a flag, and what it is padded with
    }
