"""`ckpt`, saving wrongly on purpose as CKPT_WRONG says: what the crash tests must catch, or they prove nothing."""

from __future__ import annotations

import os
import sys
from typing import Any

from ckpt_cli.disk import ending, journal_mark, sync
from ckpt_cli.start import run

_fsync, _complete, _put, _remove = os.fsync, ending.complete, journal_mark.put, journal_mark.remove


def _name(fd: int) -> str:
    return os.path.basename(os.readlink(f"/proc/self/fd/{fd}"))


def file_not_synced() -> None:
    """A new file is renamed before it is on the disk."""
    os.fsync = lambda fd: None if _name(fd).endswith(".tmp") else _fsync(fd)  # type: ignore[assignment]


def folder_not_synced() -> None:
    """Nothing makes names durable."""
    sync.sync_folders = lambda targets: None


def journal_not_synced() -> None:
    """The file is overwritten while the old bytes may not be on the disk yet."""
    os.fsync = lambda fd: None if _name(fd).endswith("journal") else _fsync(fd)  # type: ignore[assignment]


def journal_gone_early() -> None:
    """The journal is removed before what was written in place is durable."""
    waiting: list[int] = []
    os.fdatasync = journal_mark.remove = lambda fd: waiting.append(os.dup(fd))  # type: ignore[assignment]

    def complete(target: str, entries: Any) -> None:
        _complete(target, entries)
        for fd in waiting:
            _remove(fd)
            _fsync(fd)

    ending.complete = complete


def copied_over() -> None:
    """The new file is copied over the old one, where a rename would do."""

    def copy(source: str, target: str) -> None:
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        with open(source, "rb") as file:
            os.write(fd, file.read())
        _fsync(fd)
        os.close(fd)
        os.unlink(source)

    os.replace = copy  # type: ignore[assignment]


def error_swallowed() -> None:
    """What fsync says is not heard."""

    def deaf(fd: int) -> None:
        try:
            _fsync(fd)
        except OSError:
            pass

    os.fsync = deaf  # type: ignore[assignment]


def moved_before_kept() -> None:
    """Several files: the new names may be on the disk before the names that keep the old files are."""
    real = sync.sync_folders

    def but_not_first(targets: Any) -> None:
        if sys._getframe(1).f_code.co_name != "_change":
            real(targets)

    sync.sync_folders = but_not_first


def mark_not_synced() -> None:
    """The file is overwritten while the mark on it may not be on the disk yet."""

    def put(fd: int, target: str, extents: Any) -> None:
        os.fsync = lambda fd: None  # type: ignore[assignment]
        _put(fd, target, extents)
        os.fsync = _fsync

    journal_mark.put = put


def mark_gone_early() -> None:
    """The mark is taken away before what was written in place is durable."""
    os.fdatasync = lambda fd: None  # type: ignore[assignment]


WRONG = [file_not_synced, folder_not_synced, journal_not_synced, journal_gone_early, copied_over, error_swallowed, moved_before_kept]
WRONG += [mark_not_synced, mark_gone_early]


if __name__ == "__main__":
    next(each for each in WRONG if each.__name__ == os.environ["CKPT_WRONG"])()
    run()
