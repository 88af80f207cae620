"""Storages: runs of bytes, read in blocks. Most are extents of a file; the rest are made of others and hold no data until asked.

A storage knows nothing of names, shapes or dtypes. `readinto(start, view)` is all that a kind must define.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from ..errors import EditError
from .checksums import CRC32, Crc
from .file import File

BLOCK = 1 << 20
Place = Callable[[], AbstractContextManager[None]]


class Storage:
    """`nbytes` bytes, readable from `start` to `stop`. `crc` is their checksum, of the kind `sums`, where the container says it."""

    __slots__ = ("nbytes",)
    nbytes: int
    crc: int | None = None
    sums: Crc = CRC32

    def readinto(self, start: int, view: memoryview) -> None:
        """Fill `view` with the bytes from `start` on."""
        raise NotImplementedError

    def read(self, start: int = 0, stop: int | None = None) -> bytes:
        buffer = bytearray((self.nbytes if stop is None else stop) - start)
        self.readinto(start, memoryview(buffer))
        return bytes(buffer)

    def blocks(self, size: int = BLOCK) -> Iterator[memoryview]:
        """All bytes in order, in one reused buffer: a block is valid until the next one is asked for."""
        buffer = memoryview(bytearray(min(size, self.nbytes)))
        for start in range(0, self.nbytes, size):
            view = buffer[: min(size, self.nbytes - start)]
            self.readinto(start, view)
            yield view

    def parts(self) -> tuple[Storage, ...]:
        """The storages that it is made of."""
        return ()

    def divisible(self) -> bool:
        """Whether reading may begin anywhere at no cost; others gather or draw all that is before."""
        return all(part.divisible() for part in self.parts())

    def portable(self) -> bool:
        """Whether forked workers may read it, in any order."""
        return all(part.portable() for part in self.parts())

    def prepare(self) -> None:
        """Import what reading takes, for workers to share."""
        for part in self.parts():
            part.prepare()

    def watch(self, place: Place) -> None:
        """Errors of what makes these bytes, however late, are to pass through `place`, which says where they come from."""


class Extent(Storage):
    """The bytes of `file` from `offset` on."""

    __slots__ = ("crc", "file", "offset")

    def __init__(self, file: File, offset: int, nbytes: int, crc: int | None = None) -> None:
        self.file, self.offset, self.nbytes, self.crc = file, offset, nbytes, crc

    def place(self) -> int:
        """Where in `file` the bytes begin."""
        return self.offset

    def readinto(self, start: int, view: memoryview) -> None:
        self.file.readinto(self.place() + start, view)


class Memory(Storage):
    """Bytes that are held."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data, self.nbytes = data, len(data)

    def readinto(self, start: int, view: memoryview) -> None:
        view[:] = self.data[start : start + len(view)]


class Fill(Storage):
    """One element, again and again."""

    __slots__ = ("element",)

    def __init__(self, element: bytes, nbytes: int) -> None:
        self.element, self.nbytes = element, nbytes

    def readinto(self, start: int, view: memoryview) -> None:
        size = len(self.element)
        skip = start % size
        view[:] = (self.element * ((skip + len(view)) // size + 1))[skip : skip + len(view)]


class Slice(Storage):
    """`nbytes` bytes of another storage, from `offset` on."""

    __slots__ = ("of", "offset")

    def __init__(self, of: Storage, offset: int, nbytes: int) -> None:
        self.of, self.offset, self.nbytes = of, offset, nbytes

    def parts(self) -> tuple[Storage, ...]:
        return (self.of,)

    def readinto(self, start: int, view: memoryview) -> None:
        self.of.readinto(self.offset + start, view)


class Overlay(Storage):
    """Another storage, with `contents` in place of what it holds from `offset` on."""

    __slots__ = ("contents", "of", "offset")

    def __init__(self, of: Storage, offset: int, contents: Storage) -> None:
        self.of, self.offset, self.contents, self.nbytes = of, offset, contents, of.nbytes

    def parts(self) -> tuple[Storage, ...]:
        return (self.of, self.contents)

    def readinto(self, start: int, view: memoryview) -> None:
        stop = start + len(view)
        left = min(max(self.offset, start), stop)
        right = max(min(self.offset + self.contents.nbytes, stop), left)
        if start < left:
            self.of.readinto(start, view[: left - start])
        if left < right:
            self.contents.readinto(left - self.offset, view[left - start : right - start])
        if right < stop:
            self.of.readinto(right, view[right - start :])


AT_ONCE = 12288  # elements: arrays beyond 128 kB are mapped and unmapped anew each time, which takes longer than filling them
_spare: list[bytearray] = []  # buffers that are not in use now


class Mapped(Storage):
    """Another storage, converted run by run: `change` turns `before`-byte elements into `after`-byte ones."""

    __slots__ = ("after", "before", "change", "of")

    def __init__(self, of: Storage, change: Callable[[memoryview], bytes | memoryview], before: int, after: int) -> None:
        self.of, self.change, self.before, self.after = of, change, before, after
        self.nbytes = of.nbytes // before * after

    def parts(self) -> tuple[Storage, ...]:
        return (self.of,)

    def prepare(self) -> None:
        import numpy  # noqa: F401

        self.of.prepare()

    def watch(self, place: Place) -> None:
        unwatched = self.change

        def change(data: memoryview) -> bytes | memoryview:
            with place():
                return unwatched(data)

        self.change = change

    def readinto(self, start: int, view: memoryview) -> None:
        first, last = start // self.after, -(-(start + len(view)) // self.after)
        skip, size = start - first * self.after, (last - first) * self.before
        buffer = _spare.pop() if _spare else bytearray()
        buffer = buffer if len(buffer) >= size else bytearray(size)
        with memoryview(buffer)[:size] as source:
            self.of.readinto(first * self.before, source)
            count = AT_ONCE if self.after <= 16 else max(1, 4 * AT_ONCE // self.after)  # blocks hold many elements of 4 bytes
            for at in range(0, last - first, count):
                found = self.change(source[at * self.before : (at + count) * self.before])
                low = at * self.after - skip
                found = found[-low:] if low < 0 else found
                view[max(low, 0) : low + count * self.after] = found[: len(view) - max(low, 0)]
        _spare.append(buffer)


class Drawn(Storage):
    """Bytes that come in order out of `draw()`: a random scheme. Read it from front to back; going back starts it again.

    `alone` says that it depends on nothing but its own generator, not on files, other tensors or code of the user's, and imports what
    that takes.
    """

    __slots__ = ("_ahead", "_at", "_stream", "alone", "draw")

    def __init__(self, nbytes: int, draw: Callable[[], Iterator[bytes]], alone: Callable[[], object] | None = None) -> None:
        self.nbytes, self.draw, self.alone = nbytes, draw, alone
        self._rewind()

    def divisible(self) -> bool:
        return False

    def portable(self) -> bool:
        return self.alone is not None

    def prepare(self) -> None:
        if self.alone is not None:
            self.alone()

    def watch(self, place: Place) -> None:
        unwatched = self.draw

        def draw() -> Iterator[bytes]:
            with place():
                yield from unwatched()

        self.draw = draw

    def _rewind(self) -> None:
        self._stream: Iterator[bytes] | None = None
        self._ahead, self._at = memoryview(b""), 0

    def readinto(self, start: int, view: memoryview) -> None:
        if start < self._at or self._stream is None:
            self._rewind()
            self._stream = self.draw()
        self._skip(start - self._at)
        filled = 0
        while filled < len(view):
            piece = self._next(len(view) - filled)
            view[filled : filled + len(piece)] = piece
            filled += len(piece)
        if self._at == self.nbytes:
            self._rewind()  # what is drawn is not kept

    def _skip(self, count: int) -> None:
        while count:
            count -= len(self._next(count))

    def _next(self, most: int) -> memoryview:
        if not self._ahead:
            block = next(self._stream, b"") if self._stream else b""
            if not block:
                raise EditError(f"a scheme gave {self._at} bytes for a storage of {self.nbytes}")
            self._ahead = memoryview(block)
        piece, self._ahead = self._ahead[:most], self._ahead[most:]
        self._at += len(piece)
        return piece


class Strided(Storage):
    """The elements of a strided view as C-contiguous bytes. `shape`, `strides`, `offset` count elements of `size` bytes.

    Only what the view reaches of its storage is held (or mapped, where that is much): a view may be far larger than what lies under it.
    """

    __slots__ = ("_items", "of", "offset", "shape", "size", "strides")

    def __init__(self, of: Storage, size: int, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> None:
        self.of, self.size, self.shape, self.strides, self.offset = of, size, shape, strides, offset
        self.nbytes = size
        for n in shape:
            self.nbytes *= n
        self._items: Any = None

    def parts(self) -> tuple[Storage, ...]:
        return (self.of,)

    def divisible(self) -> bool:
        return False

    def prepare(self) -> None:
        import numpy  # noqa: F401

        self.of.prepare()

    def readinto(self, start: int, view: memoryview) -> None:
        found = list(runs(self.shape, self.strides, self.offset, limit=64)) if self._items is None and len(view) == self.nbytes else []
        if found and sum(count for _, count in found) * self.size == self.nbytes:
            view[:] = b"".join(self.of.read(at * self.size, (at + n) * self.size) for at, n in found)
            return
        if self._items is None:
            self._items = self._reached()
        first, last = start // self.size, -(-(start + len(view)) // self.size)
        skip = start - first * self.size
        view[:] = self._items.flat[first:last].tobytes()[skip : skip + len(view)]

    def _reached(self) -> Any:
        """The view as a numpy array over the bytes that it reaches, elements as integers of their size."""
        import numpy

        low, high = span(self.shape, self.strides, self.offset)
        items = numpy.frombuffer(_held(self.of, low * self.size, high * self.size), _INTEGERS[self.size])[self.offset - low :]
        steps = tuple(s * self.size for s in self.strides)
        return numpy.lib.stride_tricks.as_strided(items, self.shape, steps, writeable=False)


_INTEGERS = {1: "u1", 2: "u2", 4: "u4", 8: "u8", 16: "V16"}
_MAPPED = 64 << 20


def _held(storage: Storage, start: int, stop: int) -> Any:
    """Bytes of a storage, read; of an extent of over 64 MB, mapped."""
    if not isinstance(storage, Extent) or stop - start < _MAPPED:
        return storage.read(start, stop)
    from mmap import ALLOCATIONGRANULARITY, PROT_READ, mmap

    at = storage.place() + start
    skip = at % ALLOCATIONGRANULARITY
    return memoryview(mmap(storage.file.fileno(), skip + stop - start, prot=PROT_READ, offset=at - skip))[skip:]


class Scattered(Storage):
    """Another storage, with the elements of a strided view of it replaced by `contents`, which are C-contiguous."""

    __slots__ = ("contents", "of", "view")

    def __init__(self, of: Storage, view: Strided, contents: Storage) -> None:
        self.of, self.view, self.contents, self.nbytes = of, view, contents, of.nbytes

    def parts(self) -> tuple[Storage, ...]:
        return (self.of, self.view, self.contents)

    def readinto(self, start: int, view: memoryview) -> None:
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
        """Put what falls on it into `view`, which begins at element `first` of the storage."""
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


class Assembled(Storage):
    """Boxes that tile a C-contiguous whole of `shape`, whose elements have `size` bytes; each box a storage of its own, C-contiguous."""

    __slots__ = ("boxes",)

    def __init__(self, size: int, shape: tuple[int, ...], boxes: Sequence[tuple[tuple[int, ...], tuple[int, ...], Storage]]) -> None:
        """`boxes`: where each begins in the whole, its shape, and its storage."""
        self.nbytes = size
        for n in shape:
            self.nbytes *= n
        self.boxes = [Box(*lines(size, shape, offsets, sizes), storage) for offsets, sizes, storage in boxes]

    def parts(self) -> tuple[Storage, ...]:
        return tuple(box.storage for box in self.boxes)

    def readinto(self, start: int, view: memoryview) -> None:
        for box in self.boxes:
            for number, count, place in box.hits(start, start + len(view)):
                box.storage.readinto(number, view[place - start : place - start + count])


class Box(NamedTuple):
    """Where the bytes of a storage lie within a whole: a view of it, byte by byte."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    storage: Storage

    def hits(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """The runs of it within the bytes [start, stop) of the whole: the byte of the storage, how many, the byte of the whole."""
        low, high = span(self.shape, self.strides, self.offset)
        if low < stop and start < high:
            yield from (hit[:3] for hit in hits(self.shape, self.strides, self.offset, start, stop))


def lines(
    size: int, shape: tuple[int, ...], offsets: tuple[int, ...], sizes: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """A box of a C-contiguous whole as a view of its bytes: shape, strides and offset, the axes that run on made one."""
    steps = [size] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        steps[axis] = steps[axis + 1] * shape[axis + 1]
    offset = sum(at * step for at, step in zip(offsets, steps, strict=True))
    axes, run = len(sizes), size
    while axes and run == steps[axes - 1]:
        axes -= 1
        run *= sizes[axes]
    return (*sizes[:axes], run), (*steps[:axes], 1), offset


def hits(
    shape: tuple[int, ...], strides: tuple[int, ...], offset: int, first: int, last: int, number: int = 0
) -> Iterator[tuple[int, int, int, int]]:
    """What of a view lies within [first, last) of its storage: number in C order, count, place and step, for each line of the last axis."""
    shape, strides = (shape, strides) if shape else ((1,), (1,))
    inner_low, inner_high = span(shape[1:], strides[1:], 0)
    begin, end = _meeting(strides[0], shape[0], first - offset - inner_high + 1, last - offset - inner_low)
    if len(shape) == 1:
        if end > begin:
            yield number + begin, end - begin, offset + begin * strides[0], strides[0]
        return
    width = 1
    for n in shape[1:]:
        width *= n
    for i in range(begin, end):
        yield from hits(shape[1:], strides[1:], offset + i * strides[0], first, last, number + i * width)


def _meeting(step: int, count: int, low: int, high: int) -> tuple[int, int]:
    """The i of range(count) with low <= i * step < high, as a range."""
    if step == 0:
        return (0, count) if low <= 0 < high else (0, 0)
    if step < 0:
        step, low, high = -step, -high + 1, -low + 1
    return max(0, -(-low // step)), min(count, -(-high // step))


def span(shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> tuple[int, int]:
    """The elements [low, high) of a storage that a view lies within; strides may be negative."""
    if 0 in shape:
        return offset, offset
    reach = [(n - 1) * s for n, s in zip(shape, strides, strict=True)]
    return offset + sum(r for r in reach if r < 0), offset + sum(r for r in reach if r > 0) + 1


def runs(shape: tuple[int, ...], strides: tuple[int, ...], offset: int, limit: int | None = None) -> Iterator[tuple[int, int]]:
    """The contiguous runs (first element, count) that make up a view in C order; at most `limit` of them."""
    from itertools import islice

    if 0 in shape:
        return
    axes, run = len(shape), 1
    while axes and (shape[axes - 1] == 1 or strides[axes - 1] == run):
        run *= shape[axes - 1]
        axes -= 1
    for start in islice(_starts(shape[:axes], strides[:axes], offset), limit):
        yield start, run


def _starts(shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> Iterator[int]:
    """The first element of every run, in C order, one at a time: an axis may be as long as a file says."""
    if not shape:
        yield offset
    elif len(shape) == 1:
        yield from (offset + i * strides[0] for i in range(shape[0]))
    else:
        for i in range(shape[0]):
            yield from _starts(shape[1:], strides[1:], offset + i * strides[0])


def swapped(of: Storage, width: int) -> Storage:
    """The same elements in the other byte order; `width` bytes each."""
    if width == 1:
        return of

    def swap(data: memoryview) -> bytes:
        turned = bytearray(len(data))
        for i in range(width):
            turned[i::width] = data[width - 1 - i :: width]
        return bytes(turned)

    return Mapped(of, swap, width, width)
