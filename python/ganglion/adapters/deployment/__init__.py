"""Deployment descriptions: what the numbers around a network mean, read from the files that trainers write beside it.

`read` tells the formats apart; `annotate` writes a description into a contract, `described` into that of a model, and
`apply` into the function, so that a controller passes raw sensor values and gets joint targets.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ganglion._foundation.boundary import bounded
from ganglion._foundation.yaml_files import read_yaml
from ganglion.adapters.deployment import isaac_lab, mjlab, unitree
from ganglion.adapters.deployment.annotation import annotate
from ganglion.adapters.deployment.description import ActionTerm, Description, Joint, ObservationTerm
from ganglion.adapters.deployment.graph import apply, described
from ganglion.errors import ArtifactError

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

__all__ = ["ActionTerm", "Description", "Joint", "ObservationTerm", "annotate", "apply", "described", "read"]


@bounded()
def read(
    path: str | os.PathLike[str],
    *,
    joint_sdk_names: Sequence[str] | None = None,
    term_sizes: Mapping[str, int] | None = None,
) -> Description:
    """Reads a deployment description.

    Args:
        path: Isaac Lab's `IO_descriptors.yaml`, Unitree's `deploy.yaml`, or an `.onnx` file with mjlab's metadata.
        joint_sdk_names: Unitree only: the names of the motors in the order of the robot's SDK, which the file lacks.
        term_sizes: mjlab only: number of elements of observation terms that the metadata does not give away.

    Raises:
        ArtifactError: the file is missing or damaged, asks for code, is none of the three, or lacks a key (names its
            path in the file).
        ValueError: an argument is given that the format has no use for.
        EngineUnavailableError: PyYAML or onnx is not installed.
    """
    if Path(path).suffix == ".onnx":
        _refuse_argument("joint_sdk_names", joint_sdk_names, "the metadata of mjlab names the joints")
        return mjlab.read(path, term_sizes=term_sizes)
    document = read_yaml(path)
    _refuse_argument("term_sizes", term_sizes, "a YAML description says how many elements its terms have")
    if unitree.looks_like(document):
        return unitree.parse(document, str(path), joint_sdk_names=joint_sdk_names)
    if isaac_lab.looks_like(document):
        _refuse_argument("joint_sdk_names", joint_sdk_names, "the descriptors of Isaac Lab name the joints")
        return isaac_lab.parse(document, str(path))
    found = sorted(map(str, document)) if isinstance(document, dict) else type(document).__name__
    raise ArtifactError(
        f"'{path}' is no deployment description: its top level is {found}; Isaac Lab's IO_descriptors.yaml has "
        "actions, articulations, observations and scene, Unitree's deploy.yaml has joint_ids_map and step_dt"
    )


def _refuse_argument(name: str, value: object, why: str) -> None:
    if value is not None:
        raise ValueError(f"{name} does not go with this file: {why}")
