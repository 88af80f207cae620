"""Datasets of HDF5 that are kept in chunks of one shape, each passed through filters of its own when it was written.

These filters are undone: 1 deflate, 2 shuffle (all first bytes of the elements, then all second bytes, and so on), 3 Fletcher-32 (a
checksum of four bytes behind the chunk, which is dropped). As in the HDF5 File Format Specification 3.0, IV.A.2.l.
"""

from __future__ import annotations

import zlib
from typing import Any, NamedTuple

from ...errors import Malformed
from ...numbers.shapes import numel_of
from ...storage.grid import Grid
from ...storage.storage import Fill, Storage

_MOST = 256 << 20  # bytes of a row of chunks, which is decoded at once
_DEFLATE, _SHUFFLE, _FLETCHER = 1, 2, 3
_FLETCHER_SIZE = 4

Filters = list[list[Any]]  # number and name of each, in the order in which they were applied


class Chunk(NamedTuple):
    """Where a chunk lies: its index along each axis of the grid, its bytes in the file, and as bits the filters that it did not pass."""

    place: tuple[int, ...]
    at: int
    nbytes: int
    mask: int


def chunk_of(record: list[Any], sizes: list[int], shape: tuple[int, ...]) -> Chunk:
    """Return a chunk from what hdf5_walk says of it.

    Args:
        record: the index of its first element along each axis, its offset in the file, its bytes, its filter mask.
        sizes: the shape of a chunk.
        shape: the shape of the dataset.

    Raises:
        Malformed: these do not fit together.
    """
    offset, at, nbytes, mask = record
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


def chunked(
    pieces: dict[tuple[int, ...], tuple[Storage, int]],
    fill: Fill,
    shape: tuple[int, ...],
    chunk_shape: tuple[int, ...],
    size: int,
    filters: Filters,
    path: str,
) -> Grid:
    """Return the elements of a dataset in C order.

    Args:
        pieces: the filtered bytes and the filter mask of each chunk that was written, by its index in the grid.
        fill: the dataset as it is without any chunk.
        shape: the shape of the dataset.
        chunk_shape: the shape of a chunk.
        size: bytes of an element.
        filters: those of the dataset.
        path: its name, for errors.
    """
    chunks = {
        index: _Filtered(storage, mask, numel_of(chunk_shape) * size, size, filters, path) for index, (storage, mask) in pieces.items()
    }
    refusal = f"dataset {path!r} lies in chunks of over {_MOST >> 20} MB, which are not read"
    return Grid(chunks, fill, shape, chunk_shape, size, limit=_MOST, refusal=refusal)


class _Filtered(Storage):
    """The elements of a chunk, `size` bytes each: its filters are undone when it is read."""

    __slots__ = ("filters", "mask", "of", "path", "size")

    def __init__(self, of: Storage, mask: int, nbytes: int, size: int, filters: Filters, path: str) -> None:
        self.of, self.mask, self.nbytes, self.size, self.filters, self.path = of, mask, nbytes, size, filters, path

    def readinto(self, start: int, view: memoryview) -> None:
        view[:] = self._elements()[start : start + len(view)]

    def _elements(self) -> bytes:
        data = self.of.read() if self.of.nbytes <= 2 * _MOST else b""
        for place, (number, name) in reversed(list(enumerate(self.filters))):
            if not self.mask >> place & 1:
                data = self._undone(number, name, data)
        if len(data) != self.nbytes:
            raise Malformed(f"dataset {self.path!r}: a chunk of {self.nbytes:,} bytes has {len(data):,}")
        return data

    def _undone(self, number: int, name: str, data: bytes) -> bytes:
        if number == _DEFLATE:
            return self._inflated(data)
        if number == _SHUFFLE:
            return _unshuffled(data, self.size)
        if number == _FLETCHER:
            return data[:-_FLETCHER_SIZE]
        raise Malformed(
            f"dataset {self.path!r} went through the filter {name or number!r}, which is not undone", "h5repack -f NONE undoes it"
        )

    def _inflated(self, data: bytes) -> bytes:
        try:
            return zlib.decompressobj().decompress(data, self.nbytes + _FLETCHER_SIZE)
        except zlib.error as error:
            raise Malformed(f"dataset {self.path!r}: a chunk is broken: {error}") from None


def _unshuffled(data: bytes, size: int) -> bytes:
    import numpy

    whole = len(data) // size * size
    return numpy.frombuffer(data[:whole], "u1").reshape(size, -1).T.tobytes() + data[whole:]
