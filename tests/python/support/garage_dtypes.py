"""The recorded cases of garage's data types: reading them, running them, comparing results exactly."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from ganglion.data import EnvSpec, EnvStep, EpisodeBatch, StepType, TimeStep, TimeStepBatch
from ganglion.envs import Wrapper

GOLDEN = Path(__file__).parents[2] / "golden" / "garage" / "dtypes_cases.json"
CASES: dict[str, dict[str, Any]] = {case["case"]: case for case in json.loads(GOLDEN.read_text())}

EPISODE_FIELDS = (
    "episode_infos_by_episode",
    "observations",
    "last_observations",
    "actions",
    "rewards",
    "env_infos",
    "agent_infos",
    "step_types",
    "lengths",
)
STEP_FIELDS = (
    "episode_infos",
    "observations",
    "actions",
    "rewards",
    "next_observations",
    "env_infos",
    "agent_infos",
    "step_types",
)
# What a warning is about, in garage's words and in ours.
SUBJECTS = {
    "is outside observation_space": "outside",
    "longer length than requested": "padding",
    "padding to": "padding",
    "Casting input x": "casting",
}


def decode(value: Any) -> Any:
    """Recorded data as Python objects."""
    if isinstance(value, list):
        return [decode(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    if "$float" in value:
        return float(value["$float"])
    if "$array" in value:
        return np.array(decode(value["$array"]), dtype=value["dtype"]).reshape(value["shape"])
    if "$object_array" in value:
        array = np.empty(value["shape"], dtype=object)
        array.reshape(-1)[:] = np.array(_flat(decode(value["$object_array"])) or [None], dtype=object)[: array.size]
        return array
    if "$step_type" in value:
        return StepType[value["$step_type"]]
    if "$env_spec" in value:
        return _spec(**value["$env_spec"])
    for kind in ("$EpisodeBatch", "$TimeStepBatch"):
        if kind in value:
            return decode(value[kind])
    return {key: decode(entry) for key, entry in value.items()}


def _flat(values: list[Any]) -> list[Any]:
    return [entry for value in values for entry in (_flat(value) if isinstance(value, list) else [value])]


def _spec(
    observation_shape: list[int], action_shape: list[int], low: float, high: float, max_episode_length: int | None
) -> EnvSpec:
    if not observation_shape:  # the recording names these in its messages only
        return EnvSpec(gymnasium.spaces.Discrete(4), gymnasium.spaces.Discrete(3), max_episode_length)
    box = gymnasium.spaces.Box
    return EnvSpec(box(low, high, tuple(observation_shape)), box(low, high, tuple(action_shape)), max_episode_length)


@dataclasses.dataclass
class Outcome:
    """What happened: a result or an error, and the subjects of the warnings."""

    result: Any
    error: Exception | None
    warnings: list[str]


def run(name: str) -> Outcome:
    """Does what was recorded."""
    case = CASES[name]
    error = result = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = plain(_operation(case["op"], name, decode(case["input"])))
        except Exception as raised:
            error = raised
    return Outcome(result, error, [subject(str(entry.message)) for entry in caught])


def subject(message: str) -> str:
    return next(word for text, word in SUBJECTS.items() if text in message)


def plain(value: Any) -> Any:
    """Batches as dictionaries of their fields, as they were recorded."""
    if isinstance(value, EpisodeBatch):
        return {name: getattr(value, name) for name in EPISODE_FIELDS}
    if isinstance(value, TimeStepBatch):
        return {name: getattr(value, name) for name in STEP_FIELDS}
    return [plain(entry) for entry in value] if isinstance(value, list) else value


def _operation(op: str, name: str, given: Any) -> Any:
    if op == "StepType.get_step_type":
        return StepType.get_step_type(**given)
    if op == "StepType":
        return {member.name: int(member) for member in StepType}
    if op in ("EpisodeBatch", "TimeStepBatch"):
        (EpisodeBatch if op == "EpisodeBatch" else TimeStepBatch)(**given)
        return "constructed"
    if op == "EpisodeBatch.properties":
        batch = EpisodeBatch(**given)
        return {key: getattr(batch, key) for key in CASES[name]["result"]}
    if op == "EpisodeBatch.from_list":
        return EpisodeBatch.from_list(given["env_spec"], given["paths"])
    if op == "from_list(to_list)":
        return EpisodeBatch.from_list(given["env_spec"], EpisodeBatch(**given).to_list())
    if op == "TimeStepBatch.from_time_step_list":
        if not given:
            return TimeStepBatch.from_time_step_list(None, given)
        return TimeStepBatch.from_time_step_list(given["env_spec"], TimeStepBatch(**given).to_time_step_list())
    cls, _, member = op.partition(".")
    if member == "concatenate":
        batch_class = EpisodeBatch if cls == "EpisodeBatch" else TimeStepBatch
        return batch_class.concatenate(*(batch_class(**fields) for fields in given))
    if cls in ("EpisodeBatch", "TimeStepBatch"):
        attribute = getattr((EpisodeBatch if cls == "EpisodeBatch" else TimeStepBatch)(**given), member)
        return attribute() if callable(attribute) else attribute
    if op in ("EnvStep", "TimeStep", "TimeStep.from_env_step"):
        return _step(name, given)
    return _object(name)


def _step(name: str, given: dict[str, Any]) -> Any:
    if name == "time_step.no_validation":
        return TimeStep(None, None, None, None, None, None, None, None, None).terminal  # type: ignore[arg-type]
    if name == "time_step.from_env_step.mapping":
        step = TimeStep.from_env_step(_env_step(), np.array([7.0, 7.0]), {"h": 1}, {"e": 2})
        return {key: getattr(step, key) for key in CASES[name]["result"]}
    kind = given["step_type"]
    step = _env_step(kind) if name.startswith("env_step") else TimeStep.from_env_step(_env_step(kind), None, {}, {})
    return {key: getattr(step, key) for key in CASES[name]["result"]}


def _env_step(step_type: Any = StepType.MID) -> EnvStep:
    return EnvStep(None, np.array([0.0]), 1.0, np.array([1.0, 1.0]), {"k": 1}, step_type)


def _object(name: str) -> Any:
    """The cases whose recording holds no input."""
    box = gymnasium.spaces.Box(-10.0, 10.0, (2,))
    spec = EnvSpec(box, gymnasium.spaces.Box(-10.0, 10.0, (1,)), 4)
    if name == "eb.frozen":
        EpisodeBatch(**decode(CASES["eb.split"]["input"])).rewards = None  # type: ignore[misc,assignment]
    if name == "time_step.frozen":
        TimeStep.from_env_step(_env_step(), None, {}, {}).reward = 3  # type: ignore[misc]
    if name == "env_step.not_frozen":
        step = _env_step()
        step.reward = 3
        return step.reward
    if name == "env_spec.action_space_setter":
        spec.action_space = box  # type: ignore[misc]
    if name == "env_spec.swap":
        return {
            "input_is_action": spec.input_space is spec.action_space,
            "output_is_obs": spec.output_space is spec.observation_space,
            "eq": spec == copy.deepcopy(spec),
            "eq_ignores": spec == EnvSpec(spec.observation_space, spec.action_space, 5),
        }
    return _wrapped(name)


class _Inner:
    x = 1
    _y = 2

    def close(self) -> None: ...


def _wrapped(name: str) -> Any:
    inner = _Inner()
    once = Wrapper(inner)  # type: ignore[arg-type]
    if name == "wrapper.getattr":
        return [once.x, Wrapper(once).x]
    if name == "wrapper.getattr_private":
        return once._y
    if name == "wrapper.getattr_missing":
        return once.nope
    assert name == "wrapper.unwrapped_nested", name
    return "E" if Wrapper(once).unwrapped is inner else None


def assert_same(outcome: Outcome, expected: Any, subjects: list[str]) -> None:
    """The result is the recorded one, dtypes included."""
    if outcome.error is not None:
        raise AssertionError(f"{type(outcome.error).__name__}: {outcome.error}")
    _assert_equal(outcome.result, expected, "result")
    assert outcome.warnings == subjects


def assert_same_error(outcome: Outcome, error_type: str, message: str) -> None:
    """The error is of the recorded class, and a `ValueError` names the same field."""
    assert outcome.error is not None, f"no error; expected {error_type}: {message}"
    assert type(outcome.error).__name__ == error_type, repr(outcome.error)
    if error_type == "ValueError":
        for field in fields_of(message):
            assert field in str(outcome.error)


def fields_of(message: str) -> list[str]:
    """The fields that a message of garage is about."""
    if entry := re.match(r"Entry '(\w+)' in (\w+)", message):
        return list(entry.groups())
    if element := re.match(r"Each (\w+) has shape", message):
        return [f"{element[1]}s"]
    first = message.split()[0]
    return [first] if first in EPISODE_FIELDS + STEP_FIELDS else []


def _assert_equal(actual: Any, expected: Any, where: str) -> None:
    if isinstance(expected, dict):
        assert isinstance(actual, dict), where
        assert actual.keys() == expected.keys(), where
        for key, value in expected.items():
            _assert_equal(actual[key], value, f"{where}.{key}")
    elif isinstance(expected, list):
        assert isinstance(actual, list), where
        assert len(actual) == len(expected), where
        for index, (left, right) in enumerate(zip(actual, expected, strict=True)):
            _assert_equal(left, right, f"{where}[{index}]")
    elif isinstance(expected, np.ndarray):
        assert isinstance(actual, np.ndarray), where
        assert actual.dtype == expected.dtype, f"{where}: {actual.dtype}, not {expected.dtype}"
        np.testing.assert_array_equal(actual, expected, err_msg=where, strict=True)
    else:
        assert actual == expected, where
        assert type(actual) is type(expected), where
