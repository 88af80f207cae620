"""The end of an edit, or of its undoing: its journals lose their meaning, and what it left is removed.

The journal of one file means nothing once it is gone. The leader of several files says first, in one byte, that the edit is complete.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from ..storage.unfinished import journal_path
from . import journal, journal_mark, sync
from .journal import JournalEntry


def complete(target: str, entries: Mapping[str, JournalEntry]) -> None:
    """End an edit, or its undoing: from here on the journal of `target` has no meaning.

    Args:
        target: The file, the leader where the edit is of several.
        entries: The entries of all its files by path, that of the leader last.
    """
    if len(entries) > 1:
        try:
            journal.write_state(target, journal.COMPLETE)
        except BaseException:  # whether the edit is complete must not depend on what the disk made of that
            journal.write_state(target, journal.UNFINISHED)
            raise
        finish(target, entries)
    else:
        discard(target, entries[target])
    sync.sync_folders([target])


def finish(target: str, entries: Mapping[str, JournalEntry]) -> bool:
    """Remove what a complete edit left; whether that could be done. If not, the next use does it."""
    try:
        # Again: what is to be read of the state may not be on the disk yet, and what is removed now must not be wanted later.
        journal.write_state(target, journal.COMPLETE)
        _clean(entries)
    except OSError:
        return False
    return True


def _clean(entries: Mapping[str, JournalEntry]) -> None:
    """Remove the marks, what the edit kept, then its journals, the leader's last: while those are there, nothing is forgotten."""
    for path, entry in entries.items():
        if entry.extents and os.path.lexists(path):
            journal_mark.remove_of(path)
        _remove_kept(path, entry)
    sync.sync_folders(list(entries))
    for path in entries:
        discard(path, JournalEntry())


def discard(target: str, entry: JournalEntry) -> None:
    """Remove the journal of `target`, which has no meaning any more, and what it kept."""
    _remove_kept(target, entry)
    if os.path.lexists(journal_path(target)):
        os.unlink(journal_path(target))


def _remove_kept(target: str, entry: JournalEntry) -> None:
    folder = os.path.dirname(target)
    for path in [os.path.join(folder, name) for name in (entry.old, entry.temporary) if name]:
        if os.path.lexists(path):
            os.unlink(path)
