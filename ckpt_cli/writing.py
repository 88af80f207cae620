"""Writing: the format in which a checkpoint goes to a path, and what of the disk is asked to put it there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from .errors import EditError, UsageError, WriteError, about
from .formats import Savable, formats
from .tensors.checkpoint import Checkpoint

if TYPE_CHECKING:
    from .disk.layout import FileLayout
    from .tensors.blocks import Progress


def format_for(path: str, name: str | None, default: str | None = None) -> Savable:
    """The format to write `path` in: `name` where it is given, else by the suffix, else `default`."""
    if path == "-":
        raise UsageError("a checkpoint is written to a file, not to standard output", "give its path")
    if name:
        form = formats[name]
    else:
        writable = [form for form in _targets() if path.endswith(form.suffixes)]
        if not writable and default is None:
            raise UsageError(
                f"no format is written to names such as {os.path.basename(path)!r}",
                "give a suffix such as .safetensors or .pt, or --format",
                path,
            )
        form = writable[0] if writable else formats[default or ""]
    if not isinstance(form, Savable):
        raise WriteError(f"{form.name} is read, not written", "give another --format", path)
    return form


def _targets() -> Iterator[Savable]:
    return (form for form in formats.built_in() if isinstance(form, Savable) and form.is_target)


def save(
    checkpoint: Checkpoint, path: str, form: Savable, *, replace: bool = False, backup: str | None = None, progress: Progress | None = None
) -> list[str]:
    """Write `checkpoint` to `path`, all or nothing. An existing file is refused unless `replace`; `backup` keeps it under that suffix.

    Where nothing but values changed in the file that it was read from, just those are written. The lines are what the user should be told.
    """
    from .disk.saving import How, save_all

    main = form.main_file(path)
    with about(main), _of_the_source(checkpoint):
        _check_folder(path)
        with _made(path if os.path.dirname(main) == path else ""):
            files, removed = form.files_to_write(checkpoint, main), form.files_to_remove(checkpoint, main)
            return save_all(main, files, removed, How(replace, backup, progress))


def check(checkpoint: Checkpoint, path: str, form: Savable, *, replace: bool = False) -> None:
    """Raises what saving would raise, for want of a place for something in `checkpoint` or for the file. Reads no data, writes nothing."""
    from .disk.saving import How, targets

    form.check_place(checkpoint)
    path = form.main_file(path)
    with about(path):
        _check_folder(path)
        targets(form.files_to_write(checkpoint, path), How(replace))


def _check_folder(path: str) -> None:
    """Raises WriteError where there is no folder for a file to be written to."""
    from shlex import quote

    folder = os.path.dirname(path)
    if folder and not os.path.lexists(folder):
        raise WriteError(f"there is no folder {folder!r}", f"make it first: mkdir -p {quote(folder)}")


@contextmanager
def _made(folder: str) -> Iterator[None]:
    """The folder that a checkpoint is written into; it goes again where that fails."""
    new = bool(folder) and not os.path.lexists(folder)
    if new:
        os.mkdir(folder)
    try:
        yield
    except BaseException:
        if new:
            with suppress(OSError):
                os.rmdir(folder)
        raise


@contextmanager
def _of_the_source(checkpoint: Checkpoint) -> Iterator[None]:
    """Values that cannot be edited are a fault of what is read, not of what is written."""
    try:
        yield
    except EditError as error:
        error.where = error.where or (checkpoint.origin.path if checkpoint.origin else "")
        raise


def write_new(path: str, pieces: Iterable[bytes | memoryview], replace: bool = False) -> None:
    """The pieces, one after another, as a new file, all or nothing. An existing one is refused unless `replace`."""

    from .disk.saving import FileToWrite, How, save_all

    def write(file_layout: FileLayout) -> None:
        for piece in pieces:
            file_layout.write(piece)

    with about(path):
        _check_folder(path)
        save_all(path, [FileToWrite(path, write)], [], How(replace))
