"""Other trainers' policies as ours: one module per trainer, `ganglion.adapters.<name>.load(checkpoint, ...)`."""

from __future__ import annotations
