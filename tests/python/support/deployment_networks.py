"""Small networks as trainers export them, and one long run of a changed model beside the original deployment loop."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from ganglion.compiler import compile_onnx
from ganglion.compiler.interpreter import Interpreter
from ganglion.contract import Contract, StateSlot, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Callable

GOLDEN = Path(__file__).parents[2] / "golden" / "deployment"
STEPS = 1000
HIDDEN = 6

Array = NDArray[np.float32]


def network(kind: str, sizes: dict[str, int], actions: int, *, rows: int | str = 1) -> tuple[Any, Contract]:
    """An MLP (`"mlp"`) or a one-layer LSTM as rsl_rl exports it (`"lstm"`), with the contract that is recognised."""
    generator = np.random.default_rng(7)
    weights: list[Any] = []

    def weight(name: str, *shape: int, scale: float = 0.4) -> str:
        values = generator.normal(0.0, scale, shape).astype(np.float32)
        weights.append(numpy_helper.from_array(values, name))
        return name

    # Weights are small, because the last action is fed back and a wild loop blows up differences in the last digit.
    width = sum(sizes.values())
    nodes = [helper.make_node("Concat", list(sizes), ["x"], axis=1)]
    inputs = [(name, [rows, size]) for name, size in sizes.items()]
    outputs = [("actions", [rows, actions])]
    if kind == "mlp":
        (
            weight("w0", 8, width, scale=0.5 * width**-0.5),
            weight("b0", 8),
            weight("w1", actions, 8),
            weight("b1", actions),
        )
        nodes += [
            helper.make_node("Gemm", ["x", "w0", "b0"], ["y"], transB=1),
            helper.make_node("Elu", ["y"], ["z"]),
            helper.make_node("Gemm", ["z", "w1", "b1"], ["actions"], transB=1),
        ]
        state: tuple[StateSlot, ...] = ()
    else:
        (
            weight("w", 1, 4 * HIDDEN, width, scale=width**-0.5),
            weight("r", 1, 4 * HIDDEN, HIDDEN),
            weight("b", 1, 8 * HIDDEN),
        )
        weight("w1", actions, HIDDEN), weight("b1", actions)
        weights.append(numpy_helper.from_array(np.array([0], np.int64), "axis"))
        nodes += [
            helper.make_node("Unsqueeze", ["x", "axis"], ["sequence"]),
            helper.make_node(
                "LSTM", ["sequence", "w", "r", "b", "", "h_in", "c_in"], ["", "h_out", "c_out"], hidden_size=HIDDEN
            ),
            helper.make_node("Squeeze", ["h_out", "axis"], ["z"]),
            helper.make_node("Gemm", ["z", "w1", "b1"], ["actions"], transB=1),
        ]
        inputs += [(f"{name}_in", [1, rows, HIDDEN]) for name in "hc"]
        outputs += [(f"{name}_out", [1, rows, HIDDEN]) for name in "hc"]
        state = tuple(StateSlot(name, (1, HIDDEN)) for name in "hc")
    graph = helper.make_graph(
        nodes, "network", *([_value(*v) for v in values] for values in (inputs, outputs)), weights
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    contract = Contract(
        inputs=tuple(TensorSpec(name, size) for name, size in sizes.items()),
        outputs=(TensorSpec("actions", actions),),
        state=state,
        initial_state=(0.0,) * sum(slot.size for slot in state),
        batch=rows if isinstance(rows, int) else None,
    )
    return model, contract


def _value(name: str, shape: list[Any]) -> Any:
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)


class Runner:
    """The original network in onnxruntime, with its state: what the trainers' own deployment loops call."""

    def __init__(self, model: Any) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self._names = [value.name for value in self._session.get_outputs()]
        self.reset()

    def reset(self) -> None:
        self._state = {
            value.name: np.zeros([size if isinstance(size, int) else 1 for size in value.shape], np.float32)
            for value in self._session.get_inputs()
            if value.name.endswith("_in")
        }

    def act(self, **inputs: Array) -> dict[str, Array]:
        feeds = {name: np.asarray(vector, np.float32)[None] for name, vector in inputs.items()}
        results = dict(zip(self._names, self._session.run(self._names, feeds | self._state), strict=True))
        self._state = {name: results[name.removesuffix("_in") + "_out"] for name in self._state}
        return {name: result[0] for name, result in results.items()}


def contract_of(model: Any) -> Contract:
    return Contract.from_json(next(entry.value for entry in model.metadata_props if entry.key == "ganglion"))


def resets(steps: int = STEPS) -> NDArray[np.bool_]:
    """The first step, then now and then, once twice in a row."""
    flags = np.random.default_rng(3).random(steps) < 0.02
    flags[[0, 10, 11]] = True
    return flags


def compare(
    model: Any,
    sense: Callable[[np.random.Generator], dict[str, float]],
    reset: Callable[[dict[str, float]], None],
    step: Callable[[dict[str, float]], dict[str, float]],
    *,
    steps: int = STEPS,
    tolerance: float = 1e-5,
) -> None:
    """Runs a model with everything inside, in onnxruntime and compiled, beside the original loop.

    Sensor values and targets go by name, so that a wrong order in the contract shows as well.
    """
    contract = contract_of(model)
    generator, flags = np.random.default_rng(11), resets(steps)
    runner = Runner(model)
    program, compiled = compile_onnx(model)
    assert compiled.state == contract.state
    interpreter = Interpreter(program)
    initial = np.asarray(contract.initial_state, np.float32)[None]
    state = initial
    extra = [tensor.name for tensor in contract.inputs[1:]]
    assert not extra
    worst, moved = 0.0, []
    for flag in flags:
        values = sense(generator)
        if flag:
            runner.reset()
            state = initial
            reset(values)
        expected = step(values)
        assert set(expected) == set(contract.outputs[0].element_names)
        wanted = np.array([expected[name] for name in contract.outputs[0].element_names])
        raw = np.array([values[name] for name in contract.inputs[0].element_names], np.float32)
        in_onnxruntime = runner.act(obs=raw)["actions"]
        in_program, state = interpreter.step(raw[None], state)
        for found in (in_onnxruntime, in_program[0, : len(wanted)]):
            difference = np.max(np.abs(found - wanted))
            assert difference <= tolerance, f"step {len(moved)}: {found} instead of {wanted}"
            worst = max(worst, float(difference))
        moved.append(wanted)
    assert np.std(moved, axis=0).max() > 0.01, "the targets hardly move, so the comparison says nothing"
