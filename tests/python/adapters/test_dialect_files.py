"""The files of `dialect_files` answer as their originals did, when fed as each `DialectFile` says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dialect_files
import numpy as np
import onnxruntime
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dialect_files import DialectFile


def _run(file: DialectFile) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(file.path), providers=["CPUExecutionProvider"])
    inputs = {tensor.name: tensor for tensor in session.get_inputs()}
    outputs = [tensor.name for tensor in session.get_outputs()]
    zeros = {
        name: np.zeros([dim if isinstance(dim, int) else file.rows for dim in inputs[name].shape], np.float32)
        for name in file.states
    }
    state, count, actions = zeros, 0, []
    for row, start in zip(file.obs, file.reset, strict=True):
        if start:
            # A file with `is_init` zeroes its state itself.
            state, count = (state if file.is_init and actions else zeros), 0
        feeds = {name: np.repeat(row[None, part], file.rows, 0) for name, part in file.observations.items()}
        feeds |= state | dict(file.constants)
        if file.is_init:
            feeds[file.is_init] = np.full(list(inputs[file.is_init].shape), start)
        if file.counter:
            feeds[file.counter] = np.array(count, np.int32)
        feeds = {name: value.reshape(_shape(inputs[name].shape, value)) for name, value in feeds.items()}
        answer = dict(zip(outputs, session.run(None, feeds), strict=True))
        state = {name: answer[out] for name, out in file.states.items()}
        actions.append(answer[file.action].reshape(-1)[: file.columns])
        count += 1
    return np.stack(actions)


def _shape(declared: list[int | str], value: np.ndarray) -> list[int]:
    return [dim if isinstance(dim, int) else value.shape[axis] for axis, dim in enumerate(declared)]


_FILES: dict[str, Callable[[Path], DialectFile]] = {
    "rl_games_lstm": lambda folder: dialect_files.rl_games(folder, "lstm", layers=2),
    "rl_games_gru": lambda folder: dialect_files.rl_games(folder, "gru"),
    "rl_games_mlp": lambda folder: dialect_files.rl_games(folder, None),
    "rl_games_separate": lambda folder: dialect_files.rl_games(folder, "lstm", separate=True),
    "rl_games_separate_gru": lambda folder: dialect_files.rl_games(folder, "gru", separate=True),
    "rl_games_trimmed": lambda folder: dialect_files.rl_games(folder, "lstm", names="trimmed"),
    "rl_games_rnn": lambda folder: dialect_files.rl_games(folder, "lstm", names="rnn", before_mlp=True),
    "rllib_lstm": lambda folder: dialect_files.rllib(folder, "lstm"),
    "rllib_gru": lambda folder: dialect_files.rllib(folder, "gru"),
    "rllib_mlp": lambda folder: dialect_files.rllib(folder, None),
    "rllib_named": lambda folder: dialect_files.rllib_named(folder, "lstm"),
    "rllib_named_gru": lambda folder: dialect_files.rllib_named(folder, "gru"),
    "torchrl_lstm": lambda folder: dialect_files.torchrl(folder, "lstm", layers=2),
    "torchrl_gru": lambda folder: dialect_files.torchrl(folder, "gru", dynamo=False),
    "torchrl_batched": lambda folder: dialect_files.torchrl(folder, "lstm", dynamo=False, batched=True),
    "torchrl_batched_gru": lambda folder: dialect_files.torchrl(folder, "gru", dynamo=False, batched=True),
    "exploy": lambda folder: dialect_files.exploy(folder, decimation=4),
    "exploy_default": lambda folder: dialect_files.exploy(folder, wrapped=False),
    "mjlab": lambda folder: dialect_files.mjlab(folder),
    "mjlab_lstm": lambda folder: dialect_files.mjlab(folder, "lstm", scalar_scale=True),
    "rsl_rl_opset11": lambda folder: dialect_files.rsl_rl(folder, "lstm", layers=3, opset=11),
    "rsl_rl_opset20": lambda folder: dialect_files.rsl_rl(folder, "gru", layers=2, opset=20),
    "rsl_rl_dynamo": lambda folder: dialect_files.rsl_rl(folder, "gru", layers=2, dynamo=True),
    "rsl_rl_external": lambda folder: dialect_files.rsl_rl(folder, "lstm", external=True),
}


@pytest.mark.sampled(5)
@pytest.mark.parametrize("name", _FILES)
def test_a_file_answers_as_its_original(name: str, tmp_path: Path) -> None:
    file = _FILES[name](tmp_path)
    np.testing.assert_allclose(_run(file), file.actions, atol=1e-5, rtol=0.0)


def test_a_gru_without_its_attribute_does_not(tmp_path: Path) -> None:
    good, dropped = dialect_files.gru_without_linear_before_reset(tmp_path)
    np.testing.assert_allclose(_run(good), good.actions, atol=1e-5, rtol=0.0)
    assert np.abs(_run(dropped) - dropped.actions).max() > 1e-3
