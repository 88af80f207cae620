"""The mark on a file that is being edited in place: an extended attribute that says where its undo journal is.

    user.ckpt.journal = JSON: `file`, under which it is edited, `inode`, `size`, and the `print` of what is not in [`start`, `stop`)

A journal is found by the name of its file; the mark goes with the file when that is renamed, and is seen under all its names (hard links).
Order: journal durable, mark durable, bytes overwritten and durable, mark durably removed, journal removed. So a mark never outlives its
journal, and bytes that are half-changed always have one. On a file system without extended attributes, a journal is found by name alone.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from ..storage.descriptors import open_descriptor
from ..storage.unfinished import JOURNAL_MARK
from .fingerprint import fingerprint


class JournalMark(NamedTuple):
    """The mark; its fields are those of the JSON above.

    A copy of a file may carry the mark of the original (cp --preserve=xattr): `inode` tells the two apart.
    """

    file: str
    inode: int
    size: int
    start: int
    stop: int
    print: int

    def fits(self, path: str) -> bool:
        """Whether the file at `path` may be what the edit left: the bytes that it did not touch are as they were."""
        with open_descriptor(path, os.O_RDONLY) as fd:
            size = os.fstat(fd).st_size
            return size == self.size and fingerprint(fd, [(self.start, self.stop - self.start)]) == self.print


def put(fd: int, target: str, extents: Sequence[tuple[int, int]]) -> None:
    """Mark an open file, whose `extents` (offset, length) are going to be overwritten; the mark is durable on return."""
    import json

    info = os.fstat(fd)
    start, stop = min(at for at, _ in extents), max(at + count for at, count in extents)
    mark = JournalMark(target, info.st_ino, info.st_size, start, stop, fingerprint(fd, [(start, stop - start)]))
    try:
        os.setxattr(fd, JOURNAL_MARK, json.dumps(mark._asdict()).encode())
    except (AttributeError, OSError):  # extended attributes are not supported here, or there is no room for one more
        return
    os.fsync(fd)


def mark_of(path: str) -> JournalMark | None:
    """The mark of the file at `path`; None where there is none, or one that ckpt cannot have written."""
    try:
        raw = os.getxattr(path, JOURNAL_MARK)
    except (AttributeError, OSError):
        return None
    import json

    try:
        mark = JournalMark(**json.loads(raw))
    except (ValueError, TypeError, RecursionError):
        return None
    sound = (
        type(mark.file) is str and os.path.isabs(mark.file) and "\0" not in mark.file and all(type(number) is int for number in mark[1:])
    )
    return mark if sound else None


def remove(fd: int) -> None:
    """Remove the mark of an open file, whose bytes are durable; that is durable on return."""
    try:
        os.getxattr(fd, JOURNAL_MARK)
    except (AttributeError, OSError):
        return
    os.removexattr(fd, JOURNAL_MARK)
    os.fsync(fd)


def remove_of(path: str) -> None:
    """Remove the mark of the file at `path`, whose bytes are durable. Raises OSError."""
    with open_descriptor(path, os.O_RDONLY) as fd:
        remove(fd)


def drop(path: str) -> None:
    """Remove a mark that means nothing for what the file holds. A reader without write permission can still read the file."""
    try:
        remove_of(path)
    except OSError:
        pass
