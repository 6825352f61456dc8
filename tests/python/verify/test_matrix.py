"""Every kind of policy, through every file and engine: the matrix of `ganglion verify --matrix`."""

from __future__ import annotations

import inspect
import json

import numpy as np
import pytest
import torch

import ganglion.policies
from ganglion.cli import main
from ganglion.policies import RecurrentPolicy, catalogue
from ganglion.verify import matrix as _matrix

pytestmark = pytest.mark.deep  # exports every policy to every kind of file

STEPS = 2000
IMPLEMENTATIONS = {
    (".pt", None, 1): {"torch.jit step()", "torch.jit forward()", "C++ libtorch"},
    (".pt", None, 3): {"torch.jit step()", "C++ libtorch"},
    (".onnx", None, 1): {"Python onnxruntime", "C++ onnxruntime", "C++ native"},
    (".onnx", None, 3): {"Python onnxruntime", "C++ onnxruntime", "C++ native"},
    (".onnx", 3, 3): {"Python onnxruntime", "C++ onnxruntime", "C++ native"},
    (".ganglion", None, 1): {"Python program", "C++ native"},
    (".ganglion", None, 3): {"Python program", "C++ native"},
}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", catalogue.names())
def test_every_way_to_run_a_policy_gives_its_numbers(name):
    (cells,) = _matrix.matrix([name], steps=STEPS)
    assert not [cell for cell in cells if cell.problem is not None]
    for source, recording in (("drawn", set()), ("recorded", {"recording"})):
        for file, implementations in IMPLEMENTATIONS.items():
            here = [cell for cell in cells if (cell.suffix, cell.batch, cell.rows, cell.source) == (*file, source)]
            assert {cell.implementation for cell in here} == implementations | recording
    assert max(cell.error for cell in cells) < 1e-5


@pytest.mark.parametrize("name", ["GaussianGRUPolicy", "ActorPolicy masked", "SkrlPolicy CNN", "TwoHeadedGRUPolicy"])
def test_recorded_episodes_are_of_the_policy(name):
    policy = catalogue.example(name)
    episodes = _matrix.record(policy, 150)
    assert len(episodes.rewards) >= 150 and len(set(episodes.lengths.tolist())) > 1
    assert episodes.observations.std(axis=0).min() > 0.05
    with torch.no_grad():
        actions, *_ = policy(
            torch.from_numpy(episodes.flat_observations), torch.from_numpy(episodes.agent_infos["hidden_states"])
        )
    assert np.allclose(actions.reshape(episodes.actions.shape), episodes.actions, atol=1e-6)


def test_the_catalogue_has_every_class():
    classes = [
        thing
        for thing in vars(ganglion.policies).values()
        if inspect.isclass(thing) and issubclass(thing, RecurrentPolicy)
    ]
    leaves = {
        one.__name__ for one in classes if not any(other is not one and issubclass(other, one) for other in classes)
    }
    assert {name.split()[0] for name in catalogue.names()} == leaves


def test_a_policy_that_differs_is_seen(monkeypatch, capsys):
    def off_by_a_little(path, policy, **options):
        with torch.no_grad():
            next(policy.parameters()).add_(1e-3)
        return ganglion.verify(path, policy, **options)

    monkeypatch.setattr(_matrix, "verify", off_by_a_little)
    assert main(["verify", "--matrix", "GRUPolicy", "--steps", "20", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert not document["ok"] and all(cell["problem"] for cell in document["cells"])
    assert {cell["source"] for cell in document["cells"]} == {"drawn", "recorded"}


def test_the_command_prints_a_table_and_refuses_what_it_does_not_know(capsys):
    assert main(["verify", "--matrix", "RNNPolicy", "--steps", "20"]) == 0
    printed = capsys.readouterr().out
    assert "RNNPolicy" in printed and "libtorch" in printed
    assert main(["verify", "--matrix", "NoPolicy"]) == 2
    assert "is not one of RNNPolicy" in capsys.readouterr().err
    assert main(["verify"]) == 2
    assert main(["verify", "x.onnx", "--matrix"]) == 2
