"""Which cases `make test` leaves to `WHOLE=1 make test`, and that CI leaves none."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from sampled import left_out, spread

ROOT = Path(__file__).parents[3]


def cases(*sizes):
    return [frozenset(enumerate(places)) for places in itertools.product(*map(range, sizes))]


@pytest.mark.parametrize("sizes", [(7,), (3, 5), (12, 3, 2), (2, 2, 2)])
def test_each_value_is_in_as_many_cases_as_the_longest_parameter_has(sizes):
    several = cases(*sizes)
    chosen = spread(several, max(sizes))
    assert len(set(chosen)) == max(sizes)
    assert frozenset().union(*(several[place] for place in chosen)) == frozenset().union(*several)


def test_fewer_cases_differ_in_every_parameter_and_lie_apart():
    several = cases(40, 3)
    chosen = [dict(several[place]) for place in spread(several, 3)]
    assert {case[1] for case in chosen} == {0, 1, 2}
    names = sorted(case[0] for case in chosen)
    assert min(later - earlier for earlier, later in itertools.pairwise(names)) > 5


def test_more_cases_than_there_are_values_are_no_repetition():
    several = cases(3, 4)
    assert sorted(spread(several, 10)) == sorted(set(spread(several, 10)))
    assert sorted(spread(several, 99)) == list(range(12))


class Item:
    """What a choice reads of a test of pytest."""

    def __init__(self, name, place=None, **marks):
        self.nodeid, self.marks = f"test_a.py::{name}", marks
        if place is not None:
            self.nodeid += f"[{place}]"
            self.callspec = SimpleNamespace(indices={"size": place})

    def get_closest_marker(self, mark):
        return SimpleNamespace(args=self.marks[mark]) if mark in self.marks else None


def test_only_what_is_marked_is_left_out():
    many = [Item("test_many", place, sampled=(2,)) for place in range(5)]
    plain = [Item("test_plain", place) for place in range(5)]
    whole = Item("test_slow", whole=())
    out = left_out([*many, *plain, whole])
    assert whole in out and not out & set(plain)
    assert len(out & set(many)) == 3


def test_a_sample_of_a_test_without_cases_is_a_mistake():
    with pytest.raises(ValueError, match=r"test_many is marked sampled\(2\) and has no parameters"):
        left_out([Item("test_many", sampled=(2,))])


def test_ci_leaves_nothing_out():
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert script.index("export WHOLE=1") < script.index("make test")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.findall(r"--sample", makefile) == ["--sample"]
    assert "SAMPLE := $(if $(WHOLE),,--sample)\n" in makefile
    assert "test: test-cpp $(if $(WHOLE),test-asan cross) test-python" in makefile
