"""Locks: one program at a time changes a file. They are the system's own (flock), so they end with the program that holds them."""

from __future__ import annotations

import os
from time import monotonic, sleep

from ..errors import ReadError

PATIENCE = 5.0  # seconds that a program waits for another; a test may shorten it
_held: dict[int, tuple[int, int]] = {}  # descriptors whose lock this program holds → device and inode
_kept: set[tuple[int, int]] = set()  # files whose locks other processes hold for this program


def take(fd: int, path: str) -> None:
    """Take the lock of an open file, waiting for it for some seconds; closing the file gives it back.

    Args:
        fd: The open file.
        path: Its path, for the error.

    Raises:
        ReadError: Another program holds it.
    """
    if mine(fd):
        return
    try:
        import fcntl
    except ImportError:  # a system without flock
        _held[fd] = _identity(fd)
        return
    give_up = monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if monotonic() > give_up:
                raise ReadError(f"{_holder(fd)} is changing this file", "try again when it is done", path) from None
            sleep(0.02)
        except OSError:  # a file system without locks: this program knows at least of its own
            break
        else:
            break
    _held[fd] = _identity(fd)


def take_if_free(fd: int) -> bool:
    """Take the lock of an open file if no program holds it, not even this one; whether it was taken."""
    try:
        import fcntl

        if not mine(fd):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    except (ImportError, OSError):  # whether somebody holds it cannot be told
        pass
    return False


def mine(fd: int) -> bool:
    """Whether this program holds the lock of that file, by whichever of its descriptors."""
    identity = _identity(fd)
    return identity in _held.values() or identity in _kept


def close(fd: int) -> None:
    """Close an open file, and give its lock back."""
    _held.pop(fd, None)
    os.close(fd)


def pass_on(fd: int) -> None:
    """Close an open file that another process of this program has open, too, and goes on holding the lock of."""
    _kept.add(_identity(fd))
    close(fd)


def end_kept() -> None:
    """Forget the locks that other processes held: these have ended."""
    _kept.clear()


def is_at(fd: int, path: str) -> bool:
    """Whether an open file is still the one at `path`: it may have been removed or replaced before its lock was taken."""
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(path))
    except FileNotFoundError:
        return False


def _identity(fd: int) -> tuple[int, int]:
    info = os.fstat(fd)
    return info.st_dev, info.st_ino


def _holder(fd: int) -> str:
    """Who holds the lock, where the system tells."""
    ending = f":{os.fstat(fd).st_ino}"
    try:
        with open("/proc/locks") as file:
            lines = [line.split() for line in file]
    except OSError:
        lines = []
    pids = [words[-4] for words in lines if "FLOCK" in words and "->" not in words and words[-3].endswith(ending)]
    return f"process {pids[0]}" if pids else "another program"
