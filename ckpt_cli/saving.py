"""Writing files, all or nothing: the new contents are complete and durable under temporary names before any target changes.

A temporary file lies beside its target, with the target's mode; it is written, fsynced and renamed over it, then the folder is fsynced,
so that after a crash a path holds the old content or the new. Temporary files are removed on every way out.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable

from .errors import WriteError, about

Write = Callable[[int], None]


def write_all(files: Iterable[tuple[str, Write]], replace: bool, backup: str | None = None, mend: str = "") -> None:
    """Each (path, function that writes to a descriptor), in order. Existing files are refused unless `replace`; `backup` keeps them.

    A symbolic link stays one, and its target changes.
    """
    staged: list[tuple[str, str]] = []
    try:
        for path, write in files:
            with about(path):
                target = os.path.realpath(path)
                _check_target(target, replace, mend or "--force replaces it, or choose another name")
                _stage(target, write, staged)
        for _, target in staged if backup is not None else ():
            _keep(target, f"{target}{backup}")
        for temporary, target in staged:
            os.replace(temporary, target)
    except BaseException:
        for temporary, _ in staged:
            _quietly(lambda path=temporary: os.unlink(path))  # type: ignore[misc]
        raise
    for folder in dict.fromkeys(os.path.dirname(target) for _, target in staged):
        _sync_folder(folder)


def _stage(target: str, write: Write, staged: list[tuple[str, str]]) -> None:
    """Write one temporary file beside `target`, and note it in `staged` as soon as it is there."""
    stem = os.fsdecode(os.fsencode(os.path.basename(target))[:100])
    temporary = os.path.join(os.path.dirname(target), f".{stem}.{os.urandom(6).hex()}.tmp")
    try:
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)
    except OSError as error:  # the user knows the target, not the temporary name
        raise OSError(error.errno, error.strerror, target) from None
    staged.append((temporary, target))
    try:
        os.fchmod(fd, _mode(target))
        write(fd)
        os.fsync(fd)
    finally:
        os.close(fd)


def _check_target(target: str, replace: bool, mend: str) -> None:
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise WriteError("this is no regular file", "choose another name")
    if not replace:
        raise WriteError("the file is there already", mend)


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
    fresh = f"{backup}.{os.urandom(6).hex()}.tmp"
    try:
        os.link(target, fresh)
    except OSError:  # a file system without hard links
        import shutil

        shutil.copy2(target, fresh)
    try:
        os.replace(fresh, backup)
    finally:  # a rename onto another link of the same file does nothing at all
        _quietly(lambda: os.unlink(fresh))


def _quietly(step: Callable[[], None]) -> None:
    try:
        step()
    except OSError:
        pass


def _sync_folder(folder: str) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
