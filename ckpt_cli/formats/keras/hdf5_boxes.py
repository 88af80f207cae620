"""The parts of an array that an edit changes: boxes, each within one chunk, and the elements in them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

from ...disk.patch import differing
from ...errors import Malformed
from ...numbers.shapes import numel_of
from ...storage.storage import Storage

_BAND = 1 << 20  # bytes of a band of an array that is not kept in chunks
_MOST = 256 << 20  # bytes of a band, which is held in memory

Shape = tuple[int, ...]


class Box(NamedTuple):
    """Elements of an array: the index of the first one, the shape, and the bytes in C order."""

    begin: Shape
    shape: Shape
    data: bytes


def bands_of(shape: Shape, size: int) -> Shape:
    """Return the shape of the parts that an array without chunks is compared by: rows of about a megabyte."""
    row = numel_of(shape[1:]) * size
    return (max(1, min(shape[0], _BAND // max(row, 1))), *shape[1:]) if shape else ()


def boxes(shape: Shape, size: int, chunk_shape: Shape, before: Storage | None, after: Storage) -> Iterator[Box]:
    """Yield the chunks of an array in which elements differ, as far as they lie in it.

    Args:
        shape: The shape of the array.
        size: Bytes of an element.
        chunk_shape: The shape of a chunk.
        before: Its elements in C order; None yields all chunks.
        after: Its elements after the edit.
    """
    if not shape:
        new = after.read()
        if before is None or before.read() != new:
            yield Box((), (), new)
        return
    row = numel_of(shape[1:]) * size
    band = chunk_shape[0] * row
    if max(min(chunk_shape[0], shape[0]) * row, numel_of(chunk_shape) * size) > _MOST:
        raise Malformed(f"it lies in chunks of over {_MOST >> 20} MB, which are not written")
    for number in _bands(before, after, band):
        start, stop = number * band, min((number + 1) * band, after.nbytes)
        old, new = before.read(start, stop) if before is not None else None, after.read(start, stop)
        if old != new:
            yield from _in_band(number * chunk_shape[0], (stop - start) // row, shape, size, chunk_shape, (old, new))


def _bands(before: Storage | None, after: Storage, band: int) -> list[int]:
    """Return the numbers of the bands that may differ, by what the storages are made of."""
    runs = [(0, after.nbytes)] if before is None else differing(before, after)
    return sorted({number for start, stop in runs if stop > start for number in range(start // band, (stop - 1) // band + 1)})


def _in_band(first: int, rows: int, shape: Shape, size: int, chunk_shape: Shape, data: tuple[bytes | None, bytes]) -> Iterator[Box]:
    """Yield the boxes of the band that begins at the index `first` and has `rows` rows; `data` are its bytes before and after."""
    import numpy

    old, new = (None if each is None else numpy.frombuffer(each, f"V{size}").reshape(rows, *shape[1:]) for each in data)
    for begins in product(*(range(0, n, chunk) for n, chunk in zip(shape[1:], chunk_shape[1:], strict=True))):
        place: tuple[Any, ...] = (slice(None), *(slice(b, b + chunk) for b, chunk in zip(begins, chunk_shape[1:], strict=True)))
        part = new[place]  # type: ignore[index]
        elements = part.tobytes()
        if old is None or old[place].tobytes() != elements:
            yield Box((first, *begins), part.shape, elements)
