"""A recorded flight is had again from its file alone: bit for bit, or with the first step and element that differ."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from flight_files import FlightFile, Flown, event
from gymnasium.spaces import Box

import ganglion
from ganglion import flight
from ganglion.cli import main
from ganglion.data import EnvSpec, EpisodeBatch
from ganglion.errors import ArtifactError, ExportError
from ganglion.export.golden import recorded_observations
from ganglion.policies import ActionMap, DeployablePolicy, GaussianLSTMPolicy
from ganglion.verify import verify

if TYPE_CHECKING:
    from collections.abc import Callable

ARTIFACTS = Path(__file__).parents[2] / "golden" / "artifacts"
LSTM = ARTIFACTS / "lstm.ganglion"


def recorded(
    path: Path, fly: Callable[[Flown, np.random.Generator], None], artifact: str = "lstm.ganglion", **options: Any
) -> Path:
    file = FlightFile()
    file.recording()
    flown = Flown(file, ARTIFACTS / artifact, **options)
    event(file, 0)
    fly(flown, np.random.default_rng(2))
    path.write_bytes(file.done())
    return path


def draw(flown: Flown, random: np.random.Generator, steps: int, **changes: Any) -> None:
    for _ in range(steps):
        flown.step(random.normal(size=(flown.pilot.batch, flown.pilot.contract.observation_size)), replaced=changes)


def eventful(flown: Flown, random: np.random.Generator) -> None:
    rows = flown.pilot.batch
    draw(flown, random, 20)
    flown.step(np.full((rows, flown.pilot.contract.observation_size), np.nan))
    draw(flown, random, 5)
    flown.reset(np.arange(rows) % 2)
    draw(flown, random, 5)
    flown.reset()
    flown.reset()
    draw(flown, random, 5)
    flown.set_state(random.normal(size=rows * flown.pilot.contract.hidden_size))
    flown.set_state(np.full(rows * flown.pilot.contract.hidden_size, np.inf))
    draw(flown, random, 5)
    if flown.pilot.contract.previous_action is not None:
        flown.applied(random.normal(size=rows * flown.pilot.contract.action_size))
        draw(flown, random, 5)
    flown.snapshot()
    draw(flown, random, 30)


@pytest.mark.parametrize(
    ("artifact", "options"),
    [
        ("lstm.ganglion", {}),
        ("gru_batch4.ganglion", {}),
        ("rnn_any.ganglion", {"batch": 3}),
        ("gaussian.ganglion", {}),
        ("gaussian.ganglion", {"seed": 2**64 - 1}),
        ("gaussian.ganglion", {"seed": 5, "batch": 3}),
        ("categorical.ganglion", {"seed": 7}),
        ("lstm.onnx", {"engine": "native"}),
    ],
)
def test_everything_that_can_happen_is_had_again(artifact: str, options: dict[str, Any], tmp_path: Path) -> None:
    report = ganglion.replay(recorded(tmp_path / "flight.mcap", eventful, artifact, **options))
    (policy,) = report.policies
    assert report.ok and policy.exact and policy.first is None and policy.largest_difference == 0.0, report.verdict
    assert (policy.refused, policy.snapshots, policy.skipped) == (1, 1, 0)
    assert policy.resets == 3 and policy.states_set == 2 and policy.steps > 70
    assert policy.actions_applied == ("gaussian" in artifact)
    assert report.verdict.startswith("the same flight bit for bit")


def test_what_was_executed_instead_is_had_again_from_any_state(tmp_path: Path) -> None:
    policy = GaussianLSTMPolicy(EnvSpec(Box(-1.0, 1.0, (3,)), Box(-1.0, 1.0, (2,))), hidden_dim=4, init_std=0.5)
    action_map = ActionMap([2.0, 0.5], [0.0, 1.0], low=[-0.1, 0.6], high=[0.1, 1.4], squash=True)
    ganglion.export(DeployablePolicy(policy, action_map=action_map), tmp_path / "policy.ganglion")
    pilot, random = ganglion.load(tmp_path / "policy.ganglion"), np.random.default_rng(2)
    with ganglion.FlightRecorder.open(tmp_path / "flight.mcap", snapshot_s=1e-9) as recorder:
        pilot.attach(recorder)
        for step in range(24):
            action = np.array(pilot.step(random.normal(size=3).astype(np.float32)))
            # As it was given, cut off, changed by less than its rounding, and not told.
            told = (action, np.clip(action, -0.05, 0.9), action + np.float32(1e-7), None)[step % 4]
            if told is not None:
                pilot.set_applied_action(told)
    for step in range(23):
        (flown,) = ganglion.replay(tmp_path / "flight.mcap", from_step=step).policies
        assert flown.exact and flown.first is None and flown.first_step == step and flown.actions_applied > 0


def nudged(field: str, at: int, element: int) -> Callable[[Flown, np.random.Generator], None]:
    """A flight of which one number is not what it was."""

    def fly(flown: Flown, random: np.random.Generator) -> None:
        draw(flown, random, at)
        observation = random.normal(size=3).astype(np.float32)
        twin = flown.pilot.clone()
        values = {"action": np.array(twin.step(observation)), "observation": observation.copy()}
        values[field][element] = np.nextafter(values[field][element], np.float32(np.inf))
        flown.step(observation, replaced={field: values[field]})
        draw(flown, random, 10)

    return fly


def test_one_bit_of_one_action_is_found(tmp_path: Path) -> None:
    report = ganglion.replay(recorded(tmp_path / "flight.mcap", nudged("action", 33, 1)))
    first = report.first
    assert first is not None and not report.ok
    assert (first.policy, first.what, first.step, first.row, first.element) == (0, "actions", 33, 0, 1)
    assert first.size is not None and 0.0 < first.size < 1e-7 and report.policies[0].different_steps == 1
    assert report.policies[0].largest_step == 33 and "step 33 of policy 0" in report.verdict
    assert f"{first.size:.3g} apart" in report.verdict


def test_one_bit_of_one_observation_is_found(tmp_path: Path) -> None:
    report = ganglion.replay(recorded(tmp_path / "flight.mcap", nudged("observation", 20, 0)))
    assert report.first is not None and report.first.step == 20 and not report.ok
    assert report.policies[0].different_steps >= 1


def test_a_state_that_differs_and_no_action_yet_is_found(tmp_path: Path) -> None:
    path = recorded(tmp_path / "flight.mcap", lambda flown, random: draw(flown, random, 3, state_digest=1))
    first = ganglion.replay(path).first
    assert first is not None and (first.what, first.step, first.element) == ("state", 0, None)
    assert first.recorded == f"{1:016x}"


def test_another_status_is_found(tmp_path: Path) -> None:
    def fly(flown: Flown, random: np.random.Generator) -> None:
        draw(flown, random, 4)
        draw(flown, random, 1, status=2, action=np.full(2, np.nan))

    first = ganglion.replay(recorded(tmp_path / "flight.mcap", fly)).first
    assert first is not None and (first.what, first.step) == ("status", 4)
    assert (first.recorded, first.replayed) == ("non_finite_observation", "ok")


def test_a_state_in_a_snapshot_is_named_by_element(tmp_path: Path) -> None:
    def fly(flown: Flown, random: np.random.Generator) -> None:
        draw(flown, random, 4)
        state = flown.pilot.state()
        state[11] += 1.0
        flown.snapshot(state=state)

    first = ganglion.replay(recorded(tmp_path / "flight.mcap", fly)).first
    assert first is not None
    assert (first.what, first.step, first.element, first.element_name) == ("state", 4, 11, "h[11]")


def test_what_cannot_be_had_again_is_left_out(tmp_path: Path) -> None:
    """An observation of the wrong size is not in the recording."""

    def fly(flown: Flown, random: np.random.Generator) -> None:
        draw(flown, random, 4)
        flown._message(
            "step", **{**flown.state, "status": 1, "observation": np.full(3, np.nan), "action": [np.nan] * 2}
        )
        draw(flown, random, 4)

    report = ganglion.replay(recorded(tmp_path / "flight.mcap", fly))
    assert report.ok and report.policies[0].not_run == 1 and report.policies[0].refused == 1


def gapped(flown: Flown, random: np.random.Generator) -> None:
    draw(flown, random, 10)
    flown.pilot.step(np.ones(3, np.float32))  # never recorded
    flown.file.sequence += 1
    draw(flown, random, 5)
    flown.snapshot()
    draw(flown, random, 10)


def test_behind_a_gap_it_goes_on_with_the_next_state(tmp_path: Path) -> None:
    report = ganglion.replay(recorded(tmp_path / "flight.mcap", gapped))
    (policy,) = report.policies
    assert report.ok and (policy.steps, policy.skipped, policy.restarts) == (20, 5, 1)
    assert (report.gaps, report.missing_events) == (1, 1) and "1 events are missing" in report.verdict


def test_it_begins_at_the_state_before_a_step(tmp_path: Path) -> None:
    def fly(flown: Flown, random: np.random.Generator) -> None:
        for _ in range(4):
            draw(flown, random, 25)
            flown.snapshot()

    path = recorded(tmp_path / "flight.mcap", fly)
    for step, first in ((0, 0), (24, 0), (25, 25), (60, 50), (99, 75)):
        report = ganglion.replay(path, from_step=step)
        assert report.ok and report.policies[0].first_step == first, step
        assert report.policies[0].steps == 100 - first and report.policies[0].skipped == first
    for step in (-1, 100):
        with pytest.raises(ValueError, match="from_step"):
            ganglion.replay(path, from_step=step)


@pytest.mark.parametrize("batch", [1, 3])
def test_drawn_actions_from_the_middle(batch: int, tmp_path: Path) -> None:
    """The noise depends on how far every row has come."""
    file = FlightFile()
    file.recording()
    flown = Flown(file, ARTIFACTS / "gaussian.ganglion", seed=3, batch=batch)
    random, steps, episodes = np.random.default_rng(0), np.zeros(batch, int), np.zeros(batch, int)
    for step in range(60):
        if step in (20, 35, 50):
            flown.snapshot(sample_step=steps, sample_episode=episodes)
        draw(flown, random, 1)
        steps += 1
        rows = random.random(batch) < 0.1 if step < 30 else np.arange(batch) == step % 9
        if rows.any():
            flown.reset(rows)
            episodes[rows & (steps > 0)] += 1
            steps[rows] = 0
    path = tmp_path / "flight.mcap"
    path.write_bytes(file.done())
    for begin in (0, 20, 35, 50):
        report = ganglion.replay(path, from_step=begin)
        assert report.ok and report.policies[0].steps == 60 - begin, report.verdict


def test_a_place_in_the_noise_that_nobody_comes_to(tmp_path: Path) -> None:
    for place in ({"sample_step": 2**63}, {"sample_step": 2**40}, {"sample_step": 0, "sample_episode": 2**32 - 1}):
        file = FlightFile()
        file.recording()
        flown = Flown(file, ARTIFACTS / "gaussian.ganglion", seed=3)
        file.sequence += 1
        flown.snapshot(**place)
        draw(flown, np.random.default_rng(0), 3)
        (tmp_path / "flight.mcap").write_bytes(file.done())
        with pytest.raises(ArtifactError, match="noise"):
            ganglion.replay(tmp_path / "flight.mcap")


def test_several_policies(tmp_path: Path) -> None:
    file = FlightFile(chunk_size=500)
    file.recording()
    flown = [Flown(file, LSTM), Flown(file, ARTIFACTS / "gru_batch4.ganglion", 1)]
    random = np.random.default_rng(0)
    for step in range(30):
        draw(flown[0], random, 1)
        draw(flown[1], random, 2)
        if step == 10:
            event(file, 2, policy=1)
        if step == 20:
            flown[1].reset([1, 0, 0, 0])
    path = tmp_path / "flight.mcap"
    path.write_bytes(file.done())
    report = ganglion.replay(path)
    assert report.ok and [policy.steps for policy in report.policies] == [30, 60]
    with pytest.raises(ArtifactError, match="one for each"):
        ganglion.replay(path, ARTIFACTS / "rnn_any.ganglion")
    assert ganglion.replay(path, ARTIFACTS / "lstm.ganglion").ok  # its digest says which one it is
    assert ganglion.replay(path, [LSTM, ARTIFACTS / "gru_batch4.ganglion"]).ok


def test_another_policy_only_where_it_is_said(tmp_path: Path) -> None:
    path = recorded(tmp_path / "flight.mcap", eventful)
    same = ganglion.replay(path, LSTM)
    assert same.ok and same.policies[0].exact and not same.policies[0].another
    with pytest.raises(ArtifactError, match="observations of 5 elements"):
        ganglion.replay(path, ARTIFACTS / "rsl_rl_gru.ganglion")
    report = ganglion.replay(
        recorded(tmp_path / "other.mcap", lambda f, r: draw(f, r, 9)), ARTIFACTS / "rnn_any.ganglion"
    )
    assert report.policies[0].another and not report.policies[0].exact and not report.ok
    with pytest.raises(ArtifactError, match="another layout"):
        ganglion.replay(path, ARTIFACTS / "rnn_any.ganglion")


@pytest.mark.parametrize("engine", ["onnxruntime"])
def test_another_engine_within_the_tolerance(engine: Any, tmp_path: Path) -> None:
    path = recorded(tmp_path / "flight.mcap", eventful, "lstm.onnx", engine="native")
    report = ganglion.replay(path, engine=engine)
    assert report.ok and not report.policies[0].exact and "within 1e-05" in report.verdict
    assert not ganglion.replay(path, engine=engine, tolerance=1e-12).ok


def test_an_empty_recording(tmp_path: Path) -> None:
    report = ganglion.replay(recorded(tmp_path / "flight.mcap", lambda *_: None))
    assert not report.ok and report.verdict.startswith("nothing was compared: there is no step")
    file = FlightFile()
    file.recording()
    (tmp_path / "nobody.mcap").write_bytes(file.done())
    with pytest.raises(ArtifactError, match="no policy was attached"):
        ganglion.replay(tmp_path / "nobody.mcap")


def test_a_clock_that_was_set_back_is_said(tmp_path: Path) -> None:
    def fly(flown: Flown, random: np.random.Generator) -> None:
        draw(flown, random, 5)
        flown.file.time_ns = 0
        draw(flown, random, 5)

    report = ganglion.replay(recorded(tmp_path / "flight.mcap", fly))
    assert report.ok and report.clock_set_back == 1 and "set back" in report.verdict


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = recorded(tmp_path / "good.mcap", eventful)
    bad = recorded(tmp_path / "bad.mcap", nudged("action", 7, 0))
    assert main(["replay", str(good)]) == 0
    assert "the same flight bit for bit" in " ".join(capsys.readouterr().out.split())
    assert main(["replay", str(bad), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["first_difference"]["step"] == 7 and document["next"].startswith("ganglion report")
    assert main(["replay", str(good), "--from", "30", "--engine", "native", "--policy", str(LSTM)]) == 0


def test_verify_along_a_flight(tmp_path: Path) -> None:
    path = recorded(tmp_path / "flight.mcap", eventful)
    found = verify(LSTM, recording=path)
    assert found.ok and found.trajectory.steps == 70 and found.trajectory.reset.sum() == 1
    with pytest.raises(ArtifactError, match="ganglion replay"):
        verify(LSTM, recording=path, recorded_actions="actions")

    def plain(flown: Flown, random: np.random.Generator) -> None:
        draw(flown, random, 60)
        flown.reset()
        draw(flown, random, 60)

    path = recorded(tmp_path / "plain.mcap", plain)
    assert verify(LSTM, recording=path, recorded_actions="actions").ok
    assert main(["verify", str(LSTM), "--recording", str(path), "--recorded-actions"]) == 0
    with pytest.raises(ArtifactError, match="takes 5 elements"):
        verify(ARTIFACTS / "rsl_rl_gru.ganglion", recording=path)


def test_a_golden_trajectory_along_a_flight(tmp_path: Path) -> None:
    path = recorded(tmp_path / "flight.mcap", eventful, "gru_batch4.ganglion")
    policy = flight.read(path).policy()
    observation, begins = recorded_observations(policy.contract, path, 64, 4)
    assert observation.shape == (64, 4, 3) and begins[32, 0] and begins.any(axis=0).all()
    assert np.isin(observation.reshape(-1, 3), policy.observation[policy.is_ok].reshape(-1, 3)).all()
    with pytest.raises(ExportError, match="recorded steps"):
        recorded_observations(policy.contract, path, 1000, 4)


def test_episodes_of_a_flight(tmp_path: Path) -> None:
    path = recorded(tmp_path / "flight.mcap", eventful, "gru_batch4.ganglion")
    found = flight.read(path)
    batch = flight.episodes(found)
    assert batch.lengths.tolist() == [30, 40, 25, 5, 40, 30, 40, 25, 5, 40]
    policy = found.policy()
    assert np.array_equal(batch.observations[:20], policy.observation[:20, 0])
    assert np.array_equal(
        batch[2].observations, np.concatenate([policy.observation[:20, 1], policy.observation[21:26, 1]])
    )
    assert np.isfinite(batch.actions).all() and batch.env_infos["time_ns"].shape == (280,)
    batch.save(tmp_path / "run.npz")
    assert verify(ARTIFACTS / "gru_batch4.ganglion", recording=tmp_path / "run.npz").ok
    with pytest.raises(ArtifactError, match="no channel 'reward'"):
        flight.episodes(found, rewards="reward")


def test_episodes_become_a_flight_and_come_back(tmp_path: Path) -> None:
    found = flight.read(recorded(tmp_path / "flight.mcap", eventful))
    batch = flight.episodes(found)
    rewards = np.arange(len(batch.rewards), dtype=np.float32)
    fields = ("observations", "last_observations", "env_infos", "agent_infos", "step_types", "lengths")
    kept = {name: getattr(batch, name) for name in fields}
    batch = EpisodeBatch(None, {}, rewards=rewards, actions=batch.actions + 1.0, **kept)
    flight.record_episodes(tmp_path / "again.mcap", batch, LSTM, period_s=0.02)
    again = flight.read(tmp_path / "again.mcap")
    back = flight.episodes(again, rewards="rewards")
    assert ganglion.replay(tmp_path / "again.mcap").ok
    assert np.array_equal(back.observations, batch.observations) and np.array_equal(back.rewards, rewards)
    assert np.array_equal(back.lengths, batch.lengths) and np.array_equal(back.step_types, batch.step_types)
    assert np.array_equal(again.channels["recorded_actions"]["values"], batch.actions)
    assert np.diff(back.env_infos["time_ns"]).tolist() == [20_000_000] * (len(rewards) - 1)
    back.save(tmp_path / "run.npz")
    flight.record_episodes(tmp_path / "third.mcap", tmp_path / "run.npz", LSTM)
    with pytest.raises(ganglion.GanglionError):
        flight.record_episodes(tmp_path / "third.mcap", batch, LSTM)  # it is there already
    with pytest.raises(ValueError, match="period_s"):
        flight.record_episodes(tmp_path / "fourth.mcap", batch, LSTM, period_s=0.0)


@pytest.mark.deep
def test_a_long_flight(tmp_path: Path) -> None:
    """Five minutes at 1 kHz, through the recorder, packed; an hour is the same twelve times."""
    path, random = tmp_path / "flight.mcap", np.random.default_rng(0)
    observations = random.normal(size=(300_000, 3)).astype(np.float32)
    action = np.zeros(2, np.float32)
    pilot = ganglion.load(LSTM)
    recorder = ganglion.FlightRecorder.open(path)
    pilot.attach(recorder)
    for step, observation in enumerate(observations):
        recorder.set_time(step * 1_000_000)
        pilot.step(observation, action)
        if step % 500 == 499:
            recorder.flush()
    recorder.close()
    assert recorder.statistics().dropped == 0
    report = ganglion.replay(path)
    assert report.ok and report.steps == 300_000 and report.policies[0].snapshots > 20
    report = ganglion.replay(path, from_step=250_000)
    assert report.ok and 50_000 <= report.steps <= 60_001
    assert np.array_equal(flight.read(path).policy().observation[:, 0], observations)


@pytest.mark.parametrize("beside", ["", "state:\n  h_in: h_out\n", "constants:\n  left: 0.25\nstate:\n  h_in: h_out\n"])
def test_a_file_without_a_contract_that_was_told_how_to_be_read(beside: str, tmp_path: Path) -> None:
    model = onnx.load(ARTIFACTS / "rsl_rl_gru.onnx")
    del model.metadata_props[:]
    if "left" in beside:
        model.graph.input.append(onnx.helper.make_tensor_value_info("left", onnx.TensorProto.FLOAT, [1, 1]))
        model.graph.node.append(onnx.helper.make_node("Identity", ["left"], ["left_out"]))
        model.graph.output.append(onnx.helper.make_tensor_value_info("left_out", onnx.TensorProto.FLOAT, [1, 1]))
    onnx.save(model, tmp_path / "foreign.onnx")
    if beside:
        (tmp_path / "foreign.onnx.yaml").write_text(beside)
    told: dict[str, Any] = {} if beside else {"state": {"h_in": "h_out"}, "action": "actions"}
    pilot = ganglion.load(tmp_path / "foreign.onnx", engine="onnxruntime", **told)
    with ganglion.FlightRecorder.open(tmp_path / "flight.mcap") as recorder:
        pilot.attach(recorder)
        for _ in range(20):
            pilot.step(np.ones(pilot.contract.observation_size))
    for file in ("foreign.onnx", "foreign.onnx.yaml"):
        (tmp_path / file).unlink(missing_ok=True)
    assert flight.read(tmp_path / "flight.mcap").policy().hints
    assert ganglion.replay(tmp_path / "flight.mcap").ok
    assert ganglion.replay(tmp_path / "flight.mcap", engine="onnxruntime").ok


def test_how_it_was_read_that_makes_no_sense(tmp_path: Path) -> None:
    for hints in ('{"state": 3}', '{"constants": {"a: b": 1}}', '{"constants": {"a": []}}', '{"observation": [1]}'):
        file = FlightFile()
        file.recording()
        file.policy(0, LSTM, ganglion.load(LSTM), hints=hints)
        (tmp_path / "flight.mcap").write_bytes(file.done())
        with pytest.raises(ArtifactError, match="cannot be understood"):
            ganglion.replay(tmp_path / "flight.mcap")
