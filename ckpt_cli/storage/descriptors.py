"""Open files by their descriptors: reads and writes that are whole, names made durable, prints by which a file is known again."""

from __future__ import annotations

import os
from collections.abc import Sequence
from zlib import crc32

_END = 1 << 16
_SAMPLES, _PAGE = 64, 4096


def read(fd: int, at: int, count: int) -> bytes:
    """`count` bytes; fewer where the file ends."""
    parts = []
    while count and (part := os.pread(fd, count, at)):
        parts.append(part)
        at, count = at + len(part), count - len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def write(fd: int, data: bytes | bytearray | memoryview, at: int) -> None:
    """All of `data` at its place; a short write goes on where it stopped."""
    view = memoryview(data)
    while view:
        done = os.pwrite(fd, view, at)
        view, at = view[done:], at + done


def sync_folders(targets: Sequence[str]) -> None:
    """fsync the folders of these files."""
    for folder in dict.fromkeys(os.path.dirname(target) for target in targets):
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def same(fd: int, path: str) -> bool:
    """Whether an open file still has that name."""
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(path))
    except FileNotFoundError:
        return False


def signature(path: str) -> tuple[int, int]:
    """Size and print of a file."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.fstat(fd).st_size, fingerprint(fd, ())
    finally:
        os.close(fd)


def fingerprint(fd: int, extents: Sequence[tuple[int, int]]) -> int:
    """The CRC-32 of both ends of a file and of pages all over it, without the bytes in `extents`: an edit of those leaves it as it is."""
    size, found = os.fstat(fd).st_size, 0
    samples = [(size * number // _SAMPLES, _PAGE) for number in range(_SAMPLES)]
    for start, length in ((0, _END), (max(0, size - _END), _END), *samples):
        held = bytearray(read(fd, start, length))
        for at, count in extents:
            low, high = max(at - start, 0), min(at + count - start, len(held))
            if low < high:
                held[low:high] = bytes(high - low)
        found = crc32(held, found)
    return found


def allow_many() -> None:
    """Let this program have as many files open as the system grants it: the soft limit is small for the sake of select(), unused here."""
    try:
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ImportError, OSError, ValueError):  # macOS refuses what is more than the kernel's own limit
        pass
