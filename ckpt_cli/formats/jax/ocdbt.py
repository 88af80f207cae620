"""Reads OCDBT, TensorStore's B+tree of keys and values in files: `manifest.ocdbt`, and `d/…` with nodes and values.

    file       u32 magic (big-endian), u64 length of all, version 0, compression (0 not, 1 zstd), the body, u32 CRC-32C of all before it
    manifest   body: uuid (16 bytes), kind, two limits, arity of the version tree, compression, data files, the newest versions
    node       body: height, data files, then columns: keys (each shares its beginning with the one before), places or values

As in tensorstore/kvstore/ocdbt/index.rst ("Storage format"). Numbers in bodies are varints, or single bytes; others are little-endian. The
newest version is read. Small values stand in the leaves, others are bytes of a data file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ...errors import Malformed
from ...storage.compressed import decompressed
from ...storage.crc32c import crc32c
from ...storage.storage import Memory, Slice, Storage
from ..encodings.protobuf import varint

_MANIFEST, _NODE = 0x0CDB3A2A, 0x0CDB20DE
_MOST_NODE = 1 << 28  # bytes, decoded
_MOST_DECODED = 1 << 29  # bytes of all nodes
_NO_ROOT = (0, (1 << 64) - 1)  # lengths that say that a version has no root: it is empty
_MOST_KEYS = 1_000_000
_MOST_CHECKED = 1 << 20  # bytes whose checksum is computed

Open = Callable[[str], Storage]  # a file of the database by its path; raises Malformed where there is none


def read_database(open: Open) -> dict[str, Storage]:
    """Return the keys and values of the newest version.

    Args:
        open: Returns a file of the database by its path.

    Raises:
        Malformed: The manifest or a node is broken, or too much.
    """
    manifest = open("manifest.ocdbt")
    body = _Body(_body(manifest, _MANIFEST, "the manifest"))
    body.take(16)
    if body.varint():
        raise Malformed("the OCDBT manifest is of a kind that is not known: it is kept in several files")
    body.varints(2)
    body.byte()
    if body.varint():
        body.take(4)
    root = _newest(body, _data_files(body, ""))
    return _TreeReader(open).values(root) if root else {}


class _Body:
    """The body of a manifest or a node, field by field. Raises Malformed beyond its end."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        if count > len(self.data) - self.at:
            raise Malformed("the OCDBT tree is broken: a node says more than it holds")
        self.at += count
        return self.data[self.at - count : self.at]

    def byte(self) -> int:
        """Return the next byte."""
        return self.take(1)[0]

    def varint(self) -> int:
        """Return the next varint."""
        try:
            value, self.at = varint(self.data, self.at, len(self.data))
        except Malformed as error:
            raise Malformed(f"the OCDBT tree is broken: {error.what}") from None
        return value

    def varints(self, count: int) -> list[int]:
        """Return a column of varints."""
        if count > len(self.data) - self.at:
            raise Malformed("the OCDBT tree is broken: a node says more than it holds")
        return [self.varint() for _ in range(count)]

    def texts(self, count: int, between: Callable[[], list[int]] = list) -> tuple[list[bytes], list[int]]:
        """Return a column of byte strings, and the column that `between` reads, which stands between their lengths and their bytes.

        For each string but the first there is the length of what it shares with the one before.
        """
        shared = [0, *self.varints(count - 1)] if count else []
        lengths = self.varints(count)
        column, texts = between(), [b""]
        total = 0
        for prefix, length in zip(shared, lengths, strict=True):
            total += prefix + length
            if prefix > len(texts[-1]) or total > _MOST_NODE:
                raise Malformed("the OCDBT tree is broken: a key shares more than there is")
            texts.append(texts[-1][:prefix] + self.take(length))
        return texts[1:], column


class _DataFile(NamedTuple):
    """A data file: its path, and the part of it that the paths in its nodes begin with."""

    path: str
    base: str


class _NodePlace(NamedTuple):
    """Where a node lies, its height, and what its keys begin with."""

    file: _DataFile
    offset: int
    length: int
    height: int
    prefix: bytes


def _newest(body: _Body, files: list[_DataFile]) -> _NodePlace | None:
    """Return the root of the newest version that the manifest lists, which comes last; None where it is empty."""
    count = body.varint()
    if not count:
        raise Malformed("the OCDBT manifest lists no version")
    body.varints(count)
    heights = body.take(count)
    ids, offsets, lengths = body.varints(count), body.varints(count), body.varints(count)
    if ids[-1] >= len(files):
        if lengths[-1] in _NO_ROOT:
            return None
        raise _no_file()
    return _NodePlace(files[ids[-1]], offsets[-1], lengths[-1], heights[-1], b"") if lengths[-1] not in _NO_ROOT else None


def _no_file() -> Malformed:
    return Malformed("the OCDBT tree is broken: a data file is not listed")


def _data_files(body: _Body, above: str) -> list[_DataFile]:
    """Read the table of data files that a node begins with; `above` comes before their paths."""
    count = body.varint()
    paths, bases = body.texts(count, lambda: body.varints(count))
    try:
        return [_DataFile(above + path.decode(), above + path[:base].decode()) for path, base in zip(paths, bases, strict=True)]
    except UnicodeDecodeError:
        raise Malformed("the OCDBT tree names a data file that is no text") from None


class _TreeReader:
    """Reads a tree from its root down. The bytes of nodes and the count of keys are bounded."""

    def __init__(self, open: Open) -> None:
        self.open = open
        self.found: dict[str, Storage] = {}
        self.decoded = 0

    def values(self, root: _NodePlace) -> dict[str, Storage]:
        waiting = [root]
        while waiting:
            place = waiting.pop()
            body = _Body(_body(_part(self.open(place.file.path), place.offset, place.length), _NODE, "a node"))
            self.decoded += len(body.data) + 256
            if self.decoded > _MOST_DECODED:
                raise Malformed(f"the OCDBT tree has over {_MOST_DECODED:,} bytes of nodes")
            if body.byte() != place.height:
                raise Malformed("the OCDBT tree is broken: a node is of another height than it should be")
            files = _data_files(body, place.file.base)
            if place.height:
                waiting += reversed(self._children(body, files, place))
            else:
                self._add_leaf(body, files, place)
        return self.found

    def _children(self, body: _Body, files: list[_DataFile], place: _NodePlace) -> list[_NodePlace]:
        count = body.varint()
        keys, common = body.texts(count, lambda: body.varints(count))
        ids, offsets, lengths = body.varints(count), body.varints(count), body.varints(count)
        if any(number >= len(files) for number in ids):
            raise _no_file()
        rows = zip(keys, common, ids, offsets, lengths, strict=True)
        return [_NodePlace(files[i], offset, length, place.height - 1, place.prefix + key[:n]) for key, n, i, offset, length in rows]

    def _add_leaf(self, body: _Body, files: list[_DataFile], place: _NodePlace) -> None:
        """Add the keys and values of a leaf."""
        count = body.varint()
        keys, _ = body.texts(count)
        lengths, kinds = body.varints(count), body.varints(count)
        if len(self.found) + count > _MOST_KEYS or max(kinds, default=0) > 1:
            raise Malformed(f"the OCDBT tree has over {_MOST_KEYS:,} keys, or values of a kind that is not known")
        outside = [i for i, kind in enumerate(kinds) if kind]
        ids, offsets = body.varints(len(outside)), body.varints(len(outside))
        if any(number >= len(files) for number in ids):
            raise _no_file()
        places = {i: (files[number], offset) for i, number, offset in zip(outside, ids, offsets, strict=True)}
        for i, key in enumerate(keys):
            name = (place.prefix + key).decode(errors="replace")
            if name in self.found:
                raise Malformed(f"the OCDBT tree has the key {name!r} twice")
            if i in places:
                self.found[name] = DataFileSlice(self.open, places[i][0].path, places[i][1], lengths[i])
            else:
                self.found[name] = Memory(body.take(lengths[i]))


class DataFileSlice(Storage):
    """Bytes of a data file, which is opened when they are first read."""

    __slots__ = ("_part", "offset", "open", "path")

    def __init__(self, open: Open, path: str, offset: int, nbytes: int) -> None:
        """Take `nbytes` bytes from byte `offset` of the file at `path`."""
        self.open, self.path, self.offset, self.nbytes = open, path, offset, nbytes
        self._part: Storage | None = None

    def part(self) -> Storage:
        """Return the bytes in the file, once it is opened. Raises Malformed."""
        if self._part is None:
            self._part = _part(self.open(self.path), self.offset, self.nbytes)
        return self._part

    def readinto(self, start: int, view: memoryview) -> None:
        """Fill `view` with the bytes from `start` on."""
        self.part().readinto(start, view)


def _part(file: Storage, offset: int, length: int) -> Storage:
    if offset + length > file.nbytes:
        raise Malformed(f"truncated: {offset + length - file.nbytes:,} bytes of a data file are missing", "download or copy it again")
    return Slice(file, offset, length)


def _body(storage: Storage, magic: int, what: str) -> bytes:
    """Return the body of a manifest or a node, which is all of `storage`. Raises Malformed, which calls it `what`."""
    if storage.nbytes > _MOST_NODE or storage.nbytes < 18:
        raise Malformed(f"the OCDBT tree is broken: {what} of {storage.nbytes:,} bytes")
    raw = storage.read()
    if int.from_bytes(raw[:4], "big") != magic or int.from_bytes(raw[4:12], "little") != len(raw) or raw[12] != 0:
        raise Malformed(f"the OCDBT tree is broken: {what} does not begin as it should")
    if len(raw) <= _MOST_CHECKED and crc32c(raw[:-4]) != int.from_bytes(raw[-4:], "little"):
        raise Malformed(f"the OCDBT tree is broken: the CRC-32C of {what} is not that of its bytes", "download or copy it again")
    if raw[13] > 1:
        raise Malformed(f"the OCDBT tree is compressed in a way that is not known ({raw[13]})")
    return decompressed(Memory(raw[14:-4]), "zstd", _MOST_NODE) if raw[13] else raw[14:-4]
