"""Zip archives as checkpoints use them: stored members, read where they lie. Structures as in PKWARE's APPNOTE 6.3.10.

A strict reader with one interpretation: one end record at the very end, no twins, no overlap, no encryption. Nothing is extracted.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from struct import Struct, pack
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from ...errors import Malformed
from ...storage.checksums import CRC32
from ...storage.file import File, FileWindow
from ...storage.storage import Extent, Memory, Storage

if TYPE_CHECKING:
    from ...disk.layout import FileLayout, Placed
    from ...disk.patch import Checksum, Patch

_END = Struct("<4s4H2LH")
_END64 = Struct("<4sQ2H2L4Q")
_LOCATOR64 = Struct("<4sLQL")
_CENTRAL = Struct("<4s6H3L5H2L")
_RECORD = Struct("<4s4x2H4x3L3H8xL")  # what is read of a record of the central directory
_LOCAL = Struct("<4s5H3L2H")
INFLATE_LIMIT = 256 << 20
# What is read into memory as a whole; honest archives stay far below.
_MOST_CONTENTS = 1 << 30
_MOST_MEMBERS = 2_000_000
_MOST_DIRECTORY = 512 << 20
_ALL_ONES = (0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)  # what the end record says of members, size and offset where the 64-bit one counts


class Member(Extent):
    """A member of the archive. Where its data begin is read from its local header when first asked for.

    `entry` is the offset of its record in the central directory, for whoever mends the checksum there.
    """

    __slots__ = ("entry", "flags", "header", "method", "name", "packed")

    def __init__(self, file: File, name: str, header: int, nbytes: int, crc: int, flags: int, method: int, packed: int, entry: int) -> None:
        self.file, self.offset, self.nbytes, self.crc = file, -1, nbytes, crc
        self.name, self.header, self.flags, self.method, self.packed, self.entry = name, header, flags, method, packed, entry

    def place(self) -> int:
        if self.offset < 0:
            self.offset = self._locate()
        return self.offset

    def _locate(self) -> int:
        if self.method:
            raise Malformed(f"member {self.name!r} is compressed; tensors are stored as they are", where=self.file.path)
        return self.data_offset()

    def data_offset(self) -> int:
        """Where the data begin. The local header has to say what the central directory says."""
        fields = _LOCAL.unpack(self.file.read(self.header, _LOCAL.size))
        signature, flags, method, crc, packed, size = fields[0], fields[2], fields[3], fields[6], fields[7], fields[8]
        name = self.file.read(self.header + _LOCAL.size, fields[9])
        known = flags & 8 or 0xFFFFFFFF in (packed, size) or (crc, packed, size) == (self.crc, self.packed, self.nbytes)
        if signature != b"PK\3\4" or name != self.name.encode() or method != self.method or flags != self.flags or not known:
            raise Malformed(f"member {self.name!r}: its local header and the central directory disagree", where=self.file.path)
        return self.header + int(_LOCAL.size) + int(fields[9]) + int(fields[10])

    def checksum(self) -> Checksum:
        """Its CRC-32, which stands in the central directory, and behind the data (the signature there is optional) or before them."""
        from ...disk.patch import Checksum

        start = self.place()
        stop, again = start + self.nbytes, self.header + 14
        if self.flags & 8:
            again = stop + 4 if self.file.read(stop, 4) == b"PK\7\x08" else stop
        return Checksum(start, stop, self.crc or 0, (self.entry + 16, again))

    def contents(self) -> bytes:
        """All of it, inflated where it is deflated (torch itself stores everything), up to a limit."""
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
        if len(data) != self.nbytes or crc32(data) != self.crc:
            raise Malformed(f"member {self.name!r} is broken: its length or checksum is wrong", where=self.file.path)
        return data


def is_zip(file: File) -> bool:
    return file.head[:4] == b"PK\3\4"


def members(file: File) -> dict[str, Member]:
    """The members by name, in the order of the central directory. Raises Malformed for any archive that is not whole and plain."""
    found: dict[str, Member] = file.fact("zip", _members)
    return found


def within(file: File, start: int, nbytes: int) -> dict[str, Member]:
    """The members of an archive that is a run of `file`; its own offsets count from `start`."""
    found: dict[str, Member] = file.fact(f"zip {start} {nbytes}", lambda file: _shifted(file, start, nbytes))
    return found


def _shifted(file: File, start: int, nbytes: int) -> dict[str, Member]:
    found = _members(FileWindow(file, start, nbytes))
    for member in found.values():
        member.file, member.header, member.entry = file, member.header + start, member.entry + start
    return found


def _members(file: File) -> dict[str, Member]:
    count, size, offset, end = _end_record(file)
    if offset + size != end:
        raise Malformed("the zip's central directory does not end where its end record begins", where=file.path)
    if count > _MOST_MEMBERS or size > _MOST_DIRECTORY:
        most = f"{_MOST_MEMBERS:,} members, or a directory of over {_MOST_DIRECTORY:,} bytes"
        raise Malformed(f"the zip has over {most}", where=file.path)
    directory = file.read(offset, size)
    found: dict[str, Member] = {}
    spans: list[tuple[int, int, str]] = []
    at = 0
    for _ in range(count):
        member, stop, at = _entry(file, directory, at, offset)
        found[member.name] = member
        spans.append((member.header, stop, member.name))
    if len(found) < count:
        twin = next(one for one, two in pairwise(sorted(name for _, _, name in spans)) if one == two)
        raise Malformed(f"two members of the zip are called {twin!r}", where=file.path)
    if at != size:
        raise Malformed("the zip's central directory holds more than it says", where=file.path)
    _check_apart(file, spans, offset)
    return found


def _end_record(file: File) -> tuple[int, int, int, int]:
    """Members, size and offset of the central directory, and where the end records begin."""
    tail_size = min(file.size, _END.size + 65535)
    tail = file.read(file.size - tail_size, tail_size)
    at = tail.rfind(b"PK\5\6")
    if at < 0 or at + _END.size > len(tail):
        raise Malformed("truncated: the end of the zip is missing", "download or copy it again", file.path)
    _, disk, first, here, count, size, offset, comment = _END.unpack_from(tail, at)
    if disk or first or here != count or at + _END.size + comment != len(tail):
        raise Malformed("the zip has more than one end, or bytes after it", where=file.path)
    end = file.size - tail_size + at
    found = _end64(file, end)
    if not found:
        if 0xFFFFFFFF in (size, offset) or count == 0xFFFF:
            raise Malformed("the zip's 64-bit end record is missing", where=file.path)
        return count, size, offset, end
    if any(one not in (wide, ones) for one, wide, ones in zip((count, size, offset), found[:3], _ALL_ONES, strict=True)):
        raise Malformed("the zip's two end records disagree", where=file.path)
    return found


def _end64(file: File, end: int) -> tuple[int, int, int, int] | None:
    if end < _LOCATOR64.size:
        return None
    signature, disk, at, disks = _LOCATOR64.unpack(file.read(end - _LOCATOR64.size, _LOCATOR64.size))
    if signature != b"PK\6\7":
        return None
    if disk or disks != 1 or at + _END64.size > end - _LOCATOR64.size:
        raise Malformed("the zip's 64-bit end record is broken", where=file.path)
    fields = _END64.unpack(file.read(at, _END64.size))
    if fields[0] != b"PK\6\6" or fields[4] or fields[5] or fields[6] != fields[7] or at + 12 + fields[1] != end - _LOCATOR64.size:
        raise Malformed("the zip's 64-bit end record is broken", where=file.path)
    return fields[7], fields[8], fields[9], at


def _entry(file: File, directory: bytes, at: int, base: int) -> tuple[Member, int, int]:
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
    if packed == 0xFFFFFFFF or size == 0xFFFFFFFF or header == 0xFFFFFFFF:
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
    """The 64-bit fields of extra record 1, for those of the three that are all ones."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = extra[at] | extra[at + 1] << 8, extra[at + 2] | extra[at + 3] << 8
        if kind == 1:
            record = extra[at + 4 : at + 4 + length]
            wide = iter([int.from_bytes(record[i : i + 8], "little") for i in range(0, len(record) - 7, 8)])
            values = [next(wide, -1) if value == 0xFFFFFFFF else value for value in (size, packed, header)]
            if -1 not in values:
                return values[0], values[1], values[2]
        at += 4 + length
    raise Malformed("a 64-bit size is missing in the zip", where=file.path)


def _check_apart(file: File, spans: list[tuple[int, int, str]], end: int) -> None:
    previous = 0
    for header, stop, name in sorted(spans):
        if header < previous:
            raise Malformed(f"member {name!r} overlaps another one", where=file.path)
        previous = stop
    if previous > end:
        raise Malformed("the zip's members overlap its directory", where=file.path)


def patch(file: File, pairs: Sequence[tuple[Storage, Storage]] | None) -> Patch | None:
    """What changes in an archive where stored members are replaced; None where more changes than the bytes of such."""
    from ...disk.patch import Patch, of_extents

    members = [before for before, _ in pairs or () if isinstance(before, Member)]
    found = of_extents(pairs) if pairs is not None and len(members) == len(pairs) else None
    checksums = [member.checksum() for member in members if member.crc]  # else torch was told to compute none (set_crc32_options)
    return None if found is None else Patch(file, found, checksums)


class Writer:
    """Writes an archive as torch does: stored members, each one's data at a multiple of `alignment`, checksums behind the data."""

    def __init__(self, file_layout: FileLayout, alignment: int = 64) -> None:
        self.file_layout, self.alignment, self.start = file_layout, alignment, file_layout.at  # offsets count from where the archive begins
        self.entries: list[_Entry] = []
        self.end = -1

    def add(self, name: str, *contents: Storage | bytes) -> None:
        """Lay out one member. What lies whole in another archive is copied in the kernel with the checksum that stands there."""
        storages = [Memory(part) if isinstance(part, bytes) else part for part in contents]
        raw, size, header = name.encode(), sum(storage.nbytes for storage in storages), self.file_layout.at - self.start
        wide = size >= 0xFFFFFFFF
        extra = _padding(header + _LOCAL.size + len(raw), self.alignment, pack("<HH2Q", 1, 16, size, size) if wide else b"")
        shown = 0xFFFFFFFF if wide else 0
        self.file_layout.write(
            _LOCAL.pack(b"PK\3\4", 45 if wide else 0, 0x0808, 0, 0, 0, 0, shown, shown, len(raw), len(extra)) + raw + extra
        )
        puts = [self.file_layout.put(storage, CRC32) for storage in storages]
        self.entries.append(_Entry(raw, header, size, puts, self.file_layout.skip(24 if wide else 16)))

    def close(self) -> None:
        """Write the members, and the directory of what became of them."""
        self.lay_end()
        self.file_layout.settle()
        self.fill_end()

    def lay_end(self) -> int:
        """Leave room for the directory, whose checksums are not known yet; the bytes that the whole archive takes."""
        self.end = self.file_layout.at
        self.file_layout.skip(len(self._directory()))
        return self.file_layout.at - self.start

    def fill_end(self) -> None:
        """Once the layout is settled: the directory of what became of the members."""
        for entry in self.entries:
            self.file_layout.fill(entry.behind, entry.descriptor())
        self.file_layout.fill(self.end, self._directory())

    def _directory(self) -> bytes:
        central = b"".join([entry.record() for entry in self.entries])
        offset, size, count = self.end - self.start, len(central), len(self.entries)
        if count >= 0xFFFF or offset >= 0xFFFFFFFF or size >= 0xFFFFFFFF:
            central += _END64.pack(b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, offset)
            central += _LOCATOR64.pack(b"PK\6\7", 0, offset + size, 1)
        count = min(count, 0xFFFF)
        return central + _END.pack(b"PK\5\6", 0, 0, count, count, min(size, 0xFFFFFFFF), min(offset, 0xFFFFFFFF), 0)


class _Entry(NamedTuple):
    """A member as it was laid out: its header's place, its size, where its data are put, and the place behind them."""

    name: bytes
    header: int
    size: int
    puts: list[Placed]
    behind: int

    @property
    def crc(self) -> int:
        whole = self.puts[0].crc
        for put in self.puts[1:]:
            whole = CRC32.joined(whole, put.crc, put.storage.nbytes)
        return whole

    def descriptor(self) -> bytes:
        return pack("<4sLQQ" if self.size >= 0xFFFFFFFF else "<4sLLL", b"PK\7\x08", self.crc, self.size, self.size)

    def record(self) -> bytes:
        """Its record in the central directory."""
        wide = [value for value in (self.size, self.size, self.header) if value >= 0xFFFFFFFF]
        extra = pack(f"<HH{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
        size, header = min(self.size, 0xFFFFFFFF), min(self.header, 0xFFFFFFFF)
        version = 45 if wide else 0
        lengths = (len(self.name), len(extra), 0, 0, 0, 0)
        return _CENTRAL.pack(b"PK\1\2", version, version, 0x0808, 0, 0, 0, self.crc, size, size, *lengths, header) + self.name + extra


def _padding(at: int, alignment: int, first: bytes) -> bytes:
    """Extra fields that push the data to a multiple of `alignment`: record "FB" filled with Z, as torch's writer has it."""
    start = at + len(first)
    pad = -(start + 4) % alignment
    return first + pack("<HH", 0x4246, pad) + b"Z" * pad
