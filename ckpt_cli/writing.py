"""Writing a checkpoint: the format that a path calls for, and its files, all or nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from .errors import EditError, UsageError, WriteError, about
from .formats import Savable, formats
from .tensors.checkpoint import Checkpoint

if TYPE_CHECKING:
    from .disk.file_to_write import FileToWrite
    from .disk.layout import FileLayout
    from .tensors.blocks import Progress


class Folder(NamedTuple):
    """A folder that belongs to a checkpoint alone, and is made where it is missing.

    Attributes:
        path: Its path.
        files: What is written into it beside the checkpoint.
        replaced: The paths of shards of the model in it, which are removed where they are not written anew.
    """

    path: str
    files: Sequence[FileToWrite] = ()
    replaced: Sequence[str] = ()


def format_for(path: str, name: str | None, default: str | None = None) -> Savable:
    """The format to write `path` in.

    Args:
        path: Where the checkpoint goes; its suffix chooses the format where `name` is not given.
        name: The name of the format.
        default: The name of the format where the suffix is that of none.

    Raises:
        UsageError: The suffix is that of no format, or the path is standard output.
        WriteError: The format cannot be written.
    """
    if path == "-":
        raise UsageError("a checkpoint is written to a file, not to standard output", "give its path")
    if name:
        form = formats[name]
    else:
        writable = [form for form in _targets() if form.is_called(path)]
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
    checkpoint: Checkpoint,
    path: str,
    form: Savable,
    *,
    replace: bool = False,
    backup: str | None = None,
    progress: Progress | None = None,
    folder: Folder | None = None,
) -> list[str]:
    """Write `checkpoint` to `path`, all or nothing. Where only values changed in the file that it was read from, only those are written.

    Args:
        checkpoint: What is written.
        path: Where it goes.
        form: The format.
        replace: An existing file may be replaced; else it is refused.
        backup: The suffix under which a replaced file is kept; None keeps none.
        progress: Called with the bytes done so far and the bytes in all.
        folder: The folder that belongs to the checkpoint; None where it has none.

    Returns:
        Notes for the user, one line each.

    Raises:
        CkptError: The format cannot hold the checkpoint, or a file cannot be read or written.
    """
    from .disk.file_to_write import WriteOptions
    from .disk.saving import save_all

    main = form.main_file(path, checkpoint)
    with about(main), _blaming_source(checkpoint):
        own_folder = os.path.dirname(main)
        _check_folder(path if folder is None else folder.path)
        with _new_folders(_folders(own_folder, folder) if folder is not None or own_folder == path else []):
            outputs = [*form.files_to_write(checkpoint, main), *(folder.files if folder else ())]
            written = {output.path for output in outputs}
            stale = [path for path in (folder.replaced if folder else ()) if path not in written]
            return save_all(main, outputs, [*form.files_to_remove(checkpoint, main), *stale], WriteOptions(replace, backup, progress))


def check_saving(checkpoint: Checkpoint, path: str, form: Savable, *, replace: bool = False, folder: Folder | None = None) -> None:
    """Check that `checkpoint` can be saved: that the format holds it, and that the files may be written. Reads no data, writes nothing.

    The arguments are those of `save`.

    Raises:
        CkptError: What `save` would raise.
    """
    from .disk.file_to_write import WriteOptions
    from .disk.saving import targets

    form.check_place(checkpoint)
    path = form.main_file(path, checkpoint)
    with about(path):
        _check_folder(path if folder is None else folder.path)
        targets([*form.files_to_write(checkpoint, path), *(folder.files if folder else ())], WriteOptions(replace))


def _check_folder(path: str) -> None:
    """Raises WriteError where the folder that a file is written into is missing."""
    from shlex import quote

    folder = os.path.dirname(path)
    if folder and not os.path.lexists(folder):
        raise WriteError(f"there is no folder {folder!r}", f"make it first: mkdir -p {quote(folder)}")


def _folders(own: str, folder: Folder | None) -> list[str]:
    """The folders that are written into, those above before those below: that of the checkpoint, and those of other files."""
    return sorted({own, folder.path, *(os.path.dirname(output.path) for output in folder.files)}) if folder else [own]


@contextmanager
def _new_folders(folders: Sequence[str]) -> Iterator[None]:
    """Make the folders that a checkpoint is written into, where they are missing; they are removed where writing fails."""
    new = [folder for folder in folders if folder and not os.path.lexists(folder)]
    try:
        for folder in new:
            os.mkdir(folder)
        yield
    except BaseException:
        for folder in reversed(new):
            with suppress(OSError):
                os.rmdir(folder)
        raise


@contextmanager
def _blaming_source(checkpoint: Checkpoint) -> Iterator[None]:
    """Let an error about values that cannot be edited name the file that they are read from, not the one that is written."""
    try:
        yield
    except EditError as error:
        error.where = error.where or (checkpoint.origin.path if checkpoint.origin else "")
        raise


def write_new(path: str, pieces: Iterable[bytes | memoryview], replace: bool = False) -> None:
    """Write `pieces`, one after another, as a new file, all or nothing.

    Args:
        path: Where the file goes.
        pieces: Its contents.
        replace: An existing file may be replaced.

    Raises:
        WriteError: There is a file already, or the folder is missing.
    """
    from .disk.file_to_write import FileToWrite, WriteOptions
    from .disk.saving import save_all

    def write(file_layout: FileLayout) -> None:
        for piece in pieces:
            file_layout.write(piece)

    with about(path):
        _check_folder(path)
        save_all(path, [FileToWrite(path, write)], [], WriteOptions(replace))
