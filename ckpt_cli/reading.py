"""Opening and saving: `open` finds the one format that claims a file, `save` writes what a format makes of a checkpoint."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from . import recovery
from .checkpoint import Checkpoint, Origin
from .errors import EditError, ReadError, UsageError, WriteError, about
from .file import File
from .formats import Format, formats
from .unknown import part, unknown

if TYPE_CHECKING:
    from .blocks import Progress
    from .sink import Sink


def open(path: str, lock: bool = False) -> Checkpoint:
    """The checkpoint at `path`, a file or the folder of a model: its header, no data. Raises ReadError.

    `lock`: no other ckpt changes the file as long as it is open here.
    """
    file = File(find(path), lock)
    with about(file.path):
        form = format_of(file)
        found = form.read(file)
    opened = found.replacing(origin=Origin(form.name, file, found))
    settled = [f"{path}: an edit that was interrupted has been undone" for path in recovery.undone()]
    return opened.replacing(notes=(*settled, *opened.notes, *_beside(path, opened)))


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


# What a folder's model is called, the likeliest first.
_STEMS = ("model.safetensors", "diffusion_pytorch_model.safetensors", "pytorch_model.bin", "diffusion_pytorch_model.bin")
_MODELS = [name + index for name in (*_STEMS, "adapter_model.safetensors", "adapter_model.bin") for index in ("", ".index.json")]


def find(path: str) -> str:
    """The file that `path` means: itself, or the model in a folder, or in the one folder below that has one. Raises ReadError."""
    if path == "-":
        raise ReadError("a checkpoint is read from a file, not from standard input", "give its path")
    if os.path.isfile(path):
        return path
    if not os.path.isdir(path):
        return _stands_for(path) or path
    found = _models(path)
    if not found:
        with about(path):
            below = sorted(entry.path for entry in os.scandir(path) if entry.is_dir())
        found = [model for folder in below for model in _models(folder)[:1]]
    _check_whole(path, found)
    if len(found) == 1:
        return found[0]
    if not found:
        raise ReadError("the folder holds no model", "give the file itself", path)
    listed = ", ".join(os.path.relpath(model, path) for model in found[:20]) + (", …" if len(found) > 20 else "")
    raise ReadError(f"the folder holds several models: {listed}", f"name the one that you mean: {found[0]}", path)


_SHARD = re.compile(r"(.+)-\d{5}-of-(\d{5})(\.\w+)")


def _check_whole(path: str, found: list[str]) -> None:
    """Raises ReadError where what was found in the folder `path` are shards without their index."""
    shards = [shard for model in found if (shard := _SHARD.fullmatch(os.path.relpath(model, path)))]
    if not shards or len(shards) < len(found) or (len(shards), int(shards[0][2])) == (1, 1):
        return
    total, index = int(shards[0][2]), f"{shards[0][1]}{shards[0][3]}.index.json"
    count = f"{total}" if len(shards) == total else f"{len(shards)} of {total}"
    raise ReadError(f"{count} shards, whose index ({index}) is missing", "download it, too, or name one of the shards", path)


def _models(folder: str) -> list[str]:
    """The model in a folder, by the names that models have, or by what makes it a checkpoint itself; else all that could be one."""
    inside = _checkpoints(folder)
    for name in _MODELS:
        if name in inside:
            return [os.path.join(folder, name)]
    if whole := _stands_for(folder):
        return [whole]
    indices = [name for name in inside if name.endswith(".index.json")]
    return [os.path.join(folder, name) for name in indices or inside]


def _stands_for(path: str) -> str | None:
    """The file by which a checkpoint of several files is known: of a folder, or of a prefix."""
    return next((found for form in formats.built_in() if (found := form.find(path))), None)


def _checkpoints(folder: str) -> list[str]:
    suffixes = tuple(suffix for form in formats.built_in() if form.alone for suffix in form.suffixes)
    with about(folder):
        return sorted(name for name in os.listdir(folder) if name.endswith(suffixes))


def _beside(path: str, found: Checkpoint) -> tuple[str, ...]:
    """What lies beside the model in the folder `path` and is opened by a path of its own: an optimizer, random states, another model."""
    if not os.path.isdir(path) or found.origin is None:
        return ()
    home = os.path.dirname(found.origin.path)
    own = {os.path.basename(file.path) for file in formats[found.origin.format].parts(found)}
    others = [name for name in _checkpoints(home) if name not in own]
    return (f"{found.origin.path} is opened; beside it lie {', '.join(others[:8])}",) if others else ()


def format_for(path: str, name: str | None, default: str | None = None) -> Format:
    """The format to write `path` in: `name` where it is given, else by the suffix, else `default`."""
    if path == "-":
        raise UsageError("a checkpoint is written to a file, not to standard output", "give its path")
    if name:
        form = formats[name]
    else:
        writable = [form for form in formats.built_in() if form.writes and path.endswith(form.suffixes or ("\0",))]
        if not writable and default is None:
            raise UsageError(
                f"no format is written to names such as {os.path.basename(path)!r}",
                "give a suffix such as .safetensors or .pt, or --format",
                path,
            )
        form = writable[0] if writable else formats[default or ""]
    if not form.writes and not form.patches:
        raise WriteError(f"{form.name} is read, not written", "give another --format", path)
    return form


def save(
    checkpoint: Checkpoint, path: str, form: Format, *, replace: bool = False, backup: str | None = None, progress: Progress | None = None
) -> list[str]:
    """Write `checkpoint` to `path`, all or nothing. An existing file is refused unless `replace`; `backup` keeps it under that suffix.

    Where nothing but values changed in the file that it was read from, just those are written. The lines are what the user should be told.
    """
    from .saving import How, save_all

    main = form.main(path)
    with about(main), _of_the_source(checkpoint):
        _check_folder(path)
        with _made(path if os.path.dirname(main) == path else ""):
            return save_all(main, form.outputs(checkpoint, main), form.emptied(checkpoint, main), How(replace, backup, progress))


def check(checkpoint: Checkpoint, path: str, form: Format, *, replace: bool = False) -> None:
    """Raises what saving would raise, for want of a place for something in `checkpoint` or for the file. Reads no data, writes nothing."""
    from .saving import How, targets

    form.check(checkpoint)
    path = form.main(path)
    with about(path):
        _check_folder(path)
        targets(form.outputs(checkpoint, path), How(replace))


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

    from .saving import How, Output, save_all

    def write(sink: Sink) -> None:
        for piece in pieces:
            sink.write(piece)

    with about(path):
        _check_folder(path)
        save_all(path, [Output(path, write)], [], How(replace))


__all__ = ["find", "format_for", "format_of", "open", "save", "unknown", "write_new"]
