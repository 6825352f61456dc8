"""Random actions that can be had again, bit for bit those of the C++ runtime (`cpp/src/realtime/sampling.cpp`).

The noise of an element depends on nothing but seed, episode, step, row and element. An episode begins with the first
step after a reset; resets without a step between them are one, and the first episode after loading is number 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion.contract import drawn_parts
from ganglion.errors import GanglionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from ganglion.contract import ActionStage, Contract

    Doubles = NDArray[np.float64]

__all__ = ["ActionSampler", "mapped", "noise_counter", "philox", "standard_gumbel", "standard_normal"]

_LN2_HIGH = 6.93147180369123816490e-01
_LN2_LOW = 1.90821492927058770002e-10
_HALF_LOG_2PI = 0.91893853320467274178

_CENTRE = (
    (3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4,
     4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3),
    (1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
     2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3),
)  # fmt: skip
_TAIL = (
    (1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0, 3.64784832476320460504e0,
     1.27045825245236838258e0, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4),
    (1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
     1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9),
)  # fmt: skip
"""Of Wichura 1988, algorithm AS 241 (PPND16). Its third range begins below the smallest quantile here."""


def philox(counter: ArrayLike, key: ArrayLike) -> NDArray[np.uint32]:
    """Philox 4x32 with ten rounds (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").

    Args:
        counter: `[..., 4]` words of 32 bits.
        key: two words of 32 bits.

    Returns:
        `[..., 4]` words.
    """
    words = np.asarray(counter, np.uint64)
    mask = np.uint64(0xFFFFFFFF)
    first, second = (int(word) for word in np.asarray(key, np.uint64))
    for _ in range(10):
        a, b = words[..., 0] * np.uint64(0xD2511F53), words[..., 2] * np.uint64(0xCD9E8D57)
        words = np.stack(
            (
                (b >> np.uint64(32)) ^ words[..., 1] ^ np.uint64(first),
                b & mask,
                (a >> np.uint64(32)) ^ words[..., 3] ^ np.uint64(second),
                a & mask,
            ),
            axis=-1,
        )
        first, second = (first + 0x9E3779B9) & 0xFFFFFFFF, (second + 0xBB67AE85) & 0xFFFFFFFF
    return words.astype(np.uint32)


def noise_counter(step: ArrayLike, episode: ArrayLike, row: ArrayLike, block: ArrayLike) -> NDArray[np.uint64]:
    """What the noise of four elements is made of: block b has the elements from 4 b on.

    Different for 2^50 steps, 2^32 episodes, 2^24 rows and 2^22 blocks; the step's high bits stand above row and block.

    Args:
        step: of the episode; as the others, of any shape that broadcasts with theirs.
        episode: since loading.
        row: of the batch.
        block: of four elements.

    Returns:
        `[..., 4]` words of 32 bits for `philox`.
    """
    steps, episodes, rows, blocks = (np.asarray(one).astype(np.uint64) for one in (step, episode, row, block))
    high = steps >> np.uint64(32)
    words = (
        steps & np.uint64(0xFFFFFFFF),
        episodes,
        rows | ((high & np.uint64(0xFF)) << np.uint64(24)),
        blocks | ((high >> np.uint64(8)) << np.uint64(22)),
    )
    return np.stack(np.broadcast_arrays(*words), axis=-1)


def standard_normal(bits: ArrayLike) -> Doubles:
    """Standard normal numbers at the quantiles `(bits + 1/2) / 2^32`."""
    u = _quantile(bits)
    q = u - 0.5
    r = 0.180625 - q * q
    centre = q * _polynomial(_CENTRE[0], r) / _polynomial(_CENTRE[1], r)
    r = np.sqrt(-_log(np.where(q < 0.0, u, 1.0 - u))) - 1.6
    tail = _polynomial(_TAIL[0], r) / _polynomial(_TAIL[1], r)
    return np.where(np.abs(q) <= 0.425, centre, np.where(q < 0.0, -tail, tail))


def standard_gumbel(bits: ArrayLike) -> Doubles:
    """Standard Gumbel numbers at those quantiles; the largest of logit + Gumbel is a sample of the softmax."""
    return -_log(-_log(_quantile(bits)))


class ActionSampler:
    """Draws the actions of a batch from the outputs of a policy.

    Args:
        contract: of a policy whose outputs are a distribution, see `Contract.distribution`.
        seed: 64 bits.
        batch: number of rows.

    Attributes:
        log_prob: `[batch]`, log probability of the actions that were drawn last, before the action map.
        own_action: `[batch, n]`, these actions before the action map: what the state slot `prev_action` holds.

    Raises:
        GanglionError: the outputs are no distribution, or `action_map` is None.
    """

    def __init__(self, contract: Contract, seed: int, batch: int = 1) -> None:
        if contract.distribution is None or contract.action_map is None:
            raise GanglionError(
                f"no actions can be drawn from the outputs {[spec.name for spec in contract.outputs]}: they are "
                "neither mean and log_std nor an index and logits, nor logits_0, logits_1, ... for elements of "
                "actions, or nothing says what becomes of a drawn action"
            )
        self._distribution = contract.distribution
        self._parts = drawn_parts(contract.outputs) if contract.distribution == "mixed" else ()
        self._stages = contract.action_map
        has_unmapped = any(spec.name == "unmapped_mean" for spec in contract.outputs)
        self._needs_unmapped = contract.distribution != "categorical" and has_unmapped
        self._key = (seed & 0xFFFFFFFF, seed >> 32)
        self._step = np.zeros(batch, np.uint64)
        self._episode = np.zeros(batch, np.uint32)
        self.log_prob = np.full(batch, np.nan, np.float32)
        self.own_action = np.full((batch, contract.action_size), np.nan, np.float32)

    def reset(self, rows: NDArray[np.bool_]) -> None:
        """Begins a new episode in the rows that are set and have stepped."""
        begins = rows & (self._step > 0)
        self._episode[begins] += 1
        self._step[begins] = 0

    def draw(
        self,
        first: NDArray[np.float32],
        parameters: NDArray[np.float32] | Mapping[str, NDArray[np.float32]],
        unmapped_mean: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """Draws one action for each row, maps it to a command, and counts the step.

        Args:
            first: `[batch, n]`, the first output: the mean (or the best index, which is not used).
            parameters: `[batch, m]`, the second output: `log_std` or `logits`; of a mixed action the outputs by name,
                `log_std` and `logits_0`, `logits_1`, ..., as far as there are.
            unmapped_mean: `[batch, n]`, the output of that name; needed where the contract has one.

        Raises:
            ValueError: `unmapped_mean` is missing, or the parameters are not those of this kind of action.
        """
        if self._needs_unmapped and unmapped_mean is None:
            raise ValueError("the mean is mapped to a command: give the output 'unmapped_mean' as well")
        self.own_action = self._drawn(first if unmapped_mean is None else unmapped_mean, parameters)
        self._step += np.uint64(1)
        return mapped(self._stages, self.own_action)

    def _drawn(
        self, mean: NDArray[np.float32], parameters: NDArray[np.float32] | Mapping[str, NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        if isinstance(parameters, Mapping) != bool(self._parts):
            raise ValueError(
                "parameters: give the outputs by name where the action is mixed, and else the second output"
            )
        if isinstance(parameters, Mapping):
            return self._drawn_parts(mean, parameters)
        bits = self._bits(parameters.shape[1])
        if self._distribution == "gaussian":
            action, log_prob = _normal(mean, parameters, bits)
        else:
            action, log_prob = _category(parameters, bits)
        self.log_prob = log_prob.astype(np.float32)
        return action

    def _drawn_parts(
        self, mean: NDArray[np.float32], outputs: Mapping[str, NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        bits = self._bits(sum(part.count for part in self._parts))
        total, actions, used = np.zeros(len(self._step)), [], 0
        for part in self._parts:
            parameters = outputs[part.output][:, part.offset : part.offset + part.count]
            own = bits[:, used : used + part.count]
            if part.is_normal:
                action, log_prob = _normal(mean[:, part.element : part.element + part.count], parameters, own)
            else:
                action, log_prob = _category(parameters, own)
            actions.append(action)
            total = total + log_prob
            used += part.count
        self.log_prob = total.astype(np.float32)
        return np.concatenate(actions, axis=1)

    def _bits(self, count: int) -> NDArray[np.uint32]:
        rows, blocks = len(self._step), -(-count // 4)
        counter = noise_counter(
            self._step[:, None], self._episode[:, None], np.arange(rows)[:, None], np.arange(blocks)
        )
        return philox(counter, self._key).reshape(rows, -1)[:, :count]


def _normal(
    mean: NDArray[np.float32], log_std: NDArray[np.float32], bits: NDArray[np.uint32]
) -> tuple[NDArray[np.float32], Doubles]:
    """Actions, and the logarithms of their densities."""
    second, noise = log_std.astype(np.float64), standard_normal(bits)
    action = (mean.astype(np.float64) + _exp(second) * noise).astype(np.float32)
    return action, _sum(-(0.5 * noise * noise + second + _HALF_LOG_2PI))


def _category(logits: NDArray[np.float32], bits: NDArray[np.uint32]) -> tuple[NDArray[np.float32], Doubles]:
    """Indices `[batch, 1]`, and the logarithms of their probabilities."""
    second = logits.astype(np.float64)
    best: NDArray[np.intp] = np.argmax(second + standard_gumbel(bits), axis=1, keepdims=True)
    relative = second - np.max(second, axis=1, keepdims=True)
    chosen = np.take_along_axis(relative, best, axis=1)[:, 0]
    return best.astype(np.float32), chosen - _log(_sum(_exp(relative)))


def mapped(stages: Sequence[ActionStage], action: NDArray[np.float32]) -> NDArray[np.float32]:
    """Takes actions `[..., n]` through the stages of an action map, as the runtime does with those it has drawn."""
    value = action.astype(np.float64)
    for stage in stages:
        value = _tanh(value) if stage.squash else value
        value = np.asarray(stage.scale) * value if stage.scale else value
        value = value + np.asarray(stage.offset) if stage.offset else value
        for bounds, beyond in ((stage.low, np.less), (stage.high, np.greater)):
            value = np.where(beyond(value, bounds), bounds, value) if bounds else value
    return value.astype(np.float32)


# What follows does the same operations in the same order as the C++ file, so that every bit is the same.


def _quantile(bits: ArrayLike) -> Doubles:
    return (np.asarray(bits, np.float64) + 0.5) * 2.0**-32


def _polynomial(coefficients: tuple[float, ...], x: Doubles) -> Doubles:
    value: Any = coefficients[-1]
    for coefficient in reversed(coefficients[:-1]):
        value = value * x + coefficient
    return np.asarray(value)


def _sum(terms: Doubles) -> Doubles:
    # One after the other: NumPy's own sum adds in another order.
    total = np.zeros(len(terms))
    for column in terms.T:
        total = total + column
    return total


def _log(x: Doubles) -> Doubles:
    m, exponent = np.frexp(x)
    small = m < 0.70710678118654752440
    m, e = np.where(small, m * 2.0, m), (exponent - small).astype(np.float64)
    f = (m - 1.0) / (m + 1.0)
    square = f * f
    series: Any = 1.0 / 23.0
    for k in range(21, 0, -2):
        series = series * square + 1.0 / k
    return np.asarray(e * _LN2_HIGH + (2.0 * f * series + e * _LN2_LOW))


def _exp(x: Doubles) -> Doubles:
    inside = np.clip(x, -700.0, 700.0)
    n = np.rint(inside * 1.44269504088896338700)
    r = (inside - n * _LN2_HIGH) - n * _LN2_LOW
    series: Any = 1.0
    for k in range(13, 0, -1):
        series = series * r / k + 1.0
    return np.asarray(np.ldexp(series, n.astype(np.int32)), np.float64)


def _tanh(x: Doubles) -> Doubles:
    square = x * x
    near = x * (1.0 - square * (1.0 / 3.0 - square * (2.0 / 15.0 - square * (17.0 / 315.0))))
    e = _exp(-2.0 * np.abs(x))
    size = (1.0 - e) / (1.0 + e)
    return np.where(np.abs(x) < 0.01, near, np.where(x < 0.0, -size, size))
