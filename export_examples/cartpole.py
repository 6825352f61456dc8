"""The simulated cart with a pole that the examples share: model, starts, teacher gain, batched simulation, flights.

A controller sees positions only (`OBSERVATION_NAMES`). How fast cart and pole move it has to find out from
what it saw before, so it needs a memory. Only the LQR teacher is ever given the full state.
"""

from __future__ import annotations

import csv
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import mujoco
import mujoco.rollout
import numpy as np
import scipy.linalg

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

MODEL_FILE = Path(__file__).with_name("cartpole.xml")
STATE_NAMES = ("cart_position", "pole_angle", "cart_velocity", "pole_velocity", "motor_force")
START_NAMES = STATE_NAMES[:4]
"""A start is a state without the motor, which always starts at rest."""
STARTS_FILE = Path(__file__).with_name("starts.csv")
"""The starts that the examples fly, in Python and in C++."""
FLIGHT_S = 20.0
TRACE_NAMES = (
    "flight",
    "time_s",
    "observed_cart_position_m",
    "observed_pole_angle_rad",
    "cart_force_n",
    "pole_angle_rad",
    "step_ns",
)

FALLEN_ANGLE_RAD = 0.8
RAIL_END_M = 1.45
"""Beyond one of these a cart has fallen."""
START_SPREAD = np.array([0.3, 0.15, 0.3, 0.3])
"""Largest perturbation of a start: m, rad, m/s, rad/s."""
SETTLED_ANGLE_RAD = 0.03
SETTLED_POSITION_M = 0.10
SETTLED_TAIL_S = 2.0
"""A cart is balanced where it never falls, and stays within these over the last seconds."""


def has_fallen(position_m: NDArray[np.floating[Any]], angle_rad: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """True where the pole is down or the cart is at the end of its rail; all of one shape."""
    return np.asarray((np.abs(position_m) > RAIL_END_M) | (np.abs(angle_rad) > FALLEN_ANGLE_RAD), dtype=np.bool_)


def load_model() -> mujoco.MjModel:
    """The MuJoCo model of `cartpole.xml`; one physics step is one control period."""
    return mujoco.MjModel.from_xml_path(str(MODEL_FILE))


def perturbed_starts(count: int, seed: int) -> NDArray[np.float64]:
    """Draws starts, uniformly within `START_SPREAD` around the upright pole.

    Args:
        count: number of starts.
        seed: seed of the generator; the same seed gives the same starts.

    Returns:
        `[count, 4]` starts in the order of `START_NAMES`.
    """
    return np.random.default_rng(seed).uniform(-START_SPREAD, START_SPREAD, size=(count, 4))


def write_starts(path: Path, starts: NDArray[np.float64]) -> None:
    """Writes starts `[count, 4]` as CSV, such that `read_starts` and the C++ examples read the same doubles."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(START_NAMES)
        writer.writerows([repr(float(value)) for value in start] for start in starts)


def read_starts(path: Path) -> NDArray[np.float64]:
    """Reads what `write_starts` wrote."""
    return np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)


def lqr_gain(model: mujoco.MjModel) -> NDArray[np.float64]:
    """Gain `K` `[5]` of the teacher: force = -K @ state, state in the order of `STATE_NAMES`.

    It minimises the sum over time of `state' Q state + force' R force` for the model linearised by MuJoCo's finite
    differences about the upright pole (discrete-time algebraic Riccati equation).
    """
    data = mujoco.MjData(model)
    size = len(STATE_NAMES)
    transition = np.zeros((size, size))
    influence = np.zeros((size, 1))
    mujoco.mjd_transitionFD(model, data, 1e-6, True, transition, influence, None, None)
    # Inverse squares of what is acceptable: 0.3 m, 0.15 rad, 0.5 m/s, 0.5 rad/s, 2 N of the motor; 0.6 N commanded.
    state_cost = np.diag(np.array([0.3, 0.15, 0.5, 0.5, 2.0]) ** -2.0)
    force_cost = np.array([[0.6**-2.0]])
    value = scipy.linalg.solve_discrete_are(transition, influence, state_cost, force_cost)
    gain = np.linalg.solve(force_cost + influence.T @ value @ influence, influence.T @ value @ transition)
    return np.asarray(gain[0])


class CartPoles:
    """Many independent carts, stepped together.

    Args:
        model: from `load_model`.
        starts: `[rows, 4]`, in the order of `START_NAMES`.

    Attributes:
        state: `[rows, 5]`, in the order of `STATE_NAMES`.
    """

    def __init__(self, model: mujoco.MjModel, starts: NDArray[np.float64]) -> None:
        self._model = model
        self._data = mujoco.MjData(model)
        self._rollout = mujoco.rollout.Rollout(nthread=0)
        self.state = np.zeros((len(starts), len(STATE_NAMES)))
        self.restart(np.ones(len(starts), dtype=np.bool_), starts)

    def restart(self, rows: NDArray[np.bool_], starts: NDArray[np.float64]) -> None:
        """Puts the carts that are set in `rows` `[rows]` back to `starts` `[number of rows that are set, 4]`."""
        self.state[rows] = 0.0
        self.state[rows, : len(START_NAMES)] = starts

    @property
    def observation(self) -> NDArray[np.float32]:
        """`[rows, 2]`: cart position (m) and pole angle (rad)."""
        return self.state[:, :2].astype(np.float32)

    @property
    def fallen(self) -> NDArray[np.bool_]:
        """`[rows]`: true where the pole is down or the cart is at the end of its rail."""
        return has_fallen(self.state[:, 0], self.state[:, 1])

    def step(self, force: NDArray[np.float32]) -> None:
        """Advances every cart by one control period under `force` `[rows]`, in newtons."""
        full = np.concatenate([np.zeros((len(self.state), 1)), self.state], axis=1)  # MuJoCo puts the time in front
        after, _ = self._rollout.rollout(self._model, self._data, full, force.astype(np.float64)[:, None, None])
        self.state = after[:, -1, 1:].copy()


class Controller(Protocol):
    """What `fly` and `survey` drive: a policy with a memory of its own, one row per cart."""

    def reset(self) -> None:
        """Forgets everything."""

    def __call__(self, observation: NDArray[np.float32], /) -> NDArray[np.float32]:
        """Observation `[rows, 2]` to force `[rows]`, in newtons."""


@dataclass(frozen=True)
class Survey:
    """Outcome of many carts under one controller.

    Attributes:
        balanced: `[rows]`: never fell, and settled over the last `SETTLED_TAIL_S` seconds.
        standing: `[rows]`: never fell.
        standing_s: `[rows]`: time until the fall, or the whole time.
        worst_angle: `[rows]` largest pole angle before a fall, rad.
        pole_angle: `[steps, rows]`, rad; not-a-number from the fall on.
        observation_mean: mean of each observation element over all rows and steps.
        observation_variance: variance of each, likewise.
    """

    balanced: NDArray[np.bool_]
    standing: NDArray[np.bool_]
    standing_s: NDArray[np.float64]
    worst_angle: NDArray[np.float64]
    pole_angle: NDArray[np.float64]
    observation_mean: list[float]
    observation_variance: list[float]


def survey(
    model: mujoco.MjModel,
    controller: Controller,
    starts: NDArray[np.float64],
    seconds: float,
    *,
    full_state: bool = False,
    on_step: Callable[[int], None] | None = None,
) -> Survey:
    """Runs all starts side by side and says which ones were balanced.

    Args:
        model: from `load_model`.
        controller: gets `[rows, 2]` observations.
        starts: `[rows, 4]`.
        seconds: simulated time.
        full_state: hand the controller the `[rows, 5]` state instead; for the teacher.
        on_step: called with the number of steps done, every 100 steps.
    """
    carts = CartPoles(model, starts)
    steps = round(seconds / model.opt.timestep)
    tail = round(SETTLED_TAIL_S / model.opt.timestep)
    positions = np.full((steps, len(starts), 2), np.nan)
    standing = np.ones(len(starts), dtype=np.bool_)
    settled = np.ones(len(starts), dtype=np.bool_)
    standing_steps = np.zeros(len(starts))
    controller.reset()
    for step in range(steps):
        seen = carts.state.astype(np.float32) if full_state else carts.observation
        carts.step(controller(seen))
        standing &= ~carts.fallen
        standing_steps += standing
        positions[step, standing] = carts.state[standing, :2]
        if step >= steps - tail:
            settled &= np.abs(carts.state[:, 0]) < SETTLED_POSITION_M
            settled &= np.abs(carts.state[:, 1]) < SETTLED_ANGLE_RAD
        if on_step is not None and (step + 1) % 100 == 0:
            on_step(step + 1)
    return Survey(
        balanced=standing & settled,
        standing=standing,
        standing_s=standing_steps * model.opt.timestep,
        worst_angle=np.fmax.reduce(np.abs(positions[:, :, 1]), axis=0, initial=0.0),
        pole_angle=positions[:, :, 1],
        observation_mean=np.nanmean(positions, axis=(0, 1)).tolist(),
        observation_variance=np.nanvar(positions, axis=(0, 1)).tolist(),
    )


@dataclass(frozen=True)
class Trace:
    """Recorded flights, one after the other; the same columns as the CSV files.

    Attributes:
        flight: `[n]` index of the start.
        time_s: `[n]` simulated time within the flight.
        observation: `[n, 2]` what the policy was given.
        force: `[n]` what it answered, N.
        pole_angle: `[n]` at full precision, rad.
        step_ns: `[n]` duration of the call of the policy.
    """

    flight: NDArray[np.int64]
    time_s: NDArray[np.float64]
    observation: NDArray[np.float32]
    force: NDArray[np.float32]
    pole_angle: NDArray[np.float64]
    step_ns: NDArray[np.int64]

    def save(self, path: Path) -> None:
        """Writes CSV with enough digits to read the same numbers back."""
        columns = (self.flight, self.time_s, *self.observation.T, self.force, self.pole_angle, self.step_ns)
        formats = ("%d", "%.17g", "%.9g", "%.9g", "%.9g", "%.17g", "%d")
        rows = np.stack([np.asarray(column, dtype=np.float64) for column in columns], axis=1)
        np.savetxt(path, rows, fmt=list(formats), delimiter=",", header=",".join(TRACE_NAMES), comments="")

    @classmethod
    def load(cls, path: Path) -> Trace:
        """Reads what `save` or the C++ example wrote."""
        rows = np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)
        return cls(
            flight=rows[:, 0].astype(np.int64),
            time_s=rows[:, 1],
            observation=rows[:, 2:4].astype(np.float32),
            force=rows[:, 4].astype(np.float32),
            pole_angle=rows[:, 5],
            step_ns=rows[:, 6].astype(np.int64),
        )

    @property
    def worst_angle(self) -> float:
        """Largest pole angle, rad."""
        return float(np.abs(self.pole_angle).max())

    @property
    def balanced(self) -> bool:
        """True where no flight falls, and every one has settled before its reset and at its end."""
        if bool(has_fallen(self.observation[:, 0], self.pole_angle).any()):
            return False
        angle, position = np.abs(self.pole_angle), np.abs(self.observation[:, 0])
        leg_s = FLIGHT_S / 2.0
        tail = self.time_s % leg_s >= leg_s - SETTLED_TAIL_S
        return bool((angle[tail] < SETTLED_ANGLE_RAD).all() and (position[tail] < SETTLED_POSITION_M).all())

    def summary(self) -> str:
        """One line: balanced or not, worst angle, step times."""
        microseconds = self.step_ns / 1000.0
        return (
            f"{'balanced' if self.balanced else 'NOT balanced'}, worst angle {self.worst_angle:.4f} rad, "
            f"step median {np.median(microseconds):.1f} us, worst {microseconds.max():.1f} us"
        )


def fly(
    model: mujoco.MjModel,
    step: Callable[[NDArray[np.float32]], float],
    reset: Callable[[], None],
    starts: NDArray[np.float64],
) -> Trace:
    """Flies every start for `FLIGHT_S`, with a reset half-way: the cart goes to the next start, the policy forgets.

    `02_fly_cartpole.cpp` does the same, step by step.

    Args:
        model: from `load_model`.
        step: observation `[2]` to force, in newtons.
        reset: makes the policy forget.
        starts: `[flights, 4]`.
    """
    data = mujoco.MjData(model)
    period_s = float(model.opt.timestep)
    steps = round(FLIGHT_S / period_s)
    rows: list[tuple[float, ...]] = []
    for flight in range(len(starts)):
        for index in range(steps):
            if index % (steps // 2) == 0:
                mujoco.mj_resetData(model, data)
                start = starts[(flight + index // (steps // 2)) % len(starts)]
                data.qpos[:], data.qvel[:] = start[:2], start[2:]
                reset()
            observation = data.qpos.astype(np.float32)
            before = time.perf_counter_ns()
            force = step(observation)
            step_ns = time.perf_counter_ns() - before
            rows.append((flight, index * period_s, *observation.tolist(), force, float(data.qpos[1]), step_ns))
            data.ctrl[0] = force
            mujoco.mj_step(model, data)
    table = np.array(rows, dtype=np.float64)
    return Trace(
        flight=table[:, 0].astype(np.int64),
        time_s=table[:, 1],
        observation=table[:, 2:4].astype(np.float32),
        force=table[:, 4].astype(np.float32),
        pole_angle=table[:, 5],
        step_ns=table[:, 6].astype(np.int64),
    )
