"""Boxes of arrays: one is cut out of an array, or laid over another array, in slabs of rows.

A box is a range of every axis. Where it is one run of bytes, it is a slice, an overlay or a chain, which workers read in any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ..numbers.shapes import contiguous_strides
from .rows import Rows
from .storage import Slice, Storage
from .strides import Scattered, Strided
from .tiles import Box, chained

_SLAB = 1 << 18  # bytes that are computed at once; memory for more is mapped and unmapped each time
_WIDEST = 16 << 20  # bytes of a row that is held in memory; rows that are wider are read run by run


def cut(of: Storage, size: int, shape: Sequence[int], box: Box) -> Storage:
    """Return the elements of a box, C-contiguous.

    Args:
        of: The elements of the array, C-contiguous.
        size: Bytes of an element.
        shape: The shape of the array.
        box: Start and length along each axis.
    """
    shape, box = _without_leading_ones(tuple(shape), tuple(box))
    if not shape:
        return of
    (first, count), row = box[0], size * prod(shape[1:])
    if _covers(box[1:], shape[1:]):
        return of if count == shape[0] else Slice(of, first * row, count * row)
    if row > _WIDEST:
        return _where_it_lies(of, size, shape, box)
    inner = tuple(slice(start, start + length) for start, length in box[1:])

    def compute(begin: int, end: int) -> memoryview:
        import numpy

        rows = numpy.frombuffer(of.read((first + begin) * row, (first + end) * row), _element(size)).reshape(end - begin, *shape[1:])
        return memoryview(rows[(slice(None), *inner)].tobytes())

    return Rows([of], count, size * prod(length for _, length in box[1:]), max(1, _SLAB // max(row, 1)), compute)


def laid_over(base: Storage, size: int, shape: Sequence[int], box: Box, contents: Storage) -> Storage:
    """Return an array in which the elements of a box are replaced by `contents`.

    Args:
        base: The elements of the array, C-contiguous.
        size: Bytes of an element.
        shape: The shape of the array.
        box: Start and length along each axis.
        contents: The new elements of the box, C-contiguous.
    """
    shape, box = _without_leading_ones(tuple(shape), tuple(box))
    if not shape:
        return contents
    (first, count), row = box[0], size * prod(shape[1:])
    if _covers(box[1:], shape[1:]):
        before, after = first * row, (first + count) * row
        return chained([Slice(base, 0, before), contents, Slice(base, after, base.nbytes - after)]) if count < shape[0] else contents
    if row > _WIDEST:
        return Scattered(base, _where_it_lies(base, size, shape, box), contents)
    inner, narrow = tuple(slice(start, start + length) for start, length in box[1:]), size * prod(length for _, length in box[1:])

    def compute(begin: int, end: int) -> memoryview:
        import numpy

        rows = bytearray((end - begin) * row)
        base.readinto(begin * row, memoryview(rows))
        low, high = max(begin, first), min(end, first + count)
        if low < high:
            kept = numpy.frombuffer(contents.read((low - first) * narrow, (high - first) * narrow), _element(size))
            target = numpy.frombuffer(rows, _element(size)).reshape(end - begin, *shape[1:])
            target[(slice(low - begin, high - begin), *inner)] = kept.reshape(high - low, *(length for _, length in box[1:]))
        return memoryview(rows)

    return Rows([base, contents], shape[0], row, max(1, _SLAB // max(row, 1)), compute)


def _where_it_lies(array: Storage, size: int, shape: tuple[int, ...], box: Box) -> Strided:
    """The elements of a box, run by run of the array."""
    strides = contiguous_strides(shape)
    offset = sum(start * stride for (start, _), stride in zip(box, strides, strict=True))
    return Strided(array, size, tuple(length for _, length in box), strides, offset)


def _element(size: int) -> str:
    """Numpy's type for an element of so many bytes; integers are copied faster than bytes are."""
    return f"u{size}" if size in (1, 2, 4, 8) else f"V{size}"


def _without_leading_ones(shape: tuple[int, ...], box: tuple[tuple[int, int], ...]) -> tuple[tuple[int, ...], tuple[tuple[int, int], ...]]:
    """The shape and the box without the first axes, as far as they have one index, so that rows are as narrow as they may be."""
    axes = 0
    while axes < len(shape) and shape[axes] == 1 == box[axes][1]:
        axes += 1
    return shape[axes:], box[axes:]


def _covers(box: Box, shape: Sequence[int]) -> bool:
    """Whether a box is the whole array."""
    return all(length == n for (_, length), n in zip(box, shape, strict=True))
