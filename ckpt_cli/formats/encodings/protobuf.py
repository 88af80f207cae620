"""Protocol Buffers on the wire: fields, read where they lie and written one after the other. Nothing here knows a message.

    field    tag (number << 3 | wire type), then a varint, 8 bytes, a length and as many bytes, or 4 bytes

As in the encoding guide of protobuf.dev. Groups are refused: no schema of today has them. What is read may be bytes, or a `Window` on a
file, where long fields are passed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ...errors import Malformed
from ...storage.file import File

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_SIZES = {FIXED64: 8, FIXED32: 4}
_PAGE = 1 << 14
_MOST_FIELDS = 4_000_000  # of a window; what is held as bytes is bounded by whoever read them
DEEPEST = 100  # messages in messages, as protobuf's own readers have it


class Window:
    """A run of bytes of a file, read by the page: for what is large and of which little is looked at."""

    def __init__(self, file: File, offset: int, nbytes: int) -> None:
        self.file, self.offset, self.nbytes = file, offset, nbytes
        self._at, self._page, self._fields = 0, b"", 0

    def __len__(self) -> int:
        return self.nbytes

    def __getitem__(self, place: int) -> int:
        if not self._at <= place < self._at + len(self._page):
            self._at, self._page = place, self.file.read(self.offset + place, min(_PAGE, self.nbytes - place))
        return self._page[place - self._at]

    def bytes(self, start: int, stop: int) -> bytes:
        if self._at <= start and stop <= self._at + len(self._page):
            return self._page[start - self._at : stop - self._at]
        return self.file.read(self.offset + start, stop - start)

    def count_field(self) -> None:
        """Raises Malformed where there were too many."""
        self._fields += 1
        if self._fields > _MOST_FIELDS:
            raise Malformed(f"over {_MOST_FIELDS:,} fields: no model has as many")


Data = bytes | Window


def piece(data: Data, start: int, stop: int) -> bytes:
    return data[start:stop] if isinstance(data, bytes) else data.bytes(start, stop)


class Field(NamedTuple):
    """`value`: the number of a varint or a fixed field. `start`, `stop`: where the bytes of the others lie, or the number itself."""

    number: int
    kind: int
    value: int
    start: int
    stop: int

    @property
    def nbytes(self) -> int:
        return self.stop - self.start

    @property
    def signed(self) -> int:
        """An int64 or int32 as it was before it was written as a varint."""
        return _signed(self.value)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def varint(data: Data, at: int, stop: int) -> tuple[int, int]:
    """The number at `at`, and where it ends. Raises Malformed where it is cut off or does not fit 64 bits."""
    if at < stop and (byte := data[at]) < 0x80:  # most are small
        return byte, at + 1
    value = shift = 0
    while shift < 70:
        if at >= stop:
            raise Malformed("truncated: a number is cut off", "download or copy it again")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80 and not value >> 64:
            return value, at
        shift += 7
    raise Malformed(f"the number before byte {at:,} is longer than 64 bits")


def fields(data: Data, start: int = 0, stop: int | None = None) -> Iterator[Field]:
    """The fields of the message that lies in [start, stop). Raises Malformed where they do not fill it."""
    at, stop = start, len(data) if stop is None else stop
    end = min(stop, len(data))
    while at < stop:
        if isinstance(data, Window):
            data.count_field()
        tag, begin = varint(data, at, end)
        number, kind = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise Malformed(f"the field at byte {at:,} has the number {number:,}")
        value, begin, at = _extent(data, kind, begin, end)
        if at > stop:
            raise Malformed(f"truncated: a field lacks {at - stop:,} bytes", "download or copy it again")
        if kind in _SIZES:
            value = int.from_bytes(piece(data, begin, at), "little")
        yield Field(number, kind, value, begin, at)


def _extent(data: Data, kind: int, at: int, end: int) -> tuple[int, int, int]:
    """Of what stands behind a tag: the number, where it is a varint, and where its bytes begin and end."""
    if kind == VARINT:
        value, stop = varint(data, at, end)
        return value, at, stop
    if kind == BYTES:
        size, at = varint(data, at, end)
        return 0, at, at + size
    if kind not in _SIZES:
        raise Malformed(f"a field of wire type {kind} is not known")
    return 0, at, at + _SIZES[kind]


def varints(data: Data, field: Field) -> list[int]:
    """Signed integers of a repeated field, packed or one alone; few."""
    if field.kind != BYTES:
        return [field.signed]
    found, at = [], field.start
    while at < field.stop:
        value, at = varint(data, at, field.stop)
        found.append(_signed(value))
        if len(found) > 1 << 16:
            raise Malformed(f"field {field.number} has over 65,536 numbers")
    return found


def message(data: Data, kinds: dict[int, int], start: int = 0, stop: int | None = None) -> dict[int, Field]:
    """The fields of a message in which none is repeated. `kinds`: number → wire type of those that are wanted; others are passed over."""
    found: dict[int, Field] = {}
    for field in fields(data, start, stop):
        if field.number not in kinds:
            continue
        if field.kind != kinds[field.number]:
            raise Malformed(f"field {field.number} is of wire type {field.kind}, not {kinds[field.number]}")
        if field.number in found:
            raise Malformed(f"field {field.number} is there twice")
        found[field.number] = field
    return found


def number(value: int) -> bytes:
    """A varint; negative ones as 64 bits."""
    value &= (1 << 64) - 1
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def integer(field: int, value: int) -> bytes:
    """A varint field; left out where it is 0, as proto3 has it."""
    return number(field << 3 | VARINT) + number(value) if value else b""


def fixed32(field: int, value: int) -> bytes:
    return number(field << 3 | FIXED32) + value.to_bytes(4, "little") if value else b""


def nested(field: int, contents: bytes) -> bytes:
    """A field of bytes: a text or another message."""
    return number(field << 3 | BYTES) + number(len(contents)) + contents
