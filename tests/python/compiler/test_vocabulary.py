"""Every word of `vocabulary.def` has all its parts, and every limit holds in both languages."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from one_operation import GOOD, one_op

import ganglion
from ganglion.compiler import file, interpreter, vocabulary
from ganglion.compiler.program import Op, Program, Value
from ganglion.contract import Contract, TensorSpec
from ganglion.errors import ArtifactError
from ganglion.export.header import code, kernels

ROOT = Path(__file__).parents[3]
FORMAT = (ROOT / "cpp/FORMAT.md").read_text(encoding="utf-8")
COMPILER = ROOT / "python/ganglion/compiler"


@pytest.mark.parametrize("kind", ["unary", "binary", "reduce"])
def test_every_function_has_an_interpreter(kind):
    for function in getattr(vocabulary, kind.upper()):
        known = getattr(interpreter, f"_{kind.upper()}")
        assert function in known, f"{kind} function '{function}' has no interpreter: compiler/interpreter.py"


def test_every_function_has_a_test_value_for_its_parameters():
    for function, parameters in vocabulary.UNARY.items():
        assert set(parameters) <= {"alpha", "beta", "low", "high"}, f"parameters of '{function}': call them alpha, beta"


def test_something_lowers_to_every_function():
    text = "".join(path.read_text(encoding="utf-8") for path in (*COMPILER.glob("lowering/*.py"), COMPILER / "fuse.py"))
    for function in (*vocabulary.UNARY, *vocabulary.BINARY, *vocabulary.REDUCE):
        assert f'"{function}"' in text, f"no operator becomes '{function}': compiler/lowering"


def test_every_operation_has_its_parts():
    files = [path for path in COMPILER.rglob("*.py") if path.name != "interpreter.py"]
    text = "".join(path.read_text(encoding="utf-8") for path in files)
    for kind, operation in vocabulary.OPERATIONS.items():
        assert kind in interpreter._KERNELS, f"operation '{kind}' has no interpreter: compiler/interpreter.py"
        assert f'"{kind}"' in text, f"no operator becomes '{kind}': compiler/lowering"
        written = kind in code._OPS or (operation.plain and kernels.is_defined(kind))
        assert written, f"operation '{kind}' has no header function: export/header/kernels.hpp, or code.py"
        assert kind in GOOD or kind == "gather", f"operation '{kind}' has no example: support/one_operation.py"
        assert f"`{kind}`" in FORMAT, f"operation '{kind}' is not described: cpp/FORMAT.md"


def test_every_function_of_the_engine_is_one_of_the_headers():
    for name in (
        *(function.identifier for function in vocabulary.UNARY_FUNCTIONS.values()),
        *(f"binary_{function.identifier}" for function in vocabulary.BINARY_FUNCTIONS.values()),
    ):
        assert kernels.is_defined(name), f"'{name}' is not found in cpp/src/native/kernels/math.hpp"


def test_every_reduction_has_a_header_function():
    for function in vocabulary.REDUCE:
        assert kernels.is_defined(f"row_{function}"), f"'{function}' has no header function: export/header/kernels.hpp"


def test_the_format_page_states_every_limit():
    for name, limit in vocabulary.LIMITS.items():
        row = rf"\| {name} \| {limit:,} \| "
        assert re.search(row, FORMAT), f"cpp/FORMAT.md has no row '| {name} | {limit:,} | ... |'"
    assert set(re.findall(r"^\| (\w+) \| [\d,]+ \| ", FORMAT, re.MULTILINE)) == set(vocabulary.LIMITS)


def wide(inputs, index):
    """A gather over so many values of the largest size."""
    size = vocabulary.LARGEST_SIZE
    values = [Value(size), *(Value(1) for _ in range(2))]
    op = Op("gather", (0,) * inputs, (2,), {"index": "index"})
    return Program(tuple(values), (0, 1), (), (2, 1), (op,), {"index": np.array([index], np.int32)})


def int8(weight):
    return one_op("affine", (1,), (1,), {"weight": np.array([[weight]], np.int8), "scale": np.ones(1, np.float32)})


def many(items):
    return Program((Value(1),), (0,), (), (0,) * items, (), {})


AT_THE_LIMIT = {
    "largest_size": lambda more: one_op("reduce", (2**24,), (1,), function="sum", rows=1, columns=2**24 + more),
    "most_items": lambda more: many(2**16 + more),
    "largest_gather": lambda more: wide(127 + more, 0),
    "largest_int8": lambda more: int8(-127 - more),
}


@pytest.mark.parametrize("limit", sorted(vocabulary.LIMITS.keys() - {"newest_format"}))
def test_one_more_than_a_limit_is_refused_in_both_languages(limit, tmp_path, monkeypatch):
    build = AT_THE_LIMIT[limit]
    build(0)
    with pytest.raises(ArtifactError, match="program: "):
        build(1)
    monkeypatch.setattr(Program, "__post_init__", lambda _: None)  # a writer that does not ask
    program = build(1)
    sizes = [[program.values[index].size for index in indices] for indices in (program.inputs, program.outputs)]
    inputs, outputs = (tuple(TensorSpec(f"v{i}", n) for i, n in enumerate(found)) for found in sizes)
    path = tmp_path / "policy.ganglion"
    path.write_bytes(file.to_bytes(program, Contract(inputs, outputs, (), ()))[0])
    with pytest.raises(ArtifactError, match="program: "):
        ganglion.load(path)
