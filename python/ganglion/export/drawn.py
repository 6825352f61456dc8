"""The runtime draws actions and maps them by the contract's `action_map`: it must do what the policy does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from ganglion.contract import distribution_of, drawn_parts
from ganglion.errors import ExportError
from ganglion.sampling import mapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ganglion.contract import Contract, TensorSpec
    from ganglion.policies import RecurrentPolicy

_TOLERANCE = 1e-5
_SIZES = np.concatenate([[0.0], np.geomspace(1e-3, 1e3, 61)])


def check_names(given: Sequence[TensorSpec], own: Sequence[TensorSpec]) -> None:
    """Refuses a contract whose names would let the runtime draw around another output than the policy does.

    Args:
        given: outputs of the contract.
        own: outputs of the policy, of the same sizes.

    Raises:
        ExportError: the contract has a distribution, but not that of the policy.
    """
    drawn = [(distribution_of(specs), _centre(specs), _parts(specs)) for specs in (given, own)]
    if drawn[0][0] is not None and drawn[0] != drawn[1]:
        said, actual = ([spec.name for spec in specs] for specs in (given, own))
        raise ExportError(
            f"the contract does not fit the policy: actions are drawn by the names of outputs: contract {said}, policy "
            f"{actual}; keep mean, log_std, logits, logits_0, ... and unmapped_mean where the policy has them"
        )


@torch.no_grad()
def check_map(policy: RecurrentPolicy, contract: Contract) -> None:
    """Tries the action map of a contract beside the policy that it was made from.

    Args:
        policy: a prepared policy.
        contract: its contract, with the golden trajectory.

    Raises:
        ExportError: `action_stages` are not what `as_command`, or the step from `unmapped_mean` to the action, does.
    """
    golden = contract.golden
    if contract.action_map is None or golden is None or not (contract.distribution or contract.previous_action):
        return
    is_index = contract.distribution == "categorical"
    values = np.arange(contract.outputs[1].size) if is_index else np.concatenate([-_SIZES, _SIZES])
    own = np.repeat(values[:, None], contract.action_size, 1).astype(np.float32)
    for part in drawn_parts(contract.outputs):
        if not part.is_normal:
            own[:, part.element] = np.arange(len(own)) % part.count
    _compare("as_command", policy.as_command(torch.from_numpy(own)).numpy(), mapped(contract.action_map, own))
    centre, size = _centre(contract.outputs), contract.action_size
    if centre > 0:
        rows = golden.outputs.reshape(-1, contract.output_size)
        found = mapped(contract.action_map, rows[:, centre : centre + size])
        _compare("forward", rows[:, :size], found)


def _parts(specs: Sequence[TensorSpec]) -> list[tuple[int, int]]:
    """The elements of a mixed action, and which output each is drawn from."""
    names = [spec.name for spec in specs]
    return [(part.element, names.index(part.output, 1)) for part in drawn_parts(specs)]


def _centre(specs: Sequence[TensorSpec]) -> int:
    """Where in the outputs side by side the mean stands that actions are drawn around."""
    offset = 0
    for spec in specs:
        if spec.name == "unmapped_mean":
            return offset
        offset += spec.size
    return 0


def _compare(name: str, expected: NDArray[np.float32], found: NDArray[np.float32]) -> None:
    if not np.allclose(found, expected, rtol=_TOLERANCE, atol=_TOLERANCE * float(np.abs(expected).max(initial=1.0))):
        raise ExportError(
            f"drawn actions would not become the commands that the policy makes of them: {name} of the policy differs "
            f"from its action_stages by up to {np.abs(found - expected).max():.3g}; make them say the same"
        )
