"""Every recorded case of garage's data types holds, or is a deliberate difference, listed here with its reason."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from garage_dtypes import CASES, Outcome, assert_same, assert_same_error, decode, run, subject

if TYPE_CHECKING:
    from collections.abc import Callable

DOCUMENT = Path(__file__).parents[3] / "docs" / "DIFFERENCES.md"


@dataclass(frozen=True)
class Raises:
    """Ours is an error."""

    reason: str
    kind: type[Exception]
    match: str


@dataclass(frozen=True)
class Gives:
    """Ours is a result: the recorded one after a change, and the subjects of its warnings."""

    reason: str
    change: Callable[[Any], Any]
    warnings: tuple[str, ...] | None = None


def integers(value: Any, key: str = "") -> Any:
    """The recorded result with step types as `uint8`."""
    if isinstance(value, dict):
        return {name: integers(entry, name) for name, entry in value.items()}
    if isinstance(value, list):
        return [integers(entry) for entry in value]
    if key in ("step_types", "padded_step_types"):
        return value.astype(np.uint8)
    return value


def own_infos(value: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The recorded `to_list` with each episode's own infos."""
    paths = integers(value)
    for path, goal in zip(paths, ([1.0, 2.0], [3.0, 4.0]), strict=True):
        path["episode_infos"] = {"goal": np.array(goal)}
    return paths


def round_trip(value: dict[str, Any]) -> dict[str, Any]:
    infos = {"goal": np.array([[1.0, 2.0], [3.0, 4.0]])}
    return {**integers(value), "episode_infos_by_episode": infos}


def mixed(_: Any) -> dict[str, Any]:
    """The case whose first path has an observation more, the second not."""
    result = integers(decode(CASES["eb.from_list.obs_T+1"]["result"]))
    result["last_observations"] = np.array([[1.0, 1.25], [1.0, 1.25]], np.float32)
    return result


def constructed(_: Any) -> str:
    return "constructed"


STEP_TYPES = "step types are integers"
BOUNDS = "no warning for what lies within the bounds"
LENGTHS = "lengths are checked"
ASSERTIONS = "`ValueError` where garage has others"
INFOS = "`to_list` hands out each episode's own infos"

DIFFERENCES: dict[str, Raises | Gives] = {
    **{
        name: Gives(STEP_TYPES, integers)
        for name in (
            "eb.valid.all_properties",
            "eb.valid.max_len_none",
            "eb.split",
            "eb.to_time_step_list",
            "eb.concatenate",
            "eb.from_list.obs_T+1",
            "eb.from_list.last_obs_duplicated",
            "eb.from_list.next_observations",
            "eb.from_list.dones",
            "tsb.split",
            "tsb.to_time_step_list",
            "tsb.concatenate",
        )
    },
    "eb.ctor.step_types_int": Gives(STEP_TYPES, constructed),
    "tsb.ctor.step_types_int": Gives(STEP_TYPES, constructed),
    "tsb.from_time_step_list_roundtrip": Gives(
        "`from_time_step_list` takes what `to_time_step_list` gives",
        lambda _: integers({key: decode(CASES["tsb.split"]["input"])[key] for key in STEP_RESULT}),
    ),
    "eb.ctor.step_types_object_any": Raises("objects that are no step types", ValueError, "step_types .*no StepType"),
    "time_step.flags.plain_int_2": Gives(
        "a step type is compared by value", lambda value: {**value, "terminal": True, "last": True}
    ),
    "eb.to_list": Gives(INFOS, own_infos),
    "eb.from_list.roundtrip_to_list": Gives(INFOS, round_trip),
    "eb.from_list.mixed_T_and_T+1": Gives("`from_list` takes mixed numbers of observations", mixed),
    "eb.ctor.lengths_sum_mismatch": Raises(LENGTHS, ValueError, "lengths has the sum 4, expected 5"),
    "eb.ctor.lengths_sum_too_big": Raises(LENGTHS, ValueError, "lengths has the sum 18, expected 5"),
    "eb.ctor.lengths_negative": Raises(LENGTHS, ValueError, r"lengths\[0\] is -1"),
    "eb.pad_with_bad_lengths": Raises(LENGTHS, ValueError, "lengths has the sum 4, expected 5"),
    "eb.next_obs_bad_lengths": Raises(LENGTHS, ValueError, "lengths has the sum 4, expected 5"),
    "eb.ctor.lengths_list": Raises(ASSERTIONS, ValueError, "lengths is a list, expected a numpy array"),
    "eb.ctor.zero_episodes": Raises(ASSERTIONS, ValueError, "expected at least one step"),
    "tsb.ctor.empty": Raises(ASSERTIONS, ValueError, "expected at least one step"),
    "eb.concatenate_none": Raises(ASSERTIONS, ValueError, "no batch, expected at least one"),
    "eb.concatenate_env_info_keys_differ": Raises(ASSERTIONS, ValueError, r"env_infos has the keys \['zz'\].*\['a'\]"),
    "eb.ctor.env_infos_nested_ok": Raises(
        "nested infos are checked", ValueError, r"env_infos\['a'\]\['b'\] has shape \(1,\), expected 5 rows"
    ),
    "eb.ctor.obs_flat_equivalent": Gives(BOUNDS, constructed, ()),
    "eb.ctor.obs_float64_ok": Gives(BOUNDS, constructed, ()),
    "eb.ctor.act_1d_ok": Gives(BOUNDS, constructed, ()),
    "tsb.ctor.discrete_space_onehot": Gives(BOUNDS, constructed, ()),
}
STEP_RESULT = tuple(CASES["tsb.concatenate"]["result"]["$TimeStepBatch"])


def assert_as_recorded(name: str, outcome: Outcome) -> None:
    case = CASES[name]
    if case["ok"]:
        subjects = [subject(message) for message in case.get("warnings", [])]
        assert_same(outcome, decode(case["result"]), subjects)
    else:
        assert_same_error(outcome, case["error_type"], case["message"])


def test_the_recording_is_whole() -> None:
    assert len(CASES) == 148
    assert DIFFERENCES.keys() <= CASES.keys()


@pytest.mark.parametrize("name", [name for name in CASES if name not in DIFFERENCES])
def test_as_recorded(name: str) -> None:
    assert_as_recorded(name, run(name))


@pytest.mark.parametrize("name", DIFFERENCES)
def test_listed_differences_are_real_and_are_what_the_table_says(name: str) -> None:
    outcome, case, difference = run(name), CASES[name], DIFFERENCES[name]
    with pytest.raises(AssertionError):
        assert_as_recorded(name, outcome)
    if isinstance(difference, Raises):
        assert type(outcome.error) is difference.kind
        assert re.search(difference.match, str(outcome.error)), outcome.error
        return
    recorded = [subject(message) for message in case.get("warnings", [])]
    subjects = recorded if difference.warnings is None else list(difference.warnings)
    assert_same(outcome, difference.change(decode(case.get("result"))), subjects)


def test_every_reason_is_documented() -> None:
    section = DOCUMENT.read_text(encoding="utf-8").partition("## garage's data types")[2].partition("\n## ")[0]
    for difference in DIFFERENCES.values():
        assert f"| {difference.reason} |" in section, difference.reason
