"""The mark on a file that is being edited in place: an extended attribute that says where its undo journal is.

    user.ckpt.journal = JSON: `file`, under which it is edited, `inode`, `size`, and the `print` of what is not in [`start`, `stop`)

A journal is found by the name of its file; the mark goes with the file when that is renamed, and is under all its names (hard links).
Order: journal durable, mark durable, bytes overwritten and durable, mark gone durably, journal removed. So a mark never outlives its
journal, and bytes that are half-changed always have one. Where a file system has no such attributes, there is only the name.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from ..storage.descriptors import fingerprint

NAME = "user.ckpt.journal"


class Mark(NamedTuple):
    """See above. Copies of a file may carry it along (cp --preserve=xattr): `inode` tells them from the file itself."""

    file: str
    inode: int
    size: int
    start: int
    stop: int
    print: int

    def fits(self, path: str) -> bool:
        """Whether the file at `path` may hold what the edit left: what it did not touch is as it was."""
        fd = os.open(path, os.O_RDONLY)
        try:
            size = os.fstat(fd).st_size
            return size == self.size and fingerprint(fd, [(self.start, self.stop - self.start)]) == self.print
        finally:
            os.close(fd)


def put(fd: int, target: str, extents: Sequence[tuple[int, int]]) -> None:
    """Mark an open file, whose `extents` are going to be overwritten; durable on return."""
    import json

    info = os.fstat(fd)
    start, stop = min(at for at, _ in extents), max(at + count for at, count in extents)
    mark = Mark(target, info.st_ino, info.st_size, start, stop, fingerprint(fd, [(start, stop - start)]))
    try:
        os.setxattr(fd, NAME, json.dumps(mark._asdict()).encode())
    except (AttributeError, OSError):  # no such attributes here, or no room for one more
        return
    os.fsync(fd)


def read(path: str) -> Mark | None:
    """The mark of a file; None where there is none."""
    try:
        raw = os.getxattr(path, NAME)
    except (AttributeError, OSError):
        return None
    import json

    try:
        mark = Mark(**json.loads(raw))
    except (ValueError, TypeError, RecursionError):  # not of ours
        return None
    sound = type(mark.file) is str and os.path.isabs(mark.file) and "\0" not in mark.file and all(type(one) is int for one in mark[1:])
    return mark if sound else None


def remove(fd: int) -> None:
    """Take the mark off an open file, whose bytes are durable; durable on return."""
    try:
        os.getxattr(fd, NAME)
    except (AttributeError, OSError):
        return
    os.removexattr(fd, NAME)
    os.fsync(fd)
