"""Loads the parameters of garage's TensorFlow policies into ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ganglion.policies.cores import Perceptron
from ganglion.policies.dense import Dense
from ganglion.policies.garage.base import GaussianPolicy
from ganglion.policies.garage.cells import GRUCell, LSTMCell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray


class _Variable(NamedTuple):
    """A variable of garage and what it is in our policy; several tensors where Keras keeps them as rows of one."""

    name: str
    """How its name ends in garage."""
    tensors: tuple[Tensor, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape in garage; Keras keeps kernels as `[inputs, outputs]`."""
        shape = tuple(reversed(self.tensors[0].shape))
        return shape if len(self.tensors) == 1 else (len(self.tensors), *shape)

    @property
    def trainable(self) -> bool:
        return all(isinstance(tensor, nn.Parameter) for tensor in self.tensors)

    @torch.no_grad()
    def set(self, values: NDArray[np.generic]) -> None:
        parts = [values] if len(self.tensors) == 1 else list(values)
        for tensor, part in zip(self.tensors, parts, strict=True):
            tensor.copy_(torch.from_numpy(np.ascontiguousarray(part.T)))


def load_garage_parameters(
    policy: GaussianPolicy, values: Mapping[str, ArrayLike] | Sequence[ArrayLike] | NDArray[np.generic]
) -> None:
    """Sets the parameters of a Gaussian policy to those of garage's policy of the same name and configuration.

    Nothing is changed unless everything fits. Variables that garage does not train (initial states, or the standard
    deviation with `learn_std=False`) may be left out; they keep the values that their initialisers drew.

    Args:
        policy: constructed with the arguments of garage's policy. (`layer_normalization` must be False where garage
            ignores it: for LSTM and GRU.)
        values: one of

            * arrays by variable name, in any order; scopes in front of the name and `:0` behind it do not matter,
            * a list of arrays in the order of garage's `get_global_vars()`, or of its trainable `get_params()`,
            * a vector as of garage's `get_param_values()`, of the trainable variables only.

    Raises:
        TypeError: `policy` is no `GaussianPolicy`.
        ValueError: a variable is missing, unknown or of another shape, or the policy has a layer normalisation that
            garage's does not have.
    """
    if not isinstance(policy, GaussianPolicy):
        raise TypeError(f"load_garage_parameters: policy must be a GaussianPolicy, not {type(policy).__name__}")
    variables = _variables(policy)
    if isinstance(values, Mapping):
        pairs = _by_name(variables, values)
    elif isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype != object:
        pairs = _from_vector([variable for variable in variables if variable.trainable], values)
    else:
        pairs = _in_order(variables, [np.asarray(value) for value in values])
    for variable, array in pairs:
        if array.shape != variable.shape:
            raise ValueError(f"garage variable '{variable.name}' has shape {array.shape}; expected {variable.shape}")
    for variable, array in pairs:
        variable.set(array)


def _variables(policy: GaussianPolicy) -> list[_Variable]:
    """All variables in the order of garage's `get_global_vars()`."""
    core, head = policy.core, policy.head
    if isinstance(core, Perceptron):
        found = [*_perceptron_variables(core), *_dense_variables("output", head.output)]
    else:
        assert isinstance(core, (LSTMCell, GRUCell))
        if core.input_term.gain is not None:
            raise ValueError(
                "garage ignores layer_normalization in its LSTM and GRU policies; construct the policy with "
                "layer_normalization=False to get garage's numbers"
            )
        layer = "lstm_layer" if isinstance(core, LSTMCell) else "gru_layer"
        biases = (term.bias for term in (core.input_term, core.recurrent_term))
        found = [
            _Variable(f"{layer}/kernel", (core.input_term.weight,)),
            _Variable(f"{layer}/recurrent_kernel", (core.recurrent_term.weight,)),
            _Variable(f"{layer}/bias", tuple(bias for bias in biases if bias is not None)),
            *_dense_variables("output_layer", head.output),
        ]
        names = ("initial_hidden", "initial_cell")
        found += [_Variable(name, (state,)) for name, state in zip(names, core.initial_state(), strict=False)]
    return found if head.log_std is None else [*found, _Variable("parameter", (head.log_std,))]


def _perceptron_variables(core: Perceptron) -> list[_Variable]:
    found: list[_Variable] = []
    count = 0
    for layer in core.layers:
        if isinstance(layer, Dense):
            found += _dense_variables(f"hidden_{count}", layer)
            count += 1
        else:
            assert isinstance(layer, nn.LayerNorm)
            scope = "layer_normalization" if count == 1 else f"layer_normalization_{count - 1}"
            found += [_Variable(f"{scope}/gamma", (layer.weight,)), _Variable(f"{scope}/beta", (layer.bias,))]
    return found


def _dense_variables(scope: str, layer: Dense) -> list[_Variable]:
    assert layer.bias is not None
    return [_Variable(f"{scope}/kernel", (layer.weight,)), _Variable(f"{scope}/bias", (layer.bias,))]


_Pairs = list[tuple[_Variable, "NDArray[np.generic]"]]


def _by_name(variables: list[_Variable], values: Mapping[str, ArrayLike]) -> _Pairs:
    left = {name: np.asarray(value) for name, value in values.items()}
    pairs: _Pairs = []
    for variable in variables:
        found = [name for name in left if name.split(":")[0].endswith(variable.name)]
        if len(found) > 1 or (not found and variable.trainable):
            raise ValueError(
                f"{len(found)} arrays are called '...{variable.name}'; expected one; names: {list(values)}"
            )
        pairs += [(variable, left.pop(name)) for name in found]
    if left:
        raise ValueError(f"unknown garage variables {list(left)}; known: {[variable.name for variable in variables]}")
    return pairs


def _in_order(variables: list[_Variable], arrays: list[NDArray[np.generic]]) -> _Pairs:
    trainable = [variable for variable in variables if variable.trainable]
    for candidates in (variables, trainable):
        if len(candidates) == len(arrays):
            return list(zip(candidates, arrays, strict=True))
    raise ValueError(
        f"{len(arrays)} arrays; expected {len(variables)} ({[variable.name for variable in variables]}), or the "
        f"{len(trainable)} trainable ones of them"
    )


def _from_vector(variables: list[_Variable], vector: NDArray[np.generic]) -> _Pairs:
    edges = np.cumsum([np.prod(variable.shape, dtype=int) for variable in variables])
    if len(vector) != edges[-1]:
        raise ValueError(f"the vector has shape {vector.shape}; the trainable variables have {edges[-1]} elements")
    chunks = np.split(vector, edges[:-1])
    return [(variable, chunk.reshape(variable.shape)) for variable, chunk in zip(variables, chunks, strict=True)]
