"""Every kind of policy of the catalogue, which `ganglion verify --matrix` runs, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .rows import Row, version

if TYPE_CHECKING:
    from pathlib import Path

SECTION = "Architectures"
ENOUGH_BYTES = 64 * 1024
"""Weights of what is timed: of less, reading them is not what a step takes."""

REFERENCES = {
    "SequentialPolicy MinGRU": ("min_gru", "minGRU-pytorch", ""),
    "SequentialPolicy MinLSTM": ("min_lstm", "numpy", "its formula in float64"),
    "SequentialPolicy LRU": ("lru", "memorax", ""),
    "SequentialPolicy S5": ("s5", "s5-pytorch", ""),
    "SequentialPolicy CfC": ("cfc", "ncps", "`CfCCell`"),
    "SequentialPolicy decoder": ("decoder", "torch", "`TransformerEncoderLayer`"),
}
"""Functions of `core_references`, and the packages that they run."""


def names() -> tuple[str, ...]:
    """What has a row."""
    from ganglion.policies import catalogue

    return catalogue.names()


def measured(name: str, folder: Path) -> Row:
    """The row of a kind, but for times."""
    import ganglion
    from ganglion.policies import catalogue

    from . import measure

    row = Row(SECTION, name, errors=measure.of_files(catalogue.example(name), folder))
    if name in REFERENCES:
        function, package, what = REFERENCES[name]
        row.reference = version(package, what)
        row.from_reference, row.steps = _from_reference(function, folder)
    scale = 1
    while sum(4 * value.numel() for value in catalogue.example(name, scale=scale).parameters()) <= ENOUGH_BYTES:
        scale *= 2
    row.timed = folder / "large.ganglion"
    ganglion.export(catalogue.example(name, scale=scale), row.timed)
    row.bytes = measure.read_bytes(row.timed)
    return row


def _from_reference(function: str, folder: Path) -> tuple[float, tuple[int, int]]:
    """A core alone beside another implementation of it, episode by episode."""
    import core_references
    import torch
    from same_actions import Run, resets

    import ganglion
    from ganglion.policies import SequentialPolicy

    from . import measure

    torch.manual_seed(0)
    core, reference = getattr(core_references, function)()
    random = np.random.default_rng(0)
    observation = 2.0 * random.normal(size=(measure.STEPS, core.input_size)).astype(np.float32)
    reset = resets(random, measure.STEPS)
    with torch.inference_mode():
        episodes = [reference(torch.from_numpy(part)) for part in np.split(observation, np.flatnonzero(reset)[1:])]
    policy = SequentialPolicy([core]).eval()
    ganglion.export(policy, folder / "core.ganglion")
    told = Run(observation, reset, torch.cat(episodes).numpy())
    error = measure.from_run(policy, folder / "core.ganglion", told)
    return error, (len(observation), int(reset.sum()))
