"""Everything that can go wrong, as values of one family.

    CkptError                   one line: WHERE: what is wrong (mend)
    ├── UsageError              the command line asks for something that makes no sense
    ├── UnknownName             a name that no registry and no file knows; says the nearest ones
    ├── NoMatch                 a pattern that matches nothing
    ├── UserCodeError           the user's own architecture or scheme failed
    ├── ReadError               a file that cannot be read
    │   ├── UnknownFormat       no format claims it
    │   └── Malformed           a format claims it, and it is broken
    ├── EditError               an edit that cannot be made
    │   └── Opaque              a tensor that is listed but has no plain elements (sparse, quantised, object)
    └── WriteError              a file that cannot be written
        └── CannotHold          the target format has no place for something in the checkpoint

Errors are raised where the fact is known; the leaf (file, tensor) is added once, by `about`; `cli` prints them.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class CkptError(Exception):
    """An error of ours: `what` is wrong, `mend` what to do about it, `where` the file or tensor concerned."""

    def __init__(self, what: str, mend: str = "", where: str = "") -> None:
        super().__init__(what, mend, where)
        self.what, self.mend, self.where = what, mend, where

    def __str__(self) -> str:
        line = f"{self.where}: {self.what}" if self.where else self.what
        return f"{line} ({self.mend})" if self.mend else line


class UsageError(CkptError):
    pass


class UnknownName(CkptError):
    pass


class NoMatch(CkptError):
    pass


class UserCodeError(CkptError):
    pass


class ReadError(CkptError):
    pass


class UnknownFormat(ReadError):
    pass


class Malformed(ReadError):
    pass


class EditError(CkptError):
    pass


class Opaque(EditError):
    pass


class WriteError(CkptError):
    pass


class CannotHold(WriteError):
    pass


@contextmanager
def about(where: str) -> Iterator[None]:
    """Add `where` to an error of ours that does not say it yet; turn the system's errors into ours, and want of memory."""
    try:
        yield
    except CkptError as error:
        error.where = error.where or where
        raise
    except BrokenPipeError:  # nobody reads the answer any more; that is no fault of `where`
        raise
    except OSError as error:
        raise os_error(error, where) from error
    except MemoryError as error:
        error.__traceback__ = None  # and with it all that took the memory
        raise CkptError("there is not enough memory for it", where=where) from None


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Say the tensor's name before what is wrong with it; the file is said elsewhere."""
    try:
        yield
    except EditError as error:
        error.what = f"{name}: {error.what}"
        raise


def os_error(error: OSError, where: str = "") -> CkptError:
    """The system's error as one of ours, with the mend where there is an obvious one."""
    path = error.filename if isinstance(error.filename, str) else where
    what = (error.strerror or str(error) or type(error).__name__).lower()
    return CkptError(what, _mend(error, path or where), path or where)


def _mend(error: OSError, path: str) -> str:
    if isinstance(error, FileNotFoundError):
        return _alike(path) or "check the path"
    if isinstance(error, PermissionError):
        return "check its permissions"
    if isinstance(error, FileExistsError):
        return "choose another name"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "nothing is changed; free some space"
    return ""


_ENTRIES = 4_000  # of a folder that is looked through for a name that was mistyped


def _alike(path: str) -> str:
    """The mend for a path that there is not: what in its folder is called nearly so."""
    from itertools import islice

    folder, name = os.path.split(path)
    try:
        with os.scandir(folder or ".") as entries:
            names = sorted(entry.name for entry in islice(entries, _ENTRIES))
    except (OSError, ValueError):
        return ""
    names = [other for other in names if other != name and other.startswith(".") == name.startswith(".")]
    stem = os.path.splitext(name)[0]
    found = [other for other in names if os.path.splitext(other)[0] == stem] or nearest(name, names, cutoff=0.75)
    return _choice([os.path.join(folder, other) for other in found[:3]]) if name else ""


def nearest(name: str, known: Iterable[str], most: int = 3, cutoff: float = 0.5) -> list[str]:
    """The known names most like `name`, best first; `cutoff`: how like, from 0 to 1. Bounded: it looks at the first 20,000."""
    from difflib import get_close_matches
    from itertools import islice

    return get_close_matches(name, list(islice(known, 20_000)), n=most, cutoff=cutoff)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The mend for an unknown name: `did you mean a, b or c?`, or nothing where none is near."""
    return _choice(nearest(name, known))


def _choice(names: list[str]) -> str:
    if not names:
        return ""
    listed = ", ".join(names[:-1]) + " or " + names[-1] if len(names) > 1 else names[0]
    return f"did you mean {listed}?"
