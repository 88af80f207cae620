"""All errors that the program reports, as one family of exceptions.

    CkptError                   printed as one line: WHERE: what is wrong (mend)
    ├── UsageError              the command line asks for something that makes no sense
    ├── UnknownName             a name that is in no registry and no file; the mend lists the nearest ones
    ├── NoMatch                 a pattern that matches nothing
    │   └── NoTensor            a name that a checkpoint does not have; it is a KeyError, too
    ├── UserCodeError           the user's own architecture or scheme failed
    ├── LibraryError            a library of models is not installed, or cannot build what a config names
    ├── ReadError               a file cannot be read
    │   ├── UnknownFormat       no format claims it
    │   └── Malformed           a format claims it, and it is broken
    ├── EditError               an edit cannot be made
    │   └── Opaque              a tensor is listed but has no plain elements (sparse, quantised, object)
    └── WriteError              a file cannot be written
        └── CannotHold          the target format has no place for something in the checkpoint

An error is raised where its cause is known. The file it concerns is added once, by `about`, the tensor by `naming`; `cli` prints it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager


class CkptError(Exception):
    """An error to be printed for the user.

    Attributes:
        what: what is wrong.
        mend: what to do about it, or nothing.
        where: the file or tensor that is concerned.
    """

    def __init__(self, what: str, mend: str = "", where: str = "") -> None:
        super().__init__(what, mend, where)
        self.what, self.mend, self.where = what, mend, where

    def __str__(self) -> str:
        what, mend = with_short_names(self.what), with_short_names(self.mend)
        line = f"{self.where}: {what}" if self.where else what
        return f"{line} ({mend})" if mend else line


class UsageError(CkptError):
    """The command line, a recipe or an argument asks for something that makes no sense."""


class UnknownName(CkptError):
    """A name is in no registry and no file."""


class NoMatch(CkptError):
    """A pattern matches nothing."""


class NoTensor(NoMatch, KeyError):
    """A checkpoint has no tensor of a name."""


class UserCodeError(CkptError):
    """The user's own architecture or scheme failed."""


class LibraryError(CkptError):
    """A library of models is not installed, is too old, or cannot build what a config names."""


class ReadError(CkptError):
    """A file cannot be read."""


class UnknownFormat(ReadError):
    """No format claims a file."""


class Malformed(ReadError):
    """A format claims a file, and it is broken."""


class EditError(CkptError):
    """An edit cannot be made."""


class Opaque(EditError):
    """A tensor has no plain elements."""


class WriteError(CkptError):
    """A file cannot be written."""


class CannotHold(WriteError):
    """The target format has no place for something in the checkpoint."""


@contextmanager
def about(where: str) -> Iterator[None]:
    """Add `where` to any CkptError that says no place yet; turn errors of the system, and lack of memory, into a CkptError."""
    try:
        yield
    except CkptError as error:
        error.where = error.where or where
        raise
    except BrokenPipeError:  # the reader of the output has gone; `where` is not to blame
        raise
    except OSError as error:
        raise os_error(error, where) from error
    except MemoryError as error:
        error.__traceback__ = None  # the traceback keeps alive what took the memory
        raise CkptError("there is not enough memory for it", where=where) from None


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Put a tensor's name in front of what an EditError says; `about` adds the file."""
    try:
        yield
    except EditError as error:
        error.what = f"{shortened(name)}: {error.what}"
        raise


_MOST_OF_A_NAME = 200  # characters that are shown of a name from a file
_MOST_OF_A_MESSAGE = 6000
_LONG_PART = r"(?:[^,:;…]|[,:;](?! )){400,}"
_OPENS = r"(?<![^\s(\[{=:,])"  # a quote that opens, not one that closes
_LONG_NAME = rf"""{_OPENS}'(?:[^'\\]|\\.){{201,}}'|{_OPENS}"(?:[^"\\]|\\.){{201,}}"|[^\s'"]{{201,}}"""


def shortened(name: str) -> str:
    """Return a name as it stands in a message: of a long one its beginning and its end."""
    half = _MOST_OF_A_NAME // 2
    return name if len(name) <= _MOST_OF_A_NAME else f"{name[:half]}…{name[1 - half :]}"


def first_few(names: Sequence[str], most: int) -> str:
    """Return the first names as they stand in a message, and the number of the others: `a, b, c and 4 more`."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def number_of(count: int, thing: str) -> str:
    """Return a count as it stands in a message: `1 tensor`, `2,000 tensors`."""
    return f"{count:,} {thing}{'s' * (count != 1)}"


def with_short_names(text: str) -> str:
    """Return a message in which no name is long: nothing between quotes, no word, and nothing else without a comma or a colon."""
    if len(text) <= _MOST_OF_A_NAME:
        return text
    import re  # few messages are long

    if len(text) > _MOST_OF_A_MESSAGE:
        text = f"{text[: _MOST_OF_A_MESSAGE // 2]}…{text[-_MOST_OF_A_MESSAGE // 2 :]}"
    text = re.sub(_LONG_NAME, lambda found: shortened(found[0]), text)
    return re.sub(_LONG_PART, lambda found: shortened(found[0]), text)


def os_error(error: OSError, where: str = "") -> CkptError:
    """Return the CkptError for an error of the system, with a mend where there is an obvious one."""
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


_ENTRIES = 4_000  # of a folder that is searched for a name like one that was mistyped


def _alike(path: str) -> str:
    """The mend for a path that does not exist: what in its folder has the same stem, or nearly the same name."""
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
    """Return the known names most like `name`, best first.

    Args:
        name: a name that was mistyped.
        known: the names that exist; the first 20,000 are compared.
        most: how many to return at most.
        cutoff: how like a name must be, from 0 to 1.
    """
    from difflib import get_close_matches
    from itertools import islice

    return get_close_matches(name, list(islice(known, 20_000)), n=most, cutoff=cutoff)


def did_you_mean(name: str, known: Iterable[str], cutoff: float = 0.5) -> str:
    """Return the mend for an unknown name: `did you mean a, b or c?`, or nothing where none is as like as `cutoff`, from 0 to 1."""
    return _choice(nearest(name, known, cutoff=cutoff))


def _choice(names: list[str]) -> str:
    if not names:
        return ""
    listed = ", ".join(names[:-1]) + " or " + names[-1] if len(names) > 1 else names[0]
    return f"did you mean {listed}?"
