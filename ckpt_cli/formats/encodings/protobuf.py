"""The wire format of Protocol Buffers: fields are read where they lie, and written one after the other. No schema is needed.

    field    tag (number << 3 | wire type), then a varint, 8 bytes, a length and as many bytes, or 4 bytes

As in the encoding guide of protobuf.dev. Groups are refused: no schema of today has them. Messages are read from bytes, or from a run of
a file (`PagedBytes`), where long fields are passed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ...errors import Malformed
from ...storage.file import File

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_SIZES = {FIXED64: 8, FIXED32: 4}
_PAGE = 1 << 14
_MOST_FIELDS = 4_000_000  # of a run of a file; bytes in memory are bounded by the one who read them
DEEPEST = 100  # messages in messages; the limit of protobuf's own readers


class PagedBytes:
    """A run of bytes of a file, read by the page: for a large message of which only a few fields are read."""

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
        """The bytes [start, stop) of the run."""
        if self._at <= start and stop <= self._at + len(self._page):
            return self._page[start - self._at : stop - self._at]
        return self.file.read(self.offset + start, stop - start)

    def count_field(self) -> None:
        """Count a field that is read. Raises Malformed where there were too many."""
        self._fields += 1
        if self._fields > _MOST_FIELDS:
            raise Malformed(f"over {_MOST_FIELDS:,} fields: no model has as many")


Data = bytes | PagedBytes


def piece(data: Data, start: int, stop: int) -> bytes:
    """The bytes [start, stop) of `data`."""
    return data[start:stop] if isinstance(data, bytes) else data.bytes(start, stop)


class Field(NamedTuple):
    """One field of a message.

    Attributes:
        number: The field's number in its schema.
        kind: Its wire type: VARINT, FIXED64, BYTES or FIXED32.
        value: The number of a varint or fixed field, unsigned; 0 for BYTES.
        start: Where the contents begin, after the tag and the length.
        stop: Where they end.
    """

    number: int
    kind: int
    value: int
    start: int
    stop: int

    @property
    def nbytes(self) -> int:
        """How many bytes the contents take."""
        return self.stop - self.start

    @property
    def signed(self) -> int:
        """The value of a varint that is an int64 or int32."""
        return _signed(self.value)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def varint(data: Data, at: int, stop: int) -> tuple[int, int]:
    """The number that begins at `at`, and where it ends. Raises Malformed where `stop` cuts it off or it does not fit 64 bits."""
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
    """The fields of the message that lies in [start, stop) of `data`. Raises Malformed where they do not fill it exactly."""
    at, stop = start, len(data) if stop is None else stop
    end = min(stop, len(data))
    while at < stop:
        if isinstance(data, PagedBytes):
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
    """What follows a tag that ends at `at`: the number where it is a varint (else 0), and where the contents begin and end."""
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
    """The signed integers of a repeated field, packed or a single one. Raises Malformed where there are over 65,536."""
    if field.kind != BYTES:
        return [field.signed]
    numbers, at = [], field.start
    while at < field.stop:
        value, at = varint(data, at, field.stop)
        numbers.append(_signed(value))
        if len(numbers) > 1 << 16:
            raise Malformed(f"field {field.number} has over 65,536 numbers")
    return numbers


def message(data: Data, kinds: dict[int, int], start: int = 0, stop: int | None = None) -> dict[int, Field]:
    """The fields of a message, by number.

    Args:
        data: The bytes that hold the message.
        kinds: The numbers of the wanted fields, and the wire type that each has to have. Other fields are passed over.
        start: Where the message begins.
        stop: Where it ends; None: at the end of `data`.

    Raises:
        Malformed: A wanted field is there twice, or is of another wire type.
    """
    by_number: dict[int, Field] = {}
    for field in fields(data, start, stop):
        if field.number not in kinds:
            continue
        if field.kind != kinds[field.number]:
            raise Malformed(f"field {field.number} is of wire type {field.kind}, not {kinds[field.number]}")
        if field.number in by_number:
            raise Malformed(f"field {field.number} is there twice")
        by_number[field.number] = field
    return by_number


def number(value: int) -> bytes:
    """A number as a varint; a negative one as its 64-bit two's complement."""
    value &= (1 << 64) - 1
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def integer(field: int, value: int) -> bytes:
    """A varint field; left out where it is 0, as in proto3."""
    return number(field << 3 | VARINT) + number(value) if value else b""


def fixed32(field: int, value: int) -> bytes:
    """A field of 4 bytes; left out where it is 0, as in proto3."""
    return number(field << 3 | FIXED32) + value.to_bytes(4, "little") if value else b""


def nested(field: int, contents: bytes) -> bytes:
    """A field of bytes: a text or another message."""
    return number(field << 3 | BYTES) + number(len(contents)) + contents
