"""Policies are exchanged in flight from Python. What a switch does is tested in C++ (switch_test.cpp)."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

import ganglion
from ganglion.data import EnvSpec
from ganglion.flight import read
from ganglion.policies import GRUPolicy, LSTMPolicy

ARTIFACTS = Path(__file__).parents[2] / "golden" / "artifacts"
OBSERVATIONS = np.random.default_rng(0).normal(size=(600, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Policies that a robot could exchange: two kinds, and several weights."""
    folder = tmp_path_factory.mktemp("policies")
    box = Box(-1.0, 1.0, (3,))
    paths = []
    for seed in range(6):
        torch.manual_seed(seed)
        kind = LSTMPolicy if seed % 2 else GRUPolicy
        policy = kind(EnvSpec(box, box), hidden_size=4 + seed, num_recurrent_layers=1)
        paths.append(folder / f"{seed}.ganglion")
        ganglion.export(policy, paths[-1], contract=policy.contract(batch=1, period_s=0.01))
    return paths


@pytest.mark.parametrize("suffix", [".ganglion", ".onnx", ".pt"])
def test_an_exchange_for_the_same_policy_is_not_seen(suffix: str) -> None:
    bare = ganglion.load(ARTIFACTS / f"lstm{suffix}")
    flight = ganglion.PolicySwitch(bare)
    candidate = bare.clone()
    for i, observation in enumerate(OBSERVATIONS[:150]):
        if i == 20:
            flight.stage(
                candidate, gate=0.0, agreeing_steps=10, patience=10, blend_steps=5, keep_steps=50, state="copied"
            )
        if i == 60:
            assert flight.report().phase == "keeping"
            flight.roll_back()
        if i == 100:
            bare.reset()
            flight.reset()
        np.testing.assert_array_equal(flight.step(observation), bare.step(observation))
        np.testing.assert_array_equal(flight.state(), bare.state())
    report = flight.report()
    assert (report.steps, report.exchanges, report.roll_backs, report.rejections) == (150, 1, 1, 0)
    assert report.outcome == "rolled_back" and flight.collect() == 1
    assert flight.contract.sha256 == bare.contract.sha256 and flight.batch == 1


def test_random_policies_are_exchanged_without_a_jump(files: list[Path]) -> None:
    pilots = [ganglion.load(path) for path in files]
    alone = [pilot.clone() for pilot in pilots]
    flight = ganglion.PolicySwitch(pilots[0])
    blend_steps = 20
    last = None
    apart = moved = 0.0
    before: list[np.ndarray] = []
    for i, observation in enumerate(OBSERVATIONS):
        if i % 100 == 0:
            flight.stage(pilots[i // 100], blend_steps=blend_steps, keep_steps=10)
            # It begins to remember now, in the state that it was staged with: so does the one that flies alone.
            alone[i // 100] = pilots[i // 100].clone()
        if i % 100 == 50:
            flight.take_over()
        running = [alone[max(i // 100 - 1, 0)], alone[i // 100]]
        said = (
            [running[0].step(observation)] if running[0] is running[1] else [one.step(observation) for one in running]
        )
        action = flight.step(observation)
        if last is not None and i % 100 != 0:
            moved = max(float(np.abs(now - then).max()) for now, then in zip(said, before, strict=True))
            apart = max(float(np.abs(said[0] - said[-1]).max()), apart if i % 100 > 1 else 0.0)
            assert np.abs(action - last).max() <= moved + apart / (blend_steps + 1) + 1e-6
        if i % 100 in (49, 99):
            np.testing.assert_array_equal(action, said[0 if i % 100 == 49 else -1])
        last, before = action, said
    assert flight.report().exchanges == 6 and flight.contract.sha256 == pilots[5].contract.sha256


def test_a_candidate_that_differs_is_rejected_with_step_and_element(files: list[Path]) -> None:
    flight = ganglion.PolicySwitch(ganglion.load(files[0]))
    flight.stage(ganglion.load(files[1]), gate=[1e-9, 10.0, 10.0], agreeing_steps=5, patience=30)
    for observation in OBSERVATIONS[:40]:
        flight.step(observation)
    report = flight.report()
    assert (report.phase, report.outcome, report.rejections, report.element) == ("flying", "diverged", 1, 0)
    assert 1 <= report.step <= 30 and report.difference > 1e-9
    assert "was rejected: it was off by" in report.sentence
    assert flight.contract.sha256 == ganglion.inspect(files[0]).sha256


def test_what_does_not_fit_is_refused(files: list[Path]) -> None:
    flight = ganglion.PolicySwitch(ganglion.load(files[0]))
    with pytest.raises(ganglion.GanglionError, match="input 0 has 2 elements"):
        flight.stage(ganglion.load(ARTIFACTS / "faulty.ganglion"))
    with pytest.raises(ganglion.GanglionError, match="cannot be copied"):
        flight.stage(ganglion.load(files[1]), state="copied")
    with pytest.raises(ganglion.GanglionError, match="SwitchOptions::gate"):
        flight.stage(ganglion.load(files[1]), gate=[0.1, 0.1])
    with pytest.raises(ganglion.GanglionError, match="always be rejected"):
        flight.stage(ganglion.load(files[1]), gate=0.1, patience=5)
    with pytest.raises(ValueError, match="'fresh', 'burned_in' or 'copied'"):
        flight.stage(ganglion.load(files[1]), state="stale")  # type: ignore[arg-type]
    for observation, status in (([0.0, 1.0], "bad_size"), ([0.0, 1.0, np.nan], "non_finite_observation")):
        with pytest.raises(ganglion.StepError) as caught:
            flight.step(observation)
        assert caught.value.status == status
    assert flight.report().phase == "flying"


def test_a_thread_stages_while_the_loop_flies(files: list[Path]) -> None:
    flight = ganglion.PolicySwitch(ganglion.load(files[0]))
    pilots = [ganglion.load(path) for path in files]
    done = threading.Event()

    def stage() -> None:
        for i in range(200):
            seen = flight.report().exchanges
            flight.stage(pilots[i % 6], gate=100.0, agreeing_steps=1, blend_steps=2, keep_steps=1)
            while flight.report().exchanges == seen and not done.wait(0.0005):
                pass
        done.set()

    thread = threading.Thread(target=stage)
    thread.start()
    out = np.empty(3, np.float32)
    steps = 0
    while not done.is_set():
        assert np.isfinite(flight.step(OBSERVATIONS[steps % 600], out)).all()
        steps += 1
    thread.join()
    assert flight.report().exchanges == 200 and flight.report().steps == steps


def test_all_policies_of_a_switch_are_recorded(files: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "flight.mcap"
    with ganglion.FlightRecorder.open(path) as recorder:
        flight = ganglion.PolicySwitch(ganglion.load(files[0]))
        flight.attach(recorder)
        for i, observation in enumerate(OBSERVATIONS[:90]):
            recorder.set_time(i * 10_000_000)
            if i in (10, 50):
                flight.stage(ganglion.load(files[1 if i == 10 else 2]), blend_steps=5, gate=100.0 if i == 10 else 1e-9,
                             agreeing_steps=5, patience=20, keep_steps=10)  # fmt: skip
            flight.step(observation)
        flight.detach()
    report = ganglion.replay(path)
    assert report.ok, report
    events = [(int(event["policy"]), int(event["kind"])) for event in read(path).events if event["kind"] > 1]
    assert events == [(1, 2), (2, 3)]
