"""Datasets of HDF5 that lie in chunks: pieces of one shape, each run through filters of its own when it was written.

Undone here: 1 deflate, 2 shuffle (the bytes of all elements sorted by their place in the element), 3 Fletcher-32 (a checksum of four bytes
behind the chunk). A chunk that was never written is all fill value. As in the HDF5 File Format Specification 3.0, IV.A.2.l.
"""

from __future__ import annotations

import zlib
from typing import Any, NamedTuple

from ...errors import Malformed
from ...storage.storage import Fill, Storage

_MOST = 256 << 20  # bytes of a row of chunks, which is decoded at once
_DEFLATE, _SHUFFLE, _FLETCHER = 1, 2, 3


class Chunk(NamedTuple):
    """Which chunk it is along each axis, where it lies, and the filters that it did not go through, as bits."""

    place: tuple[int, ...]
    at: int
    nbytes: int
    mask: int


def chunk_of(told: list[Any], sizes: list[int], shape: tuple[int, ...]) -> Chunk:
    """A chunk as hdf5_walk tells it. Raises Malformed where it is none of this shape's."""
    offset, at, nbytes, mask = told
    if (
        len(offset) != len(shape)
        or len(sizes) != len(shape)
        or any(n < 1 for n in sizes)
        or any(type(n) is not int or n < 0 for n in offset)
    ):
        raise Malformed("its chunks have other axes than it has")
    if any(n % size for n, size in zip(offset, sizes, strict=True)) or type(nbytes) is not int or nbytes < 0:
        raise Malformed("its chunks do not lie side by side")
    return Chunk(tuple(n // size for n, size in zip(offset, sizes, strict=True)), at, nbytes, mask)


class Chunked(Storage):
    """The elements of a dataset in C order, decoded a row of chunks at a time. `pieces`: place along each axis → bytes, mask."""

    __slots__ = ("_row", "_rows", "chunk", "fill", "filters", "path", "pieces", "shape", "size")

    def __init__(
        self, pieces: dict[tuple[int, ...], tuple[Storage, int]], fill: Fill, shape: tuple[int, ...], chunk: tuple[int, ...], size: int,
        filters: list[list[Any]], path: str,
    ) -> None:  # fmt: skip
        self.pieces, self.fill, self.shape, self.chunk, self.size = pieces, fill, shape, chunk, size
        self.filters, self.path, self.nbytes = filters, path, fill.nbytes
        self._row, self._rows = -1, b""

    def divisible(self) -> bool:
        return False

    def prepare(self) -> None:
        import numpy  # noqa: F401

    def readinto(self, start: int, view: memoryview) -> None:
        high = self.nbytes // self.shape[0] * self.chunk[0]  # bytes of a row of chunks
        done = 0
        while done < len(view):
            row, skip = divmod(start + done, high)
            piece = memoryview(self._decoded(row))[skip : skip + len(view) - done]
            view[done : done + len(piece)] = piece
            done += len(piece)
        if start + len(view) == self.nbytes:
            self._row, self._rows = -1, b""

    def _decoded(self, row: int) -> bytes:
        if row != self._row:
            self._row, self._rows = row, self._made(row)
        return self._rows

    def _made(self, row: int) -> bytes:
        """The elements of the row of chunks number `row`, C-contiguous."""
        import numpy

        high = min(self.chunk[0], self.shape[0] - row * self.chunk[0])
        shape = (high, *self.shape[1:])
        nbytes = high * (self.nbytes // self.shape[0])
        if max(nbytes, self._whole()) > _MOST:
            raise Malformed(f"dataset {self.path!r} lies in chunks of over {_MOST >> 20} MB, which are not read")
        made = numpy.frombuffer(bytearray(self.fill.read(0, nbytes)), f"V{self.size}").reshape(shape)
        for index, (storage, mask) in self.pieces.items():
            begins = [i * n for i, n in zip(index[1:], self.chunk[1:], strict=True)]
            if index[0] != row or any(begin >= n for begin, n in zip(begins, shape[1:], strict=True)):
                continue  # one of another row; or left from when the dataset was larger
            piece = numpy.frombuffer(self._plain(storage, mask), f"V{self.size}").reshape(self.chunk)
            place = made[(slice(None), *[slice(begin, begin + n) for begin, n in zip(begins, self.chunk[1:], strict=True)])]
            place[...] = piece[tuple(slice(n) for n in place.shape)]
        return made.tobytes()

    def _whole(self) -> int:
        """Bytes of a chunk once it is decoded."""
        nbytes = self.size
        for n in self.chunk:
            nbytes *= n
        return nbytes

    def _plain(self, storage: Storage, mask: int) -> bytes:
        """A chunk's elements: its filters undone, the last one first."""
        most, data = self._whole(), storage.read() if storage.nbytes <= 2 * _MOST else b""
        for place, (number, name) in reversed(list(enumerate(self.filters))):
            if mask >> place & 1:
                continue
            if number == _DEFLATE:
                data = self._inflated(data, most + 4)
            elif number == _SHUFFLE:
                data = _unshuffled(data, self.size)
            elif number == _FLETCHER:
                data = data[:-4]
            else:
                raise Malformed(
                    f"dataset {self.path!r} went through the filter {name or number!r}, which is not undone", "h5repack -f NONE undoes it"
                )
        if len(data) != most:
            raise Malformed(f"dataset {self.path!r}: a chunk of {most:,} bytes has {len(data):,}")
        return data

    def _inflated(self, data: bytes, most: int) -> bytes:
        inflate = zlib.decompressobj()
        try:
            return inflate.decompress(data, most)
        except zlib.error as error:
            raise Malformed(f"dataset {self.path!r}: a chunk is broken: {error}") from None


def _unshuffled(data: bytes, size: int) -> bytes:
    import numpy

    whole = len(data) // size * size
    return numpy.frombuffer(data[:whole], "u1").reshape(size, -1).T.tobytes() + data[whole:]
