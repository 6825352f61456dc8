"""A LEAPP bundle as Isaac Lab's exporter writes it, with its package: an estimator that remembers, then an actor."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING

import leapp
import numpy as np
import torch
from leapp import GraphConfigs, InferenceManager, OutputKindEnum, TensorSemantics, annotate
from torch import nn

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ["hip", "thigh", "calf"]


def write_bundle(folder: Path, *, backend: str = "onnx-torchscript") -> Path:
    """Two nodes; the memory of the first begins with 0.25, the second also feeds back its last action.

    Returns:
        The bundle's YAML file.
    """
    torch.manual_seed(0)
    cell, head = nn.GRUCell(7, 6), nn.Linear(6, 3)
    actor = nn.Sequential(nn.Linear(10, 16), nn.ELU(), nn.Linear(16, 4))
    position, velocity = torch.randn(1, 3), torch.randn(1, 4)
    with contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        leapp.start(name="walker", save_path=str(folder))
        seen = [
            TensorSemantics("joint_pos", position, kind="state/joint/position", element_names=NAMES),
            TensorSemantics("joint_vel", velocity),
        ]
        pos, vel = annotate.input_tensors("estimator", seen)
        hidden = annotate.state_tensors("estimator", {"h": torch.full((1, 6), 0.25)})
        after = cell(torch.cat((pos, vel), 1), hidden)
        estimate = head(after)
        annotate.update_state("estimator", {"h": after})
        estimate = annotate.output_tensors("estimator", {"velocity": estimate}, export_with=backend)
        given = {"estimate": estimate, "joint_pos": position, "joint_vel": velocity}
        estimate, pos, vel = annotate.input_tensors("actor", given)
        last = annotate.state_tensors("actor", {"last_action": torch.zeros(1, 4)})
        action = actor(torch.cat((estimate, pos, vel), 1)) + 0.1 * last
        annotate.update_state("actor", {"last_action": action})
        gains = torch.ones(1, 4) + 0.0 * action
        targets = TensorSemantics("targets", 0.5 * action, kind=OutputKindEnum.JOINT_POSITION)
        annotate.output_tensors(
            "actor", [TensorSemantics("gains", gains, kind=OutputKindEnum.KP), targets], export_with=backend
        )
        leapp.stop()
        leapp.compile_graph(visualize=False, graph_configs=GraphConfigs(frequency=50.0), validate=False)
    return folder / "walker" / "walker.yaml"


def own_runtime(path: Path, observations: np.ndarray, output: str, resets: frozenset[int] = frozenset()) -> np.ndarray:
    """What leapp's runtime makes of observations `[steps, n]`, the pipeline's inputs side by side."""
    with contextlib.redirect_stdout(io.StringIO()):
        manager = InferenceManager(str(path))
    sizes = [manager.get_mock_input()[name].shape[-1] for name in manager.inputs]
    found = []
    for step, observation in enumerate(observations):
        if step in resets:
            manager.reset()
        parts = np.split(observation, np.cumsum(sizes)[:-1])
        given = {name: torch.from_numpy(part.copy())[None] for name, part in zip(manager.inputs, parts, strict=True)}
        found.append(manager(given)[output].numpy()[0].copy())
    return np.stack(found)
