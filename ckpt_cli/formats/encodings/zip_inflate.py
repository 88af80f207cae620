"""Deflated members of a zip, inflated as they are read (RFC 1951)."""

from __future__ import annotations

from zlib import crc32

from ...errors import Malformed
from ...storage.storage import BLOCK, Storage
from .zip import INFLATE_LIMIT, Member

_MOST_RATIO = 100  # of a member that is larger than INFLATE_LIMIT


def inflated(member: Member) -> Storage:
    """What a member holds, inflated where it is deflated."""
    return Inflated(member) if member.method else member


class Inflated(Storage):
    """What a deflated member holds, inflated block by block from its beginning; reading an earlier byte begins anew.

    At its end the checksum has to be right. A member that inflates to far more than it is stored in is refused.
    """

    __slots__ = ("_ahead", "_at", "_crc", "_inflate", "_read", "member")

    def __init__(self, member: Member) -> None:
        self.member, self.nbytes = member, member.nbytes
        self._rewind()

    def divisible(self) -> bool:
        """Never: it is read from front to back."""
        return False

    def _rewind(self) -> None:
        from zlib import decompressobj

        self._inflate = decompressobj(-15)
        self._ahead, self._at, self._read, self._crc = memoryview(b""), 0, 0, 0

    def readinto(self, start: int, view: memoryview) -> None:
        """Fill `view` with the inflated bytes from `start` on. Raises Malformed where the member is broken."""
        if start < self._at:
            self._rewind()
        while self._at < start:
            self._next(start - self._at)
        filled = 0
        while filled < len(view):
            piece = self._next(len(view) - filled)
            view[filled : filled + len(piece)] = piece
            filled += len(piece)
        if self._at == self.nbytes:
            self._end()

    def _next(self, most: int) -> memoryview:
        if not self._ahead:
            self._ahead = memoryview(self._block())
        piece, self._ahead = self._ahead[:most], self._ahead[most:]
        self._at += len(piece)
        return piece

    def _block(self) -> bytes:
        """What comes next: little at first, as the head of a member may be all that is asked for."""
        from zlib import error

        member, data, size = self.member, self._inflate.unconsumed_tail, min(max(self._at, 4096), BLOCK)
        if member.method != 8 or (member.nbytes > INFLATE_LIMIT and member.nbytes > _MOST_RATIO * member.packed):
            raise Malformed(f"member {member.name!r} is compressed in a way that is not read", where=member.file.path)
        if not data:
            count = min(size, member.packed - self._read)
            data = member.file.read(member.data_offset() + self._read, count)
            self._read += count
        try:
            found = self._inflate.decompress(data, size)
        except error as wrong:
            raise Malformed(f"member {member.name!r} is broken: {wrong}", where=member.file.path) from None
        if not found and (self._inflate.eof or (self._read == member.packed and not self._inflate.unconsumed_tail)):
            raise self._wrong()
        self._crc = crc32(found, self._crc)
        return found

    def _end(self) -> None:
        """All is read: nothing may come after it, and what was read has to be what was written."""
        right = not self._ahead and self._crc == self.member.crc
        self._rewind()
        if not right:
            raise self._wrong()

    def _wrong(self) -> Malformed:
        return Malformed(f"member {self.member.name!r} is broken: its length or checksum is wrong", where=self.member.file.path)
