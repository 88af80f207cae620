"""Elements that a file keeps as varints, 7 bits a byte: decoded when they are read."""

from __future__ import annotations

from ...errors import Malformed
from ...numbers.dtypes import DType
from ...storage.storage import Extent, Storage

_WINDOW = 1 << 16


class Varints(Storage):
    """Packed varints as `count` elements of `dtype`, little-endian. What does not fit is cut off, as a cast does.

    They are of any length, so reading begins at the front, or goes on where it was.
    """

    __slots__ = ("_at", "_ready", "count", "dtype", "of")

    def __init__(self, of: Storage, dtype: DType, count: int) -> None:
        self.of, self.dtype, self.count, self.nbytes = of, dtype, count, dtype.nbytes * count
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
        found, used = _decoded(raw, self.dtype)
        self._at += used
        where = self.of.file.path if isinstance(self.of, Extent) else ""
        if not found or (self._at == self.of.nbytes) != (begin + len(found) >= self.nbytes) or begin + len(found) > self.nbytes:
            raise Malformed(f"the data do not hold {self.count:,} numbers, as the shape says", where=where)
        self._ready = begin, found


def _decoded(raw: bytes, dtype: DType) -> tuple[bytes, int]:
    """The whole varints at the beginning of `raw`, as elements of `dtype`, and how many bytes they are."""
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
    values = numpy.add.reduceat(parts, begins)
    return (values != 0 if dtype.name == "bool" else values).astype(f"<u{dtype.nbytes}").tobytes(), int(ends[-1])
