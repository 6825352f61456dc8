"""A TorchScript `forward` that takes several observations, or a dictionary of them, or takes and gives its state.

Such a module becomes one with `forward(obs)` that keeps the state in buffers. The rules and sentences are those of
`cpp/src/engines/libtorch/functional.hpp`, with `arguments.hpp` and `trials.hpp` beside it.
"""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import itertools
import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ganglion._foundation.sentences import last_line
from ganglion.reading.torchscript.parts import (
    buffers_of,
    matrices_of,
    put_back,
    refusal,
    size_of,
    takes_nothing,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Shape = tuple[int, ...]

_MOST_LAYERS = 8
_MOST_TRIALS = 4096
_FORMS = 3
"""Of an observation of n elements: `[1, n]`, `[1, 1, n]`, `[n]`."""
_STATE_NAMES = (
    *("h", "c", "hc", "hx", "cx", "h0", "c0", "h_0", "c_0", "h_in", "c_in", "h_t", "c_t", "h_n", "c_n"),
    *("h_prev", "c_prev", "carry", "mem", "cell"),
)
_STATE_PARTS = ("state", "hidden", "memory", "carry", "hx", "lstm", "gru", "rnn", "recurrent")
_OBSERVATION_PARTS = (
    *("obs", "act", "command", "cmd", "goal", "target", "image", "img", "camera", "depth", "vision", "scan", "lidar"),
    *("imu", "proprio", "joint", "pos", "vel", "height", "phase", "time", "latent", "vec", "input"),
)


@dataclass(frozen=True)
class Rewritten:
    """The module that stands for one of another form.

    Attributes:
        module: takes one observation and keeps its state in buffers.
        inputs: name and elements of each observation, side by side in the one.
        without_rows: it takes an observation `[n]`.
        fed: state slots and the arguments that they stand for.
    """

    module: torch.jit.ScriptModule
    inputs: tuple[tuple[str, int], ...]
    without_rows: bool
    fed: Mapping[str, str]


@dataclass
class _Argument:
    name: str
    type: Any
    may_be_left_out: bool
    default: Any
    elements: int
    keys: list[str] = field(default_factory=list)
    role: str = ""

    @property
    def is_tensor(self) -> bool:
        return bool(self.type.kind() == "TensorType")

    @property
    def is_dictionary(self) -> bool:
        return bool(self.type.kind() == "DictType")

    @property
    def slots(self) -> int:
        return max(self.elements, 1)


@dataclass(frozen=True)
class _Leaf:
    """A tensor among the results: `result[outer]` or `result[outer][inner]`; outer -1: the result itself."""

    outer: int
    inner: int = -1
    siblings: int = 0

    @property
    def text(self) -> str:
        return "r" + "".join(f"[{index}]" for index in (self.outer, self.inner) if index >= 0)


@dataclass(frozen=True)
class _Trial:
    sizes: tuple[int, ...]
    form: int
    state: tuple[Shape, ...]
    fed: tuple[int, ...]
    action: int
    action_size: int
    rows_axis: int

    @property
    def total(self) -> int:
        return sum(math.prod(shape) for shape in self.state)


def rewrite(
    module: torch.jit.ScriptModule, state_names: Sequence[str] | None, observation: Mapping[str, int]
) -> Rewritten | None:
    """The module as one that takes one observation; None where it is one, or of no form that is known.

    Args:
        module: in eval mode.
        state_names: names of all that holds the state, where it was said.
        observation: elements of the observations, where they were said; `""` is the only one.

    Raises:
        ExportError: it cannot be understood; says what to do.
    """
    if "forward" not in module._c._method_names():
        return None
    form = _Form(module, state_names, observation)
    if form.is_plain():
        return None
    return form.rewritten()


class _Form:
    def __init__(
        self, module: torch.jit.ScriptModule, state_names: Sequence[str] | None, observation: Mapping[str, int]
    ) -> None:
        self._module = module
        self._told = state_names
        self._sizes = observation
        self._at_load = {path: value.clone() for path, value in buffers_of(module).items()}
        schema = module._c._get_method("forward").schema
        self._arguments = [_argument(given) for given in schema.arguments[1:]]
        self._returns = schema.returns[0].type
        self._leaves = _leaves(self._returns)
        self._parts: list[str] = []
        self._trials: list[_Trial] = []
        self._is_open = False
        self._is_strict = True
        self._why = ""
        self._dtype = torch.float32

    @property
    def _gives_one_tensor(self) -> bool:
        return len(self._leaves) == 1 and self._leaves[0].outer < 0

    def is_plain(self) -> bool:
        """The form that `read` knows, or the wrong one that it refuses."""
        needed = [argument for argument in self._arguments if not argument.may_be_left_out]
        takes_state = any(
            argument.may_be_left_out and (argument.is_tensor or argument.elements) for argument in self._arguments
        )
        if not needed:
            return True
        return len(needed) == 1 and needed[0].is_tensor and (self._gives_one_tensor or not takes_state)

    def rewritten(self) -> Rewritten:
        self._check_schema()
        self._choose_roles()
        self._find_shapes()
        trial = self._chosen()
        self._check_initial(trial)
        return self._written(trial)

    def _of_role(self, role: str) -> list[_Argument]:
        return [argument for argument in self._arguments if argument.role == role]

    def _refuse_arguments(self, why: str) -> Exception:
        needed = ", ".join(argument.name for argument in self._arguments if not argument.may_be_left_out)
        return refusal(
            "forward-arguments",
            f"forward({needed}) {why}; a file without a contract takes tensors, a dictionary of tensors, or a state of "
            "tensors that it gives back; write this policy with ganglion.export instead",
        )

    def _check_schema(self) -> None:
        for argument in self._arguments:
            if argument.is_dictionary:
                self._read_keys(argument)
            is_known = argument.is_tensor or argument.elements > 0 or argument.is_dictionary
            if not is_known and not argument.may_be_left_out:
                raise self._refuse_arguments(f"needs '{argument.name}' of the type {argument.type.annotation_str}")
            if not is_known:
                argument.role = "left out"
        if not self._leaves:
            raise refusal(
                "forward-result",
                f"forward(obs) returns {self._returns.str()} instead of the action alone; export a module that returns "
                "one tensor",
            )

    def _read_keys(self, argument: _Argument) -> None:
        """The keys of a dictionary that the program looks up by name."""
        kind = argument.type
        if kind.getKeyType().kind() != "StringType" or kind.getValueType().kind() != "TensorType":
            raise self._refuse_arguments(f"needs '{argument.name}' of the type {kind.annotation_str}")
        graph: Any = self._module.inlined_graph
        value = list(graph.inputs())[self._arguments.index(argument) + 1]
        is_open = False
        keys = set()
        for use in value.uses():
            op = str(use.user.kind()).rpartition("::")[2]
            inputs = list(use.user.inputs())
            key = inputs[1].toIValue() if len(inputs) > 1 else None
            if op not in ("__getitem__", "get", "__contains__") or not isinstance(key, str):
                is_open = True
            elif op == "__getitem__":
                keys.add(key)
        if is_open or not keys:
            raise self._refuse_arguments(
                f"takes a dictionary '{argument.name}' whose keys cannot be read off its program"
            )
        argument.keys = sorted(keys)

    def _slots_of(self, argument: _Argument) -> list[str]:
        """What its slots are called: the argument; of a pair `h` and `c`; of other tuples the argument and a number."""
        if argument.elements == 0:
            return ["policy_state" if argument.name == "policy" else argument.name]
        is_taken = any(other.name in ("h", "c") for other in self._arguments)
        pairs = sum(other.elements == 2 for other in self._arguments)
        if argument.elements == 2 and not is_taken and pairs == 1:
            return ["h", "c"]
        return [f"{argument.name}_{index}" for index in range(argument.elements)]

    def _choose_roles(self) -> None:
        """Which arguments are observations, and which the state: told, by their type, by name, else by place."""
        slots = 0
        for argument in self._arguments:
            if argument.role:
                continue
            argument.role = self._role_of(argument)
            # What may be left out and is nothing that is given back is left out.
            if argument.may_be_left_out and (argument.role != "state" or self._gives_one_tensor):
                argument.role = "left out"
            if argument.role == "state":
                slots += argument.slots
        has_observation = bool(self._of_role("observation"))
        for argument in self._arguments:
            if argument.role:
                continue
            is_fed = has_observation and slots + 1 < len(self._leaves)
            argument.role = "state" if is_fed else "observation"
            slots += is_fed
            has_observation = True
        if not has_observation:
            raise self._refuse_arguments("takes nothing but a state")
        if 0 < slots >= len(self._leaves):
            names = ", ".join(argument.name for argument in self._of_role("state"))
            count = len(self._leaves)
            raise refusal(
                "state-not-fed",
                f"forward takes the state {names}, but does not return what it becomes: it gives {count} "
                f"tensor{'' if count == 1 else 's'} beside {slots} of the state; export a module that returns the "
                "action and the next state, or name what is the state",
            )
        for argument in self._of_role("observation"):
            if argument.elements:
                self._parts += [f"{argument.name}_{index}" for index in range(argument.elements)]
            else:
                self._parts += argument.keys or [argument.name]
        check_parts(self._sizes, self._parts)

    def _role_of(self, argument: _Argument) -> str:
        if argument.is_dictionary:
            return "observation"
        if self._told is not None:
            names = (argument.name, *self._slots_of(argument))
            return "state" if any(name in self._told for name in names) else "observation"
        if argument.elements or _sounds_like_state(argument.name):
            return "state"
        return "observation" if any(part in argument.name for part in _OBSERVATION_PARTS) else ""

    @property
    def _slots(self) -> int:
        return sum(argument.slots for argument in self._of_role("state"))

    def _run(self, observation: Sequence[Tensor], state: Sequence[Tensor] | None) -> list[Tensor] | None:
        """Runs forward; None, with the reason kept, where the program refuses what it is given."""
        parts, slots = iter(observation), iter(state or ())
        given: list[Any] = []
        for argument in self._arguments:
            if argument.role == "left out" or (argument.role == "state" and state is None):
                given.append(argument.default)
            elif argument.is_dictionary:
                given.append({key: next(parts) for key in argument.keys})
            else:
                source = slots if argument.role == "state" else parts
                given.append(
                    tuple(next(source) for _ in range(argument.elements)) if argument.elements else next(source)
                )
        try:
            result = self._module(*given)
        except Exception as error:  # whatever the operators inside raise
            self._why = last_line(error)
            return None
        finally:
            put_back(self._module, self._at_load.items())
        found = []
        for leaf in self._leaves:
            value = result
            for index in (leaf.outer, leaf.inner):
                value = value if index < 0 else value[index]
            found.append(value)
        return found

    def _zeros(self, shapes: Sequence[Shape]) -> list[Tensor]:
        return [torch.zeros(shape, dtype=self._dtype) for shape in shapes]

    def _observation(self, sizes: Sequence[int], form: int, rows: int = 1, axis: int = 0) -> list[Tensor]:
        def shape(size: int) -> Shape:
            if form == 0:
                return (rows, size)
            if form == 2:
                return (size,)
            return (rows, 1, size) if axis == 0 else (1, rows, size)

        return self._zeros([shape(size) for size in sizes])

    def _attempt(self, sizes: tuple[int, ...], form: int, shape: Shape) -> None:
        """Tries one combination, and keeps it where every state comes back in its own shape."""
        state = (shape,) * self._slots
        results = self._run(self._observation(sizes, form), self._zeros(state))
        if results is None:
            return
        fed = self._feeding(state, results)
        if fed is None:
            return
        action = next(index for index in range(len(results)) if index not in fed)
        size = results[action].numel()
        if size > 0:
            axis = self._rows_axis(sizes, form, state, fed, action, size)
            self._trials.append(_Trial(sizes, form, state, fed, action, size, axis))

    def _feeding(self, state: Sequence[Shape], results: Sequence[Tensor]) -> tuple[int, ...] | None:
        """Which results have the shapes of the state, in the order of the state; None where no choice does."""
        ways = [
            way
            for way in itertools.combinations(range(len(results)), len(state))
            if len(way) < len(results)
            and all(tuple(results[index].shape) == shape for index, shape in zip(way, state, strict=True))
        ]
        ways = [way for way in ways if self._keeps_tuples(way)] or ways
        if not ways:
            return None
        if len(ways) > 1 and len(results) > len(state) + 1:
            self._is_open = True
            return None
        # torch returns what it computes and then its state; where the state comes first, so does what it becomes.
        first = next(argument for argument in self._arguments if argument.role in ("state", "observation"))
        way = ways[0] if first.role == "state" else ways[-1]
        begin = 0 if first.role == "state" else len(results) - len(way)
        if self._is_strict and way != tuple(range(begin, begin + len(way))):
            return None
        return way

    def _keeps_tuples(self, way: Sequence[int]) -> bool:
        """Whether every tuple of the state is fed by one tuple."""
        at = 0
        for argument in self._of_role("state"):
            leaves = [self._leaves[index] for index in way[at : at + argument.elements]]
            for index, leaf in enumerate(leaves):
                if (leaf.outer, leaf.inner, leaf.siblings) != (leaves[0].outer, index, argument.elements):
                    return False
            at += argument.slots
        return True

    def _rows_axis(
        self, sizes: tuple[int, ...], form: int, state: Sequence[Shape], fed: Sequence[int], action: int, size: int
    ) -> int:
        """Where an observation `[1, 1, n]` has its rows: 0 or 1; for other forms 0 where several run; -1: none do."""
        rows = 3
        if form == 2:
            return -1
        shapes = []
        for shape in state:
            axis = 1 if len(shape) == 3 else 0
            if len(shape) < 2 or shape[axis] != 1:
                return -1
            shapes.append((*shape[:axis], rows, *shape[axis + 1 :]))
        for axis in (0, 1) if form == 1 else (0,):
            results = self._run(self._observation(sizes, form, rows, axis), self._zeros(shapes))
            if results is None or results[action].numel() != rows * size:
                continue
            if all(tuple(results[index].shape) == shape for index, shape in zip(fed, shapes, strict=True)):
                return axis
        return -1

    def _find_shapes(self) -> None:
        weights = matrices_of(self._module)
        self._dtype = next((weight.dtype for weight in weights), torch.float32)
        widths = list(dict.fromkeys(int(weight.shape[1]) for weight in weights))
        units = list(dict.fromkeys([*widths, *_units(weights)]))
        # First with the state where it stands as a rule, then with it anywhere.
        for self._is_strict in (True, False):
            self._attempt_weights(widths, units)
            if self._slots == 0 or self._trials:
                break

    def _attempt_weights(self, widths: Sequence[int], units: Sequence[int]) -> None:
        for sizes in self._combinations(widths):
            self._attempt_all(sizes, units)
        if self._slots == 0 or self._trials or len(self._parts) > 1 or self._sizes:
            return
        # Side by side with the state: a matrix is as wide as both.
        for unit, width in itertools.product(units, widths):
            if width > unit:
                self._attempt_all((width - unit,), [unit])

    def _combinations(self, widths: Sequence[int]) -> Iterator[tuple[int, ...]]:
        choices = [[told] if (told := size_of(self._sizes, part, len(self._parts))) else widths for part in self._parts]
        return itertools.product(*choices) if math.prod(map(len, choices)) <= _MOST_TRIALS else iter(())

    def _attempt_all(self, sizes: tuple[int, ...], units: Sequence[int]) -> None:
        for form in range(_FORMS):
            if not self._slots:
                self._attempt(sizes, form, ())
                continue
            for unit in units:
                for shape in _state_shapes(unit):
                    self._attempt(sizes, form, shape)

    def _how_to_say(self) -> str:
        if len(self._parts) == 1:
            return "say it: observation: N in <FILE>.yaml, load(..., observation=N), --observation N"
        entries = ", ".join(f"'{part}': N" for part in self._parts)
        options = "".join(f" --observation {part}:N" for part in self._parts)
        return f"say it of each: a map observation in <FILE>.yaml, load(..., observation={{{entries}}}),{options}"

    def _chosen(self) -> _Trial:
        names = ", ".join(self._parts)
        if not self._trials and self._is_open:
            raise refusal(
                "state-ambiguous",
                "several results of forward have the shape of its state; export a module that returns the action and "
                "the next state alone",
            )
        if not self._trials:
            why = f": {self._why}" if self._why else ""
            raise refusal(
                "observation-size-unknown",
                f"no sizes of {names}{' and of the state' if self._slots else ''} were found that forward accepts{why}"
                f"; {self._how_to_say()}",
            )
        for trial in self._trials:
            if trial.sizes != self._trials[0].sizes:
                raise self._refuse_sizes(self._trials[0].sizes, trial.sizes)
        self._check_shifted(self._trials[0])
        self._check_larger(self._trials[0])
        # Of the state the smallest: a larger one may be spread over several rows, which gives as many actions.
        least = min(trial.total for trial in self._trials)
        smallest = [trial for trial in self._trials if trial.total == least]
        for trial in self._trials:
            if trial.total != least and trial.action_size == smallest[0].action_size:
                raise refusal(
                    "state-ambiguous",
                    f"the state of forward may have the shape {list(smallest[0].state[0])} or {list(trial.state[0])}; "
                    "write this policy with ganglion.export instead",
                )
        return next((trial for trial in smallest if trial.rows_axis >= 0), smallest[0])

    def _refuse_sizes(self, a: tuple[int, ...], b: tuple[int, ...]) -> Exception:
        return refusal(
            "observation-size-ambiguous",
            f"its observation {', '.join(self._parts)} may have {list(a)} or {list(b)} elements: forward accepts both; "
            f"{self._how_to_say()}",
        )

    def _check_larger(self, trial: _Trial) -> None:
        """What reads slices takes larger ones, too: the width of a matrix is not the size then."""
        for index, part in enumerate(self._parts):
            if size_of(self._sizes, part, len(self._parts)):
                continue
            larger = list(trial.sizes)
            larger[index] += 1
            if self._run(self._observation(larger, trial.form), self._zeros(trial.state)) is not None:
                raise self._refuse_sizes(trial.sizes, tuple(larger))

    def _check_shifted(self, trial: _Trial) -> None:
        """Of parts that go side by side into one matrix only the sum is known."""
        if len(self._parts) < 2 or all(size_of(self._sizes, part, len(self._parts)) for part in self._parts):
            return
        for less, more in itertools.permutations(range(len(trial.sizes)), 2):
            shifted = list(trial.sizes)
            shifted[less] -= 1
            if shifted[less] < 1:
                continue
            shifted[more] += 1
            if self._run(self._observation(shifted, trial.form), self._zeros(trial.state)) is not None:
                raise self._refuse_sizes(trial.sizes, tuple(shifted))

    def _check_initial(self, trial: _Trial) -> None:
        """What may be left out begins somewhere of its own; the state begins with zeros here."""
        state = self._of_role("state")
        if not state or not all(argument.may_be_left_out for argument in state):
            return
        observation = self._observation(trial.sizes, trial.form)
        given, left_out = self._run(observation, self._zeros(trial.state)), self._run(observation, None)
        if given is None or left_out is None:
            return
        for one, other in zip(given, left_out, strict=True):
            if one.shape != other.shape or not torch.allclose(one, other):
                raise refusal(
                    "state-not-restored",
                    "the state of forward begins with something else than zeros where it is left out; keep it in "
                    "buffers that forward(obs) writes and reset() restores, or write the policy with ganglion.export",
                )

    def _written(self, trial: _Trial) -> Rewritten:
        buffers: dict[str, Tensor] = {}
        fed: dict[str, str] = {}
        given: list[str] = []
        after: list[str] = []
        parts = iter(self._part_texts(trial))
        is_skipped = False
        for argument in self._arguments:
            if argument.role == "left out":
                is_skipped = True
                continue
            if argument.role == "state":
                names = self._slots_of(argument)
                for index, name in enumerate(names):
                    slot = len(buffers)
                    buffers[name] = torch.zeros(trial.state[slot], dtype=self._dtype)
                    fed[name] = argument.name + (f"[{index}]" if argument.elements else "")
                    after.append(f"  self.{name} = {self._leaves[trial.fed[slot]].text}\n")
                texts = [f"self.{name}" for name in names]
            else:
                texts = [next(parts) for _ in argument.keys or range(argument.slots)]
            given.append((f"{argument.name}=" if is_skipped else "") + _expression(argument, texts))
        module = torch.jit.script(_Holder(self._module, buffers))
        module.define(
            f"def forward(self, obs: Tensor) -> Tensor:\n  r = self.policy.forward({', '.join(given)})\n"
            f"{''.join(after)}  return {self._leaves[trial.action].text}\n"
        )
        zeros = "".join(f"  self.{name} = torch.zeros_like(self.{name})\n" for name in buffers)
        for method in ("reset", "reset_memory"):
            if takes_nothing(self._module, method):
                module.define(f"def {method}(self) -> None:\n  self.policy.{method}()\n{zeros}")
        names = ["obs"] if len(self._parts) == 1 else self._parts
        inputs = tuple(zip(names, trial.sizes, strict=True))
        return Rewritten(module.eval(), inputs, trial.form == 2, fed)

    def _part_texts(self, trial: _Trial) -> Iterator[str]:
        """The parts of the observation as they stand in the program."""
        begin = 0
        for size in trial.sizes:
            text = "obs" if len(self._parts) == 1 else f"obs[..., {begin}:{begin + size}]"
            if trial.form == 1:
                text += ".unsqueeze(0)" if trial.rows_axis == 1 else ".unsqueeze(1)"
            yield text
            begin += size


class _Holder(nn.Module):
    """Where the program of the new module is put."""

    def __init__(self, policy: torch.jit.ScriptModule, buffers: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.policy = policy
        for name, value in buffers.items():
            self.register_buffer(name, value)


def check_parts(sizes: Mapping[str, int], parts: Sequence[str]) -> None:
    """Every size that was said must be of an observation that there is."""
    for name in sizes:
        if (len(parts) == 1 and name in ("", "obs")) or name in parts:
            continue
        known = ", ".join(parts)
        raise refusal(
            "observation-unknown",
            f"forward takes no observation '{name}'; it takes {known}"
            if name
            else f"forward takes the observations {known}: say the size of each",
        )


def _argument(given: Any) -> _Argument:
    kind, may_be_left_out = given.type, given.has_default_value()
    default = given.default_value if may_be_left_out else None
    if kind.kind() == "OptionalType":
        kind, may_be_left_out = kind.getElementType(), True
    parts = kind.elements() if kind.kind() == "TupleType" else []
    are_tensors = all(part.kind() == "TensorType" for part in parts)
    return _Argument(given.name, kind, may_be_left_out, default, len(parts) if are_tensors else 0)


def _leaves(kind: Any) -> list[_Leaf]:
    """The tensors among the results; none where there is anything else."""
    if kind.kind() == "TensorType":
        return [_Leaf(-1)]
    if kind.kind() != "TupleType":
        return []
    found = []
    for outer, part in enumerate(kind.elements()):
        inner = part.elements() if part.kind() == "TupleType" else []
        if part.kind() == "TensorType":
            found.append(_Leaf(outer))
        elif inner and all(one.kind() == "TensorType" for one in inner):
            found += [_Leaf(outer, index, len(inner)) for index in range(len(inner))]
        else:
            return []
    return found


def _sounds_like_state(name: str) -> bool:
    if "obs" in name or "action" in name:
        return False
    return name in _STATE_NAMES or any(part in name for part in _STATE_PARTS)


def _units(weights: Sequence[Tensor]) -> Iterator[int]:
    for weight in weights:
        for gates in (1, 3, 4):
            if weight.shape[0] % gates == 0:
                yield int(weight.shape[0]) // gates


def _state_shapes(units: int) -> Iterator[Shape]:
    for k in range(1, _MOST_LAYERS + 1):
        yield (k, 1, units)
        yield (1, k * units)
        yield (k * units,)
        if k > 1:
            yield (k, units)
            yield (1, k, units)


def _expression(argument: _Argument, texts: Sequence[str]) -> str:
    if argument.is_dictionary:
        return (
            "{" + ", ".join(f"{json.dumps(key)}: {text}" for key, text in zip(argument.keys, texts, strict=True)) + "}"
        )
    if argument.elements == 0:
        return texts[0]
    return f"({', '.join(texts)}{',)' if len(texts) == 1 else ')'}"
