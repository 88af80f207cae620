"""Values written over those in the file itself, under an undo journal: only the bytes that change are written."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import NamedTuple

from ..errors import ReadError
from ..storage.file import File
from ..storage.workers import BLOCK
from . import ending, journal_mark, locks, recovery, sync
from .file_to_write import FileToWrite, WriteOptions
from .fingerprint import fingerprint
from .journal import SECTOR, JournalEntry
from .journal_writing import begin
from .layout import FileLayout
from .patch import Change, Patch, checksums_of, in_place, mended

_LARGE = 4 << 20


def patch_in_place(target: str, output: FileToWrite, options: WriteOptions, changing: Collection[tuple[int, ...]] = ()) -> Patch | None:
    """What to overwrite in `target` itself; None where a new file is to be written. `changing`: all files that the edit may overwrite.

    A journal doubles what is written: beyond half of the file, writing it anew is less. But a file of several names (hard links) stays one.
    A file that grows is written anew: a journal holds old bytes, and there are none.

    Raises:
        ReadError: Another program has changed the file since it was read.
    """
    patch = output.patch
    if patch is None or options.backup is not None or not os.path.exists(target):
        return None
    info = os.stat(target)
    _check_unchanged(patch, info)
    if (info.st_dev, info.st_ino) != patch.file.identity or not os.access(target, os.W_OK):
        return None
    if patch.grows:
        return None
    if 2 * patch.nbytes > patch.file.size and info.st_nlink == 1:
        return None
    return in_place(patch, changing)


def _check_unchanged(patch: Patch, info: os.stat_result) -> None:
    """Raises ReadError where the file that was read, and is now to be changed, has changed since."""
    same = (info.st_dev, info.st_ino) == patch.file.identity
    if same and (info.st_size, info.st_mtime_ns) != (patch.file.size, patch.file.changed):
        raise ReadError("another program has changed the file since it was read", "run the command again")


class Overwriting(NamedTuple):
    """A patch as it is written in place.

    Attributes:
        source: The file as it was read.
        changes: The changes, those of checksums among them.
        entry: What the journal says of them.
        new: What the journal keeps of the bytes that the changed runs will hold.
    """

    source: File
    changes: list[Change]
    entry: JournalEntry
    new: bytes

    @classmethod
    def planned(cls, fd: int, patch: Patch) -> Overwriting:
        """Plan the patch of an open file.

        All new contents are read once before anything is written, so that the journal can tell this edit from a later one.
        """
        piece = 512 if patch.nbytes <= _LARGE else SECTOR
        known = [checksums_of(change, piece, SECTOR) for change in patch.changes]
        checksum_changes = mended(patch, [checksums.crc for checksums in known])
        changes = patch.changes + checksum_changes
        known += [checksums_of(change, piece, SECTOR) for change in checksum_changes]
        extents = [(change.at, change.contents.nbytes) for change in changes]
        entry = JournalEntry(
            size=os.fstat(fd).st_size, print=fingerprint(fd, extents), extents=extents, piece=piece, step=BLOCK, held=SECTOR
        )
        return cls(patch.file, changes, entry, b"".join(each.kept for each in known))

    def write(self, fd: int, target: str, options: WriteOptions) -> None:
        """Mark the open file and write the changes, durably."""
        journal_mark.put(fd, target, self.entry.extents)
        file_layout = FileLayout(fd, options.progress)
        for change in self.changes:
            file_layout.place(change.at, change.contents)
        file_layout.settle()
        os.fdatasync(fd)


def overwrite(target: str, patch: Patch, options: WriteOptions) -> None:
    """Change the file itself, under a journal that is removed when the change is durable, or undone."""
    fd = os.open(target, os.O_RDWR)
    journal = None
    try:
        locks.take(fd, target)
        overwriting = Overwriting.planned(fd, patch)
        journal = begin(target)
        journal.write(overwriting.entry, fd, overwriting.new)
        sync.sync_folders([target])
        overwriting.write(fd, target, options)
        journal_mark.remove(fd)
        ending.complete(target, {target: JournalEntry()})
    except BaseException:
        recovery.abandon(target)
        raise
    finally:
        if journal is not None:
            journal.close()
        locks.close(fd)
