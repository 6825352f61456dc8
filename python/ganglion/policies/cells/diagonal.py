"""LRU and S5: linear recurrences with a complex number for each state, which training runs over all steps at once."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganglion.contract import StateSlot
from ganglion.policies.cells.scan import scan
from ganglion.policies.cores import Core
from ganglion.policies.kept import kept


class _Complex(NamedTuple):
    """Real and imaginary parts; no engine of a control loop computes with complex numbers."""

    real: Tensor
    imaginary: Tensor

    def times(self, other: _Complex) -> _Complex:
        """The complex product, element by element."""
        return _Complex(
            self.real * other.real - self.imaginary * other.imaginary,
            self.real * other.imaginary + self.imaginary * other.real,
        )


class DiagonalStateSpace(Core):
    """What both share: `h' = a h + B x`, `y = s Re(C h') + D x` ; `a`, `B`, `C` complex, `D` real.

    Args:
        size: number of elements of an input, and of an output.
        state_size: number of complex states.
        scale: `s`.
    """

    def __init__(self, size: int, state_size: int, scale: float) -> None:
        super().__init__()
        self.input_size = self.output_size = size
        self.state_size = state_size
        self.scale = scale
        self.B_real, self.B_imaginary = (nn.Parameter(torch.empty(state_size, size)) for _ in range(2))
        self.C_real, self.C_imaginary = (nn.Parameter(torch.empty(size, state_size)) for _ in range(2))
        self.D = nn.Parameter(torch.empty(size))

    @property
    def state_layout(self) -> tuple[StateSlot, ...]:
        """The slots `h_real` and `h_imaginary`, `[states]` each."""
        return StateSlot("h_real", (self.state_size,)), StateSlot("h_imaginary", (self.state_size,))

    @abstractmethod
    def _recurrence(self) -> tuple[_Complex, _Complex]:
        """`a [states]` and the factor `[states]` of `B` in a step."""
        raise NotImplementedError

    def forward(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Runs one step; see `Core.forward`."""
        a, term = self._factor_and_term(x)
        kept = a.times(_Complex(*state))
        h = _Complex(kept.real + term.real, kept.imaginary + term.imaginary)
        return self._output(h, x), tuple(h)

    def sequence(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Runs all steps at once; see `Core.sequence`."""
        a, term = (torch.complex(*pair) for pair in self._factor_and_term(x))
        h = scan(a, term, torch.complex(*state))
        return self._output(_Complex(h.real, h.imag), x), (h[-1].real, h[-1].imag)

    def _factor_and_term(self, x: Tensor) -> tuple[_Complex, _Complex]:
        a, factor = self._recurrence()
        return a, factor.times(_Complex(functional.linear(x, self.B_real), functional.linear(x, self.B_imaginary)))

    def _output(self, h: _Complex, x: Tensor) -> Tensor:
        seen = functional.linear(h.real, self.C_real) - functional.linear(h.imaginary, self.C_imaginary)
        return self.scale * seen + self.D * x


@kept()
class LRU(DiagonalStateSpace):
    """Linear recurrent unit: `h' = a h + g B x` with `a = exp(-exp(nu) + i exp(theta))`, `g = exp(gamma)`.

    Orvieto, Smith, Gu, Fernando, Gulcehre, Pascanu and De 2023, "Resurrecting recurrent neural networks for long
    sequences", section 3 and appendix A.

    Args:
        size: number of elements of an input, and of an output.
        state_size: number of complex states.
        smallest: smallest `|a|` that is drawn.
        largest: largest `|a|` that is drawn.
        largest_phase: largest angle of `a` that is drawn, in rad.

    Raises:
        ValueError: not `0 <= smallest < largest < 1`.
    """

    def __init__(
        self,
        size: int,
        state_size: int,
        smallest: float = 0.0,
        largest: float = 0.99,
        largest_phase: float = 2.0 * math.pi,
    ) -> None:
        super().__init__(size, state_size, scale=1.0)
        if not 0.0 <= smallest < largest < 1.0:
            raise ValueError(f"LRU: needs 0 <= smallest < largest < 1, not {smallest} and {largest}")
        self._ring = smallest, largest, largest_phase
        self.nu_log, self.theta_log, self.gamma_log = (nn.Parameter(torch.empty(state_size)) for _ in range(3))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draws all parameters again: `a` uniform in a ring, `g` such that states are as large as inputs."""
        smallest, largest, phase = self._ring
        square = torch.rand(self.state_size) * (largest**2 - smallest**2) + smallest**2
        self.nu_log.copy_((-0.5 * square.log()).log())
        self.theta_log.copy_((phase * torch.rand(self.state_size)).log())
        self.gamma_log.copy_((1.0 - square).sqrt().log())
        for weight in (self.B_real, self.B_imaginary):
            nn.init.normal_(weight, std=(2.0 * self.input_size) ** -0.5)
        for weight in (self.C_real, self.C_imaginary):
            nn.init.normal_(weight, std=self.state_size**-0.5)
        nn.init.normal_(self.D)

    def _recurrence(self) -> tuple[_Complex, _Complex]:
        size, angle = torch.exp(-torch.exp(self.nu_log)), torch.exp(self.theta_log)
        factor = torch.exp(self.gamma_log)
        return _Complex(size * torch.cos(angle), size * torch.sin(angle)), _Complex(factor, torch.zeros_like(factor))


@kept()
class S5(DiagonalStateSpace):
    """Simplified state space layer: `h' = exp(L d) h + (exp(L d) - 1) / L B x`, `y = 2 Re(C h') + D x`.

    `d` is `exp(log_step)`. `L` is one half of a spectrum that is symmetric about the real axis, hence the 2; an input
    is held for a step.

    Smith, Warrington and Linderman 2023, "Simplified state space layers for sequence modeling", sections 3.1 to 3.3 and
    appendix B.

    Args:
        size: number of elements of an input, and of an output.
        state_size: number of complex states.
        smallest_step: smallest `d` that is drawn.
        largest_step: largest `d` that is drawn.

    Raises:
        ValueError: not `0 < smallest_step < largest_step`.
    """

    def __init__(self, size: int, state_size: int, smallest_step: float = 0.001, largest_step: float = 0.1) -> None:
        super().__init__(size, state_size, scale=2.0)
        if not 0.0 < smallest_step < largest_step:
            raise ValueError(f"S5: needs 0 < smallest_step < largest_step, not {smallest_step} and {largest_step}")
        self._steps = smallest_step, largest_step
        self.L_real, self.L_imaginary, self.log_step = (nn.Parameter(torch.empty(state_size)) for _ in range(3))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draws all parameters again: `L` is the normal part of HiPPO-LegS, `d` is uniform in its logarithm."""
        spectrum, vectors = _hippo_normal(2 * self.state_size)
        spectrum, vectors = spectrum[: self.state_size], vectors[:, : self.state_size]
        smallest, largest = map(math.log, self._steps)
        self.log_step.copy_(smallest + (largest - smallest) * torch.rand(self.state_size))
        entering = vectors.mH @ (torch.randn(len(vectors), self.input_size) * self.input_size**-0.5).to(vectors)
        leaving = torch.randn(self.output_size, len(vectors), dtype=vectors.dtype) * len(vectors) ** -0.5 @ vectors
        for name, values in (("L", spectrum), ("B", entering), ("C", leaving)):
            getattr(self, f"{name}_real").copy_(values.real)
            getattr(self, f"{name}_imaginary").copy_(values.imag)
        nn.init.normal_(self.D)

    def _recurrence(self) -> tuple[_Complex, _Complex]:
        step = torch.exp(self.log_step)
        size, angle = torch.exp(self.L_real * step), self.L_imaginary * step
        a = _Complex(size * torch.cos(angle), size * torch.sin(angle))
        square = self.L_real**2 + self.L_imaginary**2
        inverse = _Complex(self.L_real / square, -self.L_imaginary / square)
        return a, _Complex(a.real - 1.0, a.imaginary).times(inverse)


def _hippo_normal(size: int) -> tuple[Tensor, Tensor]:
    """Eigenvalues, below the real axis first, and eigenvectors of the normal part of HiPPO-LegS; appendix B.1.1."""
    steps = torch.arange(size, dtype=torch.float64)
    root = (1.0 + 2.0 * steps).sqrt()
    hippo = -((root[:, None] * root).tril() - steps.diag())
    low_rank = (steps + 0.5).sqrt()
    normal = hippo + low_rank[:, None] * low_rank
    # Skew-symmetric but for its diagonal, which is -1/2.
    imaginary, vectors = torch.linalg.eigh(normal.to(torch.complex128) * -1j)
    return torch.complex(normal.diagonal().mean().expand(size), imaginary), vectors
