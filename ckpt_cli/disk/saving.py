"""Writing files, all or nothing: whatever happens in between, a path holds the old content or the new.

A new file is written and fsynced under a temporary name beside its target, with the target's mode, then renamed over it, and the folder
fsynced. A patch of the file itself is written in place under an undo journal. Several files are one edit, under the journal of the first.
What is temporary is removed on every way out.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from ..errors import ReadError, WriteError, about
from ..storage import descriptors
from ..tensors.blocks import Progress
from . import journal_mark, locks, recovery
from .journal import Entry, Journal, beside
from .layout import FileLayout
from .patch import Change, Patch, copy, in_place, mended, told
from .temporary import Staged, known_as, link, quietly, sweep, temporary

_MANY = 4 << 20


class FileToWrite(NamedTuple):
    """A file to be written: `write` lays it out anew. `patch`, where there is one: what turns the file it was read from into the same."""

    path: str
    write: Callable[[FileLayout], None]
    patch: Patch | None = None


class How(NamedTuple):
    """Whether existing files are replaced, the suffix under which they are kept, whom to tell of the bytes done, the mend for a clash."""

    replace: bool = False
    backup: str | None = None
    progress: Progress | None = None
    mend: str = "--force replaces it, or choose another name"


def save_all(main: str, outputs: Iterable[FileToWrite], removed: Sequence[str], how: How) -> list[str]:
    """Write `outputs` and remove the files `removed`, as one edit. `main`: the file that names the others. Symbolic links stay links.

    The lines are what the user should be told.
    """
    found = targets(outputs, how)
    if len(found) == 1 and not removed:
        with about(found[0][1].path):
            return _save_one(*found[0], how)
    together = _Together(os.path.realpath(main), found, [os.path.realpath(path) for path in removed], how)
    if found or removed:
        together.run()
    return together.told


def targets(outputs: Iterable[FileToWrite], how: How) -> list[tuple[str, FileToWrite]]:
    """Each with the file that it becomes. Raises WriteError for one that may not be written."""
    found = []
    for output in outputs:
        with about(output.path):
            target = os.path.realpath(output.path)
            _check_target(target, how)
            found.append((target, output))
    return found


def _save_one(target: str, output: FileToWrite, how: How) -> list[str]:
    fd = _locked(target)
    try:
        recovery.recover(target)
        sweep(target)
        patch = _patch_of(target, output, how)
        if patch is not None:
            if patch.changes:
                _overwrite(target, patch, how)
            return []
        told = _parted(target, output)
        with Staged(target, lambda fd: _write(fd, output, how)) as staged:
            if how.backup is not None:
                _keep(target, f"{target}{how.backup}")
            staged.move()
        descriptors.sync_folders([target])
        return told
    finally:
        if fd >= 0:
            locks.close(fd)


def _locked(target: str) -> int:
    """The file that is going to be replaced, open and locked; -1 where there is none, or it may be replaced but not read."""
    try:
        fd = os.open(target, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except (FileNotFoundError, PermissionError):
        return -1
    try:
        locks.take(fd, target)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _parted(target: str, output: FileToWrite) -> list[str]:
    """That other names of the file that is replaced (hard links) keep its old content."""
    try:
        others = os.stat(target).st_nlink - 1
    except FileNotFoundError:
        return []
    names = "another name, which keeps" if others == 1 else f"{others:,} other names, which keep"
    return [f"{output.path} is written anew: the hard link is broken to {names} the old content"] if others > 0 else []


def _patch_of(target: str, output: FileToWrite, how: How) -> Patch | None:
    """What to overwrite in place; None where a new file is to be written.

    A journal doubles what is written: beyond half of the file, writing it anew is less. But a file of several names (hard links) stays one.
    """
    patch = output.patch
    if patch is None or how.backup is not None or not os.path.exists(target):
        return None
    info = os.stat(target)
    _check_unchanged(patch, info)
    if (info.st_dev, info.st_ino) != patch.file.identity or not os.access(target, os.W_OK):
        return None
    if 2 * patch.nbytes > patch.file.size and info.st_nlink == 1:
        return None
    return in_place(patch)


def _check_unchanged(patch: Patch, info: os.stat_result) -> None:
    """Raises ReadError where the file that was read, and is now to be changed, has changed since."""
    same = (info.st_dev, info.st_ino) == patch.file.identity
    if same and (info.st_size, info.st_mtime_ns) != (patch.file.size, patch.file.changed):
        raise ReadError("another program has changed the file since it was read", "run the command again")


@contextmanager
def _opened(target: str, way: int) -> Iterator[int]:
    fd = os.open(target, way | getattr(os, "O_CLOEXEC", 0))
    try:
        yield fd
    finally:
        os.close(fd)


def _overwrite(target: str, patch: Patch, how: How) -> None:
    """Change the file itself, under a journal that is removed when the change is durable, or undone."""
    fd = os.open(target, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
    record = None
    try:
        locks.take(fd, target)
        overwriting = _Overwriting.planned(fd, patch)
        record = recovery.begin(target)
        record.write(overwriting.entry, fd, overwriting.pieces)
        descriptors.sync_folders([target])
        overwriting.write(fd, target, how)
        journal_mark.remove(fd)
        recovery.complete(target, {target: Entry()})
    except BaseException:
        recovery.abandon(target)
        raise
    finally:
        if record is not None:
            record.close()
        locks.close(fd)


class _Overwriting(NamedTuple):
    """A patch as it is written in place: the changes, those of checksums among them, and what the journal says of them."""

    changes: list[Change]
    entry: Entry
    pieces: bytes

    @classmethod
    def planned(cls, fd: int, patch: Patch) -> _Overwriting:
        """Every content is looked at once before anything is written, so that the journal can tell this edit from a later one."""
        piece = 512 if patch.nbytes <= _MANY else 4096  # what a disk writes whole; of larger patches, what the memory does
        found = [told(change, piece) for change in patch.changes]
        mends = mended(patch, [one.crc for one in found])
        changes = patch.changes + mends
        pieces = b"".join(one.pieces for one in (*found, *(told(change, piece) for change in mends)))
        extents = [(change.at, change.contents.nbytes) for change in changes]
        entry = Entry(size=os.fstat(fd).st_size, print=descriptors.fingerprint(fd, extents), extents=extents, piece=piece)
        return cls(changes, entry, pieces)

    def write(self, fd: int, target: str, how: How) -> None:
        journal_mark.put(fd, target, self.entry.extents)
        file_layout = FileLayout(fd, how.progress)
        for change in self.changes:
            file_layout.place(change.at, change.contents)
        file_layout.settle()
        os.fdatasync(fd)


def _write(fd: int, output: FileToWrite, how: How) -> None:
    file_layout = FileLayout(fd, how.progress)
    if output.patch is None:
        output.write(file_layout)
        file_layout.settle()
    else:
        copy(output.patch, file_layout)


class _Together:
    """An edit of several files: all are prepared, the journals are written, then all are changed; the leader's journal ends it."""

    def __init__(self, leader: str, outputs: Sequence[tuple[str, FileToWrite]], removed: Sequence[str], how: How) -> None:
        self.leader, self.outputs, self.removed, self.how = leader, outputs, removed, how
        self.staged: dict[str, Staged] = {}
        self.overwriting: dict[str, _Overwriting] = {}
        self.entries: dict[str, Entry] = {}
        self.locked: list[int] = []
        self.recorded: list[str] = []  # files that have a journal of ours
        self.told: list[str] = []

    def run(self) -> None:
        descriptors.allow_many()
        for target in dict.fromkeys([*(target for target, _ in self.outputs), *self.removed, self.leader]):
            recovery.recover(target)
        record = None
        try:
            self._prepare()
            record = recovery.begin(self.leader)  # from here on readers wait
            self._record(record)
            self._change()
            recovery.complete(self.leader, self.entries)
        except BaseException:
            self._undo()
            raise
        finally:
            if record is not None:
                record.close()
            self._close()

    def _close(self) -> None:
        for staged in self.staged.values():
            staged.close()
        for fd in self.locked:
            locks.close(fd)

    def _prepare(self) -> None:
        """What takes long, and changes nothing: new files are written under temporary names, patches are looked through."""
        for target, output in self.outputs:
            with about(output.path):
                patch = _patch_of(target, output, self.how)
                if patch is not None and not patch.changes:
                    continue
                held = self._lock(target)
                sweep(target)
                if patch is not None:
                    with _opened(target, os.O_RDONLY) as fd:
                        self.overwriting[target] = _Overwriting.planned(fd, patch)
                else:
                    self.told += _parted(target, output)
                    self.staged[target] = Staged(target, lambda fd, output=output: _write(fd, output, self.how))  # type: ignore[misc]
                    if held:  # whoever might sweep it away would have to hold the target: one open file less
                        self.staged[target].close()

    def _lock(self, target: str) -> bool:
        """Hold the file that is going to be changed. Most are held already, by whoever read them. False where there is none."""
        fd = _locked(target)
        if fd >= 0:
            self.locked.append(fd)
        return fd >= 0

    def _record(self, leader: Journal) -> None:
        """Journals of all the files; that of the leader last, for with it they hold."""
        for target, overwriting in self.overwriting.items():
            self.entries[target] = overwriting.entry
        for target, staged in self.staged.items():
            old = _kept_as(target) if os.path.exists(target) else ""
            either = [descriptors.signature(path) for path in (target, staged.path) if os.path.exists(path)]
            self.entries[target] = Entry(old=old, fresh=not old, temporary=os.path.basename(staged.path), either=either)
        for target in self.removed:
            self.entries[target] = Entry(old=_kept_as(target), either=[descriptors.signature(target)])
        own = self.entries.pop(self.leader, Entry())
        members = list(self.entries)
        for target in members:
            record = recovery.begin(target)
            self.recorded.append(target)
            try:
                self._written(record, self.entries[target]._replace(leader=_relative(self.leader, target)))
            finally:
                record.close()
        descriptors.sync_folders(members)
        self.entries[self.leader] = own._replace(members=[_relative(path, self.leader) for path in members])
        self._written(leader, self.entries[self.leader])
        descriptors.sync_folders([self.leader])

    def _written(self, record: Journal, entry: Entry) -> None:
        if record.target not in self.overwriting:
            record.write(entry)
            return
        with _opened(record.target, os.O_RDONLY) as fd:
            record.write(entry, fd, self.overwriting[record.target].pieces)

    def _change(self) -> None:
        for target, overwriting in self.overwriting.items():
            with about(target), _opened(target, os.O_RDWR) as fd:
                overwriting.write(fd, target, self.how)
        for target in self.staged:
            if self.how.backup is not None and os.path.exists(target):
                _keep(target, f"{target}{self.how.backup}")
            if self.entries[target].old:
                link(target, self._kept(target))
        descriptors.sync_folders(list(self.staged))  # a disk may take the names in any order: the old ones first
        for staged in self.staged.values():
            staged.move()
        for target in self.removed:
            os.replace(target, self._kept(target))
        descriptors.sync_folders(list(self.entries))

    def _kept(self, target: str) -> str:
        return os.path.join(os.path.dirname(target), self.entries[target].old)

    def _undo(self) -> None:
        acted = recovery.abandon(self.leader)
        for staged in self.staged.values():
            staged.remove()
        for target in () if acted else self.recorded:
            recovery.discard(target, Entry())


def _relative(path: str, target: str) -> str:
    return os.path.relpath(path, os.path.dirname(target))


def _kept_as(target: str) -> str:
    return f"{os.path.basename(beside(target))}.{os.urandom(6).hex()}.old"


def _check_target(target: str, how: How) -> None:
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise WriteError("this is no regular file", "choose another name")
    if not how.replace:
        raise WriteError("the file is there already", how.mend)


def _keep(target: str, backup: str) -> None:
    """The old content under another name, before the new one takes its place."""
    if not os.path.exists(target):
        return
    fresh = temporary(target)
    try:
        with known_as(target):
            link(target, fresh)
            os.replace(fresh, backup)
        descriptors.sync_folders([backup])  # a disk may take the names in any order
    finally:  # a rename onto another link of the same file does nothing at all
        quietly(lambda: os.unlink(fresh))
