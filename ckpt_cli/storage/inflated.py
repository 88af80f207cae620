"""Deflated data (RFC 1951), alone or in gzip's members (RFC 1952), read as a file of its own in any order.

All is inflated once, to learn its size and to check it, and nothing of it is kept but a copy of the decompressor every few megabytes. A
read begins at the copy before it.
"""

from __future__ import annotations

from _thread import allocate_lock
from typing import Any
from zlib import crc32, decompressobj, error

from ..errors import Malformed
from .file import File, FileWindow
from .open_files import OpenFile
from .storage import READ_SIZE

RAW, GZIP = -15, 31  # the wrappings, as zlib numbers them
_STEP = 4 << 20  # inflated bytes from one copy of the decompressor to the next, at first
_MOST_COPIES = 512  # of about 45 kB each
_PIECE = 1 << 16  # compressed bytes that are read at once
_LARGE, _MOST_RATIO = 256 << 20, 100  # what is larger is refused where it inflates to over so many times its bytes


class _Position:
    """Where inflating has come to: `done` bytes are out, the next compressed one is at `at`."""

    def __init__(self, run: FileWindow, wrapping: int) -> None:
        self.run, self.wrapping = run, wrapping
        self.done, self.at, self.inflate = 0, 0, decompressobj(wrapping)

    def copy(self) -> _Position:
        """The same position, to go on from by itself."""
        twin = _Position(self.run, self.wrapping)
        twin.done, twin.at, twin.inflate = self.done, self.at, self.inflate.copy()
        return twin

    def take(self, most: int) -> bytes:
        """The next bytes, `most` at most; none at the end. Raises Malformed where the data are cut off or broken."""
        block = b""
        while not block and not self._ended():
            raw = self.run.read(self.at, min(_PIECE, self.run.size - self.at))
            try:
                block = self.inflate.decompress(raw, most)
            except error as wrong:
                raise Malformed(f"its compressed data are broken: {wrong}", "download or copy it again", self.run.path) from None
            left = self.inflate.unused_data if self.inflate.eof else self.inflate.unconsumed_tail
            self.at += len(raw) - len(left)
            if not raw and not block and not self.inflate.eof:
                raise Malformed("truncated: its compressed data go on", "download or copy it again", self.run.path)
        self.done += len(block)
        return block

    def _ended(self) -> bool:
        """Whether all is inflated. Where another member of gzip's follows, it is begun."""
        if not self.inflate.eof:
            return False
        if self.at < self.run.size and self.wrapping == GZIP:
            self.inflate = decompressobj(GZIP)
            return False
        return True


class InflatedFile(File):
    """What a run of the bytes of another file inflates to.

    Attributes:
        crc: The CRC-32 of all of it.
    """

    is_mappable = False

    def __init__(self, run: FileWindow, wrapping: int, path: str = "") -> None:
        """Inflate `run` once.

        Args:
            run: The compressed bytes.
            wrapping: RAW or GZIP.
            path: What the file is called.

        Raises:
            Malformed: The data are broken or cut off, something follows them, or they inflate to very much from very little.
        """
        self.path = path or run.path
        self.identity, self.changed = (*run.identity, -1), run.changed
        self._lock = allocate_lock()
        self._copies = [_Position(run, wrapping)]
        self.size, self.crc = self._scanned()
        self._position = self._copies[0].copy()
        self.head = self.read(0, min(512, self.size))
        self.facts: dict[str, Any] = {}

    def _scanned(self) -> tuple[int, int]:
        """The size of all, and its checksum. Copies of the decompressor are made on the way."""
        position, step, crc = self._copies[0].copy(), _STEP, 0
        while block := position.take(READ_SIZE):
            crc = crc32(block, crc)
            if position.done > _LARGE and position.done > _MOST_RATIO * position.at:
                raise Malformed(f"its first {position.at:,} bytes inflate to over {position.done:,}: it is not read", "", self.path)
            if position.done - self._copies[-1].done >= step:
                self._copies.append(position.copy())
            if len(self._copies) > _MOST_COPIES:
                self._copies, step = self._copies[::2], step * 2
        if position.at < position.run.size:
            raise Malformed(f"{position.run.size - position.at:,} bytes stand after its compressed data", "", self.path)
        return position.done, crc

    def held_open(self) -> OpenFile:
        """Raise OSError: there is no descriptor of what is inflated."""
        raise OSError("compressed data have no descriptor")

    def read(self, offset: int, count: int) -> bytes:
        """Read `count` bytes from `offset`. Raises Malformed where there are fewer."""
        self._check_range(offset, count)
        data = bytearray(count)
        self.readinto(offset, memoryview(data))
        return bytes(data)

    def readinto(self, offset: int, view: memoryview) -> None:
        """Fill `view` with the bytes from `offset` on. Raises Malformed where there are fewer."""
        self._check_range(offset, len(view))
        with self._lock:
            position = self._position_before(offset)
            while position.done < offset:
                self._taken(position, offset - position.done)
            filled = 0
            while filled < len(view):
                block = self._taken(position, len(view) - filled)
                view[filled : filled + len(block)] = block
                filled += len(block)

    def _position_before(self, offset: int) -> _Position:
        """The position from which `offset` is reached soonest."""
        nearest = max((copy for copy in self._copies if copy.done <= offset), key=lambda copy: copy.done)
        if not nearest.done <= self._position.done <= offset:
            self._position = nearest.copy()
        return self._position

    def _taken(self, position: _Position, most: int) -> bytes:
        block = position.take(min(most, READ_SIZE))
        if not block:
            raise Malformed("the file became shorter while it was read", where=self.path)
        return block


def inflated_head(file: File) -> bytes:
    """The first bytes of what a gzip file inflates to; none where it is none."""
    try:
        return decompressobj(GZIP).decompress(file.read(0, min(_PIECE, file.size)), 512)
    except error:
        return b""
