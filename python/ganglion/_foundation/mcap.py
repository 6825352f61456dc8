"""MCAP files (mcap.dev), chunk by chunk, with the messages of a channel as one array.

What a record says is read by PyPI's `mcap`; how long it may be, and where a file that was cut ends, is decided here: a
recording may have been cut at any byte, and may be somebody else's.
"""

from __future__ import annotations

import io
import os
import re
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from ganglion._foundation.files import opened
from ganglion._foundation.sentences import first_line
from ganglion.errors import ArtifactError, EngineUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

MAGIC = b"\x89MCAP0\r\n"
LARGEST_FILE = 1 << 40
"""Recordings are read a chunk at a time: this only keeps nonsense out."""

_LARGEST_CHUNK = 1 << 28
_LARGEST_RECORD = 2 << 30
_HEAD = struct.Struct("<BQ")
_MESSAGE_HEAD = struct.Struct("<BQHIQQ")
_HEADER, _FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
_ATTACHMENT, _METADATA, _DATA_END = 0x09, 0x0C, 0x0F
_OPEN_END = _HEAD.pack(_DATA_END, 4) + bytes(4) + _HEAD.pack(_FOOTER, 20) + bytes(20) + MAGIC
"""What a recording that was not closed ends with. Half of a chunk may lie before a good magic."""
_SAME = 11
"""Kind, length and channel of a message: its first bytes."""
_CDR = bytes((0, 1, 0, 0))

_KINDS = {
    "bool": "u1",
    "byte": "u1",
    "char": "u1",
    "float32": "<f4",
    "float64": "<f8",
    **{f"{sign}int{bits}": f"<{sign[:1] or 'i'}{bits // 8}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}
_FIELD = re.compile(r"([a-z]+\d*)(?:\[(\d{1,9})\])? +([A-Za-z]\w*)")
_CONSTANT = re.compile(r"[a-z]+\d* +\w+ *=.*")


class Topic(NamedTuple):
    """Where messages of one kind are.

    Attributes:
        topic: its name.
        dtype: of one message, or None where the messages are none of arrays of a fixed size.
    """

    topic: str
    dtype: np.dtype[Any] | None


class Messages(NamedTuple):
    """The messages of one channel in one chunk.

    Attributes:
        channel: of which.
        values: `[n]`, of its dtype.
        places: `[n]`, where they stand in the chunk.
    """

    channel: Topic
    values: NDArray[Any]
    places: NDArray[np.int64]


class Metadata(NamedTuple):
    """Texts by name."""

    name: str
    entries: dict[str, str]


class Attachment(NamedTuple):
    """A file inside the file."""

    name: str
    data: bytes


@dataclass(frozen=True)
class Cut:
    """How a recording without its end stops.

    Attributes:
        position: where the first byte is that cannot be used.
        missing: how many bytes cannot be used.
        reason: what is wrong there.
    """

    position: int
    missing: int
    reason: str

    @property
    def sentence(self) -> str:
        """What is missing."""
        lost = f"{self.missing:,} bytes behind" if self.missing else "nothing stands behind"
        return f"the recording was cut: {lost} byte {self.position:,}, where the last whole chunk ends ({self.reason})"


class _BadRecordError(Exception):
    """What is wrong with a record."""


class McapFile:
    """One pass over a file.

    Attributes:
        cut: how the file stops where it has no end; known when `parts` is through.
        read: how many bytes of the file were read.
        size: bytes of the file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        _needed("mcap.records")
        self._path = path
        self.cut: Cut | None = None
        self.read = 0
        self.size = 0
        self._schemas: dict[int, Any] = {}
        self._channels: dict[int, Topic] = {}
        self._raw_channels: dict[int, Any] = {}

    def parts(self, wanted: Callable[[str], bool] = lambda _: True) -> Iterator[Metadata | Attachment | list[Messages]]:
        """Metadata, attachments and chunks in the order of the file; a chunk is the messages of each channel.

        Args:
            wanted: whether the messages of a topic are read.

        Raises:
            ArtifactError: the file is none, or is damaged and not only cut.
        """
        try:
            with opened(self._path, limit=LARGEST_FILE) as file:
                self.size = os.fstat(file.fileno()).st_size
                yield from self._parts(file, wanted)
        except OSError as error:
            raise ArtifactError(f"cannot read '{self._path}': {error.strerror or error}") from error

    def _parts(self, file: BinaryIO, wanted: Callable[[str], bool]) -> Iterator[Metadata | Attachment | list[Messages]]:
        if (start := file.read(len(MAGIC))) != MAGIC:
            if MAGIC.startswith(start) and start:
                raise ArtifactError(f"'{self._path}': a recording that was cut in its first bytes holds nothing")
            raise ArtifactError(f"'{self._path}' is no MCAP file, which a recording of a flight is")
        file.seek(max(len(MAGIC), self.size - len(_OPEN_END)))
        tail = file.read(len(_OPEN_END))
        has_end = tail.endswith(MAGIC)
        position, is_first = len(MAGIC), True
        file.seek(position)
        while True:
            try:
                opcode, data = self._record(file, position)
                if is_first and opcode != _HEADER:
                    raise _BadRecordError("a file begins with its header")
                if opcode == _DATA_END:
                    self._end(file)
                    if (left := self.size - file.tell()) > 0:  # killed where it grew or ended: there are two ends
                        if tail != _OPEN_END:
                            raise _BadRecordError("a footer is not the end of the file")
                        self.cut = Cut(file.tell(), left, "another end stands behind the first one")
                    self.read = self.size
                    return
                part = self._part(opcode, data, wanted)
            except _BadRecordError as bad:
                if has_end and position < self.size - len(_OPEN_END):
                    raise ArtifactError(f"'{self._path}' is damaged at byte {position:,}: {bad}") from bad
                self.cut = Cut(position, self.size - position, str(bad))
                self.read = self.size
                return
            is_first = False
            position += _HEAD.size + len(data)
            self.read = position
            if part is not None:
                yield part

    def _record(self, file: BinaryIO, position: int) -> tuple[int, bytes]:
        head = file.read(_HEAD.size)
        if len(head) < _HEAD.size:
            raise _BadRecordError("the end is missing" if not head else "it ends in the middle of a record")
        opcode, length = _HEAD.unpack(head)
        left = self.size - position - _HEAD.size
        if opcode == 0:
            raise _BadRecordError("there is no record of kind 0")
        if length > left:
            raise _BadRecordError(f"a record of {length:,} bytes where {max(left, 0):,} are left")
        if length > _LARGEST_RECORD:
            raise _BadRecordError(f"a record of {length:,} bytes; up to {_LARGEST_RECORD:,} are read")
        data = file.read(length)
        if len(data) != length:
            raise _BadRecordError("the file changed while it was read")
        return opcode, data

    def _end(self, file: BinaryIO) -> None:
        """Behind the data there is an index, which is not needed here, but nothing else."""
        position = file.tell()
        while True:
            opcode, data = self._record(file, position)
            position += _HEAD.size + len(data)
            if opcode == _FOOTER:
                break
            if opcode in (_MESSAGE, _CHUNK, _DATA_END):
                raise _BadRecordError(f"a record of kind {opcode} behind the end of the data")
        if file.read(len(MAGIC)) != MAGIC:
            raise _BadRecordError("a footer is not the end of the file")

    def _part(
        self, opcode: int, data: bytes, wanted: Callable[[str], bool]
    ) -> Metadata | Attachment | list[Messages] | None:
        from mcap import records

        if opcode == _CHUNK:
            return self._chunk(_read(records.Chunk, data), wanted)
        if opcode == _METADATA:
            metadata = _read(records.Metadata, data)
            return Metadata(metadata.name, metadata.metadata)
        if opcode == _ATTACHMENT:
            attachment = _read(records.Attachment, data)
            crc = int.from_bytes(data[-4:], "little")
            if len(attachment.data) + 36 > len(data) or (crc and zlib.crc32(data[:-4]) != crc):
                raise _BadRecordError(f"attachment '{attachment.name}' does not have its checksum")
            return Attachment(attachment.name, attachment.data)
        if opcode in (_SCHEMA, _CHANNEL):
            self._define(opcode, data)
        if opcode == _MESSAGE:
            raise _BadRecordError("a message outside of chunks, which ganglion writes nowhere")
        return None

    def _define(self, opcode: int, data: bytes) -> None:
        from mcap import records

        if opcode == _SCHEMA:
            schema = _read(records.Schema, data)
            if self._schemas.setdefault(schema.id, schema) != schema:
                raise _BadRecordError(f"two schemas of number {schema.id}")
            return
        channel = _read(records.Channel, data)
        if self._raw_channels.setdefault(channel.id, channel) != channel:
            raise _BadRecordError(f"two channels of number {channel.id}")
        schema = self._schemas.get(channel.schema_id)
        if schema is None and channel.schema_id != 0:
            raise _BadRecordError(
                f"channel '{channel.topic}' has schema {channel.schema_id}, which was not there before it"
            )
        dtype = None
        if schema is not None and (schema.encoding, channel.message_encoding) == ("ros2msg", "cdr"):
            dtype = dtype_of(schema.data.decode("utf-8", "replace"))
        self._channels[channel.id] = Topic(channel.topic, dtype)

    def _chunk(self, chunk: Any, wanted: Callable[[str], bool]) -> list[Messages]:
        data = _unpacked(chunk)
        if chunk.uncompressed_crc and zlib.crc32(data) != chunk.uncompressed_crc:
            raise _BadRecordError("a chunk does not have its checksum")
        raw = np.frombuffer(data, np.uint8)
        at, size, place = 0, len(data), 0
        found: dict[int, tuple[int, list[int], list[int]]] = {}
        while at < size:
            if size - at < _HEAD.size:
                raise _BadRecordError("a chunk ends in the middle of a record")
            opcode, length = _HEAD.unpack_from(data, at)
            if length > size - at - _HEAD.size:
                raise _BadRecordError(f"a record of {length:,} bytes where a chunk has {size - at - _HEAD.size:,} left")
            if opcode == _MESSAGE:
                if at + _MESSAGE_HEAD.size > size or length < _MESSAGE_HEAD.size - _HEAD.size:
                    raise _BadRecordError(f"a message of {length} bytes")
                number = data[at + 9] | data[at + 10] << 8
                entry = found.get(number)
                if entry is None:
                    if number not in self._channels:
                        raise _BadRecordError(f"a message of channel {number}, which was not there before it")
                    entry = found[number] = (length, [], [])
                # Messages of foreign channels may be of any size.
                if length != entry[0] and self._channels[number].dtype is not None:
                    raise _BadRecordError(
                        f"messages of {entry[0]} and of {length} bytes on '{self._channels[number].topic}'"
                    )
                stride = _HEAD.size + length
                count = 1
                if data[at + stride : at + stride + _SAME] == data[at : at + _SAME]:
                    count = _alike(raw, at, stride, (size - at) // stride)
                entry[1].extend(range(at, at + count * stride, stride))
                entry[2].extend(range(place, place + count))
                place += count
                at += (count - 1) * stride
            elif opcode in (_SCHEMA, _CHANNEL):
                self._define(opcode, data[at + _HEAD.size : at + _HEAD.size + length])
            at += _HEAD.size + length
        messages = []
        for number, (length, starts, places) in found.items():
            channel = self._channels[number]
            if wanted(channel.topic) and channel.dtype is not None:
                values = _values(channel, raw, np.array(starts, np.int64), length)
                messages.append(Messages(channel, values, np.array(places, np.int64)))
        return messages


def dtype_of(text: str) -> np.dtype[Any] | None:
    """How a message of a `ros2msg` schema lies in CDR; None where a field is no number and no array of a fixed size."""
    names: list[str] = []
    formats: list[Any] = []
    offsets: list[int] = []
    end = 0
    for line in text.splitlines():
        line = line.partition("#")[0].strip()
        if not line or _CONSTANT.fullmatch(line):
            continue
        field = _FIELD.fullmatch(line)
        if field is None or field[1] not in _KINDS or field[3] in names:
            return None
        kind = np.dtype(_KINDS[field[1]])
        count = 1 if field[2] is None else int(field[2])
        if count == 0:
            return None
        offset = -(-end // kind.itemsize) * kind.itemsize
        end = offset + kind.itemsize * count
        if end > _LARGEST_CHUNK:
            return None
        names.append(field[3])
        formats.append(kind if field[2] is None else (kind, (count,)))
        offsets.append(offset)
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": end}) if names else None


def _alike(raw: NDArray[np.uint8], at: int, stride: int, most: int) -> int:
    """How many messages of one channel and length stand behind each other; they are not looked at one by one."""
    count, window = 1, 64
    while count < most:
        some = min(window, most - count)
        heads = raw[at + count * stride : at + (count + some) * stride].reshape(some, stride)[:, :_SAME]
        same = (heads == raw[at : at + _SAME]).all(axis=1)
        if not same.all():
            return count + int(same.argmin())
        count, window = count + some, window * 4
    return count


def _values(channel: Topic, raw: NDArray[np.uint8], starts: NDArray[np.int64], length: int) -> NDArray[Any]:
    assert channel.dtype is not None
    size = length - (_MESSAGE_HEAD.size - _HEAD.size)
    if size != len(_CDR) + channel.dtype.itemsize:
        raise _BadRecordError(
            f"messages of {size} bytes on '{channel.topic}', whose schema says {len(_CDR) + channel.dtype.itemsize}"
        )
    rows = np.lib.stride_tricks.sliding_window_view(raw, size)[starts + _MESSAGE_HEAD.size]
    if (rows[:, : len(_CDR)] != np.frombuffer(_CDR, np.uint8)).any():
        raise _BadRecordError(f"a message on '{channel.topic}' is not little-endian CDR")
    return np.ascontiguousarray(rows[:, len(_CDR) :]).view(channel.dtype)[:, 0]


def _unpacked(chunk: Any) -> bytes:
    """The bytes of a chunk, at most as many as it says, however small they were packed."""
    size = chunk.uncompressed_size
    if size > _LARGEST_CHUNK:
        raise _BadRecordError(f"a chunk of {size:,} bytes; up to {_LARGEST_CHUNK:,} are read")
    data = chunk.data
    if chunk.compression == "zstd":
        zstandard = _needed("zstandard")
        try:
            with zstandard.ZstdDecompressor().stream_reader(data) as reader:
                data = reader.read(size + 1)
        except zstandard.ZstdError as error:
            raise _BadRecordError(f"a chunk cannot be unpacked: {first_line(error)}") from error
    elif chunk.compression == "lz4":
        try:
            data = _needed("lz4.frame").LZ4FrameDecompressor().decompress(data, max_length=size + 1)
        except (RuntimeError, EOFError) as error:
            raise _BadRecordError(f"a chunk cannot be unpacked: {first_line(error)}") from error
    elif chunk.compression:
        raise _BadRecordError(f"a chunk is packed with '{chunk.compression}'; zstd and lz4 are known")
    if len(data) != size:
        raise _BadRecordError(
            f"a chunk says that it has {size:,} bytes, and has {'more' if len(data) > size else len(data)}"
        )
    return bytes(data)


def _read(kind: Any, data: bytes) -> Any:
    """A record of `mcap.records`."""
    from mcap.data_stream import ReadDataStream
    from mcap.exceptions import EndOfFile, McapError

    class Whole(ReadDataStream):
        """What is not all there is not there."""

        def read(self, length: int) -> bytes:
            found = super().read(length)
            if len(found) != length:
                raise EndOfFile
            return found

    try:
        return kind.read(Whole(io.BytesIO(data)))
    except (McapError, struct.error, UnicodeDecodeError, OverflowError) as error:
        raise _BadRecordError(f"a {kind.__name__} cannot be read: {type(error).__name__}") from error


def _needed(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise EngineUnavailableError(
            f"recordings of flights need '{name.partition('.')[0]}': pip install 'ganglion[flight]'"
        ) from error
