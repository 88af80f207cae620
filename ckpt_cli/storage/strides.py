"""Strided views as storages: what a view reads from a storage (Strided) and writes into one (Scattered).

Shapes, strides and offsets count elements of one size in bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from ..numbers.shapes import numel_of, span
from .storage import Extent, Storage

_INTEGERS = {1: "u1", 2: "u2", 4: "u4", 8: "u8", 16: "V16"}  # numpy's type for an element of so many bytes
_MAPPED = 64 << 20  # from this size on, an extent is mapped into memory instead of read
_FEW_RUNS = 64  # up to so many contiguous runs are read one by one


class Strided(Storage):
    """The elements of a strided view, as C-contiguous bytes.

    Only the bytes that the view spans are held (or mapped, where they are many): a view may be far larger than its storage.
    """

    __slots__ = ("_items", "of", "offset", "shape", "size", "strides")

    def __init__(self, of: Storage, size: int, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> None:
        self.of, self.size, self.shape, self.strides, self.offset = of, size, shape, strides, offset
        self.nbytes = size * numel_of(shape)
        self._items: Any = None

    def parts(self) -> tuple[Storage, ...]:
        """Return the storage that is viewed."""
        return (self.of,)

    def divisible(self) -> bool:
        """Return False: the spanned bytes are gathered before the first element is known."""
        return False

    def prepare(self) -> None:
        """Import numpy, and what the storage takes."""
        import numpy  # noqa: F401

        self.of.prepare()

    def readinto(self, start: int, view: memoryview) -> None:
        """Fill `view`; a whole view of few runs is read run by run, without numpy."""
        if self._items is None and len(view) == self.nbytes and self._read_runs(view):
            return
        if self._items is None:
            self._items = self._spanned()
        first, last = start // self.size, -(-(start + len(view)) // self.size)
        skip = start - first * self.size
        view[:] = self._items.flat[first:last].tobytes()[skip : skip + len(view)]

    def _read_runs(self, view: memoryview) -> bool:
        """Fill `view` with all elements where these are a few runs; False where they are not."""
        found = list(runs(self.shape, self.strides, self.offset, limit=_FEW_RUNS))
        few = bool(found) and sum(count for _, count in found) * self.size == self.nbytes
        if few:
            view[:] = b"".join(self.of.read(at * self.size, (at + n) * self.size) for at, n in found)
        return few

    def _spanned(self) -> Any:
        """The view as a numpy array over the bytes that it spans; elements are integers of their size."""
        import numpy

        low, high = span(self.shape, self.strides, self.offset)
        items = numpy.frombuffer(_held(self.of, low * self.size, high * self.size), _INTEGERS[self.size])[self.offset - low :]
        steps = tuple(s * self.size for s in self.strides)
        return numpy.lib.stride_tricks.as_strided(items, self.shape, steps, writeable=False)


def _held(storage: Storage, start: int, stop: int) -> Any:
    """Bytes [start, stop) of a storage: read, or mapped where they are a large part of a file."""
    if not isinstance(storage, Extent) or stop - start < _MAPPED or not storage.file.is_mappable:
        return storage.read(start, stop)
    from mmap import ALLOCATIONGRANULARITY, PROT_READ, mmap

    at = storage.place() + start
    skip = at % ALLOCATIONGRANULARITY
    with storage.file.held_open() as fd:
        return memoryview(mmap(fd, skip + stop - start, prot=PROT_READ, offset=at - skip))[skip:]


class Scattered(Storage):
    """Another storage, in which the elements of a strided view are replaced by `contents` (C-contiguous)."""

    __slots__ = ("contents", "of", "view")

    def __init__(self, of: Storage, view: Strided, contents: Storage) -> None:
        self.of, self.view, self.contents, self.nbytes = of, view, contents, of.nbytes

    def parts(self) -> tuple[Storage, ...]:
        """Return the storage below, the view and the new contents."""
        return (self.of, self.view, self.contents)

    def readinto(self, start: int, view: memoryview) -> None:
        """Fill `view` from the storage below, then put the new elements over it."""
        size = self.view.size
        first, last = start // size, -(-(start + len(view)) // size)
        if (first * size, last * size) == (start, start + len(view)):
            self.of.readinto(start, view)
            self._scatter(first, view)
            return
        whole = bytearray((last - first) * size)
        self.readinto(first * size, memoryview(whole))
        view[:] = whole[start - first * size :][: len(view)]

    def _scatter(self, first: int, view: memoryview) -> None:
        """Put the new elements that lie within `view`, which begins at element `first` of the storage, in their places."""
        size, last = self.view.size, first + len(view) // self.view.size
        import numpy

        target = numpy.frombuffer(view, _INTEGERS[size])
        for number, count, place, step in hits(self.view.shape, self.view.strides, self.view.offset, first, last):
            data = numpy.frombuffer(self.contents.read(number * size, (number + count) * size), _INTEGERS[size])
            if step == 0:  # every element lies at one place: the last one stays
                target[place - first] = data[-1]
            else:
                stop = place - first + step * count
                target[place - first : stop if stop >= 0 else None : step] = data


def hits(
    shape: tuple[int, ...], strides: tuple[int, ...], offset: int, first: int, last: int, number: int = 0
) -> Iterator[tuple[int, int, int, int]]:
    """Find what of a view lies within the elements [first, last) of its storage, line by line of the last axis.

    Yields:
        For each line: the index of the first element within the view (in C order), the number of elements,
        the place of the first one in the storage, and the step from one to the next there.
    """
    shape, strides = (shape, strides) if shape else ((1,), (1,))
    inner_low, inner_high = span(shape[1:], strides[1:], 0)
    begin, end = _multiples_within(strides[0], shape[0], first - offset - inner_high + 1, last - offset - inner_low)
    if len(shape) == 1:
        if end > begin:
            yield number + begin, end - begin, offset + begin * strides[0], strides[0]
        return
    width = numel_of(shape[1:])
    for i in range(begin, end):
        yield from hits(shape[1:], strides[1:], offset + i * strides[0], first, last, number + i * width)


def _multiples_within(step: int, count: int, low: int, high: int) -> tuple[int, int]:
    """The range of those i below `count` for which low <= i * step < high."""
    if step == 0:
        return (0, count) if low <= 0 < high else (0, 0)
    if step < 0:
        step, low, high = -step, -high + 1, -low + 1
    return max(0, -(-low // step)), min(count, -(-high // step))


def runs(shape: tuple[int, ...], strides: tuple[int, ...], offset: int, limit: int | None = None) -> Iterator[tuple[int, int]]:
    """Yield the contiguous runs of a view in C order, at most `limit` of them: first element in the storage, number of elements."""
    if 0 in shape:
        return
    axes, run = len(shape), 1
    while axes and (shape[axes - 1] == 1 or strides[axes - 1] == run):
        run *= shape[axes - 1]
        axes -= 1
    for start in islice(_starts(shape[:axes], strides[:axes], offset), limit):
        yield start, run


def _starts(shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> Iterator[int]:
    """The first element of every run, in C order, one at a time: a file may claim an axis of any length."""
    if not shape:
        yield offset
    elif len(shape) == 1:
        yield from (offset + i * strides[0] for i in range(shape[0]))
    else:
        for i in range(shape[0]):
            yield from _starts(shape[1:], strides[1:], offset + i * strides[0])
