"""Files under temporary names: written and fsynced beside their target, with its mode, owner and attributes, then put in its place.

    .NAME.<12 hexadecimal digits>.tmp beside NAME

One is locked as long as its writer lives. So one that nobody holds is of an edit that died, and the next edit of NAME sweeps it away.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..storage.descriptors import same
from . import journal_mark, locks
from .journal import beside


class Staged:
    """A file that `write` fills (it is given the open file), and that takes its place when it is complete. `with` removes what did not."""

    def __init__(self, target: str, write: Callable[[int], None]) -> None:
        self.target, self.path, self._fd = target, "", -1
        try:
            with known_as(target):
                self._create()
                _liken(self._fd, target)
                write(self._fd)
                os.fsync(self._fd)
                os.close(os.dup(self._fd))  # a network file system may say only then what it could not write; the lock stays
        except BaseException:  # an interrupt, too, even of the call that makes the file
            self.remove()
            raise

    def _create(self) -> None:
        while True:
            self.path = temporary(self.target)
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)
            locks.take(self._fd, self.target)
            if same(self._fd, self.path):
                return
            self.close()  # who found it before it was locked took it for a dead one

    def move(self, to: str = "") -> None:
        """Take the place of the target, or of another name in its folder."""
        with known_as(self.target):
            os.replace(self.path, to or self.target)
        self.close()

    def remove(self) -> None:
        quietly(lambda: os.unlink(self.path))
        self.close()

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            quietly(lambda: locks.close(fd))

    def __enter__(self) -> Staged:
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is not None:
            self.remove()


def temporary(target: str) -> str:
    return os.path.join(os.path.dirname(target), f".{_stem(target)}.{os.urandom(6).hex()}.tmp")


def _stem(target: str) -> str:
    return os.fsdecode(os.fsencode(os.path.basename(target))[:100])


def sweep(target: str) -> None:
    """Remove what dead edits of `target` left. Its journal, if there was one, is settled."""
    import re

    stem, kept = re.escape(_stem(target)), re.escape(os.path.basename(beside(target)))
    names = re.compile(rf"\.{stem}\.[0-9a-f]{{12}}\.tmp|{kept}\.[0-9a-f]{{12}}\.old")
    try:
        found = [entry.path for entry in os.scandir(os.path.dirname(target)) if names.fullmatch(entry.name)]
    except OSError:  # what cannot be listed is not swept
        return
    for path in found:
        quietly(lambda path=path: _sweep_one(path, target))  # type: ignore[misc]


def _sweep_one(path: str, target: str) -> None:
    if path.endswith(".old"):
        dead = not os.path.lexists(beside(target))
    else:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        try:
            # another name of the target itself is of a backup that was cut short; whoever sweeps has the target's lock
            dead = same(fd, target) or (stat.S_ISREG(os.fstat(fd).st_mode) and locks.free(fd))
        finally:
            os.close(fd)
    if dead:
        os.unlink(path)


def link(target: str, other: str) -> None:
    """The same content under another name, whole as soon as it is there."""
    try:
        os.link(target, other)
    except OSError:  # a file system without hard links
        with Staged(target, lambda fd: _copy(target, fd)) as copy:
            copy.move(other)


def _copy(target: str, fd: int) -> None:
    import shutil

    with open(target, "rb") as source, open(fd, "wb", closefd=False) as copy:
        shutil.copyfileobj(source, copy, 1 << 20)
        info = os.fstat(source.fileno())
    os.utime(fd, ns=(info.st_atime_ns, info.st_mtime_ns))


def _liken(fd: int, target: str) -> None:
    """The owner, the attributes and the mode of the file that is replaced; of a new one, the mode that the user's umask leaves of 666."""
    try:
        info = os.stat(target)
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        os.fchmod(fd, 0o666 & ~mask)
        return
    mode = _owned(fd, info)
    _attribute(fd, target)
    os.fchmod(fd, mode)


def _owned(fd: int, info: os.stat_result) -> int:
    """Give it the owner and the group of `info`, where that is allowed. The mode that it may have then: no group gains rights."""
    mode, now = stat.S_IMODE(info.st_mode), os.fstat(fd)
    if (now.st_uid, now.st_gid) == (info.st_uid, info.st_gid) or _given(fd, info.st_uid, info.st_gid):
        return mode
    mode &= 0o777
    if now.st_gid == info.st_gid or _given(fd, -1, info.st_gid):
        return mode
    return mode & ~0o070 | mode & (mode & 0o007) << 3


def _given(fd: int, owner: int, group: int) -> bool:
    try:
        os.fchown(fd, owner, group)
    except OSError:
        return False
    return True


def _attribute(fd: int, target: str) -> None:
    """The extended attributes of the target. Those of the system may be out of a user's reach."""
    if not hasattr(os, "listxattr"):
        return
    try:
        names = os.listxattr(target)
    except OSError:  # a file system without any
        return
    for name in names:
        if name == journal_mark.NAME:  # it is of that file alone
            continue
        try:
            os.setxattr(fd, name, os.getxattr(target, name))
        except OSError:
            if name.startswith("user."):
                raise


@contextmanager
def known_as(target: str) -> Iterator[None]:
    """The user knows the target, not the temporary name that the system names in its error."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), target) from None


def quietly(step: Callable[[], None]) -> None:
    try:
        step()
    except OSError:
        pass
