"""Histories of observations as parts of a policy: the caller hands in one frame, the network sees several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ganglion._foundation.frame_windows import LAYOUTS, ORDERS, PREFILLS, FrameWindow, FrameWindows, frames
from ganglion.contract import StateSlot
from ganglion.policies._tensors import check_last_axis
from ganglion.policies.cores import Core
from ganglion.policies.kept import kept

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ganglion._foundation.frame_windows import Layout, Order, Prefill


@kept()
@dataclass(frozen=True)
class StackTerm:
    """A part of the observation, and the frames of it that a network sees.

    Attributes:
        name: names its state slot, `<name>_history`.
        size: number of elements of a frame.
        length: number of frames, the newest included; 1 for no history.
        stride: steps between two of them.

    Raises:
        TypeError: a number is no int.
        ValueError: a number is below 1, or the name is empty.
    """

    name: str
    size: int
    length: int = 1
    stride: int = 1

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a term of an observation needs a name")
        for label in ("size", "length", "stride"):
            value = getattr(self, label)
            if type(value) is not int:
                raise TypeError(f"term '{self.name}': {label} must be an int, not {value!r}")
            if value < 1:
                raise ValueError(f"term '{self.name}': {label} must be at least 1, not {value}")


@kept()
class ObservationStack(Core):
    """Terms side by side, each with the history of its own that a network was trained on.

    A frame goes in, `[batch, sum of sizes]` in the order of the terms; out come all frames that the network sees. What
    is older than the frame is state: a slot `<term>_history` for every term with more than one frame, `[frames * size]`
    with the oldest frame first, and, where a reset shall repeat the first frame, `history_started`, 0 until there was
    one.

    Args:
        terms: in the order of the frame.
        order: which frame of a history comes first.
        layout: `"term_major"`: all frames of a term stand together; `"frame_major"`: all terms of a frame, and then
            those of the next one.
        prefill: what is older than the first frame behind a reset: that frame again (`"repeat_first"`, as in Isaac
            Lab) or zeros.

    Raises:
        TypeError: a term is no `StackTerm`.
        ValueError: there is no term, a name appears twice, a word is none of those above, or whole frames are asked for
            of terms with different histories.
    """

    def __init__(
        self,
        terms: Sequence[StackTerm],
        *,
        order: Order = "oldest_first",
        layout: Layout = "term_major",
        prefill: Prefill = "repeat_first",
    ) -> None:
        super().__init__()
        owner = type(self).__name__
        _check(owner, terms, layout)
        for label, word, known in (
            ("order", order, ORDERS),
            ("layout", layout, LAYOUTS),
            ("prefill", prefill, PREFILLS),
        ):
            if word not in known:
                raise ValueError(f"{owner}: {label} must be {' or '.join(map(repr, known))}, not {word!r}")
        self.terms = tuple(terms)
        self.order, self.layout, self.prefill = order, layout, prefill
        windows = [FrameWindow(term.size, term.length, term.stride) for term in terms]
        self._windows = FrameWindows(windows)
        self._frames = frames(windows, order, layout)
        self._repeats = prefill == "repeat_first" and bool(self._windows.kept)
        self.input_size = self._windows.frame_size
        self.output_size = sum(term.size * term.length for term in terms)
        seen = np.concatenate([self._windows.place(*frame) for frame in self._frames])
        self._register("seen", seen)
        for number, history in enumerate(self._windows.kept):
            self._register(f"first_frame_{number}", history.first_frame)
            self._register(f"next_{number}", history.next)

    @property
    def state_layout(self) -> tuple[StateSlot, ...]:
        """A slot for every term that has a history, and `history_started`."""
        slots = [StateSlot(f"{self.terms[kept.window].name}_history", (kept.size,)) for kept in self._windows.kept]
        return (*slots, *((StateSlot("history_started", (1,)),) if self._repeats else ()))

    @property
    def element_names(self) -> tuple[str, ...]:
        """Names of the elements of a frame, `<term>.0` and so on; none where there is one term."""
        if len(self.terms) == 1:
            return ()
        return tuple(f"{term.name}.{index}" for term in self.terms for index in range(term.size))

    def forward(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Takes one frame; see `Core.forward`.

        Raises:
            TypeError: `x` is no tensor.
            ValueError: its last axis has another size than a frame.
        """
        check_last_axis(type(self).__name__, x, self.input_size)
        older, flags = self._older(x, state)
        pool = torch.cat((x, *older), -1)
        kept = tuple(pool.index_select(-1, self._buffer(f"next_{number}")) for number in range(len(older)))
        return pool.index_select(-1, self._buffer("seen")), (*kept, *flags)

    def sequence(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Takes many frames at once; see `Core.sequence`."""
        check_last_axis(type(self).__name__, x, self.input_size)
        older, flags = self._older(x[0], state)
        # Every term with its older frames in front, [time, batch, size].
        every = list(torch.split(x, [term.size for term in self.terms], -1))
        for history, rows in zip(self._windows.kept, older, strict=True):
            newest = every[history.window]
            frames_of_rows = rows.reshape(len(rows), -1, newest.shape[-1]).transpose(0, 1)
            every[history.window] = torch.cat((frames_of_rows, newest))
        steps = len(x)
        seen = [every[number][len(every[number]) - steps - age :][:steps] for number, age in self._frames]
        kept = [every[history.window][steps:].transpose(0, 1).flatten(1) for history in self._windows.kept]
        return torch.cat(seen, -1), (*kept, *flags)

    def reset_parameters(self) -> None:
        """Does nothing: there are none."""

    def extra_repr(self) -> str:
        """Text of the settings for `repr`."""
        terms = ", ".join(f"{t.name} {t.size} x {t.length}" + (f" / {t.stride}" * (t.stride > 1)) for t in self.terms)
        return f"{terms}, {self.order}, {self.layout}, {self.prefill}"

    def _older(self, first: Tensor, state: tuple[Tensor, ...]) -> tuple[list[Tensor], tuple[Tensor, ...]]:
        """The older frames of each history `[batch, n]`, and what becomes of the flag."""
        if not self._repeats:
            return list(state), ()
        *older, started = state
        filled = [
            torch.where(started > 0.5, rows, first.index_select(-1, self._buffer(f"first_frame_{number}")))
            for number, rows in enumerate(older)
        ]
        # Made from the flag itself, so that an exported file has as many rows.
        return filled, (started.clamp(1.0, 1.0),)

    def _register(self, name: str, index: NDArray[np.int64]) -> None:
        self.register_buffer(f"_{name}", torch.from_numpy(index), persistent=False)

    def _buffer(self, name: str) -> Tensor:
        buffer: Tensor = getattr(self, f"_{name}")
        return buffer


@kept()
class ObservationHistory(ObservationStack):
    """The last frames of an observation; an `ObservationStack` whose terms have one history.

    Args:
        size: number of elements of a frame; or a mapping from the names of its terms to their sizes, in order.
        length: number of frames, the newest included.
        stride: steps between two of them.
        order: see `ObservationStack`.
        layout: see `ObservationStack`; without terms both are the same.
        prefill: see `ObservationStack`.

    Raises:
        TypeError: a number is no int.
        ValueError: see `ObservationStack`.
    """

    def __init__(
        self,
        size: int | Mapping[str, int],
        length: int,
        stride: int = 1,
        *,
        order: Order = "oldest_first",
        layout: Layout = "term_major",
        prefill: Prefill = "repeat_first",
    ) -> None:
        sizes = size if isinstance(size, Mapping) else {"obs": size}
        terms = [StackTerm(name, elements, length, stride) for name, elements in sizes.items()]
        super().__init__(terms, order=order, layout=layout, prefill=prefill)


def _check(owner: str, terms: Sequence[StackTerm], layout: str) -> None:
    for term in terms:
        if not isinstance(term, StackTerm):
            raise TypeError(f"{owner}: a term must be a StackTerm, not {type(term).__name__}")
    names = [term.name for term in terms]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"{owner}: needs at least one term, each with a name of its own; got {names}")
    if layout == "frame_major" and len({(term.length, term.stride) for term in terms}) > 1:
        found = {term.name: (term.length, term.stride) for term in terms}
        raise ValueError(f"{owner}: whole frames need one length and one stride for all terms; found {found}")
