"""Undoing an edit: old bytes and old files are put back as its journals say, once each file is known to be the one that was edited."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping

from ..errors import ReadError
from ..storage.descriptors import open_descriptor, read_at, write_all
from . import ending, journal, journal_mark, sync
from .fingerprint import size_and_fingerprint
from .journal import StoredJournal


def undo(target: str, edit: Mapping[str, StoredJournal]) -> None:
    """Put back what the journals say, then remove them.

    Args:
        target: The file, the leader where the edit is of several.
        edit: The journals of all its files by the path of the file, that of the leader last.

    Raises:
        ReadError: This program may not write a file.
    """
    if len(edit) > 1:
        journal.write_state(target, journal.UNFINISHED)  # writing that it is complete may have failed half-way
    for path, stored in edit.items():
        put_back(path, stored)
    sync.sync_folders(list(edit))
    ending.complete(target, {path: stored.entry for path, stored in edit.items()})


def check_is_the_edited(path: str, stored: StoredJournal) -> None:
    """Raises ReadError where the file at `path` is not the one that was edited: putting old bytes into it would spoil it."""
    entry, what, mend = stored.entry, "another program has written it since", "if it is whole,"
    if not os.path.lexists(path):  # the edit had not made it yet, or had taken it away
        is_the_edited, what, mend = not entry.extents, "it is not there any more", "bring it back, or"
    elif entry.either:
        is_the_edited = size_and_fingerprint(path) in [tuple(pair) for pair in entry.either]
    else:
        is_the_edited = not entry.extents or stored.matches(path)
    if not is_the_edited:
        journal_mark.drop(path)
        raise ReadError(f"an edit of this file was interrupted, and {what}", f"{mend} remove {stored.path}", path)


def put_back(path: str, stored: StoredJournal) -> None:
    """Put back what was at `path` before the edit. Raises ReadError where this program may not write it."""
    try:
        _put_back(path, stored)
    except OSError as error:
        raise not_allowed(path) if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) else error from None


def not_allowed(target: str) -> ReadError:
    """The error where an edit of `target` is to be undone by somebody who may not write the file."""
    return ReadError("an edit of this file was interrupted, and undoing it takes the right to write", "run ckpt as its owner", target)


def _put_back(path: str, stored: StoredJournal) -> None:
    entry = stored.entry
    if entry.old:
        kept = os.path.join(os.path.dirname(path), entry.old)
        if os.path.lexists(kept):
            os.replace(kept, path)
    elif entry.fresh:
        if os.path.lexists(path):
            os.unlink(path)
    elif entry.extents:
        with open_descriptor(path, os.O_RDWR) as fd:
            for at, block in stored.blocks():
                _write_old(fd, block, at)
            os.fsync(fd)
            journal_mark.remove(fd)


def _write_old(fd: int, block: bytes, at: int) -> None:
    """Write a block even if it reads the same: after an error the disk may hold something else. If writing fails, reading it will do."""
    try:
        write_all(fd, block, at)
    except OSError:
        if block != read_at(fd, at, len(block)):
            raise
