"""Bytes in memory, read as a file: what was inflated or unpacked, and is read by offsets."""

from __future__ import annotations

from .file import File
from .open_files import OpenFile


class MemoryFile(File):
    """The bytes `data` as a file, called `path`."""

    is_mappable = False

    def __init__(self, path: str, data: bytes) -> None:
        self.path, self.data, self.size = path, data, len(data)
        self.identity, self.changed = (-1, -1, id(self)), 0
        self.head, self.facts = data[:512], {}

    def held_open(self) -> OpenFile:
        """Raise OSError: there is no descriptor."""
        raise OSError("bytes in memory have no descriptor")

    def read(self, offset: int, count: int) -> bytes:
        """Read `count` bytes from `offset`. Raises Malformed where there are fewer."""
        self._check_range(offset, count)
        return self.data[offset : offset + count]

    def readinto(self, offset: int, view: memoryview) -> None:
        """Fill `view` with the bytes from `offset` on. Raises Malformed where there are fewer."""
        view[:] = self.read(offset, len(view))
