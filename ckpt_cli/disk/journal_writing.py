"""Undo journals, written: an edit in place begins when its journal is durable."""

from __future__ import annotations

import os
from zlib import crc32

from ..errors import ReadError, WriteError
from ..storage.descriptors import read_at, write_all
from ..storage.unfinished import journal_path
from . import locks
from .journal import MAGIC, OPEN_FLAGS, PIECE, UNFINISHED, JournalEntry, load
from .opening import settle


class NewJournal:
    """The journal of the file `target` while it is written; it is locked as long as its writer lives.

    Attributes:
        target: The file (a real path).
        path: Its journal.
    """

    def __init__(self, target: str) -> None:
        """Make the journal, empty, and lock it. Raises FileExistsError where there is one."""
        self.target, self.path, self._fd, self._at = target, journal_path(target), -1, 0
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            locks.take(self._fd, target)
        except BaseException:  # an interrupt, too, even of the call that makes the file
            self.close()
            _remove_unlocked(self.path)
            raise

    def is_there(self) -> bool:
        """Whether it still has its name: another program may have removed it as an old one before it was locked."""
        return locks.is_at(self._fd, self.path)

    def write(self, entry: JournalEntry, fd: int = -1, new: bytes = b"") -> None:
        """Write the journal and fsync it.

        Args:
            entry: What undoes the edit.
            fd: The file as it is, open; needed where the entry has extents.
            new: What is kept of the bytes that the extents will hold: the bytes themselves, or the CRC-32 of each piece, as the entry says.
        """
        import json

        raw = json.dumps(entry._asdict()).encode()
        head = len(raw).to_bytes(8, "little") + raw
        self._append(MAGIC + UNFINISHED + head)
        crc = crc32(head)
        for at, count in entry.extents:
            for start in range(at, at + count, PIECE):
                block = read_at(fd, start, min(PIECE, at + count - start))
                crc = crc32(block, crc)
                self._append(block)
        self._append(new + crc32(new, crc).to_bytes(4, "little"))
        os.fsync(self._fd)

    def _append(self, data: bytes) -> None:
        write_all(self._fd, data, self._at)
        self._at += len(data)

    def close(self) -> None:
        """Close it and give its lock back."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            locks.close(fd)


def begin(target: str) -> NewJournal:
    """Begin an edit of `target` (a real path): make its journal.

    Raises:
        ReadError: Another program is at work on it.
        WriteError: The folder takes no journal.
    """
    for _ in range(3):  # another program may make one first, or take this one for an old one before it is locked
        settle(target)
        try:
            journal = NewJournal(target)
        except FileExistsError:
            continue
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            what = f"its folder takes no undo journal, which an edit in place needs: {reason}"
            raise WriteError(what, "-o OUT writes elsewhere", target) from None
        if journal.is_there():
            return journal
        journal.close()
    raise ReadError("another program is changing this file", "try again when it is done", target)


def _remove_unlocked(path: str) -> None:
    """Remove a journal that its writer could not even lock, if that is what is there: it is not whole, and nobody holds it."""
    try:
        fd = os.open(path, OPEN_FLAGS)
    except OSError:
        return
    try:
        if locks.take_if_free(fd) and locks.is_at(fd, path) and load(fd, path) is None:
            os.unlink(path)
    finally:
        os.close(fd)
