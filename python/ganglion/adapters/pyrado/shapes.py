"""Which policy of Pyrado a state dictionary is of, and its sizes; what shapes do not tell becomes questions."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from ganglion.adapters._settings import FLAG, NONLINEARITY, Question, default_name, flag, nonlinearity, number, one_of
from ganglion.errors import ArtifactError
from ganglion.policies import (
    ADNPolicy,
    GRUPolicy,
    LSTMPolicy,
    NFPolicy,
    RNNPolicy,
    TwoHeadedGRUPolicy,
    TwoHeadedLSTMPolicy,
    TwoHeadedRNNPolicy,
)
from ganglion.policies.nonlinearities import as_nonlinearity
from ganglion.policies.pyrado import adn
from ganglion.policies.pyrado.neural_field import PaddingMode

if TYPE_CHECKING:
    from ganglion.adapters._state_dict import StateDict

_ONE_HEAD = {1: RNNPolicy, 3: GRUPolicy, 4: LSTMPolicy}
_TWO_HEADS = {1: TwoHeadedRNNPolicy, 3: TwoHeadedGRUPolicy, 4: TwoHeadedLSTMPolicy}
"""By rows of `weight_hh` per unit."""

_DYNAMICS = {
    function.__name__: function
    for function in (
        adn.pd_linear,
        adn.pd_cubic,
        adn.pd_capacity_21,
        adn.pd_capacity_21_abs,
        adn.pd_capacity_32,
        adn.pd_capacity_32_abs,
    )
}


@dataclass(frozen=True)
class Shapes:
    """What a state dictionary says.

    Attributes:
        kind: the class of the policy.
        observation_size: elements of an observation.
        action_size: elements of an action.
        arguments: arguments of the constructor.
        questions: further ones that the user must say, by name.
    """

    kind: type[Any]
    observation_size: int
    action_size: int
    arguments: dict[str, Any]
    questions: dict[str, Question]


def read_shapes(tensors: StateDict) -> Shapes:
    """Reads the shapes.

    Raises:
        ArtifactError: they are those of no policy that is known here.
    """
    if tensors.names("rnn_layers."):
        return _recurrent(tensors, "rnn_layers", "")
    if tensors.names("shared."):
        return _recurrent(tensors, "shared", "shared_")
    if tensors.names("prev_act_layer."):
        return _activation_dynamics(tensors)
    if tensors.names("conv_layer."):
        return _neural_field(tensors)
    raise ArtifactError(
        f"{tensors.label} has the tensors {', '.join(tensors.names()[:6])}; expected those of a recurrent policy of "
        "Pyrado: rnn_layers, shared, prev_act_layer or conv_layer"
    )


def _recurrent(tensors: StateDict, layers: str, prefix: str) -> Shapes:
    rows, units = (tensors.size(f"{layers}.weight_hh_l0", axis) for axis in (0, 1))
    kinds = _TWO_HEADS if prefix else _ONE_HEAD
    if not units or rows % units or rows // units not in kinds:
        raise ArtifactError(
            f"{tensors.label}: '{layers}.weight_hh_l0' has shape {(rows, units)}; an LSTM has 4 rows a unit, a GRU 3, "
            "and an Elman RNN 1"
        )
    kind = kinds[rows // units]
    arguments = {
        f"{prefix}hidden_size": units,
        f"{prefix}num_recurrent_layers": len(tensors.names(f"{layers}.weight_hh_l")),
    }
    if f"{layers}.bias_ih_l0" not in tensors.names():
        arguments["bias"] = False
    heads = ["head_1", "head_2"] if prefix else ["output_layer"]
    outputs = [tensors.size(f"{head}.weight", 0) for head in heads]
    names = [f"{head}_output_nonlin" for head in heads] if prefix else ["output_nonlin"]
    if prefix:
        arguments |= {f"{head}_size": count for head, count in zip(heads, outputs, strict=True)}
    questions = {name: _question(kind, name, NONLINEARITY, nonlinearity) for name in names}
    if kind in (RNNPolicy, TwoHeadedRNNPolicy):
        choices = {name: name for name in ("tanh", "relu")}
        name = f"{prefix}hidden_nonlin"
        questions[name] = _question(kind, name, "tanh or relu", one_of(choices))
    return Shapes(kind, tensors.size(f"{layers}.weight_ih_l0", 1), outputs[0], arguments, questions)


def _activation_dynamics(tensors: StateDict) -> Shapes:
    has_capacity = "_log_capacity" in tensors.names()
    choices = {name: function for name, function in _DYNAMICS.items() if "capacity" in name or not has_capacity}
    arguments, questions = _potentials(tensors, ADNPolicy)
    arguments["capacity_learnable"] = has_capacity
    questions["potentials_dyn_fcn"] = Question(f"one of {', '.join(choices)}", one_of(choices))
    return Shapes(ADNPolicy, *_stimuli(tensors), arguments, questions)


def _neural_field(tensors: StateDict) -> Shapes:
    neurons, length = tensors.size("act_layer.weight", 1), tensors.size("conv_layer.weight", 2)
    arguments, questions = _potentials(tensors, NFPolicy)
    arguments |= {"hidden_size": neurons, "conv_out_channels": tensors.size("conv_layer.weight", 0)}
    # A whole kernel is odd. One half of a mirrored kernel can be either; half of one element is the whole one.
    if length % 2 and length > 1:
        name = "mirrored_conv_weights"
        questions[name] = _question(NFPolicy, name, FLAG, flag)
    else:
        arguments["mirrored_conv_weights"] = True
    arguments["conv_kernel_size"] = length
    modes = {mode: mode for mode in get_args(PaddingMode)}
    questions["conv_padding_mode"] = _question(
        NFPolicy, "conv_padding_mode", f"one of {', '.join(modes)}", one_of(modes)
    )
    return Shapes(NFPolicy, _stimuli(tensors)[0], tensors.size("act_layer.weight", 0), arguments, questions)


def finished(shapes: Shapes, answers: dict[str, Any]) -> dict[str, Any]:
    """Returns all arguments of the constructor but the spec."""
    arguments = {**shapes.arguments, **answers}
    if arguments.get("mirrored_conv_weights"):
        # Of a kernel of n elements (n + 1) / 2 are saved.
        arguments["conv_kernel_size"] = 2 * arguments["conv_kernel_size"] - 1
    return arguments


def _potentials(tensors: StateDict, kind: type[Any]) -> tuple[dict[str, Any], dict[str, Question]]:
    names = tensors.names()
    arguments: dict[str, Any] = {"potential_init_learnable": "_potentials_init" in names}
    questions = {"activation_nonlin": _question(kind, "activation_nonlin", "tanh, sigmoid, ...", _activations)}
    for name in ("tau", "kappa"):
        # Pyrado saves what it learns, and nothing else.
        arguments[f"{name}_learnable"] = f"_log_{name}" in names
        if f"_log_{name}" not in names:
            questions[f"{name}_init"] = _question(kind, f"{name}_init", "a number", number)
    return arguments, questions


def _stimuli(tensors: StateDict) -> tuple[int, int]:
    if "obs_layer.weight" not in tensors.names():
        raise ArtifactError(
            f"{tensors.label} has an obs_layer of its own ({', '.join(tensors.names('obs_layer')) or 'no tensors'}); "
            "build that policy in Python, and give it to ganglion.adapters.pyrado.load(..., policy=policy)"
        )
    return tensors.size("obs_layer.weight", 1), tensors.size("obs_layer.weight", 0)


def _activations(value: Any) -> Any:
    return tuple(map(as_nonlinearity, value)) if isinstance(value, (list, tuple)) else as_nonlinearity(value)


def _question(kind: type[Any], name: str, expected: str, parse: Any) -> Question:
    default = inspect.signature(kind).parameters[name].default
    if default is inspect.Parameter.empty:
        return Question(expected, parse)
    return Question(expected, parse, default_name(default))
