"""Writes tests/golden/fuzz_corpus: small files that every reader of the C++ runtime starts its fuzzing from.

`python tests/fuzz/make_corpus.py`, by hand, after a change of the formats. The `good_*.ganglion` load; together they
have every operation, function and storage of weights. The `bad_*` are refused, each for another reason.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import operator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

import ganglion
from ganglion.compiler import vocabulary
from ganglion.compiler.file import to_bytes
from ganglion.compiler.program import Op, Program, StatePort, Value
from ganglion.contract import Contract, StateSlot, TensorSpec, sealed
from ganglion.policies import EnvSpec, GRUPolicy

CORPUS = Path(__file__).parents[1] / "golden" / "fuzz_corpus"
PARAMETERS = {"alpha": 0.3, "beta": 0.4, "low": -0.5, "high": None}
SIZE, HIDDEN = 6, 3


class Sketch:
    """A program under construction: one input, one state slot, and every result an output."""

    def __init__(self, scheme: str = "float32") -> None:
        self.random = np.random.default_rng(0)
        self.scheme = scheme
        self.values: list[Value] = []
        self.ops: list[Op] = []
        self.tensors: dict[str, np.ndarray] = {}
        self.state: list[StatePort] = []
        self.outputs: list[int] = []
        self.input = self.value(SIZE)

    def value(self, size: int, constant: str | None = None) -> int:
        self.values.append(Value(size, constant))
        return len(self.values) - 1

    def constant(self, *elements: float) -> int:
        name = f"c{len(self.values)}"
        self.tensors[name] = np.array(elements, np.float32)
        return self.value(len(elements), name)

    def slot(self) -> int:
        """A new state slot; `keep` says what becomes of it."""
        return self.value(HIDDEN)

    def keep(self, slot: int, output: int) -> None:
        self.state.append(StatePort(slot, output))

    def add(self, kind: str, inputs: list[int], sizes: list[int], shapes: dict[str, Any], **attributes: Any) -> int:
        names = {}
        for role, shape in shapes.items():
            names[role] = f"{len(self.ops)}.{role}"
            self.tensors[names[role]] = self.random.uniform(-0.5, 0.5, shape).astype(np.float32)
        if "weight" in names and kind in ("affine", "lstm", "gru", "rnn"):
            self.store_small(names)
        outputs = [self.value(size) for size in sizes]
        self.ops.append(Op(kind, tuple(inputs), tuple(outputs), names, attributes))
        self.outputs += outputs
        return outputs[0]

    def store_small(self, names: dict[str, str]) -> None:
        weight = self.tensors[names["weight"]]
        if self.scheme == "float16":
            self.tensors[names["weight"]] = weight.astype(np.float16)
        elif self.scheme.startswith("int8"):
            self.tensors[names["weight"]] = np.rint(weight * 254).astype(np.int8)
            names["scale"] = f"{len(self.ops)}.scale"
            self.tensors[names["scale"]] = np.full(len(weight), 1 / 254, np.float32)

    def gather(self, inputs: list[int], index: list[int]) -> int:
        name = f"{len(self.ops)}.index"
        self.tensors[name] = np.array(index, np.int32)
        self.outputs.append(self.value(len(index)))
        self.ops.append(Op("gather", tuple(inputs), (self.outputs[-1],), {"index": name}))
        return self.outputs[-1]

    def file(self, batch: int | None = 1) -> bytes:
        program = Program(
            tuple(self.values),
            (self.input,),
            tuple(self.state),
            tuple(self.outputs),
            tuple(self.ops),
            self.tensors,
            self.scheme,
        )
        contract = Contract(
            inputs=(TensorSpec("obs", SIZE),),
            outputs=tuple(TensorSpec(f"y{i}", self.values[value].size) for i, value in enumerate(self.outputs)),
            state=tuple(StateSlot(f"s{i}", (self.values[p.input].size,)) for i, p in enumerate(self.state)),
            initial_state=(0.25,) * sum(self.values[p.input].size for p in self.state),
            batch=batch,
        )
        return to_bytes(program, contract)[0]


def weights(scheme: str) -> bytes:
    s = Sketch(scheme)
    for activation in ({}, {"activation": {"name": "elu", "alpha": 1.0}}):
        s.add("affine", [s.input], [5], {"weight": (5, SIZE), "bias": (5,)}, **activation)
    slots = [s.slot() for _ in range(5)]
    s.add("lstm", [s.input, *slots[:2]], [HIDDEN] * 2, {"weight": (4 * HIDDEN, SIZE + HIDDEN), "bias": (4 * HIDDEN,)})
    for slot, value in zip(slots[:2], s.outputs[-2:], strict=True):
        s.keep(slot, value)
    for slot, flag in zip(slots[2:4], (True, False), strict=True):
        shapes = {"weight": (3 * HIDDEN, SIZE + HIDDEN), "bias": (3 * HIDDEN,), "recurrent_bias": (HIDDEN,)}
        s.keep(slot, s.add("gru", [s.input, slot], [HIDDEN], shapes, linear_before_reset=flag))
    cell = s.add("rnn", [s.input, slots[4]], [HIDDEN], {"weight": (HIDDEN, SIZE + HIDDEN)}, activation={"name": "tanh"})
    s.keep(slots[4], cell)
    return s.file(batch=None)


def unary() -> bytes:
    s = Sketch()
    for function, parameters in vocabulary.UNARY.items():
        s.add("unary", [s.input], [SIZE], {}, function=function, **{name: PARAMETERS[name] for name in parameters})
    return s.file(batch=2)


def binary() -> bytes:
    s = Sketch()
    one, many = s.constant(2.0), s.constant(*range(SIZE))
    for function in vocabulary.BINARY:
        s.add("binary", [s.input, many], [SIZE], {}, function=function)
        s.add("binary", [one, s.input], [SIZE], {}, function=function)
    s.add("where", [s.outputs[-1], s.input, one], [SIZE], {})
    return s.file()


def tables() -> bytes:
    s = Sketch()
    for function in vocabulary.REDUCE:
        s.add("reduce", [s.input], [2], {}, function=function, rows=2, columns=3)
    for kind in ("softmax", "log_softmax"):
        s.add(kind, [s.input], [SIZE], {}, rows=2, columns=3)
    best = s.add("argmax", [s.input], [1], {}, rows=1, columns=SIZE)
    s.add("lookup", [s.constant(*range(12)), best], [2], {}, rows=6, columns=2)
    s.add(
        "lookup",
        [s.input, s.add("reduce", [s.input], [1], {}, function="sum", rows=1, columns=6)],
        [2],
        {},
        rows=3,
        columns=2,
    )
    s.add("layer_norm", [s.input], [SIZE], {"weight": (3,), "bias": (3,)}, rows=2, columns=3, epsilon=1e-5)
    s.add("matmul", [s.input, s.input], [4], {}, rows=2, inner=3, columns=2)
    return s.file(batch=3)


def layout() -> bytes:
    s = Sketch()
    slot = s.slot()
    doubled = s.add("unary", [s.input], [SIZE], {}, function="tanh")
    s.gather([s.input, doubled], [*range(SIZE), *range(SIZE, 2 * SIZE)])
    s.gather([doubled], [2, 3, 4])
    s.gather([s.constant(float("inf"), 0.0), doubled], [0, 0, 2, 2, 3, 3, 4, 4, 5, 5, 1, 7, 6, 7, 6, 5, 4, 3, 2, 1])
    s.keep(slot, s.gather([s.input, slot], [1, 7, 8]))
    s.gather([s.input], [5, 3, 1, 4, 2, 0])
    return s.file(batch=2)


def convolutions() -> bytes:
    s = Sketch()
    for padding, stride, dilation, groups in (("zeros", 1, 1, 1), ("circular", 2, 1, 2), ("zeros", 1, 2, 1)):
        length = (1 + 3 + 2 - dilation * (2 - 1) - 1) // stride + 1
        s.add(
            "conv1d", [s.input], [4 * length], {"weight": (4, 2 // groups, 2), "bias": (4,)},
            in_channels=2, length=3, out_channels=4, out_length=length, stride=stride, dilation=dilation,
            groups=groups, pad_left=1, pad_right=2, padding=padding,
        )  # fmt: skip
    for groups, stride, pads in ((1, 1, (0, 0, 0, 0)), (2, 2, (1, 2, 0, 3))):
        top, bottom, left, right = pads
        down, across = (top + 1 + bottom - 1) // stride + 1, (left + 3 + right - 2) // stride + 1
        s.add(
            "conv2d", [s.input], [4 * down * across], {"weight": (4, 2 // groups, 1, 2), "bias": (4,)},
            in_channels=2, height=1, width=3, out_channels=4, out_height=down, out_width=across, stride_height=stride,
            stride_width=stride, dilation_height=1, dilation_width=1, groups=groups, pad_top=top, pad_bottom=bottom,
            pad_left=left, pad_right=right,
        )  # fmt: skip
    return s.file()


def changed(file: bytes, change: Any) -> bytes:
    """The file with another header.

    `change` gets its tensors, contract and program in one dictionary; the digest is made to fit wherever the tensors
    can be found.
    """
    length = int.from_bytes(file[:8], "little")
    header, data = json.loads(file[8 : 8 + length]), file[8 + length :]
    metadata = header.pop("__metadata__")
    contract, program = json.loads(metadata["ganglion"]), json.loads(metadata["ganglion_program"])
    change({"tensors": header, "contract": contract, "program": program})
    text = json.dumps(program, separators=(",", ":"))
    sha = hashlib.sha256(text.encode())
    for name in sorted(header, key=str.encode):
        begin, end = header[name]["data_offsets"]
        tensor = data[max(begin, 0) : end]
        sha.update(name.encode() + len(tensor).to_bytes(8, "little") + tensor)
    contract["sha256"] = sha.hexdigest()
    header["__metadata__"] = {"ganglion": sealed(json.dumps(contract)), "ganglion_program": text}
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    return len(encoded).to_bytes(8, "little") + encoded + data


def bad_files(good: bytes) -> dict[str, bytes]:
    """One file for each kind of damage."""

    def offsets(begin: int, end: int) -> Any:
        return lambda file: file["tensors"]["0.weight"].update(data_offsets=[begin, end])

    def op(**entries: Any) -> Any:
        return lambda file: file["program"]["ops"][0].update(entries)

    length = int.from_bytes(good[:8], "little")
    nan = good[: 8 + length] + b"\x00\x00\xc0\x7f" + good[12 + length :]
    gathering, columns = Sketch(), Sketch()
    doubled = gathering.add("unary", [gathering.input], [SIZE], {}, function="tanh")
    gathering.outputs.clear()  # so that it lies in the arena, between guards
    gathering.gather([doubled], [5, 3, 1, 4, 2, 0])
    doubled = columns.gather([columns.input, columns.input], list(range(2 * SIZE)))
    columns.add("affine", [columns.input], [5], {"weight": (5, SIZE)})
    return {
        "empty_header": (0).to_bytes(8, "little"),
        "huge_header": b"\xff" * 8 + good[8:],
        "truncated": good[:-5],
        "cut_in_header": good[: length // 2],
        "longer": good + b"\0" * 4,
        "digest": nan,
        "nan_weight": changed(nan, dict),
        "deep": (600).to_bytes(8, "little") + b"[" * 600,
        "overlap": changed(good, offsets(0, 4)),
        "beyond": changed(good, offsets(0, 2**63)),
        "negative": changed(good, offsets(-4, 116)),
        "newer": changed(good, lambda file: file["program"].update(format=2)),
        "unknown_op": changed(good, op(op="einsum")),
        "read_before_written": changed(good, op(**{"in": [3]})),
        "no_such_value": changed(good, op(**{"in": [4294967295]})),
        "written_twice": changed(good, op(out=[0])),
        "gather_beyond": changed(gathering.file()[:-4] + SIZE.to_bytes(4, "little"), dict),
        "weight_columns": changed(columns.file(), lambda file: file["program"]["ops"][1].update({"in": [doubled]})),
        "huge_batch": changed(good, lambda file: file["contract"].update(batch=2**24)),
    }


def raw_states() -> None:
    """Recordings of raw states; the chunks of the flights have no CRC, so that a changed one is still read."""
    arrays = {"q": np.arange(12.0).reshape(4, 3), "reset": np.array([1, 0, 0, 1], np.bool_), "names": np.array(["a"])}
    np.savez(CORPUS / "states_stored.npz", **arrays)
    np.savez_compressed(CORPUS / "states_deflated.npz", **arrays)
    np.save(CORPUS / "states.npy", np.asfortranarray(arrays["q"].astype(">f4")))
    with contextlib.chdir(CORPUS):  # a recording says which file flew: not where it lies on this machine
        policy = ganglion.load("good_gru.ganglion")
        for compression in ("none", "zstd", "lz4"):
            flight = Path(f"states_{compression}.mcap")
            with ganglion.FlightRecorder.open(flight, overwrite=True) as recorder:
                if compression == "none":
                    policy.attach(recorder)
                channel = recorder.channel("q", 3)
                for step in range(4):
                    channel.record(arrays["q"][step].astype(np.float32))
                    policy.step(np.zeros(2, np.float32))
                recorder.close(compression)
            flight.write_bytes(without_crc(flight.read_bytes()))


def without_crc(recording: bytes) -> bytearray:
    """An MCAP file whose chunks have none."""
    file = bytearray(recording)
    at = 8
    while at < len(file) - 8:
        if file[at] == 0x06:  # a chunk: times, size, CRC
            file[at + 33 : at + 37] = bytes(4)
        at += 9 + int.from_bytes(file[at + 1 : at + 9], "little")
    return file


def small_policy() -> GRUPolicy:
    torch.manual_seed(0)
    box = gym.spaces.Box(-1.0, 1.0, (2,))
    return GRUPolicy(EnvSpec(box, box), hidden_size=2, num_recurrent_layers=1).eval()


def main() -> None:
    good = {f"weights_{scheme}": weights(scheme) for scheme in ("float32", "float16", "int8")}
    for scheme in ("int8x16", "int8x8"):
        rename = operator.methodcaller("update", scheme=scheme)
        good[f"weights_{scheme}"] = changed(good["weights_int8"], lambda file, rename=rename: rename(file["program"]))
    good |= {"unary": unary(), "binary": binary(), "tables": tables(), "layout": layout(), "conv1d": convolutions()}
    s = Sketch()
    s.add("affine", [s.input], [5], {"weight": (5, SIZE)})
    s.add("unary", [s.outputs[0]], [5], {}, function="relu")
    small = s.file()
    good["small"] = small
    CORPUS.mkdir(exist_ok=True)
    for old in CORPUS.iterdir():
        old.unlink()
    for name, content in good.items():
        (CORPUS / f"good_{name}.ganglion").write_bytes(content)
    for name, content in bad_files(small).items():
        (CORPUS / f"bad_{name}.ganglion").write_bytes(content)
    for suffix in ("ganglion", "onnx", "pt"):
        contract = ganglion.export(small_policy(), CORPUS / f"good_gru.{suffix}")
    (CORPUS / "contract.json").write_text(contract.to_json())
    raw_states()


if __name__ == "__main__":
    main()
