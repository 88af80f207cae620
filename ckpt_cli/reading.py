"""Reading: `open` finds the format that claims a file, and returns the checkpoint in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from .disk.opening import open_file, undone
from .errors import ReadError, about
from .formats import Format, Index, formats
from .formats.locate import locate, notes_beside, part_notes, parted, set_of_parts
from .formats.unrecognised import part_error, unknown_error
from .storage.file import File
from .tensors.checkpoint import Checkpoint, Origin
from .tensors.named_code import taken_names

if TYPE_CHECKING:
    from .formats.archives import Found


IndexUse = Literal["follow", "report", "ignore"]


def open(path: str, lock: bool = False, index: IndexUse = "follow") -> Checkpoint:
    """Return the checkpoint at `path`. Its header is read, no data.

    Args:
        path: a file, or the folder of a model.
        lock: keep other runs of ckpt from changing the file as long as it is open here.
        index: what is made of an index of shards that is wrong: an error (follow), or what is there is read, and what is broken
            passed over (report) or not (ignore).

    Raises:
        ReadError: there is no such file, no format claims it, or it is broken.
    """
    archive, member = parted(path)
    main = locate(archive, ignore_index=index == "ignore")
    file = open_file(main, lock)
    file.stands_for = path if main != archive else ""
    notes: tuple[str, ...] = ()
    with about(file.path):
        whole = set_of_parts(path, file.path)
        over = _index_over(file) if index == "ignore" and not whole else None
        form = whole or over or (None if member else claiming(file))
        if form is None:
            file, notes = _within(file, member, lock)
    with about(file.path):
        form = form or format_of(file)
        taken_names()
        found = over.read_without(file) if over else _read(form, file, index)
        if not whole:
            found = found.replacing(notes=(*found.notes, *part_notes(file.path, found)))
    opened = found.replacing(origin=Origin(form.name, file, found), imports=taken_names())
    settled = [f"{path}: an edit that was interrupted has been undone" for path in undone()]
    return opened.replacing(notes=(*settled, *notes, *opened.notes, *notes_beside(path, opened)))


def _within(file: File, member: str, lock: bool) -> Found:
    """The checkpoint in an archive. Raises UnknownFormat where `file` is none: no format reads it."""
    from .formats.archives import checkpoint_in, is_archive

    if not member and not is_archive(file):
        raise unknown_error(file)
    return checkpoint_in(file, member, claiming, lock)


def _read(form: Format, file: File, index: IndexUse) -> Checkpoint:
    """The checkpoint in a file of a format; what is wrong with an index is borne where it is to be reported."""
    return _borne(form, file) if index == "report" and isinstance(form, Index) else form.read(file)


def _borne(form: Index, file: File) -> Checkpoint:
    """The checkpoint of an index; where it is wrong, of what is there."""
    try:
        found = form.read(file)
    except ReadError:
        return form.read_without(file, bear=True)
    is_right = not any(form.wrong(found.replacing(origin=Origin(form.name, file, found))))
    return found if is_right else form.read_without(file, bear=True)


def _index_over(file: File) -> Index | None:
    """The format of the index that a file is called as, or that it is a shard without, where a folder stands for its shards."""
    indices = (form for form in formats.built_in() if isinstance(form, Index))
    name = file.path
    return next((form for form in indices if form.is_called(name) or (file.stands_for and form.is_listed(name))), None)


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
