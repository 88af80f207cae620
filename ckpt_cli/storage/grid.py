"""An array that its file keeps as the chunks of a regular grid, as zarr and HDF5 do."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import Malformed
from ..numbers.shapes import numel_of
from .storage import Fill, Storage

Index = tuple[int, ...]  # of a chunk: its number along each axis


class Grid(Storage):
    """The C-contiguous elements of an array whose chunks all have one shape; chunks at the edge reach beyond the array.

    The chunks that have one index along the first axis make up a band, which is contiguous in the array. A band is put together when it is
    first read, and held until another one is read or the array ends.

    Args:
        chunks: the elements of each chunk (C-contiguous, all of `chunk_shape`) by index; one that is missing is all `fill`.
        fill: the array as it is without any chunk.
        shape: the shape of the array, of at least one axis.
        chunk_shape: the shape of every chunk, of as many axes.
        size: bytes of an element.
        limit: the most bytes of a band or a chunk, both of which are held in memory.
        refusal: what the error says of an array that is over the limit.
    """

    __slots__ = ("_band", "_bands", "_held", "chunk_shape", "chunks", "fill", "limit", "refusal", "row", "shape", "size")

    def __init__(
        self,
        chunks: Mapping[Index, Storage],
        fill: Fill,
        shape: tuple[int, ...],
        chunk_shape: tuple[int, ...],
        size: int,
        *,
        limit: int,
        refusal: str,
    ) -> None:
        self.chunks, self.fill, self.nbytes = chunks, fill, fill.nbytes
        self.shape, self.chunk_shape, self.size = shape, chunk_shape, size
        self.limit, self.refusal = limit, refusal
        self.row = numel_of(shape[1:]) * size  # bytes of one index along the first axis
        self._bands: dict[int, list[Index]] | None = None  # the chunks of each band
        self._band, self._held = -1, bytearray()

    def divisible(self) -> bool:
        """Return False: two readers of one band would both put it together."""
        return False

    def prepare(self) -> None:
        """Import numpy, which puts chunks in their places."""
        import numpy  # noqa: F401

    def readinto(self, start: int, view: memoryview) -> None:
        """Fill `view`, band by band."""
        done = 0
        while done < len(view):
            band, skip = divmod(start + done, self.chunk_shape[0] * self.row)
            if band != self._band:
                self._held = self._assembled(band)
                self._band = band
            part = memoryview(self._held)[skip : skip + len(view) - done]
            view[done : done + len(part)] = part
            done += len(part)
        if start + done == self.nbytes:
            self._band, self._held = -1, bytearray()

    def _assembled(self, band: int) -> bytearray:
        """The elements of a band, C-contiguous."""
        import numpy

        rows = min(self.chunk_shape[0], self.shape[0] - band * self.chunk_shape[0])
        if max(rows * self.row, numel_of(self.chunk_shape) * self.size) > self.limit:
            raise Malformed(self.refusal)
        held = bytearray(rows * self.row)
        self.fill.readinto(0, memoryview(held))
        target = numpy.frombuffer(held, f"V{self.size}").reshape(rows, *self.shape[1:])
        for index in self._indices(band):
            begins = [i * n for i, n in zip(index[1:], self.chunk_shape[1:], strict=True)]
            if any(begin >= n for begin, n in zip(begins, self.shape[1:], strict=True)):
                continue  # left from when the array was larger
            place = target[(slice(None), *[slice(begin, begin + n) for begin, n in zip(begins, self.chunk_shape[1:], strict=True)])]
            chunk = numpy.frombuffer(self.chunks[index].read(), f"V{self.size}").reshape(self.chunk_shape)
            place[...] = chunk[tuple(slice(n) for n in place.shape)]
        return held

    def _indices(self, band: int) -> list[Index]:
        if self._bands is None:
            self._bands = {}
            for index in self.chunks:
                self._bands.setdefault(index[0], []).append(index)
        return self._bands.get(band, [])
