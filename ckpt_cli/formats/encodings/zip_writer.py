"""A writer of zips as torch writes them: stored members, aligned, with their checksums behind the data.

Structures as in PKWARE's APPNOTE 6.3.10; alignment and data descriptors as in caffe2/serialize/inline_container.cc.
"""

from __future__ import annotations

from struct import Struct, pack
from typing import NamedTuple

from ...disk.layout import FileLayout, Placed
from ...storage.checksums import CRC32
from ...storage.storage import Memory, Storage
from .zip import END, END64, LOCAL, LOCATOR64

_CENTRAL = Struct("<4s6H3L5H2L")
_FLAGS = 0x0808  # the name is UTF-8; a data descriptor follows the data
_ZIP64 = 45  # the version that is needed to read 64-bit sizes
_ONES = 0xFFFFFFFF  # stands in a 32-bit field whose value is in a 64-bit one


class Writer:
    """Lays out an archive from where `file_layout` is. The data of each member begin at a multiple of `alignment` bytes."""

    def __init__(self, file_layout: FileLayout, alignment: int = 64) -> None:
        self.file_layout, self.alignment, self.start = file_layout, alignment, file_layout.at  # offsets count from where the archive begins
        self.members: list[_LaidOutMember] = []
        self.end = -1

    def add(self, name: str, *contents: Storage | bytes) -> None:
        """Lay out one member. A storage that lies whole in another archive is copied by the kernel, with the checksum that stands there."""
        storages = [Memory(part) if isinstance(part, bytes) else part for part in contents]
        raw, size, header = name.encode(), sum(storage.nbytes for storage in storages), self.file_layout.at - self.start
        wide = size >= _ONES
        extra = _padding(header + LOCAL.size + len(raw), self.alignment, pack("<HH2Q", 1, 16, size, size) if wide else b"")
        size_field = _ONES if wide else 0
        local = LOCAL.pack(b"PK\3\4", _ZIP64 if wide else 0, _FLAGS, 0, 0, 0, 0, size_field, size_field, len(raw), len(extra))
        self.file_layout.write(local + raw + extra)
        placed = [self.file_layout.put(storage, CRC32) for storage in storages]
        self.members.append(_LaidOutMember(raw, header, size, placed, self.file_layout.skip(24 if wide else 16)))

    def close(self) -> None:
        """Write the members and the central directory."""
        self.lay_end()
        self.file_layout.settle()
        self.fill_end()

    def lay_end(self) -> int:
        """Leave room for the central directory, whose checksums are not known yet.

        Returns:
            The bytes that the whole archive takes.
        """
        self.end = self.file_layout.at
        self.file_layout.skip(len(self._directory()))
        return self.file_layout.at - self.start

    def fill_end(self) -> None:
        """Write the data descriptors and the central directory, once the layout is settled and the checksums are known."""
        for member in self.members:
            self.file_layout.fill(member.behind, member.descriptor())
        self.file_layout.fill(self.end, self._directory())

    def _directory(self) -> bytes:
        central = b"".join([member.record() for member in self.members])
        offset, size, count = self.end - self.start, len(central), len(self.members)
        if count >= 0xFFFF or offset >= _ONES or size >= _ONES:
            central += END64.pack(b"PK\6\6", 44, _ZIP64, _ZIP64, 0, 0, count, count, size, offset)
            central += LOCATOR64.pack(b"PK\6\7", 0, offset + size, 1)
        count = min(count, 0xFFFF)
        return central + END.pack(b"PK\5\6", 0, 0, count, count, min(size, _ONES), min(offset, _ONES), 0)


class _LaidOutMember(NamedTuple):
    """A member as it was laid out: its name, its header's place, its size, where its data are put, and the place behind them."""

    name: bytes
    header: int
    size: int
    placed: list[Placed]
    behind: int

    @property
    def crc(self) -> int:
        whole = self.placed[0].crc
        for part in self.placed[1:]:
            whole = CRC32.joined(whole, part.crc, part.storage.nbytes)
        return whole

    def descriptor(self) -> bytes:
        """The data descriptor, which follows the data (APPNOTE 4.3.9)."""
        return pack("<4sLQQ" if self.size >= _ONES else "<4sLLL", b"PK\7\x08", self.crc, self.size, self.size)

    def record(self) -> bytes:
        """Its record in the central directory (APPNOTE 4.3.12)."""
        wide = [value for value in (self.size, self.size, self.header) if value >= _ONES]
        extra = pack(f"<HH{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
        size, header = min(self.size, _ONES), min(self.header, _ONES)
        version = _ZIP64 if wide else 0
        lengths = (len(self.name), len(extra), 0, 0, 0, 0)
        return _CENTRAL.pack(b"PK\1\2", version, version, _FLAGS, 0, 0, 0, self.crc, size, size, *lengths, header) + self.name + extra


def _padding(at: int, alignment: int, first: bytes) -> bytes:
    """Extra fields, `first` among them, after which the data begin at a multiple of `alignment`.

    As torch's writer pads: a record "FB" that is filled with Z (inline_container.cc, `getPadding`).
    """
    start = at + len(first)
    pad = -(start + 4) % alignment
    return first + pack("<HH", 0x4246, pad) + b"Z" * pad
