"""torch makes its tables anew in every export; here each is made once.

Some thousand translations, all decompositions, all composite operators and what stands in for them while a graph is
traced: that took a second and a half each time. No test registers an operator after the first export.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import hashlib
import logging
from typing import TYPE_CHECKING, Any

import onnx
import onnx_ir
import torch
from torch._subclasses.fake_impls import op_implementations_dict
from torch.export import exported_program
from torch.onnx._internal.exporter import _core, _decomp
from torch.onnx._internal.exporter._capture_strategies import TorchExportNonStrictStrategy
from torch.onnx._internal.exporter._onnx_program import ONNXProgram
from torch.onnx._internal.exporter._registration import ONNXRegistry

if TYPE_CHECKING:
    import pytest


def keep(patch: pytest.MonkeyPatch) -> None:
    """Lets torch's exporter, as long as `patch` holds, take its tables from the first time that it made them."""
    made = functools.cache(ONNXRegistry.from_torchlib)
    decompositions: dict[frozenset[Any], dict[Any, Any]] = {}
    make_decompositions = _decomp.create_onnx_friendly_decomposition_table

    def from_torchlib(**arguments):
        registry = copy.copy(made(**arguments))
        registry.functions = {target: list(found) for target, found in registry.functions.items()}
        return registry

    def decomposition_table(registered):
        key = frozenset(registered)
        if key not in decompositions:
            decompositions[key] = make_decompositions(registered)
        return dict(decompositions[key])

    patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(from_torchlib))
    patch.setattr(_decomp, "create_onnx_friendly_decomposition_table", decomposition_table)
    composite = functools.cache(exported_program._collect_all_valid_cia_ops)
    patch.setattr(exported_program, "_collect_all_valid_cia_ops", composite)
    patch.setattr(exported_program, "_override_composite_implicit_decomp", _kept_overrides())
    patch.setattr(_core, "export", _kept_translations())
    # pytest listens to every logger that does not propagate, and to a listener torch tells each tensor and stack.
    patch.setattr(logging.getLogger("torch.__trace"), "propagate", True)


def _kept_overrides() -> Any:
    """`_override_composite_implicit_decomp`, which gives some 700 operators 20 kernels each, one by one."""
    original = exported_program._override_composite_implicit_decomp
    known: dict[Any, Any] = {}

    def kernels(operators):
        return [dict(operator.py_kernels) for operator in operators]

    @contextlib.contextmanager
    def override(composite):
        operators = list(composite)
        key = tuple(composite.items())
        before = kernels(operators)
        if key not in known or known[key][0] != before:
            with original(composite):
                during = kernels(operators)
            with original(composite):  # whose predecessor has let go of every operator's rule
                rules = {operator: op_implementations_dict[operator] for operator in operators}
            known[key] = before, during, rules
        _, during, rules = known[key]
        _set_kernels(operators, during)
        op_implementations_dict.update({one: rule for one, rule in rules.items() if one not in op_implementations_dict})
        try:
            yield
        finally:
            _set_kernels(operators, before)
            for operator in operators:
                op_implementations_dict.pop(operator, None)

    return override


def _kept_translations() -> Any:
    """`export` of a captured program, which is the same file for the same program: half of what tests ask for.

    Every call captures its module; what is kept goes by all that the translation reads.
    """
    original = _core.export
    known: dict[Any, bytes] = {}

    def export(model, args=(), kwargs=None, *, registry, dynamic_shapes=None, **options):
        if not isinstance(model, torch.export.ExportedProgram):
            capture = TorchExportNonStrictStrategy()
            found = capture(model, args, kwargs, dynamic_shapes=dynamic_shapes).exported_program
            if found is None:  # it tries other ways, and says why none will do
                return original(model, args, kwargs, registry=registry, dynamic_shapes=dynamic_shapes, **options)
            model = found
        key = _all_of(model), frozenset(registry.functions), repr(sorted(options.items()))
        if key in known:
            return ONNXProgram(onnx_ir.from_proto(onnx.ModelProto.FromString(known[key])), model)
        program = original(model, registry=registry, **options)
        known[key] = program.model_proto.SerializeToString()
        return program

    return export


def _all_of(program: torch.export.ExportedProgram) -> str:
    """The digest of a captured program: operations, names, shapes, signature and numbers."""
    text = program.graph_module.print_readable(print_output=False, include_stride=True, include_device=True)
    digest = hashlib.sha256(f"{text}{program.graph_signature}{program.range_constraints}".encode())
    for name, value in sorted({**program.state_dict, **program.constants}.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().reshape(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b"")
    return digest.hexdigest()


def _set_kernels(operators: list[Any], kernels: list[dict[Any, Any]]) -> None:
    for operator, own in zip(operators, kernels, strict=True):
        operator.py_kernels.clear()
        operator.py_kernels.update(own)
        operator._dispatch_cache.clear()
