"""Where a format writes: bytes and storages, one after another."""

from __future__ import annotations

import os
from zlib import crc32

from .storage import BLOCK, Extent, Storage


class Sink:
    """An open file that is written from front to back. `at` bytes are written so far."""

    def __init__(self, fd: int) -> None:
        self.fd, self.at = fd, 0

    def write(self, data: bytes | memoryview) -> None:
        """All of `data`; a short write goes on where it stopped."""
        view = memoryview(data)
        while view:
            done = os.write(self.fd, view)
            view = view[done:]
            self.at += done

    def put(self, storage: Storage, checksum: bool = False) -> int:
        """All bytes of `storage`; its CRC-32 where a checksum is asked for, else 0."""
        if isinstance(storage, Extent) and (not checksum or storage.crc is not None) and self._copy(storage):
            return storage.crc or 0
        crc = 0
        for block in storage.blocks(BLOCK):
            crc = crc32(block, crc) if checksum else 0
            self.write(block)
        return crc

    def _copy(self, extent: Extent) -> bool:
        """Copy in the kernel. False where that kernel or file system cannot, with nothing written."""
        start, done = extent.place(), 0
        while done < extent.nbytes:
            try:
                count = os.copy_file_range(extent.file.fileno(), self.fd, extent.nbytes - done, start + done)
            except (OSError, AttributeError):
                if done:
                    raise
                return False
            if count == 0:
                return self._short(done)
            done += count
            self.at += count
        return True

    def _short(self, done: int) -> bool:
        if done == 0:  # some file systems answer 0 to say that they do not do it
            return False
        raise OSError("the file became shorter while it was copied")


class Nowhere(Sink):
    """A sink that only counts: for finding out whether a format has a place for everything."""

    def __init__(self) -> None:
        super().__init__(-1)

    def write(self, data: bytes | memoryview) -> None:
        self.at += len(data)

    def put(self, storage: Storage, checksum: bool = False) -> int:
        self.at += storage.nbytes
        return 0
