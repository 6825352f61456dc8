"""Batches of steps and of episodes beyond what garage recorded."""

from __future__ import annotations

import time
import tracemalloc
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from batches import LENGTHS, arrays, assert_equal, episode_fields, episodes, spec, steps

from ganglion.data import EnvSpec, EpisodeBatch, StepType, TimeStep, TimeStepBatch, get_step_type


def test_episodes_are_views_of_the_batch() -> None:
    batch = episodes()
    for index, part in enumerate(batch.split()):
        assert part.lengths.tolist() == [LENGTHS[index]]
        assert part.episode_infos_by_episode["seed"].tolist() == [index]
        assert all(np.shares_memory(one, whole) for one, whole in zip(arrays(part), arrays(batch), strict=True))
    assert_equal(batch[-1], batch.split()[-1])
    assert batch[1:].rewards.tolist() == [3.0, 4.0, 5.0, 6.0]
    assert [part.lengths[0] for part in batch] == LENGTHS  # type: ignore[attr-defined]


def test_steps_are_views_of_the_batch() -> None:
    batch = steps()
    assert batch[2:4].rewards.tolist() == [3.0, 4.0]
    for part in batch.split():
        assert all(np.shares_memory(one, whole) for one, whole in zip(arrays(part), arrays(batch), strict=True))


@pytest.mark.parametrize("make", [episodes, steps])
def test_parts_out_of_range(make: Any) -> None:
    batch = make()
    with pytest.raises(IndexError, match=r"\[99\] of"):
        batch[99]
    for empty in (slice(1, 1), slice(0, 3, 2)):
        with pytest.raises(ValueError, match="expected a range of at least 1"):
            batch[empty]


def test_neighbours_join_without_a_copy_and_others_with_one() -> None:
    batch = episodes()
    joined = EpisodeBatch.concatenate(*batch.split())
    assert_equal(joined, batch)
    assert all(np.shares_memory(one, whole) for one, whole in zip(arrays(joined), arrays(batch), strict=True))
    turned = EpisodeBatch.concatenate(*batch.split()[::-1])
    assert turned.lengths.tolist() == LENGTHS[::-1]
    assert turned.rewards.tolist() == [4.0, 5.0, 6.0, 3.0, 1.0, 2.0]
    assert not any(np.shares_memory(one, whole) for one, whole in zip(arrays(turned), arrays(batch), strict=True))
    gap = EpisodeBatch.concatenate(batch[0], batch[2])
    assert gap.rewards.tolist() == [1.0, 2.0, 4.0, 5.0, 6.0]
    two = EpisodeBatch.concatenate(batch, episodes(rewards=-batch.rewards))
    assert two.rewards.tolist() == [*batch.rewards, *-batch.rewards]
    assert_equal(TimeStepBatch.concatenate(*steps().split()), steps())


@pytest.mark.parametrize(
    "layout",
    [
        lambda array: np.asfortranarray(array),
        lambda array: np.repeat(array, 2, axis=0)[::2],
        lambda array: array[::-1].copy()[::-1],
        lambda array: np.concatenate([array, array], axis=1)[:, : array.shape[1]],
    ],
)
def test_joining_of_other_memory_layouts(layout: Any) -> None:
    observations = episode_fields()["observations"]
    batch = episodes(observations=layout(observations))
    np.testing.assert_array_equal(EpisodeBatch.concatenate(*batch.split()).observations, observations)


def test_joining_keeps_memory_that_may_only_be_read() -> None:
    fields = episode_fields()
    parts = episodes(**fields).split()
    for part in parts:
        part.observations.flags.writeable = False
    joined = EpisodeBatch.concatenate(*parts).observations
    assert not np.shares_memory(joined, fields["observations"])
    assert joined.flags.writeable


def test_infos_without_elements() -> None:
    batch = episodes(agent_infos={"none": np.zeros((6, 0))})
    assert EpisodeBatch.concatenate(*batch.split()).agent_infos["none"].shape == (6, 0)


def test_a_million_steps_slice_and_join_without_copies() -> None:
    count = 1000
    fields = episode_fields([1000] * count)
    batch = EpisodeBatch(**fields)
    tracemalloc.start()
    started = time.perf_counter()
    parts = batch.split()
    half = batch[: count // 2]
    joined = EpisodeBatch.concatenate(*parts)
    seconds = time.perf_counter() - started
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(parts) == count
    assert len(half.rewards) == 500_000
    assert all(np.shares_memory(one, whole) for one, whole in zip(arrays(joined), arrays(batch), strict=True))
    assert all(np.shares_memory(one, whole) for one, whole in zip(arrays(half), arrays(batch), strict=True))
    # One copied field of a byte per step would be a million; the objects of 1,000 parts are what is there.
    assert peak < 5_000_000 < sum(array.nbytes for array in arrays(batch)) / 10
    assert seconds < 20  # a copy per part would take minutes


def test_time_step_lists_go_both_ways() -> None:
    batch = episodes()
    assert_equal(EpisodeBatch.from_time_step_list(batch.env_spec, batch.to_time_step_list()), batch)
    flat = TimeStepBatch.from_time_step_list(batch.env_spec, batch.to_time_step_list())
    np.testing.assert_array_equal(flat.next_observations, batch.next_observations)
    np.testing.assert_array_equal(flat.episode_infos["goal"], batch.episode_infos["goal"])
    assert_equal(TimeStepBatch.from_time_step_list(spec(), steps().to_time_step_list()), steps())


def test_lists_go_both_ways() -> None:
    batch = episodes()
    assert_equal(EpisodeBatch.from_list(batch.env_spec, batch.to_list()), batch)
    assert [path["episode_infos"]["seed"] for path in batch.to_list()] == [0, 1, 2]


def test_cut_episodes_and_nan_observations_go_both_ways() -> None:
    fields = episode_fields([2, 3], step_types=np.array([0, 1, 0, 1, 1]))
    fields["observations"][1] = np.nan
    batch = EpisodeBatch(**fields)
    with pytest.warns(UserWarning, match="next_observations.*nan"):
        again = EpisodeBatch.from_time_step_list(batch.env_spec, batch.to_time_step_list())
    assert_equal(again, batch)


def test_steps_that_are_no_episodes() -> None:
    samples = episodes().to_time_step_list()
    del samples[4]
    with pytest.raises(ValueError, match="next_observations of step 3 are not the observations of step 4"):
        EpisodeBatch.from_time_step_list(spec(), samples)
    assert len(TimeStepBatch.from_time_step_list(spec(), samples).rewards) == 5


def test_lists_that_lack_something() -> None:
    path = episodes().to_list()[2]
    cases = [
        ({"rewards": None}, "dictionary 1: rewards is a NoneType"),
        ({"observations": path["observations"][:2]}, "dictionary 1: observations has shape .2, 2., expected 3 rows"),
        ({"actions": np.zeros((4, 1))}, "dictionary 1: actions has shape .4, 1., expected 3 rows"),
        ({"env_infos": {"contact": path["rewards"]}}, r"env_infos\['contact'\] has the keys a ndarray, expected"),
        ({"env_infos": {"other": path["rewards"]}}, r"env_infos has the keys \['other'\], expected \['contact'\]"),
    ]
    for change, message in cases:
        with pytest.raises(ValueError, match=message):
            EpisodeBatch.from_list(spec(), [path, {**path, **change}])
    for name in path:
        if name == "next_observations":
            continue
        with pytest.raises(ValueError, match=f"dictionary 1: lacks {name}"):
            EpisodeBatch.from_list(spec(), [path, {key: value for key, value in path.items() if key != name}])
    with pytest.raises(ValueError, match="no dictionary"):
        EpisodeBatch.from_list(spec(), [])
    with pytest.raises(ValueError, match="dictionary 0 lacks rewards"):
        TimeStepBatch.from_time_step_list(spec(), [{key: path[key] for key in path if key != "rewards"}])


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("rewards", np.array([1, 2, np.nan, 4, 5, 6.0]), r"rewards\[2\] is nan, expected a finite number"),
        ("rewards", np.array([1, 2, 3, 4, -np.inf, 6.0]), r"rewards\[4\] is -inf"),
        ("rewards", np.array(list("abcdef")), "rewards has dtype <U1, expected real numbers"),
        ("rewards", np.array(1.0), r"rewards has shape \(\)"),
        ("rewards", np.ones((6, 1)), r"rewards has shape \(6, 1\), expected \(6,\)"),
        ("step_types", np.array([0, 1, 4, 0, 1, 2]), "step_types has values from 0 to 4"),
        ("step_types", np.array([0, 1, -1, 0, 1, 2]), "step_types has values from -1 to 2"),
        ("step_types", np.zeros(6), "step_types has dtype float64"),
        ("step_types", np.zeros(6, bool), "step_types has dtype bool"),
        ("step_types", np.array([0, 1, True, 0, 1, 2], object), "step_types has objects"),
        ("lengths", np.array([2, 1, 3, 0]), r"lengths\[3\] is 0, expected at least 1"),
        ("lengths", np.array([], np.int64), r"lengths has shape \(0,\), expected at least one episode"),
        ("agent_infos", {3: np.zeros(6)}, "agent_infos has the key 3, expected strings"),
        ("agent_infos", {"a": {}}, r"agent_infos\['a'\] is an empty dict"),
        ("agent_infos", {"a": np.array(3.0)}, r"agent_infos\['a'\] has shape \(\)"),
        ("agent_infos", {"a": {"b": [1]}}, r"agent_infos\['a'\]\['b'\] is a list"),
        ("agent_infos", None, "agent_infos is a NoneType, expected a dict"),
        ("last_observations", np.zeros((3, 1), np.float32), r"last_observations has rows of shape \(1,\)"),
    ],
)
def test_fields_that_do_not_fit(field: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"EpisodeBatch: {message}"):
        episodes(**{field: value})


def test_without_a_spec_the_sizes_still_have_to_agree() -> None:
    assert episodes(env_spec=None).observations.shape == (6, 2)
    with pytest.raises(ValueError, match=r"last_observations has rows of shape \(3,\), expected \(2,\)"):
        episodes(env_spec=None, last_observations=np.zeros((3, 3)))


def test_batches_that_do_not_go_together() -> None:
    batch = episodes()
    for other, message in [
        (episodes(env_spec=spec(9)), "env_spec is .*max_episode_length=9"),
        (episodes(agent_infos={}), r"agent_infos has the keys \[\], expected \['hidden_states'\]"),
        (
            episodes(agent_infos={"hidden_states": np.zeros((6, 9))}),
            r"rows of shape \(9,\), expected rows of shape \(8,\)",
        ),
        (episodes(env_infos={"contact": np.zeros(6)}), r"env_infos\['contact'\] has the keys a ndarray"),
        (steps(), "found a TimeStepBatch, expected EpisodeBatchs"),
    ]:
        with pytest.raises(ValueError, match=message):
            EpisodeBatch.concatenate(batch, other)  # type: ignore[arg-type]


def test_step_types_of_every_integer_kind() -> None:
    expected = episode_fields()["step_types"]
    objects = np.array([StepType(value) for value in expected], dtype=object)
    for given in (objects, expected.astype(np.int64), expected.astype(np.uint16), expected):
        kept = episodes(step_types=given).step_types
        assert kept.dtype == np.uint8
        np.testing.assert_array_equal(kept, expected)
    assert np.shares_memory(episodes(step_types=expected).step_types, expected)


def test_lengths_of_every_integer_kind() -> None:
    for dtype in ("uint8", "int16", "uint64"):
        batch = episodes([200, 100], lengths=np.array([200, 100], dtype))
        assert batch[1].rewards[0] == 201.0
        assert batch.next_observations.shape == (300, 2)


def test_padding_warns_and_keeps_everything() -> None:
    batch = episodes([2, 6])
    with pytest.warns(UserWarning, match="longest episode has 6 steps"):
        padded = batch.padded_agent_infos["hidden_states"]
    assert padded.shape == (2, 6, 8)
    np.testing.assert_array_equal(padded[1], batch.agent_infos["hidden_states"][2:])
    with pytest.warns(UserWarning, match="padding to 6") as caught:
        nested = batch.padded_env_infos["contact"]
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert nested["left"].dtype == bool
    with pytest.warns(UserWarning, match="padding to 6") as caught:
        assert batch.valids.sum() == 8
    assert caught[0].filename == __file__


def test_warnings_point_to_the_caller() -> None:
    with pytest.warns(UserWarning, match=r"observations\[0\].* is outside observation_space") as caught:
        episodes(observations=np.full((6, 2), 99.0))
    assert caught[0].filename.endswith("batches.py")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        episodes(observations=np.full((6, 2), 9.0))


def test_discrete_observations_become_one_hot() -> None:
    discrete = EnvSpec(gymnasium.spaces.Discrete(3), gymnasium.spaces.Discrete(2))
    batch = episodes(
        env_spec=discrete,
        observations=np.array([0, 1, 2, 0, 1, 2]),
        last_observations=np.array([0, 1, 2]),
        actions=np.array([0, 1, 0, 1, 0, 1]),
    )
    np.testing.assert_array_equal(batch.flat_observations, np.eye(3)[[0, 1, 2, 0, 1, 2]])
    assert batch.next_observations.tolist() == [1, 0, 1, 1, 2, 2]
    box = episodes()
    assert np.shares_memory(box.flat_observations, box.observations)


def test_time_steps_of_a_batch_know_their_type() -> None:
    batch = steps()
    step = TimeStep(batch.env_spec, {}, None, None, 0.0, None, {}, {}, batch.step_types[-1])
    assert step.terminal
    assert step.last
    assert not step.timeout
    assert get_step_type(3, 3, False) is StepType.TIMEOUT


def test_batches_say_what_they_are_in_one_line() -> None:
    assert repr(episodes()).startswith("EpisodeBatch(3 episodes, 6 steps, EnvSpec(")
    assert repr(steps()).startswith("TimeStepBatch(6 steps, EnvSpec(")
    assert "\n" not in repr(episodes())


@pytest.mark.parametrize("cls", [TimeStepBatch, EpisodeBatch])
def test_the_page_calls_next_observations_by_one(cls: type[TimeStepBatch]) -> None:
    samples = episodes().to_time_step_list()
    renamed = [{**sample, "next_observation": sample["next_observations"]} for sample in samples]
    for sample in renamed:
        del sample["next_observations"]
    assert_equal(cls.from_time_step_list(spec(), renamed), cls.from_time_step_list(spec(), samples))
    del renamed[1]["next_observation"]
    with pytest.raises(ValueError, match="dictionary 1 lacks next_observations"):
        cls.from_time_step_list(spec(), renamed)
