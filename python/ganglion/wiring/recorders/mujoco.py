"""Raw states of environments over a `mujoco.MjData`: gymnasium's, and those that hold dm_control's physics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ganglion.wiring.recorders.values import attribute, to_numpy

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ARRAYS = ("qpos", "qvel", "sensordata")
_FREE, _BALL = 0, 1  # mujoco.mjtJoint
_ROOT = ("x", "y", "z", "qw", "qx", "qy", "qz")


def data_of(env: Any) -> Any:
    """The simulation's data, or None where the environment has none."""
    base = attribute(env, "unwrapped") or env
    for owner in (base, attribute(base, "physics")):
        data = attribute(owner, "data")
        if attribute(data, "qpos") is not None:
            return data
    return None


def state_of(data: Any) -> dict[str, NDArray[Any]]:
    """`qpos`, `qvel` and `sensordata`, where there are any."""
    arrays = {name: to_numpy(getattr(data, name)) for name in _ARRAYS if attribute(data, name) is not None}
    return {name: array for name, array in arrays.items() if array.size}


def names_of(env: Any) -> tuple[str, ...]:
    """Names of the elements of an observation, of gymnasium's environments from v5 on, which say what they are made of.

    Returns:
        `qpos.<joint>`, `qvel.<joint>`, and `<array>[<index>]` of other arrays; or nothing.
    """
    base = attribute(env, "unwrapped") or env
    structure, model = attribute(base, "observation_structure"), attribute(base, "model")
    if not isinstance(structure, dict) or model is None:
        return ()
    elements = dict(zip(("qpos", "qvel"), _joint_elements(model), strict=True))
    names: list[str] = []
    for array, size in structure.items():
        if array.startswith("skipped_") or not isinstance(size, int):
            continue
        skipped = int(structure.get(f"skipped_{array}", 0))
        known = elements.get(array, [])
        for index in range(skipped, skipped + size):
            names.append(f"{array}.{known[index]}" if index < len(known) else f"{array}[{index}]")
    return tuple(names)


def _joint_elements(model: Any) -> tuple[list[str], list[str]]:
    """What the elements of `qpos` and `qvel` are called, by the joints of the model."""
    positions: list[str] = []
    velocities: list[str] = []
    for index in range(model.njnt):
        name, kind = model.joint(index).name or f"joint_{index}", int(model.jnt_type[index])
        if kind == _FREE:
            positions += [f"{name}.{axis}" for axis in _ROOT]
            velocities += [f"{name}.{axis}" for axis in ("vx", "vy", "vz", "wx", "wy", "wz")]
        elif kind == _BALL:
            positions += [f"{name}.{axis}" for axis in _ROOT[3:]]
            velocities += [f"{name}.{axis}" for axis in ("wx", "wy", "wz")]
        else:
            positions.append(name)
            velocities.append(name)
    return positions, velocities
