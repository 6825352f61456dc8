"""ONNX's own node tests: right on the native engine, or refused for a reason that stands here; never wrong."""

from __future__ import annotations

import re

import numpy as np
import pytest
from onnx_node_cases import ABSOLUTE, RELATIVE, as_policy, node_cases

import ganglion
from ganglion.compiler import compile_onnx, file
from ganglion.compiler.interpreter import Interpreter
from ganglion.errors import ExportError

pytestmark = pytest.mark.deep  # every node of ONNX

# For each reason: what the refusal says, and the names of the tests, whole, as a regular expression.
REFUSED = (
    # Fixed sizes, and one step after the other.
    ("the size of its result depends on the observation", "nonmaxsuppression_.*|unique_.*"),
    ("a bidirectional layer needs the future", "(gru|lstm|simple_rnn)_bidirectional"),
    ("it runs over a sequence of length", "(gru|lstm|simple_rnn)_reverse|(gru|rnn)_seq_length"),
    # Loops and scans, also inside of the functions that the standard gives for an operator.
    ("does not know this operator", "linear_attention_.*|range_float_type_positive_delta(_expanded)?"),
    ("does not know this operator", "scan9_.*|scan_sum"),
    # Sequences and optional values are no vectors.
    ("does not know this operator", "optional_(get|has)_element_.*|split_to_sequence_.*|sequence_map_.*_expanded"),
    ("a sequence type", "sequence_map_.*_sequence(_1_tensor)?"),
    # Training.
    ("it is in training mode", "batchnorm_.*_training_mode|training_dropout_.*|training_dropout"),
    ("a policy that draws random numbers", "bernoulli_seed(_expanded)?"),
    ("No opset import for domain ''", "adagrad.*|adam.*|(nesterov_)?momentum.*"),
    # Other domains.
    ("No opset import for domain ''", "ai_onnx_ml_.*"),
    ("the domain 'ai.onnx.preview'", "flexattention(_(?!.*expanded).*)?"),
    # Nobody has asked for them in a policy.
    ("does not know this operator", "(basic_)?deform_conv_.*|det_.*|roialign_.*"),
    ("an inverse transform of one side only", "dft_irfft.*"),
)

PARTS = 6


def reasons(name):
    return [reason for reason, names in REFUSED if re.fullmatch(names, name.removeprefix("test_"))]


@pytest.mark.sampled(1)
@pytest.mark.parametrize("part", range(PARTS))
def test_every_node_test_is_right_or_refused_for_a_known_reason(part, tmp_path):
    """The first input is the observation; the C++ engine and the interpreter run the program."""
    wrong, unexpected, right = [], [], []
    path = tmp_path / "policy.ganglion"
    for case in node_cases()[part::PARTS]:
        try:
            made, contract = as_policy(case)
            program, contract = compile_onnx(made, contract=contract)
        except ExportError as error:
            if not any(reason in str(error) for reason in reasons(case.name)):
                unexpected.append((case.name, str(error)))
            continue
        golden = contract.golden
        path.write_bytes(file.to_bytes(program, contract)[0])
        policy = ganglion.load(path, warmup_steps=0)
        policy.step(golden.observation[0, 0])
        ways = {
            "interpreter": Interpreter(program).run((), golden.observation, golden.reset)[0, 0],
            "engine": np.concatenate([policy.output(spec.name).ravel() for spec in contract.outputs]),
        }
        bad = [way for way, found in ways.items() if not close(found, golden.outputs[0, 0])]
        (wrong if bad else right).append((case.name, *bad))
    assert not wrong
    assert not unexpected
    assert not [name for (name,) in right if reasons(name)], "no longer refused: take them out of the list"
    assert len(right) * PARTS >= 1100


def test_with_every_input_computed_a_node_test_is_right_or_refused():
    wrong, right = [], 0
    for case in node_cases():
        made, contract = as_policy(case, whole=True)
        if len(contract.inputs) == 1:
            continue
        try:
            program, contract = compile_onnx(made, contract=contract)
        except ExportError as error:
            if "differs from its origin" in str(error):
                wrong.append((case.name, str(error)))
            continue
        golden = contract.golden
        found = Interpreter(program).run((), golden.observation, golden.reset)
        right += close(found, golden.outputs)
        if not close(found, golden.outputs):
            wrong.append(case.name)
    assert not wrong
    assert right >= 300


def close(found, expected):
    return np.allclose(found, expected, rtol=RELATIVE, atol=ABSOLUTE)


@pytest.mark.parametrize("reason", sorted({reason for reason, _ in REFUSED}))
def test_the_list_names_tests_that_are_there(reason):
    names = [case.name for case in node_cases()]
    for text, pattern in REFUSED:
        if text == reason:
            assert any(re.fullmatch(pattern, name.removeprefix("test_")) for name in names), pattern
