"""Recurrent cores, reset row by row, against those of memorax, which takes a whole run with the resets in it."""

from __future__ import annotations

import memorax_cells
import numpy as np
import pytest
import torch

from ganglion.policies import LRU, MinGRU

pytestmark = pytest.mark.deep  # JAX compiles

NAMES = ("memoroid", "lru", "min_gru")


@pytest.fixture(scope="module")
def cells():
    return dict(zip(NAMES, memorax_cells.load(*NAMES), strict=True))


def both(memoroid, cell, make, load):
    """What memorax and a core of ours with its weights give for a run of three rows with two resets."""
    import jax

    x = np.random.default_rng(0).normal(size=(3, 20, 5)).astype(np.float32)
    resets = np.zeros((3, 20), np.float32)
    resets[1, 9] = resets[2, 4] = 1.0
    theirs = memoroid.Memoroid(cell)
    parameters = theirs.init(jax.random.key(0), x, resets)
    _, expected = theirs.apply(parameters, x, resets)
    core = make()
    core.load_state_dict(load(jax.tree.map(lambda a: torch.tensor(np.asarray(a)), parameters["params"]["cell"]), core))
    first = tuple(part.repeat(3, 1) for part in core.initial_state())
    state, found = first, []
    with torch.no_grad():
        for frame, flags in zip(x.swapaxes(0, 1), resets.T, strict=True):
            is_reset = torch.from_numpy(flags)[:, None] > 0.0
            state = tuple(torch.where(is_reset, a, b) for a, b in zip(first, state, strict=True))
            feature, state = core(torch.from_numpy(frame), state)
            found.append(feature.numpy())
    return np.stack(found, 1), np.asarray(expected)


def test_lru(cells):
    found, expected = both(
        cells["memoroid"],
        cells["lru"].LRUCell(features=5, hidden_dim=7),
        lambda: LRU(5, 7),
        lambda theirs, _: {name.replace("_imag", "_imaginary"): value for name, value in theirs.items()},
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_min_gru(cells):
    found, expected = both(
        cells["memoroid"],
        cells["min_gru"].MinGRUCell(features=6),
        lambda: MinGRU(5, 6),
        lambda theirs, core: {
            "linear.weight": torch.cat((theirs["h"]["kernel"], theirs["z"]["kernel"]), 1).T,
            "linear.bias": torch.zeros_like(core.linear.bias),
        },
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
