"""Random graphs of everything that fits together, beside onnxruntime: rewriting must never change a result."""

from __future__ import annotations

import pytest
from compiler_graphs import compare
from random_graphs import Grower

pytestmark = pytest.mark.deep  # many graphs


@pytest.mark.sampled(50)
@pytest.mark.parametrize("seed", range(150))
def test_random_graph(seed):
    grower = Grower(seed)
    for _ in range(int(grower.random.integers(5, 60))):
        grower.step()
    compare(grower.model(), steps=5, tolerance=2e-5, seed=seed)
