"""Opening a file for reading: the one place that looks for an interrupted edit of it first, and that locks a file to be changed.

Almost no file has one, so the modules that undo it and those that lock are imported only when they are needed.
"""

from __future__ import annotations

import os

from ..errors import CkptError, about
from ..storage.file import File
from ..storage.open_files import open_regular
from ..storage.unfinished import is_signed

_undone: list[str] = []  # paths of files whose interrupted edits this process undid, until the user is told


def undone() -> list[str]:
    """The files whose interrupted edits were undone since this was last asked."""
    paths, _undone[:] = list(_undone), []
    return paths


def open_file(path: str, lock: bool = False) -> File:
    """Open the file at `path`; an edit of it that was interrupted is undone first.

    Args:
        path: The file.
        lock: The file is going to be changed: no other ckpt changes it as long as it is open here.

    Raises:
        ReadError: It is no regular file, cannot be opened, or another program is changing it.
    """
    with about(path):
        _settle_named(path)
        if not lock:
            return File(path)
        from .locks import close

        return File(path, _open_locked(path), close)


def settle(target: str) -> None:
    """Undo an edit of `target` (a real path) that was interrupted, or end one that was complete but for its litter.

    Raises:
        ReadError: That is not possible, or another program is changing the file.
    """
    if is_signed(target):
        from .recovery import recover

        recover(target, _undone)


def _settle_named(path: str) -> None:
    try:
        settle(os.path.realpath(path))  # first of all: the file may be there only then
    except (CkptError, PermissionError):
        os.stat(path)  # in a folder that is closed, the error is about the path that the user named
        raise


def _open_locked(path: str) -> int:
    """The descriptor of the file that is at `path` once its lock is ours."""
    from . import locks

    while True:
        fd = open_regular(path)
        try:
            locks.take(fd, path)
            settle(os.path.realpath(path))  # an edit of whoever had the lock until now, and died
            if os.path.samestat(os.fstat(fd), os.stat(path)):
                return fd
        except BaseException:
            locks.close(fd)
            raise
        locks.close(fd)  # another file took its place while this waited
        _settle_named(path)
