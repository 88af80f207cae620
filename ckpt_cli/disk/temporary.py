"""Files under temporary names: written and fsynced beside their target, with its mode, owner and attributes, then put in its place.

    .NAME.<12 hexadecimal digits>.tmp beside NAME

One is locked as long as its writer lives. So one that nobody holds belongs to an edit that died, and the next edit of NAME removes it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..storage.descriptors import open_descriptor
from ..storage.unfinished import JOURNAL_MARK, journal_path
from . import locks

if TYPE_CHECKING:
    from .lock_keepers import LockKeepers


class TemporaryFile:
    """A file that takes the place of its target when it is complete; as a context manager, it is removed when an error comes first.

    Attributes:
        target: The file whose place it takes.
        path: Its temporary name.
    """

    def __init__(self, target: str, write: Callable[[int], None]) -> None:
        """Make the file, fill it by calling `write` with its descriptor, and fsync it."""
        self.target, self.path, self._fd = target, "", -1
        try:
            with naming_target(target):
                self._create()
                _take_after(self._fd, target)
                write(self._fd)
                os.fsync(self._fd)
                os.close(os.dup(self._fd))  # a network file system may say only then what it could not write; the lock stays
        except BaseException:  # an interrupt, too, even of the call that makes the file
            self.remove()
            raise

    def _create(self) -> None:
        while True:
            self.path = temporary_path(self.target)
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            locks.take(self._fd, self.target)
            if locks.is_at(self._fd, self.path):
                return
            self.close()  # another program removed it as one of a dead edit before it was locked

    def move(self, to: str = "") -> None:
        """Take the place of the target, or the name `to` in its folder."""
        with naming_target(self.target):
            os.replace(self.path, to or self.target)
        self.close()

    def remove(self) -> None:
        """Remove the file, if it is still there."""
        remove_quietly(self.path)
        self.close()

    def close(self) -> None:
        """Close it and give its lock back; the file stays."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            try:
                locks.close(fd)
            except OSError:
                pass

    def hold_by(self, keepers: LockKeepers) -> None:
        """Leave the file, and its lock, to `keepers`."""
        fd, self._fd = self._fd, -1
        keepers.hold(fd)

    def __enter__(self) -> TemporaryFile:
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is not None:
            self.remove()


def temporary_path(target: str) -> str:
    """A new temporary name beside `target`."""
    return os.path.join(os.path.dirname(target), f".{_stem(target)}.{os.urandom(6).hex()}.tmp")


def _stem(target: str) -> str:
    return os.fsdecode(os.fsencode(os.path.basename(target))[:100])


def sweep(target: str) -> None:
    """Remove what dead edits of `target` left; the caller holds its lock and has settled its journal, if there was one."""
    import re

    stem, kept = re.escape(_stem(target)), re.escape(os.path.basename(journal_path(target)))
    names = re.compile(rf"\.{stem}\.[0-9a-f]{{12}}\.tmp|{kept}\.[0-9a-f]{{12}}\.old")
    try:
        paths = [entry.path for entry in os.scandir(os.path.dirname(target)) if names.fullmatch(entry.name)]
    except OSError:  # a folder that may not be listed
        return
    for path in paths:
        try:
            if _is_dead(path, target):
                os.unlink(path)
        except OSError:
            pass


def _is_dead(path: str, target: str) -> bool:
    """Whether a temporary or kept file of `target` belongs to an edit that died."""
    if path.endswith(".old"):
        return not os.path.lexists(journal_path(target))
    with open_descriptor(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)) as fd:
        # another name of the target itself is of a backup that was cut short; the caller holds the target's lock
        return locks.is_at(fd, target) or (stat.S_ISREG(os.fstat(fd).st_mode) and locks.take_if_free(fd))


def link(target: str, other: str) -> None:
    """Give the content of `target` another name, complete as soon as it is there."""
    try:
        os.link(target, other)
    except OSError:  # a file system without hard links
        with TemporaryFile(target, lambda fd: _copy(target, fd)) as copy:
            copy.move(other)


def _copy(target: str, fd: int) -> None:
    import shutil

    with open(target, "rb") as source, open(fd, "wb", closefd=False) as copy:
        shutil.copyfileobj(source, copy, 1 << 20)
        info = os.fstat(source.fileno())
    os.utime(fd, ns=(info.st_atime_ns, info.st_mtime_ns))


def _take_after(fd: int, target: str) -> None:
    """Give an open file the owner, attributes and mode of the one that it replaces; a new one, the mode that the umask leaves of 666."""
    try:
        info = os.stat(target)
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        os.fchmod(fd, 0o666 & ~mask)
        return
    mode = _take_owner(fd, info)
    _take_attributes(fd, target)
    os.fchmod(fd, mode)


def _take_owner(fd: int, info: os.stat_result) -> int:
    """Give an open file the owner and group of `info`, where that is allowed; the mode that it may then have: no group gains rights."""
    mode, now = stat.S_IMODE(info.st_mode), os.fstat(fd)
    if (now.st_uid, now.st_gid) == (info.st_uid, info.st_gid) or _change_owner(fd, info.st_uid, info.st_gid):
        return mode
    mode &= 0o777
    if now.st_gid == info.st_gid or _change_owner(fd, -1, info.st_gid):
        return mode
    return mode & ~0o070 | mode & (mode & 0o007) << 3


def _change_owner(fd: int, owner: int, group: int) -> bool:
    try:
        os.fchown(fd, owner, group)
    except OSError:
        return False
    return True


def _take_attributes(fd: int, target: str) -> None:
    """Give an open file the extended attributes of the target. Those of the system may be out of a user's reach."""
    if not hasattr(os, "listxattr"):
        return
    try:
        names = os.listxattr(target)
    except OSError:  # a file system without any
        return
    for name in names:
        if name == JOURNAL_MARK:  # it belongs to that file alone
            continue
        try:
            os.setxattr(fd, name, os.getxattr(target, name))
        except OSError:
            if name.startswith("user."):
                raise


@contextmanager
def naming_target(target: str) -> Iterator[None]:
    """Let an error of the system name the target, which the user knows, and not the temporary name."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), target) from None


def remove_quietly(path: str) -> None:
    """Remove a file, if it is there and may be removed."""
    try:
        os.unlink(path)
    except OSError:
        pass
