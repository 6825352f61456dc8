"""The page of a recorded flight: what is in it, and how it looks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from browser import browser
from flight_files import HEAD, FlightFile, Flown, event

from ganglion import flight
from ganglion.errors import ArtifactError, ExportError

ARTIFACTS = Path(__file__).parents[2] / "golden" / "artifacts"


def eventful(path: Path) -> Path:
    file = FlightFile(chunk_size=50_000)
    file.recording(clock_offset_ns=str(1_780_000_000 * 10**9))
    first, second = Flown(file, ARTIFACTS / "lstm.ganglion"), Flown(file, ARTIFACTS / "gru_batch4.ganglion", 1)
    plain = [(*field, False) for field in HEAD]
    values, ticks = [*plain, ("values", "<f4", 2, True)], [*plain, ("off_s", "<f8", 1, False), ("tick", "u1", 1, False)]
    guard = [*plain, ("element", "<u4", 1, False), ("reason", "u1", 1, False), ("command", "<f4", 2, True)]
    random = np.random.default_rng(0)
    for step in range(400):
        file.time_ns += 40_000_000 if step == 100 else int(random.normal() * 1e5)
        observation = np.array([3.0, 0.1, 0.1]) if step == 50 else random.normal(size=3) * 0.3
        first.step(observation if step not in (60, 61) else np.full(3, np.nan))
        second.step(np.tile(observation, (4, 1)))
        file.message("/user/mode", "Values2", values, values=[step % 3, -1.0])
        file.message("/ticks", "Tick", ticks, off_s=0.04 if step == 100 else 0.0, tick=2 if step == 100 else 0)
        file.message("/guard", "Guard2", guard, element=1, reason=2 if step == 7 else 0, command=[0.0, 1.0])
        if step == 150:
            second.reset([0, 1, 0, 1])
        if step == 200:
            file.sequence += 12
            first.snapshot()
            second.snapshot()
        if step == 300:
            event(file, 2, policy=1)
    path.write_bytes(file.done())
    return path


def test_the_facts_of_a_flight(tmp_path: Path) -> None:
    facts = flight.report(eventful(tmp_path / "flight.mcap"), tmp_path / "flight.html")
    assert facts == flight.summary(flight.read(tmp_path / "flight.mcap"))
    assert facts.began == "2026-05-28T20:26:40+00:00" and not facts.closed and facts.cut is None
    assert (facts.missing_events, facts.gaps) == (12, 1)
    assert facts.policies[0].refused == {"non_finite_observation": 2} and facts.policies[1].resets == 1
    assert facts.ticks == {"on_time": 399, "late": 1} and facts.guard == {"none": 399, "clamped": 1}
    assert facts.exchanges == {"took_over": 1}
    (outside,) = (each for each in facts.outside if each.policy == 0)
    assert (outside.tensor, outside.element, outside.steps, outside.first_step) == ("obs", 0, 1, 50)
    assert (outside.high, outside.highest) == (2.0, 3.0)
    page = (tmp_path / "flight.html").read_text(encoding="utf-8")
    for said in (
        *("12 events are missing", "steps 60 to 61: non_finite_observation", "took over", "rows 1, 3", "Channel mode"),
        *("Out of bounds", "What the guard did", "clamped", "Ticks of the loop", "Time from step to step, policy 1"),
    ):
        assert said in page, said


def test_a_flight_as_it_should_be(tmp_path: Path) -> None:
    file = FlightFile()
    file.recording()
    flown = Flown(file, ARTIFACTS / "lstm.ganglion")
    for _ in range(50):
        flown.step(np.zeros(3))
    file.writer.add_metadata("ganglion.statistics", {"events": "51", "dropped": "0", "error": ""})
    (tmp_path / "flight.mcap").write_bytes(file.done())
    facts = flight.report(tmp_path / "flight.mcap", tmp_path / "flight.html")
    assert facts.notes() == [] and facts.began is None and facts.closed
    assert facts.policies[0].period_s == pytest.approx(1e-3)
    assert "As it should be" in (tmp_path / "flight.html").read_text(encoding="utf-8")


def test_flights_with_little_in_them(tmp_path: Path) -> None:
    for steps in (0, 1, 2):
        file = FlightFile()
        file.recording()
        flown = Flown(file, ARTIFACTS / "lstm.ganglion")
        for _ in range(steps):
            file.time_ns = 5  # a clock that stands still
            flown.step(np.zeros(3))
        (tmp_path / "flight.mcap").write_bytes(file.done())
        assert flight.report(tmp_path / "flight.mcap", tmp_path / "flight.html").policies[0].steps == steps
    file = FlightFile()
    file.recording(clock_offset_ns=str(10**30))
    (tmp_path / "flight.mcap").write_bytes(file.done())
    assert flight.report(tmp_path / "flight.mcap", tmp_path / "flight.html").began is None


def test_what_cannot_be_written(tmp_path: Path) -> None:
    path = eventful(tmp_path / "flight.mcap")
    with pytest.raises(ValueError, match=r"\.html"):
        flight.report(path, tmp_path / "flight.json")
    with pytest.raises(ExportError, match="does not exist"):
        flight.report(path, tmp_path / "nowhere" / "flight.html")
    with pytest.raises(ArtifactError, match="no MCAP"):
        flight.report(ARTIFACTS / "lstm.ganglion", tmp_path / "flight.html")


@pytest.mark.deep
@pytest.mark.parametrize("width", [1200, 400])
@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_the_screen(width: int, dark: bool, tmp_path: Path) -> None:
    flight.report(eventful(tmp_path / "flight.mcap"), tmp_path / "flight.html")
    with browser() as one:
        one.look(width, dark=dark)
        one.open(tmp_path / "flight.html")
        one.settle()
        assert one.run("document.documentElement.scrollWidth") <= width
        assert one.run("document.querySelectorAll('canvas').length") >= 3
        assert one.run("ganglion.viewers[0].data.runs.length") == 1
        assert one.said == []
