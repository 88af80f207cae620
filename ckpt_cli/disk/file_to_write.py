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
        write: Lays it out anew.
        patch: Where there is one: what turns the file that it was read from into the same.
    """

    path: str
    write: Callable[[FileLayout], None]
    patch: Patch | None = None


class WriteOptions(NamedTuple):
    """How files are written.

    Attributes:
        replace: Existing files may be replaced.
        backup: The suffix under which replaced files are kept; None keeps none.
        progress: Is told of the bytes done.
        mend: What the user is advised where a file exists and may not be replaced.
    """

    replace: bool = False
    backup: str | None = None
    progress: Progress | None = None
    mend: str = "--force replaces it, or choose another name"
