"""The page of the demo in a real browser, with pictures and without, of flights that never took place."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import cartpole
import demo
import demo_page
import flight_pictures
import numpy as np
import pytest
from browser import Browser, browser
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.deep  # opens pages in a browser

FLIGHTS = 2


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as running:
        yield running


def trace_of(amplitude: float) -> cartpole.Trace:
    """Flights of a pole that swings; beyond `cartpole.FALLEN_ANGLE_RAD` it has fallen."""
    steps = round(cartpole.FLIGHT_S / 0.01)
    time = np.tile(np.arange(steps) * 0.01, FLIGHTS)
    angle = amplitude * np.sin(time)
    position = np.stack([0.3 * np.sin(time / 2.0), angle], axis=1).astype(np.float32)
    force = np.cos(time).astype(np.float32)
    return cartpole.Trace(np.repeat(np.arange(FLIGHTS), steps), time, position, force, angle, np.full(len(time), 900))


def page_of(path: Path) -> Path:
    upright, fallen = trace_of(0.1), trace_of(1.2)
    flights = [
        demo.Flight(engine, language, upright, np.full(len(upright.time_s), 1e-8))
        for engine, language in (("pytorch", "Python"), ("native", "Python"), ("native", "C++"))
    ]
    path.write_text(demo_page.render_page(flights, fallen, []), encoding="utf-8")
    return path


def picture(level: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (flight_pictures.WIDTH, flight_pictures.HEIGHT), (level, 40, 40)).save(buffer, "WEBP")
    return buffer.getvalue()


def pixel(chromium: Browser, view: int) -> list[int]:
    script = f"document.querySelectorAll('.moving canvas')[{view}]"
    return chromium.run(f"[...{script}.getContext('2d').getImageData(20, 20, 1, 1).data]")


def still(chromium: Browser, seconds: float) -> None:
    moving = "document.querySelector('.moving').moving"
    chromium.run(f"{moving}.stop(); {moving}.show({seconds} * 20)")
    chromium.settle()


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (400, True)])
def test_without_a_renderer_the_flight_is_drawn_from_the_trace(chromium, tmp_path, monkeypatch, width, dark) -> None:
    monkeypatch.setattr(flight_pictures, "rendered", lambda _: ([], "no OpenGL here"))
    chromium.look(width, dark=dark)
    chromium.open(page_of(tmp_path / "page.html"))
    chromium.until("document.querySelector('.moving').moving !== undefined")
    still(chromium, 4.0)
    assert chromium.said == []
    assert chromium.run("document.documentElement.scrollWidth <= innerWidth")
    data = "canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.buffer"
    colours = f"new Set(new Uint32Array({data})).size"
    drawn = chromium.run(f"[...document.querySelectorAll('.moving canvas')].map((canvas) => {colours})")
    assert min(drawn) > 50
    assert "from the trace of the PyTorch flight: no OpenGL here" in chromium.run("document.body.innerText")
    marks = chromium.run("[...document.querySelectorAll('.moving .mark')].map((mark) => mark.textContent)")
    assert marks == ["standing", "fallen"]


def test_pictures_play_and_follow_the_plots(chromium, tmp_path, monkeypatch) -> None:
    asked = []

    def rendered(positions):
        asked.append(positions)
        return [picture(index % 200) for index in range(len(positions))], "a test"

    monkeypatch.setattr(flight_pictures, "rendered", rendered)
    chromium.look(1200)
    chromium.open(page_of(tmp_path / "page.html"))
    chromium.until("document.querySelector('.moving').moving !== undefined")
    assert "Rendered by a test" in chromium.run("document.body.innerText")
    first = chromium.run("document.querySelector('.moving input').value")
    chromium.until(f"document.querySelector('.moving input').value > {first} + 5")  # it plays by itself
    still(chromium, 3.0)
    chromium.until("document.querySelector('.moving canvas').getContext('2d').getImageData(5, 5, 1, 1).data[0] > 50")
    assert abs(pixel(chromium, 0)[0] - 60) < 8  # the picture of the 60th frame
    # fewer pictures than frames: a pole that has fallen stands still
    assert 400 < len(asked[0]) < 700
    left, top, width, height = chromium.box(".u-over")
    chromium.mouse("mouseMoved", left + width / 2, top + height / 2)
    chromium.settle()
    assert chromium.run("Math.abs(Number(document.querySelector('.moving input').value) - 200) < 4")
    # another start has no pictures, and says so
    chromium.run("ganglion.viewers[0].chooseRow(1)")
    chromium.until("document.querySelector('.moving .note').textContent.includes('this one is drawn from the trace')")
    assert chromium.said == []
