import hashlib
import zipfile

import numpy as np
import pytest

from ganglion.contract import Contract, TensorSpec
from ganglion.errors import ArtifactError
from ganglion.verify.trajectory import Trajectory, draw_trajectory, load_recording

INF = float("inf")


def contract(low=(), high=(), size=None):
    size = size or len(low) or 3
    return Contract(inputs=(TensorSpec("obs", size, low=low, high=high),), outputs=(TensorSpec("actions", 1),))


def test_a_seed_gives_one_trajectory_and_another_seed_another():
    one, same, other = (draw_trajectory(contract(), steps=50, batch=2, seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(one.observation, same.observation) and np.array_equal(one.reset, same.reset)
    assert not np.array_equal(one.observation, other.observation)


def test_bounded_elements_cover_their_interval_and_touch_both_bounds():
    drawn = draw_trajectory(contract((-2.0, 5.0), (2.0, 6.0)), steps=2000, batch=1, seed=0).observation[:, 0]
    assert drawn.dtype == np.float32 and np.isfinite(drawn).all()
    assert drawn.min(axis=0).tolist() == [-2.0, 5.0] and drawn.max(axis=0).tolist() == [2.0, 6.0]
    for element, (low, width) in enumerate([(-2.0, 4.0), (5.0, 1.0)]):
        counts, _ = np.histogram((drawn[:, element] - low) / width, bins=5, range=(0.0, 1.0))
        assert counts.min() > 2000 / 5 / 3


def test_half_bounded_elements_respect_the_bound_they_have():
    drawn = draw_trajectory(contract((1.0, -INF), (INF, -1.0)), steps=500, batch=2, seed=0).observation
    assert drawn[..., 0].min() == 1.0 and drawn[..., 1].max() == -1.0
    assert drawn[..., 0].max() > 2.0 and drawn[..., 1].min() < -2.0


@pytest.mark.parametrize("bounds", [((), ()), ((-3.4e38,) * 3, (3.4e38,) * 3), ((-INF,) * 3, (INF,) * 3)])
def test_unbounded_elements_are_small_and_large_but_not_huge(bounds):
    drawn = draw_trajectory(contract(*bounds), steps=2000, batch=1, seed=0).observation
    assert 3.0 < np.abs(drawn).max() < 20.0
    assert (np.abs(drawn) < 0.1).mean() > 0.05


def test_drawn_observations_are_smooth_with_jumps():
    drawn = draw_trajectory(contract(), steps=2000, batch=1, seed=0).observation[:, 0, 0]
    change = np.abs(np.diff(drawn))
    assert np.median(change) < 0.5 * np.abs(drawn).mean()
    assert change.max() > 5.0 * np.median(change)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("steps", "batch"), [(40, 1), (40, 4), (2000, 4), (3, 2)])
def test_resets_are_drawn_for_all_rows_and_for_some(steps, batch, seed):
    reset = draw_trajectory(contract(), steps=steps, batch=batch, seed=seed).reset
    assert not reset[0].any()
    assert reset.any(axis=0).all()
    if batch > 1:
        assert (reset.any(axis=1) & ~reset.all(axis=1)).any()


def test_one_step_has_no_reset():
    assert not draw_trajectory(contract(), steps=1, batch=3, seed=0).reset.any()


def test_a_recording_comes_back_as_it_was_saved(tmp_path):
    drawn = draw_trajectory(contract(), steps=30, batch=2, seed=1)
    drawn.save(tmp_path / "run.npz")
    read = load_recording(tmp_path / "run.npz", observation_size=3, batch=None)
    assert np.array_equal(read.observation, drawn.observation) and np.array_equal(read.reset, drawn.reset)
    assert list(tmp_path.iterdir()) == [tmp_path / "run.npz"]


def test_a_trajectory_is_saved_as_npz_only(tmp_path):
    with pytest.raises(ValueError, match=r"\.npz"):
        Trajectory(np.zeros((1, 1, 1), np.float32), np.zeros((1, 1), bool), "").save(tmp_path / "run.csv")


def test_an_unbatched_recording_is_given_to_every_row(tmp_path):
    observation = np.arange(12.0).reshape(4, 3)
    np.savez(tmp_path / "run.npz", observation=observation, reset=[0, 0, 1, 0])
    read = load_recording(tmp_path / "run.npz", observation_size=3, batch=2)
    assert read.observation.shape == (4, 2, 3) and read.observation.dtype == np.float32
    assert np.array_equal(read.observation[:, 1], observation)
    assert read.reset.tolist() == [[False] * 2, [False] * 2, [True] * 2, [False] * 2]


def test_a_recording_without_resets_has_none(tmp_path):
    np.savez(tmp_path / "run.npz", observation=np.zeros((5, 3), dtype=np.int64))
    assert not load_recording(tmp_path / "run.npz", observation_size=3, batch=None).reset.any()


FINE = np.zeros((4, 2, 3))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"obs": FINE}, "needs an array named 'observation'; the file has: obs"),
        ({"observation": np.zeros((4, 2, 5))}, "has 5 elements a step; the policy takes 3"),
        ({"observation": np.zeros(4)}, r"must be \[T, n\] or \[T, batch, n\], not \[4\]"),
        ({"observation": np.zeros((0, 2, 3))}, "is empty"),
        ({"observation": np.zeros((4, 1, 3))}, "has 1 rows; 2 are needed"),
        ({"observation": np.full((4, 2, 3), "a")}, "not numbers"),
        ({"observation": np.where(np.arange(24).reshape(4, 2, 3) == 10, np.nan, 0.0)}, r"index \[1, 1, 1\]"),
        ({"observation": np.full((4, 2, 3), 1e300)}, "not finite in float32"),
        ({"observation": np.full((4, 2, 3), None)}, "not a readable"),
        ({"observation": FINE, "reset": np.zeros(5)}, r"'reset' must be \[4\] or \[4, 2\], not \[5\]"),
        ({"observation": FINE, "reset": np.full(4, 2)}, "booleans, or zeros and ones"),
        ({"observation": FINE, "reset": np.full(4, "x")}, "booleans, or zeros and ones"),
    ],
)
def test_a_wrong_recording_is_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "run.npz", **arrays)
    with pytest.raises(ArtifactError, match=message):
        load_recording(tmp_path / "run.npz", observation_size=3, batch=2)


def test_a_damaged_recording_is_refused(tmp_path):
    whole = tmp_path / "whole.npz"
    np.savez_compressed(whole, observation=np.random.default_rng(0).random((50, 2, 3)))
    data = whole.read_bytes()
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 0xFF
    damaged = tmp_path / "damaged.npz"
    for content in (b"", b"hello", data[: len(data) // 2], data[:-30], bytes(flipped)):
        damaged.write_bytes(content)
        with pytest.raises(ArtifactError, match="not a readable"):
            load_recording(damaged, observation_size=3, batch=2)
    with zipfile.ZipFile(damaged, "w") as archive:
        archive.writestr("observation.npy", b"no array")
    with pytest.raises(ArtifactError, match="'observation' is no array"):
        load_recording(damaged, observation_size=3, batch=2)


def test_a_missing_recording_a_folder_and_a_bare_array_are_refused(tmp_path):
    np.save(tmp_path / "bare.npy", FINE)
    for name, message in [("none.npz", "no such recording"), (".", "not a folder"), ("bare.npy", "single array")]:
        with pytest.raises(ArtifactError, match=message):
            load_recording(tmp_path / name, observation_size=3, batch=2)


@pytest.mark.parametrize(
    ("size", "steps", "batch", "seed", "digest"),
    [(3, 50, 2, 3, "be86d719d5ca4130"), (5, 2000, 4, 0, "31fcb074257d5fd4"), (700, 301, 4, 1, "1986eab20c1fd16d")],
)
def test_a_seed_gives_the_numbers_that_it_always_gave(size, steps, batch, seed, digest):
    """Of the time when whole runs were drawn at once; the last one is drawn in two blocks."""
    more = size - 3
    bounded = contract((-2.0, 0.0, -INF, *[-INF] * more), (2.0, INF, 1.0, *[INF] * more))
    drawn = draw_trajectory(bounded, steps=steps, batch=batch, seed=seed)
    assert hashlib.sha256(drawn.observation.tobytes()).hexdigest()[:16] == digest


def test_a_long_run_of_images_is_never_whole_in_memory():
    drawn = draw_trajectory(contract(size=84 * 84 * 12), steps=60, batch=4, seed=0)
    blocks = drawn.blocks()
    assert max(next(blocks).nbytes for _ in range(3)) < 2**22 and drawn.steps == 60
