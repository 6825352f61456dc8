"""Modules of PyTorch: as plain data, built again from it, and drawn anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from ganglion.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_RECURRENT = ("input_size", "hidden_size", "num_layers", "dropout")
_ARGUMENTS: dict[type[nn.Module], tuple[str, ...]] = {
    nn.Linear: ("in_features", "out_features"),
    nn.LayerNorm: ("normalized_shape", "eps", "elementwise_affine"),
    nn.RNN: (*_RECURRENT, "nonlinearity"),
    nn.GRU: _RECURRENT,
    nn.LSTM: _RECURRENT,
    nn.Dropout: ("p",),
    nn.CELU: ("alpha",),
    nn.ELU: ("alpha",),
    nn.Flatten: ("start_dim", "end_dim"),
    nn.GELU: ("approximate",),
    nn.Hardtanh: ("min_val", "max_val"),
    nn.LeakyReLU: ("negative_slope",),
    nn.Softplus: ("beta", "threshold"),
    **dict.fromkeys(
        (
            nn.Hardsigmoid,
            nn.Hardswish,
            nn.Identity,
            nn.LogSigmoid,
            nn.Mish,
            nn.ReLU,
            nn.ReLU6,
            nn.SELU,
            nn.Sigmoid,
            nn.SiLU,
            nn.Softsign,
            nn.Tanh,
        ),
        (),
    ),
}
"""Arguments of the constructor by class, each an attribute of the same name; `bias` is told by what is there."""
_HAVE_BIAS = (nn.Linear, nn.LayerNorm, nn.RNN, nn.GRU, nn.LSTM)
MODULES = {cls.__name__: cls for cls in _ARGUMENTS}
"""Known classes by name."""


def reset_parameters(modules: Iterable[nn.Module]) -> None:
    """Draws the parameters of those modules anew that know how."""
    for module in modules:
        reset = getattr(module, "reset_parameters", None)
        if reset is not None:
            reset()


def raise_if_adapted(thing: object) -> None:
    """Refuses what an adapter made of another trainer's file, which is a checkpoint already.

    Raises:
        ExportError: with where to read it again.
    """
    package, _, rest = type(thing).__module__.removeprefix("ganglion.").partition(".")
    if package != "adapters":
        return
    trainer = rest.partition(".")[0]
    load = "the load(...) of its adapter" if trainer.startswith("_") else f"ganglion.adapters.{trainer}.load(...)"
    raise ExportError(
        f"{type(thing).__name__} cannot be saved as a checkpoint: it was made of a trainer's file, which is one. Keep "
        f"that file, and read it again with {load}; weights that have changed since go through state_dict() and "
        "load_state_dict(). ganglion.export takes it as it is"
    )


def describe_module(module: nn.Module) -> dict[str, Any]:
    """Returns class and arguments of a module, without its weights.

    Raises:
        ExportError: it is neither a `Sequential` nor one of the known classes, exactly.
    """
    if type(module) is nn.Sequential:
        return {
            "class": "Sequential",
            "parts": [[name, describe_module(part)] for name, part in module.named_children()],
        }
    if type(module) not in _ARGUMENTS:
        raise_if_adapted(module)
        raise ExportError(
            f"module {type(module).__name__} cannot be saved in a checkpoint; Sequential, {', '.join(MODULES)} can"
        )
    arguments = {name: getattr(module, name) for name in _ARGUMENTS[type(module)]}
    if isinstance(arguments.get("normalized_shape"), tuple):
        arguments["normalized_shape"] = list(arguments["normalized_shape"])
    if isinstance(module, _HAVE_BIAS):
        # Linear and LayerNorm keep the parameter itself under that name, recurrent layers a flag.
        arguments["bias"] = module.bias if isinstance(module.bias, bool) else module.bias is not None
    return {"class": type(module).__name__, "arguments": arguments}


def build_module(document: Mapping[str, Any]) -> nn.Module:
    """Builds what `describe_module` described, with drawn weights.

    Raises:
        KeyError, TypeError, ValueError: the description is damaged.
    """
    if document["class"] == "Sequential":
        sequence = nn.Sequential()
        for name, part in document["parts"]:
            sequence.add_module(name, build_module(part))
        return sequence
    if document["class"] not in MODULES:
        raise ValueError(f"unknown module class {document['class']!r}")
    return MODULES[document["class"]](**document["arguments"])
