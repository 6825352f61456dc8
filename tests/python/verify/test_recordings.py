"""Recorded episodes: as the trajectory of a verification, as what is compared, and as golden trajectories."""

from __future__ import annotations

import json

import gymnasium
import numpy as np
import pytest
import torch

import ganglion
from ganglion._foundation.recordings import read_episodes
from ganglion.cli import main
from ganglion.data import EnvSpec, EpisodeBatch, StepType
from ganglion.errors import ArtifactError, ExportError
from ganglion.export.golden import record
from ganglion.policies import GaussianLSTMPolicy, GRUPolicy, LSTMPolicy
from ganglion.verify import load_recording

BOX = gymnasium.spaces.Box
SPEC = EnvSpec(BOX(-4.0, 4.0, (3,)), BOX(-2.0, 2.0, (2,)))
LENGTHS = (30, 7, 41, 12, 25)


def make_policy(seed=0):
    torch.manual_seed(seed)
    return LSTMPolicy(SPEC, hidden_size=4, num_recurrent_layers=1)


def recorded(policy=None, lengths=LENGTHS, **changes):
    """Episodes of the policy itself, stepped in PyTorch."""
    policy = make_policy() if policy is None else policy
    observations = np.random.default_rng(0).uniform(-2.0, 2.0, (sum(lengths), 3)).astype(np.float32)
    types = np.full(sum(lengths), StepType.MID, np.uint8)
    actions, states, begin = [], [], 0
    for length in lengths:
        types[begin], types[begin + length - 1] = StepType.FIRST, StepType.TERMINAL
        hidden = policy.init_hidden()
        for row in observations[begin : begin + length]:
            states.append(hidden.detach().numpy())
            action, *_, hidden = policy(torch.from_numpy(row), hidden)
            actions.append(action.detach().numpy())
        begin += length
    fields = {
        "env_spec": SPEC,
        "episode_infos": {},
        "observations": observations,
        "last_observations": np.zeros((len(lengths), 3), np.float32),
        "actions": np.array(actions),
        "rewards": np.ones(sum(lengths)),
        "env_infos": {},
        "agent_infos": {"hidden_states": np.array(states)},
        "step_types": types,
        "lengths": np.array(lengths),
    }
    return EpisodeBatch(**{**fields, **changes})


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Paths of one policy by batch."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("recordings")
    paths = {1: folder / "one.ganglion", 3: folder / "three.ganglion", None: folder / "any.onnx"}
    for batch, path in paths.items():
        ganglion.export(make_policy(), path, batch=batch)
    recorded().save(folder / "run.npz")
    return {**paths, "run": folder / "run.npz"}


# laid side by side -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("lengths", [LENGTHS, (1, 1, 1), (4,), (100, 1, 1, 1)])
def test_every_episode_lies_in_a_row_and_begins_with_a_reset(rows, lengths):
    batch = recorded(lengths=lengths)
    # Every observation says which step of which episode it is.
    marks = np.stack([np.repeat(np.arange(len(lengths)), lengths), np.concatenate([np.arange(n) for n in lengths])], 1)
    batch = recorded(lengths=lengths, observations=np.c_[marks, np.zeros(len(marks))].astype(np.float32))
    run = load_recording(batch, observation_size=3, batch=rows)
    assert run.batch == rows and run.observation.dtype == np.float32 and not run.reset[0].any()
    seen = set()
    for row in range(rows):
        before = None
        for step, (episode, time) in enumerate(run.observation[:, row, :2].astype(int).tolist()):
            begins = step == 0 or bool(run.reset[step, row])
            # Either an episode begins, or the one of the step before goes on.
            assert (time == 0) == begins
            if not begins:
                assert before == (episode, time - 1)
            elif before is not None:
                assert before[1] == lengths[before[0]] - 1
            before = (episode, time)
            seen.add(before)
    assert len(seen) == sum(lengths)


def test_rows_of_mixed_lengths_are_reset_one_by_one():
    run = load_recording(recorded(), observation_size=3, batch=None)
    assert run.batch == 4 and "5 episodes" in run.source
    assert (run.reset.any(axis=1) & ~run.reset.all(axis=1)).any()


def test_a_plain_recording_is_cut_where_it_is_reset(tmp_path):
    observation = np.arange(2 * 6 * 3.0).reshape(6, 2, 3)
    reset = np.zeros((6, 2), bool)
    reset[2, 0] = reset[5, 1] = True
    np.savez(tmp_path / "run.npz", observation=observation, reset=reset)
    episodes = read_episodes(tmp_path / "run.npz", 3)
    assert episodes.lengths.tolist() == [2, 4, 5, 1]
    assert np.array_equal(episodes.observations[2:6], observation[2:, 0])
    assert np.array_equal(episodes.observations[11], observation[5, 1])


# verify ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("batch", "rows"), [(1, 1), (3, 3), (None, 4)])
def test_a_file_is_verified_along_recorded_episodes(files, batch, rows):
    report = ganglion.verify(files[batch], make_policy(), recording=files["run"])
    assert report.ok, report.verdict
    assert report.trajectory.batch == rows and "episodes of recording run.npz" in report.trajectory.source
    assert report.trajectory.reset.sum() >= len(LENGTHS) - rows
    # Every recorded step was run, and in memory it is the same as from the file.
    steps = {row.tobytes() for row in report.trajectory.observation.reshape(-1, 3)}
    assert steps == {row.tobytes() for row in recorded().observations}
    in_memory = ganglion.verify(files[batch], make_policy(), recording=recorded())
    assert np.array_equal(in_memory.trajectory.observation, report.trajectory.observation)
    assert np.array_equal(in_memory.trajectory.reset, report.trajectory.reset)


def test_another_policy_is_found_along_a_recording(files):
    report = ganglion.verify(files[1], make_policy(1), recording=files["run"])
    assert not report.ok and report.first_divergence.step == 0


@pytest.mark.parametrize("batch", [1, 3, None])
def test_recorded_actions_and_states_are_one_more_row(files, batch):
    report = ganglion.verify(files[batch], make_policy(), recording=recorded(), recorded_actions="actions")
    assert report.ok, report.verdict
    row = report.comparisons[-1]
    assert row.engine == "recording" and [tensor.name for tensor in row.tensors] == ["actions", "state"]
    assert row.state.max_error < 1e-5 and "recording" in report.to_json()


def test_recorded_actions_that_differ_are_named(files):
    actions = recorded().actions.copy()
    actions[33, 1] += 0.01  # step 3 of episode 1, which is in row 1
    report = ganglion.verify(files[3], make_policy(), recording=recorded(actions=actions), recorded_actions="actions")
    first = report.first_divergence
    assert not report.ok
    assert (first.engine, first.output, first.step, first.row, first.element) == ("recording", "actions", 3, 1, 1)
    states = recorded().agent_infos["hidden_states"].copy()
    states[33, 2] += 0.01
    infos = {"hidden_states": states}
    report = ganglion.verify(files[3], make_policy(), recording=recorded(agent_infos=infos), recorded_actions="actions")
    first = report.first_divergence
    # What step 3 was fed is what step 2 left behind.
    assert (first.engine, first.output, first.step, first.row, first.element) == ("recording", "state", 2, 1, 2)
    # Not asked for, so not compared.
    assert ganglion.verify(files[3], make_policy(), recording=recorded(agent_infos=infos)).ok


def test_the_mean_of_a_gaussian_policy_can_be_compared(tmp_path):
    torch.manual_seed(0)
    policy = GaussianLSTMPolicy(SPEC, hidden_dim=4, state_include_action=False)
    ganglion.export(policy, tmp_path / "policy.ganglion")
    exact = recorded(policy)
    noisy = exact.actions + np.random.default_rng(1).normal(size=exact.actions.shape).astype(np.float32)
    batch = recorded(policy, actions=noisy, agent_infos={"mean": exact.actions, "other": np.zeros(len(noisy))})
    target = tmp_path / "policy.ganglion"
    assert ganglion.verify(target, recording=batch, recorded_actions="mean").ok
    assert not ganglion.verify(target, recording=batch, recorded_actions="actions").ok
    with pytest.raises(ArtifactError, match="have 1 elements a step; output 'mean' of the file has 2"):
        ganglion.verify(target, recording=batch, recorded_actions="other")
    with pytest.raises(ArtifactError, match="no recorded 'means' to compare with; there are actions, mean, other"):
        ganglion.verify(target, recording=batch, recorded_actions="means")


def test_pieces_of_episodes_are_not_compared_with_runs_from_the_beginning(files):
    states = recorded().agent_infos["hidden_states"].copy()
    states[30] = 0.5
    piece = recorded(agent_infos={"hidden_states": states})
    assert ganglion.verify(files[1], recording=piece).ok
    with pytest.raises(ArtifactError, match="does not begin in the initial state"):
        ganglion.verify(files[1], recording=piece, recorded_actions="actions")
    other = recorded(agent_infos={"hidden_states": np.zeros((115, 3))})
    with pytest.raises(ArtifactError, match="hidden_states have 3 elements; the state of the file has 8"):
        ganglion.verify(files[1], recording=other, recorded_actions="actions")


def test_recordings_that_do_not_fit_are_refused(files, tmp_path):
    wide = recorded(env_spec=None, observations=np.zeros((115, 5)), last_observations=np.zeros((5, 5)))
    with pytest.raises(ArtifactError, match="'observations' has 5 elements a step; the policy takes 3"):
        ganglion.verify(files[1], recording=wide)
    broken = recorded().observations.copy()
    broken[40, 1] = np.nan
    with pytest.raises(ArtifactError, match=r"not finite in float32 at index \[40, 1\]"):
        ganglion.verify(files[1], recording=recorded(observations=broken))
    with pytest.raises(TypeError, match="a recording is a path or an EpisodeBatch, not dict"):
        ganglion.verify(files[1], recording={"observation": broken})
    data = files["run"].read_bytes()
    (tmp_path / "damaged.npz").write_bytes(data[: len(data) // 2])
    with pytest.raises(ArtifactError, match="not a readable"):
        ganglion.verify(files[1], recording=tmp_path / "damaged.npz")
    np.savez(tmp_path / "meta.npz", meta=np.array("{}"))
    with pytest.raises(ArtifactError, match="damaged or no recording"):
        ganglion.verify(files[1], recording=tmp_path / "meta.npz")
    np.savez(tmp_path / "plain.npz", observation=np.zeros((9, 3)))
    with pytest.raises(ArtifactError, match="no recorded 'actions' to compare with"):
        ganglion.verify(files[1], recording=tmp_path / "plain.npz", recorded_actions="actions")
    with pytest.raises(ValueError, match="go with a recording"):
        ganglion.verify(files[1], recorded_actions="actions")


def test_arrays_with_actions_are_compared_too(files, tmp_path):
    batch = recorded()
    reset = batch.step_types == StepType.FIRST
    arrays = {"observation": batch.observations, "reset": reset, "action": batch.actions}
    np.savez(tmp_path / "run.npz", **arrays)
    report = ganglion.verify(files[1], recording=tmp_path / "run.npz", recorded_actions="actions")
    assert report.ok and [row.engine for row in report.comparisons].count("recording") == 1
    arrays["action"] = batch.actions.copy()
    arrays["action"][17, 1] += 1e-3
    np.savez(tmp_path / "run.npz", **arrays)
    report = ganglion.verify(files[1], recording=tmp_path / "run.npz", recorded_actions="actions")
    assert not report.ok and report.first_divergence.step == 17
    with pytest.raises(ArtifactError, match="no recorded 'mean'"):
        ganglion.verify(files[1], recording=tmp_path / "run.npz", recorded_actions="mean")


def test_the_command_takes_recorded_episodes(files, capsys):
    run = str(files["run"])
    assert main(["verify", str(files[3]), "--recording", run, "--recorded-actions", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["comparisons"][-1]["engine"] == "recording" and document["trajectory"]["batch"] == 3
    assert main(["verify", str(files[1]), "--recording", run]) == 0
    assert "5 episodes of recording run.npz" in capsys.readouterr().out
    assert main(["verify", str(files[1]), "--recording", run, "--recorded-actions", "mean"]) == 1
    assert "no recorded 'mean'" in capsys.readouterr().err
    assert main(["verify", str(files[1]), "--recorded-actions"]) == 2


def test_smaller_weights_are_measured_along_recorded_episodes(files, tmp_path, capsys):
    target = tmp_path / "small.ganglion"
    arguments = ["compile", str(files[None]), "-o", str(target), "--weights", "float16", "--recording"]
    assert main([*arguments, str(files["run"])]) == 0
    assert "float16" in capsys.readouterr().out


# golden trajectories ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("batch", "rows"), [(1, 1), (2, 2), (3, 3), (None, 3), (7, 3)])
def test_golden_trajectories_are_pieces_of_recorded_episodes(batch, rows):
    policy, run = make_policy(), recorded()
    contract = policy.contract(batch=batch)
    with torch.no_grad():
        golden = record(policy, contract, steps=64, seed=0, tolerance=1e-5, recording=run)
    assert (golden.steps, golden.rows) == (64, rows)
    order = {row.tobytes(): index for index, row in enumerate(run.observations)}
    starts = np.cumsum(LENGTHS) - LENGTHS
    for row in range(rows):
        steps = np.array([order[observed.tobytes()] for observed in golden.observation[:, row]])
        assert np.array_equal(steps[1:], (steps[:-1] + 1) % 115)
        # A reset is where an episode begins, and nowhere else.
        assert np.array_equal(golden.reset[1:, row], np.isin(steps[1:], starts)) and not golden.reset[0, row]
        assert golden.reset[32 + row, row] and steps[32 + row] == starts[row + 1]


def test_one_recorded_episode_is_enough(tmp_path):
    run = recorded(lengths=(64,))
    golden = ganglion.export(make_policy(), tmp_path / "p.pt", batch=3, recording=run).golden
    assert [np.flatnonzero(row).tolist() for row in golden.reset.T] == [[32], [33], [34]]
    assert np.array_equal(golden.observation[32:, 0], run.observations[:32])


def test_recordings_without_a_golden_trajectory_in_them_are_refused(tmp_path):
    target = tmp_path / "p.ganglion"
    with pytest.raises(ExportError, match=r"the recording: 63 recorded steps; a golden trajectory of 64 needs as many"):
        ganglion.export(make_policy(), target, recording=recorded(lengths=(30, 33)))
    with pytest.raises(ExportError, match="115 recorded steps; a golden trajectory of 200"):
        ganglion.export(make_policy(), target, recording=recorded(), golden_steps=200)
    torch.manual_seed(0)
    other = GRUPolicy(EnvSpec(BOX(-1.0, 1.0, (4,)), SPEC.action_space), 4, 1)
    with pytest.raises(ArtifactError, match="has 3 elements a step; the policy takes 4"):
        ganglion.export(other, target, recording=recorded())
    assert not list(tmp_path.iterdir())


def test_the_command_exports_with_a_recording(files, tmp_path, capsys):
    (tmp_path / "source.py").write_text(
        "import gymnasium\nfrom ganglion.policies import EnvSpec, GRUPolicy\nbox = gymnasium.spaces.Box\n"
        "policy = GRUPolicy(EnvSpec(box(-1.0, 1.0, (3,)), box(-1.0, 1.0, (2,))), 4, 1)\n"
    )
    target = tmp_path / "p.ganglion"
    arguments = ["export", str(tmp_path / "source.py"), "-o", str(target), "--recording", str(files["run"])]
    assert main(arguments) == 0
    golden = ganglion.inspect(target).golden
    assert {row.tobytes() for row in golden.observation[:, 0]} <= {row.tobytes() for row in recorded().observations}
    assert main([*arguments, "--golden-steps", "500"]) == 1
    assert "115 recorded steps; a golden trajectory of 500" in capsys.readouterr().err
