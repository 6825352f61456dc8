"""Orders of joints that have a name, and names that other robots give their joints."""

from __future__ import annotations

import numpy as np
import pytest

from ganglion.wiring import wiring
from ganglion.wiring.paired.orders import known_order

LEGS, PARTS = ("FL", "FR", "RL", "RR"), ("hip", "thigh", "calf")
MUJOCO = [f"{leg}_{part}" for leg in LEGS for part in PARTS]
ISAAC = [f"{leg}_{part}" for part in PARTS for leg in LEGS]
SDK = [f"{leg}_{part}" for leg in ("FR", "FL", "RR", "RL") for part in PARTS]
LONG = {"FL": "front_left", "FR": "front_right", "RL": "rear_left", "RR": "rear_right"}


def told(trained: list[str], found: list[str]) -> str:
    return known_order(range(len(found)), [trained.index(name) for name in found], trained)


@pytest.mark.parametrize("spell", ["{}", "{}_joint", "joint_pos/{}", "joint_pos/{}@-2", "dof_pos.{}"])
def test_orders_that_have_a_name(spell: str) -> None:
    mujoco, isaac, sdk = ([spell.format(name) for name in names] for names in (MUJOCO, ISAAC, SDK))
    assert told(mujoco, isaac).startswith("breadth-first")
    assert told(isaac, mujoco).startswith("depth-first")
    assert told(mujoco, sdk) == told(isaac, sdk) == "FR, FL, RR, RL, as Unitree's SDK has motors"
    assert told(mujoco, sorted(mujoco)) == told(isaac, sorted(isaac)) == "alphabetical"


def test_orders_that_have_none() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        shuffled = list(rng.permutation(MUJOCO))
        assert told(MUJOCO, shuffled) == ""
    assert told(["a", "b", "c"], ["c", "b", "a"]) == ""  # no legs, no joints, not sorted
    assert known_order((0, 1, 2), (2, -1, 0), ["a", "b", "c"]) == ""  # one is none of trained
    assert known_order((0, 1, 2), (2, 1, 0), ()) == ""


def test_an_order_of_several_terms_is_told_where_each_has_it() -> None:
    names = [f"{term}_{name}" for term in ("position", "velocity") for name in MUJOCO]
    isaac = [MUJOCO.index(name) for name in ISAAC]
    other = [12 + MUJOCO.index(name) for name in SDK]
    assert known_order(range(24), [*isaac, *(12 + i for i in isaac)], names).startswith("breadth-first")
    assert known_order(range(24), [*isaac, *other], names) == ""


def test_the_report_says_the_order() -> None:
    rng = np.random.default_rng(1)
    walk = np.cumsum(rng.normal(size=(600, 12)), axis=0).astype(np.float32)
    trained = {"observation": walk, "names": np.array(MUJOCO)}
    for names, said in ((ISAAC, "breadth-first"), (SDK, "Unitree"), (sorted(MUJOCO), "alphabetical")):
        (edit,) = wiring(trained, walk[:, [MUJOCO.index(name) for name in names]]).edits
        assert edit.kind == "permutation" and said in edit.sentence
