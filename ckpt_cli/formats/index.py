"""Formats that are a list of other files, each with a part of the checkpoint; and what may be wrong with such a list."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from .format import SeveralFiles

if TYPE_CHECKING:
    from ..errors import ReadError
    from ..storage.file import File
    from ..tensors.checkpoint import Checkpoint


class IndexFault(NamedTuple):
    """Something that is wrong with an index, or with what it lists.

    Attributes:
        name: The name of a tensor or of a file; empty where it is about all.
        what: What is wrong.
        unreadable: The path of the file that cannot be read; empty where the index is wrong.
    """

    name: str
    what: str
    unreadable: str = ""


class Index(SeveralFiles):
    """A file that lists others: where one lies in a folder, the model is read by it."""

    def missing_index(self, folder: str, names: Sequence[str]) -> ReadError | None:
        """The error for a folder in which nothing but `names` could be the model, where these are what a missing index would list."""
        return None

    def whole(self, path: str) -> str:
        """What the one file would be called whose parts an index of this name lists."""
        return os.path.basename(path)

    def is_listed(self, path: str) -> bool:
        """Whether a file is called as those that such an index lists are."""
        return False

    def listed(self, path: str) -> Collection[str]:
        """The names of the files that the index at `path` lists; none where it cannot be read."""
        return ()

    def read_without(self, file: File, bear: bool = False) -> Checkpoint:
        """The tensors of the files that are there, whatever the index says.

        Args:
            file: The index, or one of the files where it is missing.
            bear: Whether what is broken is passed over; `wrong` names it.
        """
        return self.read(file)

    def wrong(self, checkpoint: Checkpoint) -> Iterator[IndexFault]:
        """What the index says that is not so, and what `read_without` passed over."""
        yield from ()
