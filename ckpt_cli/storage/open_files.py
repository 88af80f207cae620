"""How many files are open at once: of those that are read, the one that was used longest ago is closed, and opened again when it is read.

A checkpoint may have more shards than a shell allows open files (256 on macOS, 64 in some containers).
"""

from __future__ import annotations

import os
import stat
from _thread import RLock
from collections.abc import Callable
from typing import Any, TypeVar

from ..errors import ReadError

T = TypeVar("T")

_FEW = 16  # files: as many are open without a question to the system
_SHARE = 4  # one in so many descriptors that are allowed is for files that are read
_lock = RLock()
_open: dict[OpenFile, None] = {}  # those that may be closed, the one used longest ago first
_most = 0 if hasattr(os, "fork") else 1 << 20  # how many of these there may be; 0 until there are more than a few: then none is closed


class OpenFile:
    """A file that is open for reading, or that was, and is opened again by `with`, which gives its descriptor.

    Attributes:
        path: Its path.
        info: What the system said of it when it was first opened.
    """

    __slots__ = ("_close", "_fd", "_users", "info", "path")

    def __init__(self, path: str, fd: int, close: Callable[[int], None] | None = None) -> None:
        """Take over a descriptor. `close`: closes it when this object goes; until then it stays open, as a lock has to."""
        self.path, self._fd, self._close, self._users = path, fd, close, 0
        self.info = os.fstat(fd)
        if close is None:
            with _lock:
                self._enter()

    def __enter__(self) -> int:
        with _lock:
            if self._close is None:
                if self._fd < 0:
                    self._fd = self._opened_again()
                    self._enter()
                elif _most:
                    _open[self] = _open.pop(self)
            self._users += 1
            return self._fd

    def __exit__(self, *error: object) -> None:
        with _lock:
            self._users -= 1

    def read(self, read: Callable[..., T], *where: Any) -> T:
        """Return what `read` returns for the descriptor and `where`."""
        if not _most:  # no file is closed yet, and without threads none will be during this call
            return read(self._fd, *where)
        with self as fd:
            return read(fd, *where)

    def end(self) -> None:
        """Close it for good."""
        with _lock:
            fd, self._fd = self._fd, -1
            _open.pop(self, None)
        if fd >= 0:
            (self._close or os.close)(fd)

    def _enter(self) -> None:
        """Take a place among the open files; another one may have to go."""
        global _most
        _open[self] = None
        if len(_open) > _FEW and not _most:
            _most = max(_FEW, allowed() // _SHARE)
        while _most and len(_open) > _most:
            oldest = next((file for file in list(_open) if not file._users and file is not self), None)
            if oldest is None:
                return
            oldest.end()

    def _opened_again(self) -> int:
        """A new descriptor. Raises ReadError where the file is not the one that was opened before."""
        fd = open_regular(self.path)
        if _version(os.fstat(fd)) == _version(self.info):
            return fd
        os.close(fd)
        raise ReadError("another program has changed the file since it was opened", "run the command again", self.path)


def _version(info: os.stat_result) -> tuple[int, ...]:
    return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns


def allowed() -> int:
    """The number of files that may be open, once the soft limit is raised to the hard one: it is low for select(), not used here."""
    try:
        import resource
    except ImportError:  # a system without limits of this kind
        return 1 << 20
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # macOS refuses more than the limit of its kernel
        hard = soft
    return hard if hard != resource.RLIM_INFINITY else 1 << 20


def open_regular(path: str) -> int:
    """Open a regular file for reading; a FIFO would be waited for, so anything else is refused. Raises ReadError, OSError."""
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):
        raise ReadError(f"{_file_type(mode)}, not a file", "give a checkpoint file")
    return os.open(path, os.O_RDONLY)


def _file_type(mode: int) -> str:
    names = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFBLK: "a disk", stat.S_IFCHR: "a device"}
    return names.get(stat.S_IFMT(mode), "something special")
