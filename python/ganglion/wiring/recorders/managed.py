"""Raw states of vector environments with a scene and managers: Isaac Lab's and mjlab's, which have the same names.

Read in https://github.com/isaac-sim/IsaacLab (isaaclab.assets, isaaclab.managers) and
https://github.com/mujocolab/mjlab (mjlab.entity, mjlab.managers).
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from ganglion.wiring.recorders import mujoco
from ganglion.wiring.recorders.values import attribute, is_mapping, is_numbers, to_numpy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_OF_ASSETS = (
    "joint_pos",
    "joint_pos_biased",  # with the offset of its encoders that mjlab draws
    "joint_vel",
    *(
        f"root_{part}{what}"
        for part in ("", "link_")
        for what in ("pos_w", "quat_w", "lin_vel_w", "ang_vel_w", "lin_vel_b", "ang_vel_b")
    ),
    "projected_gravity_b",
    "heading_w",
)
_KINDS_OF_ASSETS = ("articulations", "rigid_objects", "entities")
_LARGEST = 4096
"""Elements of a sensor in one row; what has more is a camera, and its pictures would fill the memory."""


def is_managed(env: Any) -> bool:
    """Whether an environment has a scene with robots in it."""
    scene = attribute(attribute(env, "unwrapped") or env, "scene")
    return any(is_mapping(attribute(scene, kind)) for kind in _KINDS_OF_ASSETS)


def state_of(env: Any) -> dict[str, NDArray[Any]]:
    """Arrays `[rows, ...]`: of assets and sensors of the scene, of the simulation, and the commands.

    Returns:
        Of a single asset its arrays by their names (`joint_pos`, `root_quat_w`, ...), of several with the asset's name
        in front (`robot.joint_pos`); `qpos`, `qvel` where the simulation has them; `<sensor>`, or `<sensor>.<array>`;
        `command`, or of several `command.<term>`.
    """
    base = attribute(env, "unwrapped") or env
    found = dict(_assets(base.scene))
    data = attribute(attribute(base, "sim"), "data")
    if attribute(data, "qpos") is not None:
        found |= {name: array for name, array in mujoco.state_of(data).items() if array.ndim > 1}
    found |= dict(_sensors(base.scene))
    found |= dict(_commands(attribute(base, "command_manager")))
    return found


def _assets(scene: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    found = [item for kind in _KINDS_OF_ASSETS for item in _items(attribute(scene, kind))]
    assets = [(asset, owner) for asset, owner in found if asset != "terrain"]  # of mjlab: it stands still
    for asset, owner in assets:
        data = attribute(owner, "data")
        before = "" if len(assets) == 1 else f"{asset}."
        for name in _OF_ASSETS:
            if is_numbers(value := attribute(data, name)) and math.prod(value.shape):
                yield before + name, to_numpy(value)


def _sensors(scene: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    for name, sensor in _items(attribute(scene, "sensors")):
        data = attribute(sensor, "data")
        if is_numbers(data):
            arrays = [(name, data)]
        elif dataclasses.is_dataclass(data):
            arrays = [(f"{name}.{field.name}", attribute(data, field.name)) for field in dataclasses.fields(data)]
        else:
            arrays = []
        for called, value in arrays:
            if is_numbers(value) and math.prod(value.shape[1:]) <= _LARGEST:
                yield called, to_numpy(value)


def _commands(manager: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    terms = list(attribute(manager, "active_terms") or ())
    for term in terms:
        value = manager.get_command(term)
        if is_numbers(value):
            yield "command" if len(terms) == 1 else f"command.{term}", to_numpy(value)


def names_of(env: Any, group: str | None) -> tuple[str, ...]:
    """Names of the elements of a group of observations: `<term>[<index>]`, or the term alone where it is one number."""
    manager = attribute(attribute(env, "unwrapped") or env, "observation_manager")
    terms, sizes = attribute(manager, "active_terms"), attribute(manager, "group_obs_term_dim")
    if group is None or not is_mapping(terms) or not is_mapping(sizes) or group not in terms:
        return ()
    names: list[str] = []
    for term, shape in zip(terms[group], sizes[group], strict=True):
        size = math.prod(int(axis) for axis in shape)
        names += [term] if size == 1 else [f"{term}[{index}]" for index in range(size)]
    return tuple(names)


def _items(mapping: Any) -> list[tuple[str, Any]]:
    return [(str(name), mapping[name]) for name in mapping.keys()] if is_mapping(mapping) else []  # noqa: SIM118
