"""How a file without a contract is understood: what was recognised, by which names, and what is suspicious."""

from __future__ import annotations

from ganglion.reading.reading import Finding, Reading, StateNames, hints, judge, kept_findings, read_onnx

__all__ = ["Finding", "Reading", "StateNames", "hints", "judge", "kept_findings", "read_onnx"]
