"""Every fault of the family, as a setting of the adapter that is not the one of training."""

from __future__ import annotations

from . import frames, orders, steps, values
from .base import Fault

__all__ = ["COMPOUND", "FAULTS", "Fault"]

FAULTS = (
    Fault("elements of a term swapped", ("permutation",), orders.swap, "order"),
    Fault("joints: random order", ("permutation",), orders.joint_order("random"), "order"),
    Fault("joints: alphabetical", ("permutation",), orders.joint_order("alphabetical"), "order"),
    Fault("joints: breadth-first / depth-first", ("permutation",), orders.joint_order("tree"), "order"),
    Fault("joints: other side first", ("permutation",), orders.joint_order("sides"), "order"),
    Fault("two terms swapped", ("permutation",), orders.terms_swapped, "order"),
    Fault("sign of a motor", ("sign",), values.sign_joint, "affine"),
    Fault("sign of elements", ("sign",), values.sign_elements, "affine"),
    Fault("scale never", ("scale",), values.scaled("never"), "affine"),
    Fault("scale twice", ("scale",), values.scaled("twice"), "affine"),
    Fault("scale, known factor", ("scale",), values.scaled("known"), "affine"),
    Fault("scale, unknown factor", ("scale",), values.scaled("unknown"), "affine"),
    Fault("scale of elements", ("scale",), values.scale_one, "affine"),
    Fault("degrees for radians", ("unit",), values.unit(False), "affine"),
    Fault("radians taken for degrees", ("unit",), values.unit(True), "affine"),
    Fault("default pose missing", ("offset",), values.default(0), "offset"),
    Fault("default pose doubled", ("offset",), values.default(2), "offset"),
    Fault("encoder offset", ("offset",), values.encoder, "offset"),
    Fault("clip missing", ("clip",), values.no_clip, "clip"),
    Fault("clip added", ("clip",), values.more_clip, "clip"),
    Fault("quaternion xyzw", ("quaternion_order",), frames.quaternion(scalar_last=True), "quaternion", quaternion=True),
    Fault(
        "quaternion conjugate",
        ("quaternion_conjugate",),
        frames.quaternion(conjugate=True),
        "quaternion",
        quaternion=True,
    ),
    Fault("quaternion w >= 0", ("sign",), frames.quaternion(cover="positive"), "quaternion", quaternion=True),
    Fault("quaternion negated", ("sign",), frames.quaternion(cover="flipped"), "quaternion", quaternion=True),
    Fault("fixed rotation, quarter turns", ("frame",), frames.mounted(True), "frame"),
    Fault("fixed rotation, any", ("frame",), frames.mounted(False), "frame"),
    Fault("world and body frame, orientation observed", ("frame",), frames.other_frame(True), "frame", quaternion=True),
    Fault("world and body frame, orientation not observed", ("frame",), frames.other_frame(False), "frame"),
    Fault("gravity negated", ("frame",), frames.up, "frame"),
    Fault("late by steps", ("lag",), steps.late, "lag"),
    Fault("previous action late", ("lag",), steps.action_late, "lag"),
    Fault("previous action scaled", ("scale",), steps.action_as("scaled"), "affine"),
    Fault("previous action as joint targets", ("scale", "offset"), steps.action_as("targets"), "affine"),
    Fault("previous action clipped", ("clip",), steps.action_clipped, "clip"),
    Fault("finite-difference velocity", ("lag",), steps.difference, "lag"),
    Fault("history newest first", ("history_order",), steps.history("order"), "history", frames=True),
    Fault("history frame-major / term-major", ("history_layout",), steps.history("layout"), "history", frames=True),
    Fault("history stride", ("history_layout",), steps.history("stride"), "history", frames=True),
    Fault("history one frame too many", ("history_layout",), steps.history("extra"), "history", frames=True),
    Fault("prefill zeros / first frame", ("prefill",), steps.history("prefill"), "history", frames=True),
    Fault("prefill partly", ("prefill",), steps.history("partly"), "history", frames=True),
    Fault("normaliser twice", ("double_normalised",), steps.normalised, "affine"),
)
COMPOUND = (
    Fault("joint order, default pose of another joint", ("permutation", "offset"), orders.default_unsorted, "order"),
)
"""Two faults that come together; they count among the pairs."""
