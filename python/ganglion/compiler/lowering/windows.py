"""What a kernel sees of one axis, for convolutions and poolings: stride, dilation, padding, number of places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ganglion.compiler.lowering.site import Site


@dataclass(frozen=True)
class Window:
    """A kernel along one axis.

    Attributes:
        length: elements of the axis.
        kernel: elements of the kernel.
        stride: from place to place.
        dilation: from element to element of the kernel.
        before: elements of padding in front; a negative number crops.
        behind: elements of padding at the end, likewise.
        places: how often the kernel is laid on: the length of the result.
    """

    length: int
    kernel: int
    stride: int
    dilation: int
    before: int
    behind: int
    places: int

    def positions(self) -> NDArray[np.int64]:
        """`[places, kernel]`: where each element of the kernel lies; below 0 and from `length` on is padding."""
        starts = np.arange(self.places)[:, None] * self.stride - self.before
        return np.asarray(starts + np.arange(self.kernel) * self.dilation)


def windows(site: Site, spatial: tuple[int, ...], kernel: tuple[int, ...]) -> list[Window]:
    """The kernel along each axis, as the attributes of a convolution or a pooling say."""
    return [_window(site, spatial, kernel, axis) for axis in range(len(spatial))]


def along(site: Site, attribute: str, axis: int) -> int:
    """The element of a list attribute for one axis; one where the list is not given."""
    values = site.attribute(attribute, [])
    return int(values[axis]) if values else 1


def _window(site: Site, spatial: tuple[int, ...], kernels: tuple[int, ...], axis: int) -> Window:
    length, kernel = spatial[axis], kernels[axis]
    stride, dilation = along(site, "strides", axis), along(site, "dilations", axis)
    reach = dilation * (kernel - 1) + 1
    before, behind = _pads(site, length, reach, stride, axis)
    free = before + length + behind - reach
    if free < 0:
        raise site.refuse(f"the kernel is longer than the input of length {length}")
    places = free // stride + 1
    if site.attribute("ceil_mode", 0):
        places = -(-free // stride) + 1
        # The last place begins inside of the input or of the padding in front.
        places -= (places - 1) * stride >= length + before
    return Window(length, kernel, stride, dilation, before, behind, places)


def _pads(site: Site, length: int, reach: int, stride: int, axis: int) -> tuple[int, int]:
    """Padding before and behind one axis; ONNX lists those before all axes first."""
    mode = site.attribute("auto_pad", "NOTSET")
    if mode == "NOTSET":
        pads = site.attribute("pads", [])
        before, behind = pads[: len(pads) // 2], pads[len(pads) // 2 :]
        return (int(before[axis]), int(behind[axis])) if pads else (0, 0)
    if mode == "VALID":
        return 0, 0
    total = max((-(-length // stride) - 1) * stride + reach - length, 0)
    small, large = total // 2, total - total // 2
    return (small, large) if mode == "SAME_UPPER" else (large, small)
