"""OCDBT, TensorStore's B+tree of keys and values in files: `manifest.ocdbt`, and `d/…` with nodes and values.

As in tensorstore/kvstore/ocdbt/index.rst ("Storage format"). The newest version is read; each node has its magic number, its length, the
body (as it is, or zstd) and a CRC-32C. Small values are in the leaves, others are runs of bytes in a data file.
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
_NOTHING = (0, (1 << 64) - 1)  # the length of a root that there is not
_MOST_KEYS = 1_000_000
_MOST_CHECKED = 1 << 20  # bytes whose checksum is computed

Open = Callable[[str], Storage]  # a file of the database by its path; raises Malformed where there is none


class _Body:
    """What a manifest or a node says, field by field. Raises Malformed beyond its end."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.at:
            raise Malformed("the OCDBT tree is broken: a node says more than it holds")
        self.at += count
        return self.data[self.at - count : self.at]

    def byte(self) -> int:
        return self.take(1)[0]

    def varint(self) -> int:
        try:
            value, self.at = varint(self.data, self.at, len(self.data))
        except Malformed as error:
            raise Malformed(f"the OCDBT tree is broken: {error.what}") from None
        return value

    def varints(self, count: int) -> list[int]:
        if count > len(self.data) - self.at:
            raise Malformed("the OCDBT tree is broken: a node says more than it holds")
        return [self.varint() for _ in range(count)]

    def texts(self, count: int, between: Callable[[], list[int]] = list) -> tuple[list[bytes], list[int]]:
        """Byte strings, each but the first with the length of what it shares with the one before; `between` reads a column on the way."""
        shared = [0, *self.varints(count - 1)] if count else []
        lengths = self.varints(count)
        column, found = between(), [b""]
        total = 0
        for prefix, length in zip(shared, lengths, strict=True):
            total += prefix + length
            if prefix > len(found[-1]) or total > _MOST_NODE:
                raise Malformed("the OCDBT tree is broken: a key shares more than there is")
            found.append(found[-1][:prefix] + self.take(length))
        return found[1:], column


class _File(NamedTuple):
    """A data file: its path, and the part of it that comes before the paths in the nodes that lie there."""

    path: str
    base: str


class _Place(NamedTuple):
    """Where a node lies, its height, and what its keys begin with."""

    file: _File
    offset: int
    length: int
    height: int
    prefix: bytes


def read(open: Open) -> dict[str, Storage]:
    """Key → value of the newest version. Raises Malformed."""
    manifest = open("manifest.ocdbt")
    body = _Body(_body(manifest, _MANIFEST, "the manifest"))
    body.take(16)
    if body.varint():
        raise Malformed("the OCDBT manifest is of a kind that is not known: it is kept in several files")
    body.varints(2)
    body.byte()
    if body.varint():
        body.take(4)
    root = _newest(body, _files(body, ""))
    return _Tree(open).values(root) if root else {}


def _newest(body: _Body, files: list[_File]) -> _Place | None:
    """The root of the last of the versions that the manifest lists."""
    count = body.varint()
    if not count:
        raise Malformed("the OCDBT manifest lists no version")
    body.varints(count)
    heights = body.take(count)
    ids, offsets, lengths = body.varints(count), body.varints(count), body.varints(count)
    if ids[-1] >= len(files):
        if lengths[-1] in _NOTHING:
            return None
        raise _no_file()
    return _Place(files[ids[-1]], offsets[-1], lengths[-1], heights[-1], b"") if lengths[-1] not in _NOTHING else None


def _no_file() -> Malformed:
    return Malformed("the OCDBT tree is broken: a data file is not listed")


def _files(body: _Body, above: str) -> list[_File]:
    """The table of data files that begins a node; `above` comes before their paths."""
    count = body.varint()
    paths, bases = body.texts(count, lambda: body.varints(count))
    try:
        return [_File(above + path.decode(), above + path[:base].decode()) for path, base in zip(paths, bases, strict=True)]
    except UnicodeDecodeError:
        raise Malformed("the OCDBT tree names a data file that is no text") from None


class _Tree:
    """Walks down from a root; what it decodes and what it finds is bounded."""

    def __init__(self, open: Open) -> None:
        self.open = open
        self.found: dict[str, Storage] = {}
        self.decoded = 0

    def values(self, root: _Place) -> dict[str, Storage]:
        waiting = [root]
        while waiting:
            place = waiting.pop()
            body = _Body(_body(_part(self.open(place.file.path), place.offset, place.length), _NODE, "a node"))
            self.decoded += len(body.data) + 256
            if self.decoded > _MOST_DECODED:
                raise Malformed(f"the OCDBT tree has over {_MOST_DECODED:,} bytes of nodes")
            if body.byte() != place.height:
                raise Malformed("the OCDBT tree is broken: a node is of another height than it should be")
            files = _files(body, place.file.base)
            if place.height:
                waiting += reversed(self._children(body, files, place))
            else:
                self._leaf(body, files, place)
        return self.found

    def _children(self, body: _Body, files: list[_File], place: _Place) -> list[_Place]:
        count = body.varint()
        keys, common = body.texts(count, lambda: body.varints(count))
        ids, offsets, lengths = body.varints(count), body.varints(count), body.varints(count)
        if any(number >= len(files) for number in ids):
            raise _no_file()
        rows = zip(keys, common, ids, offsets, lengths, strict=True)
        return [_Place(files[i], offset, length, place.height - 1, place.prefix + key[:n]) for key, n, i, offset, length in rows]

    def _leaf(self, body: _Body, files: list[_File], place: _Place) -> None:
        count = body.varint()
        keys, _ = body.texts(count)
        lengths, kinds = body.varints(count), body.varints(count)
        if len(self.found) + count > _MOST_KEYS or max(kinds, default=0) > 1:
            raise Malformed(f"the OCDBT tree has over {_MOST_KEYS:,} keys, or values of a kind that is not known")
        indirect = [i for i, kind in enumerate(kinds) if kind]
        ids, offsets = body.varints(len(indirect)), body.varints(len(indirect))
        if any(number >= len(files) for number in ids):
            raise _no_file()
        away = {i: (files[number], offset) for i, number, offset in zip(indirect, ids, offsets, strict=True)}
        for i, key in enumerate(keys):
            name = (place.prefix + key).decode(errors="replace")
            if name in self.found:
                raise Malformed(f"the OCDBT tree has the key {name!r} twice")
            if i in away:
                self.found[name] = Away(self.open, away[i][0].path, away[i][1], lengths[i])
            else:
                self.found[name] = Memory(body.take(lengths[i]))


class Away(Storage):
    """A run of bytes of a data file, which is opened when it is first read."""

    __slots__ = ("_part", "offset", "open", "path")

    def __init__(self, open: Open, path: str, offset: int, nbytes: int) -> None:
        self.open, self.path, self.offset, self.nbytes = open, path, offset, nbytes
        self._part: Storage | None = None

    def part(self) -> Storage:
        if self._part is None:
            self._part = _part(self.open(self.path), self.offset, self.nbytes)
        return self._part

    def readinto(self, start: int, view: memoryview) -> None:
        self.part().readinto(start, view)


def _part(file: Storage, offset: int, length: int) -> Storage:
    if offset + length > file.nbytes:
        raise Malformed(f"truncated: {offset + length - file.nbytes:,} bytes of a data file are missing", "download or copy it again")
    return Slice(file, offset, length)


def _body(storage: Storage, magic: int, what: str) -> bytes:
    """The body of a manifest or a node, which is all of `storage`."""
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
