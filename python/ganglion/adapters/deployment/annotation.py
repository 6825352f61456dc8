"""A description written into the contract of the network as it stands."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from ganglion.adapters.deployment.plan import describe_sizes, frames, input_size
from ganglion.errors import ArtifactError

if TYPE_CHECKING:
    from ganglion.adapters.deployment.description import Description, ObservationTerm, Range
    from ganglion.contract import Contract, TensorSpec

_SAME_PERIOD = 1e-6


def annotate(contract: Contract, description: Description) -> Contract:
    """Tells the controller what the network's numbers mean; the function stays as it is.

    The elements of the network's inputs get the names of their terms, with `[t-1]` behind older frames, the limits that
    clip and scale leave, and, where there is no scale, their units; the elements of its action get the names of their
    joints. What the contract has no field for (scales, offsets, gains, the history's layout, the whole original file)
    goes into the provenance under keys that start with `deployment.`, as JSON with numbers of full precision.

    A policy is exported with it by
    `ganglion.export(policy, path, contract=annotate(policy.contract(), read("deploy.yaml")))`.

    Args:
        contract: of the network.
        description: what its numbers mean.

    Returns:
        The contract with all that in it. A recorded golden trajectory stays, for the function is the same.

    Raises:
        ArtifactError: the sizes of the terms do not add up to those of the network (lists the terms with their sizes),
            or both state a control period and they differ.
    """
    check_action(contract, description)
    inputs = match_inputs(contract, description)
    named = {tensor: _input(description, terms, tensor) for tensor, terms in inputs}
    joints = [name for term in description.actions for name in term.joint_names]
    action = contract.outputs[0]
    if len(joints) == action.size:
        action = dataclasses.replace(action, element_names=tuple(joints))
    return dataclasses.replace(
        contract,
        inputs=tuple(named.get(tensor, tensor) for tensor in contract.inputs),
        outputs=(action, *contract.outputs[1:]),
        period_s=period(contract, description),
        provenance={**contract.provenance, **description.provenance()},
    )


def match_inputs(contract: Contract, description: Description) -> list[tuple[TensorSpec, tuple[ObservationTerm, ...]]]:
    """The inputs of the network that the description knows, with their terms.

    A single group belongs to the only input, or to `obs`; several groups go by the names of the inputs.

    Raises:
        ArtifactError: a group has no input, or the sizes do not add up.
    """
    tensors = {tensor.name: tensor for tensor in contract.inputs}
    groups = description.groups()
    if len(groups) == 1:
        name, terms = next(iter(groups.items()))
        chosen = next((key for key in (name, "obs") if key in tensors), contract.inputs[0].name)
        if chosen not in (name, "obs") and len(tensors) > 1:
            raise ArtifactError(f"the network has the inputs {sorted(tensors)}; the description has one, '{name}'")
        groups = {chosen: terms}
    if missing := sorted(set(groups) - set(tensors)):
        raise ArtifactError(
            f"the description has observations for the inputs {missing}, which the network does not have: "
            f"{sorted(tensors)}"
        )
    for name, terms in groups.items():
        if input_size(terms) != tensors[name].size:
            raise ArtifactError(
                f"the network's input '{name}' has {tensors[name].size} elements; the terms of the description have "
                f"{input_size(terms)}: {describe_sizes(terms)}"
            )
    return [(tensors[name], terms) for name, terms in groups.items()]


def check_action(contract: Contract, description: Description) -> None:
    """Compares the sizes of the actions.

    Raises:
        ArtifactError: they differ.
    """
    if description.action_size != contract.action_size:
        parts = ", ".join(f"{term.name} {term.size}" for term in description.actions)
        raise ArtifactError(
            f"the network's action '{contract.outputs[0].name}' has {contract.action_size} elements; the terms of the "
            f"description have {description.action_size}: {parts}"
        )


def period(contract: Contract, description: Description) -> float | None:
    """The control period that contract and description state.

    Raises:
        ArtifactError: they state different ones.
    """
    ours, theirs = contract.period_s, description.period_s
    if ours is not None and theirs is not None and not math.isclose(ours, theirs, rel_tol=_SAME_PERIOD):
        raise ArtifactError(f"the network's contract says a control period of {ours} s, the description {theirs} s")
    return theirs if ours is None else ours


def _input(description: Description, terms: tuple[ObservationTerm, ...], tensor: TensorSpec) -> TensorSpec:
    names, units, limits = [], [], []
    for term, age in frames(description, terms):
        behind = f"[t-{age}]" if age else ""
        for i, element in enumerate(term.element_names):
            part = term.joint_names[i] if term.joint_names else element.rpartition(".")[2]
            names.append(f"{term.name}.{part}{behind}")
            # A scaled number is in no unit that has a name.
            units.append(term.units[i] if term.units and (not term.scale or term.scale[i] == 1.0) else "")
            limits.append(_limits(term, i))
    bounded = any(math.isfinite(end) for ends in limits for end in ends)
    return dataclasses.replace(
        tensor,
        element_names=tuple(names),
        units=tuple(units) if any(units) else (),
        low=tuple(low for low, _ in limits) if bounded else (),
        high=tuple(high for _, high in limits) if bounded else (),
    )


def _limits(term: ObservationTerm, i: int) -> Range:
    """The range of an element behind offset, clip and scale."""
    clip_low, clip_high = term.clip or (-math.inf, math.inf)
    scale = term.scale[i] if term.scale else 1.0
    before, behind = (scale, 1.0) if term.scale_first else (1.0, scale)
    ends = []
    for end in term.limits[i] if term.limits else (-math.inf, math.inf):
        value = _scaled(end - (term.offset[i] if term.offset else 0.0), before)
        ends.append(_scaled(min(max(value, clip_low), clip_high), behind))
    return min(ends), max(ends)


def _scaled(value: float, scale: float) -> float:
    # Zero times infinity would be NaN.
    return 0.0 if scale == 0.0 else value * scale
