"""The pages in a real browser: no complaint of it, curves that are there, and everything that can be pressed works."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest
from browser import Browser, browser

from ganglion.contract import Contract, StateSlot, TensorSpec
from ganglion.verify.html import render_html
from ganglion.verify.parity import compare
from ganglion.verify.report import NotRun, ParityReport
from ganglion.verify.steppers.base import Run
from ganglion.verify.trajectory import draw_trajectory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.deep  # opens pages in a browser

NASTY = "</script><img src=x onerror=window.fallen=1>"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as running:
        yield running


def report_of(*, actions=2, hidden=3, rows=2, steps=300, runs=2, at=None, value=1.0, name="joint", period_s=0.02):
    """Runs that are nearly the same; `at` of the last one is off by `value`."""
    names = tuple(f"{name} {index}" for index in range(actions))
    contract = Contract(
        inputs=(TensorSpec("obs", 3),),
        outputs=(TensorSpec("actions", actions, names, ("N m",) * actions),),
        state=(StateSlot("h", (1, hidden)),) if hidden else (),
        initial_state=(0.0,) * hidden,
        period_s=period_s,
    )
    random = np.random.default_rng(0)
    time = np.arange(steps)[:, None, None] / 15.0

    def run(name: str, noise: float) -> Run:
        made = [
            (np.sin(time + np.arange(size)) + noise * random.standard_normal((steps, rows, size))).astype(np.float32)
            for size in (actions, hidden)
        ]
        return Run(name, {"actions": made[0]}, made[1] if hidden else None)

    reference, *others = (run(f"implementation {index}", 1e-7 * index) for index in range(runs + 1))
    if at is not None:
        others[-1].outputs["actions"][at] += value
    return ParityReport(
        artifact=f"somewhere/{name}.onnx",
        contract=contract,
        tolerance=1e-5,
        trajectory=draw_trajectory(contract, steps=steps, batch=rows, seed=0),
        reference=reference,
        runs=tuple(others),
        comparisons=tuple(compare(reference, other, contract) for other in others),
        not_run=(NotRun("libtorch", "pip install it"),),
    )


REPORTS = {
    "good": report_of(),
    "bad": report_of(at=(200, 1, 1)),
    "nan": report_of(at=(200, 1, 1), value=np.nan),
    "one-implementation": report_of(runs=1),
    "none": report_of(runs=0),
    "many": report_of(runs=9),
    "no-state": report_of(hidden=0),
    "one-action": report_of(actions=1, rows=1),
    "sixty-actions": report_of(actions=60, rows=5),
    "one-step": report_of(steps=1),
    "long": report_of(actions=1, hidden=0, rows=1, steps=300_000, runs=9, at=(200_000, 0, 0)),
    "no-period": report_of(period_s=None),
}


def opened(chromium: Browser, page: Path, report: ParityReport, width: int = 1200, *, dark: bool = False) -> None:
    page.write_text(render_html(report), encoding="utf-8")
    chromium.said.clear()
    chromium.look(width, dark=dark)
    chromium.open(page)
    assert chromium.said == []


def inked(chromium: Browser) -> list[int]:
    """Of every plot, how many pixels are coloured: curves are, axes and lattices are grey."""
    count = """[...document.querySelectorAll('canvas')].map((canvas) => {
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        let found = 0;
        for (let at = 0; at < data.length; at += 4) {
            const colours = data.slice(at, at + 3);
            if (data[at + 3] > 40 && Math.max(...colours) - Math.min(...colours) > 40) found++;
        }
        return found;
    })"""
    return chromium.run(count)


def ranges(chromium: Browser) -> list[list[float]]:
    return chromium.run("ganglion.viewers[0].plots.map((plot) => [plot.scales.x.min, plot.scales.x.max])")


def press(chromium: Browser, label: str) -> None:
    chromium.run(f"document.querySelector('button[aria-label=\"{label}\"]').click()")
    chromium.settle()


@pytest.mark.sampled(12)
@pytest.mark.parametrize(("width", "dark"), [(1200, False), (1200, True), (400, False), (400, True)])
@pytest.mark.parametrize("kind", REPORTS)
def test_every_report_is_drawn_and_fits(chromium, tmp_path, kind, width, dark) -> None:
    report = REPORTS[kind]
    opened(chromium, tmp_path / "page.html", report, width, dark=dark)
    found = inked(chromium)
    assert len(found) == (1 if kind == "none" else 3), found
    assert min(found) > {"none": -1, "one-step": 10}.get(kind, 300), found
    assert chromium.run("document.documentElement.scrollWidth <= innerWidth")
    shown = chromium.run("getComputedStyle(document.body).backgroundColor")
    assert (shown == "rgb(18, 21, 26)") == dark
    assert report.verdict in chromium.run("document.querySelector('.verdict').textContent")


def test_the_numbers_in_the_page_are_those_of_the_run(chromium, tmp_path) -> None:
    report = REPORTS["nan"]
    opened(chromium, tmp_path / "page.html", report)
    bits = chromium.run(
        "(async () => { const { channels } = ganglion.viewers[0].data;"
        "const curves = await ganglion.unpack(channels.find((c) => c.row === 1 && c.name === 'joint 1').values, 3);"
        "return curves.map((curve) => [...new Uint32Array(curve.buffer, curve.byteOffset, curve.length)]) })()"
    )
    expected = [run.outputs["actions"][:, 1, 1] for run in (report.reference, *report.runs)]
    np.testing.assert_array_equal(np.array(bits, np.uint32), np.stack(expected).view(np.uint32))


def test_a_drag_zooms_all_plots_and_a_double_click_shows_the_whole_run(chromium, tmp_path) -> None:
    opened(chromium, tmp_path / "page.html", REPORTS["good"])
    whole = ranges(chromium)
    assert whole == [[0, pytest.approx(299 * 0.02)]] * 3
    left, top, width, height = chromium.box(".u-over")
    y = top + height / 2
    chromium.drag((left + 0.25 * width, y), (left + 0.5 * width, y))
    zoomed = ranges(chromium)
    assert zoomed[0] == pytest.approx([0.25 * 299 * 0.02, 0.5 * 299 * 0.02], abs=0.05)
    assert zoomed[1] == pytest.approx(zoomed[0]) and zoomed[2] == pytest.approx(zoomed[0])
    assert min(inked(chromium)) > 300
    press(chromium, "The next element")
    assert ranges(chromium)[0] == pytest.approx(zoomed[0])  # another element, the same moment
    left, top, width, height = chromium.box(".u-over")
    chromium.double_click(left + 0.4 * width, top + height / 2)
    assert ranges(chromium) == whole
    assert chromium.said == []


def test_buttons_and_keys_zoom_and_move(chromium, tmp_path) -> None:
    opened(chromium, tmp_path / "page.html", REPORTS["good"])
    end = 299 * 0.02
    press(chromium, "Zoom in")
    assert ranges(chromium) == [pytest.approx([0.25 * end, 0.75 * end])] * 3
    press(chromium, "Move right")
    assert ranges(chromium)[2] == pytest.approx([0.375 * end, 0.875 * end])
    chromium.run("document.querySelector('.plots').focus()")
    chromium.key("ArrowLeft", "ArrowLeft", 37)
    assert ranges(chromium)[1] == pytest.approx([0.25 * end, 0.75 * end])
    chromium.key("Home", "Home", 36)
    assert ranges(chromium) == [pytest.approx([0, end])] * 3


def test_an_element_is_chosen_with_the_keyboard(chromium, tmp_path) -> None:
    opened(chromium, tmp_path / "page.html", REPORTS["good"])
    options = chromium.run("[...document.querySelector('select[name=element]').options].map((o) => o.textContent)")
    assert options == ["joint 0 (N m)", "joint 1 (N m)", "h[0]", "h[1]", "h[2]"]
    chromium.run("document.querySelector('select[name=element]').focus()")
    chromium.key("ArrowDown", "ArrowDown", 40)
    assert chromium.run("document.querySelector('.plots h3').textContent") == "actions: joint 1 (N m)"
    chromium.key("End", "End", 35)
    assert chromium.run("document.querySelector('.plots h3').textContent") == "state: h[2]"
    titles = chromium.run("[...document.querySelectorAll('.plots h3')].map((title) => title.textContent)")
    assert titles[2] == "Error growth of state" and min(inked(chromium)) > 300
    chromium.run("document.querySelector('select[name=row]').focus()")
    chromium.key("ArrowDown", "ArrowDown", 40)
    assert chromium.run("document.querySelector('.plots .note').textContent").startswith("row 1; ")


def test_the_legend_follows_the_cursor_in_every_plot(chromium, tmp_path) -> None:
    report = REPORTS["good"]
    opened(chromium, tmp_path / "page.html", report)
    left, top, width, height = chromium.box(".u-over")
    chromium.mouse("mouseMoved", left + 0.5 * width, top + height / 2)
    chromium.settle()
    legends = "[...document.querySelectorAll('.u-legend')]"
    cells = "[...legend.querySelectorAll('.u-value')].map((cell) => cell.textContent)"
    told = chromium.run(f"{legends}.map((legend) => {cells})")
    step = int(chromium.run("ganglion.viewers[0].plots[0].cursor.idx"))
    assert 140 < step < 160
    assert [texts[0].split(" · ")[0] for texts in told] == [str(step)] * 3
    runs = (report.reference, *report.runs)
    expected = [run.outputs["actions"][step, 0, 0] for run in runs]
    assert [np.float32(text.removesuffix(" N m")) for text in told[0][1:]] == expected
    apart = [abs(float(value) - float(expected[0])) for value in expected[1:]]
    assert [float(text.removesuffix(" N m")) for text in told[1][1:3]] == apart


def test_the_first_divergence_is_shown_first(chromium, tmp_path) -> None:
    opened(chromium, tmp_path / "page.html", REPORTS["bad"])
    assert chromium.run("document.querySelector('.plots h3').textContent") == "actions: joint 1 (N m)"
    assert ranges(chromium)[0] == pytest.approx([140 * 0.02, 260 * 0.02])
    press(chromium, "Show the whole run")
    press(chromium, "The next element")
    press(chromium, "Show the first divergence")
    assert ranges(chromium)[2] == pytest.approx([140 * 0.02, 260 * 0.02])
    assert "implementation 2, step 200, row 1, element 1 (joint 1): expected" in chromium.run(
        "document.querySelector('.plots .note').textContent"
    )


def test_the_button_turns_the_page_dark_and_the_curves_with_it(chromium, tmp_path) -> None:
    opened(chromium, tmp_path / "page.html", REPORTS["good"])
    before = chromium.run("[getComputedStyle(document.body).backgroundColor, ganglion.colour('curve-1')]")
    chromium.run("document.getElementById('theme').click()")
    chromium.settle()
    after = chromium.run("[getComputedStyle(document.body).backgroundColor, ganglion.colour('curve-1')]")
    assert after == ["rgb(18, 21, 26)", "rgb(86, 180, 233)"] and before[0] != after[0] and before[1] != after[1]
    assert min(inked(chromium)) > 300


def test_names_of_strangers_run_nothing(chromium, tmp_path) -> None:
    report = report_of(name=NASTY, at=(5, 0, 0))
    left_out = (NotRun(NASTY, NASTY),)
    report = dataclasses.replace(report, truth=NASTY, artifact=NASTY, not_run=left_out)
    opened(chromium, tmp_path / "page.html", report)
    assert chromium.run("window.fallen === undefined && document.querySelector('img') === null")
    assert NASTY in chromium.run("document.querySelector('select[name=element]').options[0].textContent")


def test_a_script_that_got_into_a_page_is_refused(chromium, tmp_path) -> None:
    page = tmp_path / "page.html"
    strange = "<main><script>window.fallen = 1</script><img src=x onerror='window.fallen = 1'>"
    page.write_text(render_html(REPORTS["good"]).replace("<main>", strange), encoding="utf-8")
    chromium.said.clear()
    chromium.look(1200)
    chromium.open(page)
    assert chromium.run("window.fallen === undefined")
    assert "Content Security Policy" in "".join(chromium.said)
