"""The head of a Gaussian policy: mean and log standard deviation of the actions."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ganglion.policies.dense import Dense, Initializer, Nonlinearity, register_vector


class GaussianHead(nn.Module):
    """Computes mean and log standard deviation of a diagonal Gaussian over actions.

        mean = nonlinearity(W features + b), log_std = a vector that does not depend on the features

    or, with `std_share_network`, both from one layer: its first half is the mean, its second half the log standard
    deviation, and the nonlinearity applies to both.

    Args:
        feature_size: number of features.
        action_size: number of elements of an action.
        nonlinearity: of the layer; None for linear.
        w_init: draws the weight `[outputs, features]`.
        b_init: draws the bias `[outputs]`.
        learn_std: train the vector `log_std`; without effect with `std_share_network`.
        std_share_network: compute the log standard deviation from the features.
        init_std: standard deviation at the start; without effect with `std_share_network`.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: `init_std` is not positive and finite, or an initialiser draws another shape.
    """

    log_std: Tensor | None

    def __init__(
        self,
        feature_size: int,
        action_size: int,
        nonlinearity: Nonlinearity | None = None,
        w_init: Initializer = nn.init.xavier_uniform_,
        b_init: Initializer = nn.init.zeros_,
        learn_std: bool = True,
        std_share_network: bool = False,
        init_std: float = 1.0,
    ) -> None:
        super().__init__()
        if not (math.isfinite(init_std) and init_std > 0.0):
            raise ValueError(f"init_std must be positive and finite, not {init_std}")
        outputs = 2 * action_size if std_share_network else action_size
        self.output = Dense(feature_size, outputs, w_init, b_init, nonlinearity)
        if std_share_network:
            self.register_parameter("log_std", None)
        else:
            register_vector(self, "log_std", action_size, learn_std)
        self._init_log_std = math.log(init_std)
        self._draw_log_std()

    def reset_parameters(self) -> None:
        """Draws all parameters again."""
        self.output.reset_parameters()
        self._draw_log_std()

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Maps features `[..., feature_size]` to mean and log standard deviation, `[..., action_size]` each."""
        output: Tensor = self.output(features)
        if self.log_std is None:
            mean, log_std = output.chunk(2, -1)
            return mean, log_std
        # A copy: whoever writes into an output must not reach the parameter.
        return output, self.log_std.expand_as(output).clone()

    def _draw_log_std(self) -> None:
        if self.log_std is not None:
            with torch.no_grad():
                self.log_std.fill_(self._init_log_std)
