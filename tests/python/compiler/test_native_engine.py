"""The shipped C++ engine beside the interpreter: every operator, and random graphs, with every way to store weights."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from compiler_graphs import node, shaped
from random_graphs import grown
from test_operators import CASES

import ganglion
from ganglion.compiler import compile_onnx, file
from ganglion.compiler.interpreter import Interpreter
from ganglion.compiler.quantise import quantised

pytestmark = pytest.mark.deep  # exports many policies

STEPS = 12


def check(program, contract, path, observations=None, rows=1, tolerance=1e-5):
    """Runs a program in the engine and in the interpreter, the engine with its own state."""
    contract = dataclasses.replace(contract, batch=rows, golden=None)
    path.write_bytes(file.to_bytes(program, contract)[0])
    policy = ganglion.load(path, engine="native")
    interpreter = Interpreter(program)
    state = np.tile(np.float32(contract.initial_state), (rows, 1))
    if observations is None:
        observations = np.random.default_rng(1).uniform(-2, 2, (STEPS, rows, contract.observation_size))
    for observation in np.asarray(observations, np.float32).reshape(-1, rows, contract.observation_size):
        action = policy.step(observation)
        expected, state = interpreter.step(observation, state)
        np.testing.assert_allclose(action, expected[:, : contract.action_size], rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(policy.state().reshape(state.shape), state, rtol=tolerance, atol=tolerance)


@pytest.mark.sampled(150)
@pytest.mark.parametrize(("build", "shape", "result", "opset", "observations"), CASES)
def test_operator(build, shape, result, opset, observations, tmp_path):
    nodes, initializers = build(opset)
    program, contract = compile_onnx(shaped(nodes, shape, result, initializers, opset))
    check(program, contract, tmp_path / "policy.ganglion", observations)


@pytest.mark.sampled(20)
@pytest.mark.parametrize("seed", range(60))
def test_random_graph(seed, tmp_path):
    program, contract = compile_onnx(grown(seed))
    path = tmp_path / "policy.ganglion"
    for scheme in ("float32", "float16", "int8"):
        check(quantised(program, scheme), contract, path, rows=1 + seed % 4, tolerance=5e-5)
    # Processors without integer products take the inputs as they are.
    check(quantised(program, "int8x16"), contract, path, rows=1 + seed % 4, tolerance=5e-3)


def test_the_logarithm_of_a_softmax_keeps_its_digits_beside_large_numbers(tmp_path):
    program, contract = compile_onnx(shaped([node("LogSoftmax", ["x"], ["y"], axis=1)], (1, 6)))
    x = np.float32([500.0, 499.0, 498.5, 0.0, -500.0, 499.9])
    path = tmp_path / "policy.ganglion"
    path.write_bytes(file.to_bytes(program, contract)[0])
    exact = x.astype(np.float64) - 500.0
    exact -= np.log(np.exp(exact).sum())
    np.testing.assert_allclose(ganglion.load(path).step(x), exact, rtol=3e-7)
