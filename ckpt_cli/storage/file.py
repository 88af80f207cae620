"""Files: opened once for reading, never waited for; their facts are read once and handed to every format."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import Any

from ..disk import locks
from ..disk.recovery import recover
from ..errors import CkptError, Malformed, ReadError, about


class File:
    """A regular file, opened once for reading; its facts are read once and handed to every format's `sniff`."""

    def __init__(self, path: str, lock: bool = False) -> None:
        """`lock`: it is going to be changed, and by nobody else as long as it is open. An edit that was interrupted is undone first."""
        self.path = path
        with about(path):
            info = self._opened(lock)
            while lock and not os.path.samestat(info, os.stat(path)):  # another file was put there while we waited
                locks.close(self._fd)
                info = self._opened(lock)
        self.size = info.st_size
        self.identity = (info.st_dev, info.st_ino)
        self.changed = info.st_mtime_ns
        self.head = self.read(0, min(512, self.size))
        self.facts: dict[str, Any] = {}

    def _opened(self, lock: bool) -> os.stat_result:
        try:
            recover(os.path.realpath(self.path))  # first of all: the file may be there only then
        except (CkptError, PermissionError):
            os.stat(self.path)  # in a folder that is closed, what the user named is what cannot be had
            raise
        mode = os.stat(self.path).st_mode
        if not stat.S_ISREG(mode):
            raise ReadError(f"{_kind(mode)}, not a file", "give a checkpoint file")
        self._fd = os.open(self.path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        if lock:
            locks.take(self._fd, self.path)
            recover(os.path.realpath(self.path))  # of whoever had the lock until now, and died
        return os.fstat(self._fd)

    def fileno(self) -> int:
        return self._fd

    def fact(self, name: str, find: Callable[[File], Any]) -> Any:
        """What `find` says of this file, asked once: the members of a zip, say."""
        if name not in self.facts:
            self.facts[name] = find(self)
        return self.facts[name]

    def read(self, offset: int, count: int) -> bytes:
        """`count` bytes from `offset`. Raises Malformed where the file is shorter, before anything is allocated."""
        self._inside(offset, count)
        data = os.pread(self._fd, count, offset)
        if len(data) == count:
            return data
        buffer = bytearray(count)
        self.readinto(offset, memoryview(buffer))
        return bytes(buffer)

    def readinto(self, offset: int, view: memoryview) -> None:
        self._inside(offset, len(view))
        done = 0
        while done < len(view):
            got = os.preadv(self._fd, [view[done:]], offset + done)
            if got == 0:
                raise Malformed("the file became shorter while it was read", where=self.path)
            done += got

    def _inside(self, offset: int, count: int) -> None:
        if offset < 0 or count < 0 or offset + count > self.size:
            missing = offset + count - self.size
            raise Malformed(f"truncated: {missing:,} bytes are missing at the end", "download or copy it again", self.path)

    def __del__(self) -> None:
        if hasattr(self, "_fd"):
            locks.close(self._fd)


class Window(File):
    """A run of another file's bytes, read as a file of its own: a container that lies within another one."""

    def __init__(self, of: File, start: int, nbytes: int) -> None:
        of._inside(start, nbytes)
        self.path, self.size, self.of, self.start = of.path, nbytes, of, start
        self.head = self.read(0, min(512, nbytes))
        self.facts = {}

    def read(self, offset: int, count: int) -> bytes:
        self._inside(offset, count)
        return self.of.read(self.start + offset, count)


def is_plain(path: str) -> bool:
    """Whether a path that a file tells of is one below its folder alone: relative, without `..`, of characters that names have."""
    odd = any(char in "\\\0" or "\ud800" <= char <= "\udfff" for char in path)
    return not odd and not any(part in ("", ".", "..") for part in path.split("/"))


def leads_out(path: str, folder: str) -> bool:
    """Whether a path below `folder` is a link to elsewhere. The hub's cache (snapshots/REVISION/… → blobs/…) is no elsewhere."""
    real, home = os.path.realpath(path), os.path.realpath(folder)
    blobs = os.path.join(os.path.dirname(os.path.dirname(home)), "blobs")
    return os.path.dirname(real) != blobs and not real.startswith(os.path.join(home, ""))


def _kind(mode: int) -> str:
    names = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFBLK: "a disk", stat.S_IFCHR: "a device"}
    return names.get(stat.S_IFMT(mode), "something special")
