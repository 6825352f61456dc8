"""Targets `.hpp` and `.h`: one header with program, weights, contract and golden trajectory, for microcontrollers too.

The header steps one row. It is made from the same program as a `.ganglion` file. Its operations are those of
`kernels.hpp`, in C++17 as they stand there, or in the C99 that `c99.py` makes of them.
"""

from __future__ import annotations

import dataclasses
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ganglion._foundation.targets import replacing
from ganglion.compiler import compile_onnx, file
from ganglion.export.graph import build_model
from ganglion.export.header import c, cpp
from ganglion.export.header.code import write_step
from ganglion.export.header.footprint import footprint
from ganglion.runtime.proof import prove

if TYPE_CHECKING:
    from torch import nn

    from ganglion.compiler import Program
    from ganglion.contract import Contract
    from ganglion.export.header.code import Code


def write(
    policy: nn.Module,
    contract: Contract,
    path: Path,
    *,
    weights: str = "float32",
    weight_tolerance: float | None = None,
) -> Contract:
    """Writes a policy as a header.

    Args:
        policy: a prepared recurrent policy (eval mode, CPU, float32).
        contract: its contract with the golden trajectory.
        path: target, whose suffix is `.hpp` (C++17) or `.h` (C99); replaced only when the program has replayed the
            golden trajectory.
        weights: how the header stores weights: `"float32"`, `"float16"` (half of the memory) or `"int8"` (a quarter).
        weight_tolerance: largest accepted |difference| that smaller weights make in any output; 0.01 if None.

    Returns:
        The contract as written: of one row, with the digest that a `.ganglion` file of the policy has.

    Raises:
        UnsupportedModuleError: a module cannot be exported.
        ExportError: the program differs from the policy, smaller weights cost more than the tolerance, or the file
            cannot be written.
        EngineUnavailableError: onnx or onnxscript is not installed.
    """
    model = build_model(policy, dataclasses.replace(contract, batch=1))
    program, contract = compile_onnx(
        model, contract=contract, weights=weights, tolerance=weight_tolerance, integer_inputs=False
    )
    return write_program(program, contract, path)


def write_program(program: Program, contract: Contract, path: Path) -> Contract:
    """Writes a compiled program as a header.

    Args:
        program: the program.
        contract: its contract with a golden trajectory, of which the header keeps row 0.
        path: target, whose suffix is `.hpp` or `.h`; replaced only when the native engine of the C++ runtime has loaded
            the program and replayed that row.

    Returns:
        The contract as written: of one row, with its digest; its provenance says how much memory it takes
        (`footprint.py`).

    Raises:
        ExportError: the program misses the golden trajectory, the C++ runtime refuses it, or the file cannot be
            written.
    """
    contract = _of_one_row(dataclasses.replace(contract, sha256=file.digest(program)))
    with tempfile.TemporaryDirectory() as folder:
        same = Path(folder) / f"{path.stem}.ganglion"
        same.write_bytes(file.to_bytes(program, contract)[0])
        prove(same, contract, what="the program of the header")
    code = write_step(program)
    contract = dataclasses.replace(contract, provenance={**contract.provenance, **footprint(code, contract)})
    name = identifier(path.stem)
    text = render(code, contract, c.prefix_of(name) if path.suffix == ".h" else name, path.suffix)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="ascii", newline="\n")
    return contract


def render(code: Code, contract: Contract, name: str, suffix: str = ".hpp") -> str:
    """The text of the header.

    Args:
        code: the step of the program, see `write_step`.
        contract: contract of one row with a golden trajectory and a digest.
        name: an identifier: the namespace in C++, what every name begins with in C.
        suffix: `.hpp` for C++17, `.h` for C99.

    Returns:
        ASCII text.
    """
    return c.render(code, contract, name) if suffix == ".h" else cpp.render(code, contract, name)


def identifier(stem: str) -> str:
    """The name of a file as that of a namespace, and as what all names in C begin with: `walker-v2.hpp` is `walker_v2`.

    Names that mean something in C++ or in `<cmath>` get `_policy` behind them. Names that start with a digit get
    `policy_` before them, and so do those that start with `ganglion`, which is what the names of `ganglion.h` do.
    """
    name = re.sub(r"_+", "_", re.sub(r"\W", "_", stem, flags=re.ASCII)).strip("_")
    if not name:
        return "policy"
    if name[0].isdigit() or name.split("_")[0] == "ganglion":
        name = f"policy_{name}"
    return f"{name}_policy" if name in _TAKEN else name


def _of_one_row(contract: Contract) -> Contract:
    golden = contract.golden
    assert golden is not None
    row = dataclasses.replace(
        golden,
        observation=golden.observation[:, :1],
        reset=golden.reset[:, :1],
        outputs=golden.outputs[:, :1],
        rounding=golden.rounding if golden.allowed is None else golden.allowed[:, :1],
    )
    # A microcontroller has no room for a profile, and nobody there who reads it.
    return dataclasses.replace(contract, batch=1, golden=row, observation_profile=None)


_KEYWORDS = """
alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t char16_t char32_t class co_await
co_return co_yield compl concept const const_cast consteval constexpr constinit continue decltype default delete do
double dynamic_cast else enum explicit export extern false float for friend goto if inline int long mutable namespace
new noexcept not not_eq nullptr operator or or_eq private protected public register reinterpret_cast requires restrict
return short signed sizeof static static_assert static_cast struct switch template this thread_local throw true try
typedef typeid typename union unsigned using virtual void volatile wchar_t while xor xor_eq
"""
_GLOBAL_NAMES = """
abs acos acosh asin asinh atan atan2 atanh cbrt ceil copysign cos cosh div erf erfc errno exp exp2 expm1 fabs fdim
floor fma fmax fmin fmod frexp gamma hypot ilogb index isfinite isinf isnan isnormal j0 j1 jn ldexp lgamma
linux llrint log log10 log1p log2 logb lrint main modf nan nearbyint nextafter pow random remainder remove remquo
rename rint round scalb scalbn signal signbit signgam significand sin sinh sqrt std stderr stdin stdout system tan tanh
tgamma time trunc unix y0 y1 yn
"""
_TAKEN = frozenset(f"{_KEYWORDS} {_GLOBAL_NAMES}".split())
