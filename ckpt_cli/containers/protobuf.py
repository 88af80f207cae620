"""Protocol Buffers on the wire: the fields of a message as numbers and as spans of the file, without a copy, and without a schema.

    field = varint(number << 3 | wire) value;   wire 0: varint, 1: 8 bytes, 2: length and bytes, 5: 4 bytes

Specified at protobuf.dev, "Encoding". Groups (3, 4) are refused: no schema of today has them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..errors import Malformed
from ..file import File
from ..storage import Extent, Storage

_WINDOW = 1 << 16
_MOST_FIELDS = 4_000_000
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
DEEPEST = 100  # messages in messages, as protobuf's own readers have it


class Field(NamedTuple):
    """A field: `value` is that of a varint, 0 for others, which are the bytes [begin, end) of the file."""

    number: int
    wire: int
    begin: int
    end: int
    value: int

    @property
    def is_bytes(self) -> bool:
        return self.wire == _BYTES

    @property
    def nbytes(self) -> int:
        return self.end - self.begin

    @property
    def signed(self) -> int:
        """A varint as an int64."""
        return self.value - (1 << 64) if self.value >> 63 else self.value


class Source:
    """A file of which a window is held: messages are read from front to back, and long fields are passed over."""

    def __init__(self, file: File) -> None:
        self.file, self._start, self._data, self._fields = file, 0, b"", 0

    def fields(self, begin: int, end: int) -> Iterator[Field]:
        """The fields of the message in the bytes [begin, end). Raises Malformed."""
        at = begin
        while at < end:
            self._fields += 1
            if self._fields > _MOST_FIELDS:
                raise Malformed(f"over {_MOST_FIELDS:,} fields: no model has as many")
            key, at = self.varint(at, end)
            number, wire = key >> 3, key & 7
            if not 0 < number < 1 << 29:
                raise Malformed(f"at byte {at:,} stands no field of a message")
            field = self._field(number, wire, at, end)
            yield field
            at = field.end

    def _field(self, number: int, wire: int, at: int, end: int) -> Field:
        if wire == _VARINT:
            value, stop = self.varint(at, end)
            return Field(number, wire, at, stop, value)
        if wire == _BYTES:
            length, at = self.varint(at, end)
        elif wire in (_EIGHT, _FOUR):
            length = 8 if wire == _EIGHT else 4
        else:
            raise Malformed(f"at byte {at:,} stands a field of wire type {wire}, which is not known")
        if length > end - at:
            missing = at + length - end
            raise Malformed(f"truncated: a field lacks {missing:,} bytes", "download or copy it again")
        return Field(number, wire, at, at + length, 0)

    def varint(self, at: int, end: int) -> tuple[int, int]:
        """The number that begins at byte `at`, and where it ends."""
        place = at - self._start
        if at < end and 0 <= place < len(self._data) and self._data[place] < 128:  # most have one byte
            return self._data[place], at + 1
        value = shift = 0
        while shift < 70:
            if at >= min(end, self.file.size):
                raise Malformed("truncated: the file ends within a number", "download or copy it again")
            place = at - self._start
            if not 0 <= place < len(self._data):
                self._start, place = at, 0
                self._data = self.file.read(at, min(_WINDOW, self.file.size - at))
            byte = self._data[place]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value & 0xFFFFFFFFFFFFFFFF, at
            shift += 7
        raise Malformed(f"the number before byte {at:,} has over 10 bytes")

    def bytes(self, field: Field, most: int = 1 << 24) -> bytes:
        """The bytes of a field that is to be short."""
        if not field.is_bytes or field.nbytes > most:
            raise Malformed(f"field {field.number} at byte {field.begin:,} is {field.nbytes:,} bytes long, or no text")
        return self.file.read(field.begin, field.nbytes)

    def text(self, field: Field) -> str:
        """A text; what is no UTF-8 in it is shown as escapes."""
        return self.bytes(field).decode(errors="backslashreplace")

    def varints(self, field: Field) -> list[int]:
        """Signed integers of a repeated field, packed or one alone; few."""
        if not field.is_bytes:
            return [field.signed]
        found, at = [], field.begin
        while at < field.end:
            value, at = self.varint(at, field.end)
            found.append(value - (1 << 64) if value >> 63 else value)
            if len(found) > 1 << 16:
                raise Malformed(f"field {field.number} has over 65,536 numbers")
        return found


class Varints(Storage):
    """Packed varints as integers of `size` bytes each, `count` of them, little-endian: what does not fit is cut off, as a cast does.

    They are of any length, so reading begins at the front, or goes on where it was.
    """

    __slots__ = ("_at", "_ready", "count", "of", "size")

    def __init__(self, of: Extent, size: int, count: int) -> None:
        self.of, self.size, self.count, self.nbytes = of, size, count, size * count
        self._rewind()

    def _rewind(self) -> None:
        self._at, self._ready = 0, (0, b"")  # bytes of the source that are decoded; what they gave last, and where that begins

    def parts(self) -> tuple[Storage, ...]:
        return (self.of,)

    def divisible(self) -> bool:
        return False

    def prepare(self) -> None:
        import numpy  # noqa: F401

    def readinto(self, start: int, view: memoryview) -> None:
        if start < self._ready[0]:
            self._rewind()
        done = 0
        while done < len(view):
            begin, block = self._ready
            piece = block[max(start + done - begin, 0) :][: len(view) - done]
            view[done : done + len(piece)] = piece
            done += len(piece)
            if done < len(view):
                self._next(begin + len(block))

    def _next(self, begin: int) -> None:
        """Decode the next numbers, which begin at byte `begin` of what is made."""
        raw = self.of.read(self._at, min(self._at + _WINDOW, self.of.nbytes))
        found, used = _decoded(raw, self.size)
        self._at += used
        if not found or (self._at == self.of.nbytes) != (begin + len(found) >= self.nbytes) or begin + len(found) > self.nbytes:
            raise Malformed(f"the data do not hold {self.count:,} numbers, as the shape says", where=self.of.file.path)
        self._ready = begin, found


def _decoded(raw: bytes, size: int) -> tuple[bytes, int]:
    """The whole varints at the beginning of `raw`, as integers of `size` bytes, and how many bytes they are."""
    import numpy

    data = numpy.frombuffer(raw, "u1")
    ends = numpy.flatnonzero(data < 128) + 1
    if not ends.size:
        return b"", 0
    begins = numpy.concatenate([[0], ends[:-1]])
    places = numpy.arange(ends[-1]) - numpy.repeat(begins, ends - begins)
    if places.max(initial=0) > 9:
        return b"", 0
    parts = (data[: ends[-1]] & 127).astype("u8") << (7 * places).astype("u8")
    return numpy.add.reduceat(parts, begins).astype(f"<u{size}").tobytes(), int(ends[-1])
