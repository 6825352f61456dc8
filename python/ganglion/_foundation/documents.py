"""JSON that programs read: what `--json` prints and reports are saved as, and what files of ours hold."""

from __future__ import annotations

from typing import Any

SCHEMA = 1
"""One more where a field goes or means something else, and not where one comes; docs/json.md lists them."""


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object of these pairs, for `object_pairs_hook`.

    Raises:
        ValueError: a key appears twice.
    """
    document: dict[str, Any] = {}
    for key, value in pairs:
        if key in document:
            raise ValueError(f"a key appears twice: {key!r}")
        document[key] = value
    return document
