import base64
import dataclasses
import hashlib
import io
import json
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from rich.console import Console

from ganglion.contract import Contract, Golden, StateSlot, TensorSpec
from ganglion.verify.html import render_html
from ganglion.verify.parity import compare
from ganglion.verify.report import NotRun, ParityReport
from ganglion.verify.steppers.base import Run
from ganglion.verify.trajectory import draw_trajectory

STEPS, ROWS = 400, 2
CONTRACT = Contract(
    inputs=(TensorSpec("obs", 2, ("angle", "<b>rate</b>"), ("rad", "rad/s"), (-1.5, -np.inf), (1.5, np.inf)),),
    outputs=(TensorSpec("actions", 2, ("cart $force", "[red]brake"), ("N", "")), TensorSpec("value", 1)),
    state=(StateSlot("h", (1, 4)),),
    initial_state=(0.0,) * 4,
    batch=ROWS,
    period_s=0.002,
    provenance={"trainer": "a & b"},
    sha256="ab" * 32,
    golden=Golden(np.zeros((64, 2, 2), np.float32), np.zeros((64, 2), bool), np.zeros((64, 2, 3), np.float32)),
)
TRAJECTORY = draw_trajectory(CONTRACT, steps=STEPS, batch=ROWS, seed=0)


def make_run(name, noise=0.0, at=None, value=1.0):
    random = np.random.default_rng(0)
    time = np.arange(STEPS)[:, None, None] / 20.0
    outputs = {
        spec.name: (np.sin(time + np.arange(spec.size)) + np.zeros((STEPS, ROWS, spec.size))).astype(np.float32)
        for spec in CONTRACT.outputs
    }
    state = np.cos(time + np.zeros((STEPS, ROWS, 4))).astype(np.float32)
    for array in (*outputs.values(), state):
        array += (noise * random.standard_normal(array.shape)).astype(np.float32)
    if at is not None:
        outputs["actions"][at] += value
    return Run(name, outputs, state)


def make_report(*runs, not_run=(), tolerance=1e-5):
    reference = make_run("Python policy")
    comparisons = tuple(compare(reference, run, CONTRACT, tolerance=tolerance) for run in runs)
    return ParityReport("dir/<walker>.onnx", CONTRACT, tolerance, TRAJECTORY, reference, runs, comparisons, not_run)


GOOD = make_report(make_run("onnxruntime in Python", 1e-8), make_run("C++ runtime, onnxruntime", 2e-8))
BAD = make_report(
    make_run("one", at=(390, 1, 0)), make_run("two", at=(123, 1, 1)), not_run=(NotRun("libtorch", "pip install <it>"),)
)


def printed(report):
    console = Console(file=io.StringIO(), width=200)
    console.print(report)
    return console.file.getvalue()


def test_the_verdict_is_ok_only_when_something_ran_and_all_of_it_agrees():
    assert GOOD.ok and GOOD.first_divergence is None and GOOD.verdict.startswith("equal within 1e-05 to Python policy")
    assert not BAD.ok
    nothing = make_report(not_run=(NotRun("libtorch", "missing"),))
    assert not nothing.ok and nothing.verdict.startswith("no verdict: nothing ran")
    failed = Run("fake", make_run("").outputs, None, failure="step 3 was refused: engine_failure")
    assert not make_report(failed).ok and "step 3 was refused" in make_report(failed).verdict


def test_the_first_divergence_is_the_earliest_of_all_engines():
    first = BAD.first_divergence
    assert (first.engine, first.output, first.step, first.row, first.element) == ("two", "actions", 123, 1, 1)
    assert "two: actions[1] ([red]brake) differs first at step 123, row 1" in BAD.verdict


def test_the_table_names_engines_divergence_and_what_did_not_run():
    text = printed(BAD)
    assert "step 123, row 1, element 1" in text and "[red]brake" in text
    assert "libtorch" in text and "not run" in text and "pip install <it>" in text
    assert "element" not in printed(GOOD) and "none" in printed(GOOD)


def test_the_json_has_its_keys_and_is_strict():
    document = json.loads(BAD.to_json(), parse_constant=lambda name: pytest.fail(name))
    assert set(document) == {
        *(
            "schema",
            "ok",
            "verdict",
            "artifact",
            "digest",
            "tolerance",
            "demanded",
            "reference",
            "independent",
            "float64",
            "lost",
        ),
        *("trajectory", "first_divergence", "comparisons", "not_run", "findings"),
    }
    assert document["ok"] is False and document["digest"] == "ab" * 32 and document["tolerance"] == 1e-5
    assert document["trajectory"] == {
        "source": "drawn over the observation bounds, seed 0",
        "steps": STEPS,
        "batch": ROWS,
        "resets": int(TRAJECTORY.reset.sum()),
    }
    assert document["first_divergence"]["step"] == 123 and document["first_divergence"]["element_name"] == "[red]brake"
    assert document["not_run"] == [{"engine": "libtorch", "reason": "pip install <it>"}]
    one, two = document["comparisons"]
    assert set(one) == {"engine", "ok", "failure", "outputs", "state"}
    assert [tensor["name"] for tensor in two["outputs"]] == ["actions", "value"]
    assert set(two["state"]) == {
        *("name", "max_error", "max_absolute_error", "max_relative_error", "error_growth", "first_divergence"),
        *("from_float64", "reference_from_float64", "by_rounding"),
    }
    assert two["outputs"][0]["max_absolute_error"] == pytest.approx(1.0)
    assert len(two["outputs"][0]["error_growth"]) == 20 and max(two["outputs"][0]["error_growth"]) > 0.5


def test_numbers_that_are_not_finite_are_words_in_json():
    report = make_report(make_run("one", at=(5, 0, 0), value=np.nan))
    document = json.loads(report.to_json(), parse_constant=lambda name: pytest.fail(name))
    assert document["first_divergence"]["found"] == "nan"
    assert document["comparisons"][0]["outputs"][0]["max_absolute_error"] == "inf"


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("report", [GOOD, BAD, make_report(make_run("one", at=(5, 0, 0), value=np.nan))])
def test_the_page_is_self_contained(tmp_path, report):
    report.save(tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == [tmp_path / "report.html"]
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    # The only address is that of uPlot's authors, in its licence line; the page may fetch nothing.
    assert re.findall(r"(?:https?:|@import|url\()\S*", text) == ["https://github.com/leeoniya/uPlot"]
    assert "default-src 'none'; img-src data:" in text
    assert not {"link", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in page.tags}
    assert not [attributes for _, attributes in page.tags if {"src", "srcset", "href", "action"} & set(attributes)]
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]


@pytest.mark.parametrize("report", [GOOD, BAD])
def test_a_browser_runs_the_scripts_that_the_page_names_and_no_other(report):
    text = render_html(report)
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digests = {base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts}
    assert len(scripts) == 5 and digests == set(re.findall(r"'sha256-([^']+)'", text))


def test_names_of_strangers_run_nothing():
    nasty = "</script><img src=x onerror=alert(1)>{{scripts}}\u2028\u202e"
    contract = dataclasses.replace(
        CONTRACT, outputs=(TensorSpec("actions", 2, (nasty, nasty + "2"), (nasty, "")), TensorSpec("value", 1))
    )
    report = dataclasses.replace(
        BAD, artifact=nasty, contract=contract, truth=nasty, reference=dataclasses.replace(BAD.reference, name=nasty)
    )
    page = Page(render_html(report))
    assert not {"img"} & {tag for tag, _ in page.tags}
    assert [tag for tag, _ in page.tags].count("script") == 6  # five that run, and the data
    assert page.text.count("onerror=alert(1)") >= 4
    assert not set(page.text) & {"\u2028", "\u202e"}


def test_the_page_shows_text_as_text_and_says_everything():
    page = Page(render_html(BAD))
    assert not {"b", "walker"} & {tag for tag, _ in page.tags}
    for wanted in ("dir/<walker>.onnx", "<b>rate</b>", "a & b", "ab" * 32, "pip install <it>", "0.002 s (500 Hz)"):
        assert wanted in page.text
    assert "Not equal" in page.text and "step 123, row 1, element 1 ([red]brake)" in page.text


def test_a_page_without_any_comparison_says_so():
    assert "No verdict" in Page(render_html(make_report(not_run=(NotRun("libtorch", "missing"),)))).text


def test_a_page_needs_nothing_that_draws(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    GOOD.save(tmp_path / "report.html")


def test_a_report_is_saved_as_json_or_refused(tmp_path):
    GOOD.save(tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text())["ok"] is True
    with pytest.raises(ValueError, match=r"\.html or \.json"):
        GOOD.save(tmp_path / "report.pdf")
    with pytest.raises(OSError, match="missing"):
        GOOD.save(tmp_path / "missing" / "report.json")
    assert list(tmp_path.iterdir()) == [tmp_path / "report.json"]
