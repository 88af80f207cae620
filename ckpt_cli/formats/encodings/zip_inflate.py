"""Deflated members of a zip, inflated block by block when they are read (RFC 1951)."""

from __future__ import annotations

from zlib import crc32, decompressobj, error

from ...errors import CkptError, Malformed
from ...storage.sequential import Sequential
from ...storage.storage import READ_SIZE, Storage
from .zip import INFLATE_LIMIT, Member

_DEFLATED = 8  # the method of compression
_MOST_RATIO = 100  # of the bytes that a member over INFLATE_LIMIT inflates to, and those it has


class Inflated(Sequential):
    """What a deflated member holds. Its length and checksum must be right where it ends.

    A member that is large and inflates from next to nothing is refused.
    """

    __slots__ = ("_crc", "_inflate", "_read", "member")

    def __init__(self, member: Member) -> None:
        self.member = member
        super().__init__(member.nbytes)

    def begin(self) -> None:
        """Go to the first byte of the member."""
        self._inflate, self._read, self._crc = decompressobj(-15), 0, 0

    def produce(self, wanted: int) -> bytes:
        """Return the next block: a small one at first, as the head of a member may be all that is asked for."""
        member = self.member
        if member.method != _DEFLATED or (member.nbytes > INFLATE_LIMIT and member.nbytes > _MOST_RATIO * member.packed):
            raise Malformed(f"member {member.name!r} is compressed in a way that is not read", where=member.file.path)
        block = b""
        while not block and not self._ended():
            block = self._next_block(min(max(self.position, 4096), READ_SIZE))
        self._crc = crc32(block, self._crc)
        return block

    def _next_block(self, size: int) -> bytes:
        """At most `size` inflated bytes; none where the compressed ones that were read do not make up one yet."""
        member, data = self.member, self._inflate.unconsumed_tail
        if not data:
            count = min(size, member.packed - self._read)
            data = member.file.read(member.data_offset() + self._read, count)
            self._read += count
        try:
            return self._inflate.decompress(data, size)
        except error as wrong:
            raise Malformed(f"member {member.name!r} is broken: {wrong}", where=member.file.path) from None

    def _ended(self) -> bool:
        return self._inflate.eof or (self._read == self.member.packed and not self._inflate.unconsumed_tail)

    def finish(self, surplus: bool) -> None:
        """Check that nothing follows, and that what was read is what was written."""
        if surplus or self._crc != self.member.crc:
            raise self.ended_early()

    def ended_early(self) -> CkptError:
        """Return the error for a member whose length or checksum is wrong."""
        return Malformed(f"member {self.member.name!r} is broken: its length or checksum is wrong", where=self.member.file.path)


def inflated(member: Member) -> Storage:
    """Return the contents of a member: the member itself where it is stored as it is, else what it inflates to when it is read."""
    return Inflated(member) if member.method else member
