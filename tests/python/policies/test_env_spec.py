from __future__ import annotations

import math

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Sequence, Space, Tuple
from gymnasium.spaces.utils import flatten

from ganglion.policies import EnvSpec


@pytest.mark.parametrize(
    ("space", "size"),
    [
        (Box(-1.0, 1.0, (3,)), 3),
        (Box(0, 255, (2, 3), np.uint8), 6),
        (Discrete(5), 5),
        (MultiBinary(4), 4),
        (MultiDiscrete([2, 3]), 5),
        (Dict(a=Box(-1.0, 1.0, (2,)), b=Discrete(3)), 5),
        (Tuple((Box(-1.0, 1.0, (2,)), Box(0.0, 1.0, (1,)))), 3),
    ],
)
def test_flat_sizes(space: Space, size: int) -> None:
    spec = EnvSpec(space, space)
    assert spec.observation_size == spec.action_size == size == len(flatten(space, space.sample()))
    assert spec.observation_spec.size == spec.action_spec.size == size


def test_bounds_of_boxes() -> None:
    box = Box(np.array([[-1.0, -math.inf]]), np.array([[math.inf, 4.0]]), dtype=np.float64)
    spec = EnvSpec(box, box)
    for tensor in (spec.observation_spec, spec.action_spec):
        assert tensor.low == (-1.0, -math.inf)
        assert tensor.high == (math.inf, 4.0)
    assert spec.observation_spec.name == "obs"
    assert spec.action_spec.name == "actions"


def test_unbounded_boxes_have_no_bounds() -> None:
    spec = EnvSpec(Box(-math.inf, math.inf, (3,)), Box(-math.inf, math.inf, (2,)))
    assert spec.observation_spec.low == spec.observation_spec.high == ()
    assert spec.action_spec.low == ()


def test_flat_observations_are_bounded_but_scores_are_not() -> None:
    spec = EnvSpec(Discrete(3), Discrete(3))
    assert spec.observation_spec.low == (0.0, 0.0, 0.0)
    assert spec.observation_spec.high == (1.0, 1.0, 1.0)
    assert spec.action_spec.low == ()
    mixed = Dict(a=Box(-2.0, 5.0, (1,)), b=Discrete(2))
    assert EnvSpec(mixed, Discrete(2)).observation_spec.low == (-2.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((4, Discrete(2)), TypeError, "observation_space must be a gymnasium space"),
        ((Discrete(2), None), TypeError, "action_space must be a gymnasium space"),
        ((Sequence(Discrete(2)), Discrete(2)), ValueError, "cannot be flattened"),
        ((Discrete(2), Box(-1.0, 1.0, (0,))), ValueError, "no element"),
        ((Discrete(2), Discrete(2), 0), ValueError, "at least 1"),
        ((Discrete(2), Discrete(2), 1.5), TypeError, "int or None"),
        ((Discrete(2), Discrete(2), True), TypeError, "int or None"),
    ],
)
def test_bad_arguments(arguments: tuple[object, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        EnvSpec(*arguments)


def test_equal_specs() -> None:
    assert EnvSpec(Discrete(2), Discrete(3), 100) == EnvSpec(Discrete(2), Discrete(3), 100)
    assert EnvSpec(Discrete(2), Discrete(3), 100) != EnvSpec(Discrete(2), Discrete(3))
