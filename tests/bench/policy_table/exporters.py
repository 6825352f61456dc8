"""Files that other people's exporters write, beside what their own code makes of the same run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .rows import Row, version

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

SECTION = "Files of exporters"


def _observed(size: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    from same_actions import resets

    from .measure import STEPS

    random = np.random.default_rng(0)
    return random.normal(size=(STEPS, size)).astype(np.float32), resets(random, STEPS)


def _leapp(row: Row, folder: Path) -> None:
    import leapp_bundles
    from same_actions import Run

    from . import measure

    row.reference = version("leapp", "`InferenceManager`")
    path = leapp_bundles.write_bundle(folder)
    observation, reset = _observed(14)
    told = leapp_bundles.own_runtime(path, observation, "actor/targets", frozenset(np.flatnonzero(reset).tolist()))
    measure.of_file(row, path, folder, Run(observation, reset, told))


def _flax(cell: str) -> Callable[[Row, Path], None]:
    def fill(row: Row, folder: Path) -> None:
        import flax_files
        from same_actions import Run

        from . import measure

        row.reference = f"{version('flax')}, written by {version('jax2onnx')}"
        made = flax_files.Made(cell)
        state = made.write(folder / "actor.onnx")
        observation, reset = _observed(flax_files.OBS)
        told = Run(observation, reset, made.run(observation, reset))
        measure.of_file(row, folder / "actor.onnx", folder, told, state=state, own=False)

    return fill


def _rsl_rl(model: str, suffix: str) -> Callable[[Row, Path], None]:
    def fill(row: Row, folder: Path) -> None:
        import rsl_rl_files as files
        from same_actions import Run

        from . import measure

        row.reference = version("rsl-rl-lib", "`get_inference_policy`")
        runner = files.train(files.configuration(files.MODELS[model]))
        told = files.record_runner(runner, steps=measure.STEPS)
        files.export_real(runner, folder)
        (folder / f"policy{suffix}").rename(folder / f"theirs{suffix}")
        run = Run(*(array[:, 0] for array in (told.observation, told.reset, told.action)))
        measure.of_file(row, folder / f"theirs{suffix}", folder, run)

    return fill


CASES: dict[str, Callable[[Row, Path], None]] = {
    "LEAPP bundle of two models": _leapp,
    **{f"flax {cell}": _flax(cell) for cell in ("GRU", "MGU", "LSTM", "Elman")},
    **{
        f"rsl_rl {model}, {suffix}": _rsl_rl(model, suffix)
        for model in ("lstm_1", "gru_2")
        for suffix in (".onnx", ".pt")
    },
}


def names() -> tuple[str, ...]:
    """What has a row."""
    return tuple(CASES)


def measured(name: str, folder: Path) -> Row:
    """The row of a case, but for times."""
    import torch

    torch.set_num_threads(1)
    row = Row(SECTION, name)
    CASES[name](row, folder)
    return row
