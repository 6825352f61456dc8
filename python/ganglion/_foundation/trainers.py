"""Whose checkpoints are read. Importing this needs nothing else."""

from __future__ import annotations

TRAINERS = ("brax", "garage", "pufferlib", "pyrado", "rl_games", "rsl_rl", "sb3", "skrl", "tf_agents", "torchrl")
"""Trainers whose checkpoints `ganglion.adapters` reads."""
