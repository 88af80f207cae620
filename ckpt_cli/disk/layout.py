"""Where a format writes: a file is laid out from front to back, and then filled, storages side by side at their places."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ..storage import descriptors
from ..storage.checksums import Crc
from ..storage.file import File
from ..storage.storage import Extent, Memory, Storage
from ..tensors.blocks import Part, Progress, Reader, costs, cut, each

_SMALL = 1 << 16  # bytes that are copied sooner than they are queued
_BUFFER = 1 << 20
_FICLONE = 0x40049409  # of linux/fs.h
_SYNCED = 64 << 20  # what is larger is on its way to the disk while the rest is written


class Placed:
    """The place `at` that a storage has in a file. `crc`: the checksum of its bytes, of the kind asked for, once it is written."""

    __slots__ = ("at", "checked", "crc", "storage")

    def __init__(self, storage: Storage, at: int, checked: Crc | None) -> None:
        self.storage, self.at, self.checked = storage, at, checked
        self.crc = 0


class FileLayout:
    """An open file. `at`: the bytes laid out so far. Nothing is sure to be written before `settle`."""

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
        """Lay out all bytes of `storage` next."""
        put = Placed(storage, self.at, checksum)
        if storage.nbytes <= _SMALL and isinstance(storage, (Extent, Memory)):
            data = storage.read()
            put.crc = checksum.of(data) if checksum else 0
            self.write(data)
        else:
            self._waiting.append(put)
            self.at += storage.nbytes
        return put

    def place(self, at: int, storage: Storage, checksum: Crc | None = None) -> Placed:
        """All bytes of `storage` from `at` on, over what is there."""
        put = Placed(storage, at, checksum)
        self._waiting.append(put)
        return put

    def skip(self, count: int) -> int:
        """Leave room that `fill` will fill; where it begins."""
        self.at += count
        return self.at - count

    def fill(self, at: int, data: bytes | bytearray | memoryview) -> None:
        """All of `data` at a place laid out before."""
        descriptors.write(self.fd, data, at)

    def clone(self, file: File) -> bool:
        """Make the whole file one with `file`, of which it shares the blocks until one of them is written. False where that cannot be."""
        try:
            import fcntl

            fcntl.ioctl(self.fd, _FICLONE, file.fileno())
        except (ImportError, OSError):
            return False
        return True

    def settle(self) -> None:
        """Write all that is laid out. What must not leave this process is written by it, one after the other."""
        self._flush()
        waiting, self._waiting = self._waiting, []
        here = [put for put in waiting if not put.storage.portable()]
        away = [put for put in waiting if put.storage.portable()]
        for put in away:
            put.storage.prepare()
        if self.at > _SMALL:
            self._reserve()
        with _Syncing(self.fd, sum(put.storage.nbytes for put in waiting)) as syncing:
            for puts, workers in ((away, None), (here, 1)):
                items = cut((put, put.storage.nbytes, _divisible(put)) for put in puts)
                results = each(items, self._written, costs(items), workers=workers, progress=self.progress)
                for item, checksums in zip(items, results, strict=True):
                    syncing.begin()
                    for part, crc in zip(item, checksums, strict=True):
                        part.of.crc = part.of.checked.joined(part.of.crc, crc, part.nbytes) if part.of.checked else 0

    def _flush(self) -> None:
        self.fill(self._start, self._buffer)
        self._start, self._buffer = self._start + len(self._buffer), bytearray()

    def _reserve(self) -> None:
        """All the room at once: a full disk says so now, and writing over reserved blocks is two to three times faster."""
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self.fd, 0, self.at)

    def _written(self, item: Sequence[Part[Placed]], reader: Reader) -> list[int]:
        return [self._write_part(part, reader) for part in item]

    def _write_part(self, part: Part[Placed], reader: Reader) -> int:
        """Write a part; its checksum, if that is wanted."""
        put, at, crc = part.of, part.of.at + part.start, 0
        known = not put.checked or (_told(put) and part.nbytes == put.storage.nbytes)
        if known and isinstance(put.storage, Extent) and self._copied(put.storage, part, reader):
            return put.storage.crc or 0
        for block in reader.blocks(put.storage, part.start, part.stop):
            crc = put.checked.update(block, crc) if put.checked else 0
            self.fill(at, block)
            at += len(block)
        return crc

    def _copied(self, extent: Extent, part: Part[Placed], reader: Reader) -> bool:
        """Copy in the kernel. False where that kernel or file system cannot, with nothing written."""
        source, target, left = extent.place() + part.start, part.of.at + part.start, part.nbytes
        begun = False
        while left:
            try:
                count = os.copy_file_range(extent.file.fileno(), self.fd, left, source, target)
            except (OSError, AttributeError):
                if begun:
                    raise
                return False
            if count == 0:
                return self._short(begun)
            begun, source, target, left = True, source + count, target + count, left - count
            if reader.report:
                reader.report(count)
        return True

    def _short(self, begun: bool) -> bool:
        if not begun:  # some file systems answer 0 to say that they do not do it
            return False
        raise OSError("the file became shorter while it was copied")


def _divisible(put: Placed) -> bool:
    """Not where its checksum is known of the whole alone, and it would be read to know that of a part."""
    return put.storage.divisible() and not _told(put)


def _told(put: Placed) -> bool:
    """Whether the file that it is in says the checksum that is wanted."""
    return isinstance(put.storage, Extent) and put.storage.crc is not None and put.storage.sums is put.checked


class _Syncing:
    """A thread that sends what is written to the disk while more is written, so that little is left for the last fsync."""

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
        """Start, once the workers are there: no process is forked beside a thread."""
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
    """A layout that only counts: for finding out whether a format has a place for everything."""

    def __init__(self) -> None:
        super().__init__(-1)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.at += len(data)

    def put(self, storage: Storage, checksum: Crc | None = None) -> Placed:
        self.at += storage.nbytes
        return Placed(storage, self.at, checksum)

    def fill(self, at: int, data: bytes | bytearray | memoryview) -> None:
        pass

    def settle(self) -> None:
        pass
