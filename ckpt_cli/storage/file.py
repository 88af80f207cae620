"""Files that are read: never waited for, and the same from first to last; facts about them are found once and shared by all formats.

`disk.opening` opens one whose last edit may have been interrupted, or that is going to be changed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NoReturn
from weakref import ref

from ..errors import Malformed, ReadError, about
from . import descriptors
from .open_files import OpenFile, open_regular
from .uncopied import Uncopied

_HEAD = 512
watched: ContextVar[list[ref[File]] | None] = ContextVar("watched", default=None)  # where files are noted as they are opened


class File(Uncopied):
    """A regular file, opened for reading.

    Attributes:
        path: The path it was opened by.
        size: Its size in bytes when it was opened.
        identity: Device and inode; of a part of a file, where it begins, too.
        changed: When it was last changed, in nanoseconds.
        head: Its first 512 bytes, or all of a smaller file.
        facts: What formats found out about it, by the name of the fact.
        is_mappable: Whether it has a descriptor whose offsets are its own, so that it may be mapped into memory.
        stands_for: The folder or the prefix that was asked for, where this is the main file of what it stands for; else empty.
    """

    is_mappable = True
    stands_for = ""

    def __init__(self, path: str, fd: int | None = None, close: Callable[[int], None] | None = None) -> None:
        """Open the file at `path`, or take over its descriptor.

        Args:
            path: The file.
            fd: A descriptor of it that is open already, by `open_regular`.
            close: Closes the descriptor when this object goes. Without it, the file may be closed and opened again in between.

        Raises:
            ReadError: It is no regular file, or cannot be opened.
        """
        self.path = path
        with about(path):
            self._open = OpenFile(path, open_regular(path) if fd is None else fd, close)
        info = self._open.info
        self.size = info.st_size
        self.identity: tuple[int, ...] = (info.st_dev, info.st_ino)
        self.changed = info.st_mtime_ns
        self.head = self.read(0, min(_HEAD, self.size))
        self.facts: dict[str, Any] = {}
        opened = watched.get()
        if opened is not None:
            opened.append(ref(self))

    def close(self) -> None:
        """Close it for good. Whoever reads it then gets a ReadError."""
        self._open.end()
        self._open = Closed(self.path)

    def held_open(self) -> OpenFile:
        """What gives the descriptor, for `with`: within that the file stays open."""
        return self._open

    def fact(self, name: str, find: Callable[[File], Any]) -> Any:
        """The fact `name` about this file, such as the members of a zip: what `find` returns, which is called once."""
        if name not in self.facts:
            self.facts[name] = find(self)
        return self.facts[name]

    def read(self, offset: int, count: int) -> bytes:
        """Read `count` bytes from `offset`.

        Raises:
            Malformed: The file is shorter; nothing is allocated then.
        """
        self._check_range(offset, count)
        data = self._open.read(descriptors.read_at, offset, count)
        self._check_complete(len(data), count)
        return data

    def readinto(self, offset: int, view: memoryview) -> None:
        """Fill `view` with the bytes from `offset` on.

        Raises:
            Malformed: The file is shorter.
        """
        self._check_range(offset, len(view))
        self._check_complete(self._open.read(descriptors.read_into, view, offset), len(view))

    def _check_range(self, offset: int, count: int) -> None:
        if offset < 0 or count < 0 or offset + count > self.size:
            missing = offset + count - self.size
            raise Malformed(f"truncated: {missing:,} bytes are missing at the end", "download or copy it again", self.path)

    def _check_complete(self, done: int, count: int) -> None:
        if done < count:
            raise Malformed("the file became shorter while it was read", where=self.path)

    def __del__(self) -> None:
        if hasattr(self, "_open"):
            self._open.end()


class Closed(OpenFile):
    """What takes the place of an open file when it is closed."""

    __slots__ = ()

    def __init__(self, path: str) -> None:
        self.path = path

    def __enter__(self) -> NoReturn:
        raise ReadError("the checkpoint is closed", "read it within its `with`, or open it again", self.path)

    def read(self, *_: Any) -> NoReturn:
        """Raise ReadError."""
        self.__enter__()

    def end(self) -> None:
        """Do nothing: it is closed."""


class FileWindow(File):
    """A run of the bytes of another file, read as a file of its own: a checkpoint or an archive that lies within another one."""

    is_mappable = False

    def __init__(self, file: File, start: int, nbytes: int, path: str = "") -> None:
        """The `nbytes` bytes of `file` from `start` on, called `path`. Raises Malformed where the file is shorter."""
        file._check_range(start, nbytes)
        self.path, self.size, self.file, self.start = path or file.path, nbytes, file, start
        self.identity, self.changed = (*file.identity, start), file.changed
        self.head = self.read(0, min(_HEAD, nbytes))
        self.facts = {}

    def held_open(self) -> OpenFile:
        """Raise OSError: there is no descriptor whose offsets are those of the window."""
        raise OSError("a part of a file has no descriptor")

    def read(self, offset: int, count: int) -> bytes:
        """Read `count` bytes from `offset` of the window. Raises Malformed where it is shorter."""
        self._check_range(offset, count)
        return self.file.read(self.start + offset, count)

    def readinto(self, offset: int, view: memoryview) -> None:
        """Fill `view` with the bytes from `offset` of the window on. Raises Malformed where it is shorter."""
        self._check_range(offset, len(view))
        self.file.readinto(self.start + offset, view)


def is_plain(path: str) -> bool:
    """Whether a path that a file names is one below its folder: relative, without `..`, of characters that names of files have."""
    odd = any(char in "\\\0" or "\ud800" <= char <= "\udfff" for char in path)
    return not odd and not any(part in ("", ".", "..") for part in path.split("/"))


def leads_out(path: str, folder: str) -> bool:
    """Whether a path below `folder` is a link to elsewhere.

    In the cache of the Hugging Face hub, snapshots/REVISION/… are links to blobs/…; those stay within the checkpoint.
    """
    real, real_folder = os.path.realpath(path), os.path.realpath(folder)
    cache, in_cache, _ = os.path.join(real_folder, "").rpartition(f"{os.sep}snapshots{os.sep}")
    in_blobs = bool(in_cache) and os.path.dirname(real) == os.path.join(cache, "blobs")
    return not in_blobs and not real.startswith(os.path.join(real_folder, ""))
