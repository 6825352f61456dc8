"""`ganglion.load` and `Policy`: shapes, types, refusals, and buffers that keep their bytes."""

from __future__ import annotations

import shutil
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from special_outputs import SPECIAL_OBSERVATIONS, SpecialOutputsPolicy

import ganglion

ARTIFACTS = Path(__file__).parents[2] / "golden" / "artifacts"
ENGINES = {".ganglion": "native", ".onnx": "onnxruntime", ".pt": "libtorch"}


@pytest.fixture(params=sorted(ENGINES))
def suffix(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def pilot(name: str, suffix: str) -> ganglion.Policy:
    return ganglion.load(ARTIFACTS / f"{name}{suffix}")


def test_properties(suffix: str) -> None:
    policy = pilot("lstm", suffix)
    assert (policy.engine, policy.batch, policy.realtime_safe) == (ENGINES[suffix], 1, suffix == ".ganglion")
    assert policy.contract.state == (ganglion.StateSlot("h", (2, 8)), ganglion.StateSlot("c", (2, 8)))
    assert policy.contract == ganglion.inspect(ARTIFACTS / f"lstm{suffix}")
    assert policy.contract.golden is not None  # read from the core when it is looked at, not at load
    assert policy.clone().contract == policy.contract
    assert policy.self_test().ok
    assert policy.engine in repr(policy)


def test_shapes_follow_the_observation(suffix: str) -> None:
    policy = pilot("lstm", suffix)
    flat = policy.step(np.zeros(3, np.float32))
    policy.reset()
    rows = policy.step(np.zeros((1, 3), np.float32))
    assert (flat.shape, rows.shape, flat.dtype) == ((2,), (1, 2), np.float32)
    assert np.array_equal(flat, rows[0])
    assert policy.state().shape == (32,)
    batch = pilot("gru_batch4", suffix)
    assert batch.step(np.zeros((4, 3), np.float32)).shape == (4, 2)
    assert batch.state().shape == (4, 16)
    assert batch.output("actions").shape == (4, 2)


@pytest.mark.parametrize("name", ["lstm", "gru_batch4"])
def test_a_burn_in_is_so_many_steps(suffix: str, name: str) -> None:
    stepped, burnt = pilot(name, suffix), pilot(name, suffix)
    rows = () if stepped.batch == 1 else (stepped.batch,)
    observations = np.random.default_rng(0).normal(size=(9, *rows, 3)).astype(np.float32)
    for observation in observations:
        stepped.step(observation)
    burnt.burn_in(observations)
    np.testing.assert_array_equal(burnt.state(), stepped.state())
    burnt.burn_in([])
    burnt.reset()
    observations[5, ..., 1] = np.nan
    with pytest.raises(ganglion.StepError, match="step 5 of the burn-in: the observation has a NaN") as caught:
        burnt.burn_in(observations.tolist())
    assert caught.value.status == "non_finite_observation"
    stepped.reset()
    stepped.burn_in({"obs": observations[:5]})
    np.testing.assert_array_equal(burnt.state(), stepped.state())
    for wrong in (observations[..., :2], observations[0], 3.0):
        with pytest.raises(ganglion.StepError, match="bad_size"):
            burnt.burn_in(wrong)
    np.testing.assert_array_equal(burnt.state(), stepped.state())


@pytest.mark.parametrize(
    "observation",
    [
        np.array([0.1, 0.2, 0.3]),  # float64
        [0.1, 0.2, 0.3],
        np.array([0.1, 9.0, 0.2, 9.0, 0.3, 9.0], np.float32)[::2],  # not contiguous
        np.asfortranarray(np.array([[0.1, 0.2, 0.3]], np.float32)),
        np.array([0.1, 0.2, 0.3], ">f4"),  # the other byte order
    ],
    ids=["float64", "list", "strided", "fortran", "big-endian"],
)
def test_other_arrays_are_converted_never_misread(suffix: str, observation: np.ndarray) -> None:
    policy = pilot("lstm", suffix)
    expected = policy.step(np.array([0.1, 0.2, 0.3], np.float32))
    policy.reset()
    assert np.array_equal(np.asarray(policy.step(observation)).ravel(), expected)


@pytest.mark.parametrize(
    ("observation", "status"),
    [
        (np.zeros(2, np.float32), "bad_size"),
        (np.zeros((3, 1), np.float32), "bad_size"),
        (np.zeros((2, 3), np.float32), "bad_size"),
        (np.array(0.0, np.float32), "bad_size"),
        (np.zeros(3, np.complex64), "bad_size"),
        (np.array(["a", "b", "c"]), "bad_size"),
        (np.array([0.0, np.nan, 0.0]), "non_finite_observation"),
        (np.array([0.0, np.inf, 0.0]), "non_finite_observation"),
        (np.array([0.0, 1e300, 0.0]), "non_finite_observation"),  # infinite as float32
    ],
)
def test_refused_observations(suffix: str, observation: np.ndarray, status: str) -> None:
    policy = pilot("lstm", suffix)
    policy.step(np.ones(3, np.float32))
    state = policy.state()
    out = np.full(2, -7.0, np.float32)
    with pytest.raises(ganglion.StepError) as caught:
        policy.step(observation, out=out if observation.ndim == 1 else None)
    assert caught.value.status == status
    assert np.array_equal(out, [-7.0, -7.0])
    assert np.array_equal(policy.state(), state)


@pytest.mark.parametrize(
    ("observation", "status"),
    [([1.0, 1000.0], "non_finite_action"), ([1.0, -1000.0], "non_finite_action"), ([9.0, 0.0], "engine_failure")],
)
def test_refused_steps_keep_everything(suffix: str, observation: list[float], status: str) -> None:
    if (suffix, status) == (".ganglion", "engine_failure"):
        pytest.skip("a step of the native engine cannot fail")
    policy = pilot("faulty", suffix)
    out = policy.step(np.array([2.0, 0.0], np.float32))
    kept = out.copy(), policy.state(), policy.output("sum")
    with pytest.raises(ganglion.StepError) as caught:
        policy.step(np.array(observation, np.float32), out=out)
    assert caught.value.status == status
    assert all(map(np.array_equal, kept, (out, policy.state(), policy.output("sum"))))


@pytest.mark.parametrize("rows", [1, 2])
def test_every_output_is_checked(tmp_path: Path, suffix: str, rows: int) -> None:
    ganglion.export(SpecialOutputsPolicy(), tmp_path / f"policy{suffix}", batch=rows)
    policy = ganglion.load(tmp_path / f"policy{suffix}")
    for seen, is_good in SPECIAL_OBSERVATIONS:
        observation = np.ones((rows, 3), np.float32)
        observation[-1] = seen
        if is_good:
            assert np.allclose(policy.step(observation), np.tanh(observation))
            continue
        out = np.full((rows, 3), -7.0, np.float32)
        with pytest.raises(ganglion.StepError) as caught:
            policy.step(observation, out=out)
        assert caught.value.status == "non_finite_action" and np.all(out == -7.0)


def test_out_is_written_in_place_without_allocation(suffix: str) -> None:
    policy = pilot("lstm", suffix)
    observation, out = np.zeros(3, np.float32), np.empty(2, np.float32)
    assert policy.step(observation, out=out) is out
    for _ in range(100):
        policy.step(observation, out=out)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(1000):
        policy.step(observation, out=out)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 1000  # less than a byte a step


@pytest.mark.parametrize(
    ("out", "error"),
    [
        (np.empty(2), TypeError),
        ([0.0, 0.0], TypeError),
        (np.empty(3, np.float32), ValueError),
        (np.empty((1, 2), np.float32), ValueError),
        (np.empty(4, np.float32)[::2], ValueError),
    ],
)
def test_wrong_out_is_refused(out: np.ndarray, error: type[Exception]) -> None:
    policy = pilot("lstm", ".onnx")
    state = policy.state()
    with pytest.raises(error, match="out must be"):
        policy.step(np.zeros(3, np.float32), out=out)
    assert np.array_equal(policy.state(), state)
    frozen = np.empty(2, np.float32)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="writeable"):
        policy.step(np.zeros(3, np.float32), out=frozen)


def test_state_round_trip_and_refusals(suffix: str) -> None:
    policy = pilot("lstm", suffix)
    policy.step(np.ones(3, np.float32))
    state = policy.state()
    after = policy.step(np.ones(3, np.float32))
    policy.set_state(state)
    assert np.array_equal(policy.step(np.ones(3, np.float32)), after)
    state[0] = 5.0  # a copy: the policy does not see this
    assert policy.state()[0] != 5.0
    with pytest.raises(ganglion.StepError, match="bad_size"):
        policy.set_state(np.zeros(31))
    with pytest.raises(ganglion.StepError, match="non_finite_state: the state has"):
        policy.set_state(np.full(32, np.nan))
    policy.reset()
    assert np.array_equal(policy.state(), np.zeros(32))


def test_masked_reset(suffix: str) -> None:
    policy = pilot("gru_batch4", suffix)
    for _ in range(3):
        policy.step(np.ones((4, 3), np.float32))
    before = policy.state()
    policy.reset(np.array([True, False, False, True]))
    after = policy.state()
    assert np.array_equal(after[1:3], before[1:3])
    assert not after[[0, 3]].any()
    for wrong in (np.array([True]), np.array([1, 0, 0, 1]), np.array([0, 3])):
        with pytest.raises(ganglion.StepError, match="4 bools"):
            policy.reset(wrong)


def test_any_batch_is_chosen_at_load() -> None:
    policy = ganglion.load(ARTIFACTS / "rnn_any.onnx", batch=5)
    assert policy.step(np.zeros((5, 3), np.float32)).shape == (5, 2)
    assert ganglion.load(ARTIFACTS / "rnn_any.onnx").batch == 1
    with pytest.raises(ganglion.GanglionError, match="fixed to 4"):
        ganglion.load(ARTIFACTS / "gru_batch4.onnx", batch=5)
    with pytest.raises(ValueError, match="batch"):
        ganglion.load(ARTIFACTS / "rnn_any.onnx", batch=0)


def test_outputs_by_name_and_index(suffix: str) -> None:
    policy = pilot("faulty", suffix)
    with pytest.raises(ganglion.GanglionError, match="no step"):
        policy.output(0)
    action = policy.step(np.array([1.0, 0.0], np.float32))
    assert np.array_equal(policy.output("actions"), action)
    assert policy.output("sum") == policy.output(1) == [1.5]
    for wrong in ("nothing", 2, -1):
        with pytest.raises(KeyError):
            policy.output(wrong)


def test_clone_lives_alone(suffix: str) -> None:
    policy = pilot("lstm", suffix)
    policy.step(np.ones(3, np.float32))
    twin = policy.clone()
    assert np.array_equal(twin.state(), policy.state())
    assert np.array_equal(twin.step(np.ones(3)), policy.step(np.ones(3)))
    twin.reset()
    assert policy.state().any()


def test_steps_release_the_interpreter_lock(suffix: str) -> None:
    """Clones in threads agree with one policy alone."""
    policy = pilot("lstm", suffix)
    observations = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    expected = [policy.step(observation) for observation in observations]
    policy.reset()
    results: list[list[np.ndarray]] = [[] for _ in range(3)]

    def fly(twin: ganglion.Policy, result: list[np.ndarray]) -> None:
        result.extend(twin.step(observation) for observation in observations)

    threads = [threading.Thread(target=fly, args=(policy.clone(), result)) for result in results]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        assert np.array_equal(result, expected)


def test_torch_keeps_its_threads() -> None:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        pilot("lstm", ".pt").step(np.zeros(3, np.float32))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_paths_with_spaces_and_letters(tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"mein Läufer{suffix}"
    shutil.copy(ARTIFACTS / f"lstm{suffix}", target)
    assert ganglion.load(str(target)).self_test().ok
