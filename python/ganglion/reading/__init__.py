"""How a file without a contract is understood: what was recognised, by which names, and what is suspicious."""

from __future__ import annotations

from ganglion.reading.reading import (
    Finding,
    Reading,
    StateNames,
    hints,
    hints_beside,
    judge,
    kept_findings,
    observation_sizes,
    read_onnx,
)

__all__ = [
    "Finding",
    "Reading",
    "StateNames",
    "hints",
    "hints_beside",
    "judge",
    "kept_findings",
    "observation_sizes",
    "read_onnx",
]
