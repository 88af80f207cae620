"""LevelDB's tables, as TensorFlow writes them: sorted keys and values in blocks, and an index of the blocks.

    block      entries (varint shared, varint rest, varint size, the rest of the key, the value), offsets of the restarts, their count
    trailer    how it is compressed (0 not, 1 snappy), the masked CRC-32C of the block and that byte
    footer     handles (varint offset, varint size) of the metaindex and the index, zeros up to 40 bytes, the magic number

As in table_format.md of google/leveldb. A key shares its beginning with the one before, but at a restart: every 16th entry, in the
index every one. Read strictly: keys ascend through all blocks, restarts stand where they say.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ...errors import Malformed
from ...storage.crc32c import CRC32C
from ...storage.file import File
from ...storage.storage import Extent
from ..encodings.protobuf import Data, PagedBytes, number, piece, varint

MAGIC = bytes.fromhex("57fb808b247547db")
FOOTER = 48
TRAILER = 5
_BLOCK = 262144
_RESTART = 16
_DELTA = 0xA282EAD8
_MOST_KEY = 1 << 16
_MOST_REPEATED = 32  # keys may be that many times as long as the block that they are in


def masked(crc: int) -> int:
    """As a CRC is stored, so that a CRC over CRCs is one of other bytes."""
    return ((crc >> 15 | crc << 17) + _DELTA) & 0xFFFFFFFF


def unmasked(stored: int) -> int:
    turned = (stored - _DELTA) & 0xFFFFFFFF
    return (turned >> 17 | turned << 15) & 0xFFFFFFFF


class Stored(Extent):
    """Bytes of a file, with the CRC-32C that it says they have."""

    __slots__ = ()
    sums = CRC32C


class Block(NamedTuple):
    """`nbytes` bytes at `at`, and the trailer behind them. `packed`: how they are compressed."""

    file: File
    at: int
    nbytes: int
    packed: int

    @property
    def crc(self) -> int:
        """What the file says the CRC-32C is, of the bytes and the one that says how they are compressed."""
        return unmasked(int.from_bytes(self.file.read(self.at + self.nbytes + 1, 4), "little"))

    def stored(self) -> Stored:
        """All that its checksum is over."""
        return Stored(self.file, self.at, self.nbytes + 1, self.crc)

    def contents(self) -> bytes:
        data = self.file.read(self.at, self.nbytes)
        if not self.packed:
            return data
        from .snappy import unpack

        return unpack(data)


class Entry(NamedTuple):
    """A key, and where in the contents of its block the value lies."""

    key: bytes
    start: int
    stop: int


class Table:
    """The table that is all of a file. Raises Malformed."""

    def __init__(self, file: File) -> None:
        self.file = file
        tail = file.read(file.size - FOOTER, FOOTER)
        if tail[-8:] != MAGIC:
            raise Malformed("truncated: the table's footer is missing", "download or copy it again")
        at = 0
        numbers = []
        for _ in range(4):
            value, at = varint(tail, at, FOOTER - 8)
            numbers.append(value)
        self.metaindex, self.index = self._block(*numbers[:2]), self._block(*numbers[2:])

    def _block(self, at: int, nbytes: int) -> Block:
        if at + nbytes + TRAILER > self.file.size - FOOTER:
            raise Malformed("a block reaches beyond the end of the table", "download or copy it again")
        packed = self.file.read(at + nbytes, 1)[0]
        if packed > 1:
            raise Malformed(f"a block is compressed in a way ({packed}) that is not known")
        return Block(self.file, at, nbytes, packed)

    def blocks(self) -> Iterator[Block]:
        """The blocks of data, in order; none twice."""
        end = 0
        data = self.index.contents()
        for _, start, stop in entries(data):
            at, behind = varint(data, start, stop)
            nbytes, behind = varint(data, behind, stop)
            if behind != stop or at < end:
                raise Malformed("the index of the table is broken: its blocks are not in order")
            end = at + nbytes + TRAILER
            yield self._block(at, nbytes)

    def opened(self) -> Iterator[tuple[Block, Data, Iterator[Entry]]]:
        """Each block, its contents and its entries; a large one that is not compressed is looked into where it lies."""
        last = b""
        for block in self.blocks():
            large = block.nbytes > 2 * _BLOCK and not block.packed
            data = PagedBytes(block.file, block.at, block.nbytes) if large else block.contents()
            found = list(entries(data))
            if found and found[0].key <= last and last:
                raise Malformed("the keys of the table are not in order")
            last = found[-1].key if found else last
            yield block, data, iter(found)


def first_value(table: Table) -> bytes:
    """How the value of the first entry begins; nothing where there is none."""
    for block in table.blocks():
        data = PagedBytes(block.file, block.at, block.nbytes) if not block.packed else block.contents()
        for entry in entries(data):
            return piece(data, entry.start, min(entry.start + 16, entry.stop))
    return b""


def entries(data: Data) -> Iterator[Entry]:
    """The entries of a block. Raises Malformed where they do not fill it, or do not ascend."""
    end, restarts = _restarts(data)
    at, last, starts, room = 0, b"", {0}, _MOST_REPEATED * len(data)
    first = True
    while at < end:
        begin = at
        shared, at = varint(data, at, end)
        rest, at = varint(data, at, end)
        size, at = varint(data, at, end)
        room -= shared + rest
        if shared > len(last) or shared + rest > _MOST_KEY or at + rest + size > end or room < 0:
            raise Malformed("an entry of the table reaches beyond its block")
        if shared == 0:
            starts.add(begin)
        key = last[:shared] + piece(data, at, at + rest)
        if key <= last and not first:
            raise Malformed(f"the keys of the table are not in order, or one is there twice: {key[:80].decode(errors='replace')!r}")
        at += rest + size
        yield Entry(key, at - size, at)
        last, first = key, False
    if not restarts <= starts:
        raise Malformed("a restart of the table is no entry")


def _restarts(data: Data) -> tuple[int, set[int]]:
    """Where the entries end, and the offsets at which keys are whole."""
    if len(data) < 4:
        raise Malformed("a block of the table is cut off")
    count = int.from_bytes(piece(data, len(data) - 4, len(data)), "little")
    end = len(data) - 4 - 4 * count
    if end < 0:
        raise Malformed("a block of the table is cut off")
    raw = piece(data, end, len(data) - 4)
    return end, {int.from_bytes(raw[at : at + 4], "little") for at in range(0, len(raw), 4)}


class _Builder:
    """A block as it is made."""

    def __init__(self, interval: int) -> None:
        self.interval, self.data, self.restarts = interval, bytearray(), [0]
        self.count, self.last = 0, b""

    def add(self, key: bytes, value: bytes) -> None:
        shared = 0
        if self.count == self.interval:
            self.restarts.append(len(self.data))
            self.count = 0
        elif self.count:
            shared = _shared(self.last, key)
        self.data += number(shared) + number(len(key) - shared) + number(len(value)) + key[shared:] + value
        self.count, self.last = self.count + 1, key

    @property
    def size(self) -> int:
        return len(self.data) + 4 * len(self.restarts) + 4

    def closed(self) -> bytes:
        offsets = [*self.restarts, len(self.restarts)]
        return bytes(self.data) + b"".join(at.to_bytes(4, "little") for at in offsets)


def table(items: Iterator[tuple[bytes, bytes]]) -> Iterator[bytes]:
    """The file of sorted keys and their values, piece by piece, as TensorFlow's TableBuilder makes it without compression."""
    index, block = _Builder(1), _Builder(_RESTART)
    at, waiting, last = 0, b"", b""
    for key, value in items:
        if waiting:
            index.add(_between(last, key), waiting)
            waiting = b""
        block.add(key, value)
        last = key
        if block.size >= _BLOCK:
            made = block.closed()
            yield from (made, _trailer(made))
            waiting, at, block = number(at) + number(len(made)), at + len(made) + TRAILER, _Builder(_RESTART)
    if block.data:
        made = block.closed()
        yield from (made, _trailer(made))
        waiting, at = number(at) + number(len(made)), at + len(made) + TRAILER
    if waiting:
        index.add(_behind(last), waiting)
    handles = b""
    for made in (_Builder(_RESTART).closed(), index.closed()):
        yield from (made, _trailer(made))
        handles, at = handles + number(at) + number(len(made)), at + len(made) + TRAILER
    yield handles.ljust(FOOTER - 8, b"\0") + MAGIC


def _trailer(made: bytes) -> bytes:
    return b"\0" + masked(CRC32C.of(made + b"\0")).to_bytes(4, "little")


def _shared(one: bytes, two: bytes) -> int:
    shared = 0
    for a, b in zip(one, two, strict=False):
        if a != b:
            break
        shared += 1
    return shared


def _between(one: bytes, two: bytes) -> bytes:
    """A short key that is not before `one`, and before `two`."""
    at = _shared(one, two)
    if at < min(len(one), len(two)) and one[at] < 0xFF and one[at] + 1 < two[at]:
        return one[:at] + bytes([one[at] + 1])
    return one


def _behind(key: bytes) -> bytes:
    """A short key that is not before `key`."""
    at = next((at for at, byte in enumerate(key) if byte != 0xFF), None)
    return key if at is None else key[:at] + bytes([key[at] + 1])
