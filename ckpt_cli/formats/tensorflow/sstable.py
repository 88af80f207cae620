"""Reads LevelDB's tables as TensorFlow writes them: sorted keys and values in blocks, and an index of the blocks.

    block      entries (varint shared, varint rest, varint size, the rest of the key, the value), offsets of the restarts, their count
    trailer    how the block is compressed (0 not, 1 snappy), the masked CRC-32C of the block and that byte
    footer     handles (varint offset, varint size) of the metaindex and the index, zeros up to 40 bytes, the magic number

As in table_format.md of google/leveldb; fixed-width numbers are little-endian, of 4 bytes. A key shares its beginning with the one before
it, but at a restart: every 16th entry, in the index every one. Keys must ascend through all blocks, and restarts stand where they say.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ...errors import Malformed
from ...storage.crc32c import CRC32C
from ...storage.file import File
from ...storage.storage import Extent
from ..encodings.protobuf import Data, PagedBytes, piece, varint

MAGIC = bytes.fromhex("57fb808b247547db")
FOOTER = 48  # bytes
TRAILER = 5
TABLE_BLOCK = 262144  # bytes after which TensorFlow closes a block
_MASK_DELTA = 0xA282EAD8
_MOST_KEY = 1 << 16
_MOST_REPEATED = 32  # the keys of a block may be this many times as long, together, as the block


def masked(crc: int) -> int:
    """Return a CRC as it is stored; LevelDB masks it because a CRC over bytes that hold CRCs is weak (util/crc32c.h)."""
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def unmasked(stored: int) -> int:
    """Return the CRC that is stored as `stored`."""
    turned = (stored - _MASK_DELTA) & 0xFFFFFFFF
    return (turned >> 17 | turned << 15) & 0xFFFFFFFF


class ChecksummedExtent(Extent):
    """Bytes of a file, with the CRC-32C that the file says they have."""

    __slots__ = ()
    sums = CRC32C


class Block(NamedTuple):
    """`nbytes` bytes of a table from byte `at` on, with a trailer behind them. `packed`: how they are compressed (0: not)."""

    file: File
    at: int
    nbytes: int
    packed: int

    @property
    def crc_at(self) -> int:
        """The byte of the file at which the checksum stands."""
        return self.at + self.nbytes + 1

    @property
    def crc(self) -> int:
        """The CRC-32C in the trailer, of the block and the byte that says how it is compressed."""
        return unmasked(int.from_bytes(self.file.read(self.crc_at, 4), "little"))

    def checksummed(self) -> ChecksummedExtent:
        """Return all that the checksum covers."""
        return ChecksummedExtent(self.file, self.at, self.nbytes + 1, self.crc)

    def contents(self) -> bytes:
        """Read the block and decompress it. Raises Malformed."""
        data = self.file.read(self.at, self.nbytes)
        if not self.packed:
            return data
        from .snappy import unpack

        return unpack(data)


class TableEntry(NamedTuple):
    """A key, and where in the contents of its block the value lies."""

    key: bytes
    start: int
    stop: int


class Table:
    """The table that is all of a file."""

    def __init__(self, file: File) -> None:
        """Read the footer. Raises Malformed where it is missing or broken."""
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
        """Yield the blocks of data in order. Raises Malformed where they overlap."""
        end = 0
        data = self.index.contents()
        for _, start, stop in entries(data):
            at, behind = varint(data, start, stop)
            nbytes, behind = varint(data, behind, stop)
            if behind != stop or at < end:
                raise Malformed("the index of the table is broken: its blocks are not in order")
            end = at + nbytes + TRAILER
            yield self._block(at, nbytes)

    def read_blocks(self) -> Iterator[tuple[Block, Data, Iterator[TableEntry]]]:
        """Yield each block, its contents and its entries. A large block that is not compressed is read page by page, where it lies."""
        last = b""
        for block in self.blocks():
            large = block.nbytes > 2 * TABLE_BLOCK and not block.packed
            data = PagedBytes(block.file, block.at, block.nbytes) if large else block.contents()
            found = list(entries(data))
            if found and found[0].key <= last and last:
                raise Malformed("the keys of the table are not in order")
            last = found[-1].key if found else last
            yield block, data, iter(found)


def first_value(table: Table) -> bytes:
    """Return up to 16 bytes of the first entry's value; nothing where there is no entry."""
    for block in table.blocks():
        data = PagedBytes(block.file, block.at, block.nbytes) if not block.packed else block.contents()
        for entry in entries(data):
            return piece(data, entry.start, min(entry.start + 16, entry.stop))
    return b""


def entries(data: Data) -> Iterator[TableEntry]:
    """Yield the entries of a block. Raises Malformed where they do not fill it, or do not ascend."""
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
        yield TableEntry(key, at - size, at)
        last, first = key, False
    if not restarts <= starts:
        raise Malformed("a restart of the table is no entry")


def _restarts(data: Data) -> tuple[int, set[int]]:
    """Return where the entries of a block end, and the offsets at which keys are whole."""
    if len(data) < 4:
        raise Malformed("a block of the table is cut off")
    count = int.from_bytes(piece(data, len(data) - 4, len(data)), "little")
    end = len(data) - 4 - 4 * count
    if end < 0:
        raise Malformed("a block of the table is cut off")
    raw = piece(data, end, len(data) - 4)
    return end, {int.from_bytes(raw[at : at + 4], "little") for at in range(0, len(raw), 4)}
