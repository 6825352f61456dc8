"""The recurrent state-space model of Dreamer as a policy: a GRU and a discrete latent that sees the observation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganglion.contract import StateSlot, TensorSpec
from ganglion.policies._modules import reset_parameters
from ganglion.policies.base import RecurrentPolicy
from ganglion.policies.kept import kept

if TYPE_CHECKING:
    from ganglion.data.env_spec import EnvSpec


@kept()
class RSSMPolicy(RecurrentPolicy):
    """Acts on the state that a world model infers: `head([h', z'])`.

        h' = GRU(elu(W [z, a]), h)                                   deterministic state; a: the action before
        p  = (1 - u) softmax(posterior([h', encoder(obs)])) + u / classes
        z' = one-hot of argmax(log p + noise), one for each categorical

    Hafner et al. 2021, "Mastering Atari with discrete world models", section 2 and algorithm 1 (gradients pass straight
    through `z'` to `p`); `u` is that of Hafner et al. 2023, "Mastering diverse domains through world models".

    A function without side effects draws nothing, so a sample is made of noise that the caller draws: with
    `latent="sample"` there is a second input, `noise`, and standard Gumbel numbers there make `z'` a sample of `p`
    (Gumbel 1954, "Statistical theory of extreme values", the Gumbel-max trick); zeros make it the mode.

    Args:
        spec: spaces of the environment.
        encoder: maps the observation `[batch, observation_size]` to `[batch, n]`.
        head: maps `[batch, hidden_size + num_categoricals * num_classes]` to the action `[batch, action_size]`.
        hidden_size: number of units of the GRU.
        num_categoricals: number of categorical variables.
        num_classes: number of classes of each.
        latent: `"mode"` or `"sample"`.
        uniform: `u`.

    Raises:
        TypeError: a part is no module.
        ValueError: `latent` is neither, or `uniform` is not in `[0, 1)`.
    """

    name = "rssm"
    _classes: Tensor

    def __init__(
        self,
        spec: EnvSpec,
        encoder: nn.Module,
        head: nn.Module,
        hidden_size: int,
        num_categoricals: int = 32,
        num_classes: int = 32,
        latent: Literal["mode", "sample"] = "mode",
        uniform: float = 0.01,
    ) -> None:
        super().__init__(spec)
        for label, part in (("encoder", encoder), ("head", head)):
            if not isinstance(part, nn.Module):
                raise TypeError(f"RSSMPolicy: {label} must be a torch.nn.Module, not {type(part).__name__}")
        if latent not in ("mode", "sample"):
            raise ValueError(f"RSSMPolicy: latent must be 'mode' or 'sample', not {latent!r}")
        if not 0.0 <= uniform < 1.0:
            raise ValueError(f"RSSMPolicy: uniform must be in [0, 1), not {uniform}")
        self.latent, self.uniform = latent, uniform
        self._units = hidden_size
        self._latent_shape = num_categoricals, num_classes
        size = num_categoricals * num_classes
        self.register_buffer("_classes", torch.arange(num_classes), persistent=False)
        self.encoder, self.head = encoder, head
        self.enter = nn.Linear(size + spec.action_size, hidden_size)
        self.gru = nn.GRUCell(hidden_size, hidden_size)
        with torch.no_grad():
            reference = next(encoder.parameters(), self.enter.weight)
            embedded = encoder(reference.new_zeros(2, spec.observation_size))
        self.posterior = nn.Linear(hidden_size + embedded.shape[1], size)

    @property
    def state_layout(self) -> tuple[StateSlot, ...]:
        """`h [1, units]`, `z [categoricals, classes]` and `prev_action`."""
        return (
            StateSlot("h", (1, self._units)),
            StateSlot("z", self._latent_shape),
            StateSlot("prev_action", (self.env_spec.action_size,)),
        )

    @property
    def input_specs(self) -> tuple[TensorSpec, ...]:
        """The observation, and `noise` where the latent is a sample."""
        noise = TensorSpec("noise", self._latent_shape[0] * self._latent_shape[1])
        return (*super().input_specs, *((noise,) if self.latent == "sample" else ()))

    def forward(self, obs: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, ...]:
        """Runs one step; see `RecurrentPolicy.forward`."""
        rows, hidden_rows = self._as_batch(obs, hidden)
        observation, *noise = torch.split(rows, [spec.size for spec in self.input_specs], -1)
        h, z_and_action = torch.split(hidden_rows, [self._units, self.hidden_size - self._units], -1)
        h = self.gru(functional.elu(self.enter(z_and_action)), h)
        logits = torch.unflatten(self.posterior(torch.cat((h, self.encoder(observation)), -1)), -1, self._latent_shape)
        p = (1.0 - self.uniform) * logits.softmax(-1) + self.uniform / self._latent_shape[1]
        scores = p if not noise else p.log() + torch.unflatten(noise[0], -1, self._latent_shape)
        # torch's own one_hot looks at the values that it gets.
        one_hot = (scores.argmax(-1, keepdim=True) == self._classes).to(p.dtype)
        if p.requires_grad:
            one_hot = one_hot + p - p.detach()
        z = one_hot.flatten(1)
        action = self.head(torch.cat((h, z), -1))
        return self._as_given(obs, (action, torch.cat((h, z, action), -1)))

    def _draw_param(self) -> None:
        reset_parameters(self.modules())
