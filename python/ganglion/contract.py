"""The contract of an artifact: what goes in, what comes out, which state, at what period.

A contract is plain data. It is written into every artifact as JSON with full-precision numbers;
`Contract.to_json` and `Contract.from_json` are exact inverses of each other.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ganglion._foundation.documents import unique_keys
from ganglion.errors import ArtifactError
from ganglion.observation_profile import ObservationProfile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

Distribution = Literal["gaussian", "categorical", "mixed"]

MOST_STAGES = 16
"""The longest `Contract.action_map`."""

FORMAT = 2
"""The newest contract format that this version reads and the one that it writes."""

GOLDEN_STEPS = 64
"""Fewest steps of a golden trajectory that is recorded: long enough for an error in the recurrence to grow."""


_SEAL_KEY = "contract_sha256"
_SEAL = re.compile(rf'(?<="{_SEAL_KEY}")\s*:\s*"([0-9a-f]{{64}})"')


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a policy, without its batch axis.

    Attributes:
        name: name of the tensor in the artifact, for example `"obs"` or `"actions"`.
        size: number of elements; what the runtime takes and gives are vectors `[batch, size]`.
        element_names: one name per element, or empty where unknown.
        units: one SI unit per element (`"rad"`, `"m/s"`, ...), or empty where unknown.
        low: lower bounds, one per element (`-inf` where unbounded), or empty where unknown.
        high: upper bounds, one per element (`inf` where unbounded), or empty where unknown.
        shape: shape of one row in the file, for example `(3, 64, 64)` of an image; empty where it is the vector itself.
    """

    name: str
    size: int
    element_names: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.name:
            raise ArtifactError("contract: a tensor without a name")
        if self.size < 1:
            raise ArtifactError(f"contract: tensor '{self.name}' has size {self.size}; at least 1 is needed")
        if self.shape and (min(self.shape) < 1 or math.prod(self.shape) != self.size):
            raise ArtifactError(
                f"contract: the shape {list(self.shape)} of tensor '{self.name}' does not hold {self.size} elements"
            )
        for label in ("element_names", "units", "low", "high"):
            values = getattr(self, label)
            if values and len(values) != self.size:
                raise ArtifactError(
                    f"contract: tensor '{self.name}' has {self.size} elements but {len(values)} {label}"
                )


@dataclass(frozen=True)
class StateSlot:
    """A named slice of the flat hidden vector.

    Attributes:
        name: `"h"`, `"c"`, `"prev_action"`, `"potentials"`, ...
        shape: shape of the slice without the batch axis, for example `(layers, hidden)`.
    """

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of elements of the slice."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class ActionStage:
    """One step on the way from an action that a policy itself gives or draws to a command.

    It computes `clip(scale * x + offset, low, high)`, with `tanh(x)` in place of `x` if `squash` is set. Every list has
    one number per element of the action, or none.

    Attributes:
        squash: apply tanh first.
        scale: finite factors; empty for 1.
        offset: finite offsets; empty for 0.
        low: lower bounds, `-inf` where there is none; empty for no bound at all.
        high: upper bounds, `inf` where there is none; empty for no bound at all.
    """

    squash: bool = False
    scale: tuple[float, ...] = ()
    offset: tuple[float, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) for value in (*self.scale, *self.offset)):
            raise ArtifactError("contract: action_map has a scale or offset that is not finite")
        if any(math.isnan(value) for value in (*self.low, *self.high)):
            raise ArtifactError("contract: action_map has a bound that is no number")
        # The lists may be of different length here, which the contract refuses.
        if any(low > high for low, high in zip(self.low, self.high, strict=False)):
            raise ArtifactError("contract: action_map has a lower bound above the upper bound")


@dataclass(frozen=True, eq=False)
class Golden:
    """A short recorded run with a reset in the middle, replayed at every load.

    Row `r` of a batch artifact replays the recorded row `r % rows`.

    Attributes:
        observation: `[steps, rows, observation_size]`, float32.
        reset: `[steps, rows]`, bool; true where the row is reset before that step. Step 0 always starts reset.
        outputs: `[steps, rows, total output size]`, float32; all outputs side by side in contract order.
        tolerance: largest accepted `|difference| / max(1, |recorded|)`.
        rounding: `[steps, rows, total output size]`, float32: |difference| that is accepted of an element beside that,
            for float32 itself holds no less of it; None where the tolerance is enough, or nobody measured. Without any
            element: the tolerance is a demand, and nothing is accepted beside it.
        bits: for each row, the SHA-256 (lower-case hex) over its outputs and states on the native engine, step by step:
            they are the same on every machine (cpp/NUMERICS.md). Filled in where a `.ganglion` file is written; empty
            in other files.
    """

    observation: NDArray[np.float32]
    reset: NDArray[np.bool_]
    outputs: NDArray[np.float32]
    tolerance: float = 1e-5
    rounding: NDArray[np.float32] | None = None
    bits: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.observation.ndim != 3 or self.outputs.ndim != 3 or self.reset.ndim != 2:
            raise ArtifactError(
                "golden: observation and outputs must be [steps, rows, size] and reset [steps, rows]; got "
                f"{self.observation.shape}, {self.outputs.shape} and {self.reset.shape}"
            )
        if not self.observation.shape[:2] == self.outputs.shape[:2] == self.reset.shape:
            raise ArtifactError(
                "golden: observation, outputs and reset disagree on [steps, rows]: "
                f"{self.observation.shape[:2]}, {self.outputs.shape[:2]}, {self.reset.shape}"
            )
        if not (np.isfinite(self.observation).all() and np.isfinite(self.outputs).all()):
            raise ArtifactError("golden: a recorded observation or output is not finite")
        if not (math.isfinite(self.tolerance) and self.tolerance > 0.0):
            raise ArtifactError(f"golden: tolerance must be positive and finite, not {self.tolerance}")
        if self.bits and len(self.bits) != self.rows:
            raise ArtifactError(f"golden: bits are {len(self.bits)} digests for {self.rows} rows")
        if self.rounding is not None and self.rounding.size:
            if self.rounding.shape != self.outputs.shape:
                raise ArtifactError(f"golden: rounding is {self.rounding.shape}, outputs are {self.outputs.shape}")
            if not (np.isfinite(self.rounding).all() and (self.rounding >= 0.0).all()):
                raise ArtifactError("golden: what rounding may do to an output must be finite and not negative")

    @property
    def demanded(self) -> bool:
        """Whether the tolerance is a demand."""
        return self.rounding is not None and self.rounding.size == 0

    @property
    def allowed(self) -> NDArray[np.float32] | None:
        """`rounding`, or None where nothing is accepted beside the tolerance."""
        return None if self.demanded else self.rounding

    @property
    def steps(self) -> int:
        """Number of recorded steps."""
        return int(self.reset.shape[0])

    @property
    def rows(self) -> int:
        """Number of recorded batch rows."""
        return int(self.reset.shape[1])


@dataclass(frozen=True)
class Contract:
    """Everything a controller must know about a policy.

    Attributes:
        inputs: observation tensors; the observation vector is their concatenation in this order.
        outputs: output tensors; the first is the action.
        state: slices of the flat hidden vector, in order; empty for a policy without memory.
        initial_state: `[hidden_size]` values that `reset()` restores.
        batch: number of rows of one step, or None where the file takes any number.
        period_s: control period that the policy was trained at, in seconds, or None where unknown.
        dtype: element type of inputs, outputs and state.
        provenance: free text by key: trainer, versions, date.
        sha256: digest over program and weights, filled in by the exporter.
        golden: recorded run that every load replays, filled in by the exporter.
        action_map: the way from an action that is drawn, or that the state slot `prev_action` holds, to a command;
            empty where it is one. What is drawn is drawn around the output `unmapped_mean` where there is one, else
            around the first. None where that way is not known, as in a file of another exporter: nothing can be drawn
            then, and nobody can tell the policy what was executed.
        observation_profile: what observations looked like in training; None where no recording told. A C++ header
            leaves it out.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    state: tuple[StateSlot, ...] = ()
    initial_state: tuple[float, ...] = ()
    batch: int | None = 1
    period_s: float | None = None
    dtype: str = "float32"
    provenance: Mapping[str, str] = field(default_factory=dict)
    sha256: str | None = None
    golden: Golden | None = field(default=None, compare=False)
    action_map: tuple[ActionStage, ...] | None = ()
    observation_profile: ObservationProfile | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not self.inputs or not self.outputs:
            raise ArtifactError("contract: at least one input and one output are needed")
        if len(self.initial_state) != self.hidden_size:
            raise ArtifactError(
                f"contract: the state slots hold {self.hidden_size} elements but initial_state has "
                f"{len(self.initial_state)}"
            )
        if not all(math.isfinite(value) for value in self.initial_state):
            raise ArtifactError("contract: initial_state has an element that is not finite")
        if self.batch is not None and self.batch < 1:
            raise ArtifactError(f"contract: batch must be at least 1 (or None for any), not {self.batch}")
        if self.period_s is not None and not (math.isfinite(self.period_s) and self.period_s > 0.0):
            raise ArtifactError(f"contract: period_s must be positive and finite, not {self.period_s}")
        if self.dtype != "float32":
            raise ArtifactError(f"contract: dtype '{self.dtype}' is not supported; export float32")
        self._check_action_map()
        self._check_profile()
        if self.golden is not None and (
            self.golden.observation.shape[2] != self.observation_size
            or self.golden.outputs.shape[2] != self.output_size
        ):
            raise ArtifactError(
                f"contract: the golden trajectory has {self.golden.observation.shape[2]} observation and "
                f"{self.golden.outputs.shape[2]} output elements; the contract says {self.observation_size} "
                f"and {self.output_size}"
            )

    @property
    def observation_size(self) -> int:
        """Number of elements of one observation vector."""
        return sum(spec.size for spec in self.inputs)

    @property
    def observation_bounds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lowest and highest value of each observation element; infinite where there is none."""
        return bounds_of(self.inputs)

    @property
    def action_size(self) -> int:
        """Number of elements of one action vector."""
        return self.outputs[0].size

    @property
    def output_size(self) -> int:
        """Number of elements of all outputs together, action included."""
        return sum(spec.size for spec in self.outputs)

    @property
    def hidden_size(self) -> int:
        """Number of elements of the flat hidden vector."""
        return sum(slot.size for slot in self.state)

    def output_place(self, element: int) -> str:
        """An element of all outputs side by side, in words: `output 'mean' element 3`."""
        for spec in self.outputs:
            if element < spec.size:
                return f"output '{spec.name}' element {element}"
            element -= spec.size
        raise IndexError(element)

    @property
    def distribution(self) -> Distribution | None:
        """What can be drawn from, see `distribution_of`; None where `action_map` is None."""
        return None if self.action_map is None else distribution_of(self.outputs)

    @property
    def previous_action(self) -> slice | None:
        """Where in the flat hidden vector the last action stands, see `previous_action_of`."""
        return previous_action_of(self.outputs, self.state)

    def to_json(self) -> str:
        """Writes the contract as strict JSON that `from_json` reads back without loss."""
        document: dict[str, Any] = {
            "format": FORMAT,
            _SEAL_KEY: "0" * 64,
            "inputs": [_tensor_to_json(spec) for spec in self.inputs],
            "outputs": [_tensor_to_json(spec) for spec in self.outputs],
            "state": [{"name": slot.name, "shape": list(slot.shape)} for slot in self.state],
            "initial_state": list(self.initial_state),
            "batch": self.batch,
            "period_s": self.period_s,
            "dtype": self.dtype,
            "provenance": dict(self.provenance),
            "sha256": self.sha256,
            "golden": None if self.golden is None else _golden_to_json(self.golden),
        }
        if self.action_map != ():
            document["action_map"] = None if self.action_map is None else [_stage_to_json(s) for s in self.action_map]
        if self.observation_profile is not None:
            document["observation_profile"] = self.observation_profile.to_document()
        return sealed(json.dumps(document, allow_nan=False, separators=(",", ":")))

    @classmethod
    def from_json(cls, text: str) -> Contract:
        """Reads what `to_json` wrote.

        Raises:
            ArtifactError: the text is no JSON, a field is missing or of the wrong kind, the text was changed after it
                was written, or the format is newer than this version of ganglion.
        """
        try:
            document = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=unique_keys)
        except (ValueError, RecursionError) as error:
            raise ArtifactError(f"contract: not valid JSON: {error}") from error
        if not isinstance(document, dict):
            raise ArtifactError("contract: the JSON document is not an object")
        found = document.get("format")
        if not isinstance(found, int) or isinstance(found, bool) or found < 1:
            raise ArtifactError(f"contract: format number is {found!r}; a positive integer is needed")
        if found > FORMAT:
            raise ArtifactError(
                f"contract: format {found} is newer than format {FORMAT}, the newest this version of ganglion "
                "reads; install a newer ganglion, or export the policy again with this one"
            )
        _check_seal(text, document)
        try:
            golden = document["golden"]
            return cls(
                inputs=tuple(_tensor_from_json(spec) for spec in document["inputs"]),
                outputs=tuple(_tensor_from_json(spec) for spec in document["outputs"]),
                state=tuple(StateSlot(str(s["name"]), tuple(int(n) for n in s["shape"])) for s in document["state"]),
                initial_state=tuple(float(value) for value in document["initial_state"]),
                batch=None if document["batch"] is None else int(document["batch"]),
                period_s=None if document["period_s"] is None else float(document["period_s"]),
                dtype=str(document["dtype"]),
                provenance={str(key): str(value) for key, value in document["provenance"].items()},
                sha256=None if document["sha256"] is None else str(document["sha256"]),
                golden=None if golden is None else _golden_from_json(golden),
                action_map=_action_map_from_json(document.get("action_map", [])),
                observation_profile=_profile_from_json(document.get("observation_profile")),
            )
        except KeyError as error:
            raise ArtifactError(f"contract: field {error} is missing") from error
        except (TypeError, ValueError, AttributeError) as error:
            raise ArtifactError(f"contract: a field has the wrong kind of value: {error}") from error

    def _check_profile(self) -> None:
        profile = self.observation_profile
        if profile is None:
            return
        if profile.size != self.observation_size or profile.actions not in (0, self.action_size):
            raise ArtifactError(
                f"contract: observation_profile is of {profile.size} observation and {profile.actions} action "
                f"elements; the contract says {self.observation_size} and {self.action_size}: it is of another policy"
            )

    def _check_action_map(self) -> None:
        stages = self.action_map or ()
        if len(stages) > MOST_STAGES:
            raise ArtifactError(f"contract: action_map has {len(stages)} stages; at most {MOST_STAGES} are possible")
        for values in (values for s in stages for values in (s.scale, s.offset, s.low, s.high)):
            if values and len(values) != self.action_size:
                raise ArtifactError(
                    f"contract: action_map has a list of {len(values)} numbers; the action has {self.action_size} "
                    "elements"
                )


@dataclass(frozen=True)
class DrawnPart:
    """Elements of an action that are drawn together: all neighbours that are normal, or one category.

    Attributes:
        element: the first of them, in the action.
        output: name of the output that says how.
        offset: the first of their numbers in that output.
        count: how many: one logarithm of a standard deviation for each element, or the logits of one.
    """

    element: int
    output: str
    offset: int
    count: int

    @property
    def is_normal(self) -> bool:
        """Whether the elements are normal around the first output (or `unmapped_mean`)."""
        return self.output == "log_std"


def drawn_parts(outputs: Sequence[TensorSpec]) -> tuple[DrawnPart, ...]:
    """How the elements of `actions` are drawn, each for itself, in their order.

    Element k from the output `logits_k` where there is one, the others from `log_std`. Empty where outputs do not say
    so, or only one kind of thing that `distribution_of` has a word for.
    """
    first, *others = outputs
    if first.name != "actions":
        return ()
    sizes = {spec.name: spec.size for spec in reversed(others)}
    parts: list[DrawnPart] = []
    normal = 0
    for element in range(first.size):
        name = f"logits_{element}"
        if name in sizes:
            parts.append(DrawnPart(element, name, 0, sizes[name]))
            continue
        if parts and parts[-1].is_normal:
            parts[-1] = dataclasses.replace(parts[-1], count=parts[-1].count + 1)
        else:
            parts.append(DrawnPart(element, "log_std", normal, 1))
        normal += 1
    is_told = normal < first.size and normal in (0, sizes.get("log_std"))
    return tuple(parts) if is_told else ()


def distribution_of(outputs: Sequence[TensorSpec]) -> Distribution | None:
    """What outputs say can be drawn, or None for plain actions.

    `"gaussian"`: `mean` and `log_std`; `"categorical"`: an index and `logits`; `"mixed"`: see `drawn_parts`.
    """
    if len(outputs) >= 2:
        first, second = outputs[:2]
        if (first.name, second.name) == ("mean", "log_std") and first.size == second.size:
            return "gaussian"
        if first.size == 1 and second.name == "logits":
            return "categorical"
        if drawn_parts(outputs):
            return "mixed"
    return None


def previous_action_of(outputs: Sequence[TensorSpec], state: Sequence[StateSlot]) -> slice | None:
    """Where the slot `prev_action` lies in the flat hidden vector, if it holds an action; None without one."""
    offset = 0
    for slot in state:
        if slot.name == "prev_action" and slot.size == outputs[0].size:
            return slice(offset, offset + slot.size)
        offset += slot.size
    return None


def sealed(text: str) -> str:
    """The text of a contract with the digest over it put in; one that has no place for a digest comes back as it is.

    The digest is the SHA-256 of the text in which its own 64 digits are zeros: of what a file holds, byte for byte.
    """
    found = _seal_of(text)
    if found is None:
        return text
    digest, (begin, end) = found
    return f"{text[:begin]}{digest}{text[end:]}"


def _seal_of(text: str) -> tuple[str, tuple[int, int]] | None:
    place = _SEAL.search(text)
    if place is None:
        return None
    begin, end = place.span(1)
    zeroed = f"{text[:begin]}{'0' * (end - begin)}{text[end:]}"
    return hashlib.sha256(zeroed.encode("utf-8", "surrogatepass")).hexdigest(), (begin, end)


def _check_seal(text: str, document: Mapping[str, Any]) -> None:
    # The first format had no digest over the contract; the runtime says so of such a file.
    if _SEAL_KEY not in document:
        if document["format"] == 1:
            return
        raise ArtifactError(f"contract: its digest over itself, '{_SEAL_KEY}', is missing; export the policy again")
    found = _seal_of(text)
    if found is None or document[_SEAL_KEY] != found[0]:
        raise ArtifactError(
            "contract: its text does not match its own digest: it was damaged or edited after export; export the "
            "policy again, or change a contract by dataclasses.replace and write it with to_json"
        )


def bounds_of(specs: Sequence[TensorSpec]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest and highest value of each element of some vectors side by side; infinite where there is none."""
    low = [value for spec in specs for value in (spec.low or (-math.inf,) * spec.size)]
    high = [value for spec in specs for value in (spec.high or (math.inf,) * spec.size)]
    return np.asarray(low, np.float64), np.asarray(high, np.float64)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not allowed")


# JSON has no infinity: an unbounded element is null.


def _bounds_to_json(bounds: Sequence[float]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in bounds]


def _bounds_from_json(values: Sequence[Any], unbounded: float) -> tuple[float, ...]:
    return tuple(unbounded if value is None else float(value) for value in values)


def _tensor_to_json(spec: TensorSpec) -> dict[str, Any]:
    document = {
        "name": spec.name,
        "size": spec.size,
        "element_names": list(spec.element_names),
        "units": list(spec.units),
        "low": _bounds_to_json(spec.low),
        "high": _bounds_to_json(spec.high),
    }
    return document | {"shape": list(spec.shape)} if spec.shape else document


def _tensor_from_json(document: Mapping[str, Any]) -> TensorSpec:
    return TensorSpec(
        name=str(document["name"]),
        size=int(document["size"]),
        element_names=tuple(str(name) for name in document["element_names"]),
        units=tuple(str(unit) for unit in document["units"]),
        low=_bounds_from_json(document["low"], -math.inf),
        high=_bounds_from_json(document["high"], math.inf),
        shape=tuple(int(axis) for axis in document.get("shape", ())),
    )


def _stage_to_json(stage: ActionStage) -> dict[str, Any]:
    return {
        "squash": stage.squash,
        "scale": list(stage.scale),
        "offset": list(stage.offset),
        "low": _bounds_to_json(stage.low),
        "high": _bounds_to_json(stage.high),
    }


def _profile_from_json(document: Any) -> ObservationProfile | None:
    return None if document is None else ObservationProfile.from_document(document)


def _action_map_from_json(documents: Sequence[Mapping[str, Any]] | None) -> tuple[ActionStage, ...] | None:
    if documents is None:
        return None
    if not isinstance(documents, list):
        raise TypeError(f"action_map is {type(documents).__name__}, not a list")
    return tuple(_stage_from_json(document) for document in documents)


def _stage_from_json(document: Mapping[str, Any]) -> ActionStage:
    if type(document["squash"]) is not bool:
        raise TypeError(f"squash is {document['squash']!r}, not true or false")
    return ActionStage(
        squash=document["squash"],
        scale=tuple(float(value) for value in document["scale"]),
        offset=tuple(float(value) for value in document["offset"]),
        low=_bounds_from_json(document["low"], -math.inf),
        high=_bounds_from_json(document["high"], math.inf),
    )


NOTHING_BESIDE: NDArray[np.float32] = np.empty((0, 0, 0), np.float32)
"""`Golden.rounding` where the tolerance is a demand."""


def _golden_to_json(golden: Golden) -> dict[str, Any]:
    return {
        "steps": golden.steps,
        "rows": golden.rows,
        "observation": golden.observation.astype(np.float64).ravel().tolist(),
        "reset": golden.reset.astype(int).ravel().tolist(),
        "outputs": golden.outputs.astype(np.float64).ravel().tolist(),
        "tolerance": golden.tolerance,
        **({} if golden.rounding is None else {"rounding": golden.rounding.astype(np.float64).ravel().tolist()}),
        **({"bits": list(golden.bits)} if golden.bits else {}),
    }


def _golden_from_json(document: Mapping[str, Any]) -> Golden:
    steps, rows = int(document["steps"]), int(document["rows"])
    if steps < 1 or rows < 1:
        raise ArtifactError(f"golden: {steps} steps of {rows} rows; at least one of each is needed")

    def array(key: str) -> NDArray[np.float32]:
        values: Sequence[float] = document[key]
        if len(values) == 0 or len(values) % (steps * rows) != 0:
            raise ArtifactError(f"golden: {len(values)} {key} values do not fill {steps} steps of {rows} rows")
        return np.asarray(values, dtype=np.float32).reshape(steps, rows, -1)

    reset = array("reset")
    if reset.shape[2] != 1:
        raise ArtifactError(f"golden: {reset.size} reset flags for {steps} steps of {rows} rows")
    return Golden(
        observation=array("observation"),
        reset=reset[:, :, 0] != 0.0,
        outputs=array("outputs"),
        tolerance=float(document["tolerance"]),
        rounding=_rounding(document.get("rounding"), array),
        bits=tuple(str(digest) for digest in document.get("bits", ())),
    )


def _rounding(
    values: Sequence[float] | None, array: Callable[[str], NDArray[np.float32]]
) -> NDArray[np.float32] | None:
    if values is None:
        return None
    return array("rounding") if len(values) else NOTHING_BESIDE
