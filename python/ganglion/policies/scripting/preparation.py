"""From any policy in any state to a copy that is ready to be exported: eval mode, CPU, float32, no gradients."""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import contextlib
import copy
import logging
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from ganglion._foundation.sentences import first_line
from ganglion.errors import ExportError, UnsupportedModuleError
from ganglion.policies.skrl.policy import recurrent

if TYPE_CHECKING:
    import types
    from collections.abc import Callable, Iterator

_ROOT = "(the policy itself)"

_INTERFACE = ("contract", "init_hidden", "input_specs", "output_specs", "state_layout")
"""What an export asks a policy for, besides `forward`."""


def prepare(policy: nn.Module) -> nn.Module:
    """Copies a policy into the state that every export starts from.

    Args:
        policy: a recurrent policy, or a model in the style of skrl, in any mode, on any device, of any floating type.
            It is not touched.

    Returns:
        A deep copy in eval mode, on the CPU, in float32, without gradients and with its parametrizations
        (weight norm and the like) baked into plain weights.

    Raises:
        TypeError: `policy` does not have the interface of a `RecurrentPolicy`.
        UnsupportedModuleError: the policy contains a module that no export target can express.
        ExportError: the policy cannot be copied.
    """
    # torch.compile wraps a module; what is exported is the module itself.
    policy = getattr(policy, "_orig_mod", policy)
    policy = recurrent(policy)
    _check_interface(policy)
    return prepared_copy(policy)


def prepared_copy(policy: nn.Module) -> nn.Module:
    """What `prepare` returns, of any module.

    Raises:
        UnsupportedModuleError, ExportError: see `prepare`.
    """
    _check_modules(policy)
    try:
        duplicate = copy.deepcopy(policy, _detached_attributes(policy))
    except Exception as error:
        raise ExportError(
            f"{type(policy).__name__} cannot be copied ({error}); every attribute of a policy must support "
            "copy.deepcopy"
        ) from error
    duplicate.eval().requires_grad_(False)
    for module in list(duplicate.modules()):
        if parametrize.is_parametrized(module):
            _bake(module)
    _cast(duplicate, torch.float32)
    return duplicate.requires_grad_(False)


def widened(prepared: nn.Module) -> nn.Module:
    """A copy of a prepared policy that calculates in float64."""
    duplicate = copy.deepcopy(prepared)
    _cast(duplicate, torch.float64)
    return duplicate


def _cast(policy: nn.Module, dtype: torch.dtype) -> None:
    policy.to("cpu", dtype)
    for module in policy.modules():
        # .to() moves parameters and buffers only; policies also keep constants as plain attributes.
        for name, value in list(vars(module).items()):
            if isinstance(value, Tensor):
                setattr(module, name, value.to("cpu", dtype if value.is_floating_point() else value.dtype))


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Keeps an export and its surroundings apart.

    Outside, nothing shows: random state, gradient mode, warnings, log lines. Inside, torch's default type and device
    are float32 and the CPU.
    """
    dtype, device = torch.get_default_dtype(), torch.get_default_device()
    chatty = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in chatty]
    with torch.random.fork_rng(devices=[]), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for logger in chatty:
                logger.setLevel(logging.CRITICAL)
            torch.set_default_dtype(torch.float32)
            if device.type != "cpu":
                torch.set_default_device("cpu")
            yield
        finally:
            torch.set_default_dtype(dtype)
            if device.type != "cpu":
                torch.set_default_device(device)
            for logger, level in zip(chatty, levels, strict=True):
                logger.setLevel(level)


def check_step(policy: nn.Module, arguments: tuple[Tensor, ...], sizes: tuple[int, ...]) -> None:
    """Runs one step of a prepared policy and refuses what a recorded graph could not reproduce.

    Args:
        policy: a prepared policy.
        arguments: observation `[batch, n]` and hidden vector `[batch, hidden_size]`.
        sizes: sizes of the outputs, followed by the size of the hidden vector.

    Raises:
        UnsupportedModuleError: a module decides by tensor values in Python, or draws random numbers.
        ExportError: the policy raises, or returns something else than its outputs and its new hidden vector.
    """
    with guarded(policy) as path:
        try:
            result = policy(*arguments)
        except ExportError:
            raise
        except Exception as error:
            where = f"in module '{path[-1]}'"
            raise ExportError(f"the policy raised {type(error).__name__} at a step {where}: {error}") from error
    shapes = [tuple(t.shape) if isinstance(t, Tensor) else type(t).__name__ for t in _as_tuple(result)]
    expected = [(*arguments[0].shape[:-1], size) for size in sizes]
    if shapes != expected:
        raise ExportError(
            f"forward of {type(policy).__name__} must return (outputs..., new hidden vector) with shapes {expected}; "
            f"it returned {shapes}"
        )


@contextlib.contextmanager
def guarded(policy: nn.Module, root: str = _ROOT) -> Iterator[list[str]]:
    """Refuses what a recorded graph could not reproduce, as long as it lasts.

    Args:
        policy: whose modules are named.
        root: name of itself.

    Yields:
        The paths of the modules that run, the innermost last; behind an exception, those that it came through.

    Raises:
        UnsupportedModuleError: a module decides by tensor values in Python, or draws random numbers.
    """
    path = [root]
    names = {module: name or root for name, module in policy.named_modules()}
    handles = []
    for module in policy.modules():
        handles.append(module.register_forward_pre_hook(lambda m, _: path.append(names[m])))
        handles.append(module.register_forward_hook(lambda *_: [path.pop()].clear()))
    try:
        with _ValueGuard(path), _ClassesGiven():
            yield path
    finally:
        for handle in handles:
            handle.remove()


def blame(policy: nn.Module, arguments: tuple[Tensor, ...], error: Exception) -> ExportError:
    """Finds the deepest module that `torch.export` cannot record on its own, after the whole policy failed.

    Args:
        policy: a prepared policy.
        arguments: arguments of one step.
        error: what exporting the whole policy raised.

    Returns:
        The exception to raise, naming the module.
    """
    calls: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {}

    def remember(name: str) -> Callable[..., None]:
        return lambda _, args, kwargs: calls.setdefault(name, (args, kwargs)) and None

    handles = [
        module.register_forward_pre_hook(remember(name), with_kwargs=True)
        for name, module in policy.named_modules()
        if name
    ]
    try:
        policy(*arguments)
    finally:
        for handle in handles:
            handle.remove()
    for name in sorted(calls, key=lambda name: name.count("."), reverse=True):
        try:
            torch.export.export(policy.get_submodule(name), *calls[name], strict=False)
        except Exception as deeper:
            return UnsupportedModuleError(
                name, f"{type(policy.get_submodule(name)).__name__} cannot be exported: {first_line(deeper)}"
            )
    return UnsupportedModuleError(_ROOT, f"{type(policy).__name__} cannot be exported: {first_line(error)}")


class _ValueGuard(TorchDispatchMode):
    """Refuses operations whose effect a recorded graph would freeze: values read by Python, random numbers."""

    def __init__(self, path: list[str]) -> None:
        super().__init__()
        self._path = path

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.data_dependent_output in func.tags:
            raise UnsupportedModuleError(
                self._path[-1],
                f"its forward reads the value of a tensor in Python{_place()} ({func}: bool(), item(), if, ...); the "
                "exported file would always take the branch of this moment. Write it with torch.where or tensor "
                "arithmetic",
            )
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise UnsupportedModuleError(
                self._path[-1],
                f"its forward draws random numbers in eval mode{_place()} ({func}); return the mean or the mode "
                "instead",
            )
        return func(*args, **(kwargs or {}))


class _ClassesGiven(TorchFunctionMode):
    """`one_hot` of a given number of classes reads its argument only to raise where it is no class: not a branch."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.nn.functional.one_hot and (args[1] if len(args) > 1 else kwargs.get("num_classes", -1)) > 0:
            with _disable_current_modes():
                return func(*args, **kwargs)
        return func(*args, **kwargs)


def _place() -> str:
    """The line of a user's code that runs; empty where torch's or our own layers do it."""
    frame = sys._getframe(2)
    passed_through = _ClassesGiven.__torch_function__.__code__
    while frame.f_back is not None and (_package(frame) == "torch" or frame.f_code is passed_through):
        frame = frame.f_back
    if _package(frame) == "ganglion":
        return ""
    return f", {Path(frame.f_code.co_filename).name} line {frame.f_lineno}"


def _package(frame: types.FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _bake(module: Any) -> None:
    # Not parametrize.remove_parametrizations: it edits the class, which a deep copy shares with the caller's module.
    weights = {name: getattr(module, name).detach().clone() for name in module.parametrizations}
    module.__class__ = type(module).__bases__[0]
    del module.parametrizations
    for name, weight in weights.items():
        setattr(module, name, nn.Parameter(weight, requires_grad=False))


def _check_interface(policy: Any) -> None:
    missing = [name for name in _INTERFACE if not hasattr(policy, name)]
    if missing or not isinstance(policy, nn.Module):
        kind = f"the class {policy.__name__}" if isinstance(policy, type) else type(policy).__name__
        raise TypeError(
            f"only a RecurrentPolicy can be exported as it is; {kind} is no module with {', '.join(_INTERFACE)}; "
            "hand in "
            "what ganglion.wrap(module, observation=..., state=...) makes of a module, or give observation_size=... "
            "for one "
            "without memory"
        )


def _check_modules(policy: nn.Module) -> None:
    for name, module in policy.named_modules():
        reason = _unsupported(module)
        if reason is not None:
            raise UnsupportedModuleError(name or _ROOT, reason)


def _unsupported(module: nn.Module) -> str | None:
    kind = type(module).__name__
    if isinstance(module, torch.jit.ScriptModule):
        return "a module that is TorchScript already cannot be looked into; use the Python module it was made from"
    if isinstance(module, nn.RNNBase):
        if module.bidirectional:
            return f"a bidirectional {kind} needs the future of the observation; use bidirectional=False"
        if module.proj_size > 0:
            return f"{kind} with proj_size > 0 is not supported; use proj_size=0 and a torch.nn.Linear behind it"
    if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None:
        return f"{kind} without running statistics mixes the rows of a batch; use track_running_stats=True"
    if any(part in type(module).__module__ for part in (".quantized", "ao.nn.qat", "torchao")):
        return f"quantised module {kind} is not supported; export the float32 policy"
    parameters = (*module.parameters(recurse=False), *module.buffers(recurse=False))
    if any(nn.parameter.is_lazy(value) for value in parameters):
        return f"{kind} has no weights yet; run the policy once before the export"
    if any(value.is_meta for value in parameters):
        return f"{kind} is on the meta device and has no values; load its weights first"
    return None


def _detached_attributes(policy: nn.Module) -> dict[int, Any]:
    # copy.deepcopy refuses a tensor that is part of an autograd graph, for example a cached result of the last step.
    return {
        id(value): value.detach().clone()
        for module in policy.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }


def _as_tuple(result: Any) -> tuple[Any, ...]:
    return tuple(result) if isinstance(result, (tuple, list)) else (result,)
