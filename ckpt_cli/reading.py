"""Reading: `open` finds the one format that claims a file, and gives the checkpoint in it."""

from __future__ import annotations

from .disk.opening import open_file, undone
from .errors import about
from .formats import Format, formats
from .formats.locate import beside, find
from .formats.unrecognised import part, unknown
from .storage.file import File
from .tensors.checkpoint import Checkpoint, Origin


def open(path: str, lock: bool = False) -> Checkpoint:
    """The checkpoint at `path`, a file or the folder of a model: its header, no data. Raises ReadError.

    `lock`: no other ckpt changes the file as long as it is open here.
    """
    file = open_file(find(path), lock)
    with about(file.path):
        form = format_of(file)
        found = form.read(file)
    opened = found.replacing(origin=Origin(form.name, file, found))
    settled = [f"{path}: an edit that was interrupted has been undone" for path in undone()]
    return opened.replacing(notes=(*settled, *opened.notes, *beside(path, opened)))


def format_of(file: File) -> Format:
    """The format that claims `file`: a built-in one, else a plug-in's. Raises UnknownFormat, which says what the file seems to be."""
    if inside := part(file):
        raise inside
    for form in formats.built_in():
        if form.sniff(file):
            return form
    for name in formats:
        if formats[name].sniff(file):
            return formats[name]
    raise unknown(file)
