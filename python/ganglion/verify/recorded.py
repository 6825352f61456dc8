"""What was recorded, as one more run of the same trajectory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ganglion.errors import ArtifactError
from ganglion.verify.steppers.base import Run

if TYPE_CHECKING:
    from ganglion.contract import Contract
    from ganglion.verify.trajectory import Trajectory


def recorded_run(trajectory: Trajectory, reference: Run, contract: Contract) -> Run | None:
    """Returns the recorded actions and, where they were recorded, states; None for a trajectory without actions.

    A recorded state is the one that a step was fed, so it is what the step before must leave behind. Nothing is known
    of what the last step of an episode left; there the state of the reference stands in.

    Raises:
        ArtifactError: actions or states have another size than in the contract, or an episode does not begin in the
            initial state, as all runs here do.
    """
    if trajectory.actions is None:
        return None
    action = contract.outputs[0]
    if trajectory.actions.shape[2] != action.size:
        raise ArtifactError(
            f"{trajectory.source}: the recorded actions have {trajectory.actions.shape[2]} elements a step; output "
            f"'{action.name}' of the file has {action.size}"
        )
    fed, states = trajectory.states, reference.state
    if fed is not None and fed.shape[2] != contract.hidden_size:
        raise ArtifactError(
            f"{trajectory.source}: the recorded hidden_states have {fed.shape[2]} elements; the state of the file has "
            f"{contract.hidden_size}"
        )
    if fed is not None and states is not None:
        begins = trajectory.reset.copy()
        begins[0] = True
        initial = np.asarray(contract.initial_state, dtype=np.float32)
        if not np.allclose(fed[begins], initial, rtol=0.0, atol=1e-6):
            raise ArtifactError(
                f"{trajectory.source}: a recorded episode does not begin in the initial state of the file, so its "
                "actions cannot be compared; record whole episodes, from reset()"
            )
        states = states.copy()
        goes_on = ~begins[1:, :, None]
        states[:-1] = np.where(goes_on, fed[1:], states[:-1])
    elif fed is None:
        states = None
    return Run("recording", {action.name: trajectory.actions}, states)
