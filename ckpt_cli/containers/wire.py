"""Protocol buffers on the wire: fields, read where they lie and written one after the other. Nothing here knows a message.

    field    tag (number << 3 | wire type), then a varint, 8 bytes, a length and as many bytes, or 4 bytes

As in the encoding guide of protobuf.dev. Groups are refused. What is read may be bytes, or a `Window` on a file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..errors import Malformed
from ..file import File

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_SIZES = {FIXED64: 8, FIXED32: 4}
_PAGE = 4096


class Window:
    """A run of bytes of a file, read by the page: for what is large and of which little is looked at."""

    def __init__(self, file: File, offset: int, nbytes: int) -> None:
        self.file, self.offset, self.nbytes = file, offset, nbytes
        self._at, self._page = 0, b""

    def __len__(self) -> int:
        return self.nbytes

    def __getitem__(self, place: int) -> int:
        if not self._at <= place < self._at + len(self._page):
            self._at, self._page = place, self.file.read(self.offset + place, min(_PAGE, self.nbytes - place))
        return self._page[place - self._at]

    def bytes(self, start: int, stop: int) -> bytes:
        return self.file.read(self.offset + start, stop - start)


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
    def signed(self) -> int:
        """An int64 or int32 as it was before it was written as a varint."""
        return self.value - (1 << 64) if self.value >> 63 else self.value


def varint(data: Data, at: int, stop: int) -> tuple[int, int]:
    """The number at `at`, and where it ends. Raises Malformed where it is cut off or does not fit 64 bits."""
    if at < stop and (byte := data[at]) < 0x80:  # most are small
        return byte, at + 1
    value = shift = 0
    while at < stop and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 64:
                break
            return value, at
        shift += 7
    raise Malformed("a number is cut off, or longer than 64 bits")


def fields(data: Data, start: int = 0, stop: int | None = None) -> Iterator[Field]:
    """The fields of the message that lies in [start, stop). Raises Malformed where they do not fill it."""
    at, stop = start, len(data) if stop is None else stop
    while at < stop:
        tag, begin = varint(data, at, stop)
        number, kind = tag >> 3, tag & 7
        value = 0
        if kind == VARINT:
            value, at = varint(data, begin, stop)
        elif kind == BYTES:
            size, begin = varint(data, begin, stop)
            at = begin + size
        elif kind in _SIZES:
            at = begin + _SIZES[kind]
        else:
            raise Malformed(f"a field of wire type {kind} is not known")
        if at > stop or not number:
            raise Malformed("a field reaches beyond its message" if number else "a field has the number 0")
        if kind in _SIZES:
            value = int.from_bytes(piece(data, begin, at), "little")
        yield Field(number, kind, value, begin, at)


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
