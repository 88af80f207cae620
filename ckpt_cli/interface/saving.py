"""Saving a checkpoint from Python."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..errors import ReadError, UsageError
from ..tensors.checkpoint import Checkpoint
from .opening import AnyCheckpoint, opened, place
from .wording import about

if TYPE_CHECKING:
    from ..commands.editing import Destination


def save(
    checkpoint: AnyCheckpoint,
    path: str | os.PathLike[str] | None = None,
    *,
    in_place: bool = False,
    format: str | None = None,
    force: bool = False,
    backup: str | None = None,
) -> list[str]:
    """Write a checkpoint, all or nothing: what `-o PATH` and `-i` do.

    Args:
        checkpoint: What to write, or its path.
        path: The new file; with a slash at its end, the model folder: the weights under their usual name, and the small files beside them.
        in_place: Whether the file that it was read from is changed instead. Where only values changed, only those are written.
        format: The name of a format; without it, the suffix of `path` chooses one.
        force: Whether a file or folder that is there may be replaced.
        backup: With `in_place`, the suffix under which the old file is kept.

    Returns:
        Notes, a line each: what the format has no place for, and what else `ckpt` would tell.

    Raises:
        CkptError: The format cannot hold something, or a file cannot be read or written. Nothing is half-written.
    """
    from ..commands.editing import Destination

    checkpoint = opened(checkpoint)
    if (path is None) is not in_place:
        raise UsageError("where should the checkpoint go?", "give a path, or in_place=True to change the file that it was read from")
    if checkpoint.origin is None and in_place:
        raise UsageError("this checkpoint was read from no file", "give a path")
    given = None if path is None else os.fspath(path)
    with about(given or place(checkpoint)):
        return _saved(checkpoint, Destination(given, in_place, False, force, backup, format))


def _saved(checkpoint: Checkpoint, to: Destination) -> list[str]:
    """Write it, and return the notes."""
    from ..commands.config_in_line import config_in_line
    from ..commands.editing import saved, target_and_format
    from ..packing import parts_changed

    read = checkpoint.origin.read.replacing(origin=checkpoint.origin) if checkpoint.origin else checkpoint
    if to.in_place:
        _refuse_changed(read)
    target, form, folder = target_and_format(read, to)
    folder, of_config = config_in_line(read, checkpoint, target, folder)
    of_parts = parts_changed(read, checkpoint)
    notes = saved(checkpoint, target, form, replace=to.force or to.in_place, backup=to.backup, folder=folder)
    return [*of_parts, *notes, *of_config]


def _refuse_changed(read: Checkpoint) -> None:
    """Raises ReadError where a file is not what it was when it was opened: an edit in place would undo what changed it."""
    from ..formats import formats

    for file in formats[read.origin.format].files_read(read) if read.origin else ():
        found = os.stat(file.path)
        if (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns) != (*file.identity[:2], file.size, file.changed):
            raise ReadError("the file has changed since it was opened", "open it again, and edit that", file.path)
