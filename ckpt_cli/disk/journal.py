"""The layout of undo journals: what an edit in place overwrites, kept beside the file until the edit is complete and durable.

    .NAME.ckpt-journal beside NAME: 15 bytes of magic, 1 that says whether the edit is complete, the length of an entry (8, little-endian),
    the entry in JSON, the old bytes of its extents, of the new ones the bytes or the CRC-32 (4) of each piece, and the CRC-32 (4) of all
    that is behind the byte of the state

A power cut may tear a sector: part of it is old, part of it new. Of an extent that is shorter than a sector the new bytes are kept, so that
each byte is seen to be old or new; of a longer one their checksums are, and one sector may be anything.
Here is how one is read and checked; `journal_writing` writes one, `recovery` acts on one. One that is not whole was never acted on.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from zlib import crc32

from ..errors import ReadError
from ..storage.descriptors import open_descriptor, read_at, write_all
from ..storage.unfinished import journal_path
from . import locks
from .fingerprint import fingerprint

MAGIC = b"ckpt journal 1\n"
UNFINISHED, COMPLETE = b"\0", b"\1"  # states of an edit
SECTOR = 4096  # bytes, the most that a disk writes as one
PIECE = 1 << 20  # bytes of a journal that are held at once
OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_HEAD = len(MAGIC) + 1 + 8


class JournalEntry(NamedTuple):
    """What it takes to undo the edit of one file. Names of files are relative to its folder.

    Whether a file is still the one that was edited is known by `size`, `print` and the bytes in the extents, which are old or new; for a
    file that is replaced, by `either`.

    Attributes:
        size: Bytes of the file.
        print: Its fingerprint without the extents, see `fingerprint`.
        extents: What is put back: offset and length of each run.
        old: The name under which the old file is kept.
        fresh: The file was not there before.
        temporary: The name of a file to be removed.
        leader: The file on whose journal this one depends.
        members: The files whose journals depend on this one.
        piece: A piece of an extent ends where the offset in the file is a multiple of these bytes.
        either: Size and fingerprint of the old file and of the new one.
        step: A piece ends also where so many bytes of its extent do, since that many are written at once; 0 for no such end.
        held: The new bytes of an extent of up to so many bytes are in the journal; of a longer one, their checksums.
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
    step: int = 0
    held: int = 0

    def pieces(self, at: int, count: int) -> Iterator[tuple[int, int]]:
        """Offset and length of each piece of an extent."""
        start, stop = at, at + count
        while at < stop:
            in_step = self.step - (at - start) % self.step if self.step else count
            size = min(self.piece - at % self.piece, in_step, stop - at)
            yield at, size
            at += size


class StoredJournal(NamedTuple):
    """A journal that is whole.

    Attributes:
        path: The journal.
        entry: What undoes the edit.
        start: The offset in the journal at which the old bytes begin.
        complete: The edit is complete; only what it left is to be removed.
    """

    path: str
    entry: JournalEntry
    start: int
    complete: bool

    def blocks(self) -> Iterator[tuple[int, bytes]]:
        """The old bytes in blocks, each with its offset in the file."""
        with open_journal(self.path) as source:
            at = self.start
            for start, count in self.entry.extents:
                for done in range(0, count, PIECE):
                    yield start + done, read_at(source, at + done, min(PIECE, count - done))
                at += count

    def matches(self, path: str) -> bool:
        """Whether the file at `path` is the one that was edited: its extents are old or new, and the rest is as it was."""
        with open_descriptor(path, os.O_RDONLY) as fd:
            if (os.fstat(fd).st_size, fingerprint(fd, self.entry.extents)) != (self.entry.size, self.entry.print):
                return False
            with open_journal(self.path) as source:
                return self._matches_extents(fd, source)

    def _matches_extents(self, fd: int, source: int) -> bool:
        old = self.start
        new = old + sum(count for _, count in self.entry.extents)
        for at, count in self.entry.extents:
            torn: set[int] = set()  # sectors that are neither old nor new
            for start, size in self.entry.pieces(at, count):
                known = size if count <= self.entry.held else 4
                block, before, after = read_at(fd, start, size), read_at(source, old, size), read_at(source, new, known)
                if not (_is_either(block, before, after) if count <= self.entry.held else _is_one(block, before, after)):
                    torn.add(start // SECTOR)
                old, new = old + size, new + known
            if len(torn) > (count > SECTOR):
                return False
        return True


def _is_either(block: bytes, before: bytes, after: bytes) -> bool:
    """Whether each byte is the old or the new one: a torn sector is old up to some byte and new from there on, or the other way round."""
    if block in (before, after):
        return True
    return len(block) == len(after) and all(byte in pair for byte, *pair in zip(block, before, after, strict=True))


def _is_one(block: bytes, before: bytes, checksum: bytes) -> bool:
    """Whether a piece is the old one, or has the checksum of the new one."""
    return block == before or crc32(block).to_bytes(4, "little") == checksum


@contextmanager
def open_journal(path: str) -> Iterator[int]:
    """Open the journal at `path` for reading; if its lock is taken, that is given back at the end. Raises ReadError where it is no file."""
    fd = os.open(path, OPEN_FLAGS)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ReadError("what has the name of its undo journal is no file", f"remove {path}")
        yield fd
    finally:
        locks.close(fd)


def load_of(target: str) -> StoredJournal | None:
    """The journal of the file `target`; None where it is not whole. Raises FileNotFoundError where there is none."""
    with open_journal(journal_path(target)) as fd:
        return load(fd, journal_path(target))


def load(fd: int, path: str) -> StoredJournal | None:
    """The contents of an open journal; None where it is not whole. Raises ReadError where no edit can have written it."""
    import json

    size, head = os.fstat(fd).st_size, read_at(fd, 0, _HEAD)
    start = _HEAD + int.from_bytes(head[-8:], "little")
    if len(head) < _HEAD or head[: len(MAGIC)] != MAGIC or size < start + 4:
        return None
    crc = 0
    for at in range(len(MAGIC) + 1, size - 4, PIECE):
        crc = crc32(read_at(fd, at, min(PIECE, size - 4 - at)), crc)
    if read_at(fd, size - 4, 4) != crc.to_bytes(4, "little"):
        return None
    try:
        entry = JournalEntry(**json.loads(read_at(fd, _HEAD, start - _HEAD)))
        sound = _is_sound(entry, size - start - 4)
    except (ValueError, TypeError, RecursionError):
        sound = False
    if not sound:
        raise ReadError("its undo journal is of another program", f"remove {path} if you know that the file is whole")
    return StoredJournal(path, entry, start, head[len(MAGIC) : len(MAGIC) + 1] == COMPLETE)


def write_state(target: str, state: bytes) -> None:
    """Write durably to the journal of `target` whether the edit is COMPLETE or UNFINISHED."""
    with open_descriptor(journal_path(target), os.O_RDWR) as fd:
        write_all(fd, state, len(MAGIC))
        os.fsync(fd)


def _is_sound(entry: JournalEntry, nbytes: int) -> bool:
    """Whether an edit may have written it: a journal may come with a download, so it is not trusted. `nbytes`: what is behind the entry."""
    return (
        all(type(number) is int and number >= 0 for number in (entry.size, entry.print, entry.piece - 1, entry.step, entry.held))
        and _are_pairs(entry.extents)
        and _are_pairs(entry.either)
        and all(at + count <= entry.size for at, count in entry.extents)
        and sum(count for _, count in entry.extents) <= nbytes
        and all(not name or _is_name_of_an_edit(name) for name in (entry.old, entry.temporary))
        and all(type(name) is str and "\0" not in name for name in (entry.leader, *entry.members))
    )


def _is_name_of_an_edit(name: str) -> bool:
    """Whether only an edit gives such a name: nothing else is removed, or put in the place of a file."""
    import re

    return re.fullmatch(r"\.[^/\0]*\.[0-9a-f]{12}\.(old|tmp)", name) is not None


def _are_pairs(pairs: Any) -> bool:
    return all(len(pair) == 2 and all(type(number) is int and number >= 0 for number in pair) for pair in pairs)
