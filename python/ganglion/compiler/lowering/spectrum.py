"""Lowers Fourier transforms: products with a known matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ganglion.compiler.builder import Symbol, Tensor
from ganglion.compiler.lowering.linear import product
from ganglion.compiler.lowering.site import Site, lowers

if TYPE_CHECKING:
    from numpy.typing import NDArray


@lowers("DFT")
def _dft(site: Site) -> Tensor:
    x = site.symbol(0)
    axis = site.integers(2, "axis")[0] if site.has(2) else site.attribute("axis", -2 if site.opset >= 20 else 1)
    axis = site.axis(axis, len(x.shape))
    if axis == len(x.shape) - 1:
        raise site.refuse("its axis is the one of the real and imaginary parts")
    length = site.integers(1, "dft_length")[0] if site.has(1) else x.shape[axis]
    inverse, onesided = bool(site.attribute("inverse", 0)), bool(site.attribute("onesided", 0))
    if inverse and onesided:
        raise site.refuse("an inverse transform of one side only (onesided) is not supported")
    return _transformed(site, x, axis, length, inverse=inverse, onesided=onesided)


def _transformed(site: Site, x: Symbol, axis: int, length: int, *, inverse: bool, onesided: bool) -> Tensor:
    kept = min(length, x.shape[axis])
    parts = x.shape[-1]
    address = np.moveaxis(x.address, axis, -2)[..., :kept, :]
    rows = Symbol(address.reshape(*address.shape[:-2], kept * parts))
    matrix = _matrix(length, inverse=inverse)[:kept]
    matrix = matrix[:, : length // 2 + 1] if onesided else matrix
    # A real number times e, and i times e, as real and imaginary parts.
    both = np.stack((matrix, 1j * matrix), axis=1)[:, :parts].reshape(kept * parts, -1)
    weight = np.stack((both.real, both.imag), axis=-1).reshape(kept * parts, -1).astype(np.float32)
    found = product(site, rows, weight)
    assert isinstance(found, Symbol)
    return Symbol(np.moveaxis(found.address.reshape(*found.shape[:-1], -1, 2), -2, axis))


def _matrix(length: int, *, inverse: bool) -> NDArray[np.complex128]:
    unit = np.eye(length)
    return np.asarray(np.fft.ifft(unit) if inverse else np.fft.fft(unit))


@lowers("STFT")
def _stft(site: Site) -> Tensor:
    x = site.symbol(0)
    step = site.integers(1, "frame_step")[0]
    window = site.array(2, "window").astype(np.float32) if site.has(2) else None
    size = site.integers(3, "frame_length")[0] if site.has(3) else x.shape[1]
    size = len(window) if window is not None else size
    starts = np.arange((x.shape[1] - size) // step + 1) * step
    frames = Symbol(x.address[:, starts[:, None] + np.arange(size)])  # [batch, frames, size, parts]
    if window is not None:
        frames = site.binary("mul", frames, window[:, None])  # type: ignore[assignment]
    onesided = bool(site.attribute("onesided", 1)) and x.shape[-1] == 1
    return _transformed(site, frames, 2, size, inverse=False, onesided=onesided)
