"""Reading: `open` finds the format that claims a file, and returns the checkpoint in it."""

from __future__ import annotations

from .disk.opening import open_file, undone
from .errors import about
from .formats import Format, formats
from .formats.locate import locate, notes_beside
from .formats.unrecognised import part_error, unknown_error
from .storage.file import File
from .tensors.checkpoint import Checkpoint, Origin
from .tensors.named_code import taken_names


def open(path: str, lock: bool = False) -> Checkpoint:
    """Return the checkpoint at `path`. Its header is read, no data.

    Args:
        path: a file, or the folder of a model.
        lock: keep other runs of ckpt from changing the file as long as it is open here.

    Raises:
        ReadError: there is no such file, no format claims it, or it is broken.
    """
    file = open_file(locate(path), lock)
    with about(file.path):
        form = format_of(file)
        taken_names()
        found = form.read(file)
    opened = found.replacing(origin=Origin(form.name, file, found), imports=taken_names())
    settled = [f"{path}: an edit that was interrupted has been undone" for path in undone()]
    return opened.replacing(notes=(*settled, *opened.notes, *notes_beside(path, opened)))


def format_of(file: File) -> Format:
    """The format that claims `file`: a built-in one, else a plug-in's. Raises UnknownFormat, which says what the file seems to be."""
    if error := part_error(file):
        raise error
    for form in formats.built_in():
        if form.sniff(file):
            return form
    for name in formats:
        if formats[name].sniff(file):
            return formats[name]
    raise unknown_error(file)
