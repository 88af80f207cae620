"""Several files as one edit: all are prepared, the journals are written, then all are changed; the leader's journal ends it."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ..errors import about
from ..storage.descriptors import open_descriptor
from ..storage.unfinished import journal_path
from . import ending, recovery, sync
from .file_to_write import FileToWrite, WriteOptions
from .fingerprint import size_and_fingerprint
from .journal import JournalEntry
from .journal_writing import NewJournal, begin
from .lock_keepers import LockKeepers
from .opening import settle
from .overwriting import Overwriting, patch_in_place
from .replacing import back_up, broken_links, lock_existing, written_anew
from .temporary import TemporaryFile, link, sweep


class JointEdit:
    """An edit of several files.

    Attributes:
        notes: Notes for the user, one line each.
    """

    def __init__(self, leader: str, outputs: Sequence[tuple[str, FileToWrite]], removed: Sequence[str], options: WriteOptions) -> None:
        """Prepare nothing yet.

        Args:
            leader: The file that names the others (a real path), whether it is changed or not.
            outputs: Each file to be written, with its real path before it.
            removed: Real paths of the files to be removed.
            options: How they are written.
        """
        self.leader, self.outputs, self.removed, self.options = leader, outputs, removed, options
        self.notes: list[str] = []
        self._temporary: dict[str, TemporaryFile] = {}
        self._overwriting: dict[str, Overwriting] = {}
        self._entries: dict[str, JournalEntry] = {}
        self._locks = LockKeepers()
        self._recorded: list[str] = []  # files that have a journal of this edit

    def run(self) -> None:
        """Make the edit; whatever goes wrong, all files are the old ones or all are the new."""
        for target in dict.fromkeys([*(target for target, _ in self.outputs), *self.removed, self.leader]):
            settle(target)
        journal = None
        try:
            self._prepare()
            journal = begin(self.leader)  # from here on readers wait
            self._record(journal)
            self._change()
            ending.complete(self.leader, self._entries)
        except BaseException:
            self._undo()
            raise
        finally:
            if journal is not None:
                journal.close()
            self._close()

    def _close(self) -> None:
        for temporary in self._temporary.values():
            temporary.close()
        self._locks.end()

    def _prepare(self) -> None:
        """What takes long, and changes nothing: new files are written under temporary names, patches are planned."""
        changing = {output.patch.file.identity for _, output in self.outputs if output.patch is not None}
        for target, output in self.outputs:
            with about(output.path):
                patch = patch_in_place(target, output, self.options, changing)
                if patch is not None and not patch.changes:
                    continue
                self._lock(target)
                sweep(target)
                if patch is not None:
                    with open_descriptor(target, os.O_RDONLY) as fd:
                        self._overwriting[target] = Overwriting.planned(fd, patch)
                else:
                    self.notes += broken_links(target, output)
                    self._temporary[target] = written_anew(target, output, self.options)
                    self._temporary[target].hold_by(self._locks)

    def _lock(self, target: str) -> None:
        """Hold the file that is going to be changed, if there is one."""
        fd = lock_existing(target)
        if fd >= 0:
            self._locks.hold(fd)

    def _record(self, journal: NewJournal) -> None:
        """Write the journals of all files; that of the leader, `journal`, last, for with it they all have a meaning."""
        self._make_entries()
        own = self._entries.pop(self.leader, JournalEntry())
        members = list(self._entries)
        for target in members:
            member = begin(target)
            self._recorded.append(target)
            try:
                self._write_journal(member, self._entries[target]._replace(leader=_relative(self.leader, target)))
            finally:
                member.close()
        sync.sync_folders(members)
        self._entries[self.leader] = own._replace(members=[_relative(path, self.leader) for path in members])
        self._write_journal(journal, self._entries[self.leader])
        sync.sync_folders([self.leader])

    def _make_entries(self) -> None:
        for target, overwriting in self._overwriting.items():
            self._entries[target] = overwriting.entry
        for target, temporary in self._temporary.items():
            old = _name_of_old(target) if os.path.exists(target) else ""
            either = [size_and_fingerprint(path) for path in (target, temporary.path) if os.path.exists(path)]
            name = os.path.basename(temporary.path)
            self._entries[target] = JournalEntry(old=old, fresh=not old, temporary=name, either=either)
        for target in self.removed:
            self._entries[target] = JournalEntry(old=_name_of_old(target), either=[size_and_fingerprint(target)])

    def _write_journal(self, journal: NewJournal, entry: JournalEntry) -> None:
        if journal.target not in self._overwriting:
            journal.write(entry)
            return
        with open_descriptor(journal.target, os.O_RDONLY) as fd:
            journal.write(entry, fd, self._overwriting[journal.target].new)

    def _change(self) -> None:
        for target, overwriting in self._overwriting.items():
            with about(target), overwriting.source.held_open(), open_descriptor(target, os.O_RDWR) as fd:
                overwriting.write(fd, target, self.options)
        for target in self._temporary:
            back_up(target, self.options)
            if self._entries[target].old:
                link(target, self._old_path(target))
        sync.sync_folders(list(self._temporary))  # a disk may take the names in any order: the old ones first
        for temporary in self._temporary.values():
            temporary.move()
        for target in self.removed:
            os.replace(target, self._old_path(target))
        sync.sync_folders(list(self._entries))

    def _old_path(self, target: str) -> str:
        return os.path.join(os.path.dirname(target), self._entries[target].old)

    def _undo(self) -> None:
        acted = recovery.abandon(self.leader)
        for temporary in self._temporary.values():
            temporary.remove()
        for target in () if acted else self._recorded:
            ending.discard(target, JournalEntry())


def _relative(path: str, target: str) -> str:
    return os.path.relpath(path, os.path.dirname(target))


def _name_of_old(target: str) -> str:
    """A name in its folder under which the old file is kept until the edit is complete."""
    return f"{os.path.basename(journal_path(target))}.{os.urandom(6).hex()}.old"
