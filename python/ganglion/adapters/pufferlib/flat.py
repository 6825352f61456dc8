"""Weights without names, one number behind the other, as PufferLib's C code reads them.

Version 3: what `puffer export` writes, all parameters of the policy in the order of torch (`pufferlib/pufferl.py`).
Version 4: the checkpoints of its trainer in CUDA, as `src/puffernet.h` at 8e3e7546 reads them: each array begins at a
multiple of 8 numbers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ganglion.adapters._settings import Question, size, sizes
from ganglion.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

_ALIGNED = 8
_Shapes = list[tuple[str, tuple[int, ...]]]


def _version(value: Any) -> int:
    if value not in (3, 4) or isinstance(value, bool):
        raise ValueError(f"{value!r} is neither 3 nor 4")
    return int(value)


def _layers(value: Any) -> int:
    return 0 if value == 0 and not isinstance(value, bool) else size(value)


QUESTIONS = {
    "version": Question("3 for what `puffer export` wrote, 4 for a checkpoint of PufferLib 4", _version),
    "observation_size": Question("a number of elements", size),
    "hidden_size": Question("a number of units", size),
    "num_layers": Question("of LSTM in version 3, 0 or 1; of MinGRU in version 4", _layers),
    "nvec": Question(
        "the categories of each action as a list, [4] for Discrete(4); of continuous actions a 1 for each",
        sizes,
    ),
}
"""What weights without names do not say."""


def named_tensors(data: bytes, found: Mapping[str, Any], label: str) -> dict[str, Tensor]:
    """Gives the numbers the names that torch has for them.

    Args:
        data: the file: float32, little-endian.
        found: answers to `QUESTIONS`.
        label: what messages call the file.

    Raises:
        ArtifactError: the file has another number of numbers than these sizes need.
        ValueError: version 3 has no LSTM of several layers.
    """
    observed, units, layers, nvec = (found[key] for key in ("observation_size", "hidden_size", "num_layers", "nvec"))
    is_continuous = sum(nvec) == len(nvec)
    third = found["version"] == 3
    if third and layers > 1:
        raise ValueError(f"{label}: num_layers must be 0 or 1 in version 3, not {layers}")
    shapes = (_third if third else _fourth)(observed, units, layers, nvec, is_continuous)
    step = 1 if third else _ALIGNED
    places, end = [], 0
    for _, shape in shapes:
        places.append(-(-end // step) * step)
        end = places[-1] + math.prod(shape)
    count, rest = divmod(len(data), 4)
    if rest or count not in (end, -(-end // step) * step):
        raise ArtifactError(
            f"{label} has {len(data)} bytes, and version {found['version']} with {observed} observations, {units} "
            f"units, {layers} layers and nvec {list(nvec)} has {4 * end}; check these sizes"
        )
    numbers = np.frombuffer(data, "<f4").astype(np.float32)
    tensors = {
        name: torch.from_numpy(numbers[place : place + math.prod(shape)].reshape(shape).copy())
        for (name, shape), place in zip(shapes, places, strict=True)
    }
    fused = tensors.pop("decoder", None)
    if fused is not None:
        tensors[f"decoder.{'decoder_mean' if is_continuous else 'decoder'}.weight"] = fused[:-1]
    return tensors


def _third(observed: int, units: int, layers: int, nvec: tuple[int, ...], is_continuous: bool) -> _Shapes:
    outputs = sum(nvec)
    head = "decoder_mean" if is_continuous else "decoder"
    shapes: _Shapes = [("decoder_logstd", (1, outputs))] if is_continuous else []
    shapes += [("encoder.0.weight", (units, observed)), ("encoder.0.bias", (units,))]
    shapes += [(f"{head}.weight", (outputs, units)), (f"{head}.bias", (outputs,))]
    shapes += [("value.weight", (1, units)), ("value.bias", (1,))]
    if layers:
        shapes += [(f"lstm.weight_{kind}_l0", (4 * units, units)) for kind in ("ih", "hh")]
        shapes += [(f"lstm.bias_{kind}_l0", (4 * units,)) for kind in ("ih", "hh")]
    return shapes


def _fourth(observed: int, units: int, layers: int, nvec: tuple[int, ...], is_continuous: bool) -> _Shapes:
    # The last row of the decoder is the value.
    shapes: _Shapes = [("encoder.encoder.weight", (units, observed)), ("decoder", (sum(nvec) + 1, units))]
    if is_continuous:
        shapes.append(("decoder.decoder_logstd", (1, len(nvec))))
    return shapes + [(f"network.layers.{index}.weight", (3 * units, units)) for index in range(layers)]
