"""Writing files, all or nothing: whatever happens in between, a path holds the old content or the new.

A new file is written and fsynced under a temporary name beside its target, with the target's mode, then renamed over it, and the folder
fsynced. A patch of the file itself is written in place under an undo journal. Several files are one edit, under the journal of the first.
What is temporary is removed on every way out.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from . import journal, locks
from .blocks import Progress
from .errors import ReadError, WriteError, about
from .journal import Entry, Journal, beside
from .patch import Patch, copy, in_place, mend, placed
from .sink import Sink


class Output(NamedTuple):
    """A file to be written: `write` lays it out anew. `patch`, where there is one: what turns the file it was read from into the same."""

    path: str
    write: Callable[[Sink], None]
    patch: Patch | None = None


class How(NamedTuple):
    """Whether existing files are replaced, the suffix under which they are kept, whom to tell of the bytes done, the mend for a clash."""

    replace: bool = False
    backup: str | None = None
    progress: Progress | None = None
    mend: str = "--force replaces it, or choose another name"


def save_all(main: str, outputs: Iterable[Output], removed: Sequence[str], how: How) -> None:
    """Write `outputs` and remove the files `removed`, as one edit. `main`: the file that names the others. Symbolic links stay links."""
    found = []
    for output in outputs:
        with about(output.path):
            target = os.path.realpath(output.path)
            _check_target(target, how)
            found.append((target, output))
    if len(found) == 1 and not removed:
        with about(found[0][1].path):
            _save_one(*found[0], how)
    elif found or removed:
        _Together(os.path.realpath(main), found, [os.path.realpath(path) for path in removed], how).run()


def _save_one(target: str, output: Output, how: How) -> None:
    patch = _patch_of(target, output, how)
    if patch is None:
        with _Staged(target, output, how) as staged:
            if how.backup is not None:
                _keep(target, f"{target}{how.backup}")
            staged.move()
        journal.sync_folders([target])
    elif patch.changes:
        _overwrite(target, patch, how)


def _patch_of(target: str, output: Output, how: How) -> Patch | None:
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


def _overwrite(target: str, patch: Patch, how: How) -> None:
    """Change the file itself, under a journal that is removed when the change is durable, or undone."""
    fd = os.open(target, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
    record = None
    try:
        locks.take(fd, target)
        record = Journal(target)
        old = record.write(_entry(fd, patch), fd)
        journal.sync_folders([target])
        _write_patch(fd, patch, old, how)
        journal.complete(target, Entry())
    except BaseException:
        if record is not None and os.path.lexists(record.path):
            _undo(target)
        raise
    finally:
        if record is not None:
            record.close()
        locks.close(fd)


def _undo(target: str) -> None:
    """Undo at once what was begun; a journal that is not whole was not acted on."""
    if journal.read(target):
        journal.undo(target)
    else:
        journal.discard(target, None)


def _entry(fd: int, patch: Patch) -> Entry:
    extents = [(change.at, change.contents.nbytes) for change in patch.changes]
    places = [(place, 4) for checksum in patch.checksums for place in checksum.places]
    extents += places
    return Entry(size=os.fstat(fd).st_size, print=journal.fingerprint(fd, extents), extents=extents)


def _write_patch(fd: int, patch: Patch, old: Sequence[int], how: How) -> None:
    """`old`: the CRC-32 of what each change replaces."""
    sink = Sink(fd, how.progress)
    puts = placed(patch, sink)
    sink.settle()
    mend(patch, sink, puts, old[: len(puts)])
    os.fdatasync(fd)


class _Staged:
    """A file that is written under a temporary name, and takes its place when it is complete. `with` removes what did not."""

    def __init__(self, target: str, output: Output, how: How) -> None:
        folder, stem = os.path.dirname(target), os.fsdecode(os.fsencode(os.path.basename(target))[:100])
        self.target, self.path = target, os.path.join(folder, f".{stem}.{os.urandom(6).hex()}.tmp")
        try:
            self._write(output, how)
        except BaseException:  # an interrupt, too, even of the call that makes the file
            self.remove()
            raise

    def _write(self, output: Output, how: How) -> None:
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)
        except OSError as error:  # the user knows the target, not the temporary name
            raise OSError(error.errno, error.strerror, self.target) from None
        try:
            os.fchmod(fd, _mode(self.target))
            _write(Sink(fd, how.progress), output)
            os.fsync(fd)
        finally:
            os.close(fd)

    def move(self) -> None:
        os.replace(self.path, self.target)

    def remove(self) -> None:
        _quietly(lambda: os.unlink(self.path))

    def __enter__(self) -> _Staged:
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is not None:
            self.remove()


def _write(sink: Sink, output: Output) -> None:
    if output.patch is None:
        output.write(sink)
        sink.settle()
    else:
        copy(output.patch, sink)


class _Together:
    """An edit of several files: all are prepared, the journals are written, then all are changed; the leader's journal ends it."""

    def __init__(self, leader: str, outputs: Sequence[tuple[str, Output]], removed: Sequence[str], how: How) -> None:
        self.leader, self.outputs, self.removed, self.how = leader, outputs, removed, how
        self.patches: dict[str, Patch] = {}
        self.staged: dict[str, _Staged] = {}
        self.entries: dict[str, Entry] = {}
        self.old: dict[str, list[int]] = {}
        self.open: dict[str, int] = {}

    def run(self) -> None:
        record = Journal(self.leader)
        try:
            self._prepare()
            self._record(record)
            self._change()
            journal.complete(self.leader, self.entries[self.leader])
        except BaseException:
            if os.path.lexists(record.path):
                self._undo()
            raise
        finally:
            record.close()
            for fd in self.open.values():
                locks.close(fd)

    def _prepare(self) -> None:
        """What takes long, and changes nothing: new files are written under temporary names."""
        for target, output in self.outputs:
            with about(output.path):
                patch = _patch_of(target, output, self.how)
                if patch is not None and not patch.changes:
                    continue
                if os.path.exists(target):
                    self.open[target] = os.open(target, (os.O_RDWR if patch else os.O_RDONLY) | getattr(os, "O_CLOEXEC", 0))
                    locks.take(self.open[target], target)
                if patch is not None:
                    self.patches[target] = patch
                else:
                    self.staged[target] = _Staged(target, output, self.how)

    def _record(self, leader: Journal) -> None:
        """Journals of all the files; that of the leader last, for with it they hold."""
        for target, patch in self.patches.items():
            self.entries[target] = _entry(self.open[target], patch)
        for target, staged in self.staged.items():
            old = _kept_as(target) if os.path.exists(target) else ""
            self.entries[target] = Entry(old=old, fresh=not old, temporary=os.path.basename(staged.path))
        for target in self.removed:
            self.entries[target] = Entry(old=_kept_as(target))
        members = [target for target in self.entries if target != self.leader]
        for target in members:
            self._written(Journal(target), self.entries[target]._replace(leader=_relative(self.leader, target)))
        journal.sync_folders(members)
        names = [_relative(path, self.leader) for path in members]
        own = self.entries[self.leader] = self.entries.get(self.leader, Entry())._replace(members=names)
        self.old[self.leader] = leader.write(own, self._fd(self.leader))
        journal.sync_folders([self.leader])

    def _written(self, record: Journal, entry: Entry) -> None:
        try:
            self.old[record.target] = record.write(entry, self._fd(record.target))
        finally:
            record.close()

    def _fd(self, target: str) -> int:
        return self.open.get(target, -1)

    def _change(self) -> None:
        for target, patch in self.patches.items():
            with about(target):
                _write_patch(self.open[target], patch, self.old[target], self.how)
        for target, staged in self.staged.items():
            if self.how.backup is not None and os.path.exists(target):
                _keep(target, f"{target}{self.how.backup}")
            if self.entries[target].old:
                _link(target, os.path.join(os.path.dirname(target), self.entries[target].old))
            staged.move()
        for target in self.removed:
            os.replace(target, os.path.join(os.path.dirname(target), self.entries[target].old))
        journal.sync_folders(list(self.entries))

    def _undo(self) -> None:
        if journal.read(self.leader):
            journal.undo(self.leader)
            return
        for staged in self.staged.values():
            staged.remove()
        for target in (*self.entries, self.leader):
            journal.discard(target, None)


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


def _mode(target: str) -> int:
    """The mode of the file that is replaced; of a new one, what the user's umask leaves of 666."""
    try:
        return stat.S_IMODE(os.stat(target).st_mode)
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask


def _keep(target: str, backup: str) -> None:
    """The old content under another name, before the new one takes its place."""
    if not os.path.exists(target):
        return
    fresh = f"{backup}.{os.urandom(6).hex()}.tmp"
    try:
        _link(target, fresh)
        os.replace(fresh, backup)
    finally:  # a rename onto another link of the same file does nothing at all
        _quietly(lambda: os.unlink(fresh))


def _link(target: str, other: str) -> None:
    """The same content under another name."""
    try:
        os.link(target, other)
    except OSError:  # a file system without hard links
        import shutil

        shutil.copy2(target, other)


def _quietly(step: Callable[[], None]) -> None:
    try:
        step()
    except OSError:
        pass
