"""Decoder layers that keep the keys and values of the last steps: a step costs the same, however long an episode is."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganglion.contract import StateSlot
from ganglion.policies.cores import Core
from ganglion.policies.kept import kept

_NEVER = -1e9
"""Score of a step that an episode has not had; finite, because no engine holds infinite numbers."""


@kept()
class DecoderLayer(Core):
    """One layer of a decoder whose attention sees the last `window` steps of an episode, the present one included.

        x = x + attention(norm(x));  x = x + linear2(relu(linear1(norm(x))))

    as `torch.nn.TransformerEncoderLayer(norm_first=True)` under a causal mask. Positions are relative: a learned number
    for every head and age, `position_bias`, is added to a score (Raffel et al. 2020, "Exploring the limits of transfer
    learning", section 2.1, with one bucket for each age); it starts at zero, which is no position at all.

    With `gated`, both sums are gates, and what enters them goes through a ReLU: Parisotto et al. 2020, "Stabilizing
    transformers for reinforcement learning", eq. 3 to 8 (their relative positions are those of Transformer-XL).

    Args:
        size: number of elements of an input, and of an output.
        num_heads: number of heads, a divisor of `size`.
        window: number of steps.
        feedforward_size: number of units between the two linear maps; None for `4 * size`.
        gated: gates in place of sums, as in GTrXL.

    Raises:
        ValueError: a number is below 1, or `size` is no multiple of `num_heads`.
    """

    _age: Tensor

    def __init__(
        self, size: int, num_heads: int, window: int, feedforward_size: int | None = None, gated: bool = False
    ) -> None:
        super().__init__()
        if min(size, num_heads, window) < 1 or size % num_heads:
            raise ValueError(
                f"DecoderLayer: needs a window of at least 1 and a size that is a multiple of num_heads, not {window}, "
                f"{size} and {num_heads}"
            )
        units = 4 * size if feedforward_size is None else feedforward_size
        self.input_size = self.output_size = size
        self.num_heads, self.window = num_heads, window
        self.norm1, self.norm2 = nn.LayerNorm(size), nn.LayerNorm(size)
        self.in_proj, self.out_proj = nn.Linear(size, 3 * size), nn.Linear(size, size)
        self.linear1, self.linear2 = nn.Linear(size, units), nn.Linear(units, size)
        self.gate1 = _Gate(size) if gated else None
        self.gate2 = _Gate(size) if gated else None
        # Oldest step first, as the keys lie.
        self.position_bias = nn.Parameter(torch.zeros(num_heads, window))
        self.register_buffer("_age", torch.arange(window - 1.0, -1.0, -1.0), persistent=False)

    @property
    def state_layout(self) -> tuple[StateSlot, ...]:
        """`keys` and `values` of older steps, `[window - 1, heads, n]`, the oldest first; how many are `seen`."""
        if self.window == 1:
            return ()
        shape = (self.window - 1, self.num_heads, self.input_size // self.num_heads)
        return StateSlot("keys", shape), StateSlot("values", shape), StateSlot("seen", (1,))

    def forward(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Runs one step; see `Core.forward`."""
        query, *newest = self.in_proj(self.norm1(x)).chunk(3, -1)
        memory, seen = self._unpacked(x, state)
        keys, values = (
            torch.cat((old, self._in_heads(new).unsqueeze(1)), 1) for old, new in zip(memory, newest, strict=True)
        )
        return self._layer(x, query, keys, values, seen), self._packed(keys[:, 1:], values[:, 1:], seen + 1.0)

    def sequence(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Runs all steps at once; see `Core.sequence`."""
        query, *newest = self.in_proj(self.norm1(x)).chunk(3, -1)
        memory, seen = self._unpacked(x[0], state)
        # [window - 1 + time, batch, heads, n]
        every = [torch.cat((old.transpose(0, 1), self._in_heads(new))) for old, new in zip(memory, newest, strict=True)]
        # One row for every step of every sequence.
        keys, values = (one.unfold(0, self.window, 1).movedim(-1, 2).flatten(0, 1) for one in every)
        before = (seen + torch.arange(len(x)).to(seen)[:, None, None]).flatten(0, 1)
        features = self._layer(x.flatten(0, 1), query.flatten(0, 1), keys, values, before)
        last_keys, last_values = (one[len(x) :].transpose(0, 1) for one in every)
        return features.view_as(x), self._packed(last_keys, last_values, seen + float(len(x)))

    def reset_parameters(self) -> None:
        """Draws all parameters again, as `nn.Linear` and `nn.LayerNorm` do, and forgets the positions."""
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.LayerNorm)):
                module.reset_parameters()
        for gate in (self.gate1, self.gate2):
            if gate is not None:
                nn.init.constant_(gate.bias, 2.0)
        nn.init.zeros_(self.position_bias)

    def _layer(self, x: Tensor, query: Tensor, keys: Tensor, values: Tensor, seen: Tensor) -> Tensor:
        """The whole layer for rows `[batch, size]`, with keys and values `[batch, window, heads, n]` of its steps."""
        scores = self._in_heads(query).unsqueeze(2) @ keys.permute(0, 2, 3, 1)
        scores = scores * (keys.shape[-1] ** -0.5) + self.position_bias.unsqueeze(1)
        # The number of older steps may count on beyond the window.
        scores = torch.where(self._age <= seen[:, :, None, None], scores, _NEVER)
        attended = (scores.softmax(-1) @ values.transpose(1, 2)).flatten(1)
        x = _joined(self.gate1, x, self.out_proj(attended))
        return _joined(self.gate2, x, self.linear2(torch.relu(self.linear1(self.norm2(x)))))

    def _in_heads(self, x: Tensor) -> Tensor:
        return torch.unflatten(x, -1, (self.num_heads, -1))

    def _unpacked(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[list[Tensor], Tensor]:
        """Older keys and values `[batch, window - 1, heads, n]`, and how many there are `[batch, 1]`."""
        if self.window == 1:
            nothing = self._in_heads(x).unsqueeze(1)[:, :0]
            return [nothing, nothing], torch.zeros_like(x[:, :1])
        *flat, seen = state
        return [torch.unflatten(one, -1, self.state_layout[0].shape) for one in flat], seen

    def _packed(self, keys: Tensor, values: Tensor, seen: Tensor) -> tuple[Tensor, ...]:
        if self.window == 1:
            return ()
        return keys.flatten(1), values.flatten(1), seen.clamp(max=self.window - 1.0)


class _Gate(nn.Module):
    """Computes `(1 - z) x + z h` like a GRU whose state is `x`; nearly `x` at first, for `bias` starts at two."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.of_y = nn.Linear(size, 3 * size, bias=False)
        self.of_x = nn.Linear(size, 2 * size, bias=False)
        self.of_reset = nn.Linear(size, size, bias=False)
        self.bias = nn.Parameter(torch.full((size,), 2.0))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Joins a stream `x` and what a block made of it, `[batch, size]` each."""
        reset_y, update_y, candidate_y = self.of_y(y).chunk(3, -1)
        reset_x, update_x = self.of_x(x).chunk(2, -1)
        reset, update = torch.sigmoid(reset_y + reset_x), torch.sigmoid(update_y + update_x - self.bias)
        return (1.0 - update) * x + update * torch.tanh(candidate_y + self.of_reset(reset * x))


def _joined(gate: nn.Module | None, x: Tensor, y: Tensor) -> Tensor:
    if gate is None:
        return x + y
    joined: Tensor = gate(x, torch.relu(y))
    return joined
