"""Recovery: an edit that was interrupted is undone, or ended, by whoever opens the file next.

Order of an edit in place: the journal is written and fsynced, its folder is, the file is marked and fsynced, overwritten and fsynced, its
mark is removed and it is fsynced, the journal is removed, the folder fsynced. So a journal that is whole, and that nobody holds locked,
belongs to an edit that was interrupted: whoever opens the file next puts the old bytes back first.

An edit of several files has one leader, the journal of the file that names the others; it lists them, and their journals name it. Theirs
have a meaning as long as the leader's has, and one byte in it completes the edit. As SQLite's super-journals: sqlite.org/atomiccommit.
"""

from __future__ import annotations

import os

from ..errors import ReadError, about
from ..storage.descriptors import open_descriptor
from ..storage.unfinished import JOURNAL_MARK, journal_path
from . import ending, journal, journal_mark, locks, sync, undoing
from .journal import JournalEntry, StoredJournal
from .journal_mark import JournalMark


def recover(target: str, undone: list[str]) -> None:
    """Undo or end an edit of `target` that was interrupted.

    Args:
        target: The file (a real path).
        undone: The paths of the files whose edits are undone are added to it.

    Raises:
        ReadError: That is not possible, or another program is changing the file.
    """
    for attempts_left in (2, 1, 0):  # an edit may begin, or end, just now
        while _settle_beside(target, undone):
            pass
        mark = journal_mark.mark_of(target)
        if mark is None or _is_mine(target):
            return
        with about(target):
            if _settle_marked(target, mark, undone):
                return
            if not attempts_left:
                raise ReadError(
                    f"an edit of this file was interrupted, and its undo journal {journal_path(mark.file)} is gone",
                    f"copy it again; if you know that it is whole, setfattr -x {JOURNAL_MARK} makes it an ordinary one",
                )


def abandon(target: str) -> bool:
    """Undo at once what this program began, if the journal is its own; an edit that is complete stays. Whether the journal was acted on."""
    if not _is_mine(target):
        return False
    stored = journal.load_of(target)
    if stored is None:
        ending.discard(target, JournalEntry())
    elif stored.complete:
        ending.finish(target, _entries_left(target, stored))
    else:
        undoing.undo(target, _journals_of(target, stored))
    return stored is not None


def _is_mine(target: str) -> bool:
    """Whether this program holds the journal of `target`."""
    try:
        with open_descriptor(journal_path(target), os.O_RDONLY) as fd:
            return locks.mine(fd)
    except OSError:
        return False


# The journal beside the file


def _settle_beside(target: str, undone: list[str]) -> bool:
    """Settle the journal beside `target`, if there is one that nobody holds; whether to look again."""
    path = journal_path(target)
    try:
        with journal.open_journal(path) as fd:
            if locks.mine(fd):
                return False
            locks.take(fd, target)
            if not locks.is_at(fd, path):  # its edit was completed while this waited
                return True
            with about(target):
                return _settle(target, journal.load(fd, path), undone)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except PermissionError:
        raise undoing.not_allowed(target) from None


def _settle(target: str, stored: StoredJournal | None, undone: list[str]) -> bool:
    """Settle a journal whose lock is ours; whether it may have gone, or changed its meaning."""
    if stored and stored.complete:
        return ending.finish(target, _entries_left(target, stored))
    if stored and stored.entry.leader:
        leader = _resolved(target, stored.entry.leader)
        if os.path.lexists(journal_path(leader)):
            recover(leader, undone)
            return not _is_mine(leader)
    elif stored:
        edit = _journals_of(target, stored)
        for path, one in edit.items():
            undoing.check_is_the_edited(path, one)
        undoing.undo(target, edit)
        undone.extend(edit)
        return True
    try:
        ending.discard(target, stored.entry if stored else JournalEntry())
    except OSError:  # it has no meaning, so a reader who may not remove it can still read the file
        return False
    return True


# A file that was renamed, copied, or has several names: its mark says where the journal is


def _settle_marked(target: str, mark: JournalMark, undone: list[str]) -> bool:
    """Settle an edit whose journal is where the mark says. False where there is none, or the files change just now."""
    if not mark.fits(target):  # another program has written the file since, and left the mark
        journal_mark.drop(target)
        return True
    in_this_folder = os.path.join(os.path.dirname(target), os.path.basename(mark.file))
    for edited in (in_this_folder, mark.file):
        if edited == target or not os.path.lexists(journal_path(edited)):
            continue
        if not os.path.exists(edited) or not os.path.samefile(edited, target):
            return _settle_alone(target, mark, edited, undone)
        recover(edited, undone)
        return _is_mine(edited)
    return False


def _settle_alone(target: str, mark: JournalMark, edited: str, undone: list[str]) -> bool:
    """Settle a file that was renamed or copied while its edit, under the name `edited`, was half done; other files stay as they are."""
    path = journal_path(edited)
    try:
        with journal.open_journal(path) as fd:
            if locks.mine(fd):
                return True
            locks.take(fd, target)
            stored = journal.load(fd, path)
            if stored is None or not locks.is_at(fd, path):
                return False
            if _is_complete(edited, stored):
                journal_mark.drop(target)
            else:
                undoing.check_is_the_edited(target, stored)
                undoing.put_back(target, stored)
                undone.append(target)
            if os.stat(target).st_ino == mark.inode and not stored.entry.leader and not os.path.lexists(edited):
                ending.discard(edited, stored.entry)
                sync.sync_folders([edited])
            return True
    except PermissionError:
        raise undoing.not_allowed(target) from None


def _is_complete(target: str, stored: StoredJournal) -> bool:
    """Whether the edit of a journal is complete; where it depends on a leader, that one says so."""
    if not stored.entry.leader:
        return stored.complete
    leader = _resolved(target, stored.entry.leader)
    try:
        with journal.open_journal(journal_path(leader)) as fd:
            locks.take(fd, leader)
            first = journal.load(fd, journal_path(leader))
            return first is not None and first.complete
    except FileNotFoundError:
        return False


# All the files of an edit by path, that of the leader last


def _resolved(target: str, name: str) -> str:
    """The path of a file that the journal of `target` names."""
    return os.path.normpath(os.path.join(os.path.dirname(target), name))


def _journals_of(target: str, stored: StoredJournal) -> dict[str, StoredJournal]:
    """The journals of all files of the edit whose leader is `target`. Raises ReadError where one is missing or not whole."""
    edit = {}
    for path in [_resolved(target, name) for name in stored.entry.members]:
        one = journal.load_of(path) if os.path.lexists(journal_path(path)) else None
        if one is None:
            raise ReadError("its undo journal is broken", "restore the file from a copy", path)
        edit[path] = one
    return edit | {target: stored}


def _entries_left(target: str, stored: StoredJournal) -> dict[str, JournalEntry]:
    """The entries of the files of a complete edit whose journals were not removed yet."""
    entries = {}
    for path in [_resolved(target, name) for name in stored.entry.members]:
        if os.path.lexists(journal_path(path)):
            one = journal.load_of(path)
            entries[path] = one.entry if one else JournalEntry()
    return entries | {target: stored.entry}
