"""Locks: one program at a time changes a file. They are the system's own (flock), so they end with the program that holds them."""

from __future__ import annotations

import os
from time import monotonic, sleep

from ..errors import ReadError

_PATIENCE = 5.0  # seconds
_held: dict[int, tuple[int, int]] = {}  # open files whose lock this program has → device and inode


def take(fd: int, path: str) -> None:
    """Wait a moment for the lock of an open file, which is given back when the file is closed. Raises ReadError."""
    if mine(fd):
        return
    try:
        import fcntl
    except ImportError:  # a system without flock
        _held[fd] = _identity(fd)
        return
    give_up = monotonic() + _PATIENCE
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


def free(fd: int) -> bool:
    """Whether nobody at all has the lock of an open file; if so, it is taken until that is closed."""
    try:
        import fcntl

        if not mine(fd):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    except (ImportError, OSError):  # whether anybody lives cannot be told
        pass
    return False


def mine(fd: int) -> bool:
    """Whether this program has the lock of that file, by whichever of its descriptors."""
    return _identity(fd) in _held.values()


def close(fd: int) -> None:
    """Close an open file, and give its lock back."""
    _held.pop(fd, None)
    os.close(fd)


def _identity(fd: int) -> tuple[int, int]:
    info = os.fstat(fd)
    return info.st_dev, info.st_ino


def _holder(fd: int) -> str:
    """Who has the lock, where the system tells."""
    ending = f":{os.fstat(fd).st_ino}"
    try:
        with open("/proc/locks") as lines:
            found = [line.split() for line in lines]
    except OSError:
        found = []
    pids = [words[-4] for words in found if "FLOCK" in words and "->" not in words and words[-3].endswith(ending)]
    return f"process {pids[0]}" if pids else "another program"
