"""A description put into the function: raw sensor values go in, joint targets come out."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion.adapters.deployment.annotation import annotate, match_inputs
from ganglion.adapters.deployment.plan import ACTION, LAST_ACTION, OBSERVATION, STARTED, Plan, plan
from ganglion.compiler.joining import NodeList, graph_model, prefixed
from ganglion.compiler.signature import store_contract
from ganglion.contract import ActionStage, Contract, StateSlot, distribution_of
from ganglion.errors import EngineUnavailableError, ExportError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ganglion.adapters.deployment.description import Description

APPLIED_KEY = "deployment.applied"

_NETWORK = "network/"
_FLOAT = 1  # TensorProto.FLOAT


def apply(
    model: Any,
    description: Description,
    *,
    contract: Contract | None = None,
    robot_joint_names: Sequence[str] | None = None,
) -> Any:
    """Builds a model whose function contains the whole deployment.

    The new model has one observation, the vector `obs` of the newest raw values: what the sensors say, before any
    offset, clip or scale, terms in the order of the description, joints in the order of the robot. One vector and not
    one input per term, because that is what a controller's `step` takes; the contract names each element
    (`joint_pos.FL_hip_joint`), its unit, and the command limits. Its output `actions` are joint targets, named, in the
    order of the robot. In between stand, in this order: the joints' order by name, command limits, offsets, clip and
    scale, the histories, the network, then the action's scale, offset and clip and the joints' order again.

    New state slots stand behind those of the network: `<term>_history` with the older frames of a term (`[batch,
    (frames - 1) * size]`, oldest first, clipped and scaled), `last_action` with the network's own action, and
    `history_started`, which a reset sets to 0 and a step to 1: where it is 0, the present frame fills the histories.
    All of them start as zeros.

    Args:
        model: `onnx.ModelProto` of the network; left as it is.
        description: what its numbers mean.
        contract: of the network; None takes the one in the model, or recognises one by the names of the tensors.
        robot_joint_names: the joints in the order in which the controller gives and takes them; None for the order that
            the description knows (Unitree's motors), else the training order.

    Returns:
        A new `onnx.ModelProto` with its contract in the metadata. Inputs of the network that the description does not
        know, and further outputs, are passed through.

    Raises:
        ArtifactError: network and description do not fit: sizes (the terms are listed), control periods.
        ExportError: a term cannot be computed from what the file says, the model has it all inside already, or its
            tensors have other shapes than `[batch, n]`.
        ValueError: `robot_joint_names` misses a joint, has one too many, or names one twice; both sides are listed.
        EngineUnavailableError: onnx is not installed.
    """
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise EngineUnavailableError(f"changing a model needs onnx ({error}); install ganglion[onnx]") from error
    from ganglion.compiler.model import open_model

    # Tensors of other exporters' dialects get the names and shapes of ours.
    opened = open_model(model, contract)
    contract = opened.contract
    if APPLIED_KEY in contract.provenance:
        raise ExportError("this model has its deployment description inside already; start from the network alone")
    annotated = annotate(contract, description)
    work = plan(description, robot_joint_names)
    # Nothing that is added can then have the name of something inside of the network.
    inner = prefixed(opened.proto, _NETWORK)
    return _Surgery(inner, contract, description, work).model(annotated)


def described(model: Any, description: Description, *, contract: Contract | None = None) -> Any:
    """Writes a description into the contract of a model, whose function stays as it is; see `annotate`.

    Args:
        model: `onnx.ModelProto` of the network; left as it is.
        description: what its numbers mean.
        contract: of the network; None takes the one in the model, or recognises one by the names of the tensors.

    Returns:
        A new `onnx.ModelProto` with the contract in its metadata.

    Raises:
        ArtifactError: network and description do not fit: sizes (the terms are listed), control periods.
        ExportError: the model has the description inside its function already.
        EngineUnavailableError: onnx is not installed.
    """
    from ganglion.compiler.model import open_model

    opened = open_model(model, contract)
    if APPLIED_KEY in opened.contract.provenance:
        raise ExportError("this model has its deployment description inside already; start from the network alone")
    new = type(opened.proto)()
    new.CopyFrom(opened.proto)
    store_contract(new, annotate(opened.contract, description))
    return new


class _Surgery:
    """Builds the new graph around the network's nodes."""

    def __init__(self, inner: Any, contract: Contract, description: Description, work: Plan) -> None:
        self._inner = inner
        self._contract = contract
        self._plan = work
        self._description = description
        known = {initializer.name for initializer in inner.graph.initializer}
        self._values = {value.name: value for value in (*inner.graph.input, *inner.graph.output)}
        self._free_inputs = [value.name for value in inner.graph.input if value.name not in known]
        self._made = NodeList("deployment")
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def model(self, annotated: Contract) -> Any:
        """The new model; the contract is that of the network with the description's provenance."""
        described = match_inputs(self._contract, self._description)
        extra = [tensor for tensor in self._contract.inputs if tensor not in [found for found, _ in described]]
        self._batch = self._batch_axis(described[0][0].name)
        for tensor in (*(found for found, _ in described), *extra):
            self._rows(tensor.name)

        self._vector_input(OBSERVATION, self._plan.observation.size)
        for tensor in extra:
            self._pass_input(tensor.name)
        for slot in self._contract.state:
            self._pass_input(f"{slot.name}_in")
        added = self._before([tensor.name for tensor, _ in described])
        self._made.nodes += self._inner.graph.node
        self._after(added)

        new_contract = self._new_contract(annotated, extra, added)
        new = graph_model("deployed", self._made, self._inputs, self._outputs, [self._inner])
        new.metadata_props.extend(self._inner.metadata_props)
        store_contract(new, new_contract)
        return new

    def _before(self, names: list[str]) -> list[StateSlot]:
        """From the raw values to the network's inputs; returns the slots that this needs."""
        work, slots = self._plan, [history.slot for history in self._plan.histories]
        raw = OBSERVATION
        last_action = StateSlot(LAST_ACTION, (self._contract.action_size,))
        flag = StateSlot(STARTED, (1,))
        for slot in slots:
            self._vector_input(f"{slot.name}_in", slot.size)
        if work.needs_last_action:
            self._vector_input(f"{LAST_ACTION}_in", last_action.size)
            raw = self._made.node("Concat", [OBSERVATION, f"{LAST_ACTION}_in"], axis=1)
            slots.append(last_action)
        if work.histories and not work.starts_with_zeros:
            self._vector_input(f"{STARTED}_in", 1)
            slots.append(flag)

        frame = self._gather(raw, work.frame)
        frame = self._limit(frame, work.limits)
        frame = self._arithmetic("Sub", frame, work.offset, 0.0)
        frame = self._arithmetic("Mul", frame, work.scale_first, 1.0)
        frame = self._limit(frame, work.clip)
        frame = self._arithmetic("Mul", frame, work.scale, 1.0)

        pool = [frame]
        started = self._made.node("Greater", [f"{STARTED}_in", self._floats([0.5])]) if flag in slots else None
        for history in work.histories:
            older = f"{history.slot.name}_in"
            if started is not None:
                first = self._gather(frame, history.kept.first_frame)
                older = self._made.node("Where", [started, older, first])
            pool.append(older)
        everything = self._made.node("Concat", pool, axis=1) if len(pool) > 1 else frame
        for name, index in zip(names, work.inputs.values(), strict=True):
            self._gather(everything, index, f"{_NETWORK}{name}")
        for history in work.histories:
            self._gather(everything, history.kept.next, f"{history.slot.name}_out")
        if flag in slots:
            # Made from the flag itself, so that it has as many rows.
            self._made.node("Clip", [f"{STARTED}_in", self._floats(1.0), self._floats(1.0)], f"{STARTED}_out")
        return slots

    def _after(self, added: Sequence[StateSlot]) -> None:
        """From the network's outputs to joint targets and the next state."""
        work, action = self._plan, f"{_NETWORK}{self._contract.outputs[0].name}"
        target = self._arithmetic("Mul", action, work.action_scale, 1.0)
        target = self._arithmetic("Add", target, work.action_offset, 0.0)
        target = self._limit(target, work.action_clip)
        self._gather(target, work.robot_order, ACTION)
        self._vector_output(ACTION, work.action.size)
        for tensor in self._contract.outputs[1:]:
            self._pass_output(tensor.name)
        for slot in self._contract.state:
            self._pass_output(f"{slot.name}_out")
        if work.needs_last_action:
            self._made.node("Identity", [action], f"{LAST_ACTION}_out")
        for slot in added:
            self._vector_output(f"{slot.name}_out", slot.size)

    def _new_contract(self, annotated: Contract, extra: Sequence[Any], added: Sequence[StateSlot]) -> Contract:
        names = [value.name for value in (*self._inputs, *self._outputs)]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ExportError(f"the network has tensors with names that the deployment needs: {repeated}")
        return dataclasses.replace(
            annotated,
            inputs=(self._plan.observation, *extra),
            outputs=(self._plan.action, *self._contract.outputs[1:]),
            state=(*self._contract.state, *added),
            initial_state=(*self._contract.initial_state, *(0.0,) * sum(slot.size for slot in added)),
            provenance={**annotated.provenance, APPLIED_KEY: "true"},
            sha256=None,
            golden=None,
            action_map=self._action_map(annotated),
        )

    def _action_map(self, annotated: Contract) -> tuple[ActionStage, ...] | None:
        work = self._plan
        if distribution_of(annotated.outputs) is None and annotated.previous_action is None:
            return annotated.action_map
        # Stages work on one element each: joints in another order are beyond them.
        if annotated.action_map is None or not np.array_equal(work.robot_order, np.arange(annotated.action_size)):
            return None
        scale, offset, low, high = (
            tuple(np.asarray(values, np.float64).tolist())
            for values in (work.action_scale, work.action_offset, *work.action_clip)
        )
        return (*annotated.action_map, ActionStage(False, scale, offset, low, high))

    # The network's own tensors

    def _value(self, name: str) -> Any:
        found = self._values.get(f"{_NETWORK}{name}")
        if found is None:
            known = sorted(value.removeprefix(_NETWORK) for value in self._values)
            raise ExportError(f"the model has no tensor '{name}', which its contract names; it has {known}")
        return found

    def _rows(self, name: str) -> list[Any]:
        axes = list(self._value(name).type.tensor_type.shape.dim)
        if len(axes) != 2:
            raise ExportError(f"the network's input '{name}' has {len(axes)} axes; [batch, n] is needed")
        return axes

    def _batch_axis(self, name: str) -> int | str:
        axis = self._rows(name)[0]
        return int(axis.dim_value) if axis.HasField("dim_value") else (axis.dim_param or "batch")

    def _pass_input(self, name: str) -> None:
        value = self._renamed(name)
        self._inputs.append(value)
        self._made.node("Identity", [name], f"{_NETWORK}{name}")

    def _pass_output(self, name: str) -> None:
        self._outputs.append(self._renamed(name))
        self._made.node("Identity", [f"{_NETWORK}{name}"], name)

    def _renamed(self, name: str) -> Any:
        value = type(self._value(name))()
        value.CopyFrom(self._value(name))
        value.name = name
        return value

    # What is added

    def _vector_input(self, name: str, size: int) -> None:
        self._inputs.append(self._vector(name, size))

    def _vector_output(self, name: str, size: int) -> None:
        self._outputs.append(self._vector(name, size))

    def _vector(self, name: str, size: int) -> Any:
        from onnx import helper

        return helper.make_tensor_value_info(name, _FLOAT, [self._batch, size])

    def _gather(self, vector: str, index: NDArray[np.int64], output: str = "") -> str:
        return self._made.node("Gather", [vector, self._made.constant(index.astype(np.int64))], output, axis=1)

    def _arithmetic(self, operator: str, vector: str, values: NDArray[np.float64], neutral: float) -> str:
        if np.all(values == neutral):
            return vector
        return self._made.node(operator, [vector, self._floats(values)])

    def _limit(self, vector: str, limits: tuple[NDArray[np.float64], NDArray[np.float64]]) -> str:
        largest = float(np.finfo(np.float32).max)
        for operator, values, nowhere in zip(("Max", "Min"), limits, (-largest, largest), strict=True):
            # ONNX's Clip takes one limit for all elements.
            vector = vector if np.all(values == nowhere) else self._made.node(operator, [vector, self._floats(values)])
        return vector

    def _floats(self, values: Any) -> str:
        return self._made.constant(np.asarray(values, np.float32))
