"""A TorchScript file is a program: it is read before it is run, and what no policy needs is refused, by every door."""

from __future__ import annotations

import importlib.util
import io
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

import ganglion
from ganglion._foundation.trust import check_program
from ganglion.adapters import torchscript
from ganglion.cli import main
from ganglion.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning", "ignore::UserWarning"
)

SOURCE = """
import torch
from torch import nn
class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(3, 2)
        self.register_buffer("payload", torch.arange(4, dtype=torch.uint8))
    def forward(self, obs: torch.Tensor):
        {line}
        return self.lin(obs)
    @torch.jit.export
    def reset(self):
        pass
"""
LINES = {
    "mapped": 't = torch.from_file("{target}", True, 4, dtype=torch.uint8); t.copy_(self.payload); assert t[0] == 0',
    "saved": 'torch.save(self.payload, "{target}")',
    "by its full name": 'torch.ops.aten.save(self.payload, "{target}")',
}


def script(folder: Path, line: str) -> Any:
    source = folder / "policy_source.py"
    source.write_text(SOURCE.format(line=line))
    spec = importlib.util.spec_from_file_location("policy_source", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return torch.jit.script(module.Policy().eval())


@pytest.fixture(params=LINES)
def hostile(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    target, path = tmp_path / "written", tmp_path / "policy.pt"
    script(tmp_path, LINES[request.param].format(target=target)).save(str(path))
    return path, target


DOORS: dict[str, Callable[[Path], Any]] = {
    "load": ganglion.load,
    "explain": ganglion.explain,
    "inspect": ganglion.inspect,
    "verify": lambda path: ganglion.verify(path, steps=3),
    "compile": lambda path: ganglion.compile(path, path.with_suffix(".ganglion")),
    "adapter": torchscript.load,
}


@pytest.mark.parametrize("door", DOORS)
def test_no_door_runs_it(door: str, hostile: tuple[Path, Path]) -> None:
    path, target = hostile
    with pytest.raises(ArtifactError, match=r"'torch\.(from_file|save)' \(.*code/.*\.py, line \d+\).*--trust"):
        DOORS[door](path)
    assert not target.exists()


@pytest.mark.parametrize("command", ["inspect", "verify", "bench"])
def test_no_command_runs_it(command: str, hostile: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    path, target = hostile
    assert main([command, str(path)]) != 0
    assert "--trust" in capsys.readouterr().err
    assert not target.exists()


def test_consent_runs_it(tmp_path: Path) -> None:
    target, path = tmp_path / "written", tmp_path / "policy.pt"
    script(tmp_path, LINES["saved"].format(target=target)).save(str(path))
    ganglion.load(path, trust=True, warmup_steps=0)
    assert target.exists()


ALIASES = {
    "under another name": "f = torch.save\n    f(self.payload, 'x')",
    "the module under another name": "t = torch\n    t.save(self.payload, 'x')",
    "the name space under another name": "o = ops.aten\n    o.save(self.payload, 'x')",
    "as a method": "self.payload.save('x')",
    "of a number": "1..save('x')",
    "of a number with an exponent": "1e5.save('x')",
    "looked up": "getattr(self.payload, 'save')('x')",
    "looked up in pieces": "getattr(self.payload, 'sa' 've')('x')",
    "on the next line": "(self.payload.\n      save)('x')",
    "behind a comment": "(self.payload.  # harmless\n      save)('x')",
    "behind a text": "a = 'x\\'y'; self.payload.save('x')",
    "a C++ class": "a = __torch__.torch.classes.dist_rpc.WorkerInfo('a', 1)",
    "another thread": "fork(self.forward, obs)",
    "another process": "ops.prim.rpc_async('a', 'b')",
    "an unknown name space": "ops.c10d.send(self.payload)",
    "an operation that nobody listed": "torch.some_new_operation(self.payload)",
    "named in the file, too": "self.payload.from_file('x')",
}


def edited(data: bytes, line: str) -> bytes:
    """A TorchScript archive with a line more at the beginning of its `forward`."""
    archive = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            text = source.read(name)
            if name.endswith(".py") and b"class Policy(" in text:
                head, colon, rest = text.decode().partition("obs: Tensor) -> Tensor:")
                assert colon
                # Names of the file's own must not open the way to PyTorch's.
                rest += "".join(f"  def {it}(self: Tensor) -> None:\n    return None\n" for it in ("save", "from_file"))
                text = f"{head}{colon}\n    {line}{rest}".encode()
            target.writestr(name, text)
    return archive.getvalue()


@pytest.fixture(scope="module")
def harmless(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("harmless")
    script(folder, "pass").save(str(folder / "policy.pt"))
    return (folder / "policy.pt").read_bytes()


def test_an_edited_program_that_only_calculates_passes(harmless: bytes) -> None:
    check_program(edited(harmless, "a = torch.tanh(self.payload)"), "policy.pt")


@pytest.mark.parametrize("alias", ALIASES)
def test_other_ways_to_say_it(alias: str, harmless: bytes) -> None:
    with pytest.raises(ArtifactError, match="not on the list of what a policy needs"):
        check_program(edited(harmless, ALIASES[alias]), "policy.pt")


def test_members_are_found_as_torch_finds_them(harmless: bytes) -> None:
    data = edited(harmless, "torch.save(self.payload, 'x')")
    archive = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(archive, "w") as target:
        for name in source.namelist():
            target.writestr(name.replace("/code/", "/CODE/").replace(".py", ".PY"), source.read(name))
    with pytest.raises(ArtifactError, match=r"'torch\.save'"):
        check_program(archive.getvalue(), "policy.pt")


def test_a_member_that_unpacks_to_more_than_it_says_is_refused(harmless: bytes) -> None:
    data = bytearray(edited(harmless, "pass"))
    directory = data.index(b"PK\x01\x02")
    name = next(name for name in zipfile.ZipFile(io.BytesIO(harmless)).namelist() if "policy_source" in name)
    entry = data.rindex(b"PK\x01\x02", 0, data.index(name.encode(), directory))
    data[entry + 24] ^= 1  # the size, unpacked
    with pytest.raises(ArtifactError, match="cannot be unpacked"):
        check_program(bytes(data), "policy.pt")


OBS = torch.randn(2, 6)
SEQUENCE = torch.randn(5, 2, 6)
IMAGE = torch.randn(1, 3, 16, 16)
ACTIVATIONS = [
    "ELU",
    "ReLU",
    "Tanh",
    "Sigmoid",
    "SELU",
    "GELU",
    "SiLU",
    "Mish",
    "Softplus",
    "Softsign",
    "Hardtanh",
    "Hardswish",
    "Hardsigmoid",
    "LeakyReLU",
    "PReLU",
    "LogSigmoid",
    "Tanhshrink",
    "Softshrink",
    "CELU",
    "Softmin",
]
LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[torch.Tensor, ...]]] = {
    **{name: (getattr(nn, name), (OBS,)) for name in ACTIVATIONS},
    "LayerNorm": (lambda: nn.LayerNorm(6), (OBS,)),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(6), (OBS,)),
    "GroupNorm": (lambda: nn.GroupNorm(2, 6), (OBS,)),
    "RMSNorm": (lambda: nn.RMSNorm(6), (OBS,)),
    "Dropout": (nn.Dropout, (OBS,)),
    "Bilinear": (lambda: nn.Bilinear(6, 6, 2), (OBS, OBS)),
    "LSTM": (lambda: nn.LSTM(6, 4, 2), (SEQUENCE,)),
    "GRU": (lambda: nn.GRU(6, 4), (SEQUENCE,)),
    "RNN": (lambda: nn.RNN(6, 4), (SEQUENCE,)),
    "LSTMCell": (lambda: nn.LSTMCell(6, 4), (OBS,)),
    "GRUCell": (lambda: nn.GRUCell(6, 4), (OBS,)),
    "Conv2d": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        (IMAGE,),
    ),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(3, 4, 3), (IMAGE,)),
    "Upsample": (lambda: nn.Upsample(scale_factor=2, mode="bilinear"), (IMAGE,)),
    "TransformerEncoder": (lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(6, 2, 8), 2), (SEQUENCE,)),
    "quantised": (
        lambda: torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(6, 2), nn.ReLU()).eval(), {nn.Linear}),
        (OBS,),
    ),
    "quantised LSTM": (
        lambda: torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.LSTM(6, 4)).eval(), {nn.LSTM}),
        (SEQUENCE,),
    ),
}


@pytest.mark.parametrize("how", ["scripted", "traced", "frozen"])
@pytest.mark.parametrize("layer", LAYERS)
def test_layers_of_policies_pass(layer: str, how: str) -> None:
    make, inputs = LAYERS[layer]
    module = make().eval()
    made: Any = torch.jit.trace(module, inputs) if how == "traced" else torch.jit.script(module)
    saved = io.BytesIO()
    torch.jit.save(torch.jit.freeze(made) if how == "frozen" else made, saved)
    check_program(saved.getvalue(), "policy.pt")
