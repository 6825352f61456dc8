"""The file: read back exactly, opened by a reader of safetensors, and refused when anything is wrong with it."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import numpy as np
import pytest
from safetensors import safe_open

from ganglion.compiler import compile_onnx, file
from ganglion.compiler.program import Op, Program, StatePort, Value
from ganglion.contract import Contract, Golden, StateSlot, TensorSpec, sealed
from ganglion.errors import ArtifactError, ExportError
from ganglion.runtime.proof import proven

FLOAT = np.float32


@pytest.fixture
def pair():
    generator = np.random.default_rng(0)
    tensors = {
        "a.weight": generator.integers(-127, 128, (2, 5)).astype(np.int8),
        "a.scale": generator.uniform(0.1, 1, 2).astype(FLOAT),
        "b.weight": generator.normal(size=(3, 3)).astype(np.float16),
        "index": np.array([1, 0, 2], np.int32),
    }
    program = Program(
        values=(Value(2), Value(3), Value(3), Value(5), Value(2), Value(3)),
        inputs=(0,),
        state=(StatePort(1, 5),),
        outputs=(4,),
        ops=(
            Op("gather", (1,), (2,), {"index": "index"}),
            Op("gather", (0, 1), (3,), {"index": "all"}),
            Op("affine", (3,), (4,), {"weight": "a.weight", "scale": "a.scale"}),
            Op("affine", (2,), (5,), {"weight": "b.weight"}),
        ),
        tensors={**tensors, "all": np.arange(5, dtype=np.int32)},
        scheme="int8",
    )
    golden = Golden(np.zeros((2, 1, 2), FLOAT), np.zeros((2, 1), np.bool_), np.zeros((2, 1, 2), FLOAT))
    contract = Contract(
        inputs=(TensorSpec("obs", 2, units=("m", "°")),),
        outputs=(TensorSpec("actions", 2),),
        state=(StateSlot("h", (1, 3)),),
        initial_state=(0.1, 0.2, 0.3),
        golden=golden,
    )
    return program, contract


def read_safetensors(data):
    """A reader of its own, from the published description of the format."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    metadata = header.pop("__metadata__")
    dtypes = {"F32": "<f4", "F16": "<f2", "I8": "i1", "I32": "<i4"}
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        section = data[8 + length + begin : 8 + length + end]
        tensors[name] = np.frombuffer(section, dtypes[entry["dtype"]]).reshape(entry["shape"])
    return metadata, tensors


def test_round_trip(pair, tmp_path):
    program, contract = pair
    path = tmp_path / "policy.ganglion"
    data, written = file.to_bytes(program, contract)
    path.write_bytes(data)
    again, stored = file.read(path)
    assert stored == written and stored.golden is not None
    assert again.to_json() == program.to_json()
    for name, tensor in program.tensors.items():
        np.testing.assert_array_equal(again.tensors[name], tensor)
        assert again.tensors[name].dtype == tensor.dtype
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == file.to_bytes(again, stored)[0]


def test_it_is_a_safetensors_file(pair):
    program, contract = pair
    data, written = file.to_bytes(program, contract)
    length = int.from_bytes(data[:8], "little")
    assert (8 + length) % 64 == 0 and data[8:9] == b"{"
    metadata, tensors = read_safetensors(data)
    assert Contract.from_json(metadata["ganglion"]) == written
    digest = hashlib.sha256(metadata["ganglion_program"].encode())
    for name in sorted(tensors, key=str.encode):
        np.testing.assert_array_equal(tensors[name], program.tensors[name])
        digest.update(name.encode() + tensors[name].nbytes.to_bytes(8, "little") + tensors[name].tobytes())
    assert written.sha256 == digest.hexdigest()
    # Every tensor starts at a multiple of its element.
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__")
    for name, entry in header.items():
        assert entry["data_offsets"][0] % program.tensors[name].dtype.itemsize == 0


def test_the_safetensors_library_opens_it(pair, tmp_path):
    program, contract = pair
    path = tmp_path / "policy.ganglion"
    path.write_bytes(file.to_bytes(program, contract)[0])
    with safe_open(str(path), framework="numpy") as opened:
        assert set(opened.keys()) == set(program.tensors)
        assert set(opened.metadata()) == {"ganglion", "ganglion_program"}
        for name, tensor in program.tensors.items():
            np.testing.assert_array_equal(opened.get_tensor(name), tensor)


def rebuilt(data, change):
    """The bytes with a changed header; the data section stays."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def metadata(key, change):
    def apply(header):
        document = json.loads(header["__metadata__"][key])
        change(document)
        header["__metadata__"][key] = sealed(json.dumps(document))

    return apply


def swap(first, second):
    def apply(header):
        header[first]["data_offsets"], header[second]["data_offsets"] = (
            header[second]["data_offsets"],
            header[first]["data_offsets"],
        )

    return apply


BREAKS = {
    "no-metadata": (lambda h: h.pop("__metadata__"), "no '__metadata__'"),
    "no-contract": (lambda h: h["__metadata__"].pop("ganglion"), "without 'ganglion'"),
    "no-program": (lambda h: h["__metadata__"].pop("ganglion_program"), "without 'ganglion_program'"),
    "dtype": (lambda h: h["a.weight"].update(dtype="BF16"), "dtype 'BF16'"),
    "shape": (lambda h: h["a.weight"].update(shape=[5, 3]), "'a.weight' of 15 bytes"),
    "negative-shape": (lambda h: h["a.weight"].update(shape=[-2, -5]), "integers of at least 0"),
    "huge-shape": (lambda h: h["a.weight"].update(shape=[2**62, 2**62]), "bytes"),
    "outside": (lambda h: h["a.weight"].update(data_offsets=[10**9, 10**9 + 10]), "1000000010"),
    "backwards": (lambda h: h["a.weight"].update(data_offsets=[10, 0]), "said to lie"),
    "offsets": (lambda h: h["a.weight"].update(data_offsets=[0]), "a begin and an end"),
    "overlap": (lambda h: h["all"].update(data_offsets=h["a.scale"]["data_offsets"], shape=[2]), "without gap"),
    "missing-tensor": (lambda h: h.pop("a.weight"), ""),
    "extra-key": (lambda h: h["a.weight"].update(extra=1), "no more and no less"),
    "reordered": (swap("a.scale", "index"), ""),
    "same-size-swap": (lambda h: h["all"].update(dtype="F32"), ""),
    "newer-program": (metadata("ganglion_program", lambda d: d.update(format=9)), "newer"),
    "newer-contract": (metadata("ganglion", lambda d: d.update(format=9)), "newer"),
    "other-size": (metadata("ganglion", lambda d: d["outputs"][0].update(size=3)), ""),
    "digest": (metadata("ganglion", lambda d: d.update(sha256="0" * 64)), "damaged or changed"),
    "no-digest": (metadata("ganglion", lambda d: d.update(sha256=None)), "damaged or changed"),
    "program-changed": (metadata("ganglion_program", lambda d: d.update(scheme="float16")), "damaged or changed"),
}


@pytest.mark.parametrize(("change", "message"), BREAKS.values(), ids=BREAKS.keys())
def test_a_broken_file_is_refused(pair, change, message):
    data, _ = file.to_bytes(*pair)
    with pytest.raises(ArtifactError) as caught:
        file.from_bytes(rebuilt(data, change))
    assert message in str(caught.value)


def test_another_writer_may_format_the_program_as_it_likes(pair):
    program, contract = pair
    text = json.dumps(json.loads(program.to_json()), indent=1)
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(program.tensors.items()):
        digest.update(name.encode() + tensor.nbytes.to_bytes(8, "little") + tensor.tobytes())

    def change(header):
        header["__metadata__"]["ganglion_program"] = text
        metadata("ganglion", lambda d: d.update(sha256=digest.hexdigest()))(header)

    again, _ = file.from_bytes(rebuilt(file.to_bytes(program, contract)[0], change))
    assert again.to_json() == program.to_json()


def test_every_truncation_is_refused(pair):
    data, _ = file.to_bytes(*pair)
    for length in (*range(20), *range(20, len(data), 37), len(data) - 1):
        with pytest.raises(ArtifactError):
            file.from_bytes(data[:length])
    with pytest.raises(ArtifactError, match="the data section has"):
        file.from_bytes(data + b"\0")


def test_every_flipped_weight_is_noticed(pair):
    data, _ = file.to_bytes(*pair)
    length = int.from_bytes(data[:8], "little")
    for place in range(8 + length, len(data)):
        with pytest.raises(ArtifactError):
            file.from_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])


def test_a_key_given_twice_is_refused(pair):
    data, _ = file.to_bytes(*pair)
    length = int.from_bytes(data[:8], "little")
    text = data[8 : 8 + length].replace(b'"index":{', b'"all":{', 1)
    assert len(text) < length
    text += b" " * (length - len(text))
    with pytest.raises(ArtifactError, match="a key appears twice"):
        file.from_bytes(data[:8] + text + data[8 + length :])


def test_a_contract_that_does_not_fit_is_not_written(pair, tmp_path):
    program, contract = pair
    other = dataclasses.replace(contract, state=(), initial_state=())
    with pytest.raises(ArtifactError, match="disagree on the sizes of state"):
        (tmp_path / "policy.ganglion").write_bytes(file.to_bytes(program, other)[0])
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_read_or_written(pair, tmp_path):
    with pytest.raises(ArtifactError, match="cannot read"):
        file.read(tmp_path / "nobody.ganglion")
    target = tmp_path / "nowhere" / "policy.ganglion"
    with pytest.raises(ExportError, match="cannot write"), proven(target, pair[1]) as temporary:
        temporary.write_bytes(file.to_bytes(*pair)[0])


def test_compiling_twice_gives_the_same_bytes():
    from compiler_graphs import constants, model, node

    weights = constants(w=np.ones((2, 3), FLOAT), k=np.ones(3, FLOAT))
    nodes = [node("MatMul", ["obs", "w"], ["a"]), node("Mul", ["a", "k"], ["actions"])]
    made = model(nodes, {"obs": [1, 2]}, {"actions": [1, 3]}, weights)
    first, second = (file.to_bytes(*compile_onnx(made))[0] for _ in range(2))
    assert first == second
