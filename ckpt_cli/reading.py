"""Reading: `open` finds the format that claims a file, and returns the checkpoint in it."""

from __future__ import annotations

from .disk import recovery
from .errors import about
from .formats import Format, formats
from .formats.locate import beside, find
from .formats.unrecognised import part, unknown
from .storage.file import File
from .tensors.checkpoint import Checkpoint, Origin


def open(path: str, lock: bool = False) -> Checkpoint:
    """Return the checkpoint at `path`. Its header is read, no data.

    Args:
        path: a file, or the folder of a model.
        lock: keep other runs of ckpt from changing the file as long as it is open here.

    Raises:
        ReadError: there is no such file, no format claims it, or it is broken.
    """
    file = File(find(path), lock)
    with about(file.path):
        form = format_of(file)
        read = form.read(file)
    checkpoint = read.replacing(origin=Origin(form.name, file, read))
    undone = [f"{path}: an edit that was interrupted has been undone" for path in recovery.undone()]
    return checkpoint.replacing(notes=(*undone, *checkpoint.notes, *beside(path, checkpoint)))


def format_of(file: File) -> Format:
    """Return the format that claims `file`: a built-in one, else a plug-in's. Raises UnknownFormat: it says what `file` may be."""
    if inside := part(file):
        raise inside
    for form in formats.built_in():
        if form.sniff(file):
            return form
    for name in formats:
        if formats[name].sniff(file):
            return formats[name]
    raise unknown(file)
