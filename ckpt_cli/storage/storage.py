"""Storages: runs of bytes, read in blocks. Most are extents of a file; others are made of storages and hold no data until they are read.

A storage knows nothing of names, shapes or dtypes. `readinto(start, view)` is all that a subclass must define.
Those that rest on more have modules of their own: strides, tiles, grid, mapped, sequential.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from .checksums import CRC32, Crc
from .file import File

READ_SIZE = 1 << 20  # bytes that are asked of a file at once
Place = Callable[[], AbstractContextManager[None]]  # adds to an error where it comes from: a tensor's name


class Storage:
    """`nbytes` bytes, readable in any range.

    Attributes:
        nbytes: the number of bytes.
        crc: their checksum, where the file states it.
        sums: the kind of checksum that `crc` is.
    """

    __slots__ = ("nbytes",)
    nbytes: int
    crc: int | None = None
    sums: Crc = CRC32

    def readinto(self, start: int, view: memoryview) -> None:
        """Fill `view` with the bytes from `start` on."""
        raise NotImplementedError

    def read(self, start: int = 0, stop: int | None = None) -> bytes:
        """Return the bytes [start, stop); to the end without `stop`."""
        buffer = bytearray((self.nbytes if stop is None else stop) - start)
        self.readinto(start, memoryview(buffer))
        return bytes(buffer)

    def blocks(self, size: int = READ_SIZE) -> Iterator[memoryview]:
        """Yield all bytes in order, in one reused buffer: a block is valid until the next one is asked for."""
        buffer = memoryview(bytearray(min(size, self.nbytes)))
        for start in range(0, self.nbytes, size):
            view = buffer[: min(size, self.nbytes - start)]
            self.readinto(start, view)
            yield view

    def parts(self) -> tuple[Storage, ...]:
        """Return the storages that this one is made of."""
        return ()

    def divisible(self) -> bool:
        """Return whether reading may begin anywhere at no extra cost; otherwise all that comes before is read or drawn first."""
        return all(part.divisible() for part in self.parts())

    def portable(self) -> bool:
        """Return whether forked workers may read it, in any order."""
        return all(part.portable() for part in self.parts())

    def prepare(self) -> None:
        """Import what reading takes, so that forked workers share it."""
        for part in self.parts():
            part.prepare()

    def watch(self, place: Place) -> None:
        """Let errors of what produces these bytes, however late, pass through `place`. Plain bytes have no such errors."""


class Extent(Storage):
    """The `nbytes` bytes of `file` from `offset` on."""

    __slots__ = ("crc", "file", "offset")

    def __init__(self, file: File, offset: int, nbytes: int, crc: int | None = None) -> None:
        self.file, self.offset, self.nbytes, self.crc = file, offset, nbytes, crc

    def place(self) -> int:
        """Return the offset in `file` at which the bytes begin."""
        return self.offset

    def readinto(self, start: int, view: memoryview) -> None:
        """Fill `view` from the file."""
        self.file.readinto(self.place() + start, view)


class Memory(Storage):
    """Bytes that are held in memory."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data, self.nbytes = data, len(data)

    def readinto(self, start: int, view: memoryview) -> None:
        """Fill `view` from memory."""
        view[:] = self.data[start : start + len(view)]


class Fill(Storage):
    """One element, again and again, up to `nbytes` bytes."""

    __slots__ = ("element",)

    def __init__(self, element: bytes, nbytes: int) -> None:
        self.element, self.nbytes = element, nbytes

    def readinto(self, start: int, view: memoryview) -> None:
        """Fill `view` with the element, beginning within it where `start` lies within one."""
        size = len(self.element)
        skip = start % size
        view[:] = (self.element * ((skip + len(view)) // size + 1))[skip : skip + len(view)]


class Slice(Storage):
    """`nbytes` bytes of another storage, from `offset` on."""

    __slots__ = ("of", "offset")

    def __init__(self, of: Storage, offset: int, nbytes: int) -> None:
        self.of, self.offset, self.nbytes = of, offset, nbytes

    def parts(self) -> tuple[Storage, ...]:
        """Return the storage that is sliced."""
        return (self.of,)

    def readinto(self, start: int, view: memoryview) -> None:
        """Fill `view` from the storage that is sliced."""
        self.of.readinto(self.offset + start, view)


class Overlay(Storage):
    """Another storage, with `contents` in place of the bytes from `offset` on."""

    __slots__ = ("contents", "of", "offset")

    def __init__(self, of: Storage, offset: int, contents: Storage) -> None:
        self.of, self.offset, self.contents, self.nbytes = of, offset, contents, of.nbytes

    def parts(self) -> tuple[Storage, ...]:
        """Return the storage below and the one over it."""
        return (self.of, self.contents)

    def readinto(self, start: int, view: memoryview) -> None:
        """Fill `view` from the storage below, the contents, and the storage below again, as far as it touches them."""
        stop = start + len(view)
        left = min(max(self.offset, start), stop)
        right = max(min(self.offset + self.contents.nbytes, stop), left)
        if start < left:
            self.of.readinto(start, view[: left - start])
        if left < right:
            self.contents.readinto(left - self.offset, view[left - start : right - start])
        if right < stop:
            self.of.readinto(right, view[right - start :])
