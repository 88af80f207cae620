"""A file that is going to be written, and how: what formats give to `saving`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..tensors.blocks import Progress
from .layout import FileLayout
from .patch import Patch


class FileToWrite(NamedTuple):
    """A file to be written.

    Attributes:
        path: Where it goes.
        write: Lays out the whole file.
        patch: The changes that turn the file that it was read from into the same; None where only `write` does.
    """

    path: str
    write: Callable[[FileLayout], None]
    patch: Patch | None = None


class WriteOptions(NamedTuple):
    """How files are written.

    Attributes:
        replace: Existing files may be replaced.
        backup: The suffix under which replaced files are kept; None keeps none.
        progress: Called with the bytes done so far and the bytes in all.
        mend: The advice to the user where a file exists and may not be replaced.
    """

    replace: bool = False
    backup: str | None = None
    progress: Progress | None = None
    mend: str = "--force replaces it, or choose another name"
