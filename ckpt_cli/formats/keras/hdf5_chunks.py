"""Datasets of HDF5 that are kept in chunks of one shape, each passed through filters of its own when it was written.

These filters are undone here: 1 deflate, 2 shuffle (all first bytes of the elements, then all second bytes, and so on), 3 Fletcher-32 (a
checksum of four bytes behind the chunk). As in the HDF5 File Format Specification 3.0, IV.A.2.l. A chunk that passed another one (LZF,
szip, n-bit, scale-offset, …) is decoded by the library (hdf5_filters).
"""

from __future__ import annotations

import zlib
from typing import Any, NamedTuple

from ...errors import Malformed
from ...numbers.shapes import numel_of
from ...storage.grid import Grid
from ...storage.storage import Fill, Storage
from .hdf5_filters import Pipeline

_MOST = 256 << 20  # bytes of a row of chunks, which is decoded at once
_BATCH = 16 << 20  # bytes of chunks that the library decodes at once
_DEFLATE, _SHUFFLE, _FLETCHER = 1, 2, 3
_FLETCHER_SIZE = 4
_WORDS = 1 << 16  # words that are summed at once: no sum of 64 bits overflows


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
    size: int,
    pipeline: Pipeline,
    path: str,
) -> Grid:
    """Return the elements of a dataset in C order.

    Args:
        pieces: the filtered bytes and the filter mask of each chunk that was written, by its index in the grid.
        fill: the dataset as it is without any chunk.
        shape: the shape of the dataset.
        size: bytes of an element.
        pipeline: the shape of a chunk, and the filters of the dataset.
        path: its name, for errors.
    """
    nbytes = numel_of(pipeline.chunk_shape) * size
    in_order = sorted(pieces.items())
    batches = _Batches(pipeline, path, [piece for _, piece in in_order])
    chunks = {index: Filtered(number, nbytes, size, batches) for number, (index, _) in enumerate(in_order)}
    refusal = f"dataset {path!r} lies in chunks of over {_MOST >> 20} MB, which are not read"
    return Grid(chunks, fill, shape, pipeline.chunk_shape, size, limit=_MOST, refusal=refusal)


class Filtered(Storage):
    """The elements of a chunk, `size` bytes each: its filters are undone when it is read."""

    __slots__ = ("batches", "number", "size")

    def __init__(self, number: int, nbytes: int, size: int, batches: _Batches) -> None:
        """Decode the chunk `number` of `batches` to `nbytes` bytes of elements of `size` bytes each."""
        self.number, self.nbytes, self.size, self.batches = number, nbytes, size, batches

    @property
    def filtered(self) -> tuple[Storage, int]:
        """The bytes in the file, and as bits the filters that they did not pass."""
        return self.batches.chunks[self.number]

    def readinto(self, start: int, view: memoryview) -> None:
        """Fill `view` from the decoded chunk."""
        view[:] = self._elements()[start : start + len(view)]

    def _elements(self) -> bytes:
        storage, mask = self.filtered
        numbers = [each[0] for place, each in enumerate(self.batches.pipeline.filters) if not mask >> place & 1]
        if not {_DEFLATE, _SHUFFLE, _FLETCHER}.issuperset(numbers):
            return self.batches.elements(self.number, self.nbytes)
        data = _raw(storage)
        for number in reversed(numbers):
            data = self._undone(number, data)
        if len(data) != self.nbytes:
            raise Malformed(f"dataset {self.batches.path!r}: a chunk of {self.nbytes:,} bytes has {len(data):,}")
        return data

    def _undone(self, number: int, data: bytes) -> bytes:
        if number == _DEFLATE:
            return self._inflated(data)
        return _unshuffled(data, self.size) if number == _SHUFFLE else self._checked(data)

    def _checked(self, data: bytes) -> bytes:
        """Return a chunk without its checksum. Raises Malformed where that is another one."""
        elements, kept = data[:-_FLETCHER_SIZE], int.from_bytes(data[-_FLETCHER_SIZE:], "little")
        reversed_words = (kept & 0xFF00FF) << 8 | kept >> 8 & 0xFF00FF  # as HDF5 before 1.6.3 kept it
        if fletcher32(elements) not in (_reduced(kept), _reduced(reversed_words)):
            raise Malformed(f"dataset {self.batches.path!r}: a chunk does not have the checksum that it says", "download or copy it again")
        return elements

    def _inflated(self, data: bytes) -> bytes:
        try:
            return zlib.decompressobj().decompress(data, self.nbytes + _FLETCHER_SIZE)
        except zlib.error as error:
            raise Malformed(f"dataset {self.batches.path!r}: a chunk is broken: {error}") from None


class _Batches:
    """The chunks of one dataset, of which the library decodes many at a time: a process is forked for each time.

    Attributes:
        pipeline: The filters of the dataset.
        path: Its name.
        chunks: The bytes of each in the file and its filter mask, in the order in which they are read.
    """

    def __init__(self, pipeline: Pipeline, path: str, chunks: list[tuple[Storage, int]]) -> None:
        self.pipeline, self.path, self.chunks = pipeline, path, chunks
        self._begin, self._held = 0, b""  # the number of the first chunk that is held, and the elements of all

    def elements(self, number: int, size: int) -> bytes:
        """Return the elements of a chunk, `size` bytes; those of the chunks behind it are kept for later. Raises Malformed."""
        if not self._begin <= number < self._begin + len(self._held) // size:
            self._begin, self._held = number, self._decoded(self.chunks[number : number + max(1, _BATCH // size)], size)
        at = (number - self._begin) * size
        return self._held[at : at + size]

    def _decoded(self, chunks: list[tuple[Storage, int]], size: int) -> bytes:
        try:
            data = self.pipeline.decoded([(_raw(storage), mask) for storage, mask in chunks])
        except Malformed as error:
            filters = ", ".join(str(name or number) for number, name, *_ in self.pipeline.filters)
            what = f"dataset {self.path!r}: the filters {filters} are not undone: {error.what}"
            raise Malformed(what, "h5repack -f NONE undoes them") from None
        if len(data) != len(chunks) * size:
            raise Malformed(f"dataset {self.path!r}: chunks of {size:,} bytes have others")
        return data


def fletcher32(data: bytes) -> tuple[int, int]:
    """Return the two sums of Fletcher-32 over 16-bit words, modulo 65535 (H5_checksum_fletcher32 in HDF5's src/H5checksum.c)."""
    import numpy

    words = numpy.frombuffer(data + b"\0" * (len(data) % 2), ">u2").astype("u8")
    first = second = 0
    for at in range(0, len(words), _WORDS):
        part = words[at : at + _WORDS]
        weights = numpy.arange(len(part), 0, -1, dtype="u8")
        second = (second + first * len(part) + int((part * weights).sum())) % 65535
        first = (first + int(part.sum())) % 65535
    return first, second


def _reduced(checksum: int) -> tuple[int, int]:
    return (checksum & 0xFFFF) % 65535, (checksum >> 16) % 65535


def _raw(storage: Storage) -> bytes:
    """Return the bytes of a chunk in the file; none where no chunk is so long."""
    return storage.read() if storage.nbytes <= 2 * _MOST else b""


def _unshuffled(data: bytes, size: int) -> bytes:
    import numpy

    whole = len(data) // size * size
    return numpy.frombuffer(data[:whole], "u1").reshape(size, -1).T.tobytes() + data[whole:]
