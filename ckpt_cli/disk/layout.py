"""Where a format writes: a file is laid out from front to back, then its storages are written to their places side by side."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ..storage.checksums import Crc
from ..storage.descriptors import write_all
from ..storage.file import File
from ..storage.storage import Extent, Memory, Storage
from ..tensors.blocks import Part, Progress, Reader, costs, cut, each

_SMALL = 1 << 16  # bytes that are copied sooner than they are queued
_BUFFER = 1 << 20
_FICLONE = 0x40049409  # of linux/fs.h
_SYNCED = 64 << 20  # what is larger is on its way to the disk while the rest is written


class Placed:
    """The place that a storage has in a file.

    Attributes:
        storage: What is written there.
        at: Its offset in the file.
        sums: The kind of checksum that is wanted of its bytes; None for none.
        crc: That checksum, once the storage is written.
    """

    __slots__ = ("at", "crc", "storage", "sums")

    def __init__(self, storage: Storage, at: int, sums: Crc | None) -> None:
        self.storage, self.at, self.sums = storage, at, sums
        self.crc = 0


class FileLayout:
    """An open file that is laid out, then written. Nothing is sure to be written before `settle`.

    Attributes:
        fd: The file.
        at: The bytes laid out so far.
        progress: Called with the bytes written so far and the bytes in all.
    """

    def __init__(self, fd: int, progress: Progress | None = None) -> None:
        self.fd, self.at, self.progress = fd, 0, progress
        self._waiting: list[Placed] = []
        self._buffer, self._start = bytearray(), 0  # bytes to be written, and where

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Lay out `data` next."""
        if self._start + len(self._buffer) != self.at:
            self._flush()
            self._start = self.at
        self._buffer += data
        self.at += len(data)
        if len(self._buffer) >= _BUFFER:
            self._flush()

    def put(self, storage: Storage, checksum: Crc | None = None) -> Placed:
        """Lay out all bytes of `storage` next; `checksum`: the kind that is wanted of them."""
        place = Placed(storage, self.at, checksum)
        if storage.nbytes <= _SMALL and isinstance(storage, (Extent, Memory)):
            data = storage.read()
            place.crc = checksum.of(data) if checksum else 0
            self.write(data)
        else:
            self._waiting.append(place)
            self.at += storage.nbytes
        return place

    def place(self, at: int, storage: Storage, checksum: Crc | None = None) -> Placed:
        """Lay out all bytes of `storage` from offset `at` on, over what is there."""
        place = Placed(storage, at, checksum)
        self._waiting.append(place)
        return place

    def skip(self, count: int) -> int:
        """Leave room for `count` bytes, which `fill` will fill; the offset where it begins."""
        self.at += count
        return self.at - count

    def fill(self, at: int, data: bytes | bytearray | memoryview) -> None:
        """Write all of `data` at a place laid out before."""
        write_all(self.fd, data, at)

    def clone(self, file: File) -> bool:
        """Make the file a copy of `file` that shares its blocks on the disk until one of them is written. False where it cannot."""
        try:
            import fcntl

            with file.held_open() as fd:
                fcntl.ioctl(self.fd, _FICLONE, fd)
        except (ImportError, OSError):
            return False
        return True

    def settle(self) -> None:
        """Write all that is laid out: workers side by side, but what must not leave this process is written by it."""
        self._flush()
        waiting, self._waiting = self._waiting, []
        here = [place for place in waiting if not place.storage.portable()]
        away = [place for place in waiting if place.storage.portable()]
        for place in away:
            place.storage.prepare()
        if self.at > _SMALL:
            self._reserve()
        with _Syncing(self.fd, sum(place.storage.nbytes for place in waiting)) as syncing:
            for places, workers in ((away, None), (here, 1)):
                items = cut((place, place.storage.nbytes, _is_divisible(place)) for place in places)
                results = each(items, self._written, costs(items), workers=workers, progress=self.progress)
                for item, checksums in zip(items, results, strict=True):
                    syncing.begin()
                    for part, crc in zip(item, checksums, strict=True):
                        part.of.crc = part.of.sums.joined(part.of.crc, crc, part.nbytes) if part.of.sums else 0

    def _flush(self) -> None:
        self.fill(self._start, self._buffer)
        self._start, self._buffer = self._start + len(self._buffer), bytearray()

    def _reserve(self) -> None:
        """Reserve all the room at once: a full disk says so now, and writing over reserved blocks is two to three times faster."""
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self.fd, 0, self.at)

    def _written(self, item: Sequence[Part[Placed]], reader: Reader) -> list[int]:
        return [self._write_part(part, reader) for part in item]

    def _write_part(self, part: Part[Placed], reader: Reader) -> int:
        """Write a part; its checksum, if one is wanted."""
        place, at, crc = part.of, part.of.at + part.start, 0
        known = not place.sums or (_has_checksum(place) and part.nbytes == place.storage.nbytes)
        if known and isinstance(place.storage, Extent) and self._copied(place.storage, part, reader):
            return place.storage.crc or 0
        for block in reader.blocks(place.storage, part.start, part.stop):
            crc = place.sums.update(block, crc) if place.sums else 0
            self.fill(at, block)
            at += len(block)
        return crc

    def _copied(self, extent: Extent, part: Part[Placed], reader: Reader) -> bool:
        """Copy in the kernel. False, with nothing written, where the kernel or the file system cannot."""
        source, target, left = extent.place() + part.start, part.of.at + part.start, part.nbytes
        begun = False
        while left:
            try:
                with extent.file.held_open() as fd:
                    count = os.copy_file_range(fd, self.fd, left, source, target)
            except (OSError, AttributeError):
                if begun:
                    raise
                return False
            if count == 0:
                if begun:
                    raise OSError("the file became shorter while it was copied")
                return False  # some file systems answer 0 to say that they cannot
            begun, source, target, left = True, source + count, target + count, left - count
            if reader.report:
                reader.report(count)
        return True


def _is_divisible(place: Placed) -> bool:
    """Whether parts may be written side by side; not where the file knows the checksum of the whole, for then nothing need be read."""
    return place.storage.divisible() and not _has_checksum(place)


def _has_checksum(place: Placed) -> bool:
    """Whether the file that the storage is in keeps the checksum that is wanted."""
    return isinstance(place.storage, Extent) and place.storage.crc is not None and place.storage.sums is place.sums


class _Syncing:
    """A thread that fsyncs what is written while more is written, so that little is left for the last fsync."""

    def __init__(self, fd: int, nbytes: int) -> None:
        from threading import Event, Thread

        self.fd, self.needed = fd, nbytes >= _SYNCED
        self._over, self._thread, self._began = Event(), Thread(target=self._run, daemon=True), False
        self._error: OSError | None = None

    def __enter__(self) -> _Syncing:
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        if self._began:
            self._thread.join()
        if self._error and error[0] is None:
            raise self._error

    def begin(self) -> None:
        """Start, once the workers have been forked: no process is forked while a thread runs."""
        if self.needed and not self._began:
            self._began = True
            self._thread.start()

    def _run(self) -> None:
        try:
            while not self._over.wait(0.05):
                os.fdatasync(self.fd)
        except OSError as error:
            self._error = error


class Nowhere(FileLayout):
    """A layout that only counts bytes, to find out whether a format has a place for everything."""

    def __init__(self) -> None:
        super().__init__(-1)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Count `data`."""
        self.at += len(data)

    def put(self, storage: Storage, checksum: Crc | None = None) -> Placed:
        """Count `storage`."""
        self.at += storage.nbytes
        return Placed(storage, self.at, checksum)

    def fill(self, at: int, data: bytes | bytearray | memoryview) -> None:
        """Write nothing."""

    def settle(self) -> None:
        """Write nothing."""
