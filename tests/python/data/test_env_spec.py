from __future__ import annotations

import dataclasses
import json
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Sequence, Space, Tuple
from gymnasium.spaces.utils import flatten

from ganglion.data.env_spec import InOutSpec
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


# --- InOutSpec, names, and what garage recorded ---

GOLDEN = Path(__file__).parents[2] / "golden" / "garage" / "env_spec_cases.json"
RECORDED = {case["case"]: case for case in json.loads(GOLDEN.read_text())}
BOXES = Box(-1.0, 1.0, (3,)), Box(-2.0, 2.0, (2,))


def test_every_recorded_case_is_here() -> None:
    assert list(RECORDED) == ["env_spec.action_space_setter", "env_spec.swap"]


def test_inputs_are_actions_and_outputs_are_observations() -> None:
    observation_space, action_space = BOXES
    spec = EnvSpec(observation_space, action_space)
    recorded = RECORDED["env_spec.swap"]["result"]
    assert isinstance(spec, InOutSpec)
    assert (spec.input_space is action_space is spec.action_space) is recorded["input_is_action"]
    assert (spec.output_space is observation_space is spec.observation_space) is recorded["output_is_obs"]
    assert (spec.input_size, spec.output_size) == (spec.action_size, spec.observation_size) == (2, 3)
    assert (spec == EnvSpec(*BOXES)) is recorded["eq"]
    assert (spec == EnvSpec(*BOXES, max_episode_length=5)) is recorded["eq_ignores"]


@pytest.mark.parametrize("field", ["action_space", "observation_space", "input_space", "max_episode_length"])
def test_specs_are_frozen(field: str) -> None:
    spec = EnvSpec(*BOXES)
    with pytest.raises(dataclasses.FrozenInstanceError) as caught:
        setattr(spec, field, None)
    recorded = RECORDED["env_spec.action_space_setter"]
    assert type(caught.value).__name__ == recorded["error_type"]
    assert str(caught.value) == recorded["message"].replace("action_space", field)


def test_in_out_spec() -> None:
    spec = InOutSpec(Discrete(3), Box(-1.0, 1.0, (2, 2)))
    assert (spec.input_size, spec.output_size) == (3, 4)
    assert spec == InOutSpec(Discrete(3), Box(-1.0, 1.0, (2, 2))) != InOutSpec(Discrete(4), Box(-1.0, 1.0, (2, 2)))
    with pytest.raises(TypeError, match="InOutSpec: input_space must be a gymnasium space"):
        InOutSpec(3, Discrete(2))
    with pytest.raises(ValueError, match=r"InOutSpec: output_space .* no element"):
        InOutSpec(Discrete(2), Box(-1.0, 1.0, (0,)))
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.input_space = Discrete(2)


def test_names_reach_the_contract() -> None:
    spec = EnvSpec(*BOXES, observation_names=["x", "y", "z"], action_names=("left", "right"))
    assert spec.observation_spec.element_names == spec.observation_names == ("x", "y", "z")
    assert spec.action_spec.element_names == ("left", "right")
    assert EnvSpec(*BOXES).action_spec.element_names == ()
    assert spec != EnvSpec(*BOXES)
    unbounded = EnvSpec(Discrete(2), Discrete(2), action_names=("stop", "go"))
    assert unbounded.action_spec.element_names == ("stop", "go")
    assert eval(repr(EnvSpec(Discrete(2), Discrete(3), 7, ("a", "b")))) == EnvSpec(
        Discrete(2), Discrete(3), 7, ["a", "b"]
    )


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        (("x", "y"), ValueError, "2 observation_names for 3 elements"),
        ("xyz", TypeError, "must be a sequence of strings"),
        ((1, 2, 3), TypeError, "must be a sequence of strings"),
    ],
)
def test_bad_names(names: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        EnvSpec(*BOXES, observation_names=names)


def test_specs_can_be_pickled() -> None:
    spec = EnvSpec(*BOXES, 10, action_names=("left", "right"))
    assert pickle.loads(pickle.dumps(spec)) == spec
