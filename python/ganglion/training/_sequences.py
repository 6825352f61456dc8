"""Cuts episodes into sequences that are short enough to be back-propagated through, and draws minibatches of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ganglion.policies import RecurrentPolicy


class Sequences(NamedTuple):
    """Sequences of steps that lie behind each other in arrays `[N, ...]`.

    Attributes:
        starts: `[S]` first step of each.
        lengths: `[S]` number of steps of each.
    """

    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]

    @property
    def steps(self) -> Tensor:
        """`[sum of lengths]` indices of all steps, sequence by sequence."""
        ends = np.cumsum(self.lengths)
        return torch.from_numpy(np.arange(ends[-1]) + np.repeat(self.starts - (ends - self.lengths), self.lengths))


def cut(lengths: NDArray[np.int64], longest: int | None) -> Sequences:
    """Cuts episodes of `lengths` into sequences of at most `longest` steps; None leaves them whole."""
    ends = np.cumsum(lengths, dtype=np.int64)
    starts = ends - lengths
    if longest is None:
        return Sequences(starts, lengths.astype(np.int64))
    parts = [np.arange(start, end, longest) for start, end in zip(starts, ends, strict=True)]
    firsts = np.concatenate(parts)
    stops = np.repeat(ends, [len(part) for part in parts])
    return Sequences(firsts, np.minimum(longest, stops - firsts))


def minibatches(sequences: Sequences, count: int) -> Iterator[Sequences]:
    """Draws an order of the sequences and deals them out in `count` parts of about as many steps; fewer if too few.

    The order comes from PyTorch's global generator.
    """
    order = torch.randperm(len(sequences.starts)).numpy()
    before = np.cumsum(sequences.lengths[order]) - sequences.lengths[order]
    part_of = before * count // int(sequences.lengths.sum())
    for part in np.unique(part_of):
        chosen = order[part_of == part]
        yield Sequences(sequences.starts[chosen], sequences.lengths[chosen])


@torch.no_grad()
def run_along(policy: RecurrentPolicy, observations: Tensor, lengths: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Steps a policy through episodes, all of them side by side.

    Args:
        policy: the policy.
        observations: `[N, observation_size]`, episode by episode.
        lengths: `[E]` steps of each episode.

    Returns:
        The first output `[N, size]`, and the hidden states `[N, hidden_size]` that the steps were fed.
    """
    order = np.argsort(-lengths, kind="stable")
    starts = (np.cumsum(lengths) - lengths)[order]
    descending = lengths[order]
    hidden = policy.init_hidden(len(lengths))
    outputs = hidden.new_empty(len(observations), policy.output_specs[0].size)
    hidden_states = hidden.new_empty(len(observations), policy.hidden_size)
    if policy.hidden_size == 0:
        return policy(observations, hidden_states)[0], hidden_states
    for time in range(int(descending[0])):
        running = int(np.searchsorted(-descending, -time, side="left"))
        steps = torch.from_numpy(starts[:running] + time)
        hidden_states[steps] = hidden[:running]
        output, *_, hidden = policy(observations[steps], hidden[:running])
        outputs[steps] = output
    return outputs, hidden_states
