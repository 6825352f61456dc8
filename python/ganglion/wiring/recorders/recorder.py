"""Records an environment while somebody else steps it."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion._foundation.files import replacing
from ganglion.errors import GanglionError
from ganglion.wiring.recorders import managed, mujoco
from ganglion.wiring.recorders.values import attribute, is_mapping, to_numpy

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Self

    from numpy.typing import NDArray

    RawStates = Callable[[Any], Mapping[str, Any]]

_GROUPS = ("policy", "actor")
"""What Isaac Lab and mjlab call the observations of the policy."""
_TAKEN = ("observation", "reset", "action", "names")


def record(
    env: Any,
    path: str | os.PathLike[str],
    *,
    steps: int | None = None,
    row: int | None = 0,
    group: str | None = None,
    raw: RawStates | None = None,
) -> Recorder:
    """Records what an environment is and what its policy sees, for `check_adapter` and `ganglion.wiring`.

    In the `with` block the environment is stepped as ever, by whatever steps it:

        with ganglion.wiring.record(env, "run.npz"):
            observation, _ = env.reset(seed=0)
            for _ in range(1000):
                observation, _, ended, cut, _ = env.step(policy(observation))
                if ended or cut:
                    observation, _ = env.reset()

    The file is a `.npz` with `observation [steps, n]`, `action [steps, m]` (the answer to it), `reset [steps]` (an
    episode begins here), `names [n]` where the environment tells them, and the raw state of the same moments: of MuJoCo
    `qpos`, `qvel` and `sensordata`; of Isaac Lab and mjlab the arrays of their assets (`joint_pos`, `root_quat_w`,
    `projected_gravity_b`, ...) and sensors, and `command`.

    Args:
        env: an environment of gymnasium, single or vector, of Isaac Lab or mjlab, or a wrapper around one.
        path: the `.npz` file; written at the end of the block, unless it raises, and as soon as it has `steps`.
        steps: how many are recorded at most.
        row: which robot of a vector environment; None for all of them, `[steps, rows, n]`.
        group: which observations, where the environment gives several by name; by default `policy` or `actor`, and else
            all of them behind each other.
        raw: further raw states of an environment, by name: arrays `[...]`, or `[rows, ...]` of a vector environment.

    Raises:
        ValueError: an argument makes no sense.
        GanglionError: the environment has no raw state that is known here, and `raw` is not given; nothing was
            recorded.
    """
    return Recorder(env, path, steps=steps, row=row, group=group, raw=raw)


class Recorder:
    """What `record` gives; used in a `with` block.

    Attributes:
        steps: how many are recorded.
    """

    def __init__(
        self,
        env: Any,
        path: str | os.PathLike[str],
        *,
        steps: int | None,
        row: int | None,
        group: str | None,
        raw: RawStates | None,
    ) -> None:
        self._env, self._path, self._most, self._row, self._raw = env, Path(path), steps, row, raw
        self._group = group
        if self._path.suffix != ".npz":
            raise ValueError(f"{self._path}: a recording of an environment is a .npz file")
        if steps is not None and steps < 1:
            raise ValueError(f"steps is {steps}; record at least one")
        rows = attribute(env, "num_envs")
        self._rows = None if rows is None else int(rows)
        if row is not None and row != 0 and not 0 <= row < (self._rows or 1):
            raise ValueError(f"row is {row}; the environment has {self._rows or 1}")
        self._state = _states_of(env, self._rows, raw)
        self._resets_later = _name_of(attribute(env, "metadata")) == "NEXT_STEP"
        self.steps = 0
        self._lines: dict[str, list[NDArray[Any]]] = {}
        self._pending: dict[str, NDArray[Any]] | None = None
        self._ended = np.zeros(self._rows or 1, np.bool_)
        self._was_reset = False
        self._is_inside = False
        self._is_written = False
        self._patched: list[tuple[Any, str, Any]] = []

    def __enter__(self) -> Self:
        self._patch(self._env, "reset", self._reset)
        self._patch(self._env, "step", self._step)
        base = attribute(self._env, "unwrapped")
        if self._rows is None and base is not None and base is not self._env:
            self._patch(base, "reset", self._note_reset)  # of a wrapper that resets inside of its step
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._patched:
            owner, name, own = self._patched.pop()
            if own is None:
                delattr(owner, name)
            else:
                setattr(owner, name, own)
        if (kind is None or kind is KeyboardInterrupt) and not self._is_written:
            self._write()

    def _patch(self, owner: Any, name: str, around: Callable[..., Any]) -> None:
        original = getattr(owner, name)
        self._patched.append((owner, name, vars(owner).get(name)))

        @functools.wraps(original)
        def patched(*arguments: Any, **options: Any) -> Any:
            return around(original, *arguments, **options)

        setattr(owner, name, patched)

    def _note_reset(self, original: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        self._was_reset = True
        return original(*arguments, **options)

    def _reset(self, original: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        if self._is_inside:  # a step of the environment that resets itself; its flags say which rows
            self._was_reset = True
            return original(*arguments, **options)
        self._is_inside = True
        try:
            result = original(*arguments, **options)
        finally:
            self._is_inside = False
        observation = result[0] if isinstance(result, tuple) else result
        begins = self._rows_reset(options)
        if self._pending is not None and not begins.all():
            begins = begins | self._pending["reset"]
        self._ended[:] = False
        self._was_reset = False
        self._observe(observation, begins)
        return result

    def _rows_reset(self, options: Mapping[str, Any]) -> NDArray[np.bool_]:
        """Which rows a call of `reset` resets: of mjlab's `env_ids`, of gymnasium's `reset_mask`."""
        rows = np.ones(self._rows or 1, np.bool_)
        mask = (options.get("options") or {}).get("reset_mask")
        if mask is not None:
            rows[:] = to_numpy(mask)
        elif options.get("env_ids") is not None:
            rows[:] = False
            rows[to_numpy(options["env_ids"])] = True
        return rows

    def _step(self, original: Callable[..., Any], action: Any, *arguments: Any, **options: Any) -> Any:
        sent = None if self._is_full else to_numpy(action)  # before the environment may change it
        self._is_inside, self._was_reset = True, False
        try:
            result = original(action, *arguments, **options)
        finally:
            self._is_inside = False
        if self._is_full:
            return result
        if self._pending is not None and sent is not None:
            self._keep({**self._pending, "action": self._by_row("action", sent)})
        flags = result[2:4] if len(result) == 5 else result[2:3]
        ended = np.zeros(self._rows or 1, np.bool_)
        for flag in flags:
            ended |= to_numpy(flag).astype(np.bool_).reshape(-1)
        told = self._ended if self._resets_later else ended
        begins = np.array([self._was_reset]) if self._rows is None else told
        self._ended = ended
        self._observe(result[0], begins)
        if self._is_full:
            self._write()
        return result

    @property
    def _is_full(self) -> bool:
        return self._most is not None and self.steps >= self._most

    def _observe(self, observation: Any, begins: NDArray[np.bool_]) -> None:
        if self._is_full:
            return
        found = self._state()
        for name in _TAKEN:
            if name in found:
                raise GanglionError(f"a raw state cannot be called '{name}'; give it another name in raw=")
        states = {name: self._by_row(name, array) for name, array in found.items()}
        self._pending = {
            "observation": self._by_row("observation", self._chosen(observation)),
            "reset": begins,
            **states,
        }

    def _chosen(self, observation: Any) -> NDArray[Any]:
        if not is_mapping(observation):
            return to_numpy(observation)
        groups = [str(name) for name in observation.keys()]  # noqa: SIM118  # a TensorDict goes through its rows
        if self._group is None:
            self._group = next((name for name in _GROUPS if name in groups), None)
        if self._group is None:
            return self._joined([observation[name] for name in groups])
        if self._group not in groups:
            raise GanglionError(f"the environment has no observations '{self._group}'; it has {', '.join(groups)}")
        chosen = observation[self._group]
        if is_mapping(chosen):  # the terms of a group that are not put together
            return self._joined([chosen[name] for name in chosen.keys()])  # noqa: SIM118
        return to_numpy(chosen)

    def _joined(self, parts: list[Any]) -> NDArray[Any]:
        return np.concatenate([to_numpy(part).reshape(self._rows or 1, -1) for part in parts], axis=1)

    def _by_row(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        """`[rows, n]`."""
        rows = self._rows or 1
        if self._rows is not None and (array.ndim == 0 or array.shape[0] != rows):
            raise GanglionError(f"'{name}' is {list(array.shape)}; of {rows} environments it must be [{rows}, ...]")
        return array.reshape(rows, -1)

    def _keep(self, line: dict[str, NDArray[Any]]) -> None:
        if self._lines and line.keys() != self._lines.keys():
            changed = ", ".join(sorted(line.keys() ^ self._lines.keys()))
            raise GanglionError(f"raw states came or went in step {self.steps}: {changed}")
        for name, array in line.items():
            kept = array if self._row is None or self._rows is None else array[self._row : self._row + 1]
            self._lines.setdefault(name, []).append(kept)
        self.steps += 1

    def _write(self) -> None:
        if not self.steps:
            raise GanglionError(
                f"'{self._path}': nothing was recorded; call reset and step of the environment that was handed in, "
                "inside of the block"
            )
        arrays = {name: np.stack(lines) for name, lines in self._lines.items()}
        if self._rows is None or self._row is not None:
            arrays = {name: array[:, 0] for name, array in arrays.items()}
        arrays["observation"] = arrays["observation"].astype(np.float32)
        names = mujoco.names_of(self._env) or managed.names_of(self._env, self._group)
        if len(names) == arrays["observation"].shape[-1]:
            arrays["names"] = np.array(names)
        with replacing(self._path) as temporary:
            np.savez(temporary, **arrays)  # type: ignore[arg-type]  # of several signatures
        self._is_written = True


def _name_of(metadata: Any) -> str:
    """How a vector environment of gymnasium resets: NEXT_STEP, SAME_STEP, DISABLED, or nothing."""
    mode = metadata.get("autoreset_mode") if isinstance(metadata, dict) else None
    return str(attribute(mode, "name") or "")


def _states_of(env: Any, rows: int | None, raw: RawStates | None) -> Callable[[], dict[str, NDArray[Any]]]:
    """What gives the raw state of an environment now."""
    parts = attribute(env, "envs") or attribute(attribute(env, "unwrapped"), "envs")
    data = [mujoco.data_of(part) for part in parts] if isinstance(parts, (list, tuple)) else [mujoco.data_of(env)]

    def further() -> dict[str, NDArray[Any]]:
        return {} if raw is None else {name: to_numpy(value) for name, value in raw(env).items()}

    if managed.is_managed(env):
        return lambda: managed.state_of(env) | further()
    if all(one is not None for one in data):
        if rows is None:
            return lambda: mujoco.state_of(mujoco.data_of(env)) | further()
        return lambda: _stacked([mujoco.state_of(mujoco.data_of(part)) for part in parts]) | further()
    if raw is None:
        raise GanglionError(
            f"the raw state of {type(attribute(env, 'unwrapped') or env).__name__} is not known here: give it, "
            "raw=lambda env: {'qpos': ..., 'command': ...}"
        )
    return further


def _stacked(states: list[dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    return {name: np.stack([state[name] for state in states]) for name in states[0]}
