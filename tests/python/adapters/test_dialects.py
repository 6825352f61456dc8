"""Files of other exporters, unmodified: read, explained, and run with their state by every engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from test_dialect_files import _FILES

import ganglion

if TYPE_CHECKING:
    from dialect_files import DialectFile

    from ganglion.runtime import Policy

# What the native compiler cannot have: a graph that takes four rows at once and no other number.
_NOT_NATIVE = {"rllib_lstm": "rows|Reshape|4"}
_STEPS = 300


@pytest.fixture(scope="module", params=sorted(_FILES))
def written(request, tmp_path_factory) -> tuple[str, DialectFile]:
    return request.param, _FILES[request.param](tmp_path_factory.mktemp("dialect"))


def run(pilot: Policy, file: DialectFile) -> np.ndarray:
    """The actions along the recording; every row of a file that insists on several is fed the same."""
    columns = np.concatenate([np.arange(file.obs.shape[1])[file.observations[s.name]] for s in pilot.contract.inputs])
    actions = []
    for obs, reset in zip(file.obs[:_STEPS], file.reset, strict=False):
        if reset:
            pilot.reset()
        rows = np.repeat(obs[None, columns], pilot.batch, 0)
        actions.append(pilot.step(rows)[0, : file.columns])
    return np.stack(actions)


def assert_equal(found: np.ndarray, file: DialectFile) -> None:
    expected = file.actions[: len(found)]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.sampled(8)
def test_every_file_is_recognised(written) -> None:
    file = written[1]
    reading = ganglion.explain(file.path)
    assert {names.input: names.output for names in reading.state if names.output} == dict(file.states)
    assert {spec.name for spec in reading.contract.inputs} == set(file.observations)
    assert reading.contract.outputs[0].name == file.action
    assert len(reading.notes) >= len(reading.state) + 2
    for names in reading.state:
        assert any(names.input in note for note in reading.notes)
    provenance = reading.contract.provenance
    assert {key: provenance[f"onnx.{key}"] for key in file.metadata} == file.metadata


def test_every_file_runs_on_onnxruntime(written) -> None:
    file = written[1]
    # RLlib bakes the number of rows of its dummy batch into the graph, where no reader can see it.
    assert_equal(run(ganglion.load(file.path, batch=None if file.rows == 1 else file.rows), file), file)


def test_every_file_runs_on_the_native_engine(written) -> None:
    name, file = written
    if name in _NOT_NATIVE:
        with pytest.raises(ganglion.ExportError, match=_NOT_NATIVE[name]):
            ganglion.load(file.path, engine="native")
    else:
        assert_equal(run(ganglion.load(file.path, engine="native"), file), file)
