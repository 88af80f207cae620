"""Reading: `open` finds the format that claims a file, and returns the checkpoint in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .disk.opening import open_file, undone
from .errors import about
from .formats import Format, formats
from .formats.locate import locate, notes_beside, part_notes, parted, set_of_parts
from .formats.unrecognised import part_error, unknown_error
from .storage.file import File
from .tensors.checkpoint import Checkpoint, Origin

if TYPE_CHECKING:
    from .formats.archives import Found


def open(path: str, lock: bool = False) -> Checkpoint:
    """Return the checkpoint at `path`. Its header is read, no data.

    Args:
        path: a file, or the folder of a model.
        lock: keep other runs of ckpt from changing the file as long as it is open here.

    Raises:
        ReadError: there is no such file, no format claims it, or it is broken.
    """
    archive, member = parted(path)
    file = open_file(locate(archive), lock)
    notes: tuple[str, ...] = ()
    with about(file.path):
        whole = set_of_parts(path, file.path)
        form = whole or (None if member else claiming(file))
        if form is None:
            file, notes = _within(file, member, lock)
    with about(file.path):
        form = form or format_of(file)
        found = form.read(file)
        if not whole:
            found = found.replacing(notes=(*found.notes, *part_notes(file.path, found)))
    opened = found.replacing(origin=Origin(form.name, file, found))
    settled = [f"{path}: an edit that was interrupted has been undone" for path in undone()]
    return opened.replacing(notes=(*settled, *notes, *opened.notes, *notes_beside(path, opened)))


def _within(file: File, member: str, lock: bool) -> Found:
    """The checkpoint in an archive. Raises UnknownFormat where `file` is none: no format reads it."""
    from .formats.archives import checkpoint_in, is_archive

    if not member and not is_archive(file):
        raise unknown_error(file)
    return checkpoint_in(file, member, claiming, lock)


def format_of(file: File) -> Format:
    """The format that claims `file`. Raises UnknownFormat, which says what the file seems to be."""
    form = claiming(file)
    if form is None:
        raise unknown_error(file)
    return form


def claiming(file: File) -> Format | None:
    """The format that claims `file`: a built-in one, else a plug-in's; None where none does. Raises UnknownFormat for a part of a model."""
    if error := part_error(file):
        raise error
    for form in formats.built_in():
        if form.sniff(file):
            return form
    for name in formats:
        if formats[name].sniff(file):
            return formats[name]
    return None
