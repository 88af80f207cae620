"""Undo journals: what an edit has overwritten, kept beside the file until the edit is complete and durable.

    .NAME.ckpt-journal beside NAME: 15 bytes of magic, 1 that says whether it is over, the length of an entry (8, little-endian), the entry
    in JSON, the old bytes of its extents, the CRC-32 (4) of each piece of the new ones, and that of all that is behind the magic (4)

Order: the journal is written and fsynced, its folder is, the file is overwritten and fsynced, the journal is removed, the folder fsynced.
So a journal that is not whole was never acted on. One that is, and that nobody holds locked, is of an edit that was interrupted: whoever
next opens the file puts the old bytes back first.

An edit of several files has one leader, the journal of the file that names the others; it lists them, and their journals name it. They
hold as long as it does, and the one byte that says that it is over completes the edit. As SQLite's super-journals: sqlite.org/atomiccommit.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from zlib import crc32

from . import locks
from .errors import ReadError, WriteError, about

_MAGIC = b"ckpt journal 1\n"
_HOT, _OVER = b"\0", b"\1"
_HEAD = len(_MAGIC) + 1 + 8
_BLOCK = 1 << 20
_END = 1 << 16
_SAMPLES, _PAGE = 64, 4096


class Entry(NamedTuple):
    """What it takes to undo the edit of one file. Names are relative to its folder.

    `extents`: what is put back, offset and bytes of each. `old`: a name under which the old file is kept. `fresh`: the file was not there
    before. `temporary`: litter. `leader`: the file on whose journal this one depends; `members`: those whose journals depend on this one.

    Whether this is still the file that was edited is told by `size`, `print` (see `fingerprint`) and the bytes in the extents, of which
    each piece (up to a multiple of `piece` bytes) is the old or the new one; of a file that is replaced, by `either`, size and print of the
    old and of the new one.
    """

    size: int = 0
    print: int = 0
    extents: Sequence[tuple[int, int]] = ()
    old: str = ""
    fresh: bool = False
    temporary: str = ""
    leader: str = ""
    members: Sequence[str] = ()
    piece: int = 512
    either: Sequence[tuple[int, int]] = ()


def beside(target: str) -> str:
    """The path of the journal of `target`, which is a real path."""
    folder, name = os.path.split(target)
    return os.path.join(folder, f".{os.fsdecode(os.fsencode(name)[:200])}.ckpt-journal")


class Journal:
    """A journal that is written, of the file `target`; it is locked as long as its writer lives."""

    def __init__(self, target: str) -> None:
        self.target, self.path, self._fd = target, beside(target), -1
        try:
            self._create()
        except BaseException:  # an interrupt, too, even of the call that makes the file
            self.close()
            _forsake(target)
            raise

    def _create(self) -> None:
        for left in (2, 1, 0):  # others may come first, or take it for an old one before it is locked
            recover(self.target)
            try:
                self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)
            except FileExistsError:
                if left:
                    continue
                raise
            except OSError as error:
                raise _no_room(self.target, error) from None
            locks.take(self._fd, self.target)
            if same(self._fd, self.path):
                return
            self.close()
        raise ReadError("another program is changing this file", "try again when it is done", self.target)

    def write(self, entry: Entry, fd: int = -1, pieces: bytes = b"") -> None:
        """Write and fsync it. `fd`: the file as it is; `pieces`: the CRC-32 of each piece of what it will hold in the extents."""
        import json

        raw = json.dumps(entry._asdict()).encode()
        head = len(raw).to_bytes(8, "little") + raw
        _write(self._fd, _MAGIC + _HOT + head)
        whole = crc32(head)
        for at, count in entry.extents:
            for start in range(at, at + count, _BLOCK):
                block = _read(fd, start, min(_BLOCK, at + count - start))
                whole = crc32(block, whole)
                _write(self._fd, block)
        _write(self._fd, pieces + crc32(pieces, whole).to_bytes(4, "little"))
        os.fsync(self._fd)

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            locks.close(fd)


def _no_room(target: str, error: OSError) -> WriteError:
    reason = (error.strerror or str(error)).lower()
    return WriteError(f"its folder takes no undo journal, which an edit in place needs: {reason}", "-o OUT writes elsewhere", target)


def _forsake(target: str) -> None:
    """Remove a journal that its writer could not even lock, if that is what is there: it is not whole, and nobody has it."""
    try:
        fd = os.open(beside(target), os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        return
    try:
        if locks.free(fd) and same(fd, beside(target)) and _entry(fd) is None:
            os.unlink(beside(target))
    finally:
        os.close(fd)


def recover(target: str) -> None:
    """Undo an edit of `target` (a real path) that was interrupted. Raises ReadError where that is not possible or another is at work."""
    path, settled = beside(target), False
    while not settled:
        try:
            fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        except (FileNotFoundError, NotADirectoryError):
            return
        try:
            if locks.mine(fd):
                return
            locks.take(fd, target)
            if same(fd, path):  # else it was completed while we waited
                with about(target):
                    settled = not _recovered(fd, target)
        except PermissionError:
            raise _not_allowed(target) from None
        finally:
            locks.close(fd)


def _recovered(fd: int, target: str) -> bool:
    """Settle a journal that nobody holds; whether it may have gone, or changed its meaning."""
    entry = _entry(fd)
    if entry and _is_over(fd):
        return _finish(target, entry)
    if entry and entry.leader:
        leader = os.path.normpath(os.path.join(os.path.dirname(target), entry.leader))
        if os.path.lexists(beside(leader)):
            recover(leader)
            return not _is_mine(leader)
    elif entry:
        _check_is_ours(target)
        undo(target)
        return True
    try:
        discard(target, entry)
    except OSError:  # it has no meaning, so whoever may not remove it may still read
        return False
    return True


def abandon(target: str) -> bool:
    """Undo at once what this program began, if the journal is its own; whether it was acted on. One that says that it is over holds."""
    if not _is_mine(target):
        return False
    entry = read(target)
    if entry is None:
        discard(target, None)
    elif not _finished(target, entry):
        undo(target)
    return entry is not None


def _is_mine(target: str) -> bool:
    try:
        fd = os.open(beside(target), os.O_RDONLY)
    except OSError:
        return False
    try:
        return locks.mine(fd)
    finally:
        os.close(fd)


def _finished(target: str, entry: Entry) -> bool:
    """Whether the edit was over; if so, what it leaves is removed."""
    fd = os.open(beside(target), os.O_RDONLY)
    try:
        over = _is_over(fd)
    finally:
        os.close(fd)
    return over and (_finish(target, entry) or True)


def _finish(target: str, entry: Entry) -> bool:
    """Remove what an edit leaves that is over; whether that could be done. If not, the next use will."""
    try:
        _mark(target, _OVER)  # again: the one that was found may not be on the disk yet, and what goes now must not be wanted later
        _clean(target, entry)
    except OSError:
        return False
    return True


def undo(target: str) -> None:
    """Put back what the journal of `target`, and those that depend on it, say; then remove them."""
    own = load(target)
    if own.members:
        _mark(target, _HOT)  # a mark that it is over may have failed half-way
    targets = _members(target, own)
    for each, entry in [*((path, load(path)) for path in targets), (target, own)]:
        try:
            _put_back(each, entry)
        except OSError as error:
            raise _not_allowed(each) if isinstance(error, PermissionError) or error.errno == 30 else error from None
    sync_folders([target, *targets])
    complete(target, own)


def complete(target: str, entry: Entry) -> None:
    """End an edit, or its undoing: from here on the journal of `target` has no meaning."""
    if entry.members:
        try:
            _mark(target, _OVER)
        except BaseException:  # whether it is over must not depend on what the disk made of that
            _mark(target, _HOT)
            raise
        _finish(target, entry)
    else:
        discard(target, entry)
    sync_folders([target])


def _mark(target: str, mark: bytes) -> None:
    fd = os.open(beside(target), os.O_RDWR)
    try:
        _write(fd, mark, len(_MAGIC))
        os.fsync(fd)
    finally:
        os.close(fd)


def _clean(target: str, entry: Entry) -> None:
    """Remove what an edit kept that is over, then its journals, the leader's last: while they are there, no litter is forgotten."""
    targets = [path for path in _members(target, entry) if os.path.lexists(beside(path))]
    for path in targets:
        _forget(path, read(path))
    _forget(target, entry)
    sync_folders([target, *targets])
    for path in (*targets, target):
        discard(path, None)


def _members(target: str, entry: Entry) -> list[str]:
    return [os.path.normpath(os.path.join(os.path.dirname(target), name)) for name in entry.members]


def discard(target: str, entry: Entry | None) -> None:
    """Remove a journal that has no meaning any more, and what it kept."""
    _forget(target, entry)
    if os.path.lexists(beside(target)):
        os.unlink(beside(target))


def _forget(target: str, entry: Entry | None) -> None:
    """Remove what a journal kept."""
    folder = os.path.dirname(target)
    for path in [os.path.join(folder, name) for name in ((entry.old, entry.temporary) if entry else ()) if name]:
        if os.path.lexists(path):
            os.unlink(path)


def read(target: str) -> Entry | None:
    """What the journal of `target` says; None where it is not whole."""
    fd = os.open(beside(target), os.O_RDONLY)
    try:
        return _entry(fd)
    finally:
        os.close(fd)


def load(target: str) -> Entry:
    """The journal of `target`, which is whole."""
    entry = read(target)
    if entry is None:
        raise ReadError("its undo journal is broken", "restore the file from a copy", target)
    return entry


def _check_is_ours(target: str) -> None:
    """Raises ReadError where one of the files that an edit was about is another one by now: putting old bytes into it would spoil it."""
    own = load(target)
    for path, entry in [(target, own), *((path, load(path)) for path in _members(target, own))]:
        if not os.path.lexists(path):  # the edit had not made it yet, or had taken it away
            ours = not entry.extents
        elif entry.either:
            ours = signature(path) in [tuple(one) for one in entry.either]
        else:
            ours = not entry.extents or _holds_either(path, entry)
        if not ours:
            mend = f"if it is whole, remove {beside(path)}"
            raise ReadError("an edit of this file was interrupted, and another program has written it since", mend, path)


def _holds_either(target: str, entry: Entry) -> bool:
    """Whether a file is the one that was edited, each piece of which is as it was before or after."""
    source, fd = os.open(beside(target), os.O_RDONLY), os.open(target, os.O_RDONLY)
    try:
        if (os.fstat(fd).st_size, fingerprint(fd, entry.extents)) != (entry.size, entry.print):
            return False
        old = _data(source)
        new = old + sum(count for _, count in entry.extents)
        for at, size in _pieces(entry):
            block = _read(fd, at, size)
            if block != _read(source, old, size) and crc32(block).to_bytes(4, "little") != _read(source, new, 4):
                return False
            old, new = old + size, new + 4
        return True
    finally:
        os.close(source)
        os.close(fd)


def signature(path: str) -> tuple[int, int]:
    """Size and print of a file."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.fstat(fd).st_size, fingerprint(fd, ())
    finally:
        os.close(fd)


def _pieces(entry: Entry) -> Iterator[tuple[int, int]]:
    for at, count in entry.extents:
        stop = at + count
        while at < stop:
            size = min(entry.piece - at % entry.piece, stop - at)
            yield at, size
            at += size


def _put_back(target: str, entry: Entry) -> None:
    folder = os.path.dirname(target)
    if entry.old:
        kept = os.path.join(folder, entry.old)
        if os.path.lexists(kept):
            os.replace(kept, target)
    elif entry.fresh:
        if os.path.lexists(target):
            os.unlink(target)
    elif entry.extents:
        _put_extents(target, entry)


def _put_extents(target: str, entry: Entry) -> None:
    """The old bytes, where others stand now."""
    source, fd = os.open(beside(target), os.O_RDONLY), os.open(target, os.O_RDWR)
    try:
        at = _data(source)
        for start, count in entry.extents:
            for done in range(0, count, _BLOCK):
                block = _read(source, at + done, min(_BLOCK, count - done))
                _restore(fd, block, start + done)
            at += count
        os.fsync(fd)
    finally:
        os.close(source)
        os.close(fd)


def _restore(fd: int, block: bytes, at: int) -> None:
    """Write a block, even if it reads the same: after an error the disk may hold something else. If that fails and it reads right, well."""
    try:
        _write(fd, block, at)
    except OSError:
        if block != _read(fd, at, len(block)):
            raise


def _entry(fd: int) -> Entry | None:
    """What a journal says; None where it is not whole."""
    import json

    size, start = os.fstat(fd).st_size, _data(fd)
    if not start or size < start + 4:
        return None
    crc = 0
    for at in range(len(_MAGIC) + 1, size - 4, _BLOCK):
        crc = crc32(_read(fd, at, min(_BLOCK, size - 4 - at)), crc)
    if _read(fd, size - 4, 4) != crc.to_bytes(4, "little"):
        return None
    said: dict[str, Any] = json.loads(_read(fd, _HEAD, start - _HEAD))
    return Entry(**said)


def _data(fd: int) -> int:
    """Where the old bytes begin in a journal; 0 where it has no whole head."""
    head = _read(fd, 0, _HEAD)
    if len(head) < _HEAD or head[: len(_MAGIC)] != _MAGIC:
        return 0
    return _HEAD + int.from_bytes(head[-8:], "little")


def _is_over(fd: int) -> bool:
    return _read(fd, len(_MAGIC), 1) == _OVER


def fingerprint(fd: int, extents: Sequence[tuple[int, int]]) -> int:
    """The CRC-32 of both ends of a file and of pages all over it, without the bytes in `extents`: an edit of those leaves it as it is."""
    size, found = os.fstat(fd).st_size, 0
    samples = [(size * number // _SAMPLES, _PAGE) for number in range(_SAMPLES)]
    for start, length in ((0, _END), (max(0, size - _END), _END), *samples):
        held = bytearray(_read(fd, start, length))
        for at, count in extents:
            low, high = max(at - start, 0), min(at + count - start, len(held))
            if low < high:
                held[low:high] = bytes(high - low)
        found = crc32(held, found)
    return found


def _not_allowed(target: str) -> ReadError:
    return ReadError("an edit of this file was interrupted, and undoing it takes the right to write", "run ckpt as its owner", target)


def same(fd: int, path: str) -> bool:
    """Whether an open file still has that name."""
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(path))
    except FileNotFoundError:
        return False


def _read(fd: int, at: int, count: int) -> bytes:
    """`count` bytes; fewer where the file ends."""
    parts = []
    while count and (part := os.pread(fd, count, at)):
        parts.append(part)
        at, count = at + len(part), count - len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _write(fd: int, data: bytes, at: int | None = None) -> None:
    view = memoryview(data)
    while view:
        done = os.write(fd, view) if at is None else os.pwrite(fd, view, at)
        view, at = view[done:], None if at is None else at + done


def sync_folders(targets: Sequence[str]) -> None:
    """fsync the folders of these files."""
    for folder in dict.fromkeys(os.path.dirname(target) for target in targets):
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
