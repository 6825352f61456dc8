"""What every test gets, and which tests `make check` and `make test` run.

`make test` runs all, but of tests with many cases some (support/sampled.py); `WHOLE=1 make test`, and pytest by itself,
run every case. `make check` runs of `make test` what is not deep. Deep is a test that is marked so (`pytest.mark.deep`,
on the test or, as `pytestmark`, on its file) because it takes more than a few seconds, and every file that imports a
trainer, by itself or by a helper: trainers are installed by `make test` alone.
"""

from __future__ import annotations

import functools
import gc
import os
import re
from pathlib import Path

import pytest

# Before anything imports torch, and for the programs that tests start: the workers of pytest fill the machine already,
# and threads that wait for each other took twice the processor time. Tests of threads ask torch for their number.
for _threads in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")
# Tests look for sentences in what a command prints; the name of a temporary folder, which is longer on some machines,
# must not break their lines. Tests of the width say one.
os.environ["COLUMNS"] = "200"

_LONGEST_FIRST = (
    "test_matrix.py",
    "test_actor_export.py",
    "test_wrap_files.py",
    "test_header_bits.py",
    "test_c_header.py",
    "test_guides.py",
    "test_consumers.py",
    "test_export_header.py",
    "test_gaussian_export.py",
    "test_rounding.py",
    "test_pyrado_export.py",
    "test_every_route.py",
    "test_skrl_export.py",
    "test_torchscript_functional.py",
    "test_cli.py",
    "test_export_parity.py",
    "test_sb3.py",
    "test_export_images.py",
    "test_skrl.py",
    "test_example_scripts.py",
    "test_ppo_learns.py",
)
"""Files of more than half a minute: a worker gets a whole file, and one that begins late keeps the others waiting."""

_SUPPORT = Path(__file__).parent / "support"
_TRAINERS = {
    "brax",
    "flax",
    "jax",
    "jax2onnx",
    "leapp",
    "ray",
    "rl_games",
    "rsl_rl",
    "sb3_contrib",
    "skrl",
    "stable_baselines3",
    "tensorboard",
    "tensorboardX",
    "tensordict",
    "torchrl",
}
_IMPORT = re.compile(r"^ *(?:from|import) (\w+)", re.MULTILINE)
_DEEP_FILE = re.compile(r"^pytestmark = \[?\s*pytest\.mark\.deep\b", re.MULTILINE)


@functools.cache
def _imports_a_trainer(file: Path) -> bool:
    names = set(_IMPORT.findall(file.read_text(encoding="utf-8")))
    helpers = [_SUPPORT / f"{name}.py" for name in names]
    return bool(names & _TRAINERS) or any(_imports_a_trainer(one) for one in helpers if one.exists() and one != file)


def _is_deep(file: Path) -> bool:
    return _DEEP_FILE.search(file.read_text(encoding="utf-8")) is not None or _imports_a_trainer(file)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Deep files are not even imported where no deep test is asked for: some could not be."""
    if config.option.markexpr == "not deep" and collection_path.suffix == ".py" and _is_deep(collection_path):
        return True
    return None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--sample", action="store_true", help="as make test: of tests with many cases, some")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("sample"):
        import sampled

        out = sampled.left_out(items)
        config.hook.pytest_deselected(items=list(out))
        items[:] = [item for item in items if item not in out]
    order = {name: place for place, name in enumerate(_LONGEST_FIRST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))
    for item in items:
        if _imports_a_trainer(item.path):
            item.add_marker(pytest.mark.deep)


def pytest_collection_finish() -> None:
    """What all these modules hold stays: the garbage collector need not look through it during every export.

    Nor need JAX, where it is imported, look through its own behind every collection: that took a fiftieth of all.
    """
    gc.callbacks[:] = [each for each in gc.callbacks if not getattr(each, "__module__", "").startswith("jax.")]
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _exporter_tables_are_made_once():
    import exporter_tables

    with pytest.MonkeyPatch.context() as patch:
        exporter_tables.keep(patch)
        yield
