"""Edits that are undone, or ended: what is found beside a file, or named by its mark, is settled before the file is read.

Order of an edit in place: the journal is written and fsynced, its folder is, the file is marked and fsynced, overwritten and fsynced, its
mark goes and it is fsynced, the journal is removed, the folder fsynced. So a journal that is whole, and that nobody holds locked, is of an
edit that was interrupted: whoever next opens the file puts the old bytes back first.

An edit of several files has one leader, the journal of the file that names the others; it lists them, and their journals name it. They
hold as long as it does, and the one byte that says that it is over completes the edit. As SQLite's super-journals: sqlite.org/atomiccommit.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping

from ..errors import ReadError, WriteError, about
from ..storage import descriptors
from . import journal, journal_mark, locks
from .journal import HOT, OVER, Entry, Found, Journal, beside
from .journal_mark import Mark

_undone: list[str] = []  # paths of edits that were interrupted and that this process undid, until the user is told


def undone() -> list[str]:
    """The files whose interrupted edits were undone since this was last asked."""
    found, _undone[:] = list(_undone), []
    return found


def begin(target: str) -> Journal:
    """A journal of `target` for an edit that begins. Raises ReadError where another is at work, WriteError where the folder takes none."""
    for _ in range(3):  # others may come first, or take it for an old one before it is locked
        recover(target)
        try:
            record = Journal(target)
        except FileExistsError:
            continue
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            what = f"its folder takes no undo journal, which an edit in place needs: {reason}"
            raise WriteError(what, "-o OUT writes elsewhere", target) from None
        if record.held():
            return record
        record.close()
    raise ReadError("another program is changing this file", "try again when it is done", target)


def recover(target: str) -> None:
    """Undo an edit of `target` (a real path) that was interrupted. Raises ReadError where that is not possible or another is at work."""
    for left in (2, 1, 0):  # an edit may begin, or end, just now
        while _settled(target):
            pass
        marked = journal_mark.read(target)
        if marked is None or _is_mine(target):
            return
        with about(target):
            if _unmarked(target, marked):
                return
            if not left:
                what = f"an edit of this file was interrupted, and its undo journal {beside(marked.file)} is gone"
                raise ReadError(
                    what, f"copy it again; if you know that it is whole, setfattr -x {journal_mark.NAME} makes it an ordinary one"
                )


def _settled(target: str) -> bool:
    """Settle the journal beside `target`, if one is there that nobody holds; whether to look again."""
    path = beside(target)
    try:
        with journal.opened(path) as fd:
            if locks.mine(fd):
                return False
            locks.take(fd, target)
            if not descriptors.same(fd, path):  # it was completed while we waited
                return True
            with about(target):
                return _settle(target, journal.load(fd, path))
    except (FileNotFoundError, NotADirectoryError):
        return False
    except PermissionError:
        raise _not_allowed(target) from None


def _settle(target: str, found: Found | None) -> bool:
    """Settle a journal whose lock is ours; whether it may have gone, or changed its meaning."""
    if found and found.over:
        return _finish(target, _still_there(target, found))
    if found and found.entry.leader:
        leader = _near(target, found.entry.leader)
        if os.path.lexists(beside(leader)):
            recover(leader)
            return not _is_mine(leader)
    elif found:
        edit = _whole(target, found)
        for path, one in edit.items():
            _check_is_ours(path, one)
        _undo(target, edit)
        _undone.extend(edit)
        return True
    try:
        discard(target, found.entry if found else Entry())
    except OSError:  # it has no meaning, so whoever may not remove it may still read
        return False
    return True


def abandon(target: str) -> bool:
    """Undo at once what this program began, if the journal is its own; whether it was acted on. One that says that it is over holds."""
    if not _is_mine(target):
        return False
    found = journal.find(target)
    if found is None:
        discard(target, Entry())
    elif found.over:
        _finish(target, _still_there(target, found))
    else:
        _undo(target, _whole(target, found))
    return found is not None


def _is_mine(target: str) -> bool:
    try:
        fd = os.open(beside(target), os.O_RDONLY)
    except OSError:
        return False
    try:
        return locks.mine(fd)
    finally:
        os.close(fd)


# A file that another name than its own leads to


def _unmarked(target: str, marked: Mark) -> bool:
    """Settle an edit whose journal is where the mark says. False where there is none, or things change just now."""
    if not marked.fits(target):  # another program has written it since, and left the mark
        _drop_mark(target)
        return True
    here = os.path.join(os.path.dirname(target), os.path.basename(marked.file))
    for was in (here, marked.file):
        if was == target or not os.path.lexists(beside(was)):
            continue
        if not os.path.exists(was) or not os.path.samefile(was, target):
            return _settled_alone(target, marked, was)
        recover(was)
        return _is_mine(was)
    return False


def _settled_alone(target: str, marked: Mark, was: str) -> bool:
    """Settle a file that was renamed or copied while its edit, under the name `was`, was half done; other files are left as they are."""
    try:
        with journal.opened(beside(was)) as fd:
            if locks.mine(fd):
                return True
            locks.take(fd, target)
            found = journal.load(fd, beside(was))
            if found is None or not descriptors.same(fd, beside(was)):
                return False
            if _is_over(was, found):
                _drop_mark(target)
            else:
                _check_is_ours(target, found)
                _put_back(target, found)
                _undone.append(target)
            if os.stat(target).st_ino == marked.inode and not found.entry.leader and not os.path.lexists(was):
                discard(was, found.entry)
                descriptors.sync_folders([was])
            return True
    except PermissionError:
        raise _not_allowed(target) from None


def _is_over(target: str, found: Found) -> bool:
    """Whether the edit of a journal holds; where it depends on another, that says so."""
    if not found.entry.leader:
        return found.over
    leader = _near(target, found.entry.leader)
    try:
        with journal.opened(beside(leader)) as fd:
            locks.take(fd, leader)
            first = journal.load(fd, beside(leader))
            return first is not None and first.over
    except FileNotFoundError:
        return False


def _drop_mark(path: str) -> None:
    """Take away a mark that means nothing for what the file holds. Whoever may not is none the worse."""
    try:
        _unmark(path)
    except OSError:
        pass


def _unmark(path: str) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        journal_mark.remove(fd)
    finally:
        os.close(fd)


# All the files of an edit, by their paths: that of the leader last


def _near(target: str, name: str) -> str:
    return os.path.normpath(os.path.join(os.path.dirname(target), name))


def _whole(target: str, found: Found) -> dict[str, Found]:
    edit = {}
    for path in [_near(target, name) for name in found.entry.members]:
        one = journal.find(path) if os.path.lexists(beside(path)) else None
        if one is None:
            raise ReadError("its undo journal is broken", "restore the file from a copy", path)
        edit[path] = one
    return edit | {target: found}


def _still_there(target: str, found: Found) -> dict[str, Entry]:
    """Of an edit that is over, those whose journals were not removed yet."""
    edit = {}
    for path in [_near(target, name) for name in found.entry.members]:
        if os.path.lexists(beside(path)):
            one = journal.find(path)
            edit[path] = one.entry if one else Entry()
    return edit | {target: found.entry}


def _check_is_ours(path: str, found: Found) -> None:
    """Raises ReadError where a file that an edit was about is another one by now: putting old bytes into it would spoil it."""
    entry, what, mend = found.entry, "another program has written it since", "if it is whole,"
    if not os.path.lexists(path):  # the edit had not made it yet, or had taken it away
        ours, what, mend = not entry.extents, "it is not there any more", "bring it back, or"
    elif entry.either:
        ours = descriptors.signature(path) in [tuple(one) for one in entry.either]
    else:
        ours = not entry.extents or _holds_either(path, found)
    if not ours:
        _drop_mark(path)
        raise ReadError(f"an edit of this file was interrupted, and {what}", f"{mend} remove {found.path}", path)


def _holds_either(path: str, found: Found) -> bool:
    fd = os.open(path, os.O_RDONLY)
    try:
        return found.knows(fd)
    finally:
        os.close(fd)


def _undo(target: str, edit: Mapping[str, Found]) -> None:
    """Put back what the journals say; then remove them."""
    if len(edit) > 1:
        journal.say(target, HOT)  # a mark that it is over may have failed half-way
    for path, found in edit.items():
        _put_back(path, found)
    descriptors.sync_folders(list(edit))
    complete(target, {path: found.entry for path, found in edit.items()})


def _put_back(path: str, found: Found) -> None:
    """What was at `path` before. Raises ReadError where this program may not write it."""
    try:
        _put(path, found)
    except OSError as error:
        raise _not_allowed(path) if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) else error from None


def _put(path: str, found: Found) -> None:
    entry = found.entry
    if entry.old:
        kept = os.path.join(os.path.dirname(path), entry.old)
        if os.path.lexists(kept):
            os.replace(kept, path)
    elif entry.fresh:
        if os.path.lexists(path):
            os.unlink(path)
    elif entry.extents:
        _put_extents(path, found)


def _put_extents(path: str, found: Found) -> None:
    """The old bytes, where others stand now."""
    fd = os.open(path, os.O_RDWR)
    try:
        for at, block in found.blocks():
            _restore(fd, block, at)
        os.fsync(fd)
        journal_mark.remove(fd)
    finally:
        os.close(fd)


def _restore(fd: int, block: bytes, at: int) -> None:
    """Write a block, even if it reads the same: after an error the disk may hold something else. If that fails and it reads right, well."""
    try:
        descriptors.write(fd, block, at)
    except OSError:
        if block != descriptors.read(fd, at, len(block)):
            raise


def complete(target: str, entries: Mapping[str, Entry]) -> None:
    """End an edit, or its undoing: from here on the journal of `target` has no meaning."""
    if len(entries) > 1:
        try:
            journal.say(target, OVER)
        except BaseException:  # whether it is over must not depend on what the disk made of that
            journal.say(target, HOT)
            raise
        _finish(target, entries)
    else:
        discard(target, entries[target])
    descriptors.sync_folders([target])


def _finish(target: str, entries: Mapping[str, Entry]) -> bool:
    """Remove what an edit leaves that is over; whether that could be done. If not, the next use will."""
    try:
        journal.say(target, OVER)  # again: the one that was found may not be on the disk yet, and what goes now must not be wanted later
        _clean(entries)
    except OSError:
        return False
    return True


def _clean(entries: Mapping[str, Entry]) -> None:
    """Remove marks, what an edit kept, then its journals, the leader's last: while they are there, nothing is forgotten."""
    for path, entry in entries.items():
        if entry.extents and os.path.lexists(path):
            _unmark(path)
        _forget(path, entry)
    descriptors.sync_folders(list(entries))
    for path in entries:
        discard(path, Entry())


def discard(target: str, entry: Entry) -> None:
    """Remove a journal that has no meaning any more, and what it kept."""
    _forget(target, entry)
    if os.path.lexists(beside(target)):
        os.unlink(beside(target))


def _forget(target: str, entry: Entry) -> None:
    """Remove what a journal kept."""
    folder = os.path.dirname(target)
    for path in [os.path.join(folder, name) for name in (entry.old, entry.temporary) if name]:
        if os.path.lexists(path):
            os.unlink(path)


def _not_allowed(target: str) -> ReadError:
    return ReadError("an edit of this file was interrupted, and undoing it takes the right to write", "run ckpt as its owner", target)
