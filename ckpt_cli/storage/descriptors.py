"""Open files and pipes by their descriptors: reads and writes that are complete."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def open_descriptor(path: str, flags: int) -> Iterator[int]:
    """Open the file at `path` as a descriptor, which is closed at the end."""
    fd = os.open(path, flags)
    try:
        yield fd
    finally:
        os.close(fd)


def read_into(fd: int, view: memoryview, at: int | None = None) -> int:
    """Fill `view` from offset `at` of a file, or from where a pipe is; a short read is continued.

    Returns:
        The bytes read: fewer than asked for only where the file or the pipe ends.
    """
    done = 0
    while done < len(view):
        rest = [view[done:]]
        count = os.readv(fd, rest) if at is None else os.preadv(fd, rest, at + done)
        if count == 0:
            break
        done += count
    return done


def read_at(fd: int, at: int, count: int) -> bytes:
    """Read `count` bytes from offset `at`; fewer where the file ends."""
    data = os.pread(fd, count, at)
    if len(data) == count:
        return data
    buffer = bytearray(count)
    done = read_into(fd, memoryview(buffer), at)
    return bytes(buffer[:done])


def write_all(fd: int, data: bytes | bytearray | memoryview, at: int | None = None) -> None:
    """Write all of `data` at offset `at` of a file, or to where a pipe or file is; a short write is continued."""
    view = memoryview(data)
    while view:
        done = os.write(fd, view) if at is None else os.pwrite(fd, view, at)
        view, at = view[done:], None if at is None else at + done
