"""Undo journals: what an edit has overwritten, kept beside the file until the edit is complete and durable.

    .NAME.ckpt-journal beside NAME: 15 bytes of magic, 1 that says whether it is over, the length of an entry (8, little-endian), the entry
    in JSON, the old bytes of its extents, the CRC-32 (4) of each piece of the new ones, and that of all that is behind the magic (4)

Here is how one is written, read and checked; `recovery` has what it is for. One that is not whole was never acted on.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from zlib import crc32

from ..errors import ReadError
from ..storage import descriptors
from . import locks

_MAGIC = b"ckpt journal 1\n"
HOT, OVER = b"\0", b"\1"
_HEAD = len(_MAGIC) + 1 + 8
_BLOCK = 1 << 20
_OPEN = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


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

    def pieces(self) -> Iterator[tuple[int, int]]:
        """Offset and bytes of each piece of the extents."""
        for at, count in self.extents:
            stop = at + count
            while at < stop:
                size = min(self.piece - at % self.piece, stop - at)
                yield at, size
                at += size


def beside(target: str) -> str:
    """The path of the journal of `target`, which is a real path."""
    folder, name = os.path.split(target)
    return os.path.join(folder, f".{os.fsdecode(os.fsencode(name)[:200])}.ckpt-journal")


class Journal:
    """A journal that is written, of the file `target`; it is locked as long as its writer lives. Raises FileExistsError."""

    def __init__(self, target: str) -> None:
        self.target, self.path, self._fd, self._at = target, beside(target), -1, 0
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)
            locks.take(self._fd, target)
        except BaseException:  # an interrupt, too, even of the call that makes the file
            self.close()
            _forsake(self.path)
            raise

    def held(self) -> bool:
        """Whether it is still there: who found it before it was locked took it for an old one."""
        return descriptors.same(self._fd, self.path)

    def write(self, entry: Entry, fd: int = -1, pieces: bytes = b"") -> None:
        """Write and fsync it. `fd`: the file as it is; `pieces`: the CRC-32 of each piece of what it will hold in the extents."""
        import json

        raw = json.dumps(entry._asdict()).encode()
        head = len(raw).to_bytes(8, "little") + raw
        self._append(_MAGIC + HOT + head)
        whole = crc32(head)
        for at, count in entry.extents:
            for start in range(at, at + count, _BLOCK):
                block = descriptors.read(fd, start, min(_BLOCK, at + count - start))
                whole = crc32(block, whole)
                self._append(block)
        self._append(pieces + crc32(pieces, whole).to_bytes(4, "little"))
        os.fsync(self._fd)

    def _append(self, data: bytes) -> None:
        descriptors.write(self._fd, data, self._at)
        self._at += len(data)

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            locks.close(fd)


def _forsake(path: str) -> None:
    """Remove a journal that its writer could not even lock, if that is what is there: it is not whole, and nobody has it."""
    try:
        fd = os.open(path, _OPEN)
    except OSError:
        return
    try:
        if locks.free(fd) and descriptors.same(fd, path) and load(fd, path) is None:
            os.unlink(path)
    finally:
        os.close(fd)


class Found(NamedTuple):
    """A journal that is whole. `start`: where its old bytes begin; `over`: whether its edit holds."""

    path: str
    entry: Entry
    start: int
    over: bool

    def blocks(self) -> Iterator[tuple[int, bytes]]:
        """The old bytes, and the offset in the file at which each block of them was."""
        with opened(self.path) as source:
            at = self.start
            for start, count in self.entry.extents:
                for done in range(0, count, _BLOCK):
                    yield start + done, descriptors.read(source, at + done, min(_BLOCK, count - done))
                at += count

    def knows(self, fd: int) -> bool:
        """Whether an open file is the one that was edited: each piece is as it was before or after, and the rest as it was."""
        if (os.fstat(fd).st_size, descriptors.fingerprint(fd, self.entry.extents)) != (self.entry.size, self.entry.print):
            return False
        with opened(self.path) as source:
            old = self.start
            new = old + sum(count for _, count in self.entry.extents)
            for at, size in self.entry.pieces():
                block = descriptors.read(fd, at, size)
                after = descriptors.read(source, new, 4)
                if block != descriptors.read(source, old, size) and crc32(block).to_bytes(4, "little") != after:
                    return False
                old, new = old + size, new + 4
        return True


@contextmanager
def opened(path: str) -> Iterator[int]:
    """A journal, open for reading; its lock, where it is taken, is given back with it."""
    fd = os.open(path, _OPEN)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ReadError("what has the name of its undo journal is no file", f"remove {path}")
        yield fd
    finally:
        locks.close(fd)


def find(target: str) -> Found | None:
    """The journal of `target`; None where it is not whole. Raises FileNotFoundError."""
    with opened(beside(target)) as fd:
        return load(fd, beside(target))


def load(fd: int, path: str) -> Found | None:
    """What an open journal says; None where it is not whole. Raises ReadError where no edit can have written it."""
    import json

    size, head = os.fstat(fd).st_size, descriptors.read(fd, 0, _HEAD)
    start = _HEAD + int.from_bytes(head[-8:], "little")
    if len(head) < _HEAD or head[: len(_MAGIC)] != _MAGIC or size < start + 4:
        return None
    crc = 0
    for at in range(len(_MAGIC) + 1, size - 4, _BLOCK):
        crc = crc32(descriptors.read(fd, at, min(_BLOCK, size - 4 - at)), crc)
    if descriptors.read(fd, size - 4, 4) != crc.to_bytes(4, "little"):
        return None
    try:
        entry = Entry(**json.loads(descriptors.read(fd, _HEAD, start - _HEAD)))
        sound = _sound(entry, size - start - 4)
    except (ValueError, TypeError, RecursionError):
        sound = False
    if not sound:
        raise ReadError("its undo journal is of another program", f"remove {path} if you know that the file is whole")
    return Found(path, entry, start, head[len(_MAGIC) : len(_MAGIC) + 1] == OVER)


def _sound(entry: Entry, held: int) -> bool:
    """Whether an edit may have written it: a journal may come with a download, and is believed as little. `held`: bytes behind it."""
    return (
        all(type(one) is int and one >= 0 for one in (entry.size, entry.print, entry.piece - 1))
        and _are_pairs(entry.extents)
        and _are_pairs(entry.either)
        and all(at + count <= entry.size for at, count in entry.extents)
        and sum(count for _, count in entry.extents) <= held
        and all(not name or _is_litter(name) for name in (entry.old, entry.temporary))
        and all(type(name) is str and "\0" not in name for name in (entry.leader, *entry.members))
    )


def _is_litter(name: str) -> bool:
    """Whether it is a name that only an edit gives: nothing else is removed, or put in the place of a file."""
    import re

    return re.fullmatch(r"\.[^/\0]*\.[0-9a-f]{12}\.(old|tmp)", name) is not None


def _are_pairs(found: Any) -> bool:
    return all(len(pair) == 2 and all(type(one) is int and one >= 0 for one in pair) for pair in found)


def say(target: str, what: bytes) -> None:
    """Write down, durably, that the edit is OVER, or that it is HOT."""
    fd = os.open(beside(target), os.O_RDWR)
    try:
        descriptors.write(fd, what, len(_MAGIC))
        os.fsync(fd)
    finally:
        os.close(fd)
