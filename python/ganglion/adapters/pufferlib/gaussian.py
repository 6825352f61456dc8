"""PufferLib's continuous actors: a mean, and a standard deviation that depends on nothing."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from ganglion.contract import TensorSpec
from ganglion.policies.layered import LayeredPolicy

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ganglion.data.env_spec import EnvSpec


class GaussianLayeredPolicy(LayeredPolicy):
    """A `LayeredPolicy` whose outputs are `mean` and `log_std`, of which the runtime can draw.

    Args:
        spec: spaces of the environment.
        head: maps the features to the mean.
        log_std: logarithms of the standard deviations, `[actions]`.
        recurrent: see `LayeredPolicy`.
        encoder: see `LayeredPolicy`.
    """

    log_std: Tensor

    def __init__(
        self,
        spec: EnvSpec,
        head: nn.Module,
        log_std: Tensor,
        recurrent: nn.RNNBase | None = None,
        encoder: nn.Module | None = None,
    ) -> None:
        super().__init__(spec, head, recurrent, encoder)
        self.register_buffer("log_std", log_std.clone())

    @property
    def output_specs(self) -> tuple[TensorSpec, ...]:
        """`mean`, with names and bounds of the action space (it is not clipped to them), and `log_std`."""
        (action,) = super().output_specs
        return dataclasses.replace(action, name="mean"), TensorSpec("log_std", action.size, action.element_names)

    def _heads(self, features: Tensor) -> tuple[Tensor, ...]:
        mean: Tensor = self.head(features)
        return mean, self.log_std.expand_as(mean)
