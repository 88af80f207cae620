"""Code that files name, which a program that loads them carelessly would run. Searching for it runs nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..errors import CkptError
from ..formats import formats
from ..formats.locate import locate
from ..scanning import Search
from ..scanning.bytes_read import part
from ..scanning.containers import Searching
from ..scanning.keras_code import saved_model_of, scan_saved_model
from ..scanning.safe_names import DISTRIBUTED
from ..scanning.streams import scan_pickle
from ..storage.file import File
from ..tensors.checkpoint import Checkpoint
from . import Violation, violation
from .code_beside import search_beside

if TYPE_CHECKING:
    from ..formats.torch.dcp_metadata import Metadata


def names_no_code(checkpoint: Checkpoint) -> Iterator[Violation]:
    """What speaks against loading a checkpoint: the classes and functions outside the list of its kind, and parts not understood."""
    if checkpoint.origin is None:
        return
    files = formats[checkpoint.origin.format].files_read(checkpoint)
    yield from _in_distributed(checkpoint.rest, files[0]) if checkpoint.origin.format == "dcp" else _in_files(files)
    yield from _beside(checkpoint.origin.file.stands_for, files)


def _in_files(files: list[File]) -> Iterator[Violation]:
    for file in files:
        search = Searching()
        search.look(file, "", known=True)
        if os.path.basename(file.path) == "variables.index":
            scan_saved_model(search, saved_model_of(file.path))
        yield from _violations(search, file.path)


def _beside(asked: str, files: list[File]) -> Iterator[Violation]:
    """What lies in the folder that was asked for, and in those of the files that were read: no other is looked into."""
    if not os.path.isdir(asked):
        return
    read = {os.path.realpath(file.path) for file in files}
    for folder in dict.fromkeys([os.path.abspath(asked), *(os.path.dirname(os.path.abspath(file.path)) for file in files)]):
        for path, search in search_beside(folder, read):
            yield from _violations(search, os.path.relpath(path) if not os.path.isabs(asked) else path)


def code_in(path: str) -> list[Violation] | None:
    """What speaks against loading a file that is no checkpoint. None where it holds nothing to be loaded. Raises ReadError."""
    search, file = Searching(), File(locate(path))
    if not (search.look(file, "") and search.pickles):
        return None
    return [*_violations(search, file.path), *_beside(path, [file])]


def _in_distributed(listed: Metadata, metadata: File) -> Iterator[Violation]:
    """The metadata, and each item, which is a file of torch's in a part of a larger one."""
    search = Searching()
    scan_pickle(search, metadata, "", DISTRIBUTED)
    yield from _violations(search, metadata.path)
    for run in [chunk.run for chunks in listed.chunks.values() for chunk in chunks] + list(listed.objects.values()):
        search = Searching()
        try:
            search.look(part(run.file, run.at, run.nbytes), "")
        except CkptError as error:
            search.unread(error.what, "")
        yield from _violations(search, run.file.path)


def _violations(search: Search, path: str) -> Iterator[Violation]:
    for name, what, place in search:
        said = f"{place}: {what}" if place else what
        yield violation("code" if name else "unread", name or place, what if not name else said, file=path)
