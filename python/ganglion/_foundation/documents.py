"""JSON that programs read: what `--json` prints and reports are saved as."""

from __future__ import annotations

SCHEMA = 1
"""One more where a field goes or means something else, and not where one comes; docs/json.md lists them."""
