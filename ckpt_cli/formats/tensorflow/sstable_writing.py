"""Writes LevelDB's tables as TensorFlow's TableBuilder does without compression (see sstable for the format).

As in tensorflow/core/lib/io/table_builder.cc and block_builder.cc: the same entries give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...storage.crc32c import CRC32C
from ..encodings.protobuf import number
from .sstable import FOOTER, MAGIC, TABLE_BLOCK, TRAILER, masked

_RESTART = 16  # entries from one whole key to the next


class _BlockBuilder:
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

    def contents(self) -> bytes:
        offsets = [*self.restarts, len(self.restarts)]
        return bytes(self.data) + b"".join(at.to_bytes(4, "little") for at in offsets)


def table(items: Iterator[tuple[bytes, bytes]]) -> Iterator[bytes]:
    """Yield the bytes of a table, piece by piece.

    Args:
        items: Keys and values, sorted by key.
    """
    index, block = _BlockBuilder(1), _BlockBuilder(_RESTART)
    at, handle, last = 0, b"", b""  # where the next block goes; the handle of the last block, until the key after it is known
    for key, value in items:
        if handle:
            index.add(_separator(last, key), handle)
            handle = b""
        block.add(key, value)
        last = key
        if block.size >= TABLE_BLOCK:
            contents = block.contents()
            yield from (contents, _trailer(contents))
            handle, at = _handle(at, contents), at + len(contents) + TRAILER
            block = _BlockBuilder(_RESTART)
    if block.data:
        contents = block.contents()
        yield from (contents, _trailer(contents))
        handle, at = _handle(at, contents), at + len(contents) + TRAILER
    if handle:
        index.add(_successor(last), handle)
    handles = b""
    for contents in (_BlockBuilder(_RESTART).contents(), index.contents()):
        yield from (contents, _trailer(contents))
        handles, at = handles + _handle(at, contents), at + len(contents) + TRAILER
    yield handles.ljust(FOOTER - 8, b"\0") + MAGIC


def _handle(at: int, contents: bytes) -> bytes:
    """Encode the place of a block."""
    return number(at) + number(len(contents))


def _trailer(contents: bytes) -> bytes:
    return b"\0" + masked(CRC32C.of(contents + b"\0")).to_bytes(4, "little")


def _shared(one: bytes, two: bytes) -> int:
    """Return how many bytes two keys have in common at the front."""
    shared = 0
    for a, b in zip(one, two, strict=False):
        if a != b:
            break
        shared += 1
    return shared


def _separator(one: bytes, two: bytes) -> bytes:
    """Return a short key that is not before `one`, and before `two` (FindShortestSeparator)."""
    at = _shared(one, two)
    if at < min(len(one), len(two)) and one[at] < 0xFF and one[at] + 1 < two[at]:
        return one[:at] + bytes([one[at] + 1])
    return one


def _successor(key: bytes) -> bytes:
    """Return a short key that is not before `key` (FindShortSuccessor)."""
    at = next((at for at, byte in enumerate(key) if byte != 0xFF), None)
    return key if at is None else key[:at] + bytes([key[at] + 1])
