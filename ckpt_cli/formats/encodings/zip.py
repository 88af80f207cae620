"""Zip archives as checkpoints use them: their members, which are read where they lie. Structures as in PKWARE's APPNOTE 6.3.10.

The reader is strict and takes an archive in one way only: one end record at the very end, no two members of one name, no overlap, no
encryption. Nothing is extracted. `zip_inflate` reads deflated members, `zip_patch` edits in place, `zip_writer` writes.
"""

from __future__ import annotations

from itertools import pairwise
from struct import Struct

from ...errors import Malformed
from ...storage.file import File, FileWindow
from ...storage.storage import Extent

# The structures that reading and writing have in common.
END = Struct("<4s4H2LH")
END64 = Struct("<4sQ2H2L4Q")
LOCATOR64 = Struct("<4sLQL")
LOCAL = Struct("<4s5H3L2H")
INFLATE_LIMIT = 256 << 20  # bytes: a larger member is not inflated as a whole
_CRC_IN_RECORD, _CRC_IN_HEADER = 16, 14  # offsets of the CRC-32 in the two structures (APPNOTE 4.3.12, 4.3.7)
_RECORD = Struct("<4s4x2H4x3L3H8xL")  # the fields of a record of the central directory that are read
# Limits of what is read into memory as a whole, far above honest archives.
_MOST_CONTENTS = 1 << 30
_MOST_MEMBERS = 2_000_000
_MOST_DIRECTORY = 512 << 20
_ONES = 0xFFFFFFFF  # stands in a 32-bit field whose value is in a 64-bit one
_ALL_ONES = (0xFFFF, _ONES, _ONES)  # the same in the end record's fields for members, size and offset


class Member(Extent):
    """A member of an archive; its data are an extent of the file, whose beginning the local header says when it is first asked for.

    Attributes:
        name: Its name.
        header: The offset of its local header.
        record: The offset of its record in the central directory.
        flags: The general purpose bits.
        method: How it is compressed: 0 not at all, 8 deflated.
        packed: The bytes that its data take in the file.
    """

    __slots__ = ("flags", "header", "method", "name", "packed", "record")

    def __init__(
        self, file: File, name: str, header: int, nbytes: int, crc: int, flags: int, method: int, packed: int, record: int
    ) -> None:
        self.file, self.offset, self.nbytes, self.crc = file, -1, nbytes, crc
        self.name, self.header, self.flags, self.method, self.packed, self.record = name, header, flags, method, packed, record

    def place(self) -> int:
        """The offset of the data. Raises Malformed where they are compressed."""
        if self.offset < 0:
            self.offset = self._locate()
        return self.offset

    def _locate(self) -> int:
        if self.method:
            raise Malformed(f"member {self.name!r} is compressed; tensors are stored as they are", where=self.file.path)
        return self.data_offset()

    def data_offset(self) -> int:
        """The offset of the data, compressed or not. Raises Malformed where local header and central directory disagree."""
        fields = LOCAL.unpack(self.file.read(self.header, LOCAL.size))
        signature, flags, method, crc, packed, size = fields[0], fields[2], fields[3], fields[6], fields[7], fields[8]
        name = self.file.read(self.header + LOCAL.size, fields[9])
        agrees = flags & 8 or _ONES in (packed, size) or (crc, packed, size) == (self.crc, self.packed, self.nbytes)
        if signature != b"PK\3\4" or name != self.name.encode() or method != self.method or flags != self.flags or not agrees:
            raise Malformed(f"member {self.name!r}: its local header and the central directory disagree", where=self.file.path)
        return self.header + int(LOCAL.size) + int(fields[9]) + int(fields[10])

    def crc_offsets(self) -> tuple[int, int]:
        """The two places in the file that keep the CRC-32 of a stored member.

        One is in the central directory. The other one is behind the data, where a data descriptor follows them (APPNOTE 4.3.9; its
        signature is optional), else in the local header.
        """
        stop, second = self.place() + self.nbytes, self.header + _CRC_IN_HEADER
        if self.flags & 8:
            second = stop + 4 if self.file.read(stop, 4) == b"PK\7\x08" else stop
        return self.record + _CRC_IN_RECORD, second

    def contents(self) -> bytes:
        """All that the member holds, inflated where it is deflated (torch itself stores everything). Raises Malformed above a limit."""
        if self.nbytes > _MOST_CONTENTS:
            raise Malformed(f"member {self.name!r} has {self.nbytes:,} bytes; over {_MOST_CONTENTS:,} are not read", where=self.file.path)
        if self.method == 0:
            return self.read()
        if self.method != 8 or self.nbytes > INFLATE_LIMIT:
            raise Malformed(f"member {self.name!r} is compressed in a way that is not read", where=self.file.path)
        import zlib

        inflate = zlib.decompressobj(-15)
        try:
            data = inflate.decompress(self.file.read(self.data_offset(), self.packed), self.nbytes + 1)
        except zlib.error as error:
            raise Malformed(f"member {self.name!r} is broken: {error}", where=self.file.path) from None
        if len(data) != self.nbytes or zlib.crc32(data) != self.crc:
            raise Malformed(f"member {self.name!r} is broken: its length or checksum is wrong", where=self.file.path)
        return data


def is_zip(file: File) -> bool:
    """Whether the file begins with the header of a member."""
    return file.head[:4] == b"PK\3\4"


def members(file: File) -> dict[str, Member]:
    """The members by name, in the order of the central directory. Raises Malformed for any archive that is not whole and plain."""
    by_name: dict[str, Member] = file.fact("zip", _members)
    return by_name


def within(file: File, start: int, nbytes: int) -> dict[str, Member]:
    """The members of an archive that is the run of `nbytes` bytes of `file` from `start` on. Raises Malformed as `members` does."""
    by_name: dict[str, Member] = file.fact(f"zip {start} {nbytes}", lambda file: _shifted(file, start, nbytes))
    return by_name


def _shifted(file: File, start: int, nbytes: int) -> dict[str, Member]:
    by_name = _members(FileWindow(file, start, nbytes))
    for member in by_name.values():
        member.file, member.header, member.record = file, member.header + start, member.record + start
    return by_name


def _members(file: File) -> dict[str, Member]:
    count, size, offset, end = _end_record(file)
    if offset + size != end:
        raise Malformed("the zip's central directory does not end where its end record begins", where=file.path)
    if count > _MOST_MEMBERS or size > _MOST_DIRECTORY:
        most = f"{_MOST_MEMBERS:,} members, or a directory of over {_MOST_DIRECTORY:,} bytes"
        raise Malformed(f"the zip has over {most}", where=file.path)
    directory = file.read(offset, size)
    by_name: dict[str, Member] = {}
    spans: list[tuple[int, int, str]] = []
    at = 0
    for _ in range(count):
        member, stop, at = _member_at(file, directory, at, offset)
        by_name[member.name] = member
        spans.append((member.header, stop, member.name))
    if len(by_name) < count:
        twin = next(name for name, following in pairwise(sorted(name for _, _, name in spans)) if name == following)
        raise Malformed(f"two members of the zip are called {twin!r}", where=file.path)
    if at != size:
        raise Malformed("the zip's central directory holds more than it says", where=file.path)
    _check_no_overlap(file, spans, offset)
    return by_name


def _end_record(file: File) -> tuple[int, int, int, int]:
    """How many members there are, size and offset of the central directory, and where the end records begin."""
    tail_size = min(file.size, END.size + 65535)
    tail = file.read(file.size - tail_size, tail_size)
    at = tail.rfind(b"PK\5\6")
    if at < 0 or at + END.size > len(tail):
        raise Malformed("truncated: the end of the zip is missing", "download or copy it again", file.path)
    _, disk, first, here, count, size, offset, comment = END.unpack_from(tail, at)
    if disk or first or here != count or at + END.size + comment != len(tail):
        raise Malformed("the zip has more than one end, or bytes after it", where=file.path)
    end = file.size - tail_size + at
    wide = _end64(file, end)
    if not wide:
        if _ONES in (size, offset) or count == 0xFFFF:
            raise Malformed("the zip's 64-bit end record is missing", where=file.path)
        return count, size, offset, end
    if any(value not in pair for value, *pair in zip((count, size, offset), wide[:3], _ALL_ONES, strict=True)):
        raise Malformed("the zip's two end records disagree", where=file.path)
    return wide


def _end64(file: File, end: int) -> tuple[int, int, int, int] | None:
    """The same from the 64-bit end record, which stands before the other one; None where there is none."""
    if end < LOCATOR64.size:
        return None
    signature, disk, at, disks = LOCATOR64.unpack(file.read(end - LOCATOR64.size, LOCATOR64.size))
    if signature != b"PK\6\7":
        return None
    if disk or disks != 1 or at + END64.size > end - LOCATOR64.size:
        raise Malformed("the zip's 64-bit end record is broken", where=file.path)
    fields = END64.unpack(file.read(at, END64.size))
    if fields[0] != b"PK\6\6" or fields[4] or fields[5] or fields[6] != fields[7] or at + 12 + fields[1] != end - LOCATOR64.size:
        raise Malformed("the zip's 64-bit end record is broken", where=file.path)
    return fields[7], fields[8], fields[9], at


def _member_at(file: File, directory: bytes, at: int, base: int) -> tuple[Member, int, int]:
    """The member whose record is at `at`, the least offset at which it may end, and where the next record is."""
    if at + 46 > len(directory):
        raise Malformed("the zip's central directory is truncated", where=file.path)
    signature, flags, method, crc, packed, size, name_size, extra_size, comment_size, header = _RECORD.unpack_from(directory, at)
    names = at + 46 + name_size
    stop = names + extra_size + comment_size
    if signature != b"PK\1\2" or stop > len(directory):
        raise Malformed("the zip's central directory is broken", where=file.path)
    try:
        name = str(directory[at + 46 : names], "utf-8")
    except UnicodeDecodeError:
        raise Malformed("a member's name is not UTF-8", where=file.path) from None
    if packed == _ONES or size == _ONES or header == _ONES:
        size, packed, header = _wide(file, directory[names : stop - comment_size], size, packed, header)
    if flags & 1:
        raise Malformed(f"member {name!r} is encrypted", where=file.path)
    if method == 0 and size != packed:
        raise Malformed(f"member {name!r} has two sizes", where=file.path)
    end = header + 30 + name_size + packed
    if end > base:
        raise Malformed(f"member {name!r} lies outside of the file", "download or copy it again", file.path)
    return Member(file, name, header, size, crc, flags, method, packed, base + at), end, stop


def _wide(file: File, extra: bytes, size: int, packed: int, header: int) -> tuple[int, int, int]:
    """Size, packed size and header, with the 64-bit values of extra record 1 for those that are all ones (APPNOTE 4.5.3)."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = extra[at] | extra[at + 1] << 8, extra[at + 2] | extra[at + 3] << 8
        if kind == 1:
            record = extra[at + 4 : at + 4 + length]
            wide = iter([int.from_bytes(record[i : i + 8], "little") for i in range(0, len(record) - 7, 8)])
            values = [next(wide, -1) if value == _ONES else value for value in (size, packed, header)]
            if -1 not in values:
                return values[0], values[1], values[2]
        at += 4 + length
    raise Malformed("a 64-bit size is missing in the zip", where=file.path)


def _check_no_overlap(file: File, spans: list[tuple[int, int, str]], end: int) -> None:
    previous = 0
    for header, stop, name in sorted(spans):
        if header < previous:
            raise Malformed(f"member {name!r} overlaps another one", where=file.path)
        previous = stop
    if previous > end:
        raise Malformed("the zip's members overlap its directory", where=file.path)
