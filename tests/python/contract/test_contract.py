"""The contract: JSON without loss, and refusals that say what is wrong."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from ganglion import ArtifactError, Contract, Golden, StateSlot, TensorSpec
from ganglion.contract import sealed


def golden(steps: int = 4, rows: int = 2) -> Golden:
    generator = np.random.default_rng(0)
    return Golden(
        observation=generator.normal(size=(steps, rows, 3)).astype(np.float32),
        reset=generator.integers(0, 2, size=(steps, rows)).astype(bool),
        outputs=generator.normal(size=(steps, rows, 3)).astype(np.float32) * np.float32(1e-20),
        tolerance=3e-6,
    )


def contract() -> Contract:
    return Contract(
        inputs=(
            TensorSpec("obs", 2, ("position", "angle"), ("m", "rad"), (-1.0, -math.inf), (0.1, math.inf)),
            TensorSpec("command", 1),
        ),
        outputs=(TensorSpec("actions", 2), TensorSpec("value", 1)),
        state=(StateSlot("h", (2, 2)), StateSlot("prev_action", (2,))),
        initial_state=(0.1, 0.2, 1 / 3, -0.0, 1e-300, 7.0),
        batch=None,
        period_s=0.002,
        provenance={"trainer": 'a "quoted" name\nand Ünïcode'},
        sha256="ab" * 32,
        golden=golden(),
    )


def test_json_round_trip_is_exact() -> None:
    written = contract()
    read = Contract.from_json(written.to_json())
    assert read == written
    assert read.to_json() == written.to_json()
    assert read.golden is not None and written.golden is not None
    for name in ("observation", "reset", "outputs"):
        before, after = getattr(written.golden, name), getattr(read.golden, name)
        assert before.dtype == after.dtype and before.tobytes() == after.tobytes()
    assert read.golden.tolerance == written.golden.tolerance
    assert math.copysign(1.0, read.initial_state[3]) == -1.0


def test_json_is_strict() -> None:
    text = contract().to_json()
    assert "Infinity" not in text and "NaN" not in text
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in the JSON"))


def test_sizes() -> None:
    made = contract()
    assert (made.observation_size, made.action_size, made.output_size, made.hidden_size) == (3, 2, 3, 6)
    assert made.golden is not None and (made.golden.steps, made.golden.rows) == (4, 2)


def test_contracts_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        contract().period_s = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"inputs": ()}, "at least one input"),
        ({"outputs": ()}, "at least one input and one output"),
        ({"initial_state": (0.0,)}, "6 elements but initial_state has 1"),
        ({"initial_state": (0.0, 0.0, math.nan, 0.0, 0.0, 0.0)}, "not finite"),
        ({"batch": 0}, "batch must be at least 1"),
        ({"period_s": 0.0}, "period_s must be positive"),
        ({"period_s": math.inf}, "period_s must be positive"),
        ({"dtype": "float64"}, "float32"),
        ({"outputs": (TensorSpec("actions", 1),)}, "golden trajectory has"),
    ],
)
def test_inconsistent_contracts_are_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(ArtifactError, match=says):
        dataclasses.replace(contract(), **changes)  # type: ignore[arg-type]


def test_inconsistent_tensors_are_refused() -> None:
    with pytest.raises(ArtifactError, match="2 elements but 1 units"):
        TensorSpec("obs", 2, units=("m",))
    with pytest.raises(ArtifactError, match="size 0"):
        TensorSpec("obs", 0)
    with pytest.raises(ArtifactError, match="without a name"):
        TensorSpec("", 1)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"observation": np.full((4, 2, 3), np.nan, np.float32)}, "not finite"),
        ({"observation": np.zeros((4, 3), np.float32)}, "must be"),
        ({"reset": np.zeros((3, 2), bool)}, "disagree"),
        ({"tolerance": 0.0}, "tolerance"),
    ],
)
def test_inconsistent_golden_trajectories_are_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(ArtifactError, match=says):
        dataclasses.replace(golden(), **changes)  # type: ignore[arg-type]


def edited(**changes: object) -> str:
    return sealed(json.dumps({**json.loads(contract().to_json()), **changes}))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not valid JSON"),
        ("[]", "not an object"),
        (edited(format=3), "install a newer ganglion"),
        (edited(format="1"), "positive integer"),
        (edited(format=True), "positive integer"),
        (edited(inputs="obs"), "field|wrong kind"),
        (edited(initial_state=["x"] * 6), "wrong kind"),
        (edited(golden={"steps": 0, "rows": 1}), "at least one"),
        (edited(provenance=[]), "wrong kind"),
        (contract().to_json().replace("0.002", "NaN"), "NaN is not allowed"),
        (sealed(contract().to_json().replace('"period_s"', '"period"')), "'period_s' is missing"),
    ],
)
def test_damaged_json_is_refused(text: str, says: str) -> None:
    with pytest.raises(ArtifactError, match=says):
        Contract.from_json(text)


def test_the_digest_covers_the_whole_text() -> None:
    text = contract().to_json()
    for place, character in enumerate(text):
        for bit in range(7):
            with pytest.raises(ArtifactError):
                Contract.from_json(f"{text[:place]}{chr(ord(character) ^ 1 << bit)}{text[place + 1 :]}")
    spaced = sealed(json.dumps({"a_new_field": [1, 2], **json.loads(text)}, indent=1))
    assert Contract.from_json(spaced).to_json() == text
    with pytest.raises(ArtifactError, match="does not match its own digest"):
        Contract.from_json(spaced.replace("0.002", "0.0020"))
    with pytest.raises(ArtifactError, match="'contract_sha256', is missing"):
        Contract.from_json(text.replace("contract_sha256", "contract_sha255"))


def test_a_key_that_appears_twice_is_refused() -> None:
    with pytest.raises(ArtifactError, match="a key appears twice: 'size'"):
        Contract.from_json(sealed(contract().to_json().replace('"size":2', '"size":2,"size":2')))
