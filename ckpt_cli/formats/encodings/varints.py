"""Elements that a file keeps as varints (base 128, 7 bits a byte, lowest first), decoded when they are read."""

from __future__ import annotations

from ...errors import CkptError, Malformed
from ...numbers.dtypes import DType
from ...storage.sequential import Sequential
from ...storage.storage import Extent, Storage

_WINDOW = 1 << 16  # bytes that are decoded at a time
_LONGEST = 10  # bytes of a varint of 64 bits


class Varints(Sequential):
    """Packed varints as `count` little-endian elements of `dtype`. High bits that do not fit are cut off, as a cast does."""

    __slots__ = ("_read_up_to", "count", "dtype", "of")

    def __init__(self, of: Storage, dtype: DType, count: int) -> None:
        self.of, self.dtype, self.count = of, dtype, count
        super().__init__(dtype.nbytes * count)

    def parts(self) -> tuple[Storage, ...]:
        """Return the storage of the varints."""
        return (self.of,)

    def prepare(self) -> None:
        """Import numpy, which decodes."""
        import numpy  # noqa: F401

    def begin(self) -> None:
        """Go to the first varint."""
        self._read_up_to = 0

    def produce(self, wanted: int) -> bytes:
        """Return the elements of the next 64 kB. Raises Malformed where the source has more or fewer of them than it should."""
        raw = self.of.read(self._read_up_to, min(self._read_up_to + _WINDOW, self.of.nbytes))
        elements, used = _decoded(raw, self.dtype)
        self._read_up_to += used
        stop = self.position + len(elements)
        if not elements or (self._read_up_to == self.of.nbytes) != (stop >= self.nbytes) or stop > self.nbytes:
            raise self.ended_early()
        return elements

    def ended_early(self) -> CkptError:
        """Return the error for a number of elements that is not the one the shape asks for."""
        where = self.of.file.path if isinstance(self.of, Extent) else ""
        return Malformed(f"the data do not hold {self.count:,} numbers, as the shape says", where=where)


def _decoded(raw: bytes, dtype: DType) -> tuple[bytes, int]:
    """The whole varints at the beginning of `raw` as elements of `dtype`, and how many bytes of `raw` they are."""
    import numpy

    data = numpy.frombuffer(raw, "u1")
    ends = numpy.flatnonzero(data < 128) + 1
    if not ends.size:
        return b"", 0
    begins = numpy.concatenate([[0], ends[:-1]])
    places = numpy.arange(ends[-1]) - numpy.repeat(begins, ends - begins)  # of a byte within its varint
    if places.max(initial=0) >= _LONGEST:
        return b"", 0
    parts = (data[: ends[-1]] & 127).astype("u8") << (7 * places).astype("u8")
    values = numpy.add.reduceat(parts, begins)
    return (values != 0 if dtype.name == "bool" else values).astype(f"<u{dtype.nbytes}").tobytes(), int(ends[-1])
