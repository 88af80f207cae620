"""Opening and saving. `open` finds the one format that claims a file; `save` patches a copy where it can, rebuilds where it must.

Saving is all or nothing: a temporary file beside the target, with the target's mode, written, fsynced, renamed over it, and the folder
fsynced, so that after a crash the path holds the old content or the new. It is removed on every way out.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .checkpoint import Checkpoint, Origin
from .errors import ReadError, UnknownFormat, UsageError, WriteError, about
from .formats import Format, formats
from .sink import Sink
from .storage import File


def open(path: str) -> Checkpoint:
    """The checkpoint at `path`, a file or the folder of a model: its header, no data. Raises ReadError."""
    file = File(find(path))
    with about(file.path):
        form = format_of(file)
        found = form.read(file)
    return found.replacing(origin=Origin(form.name, file.path, file.size, found))


def format_of(file: File) -> Format:
    """The format that claims `file`: a built-in one, else a plug-in's. Raises UnknownFormat, which says what the file seems to be."""
    for form in formats.built_in():
        if form.sniff(file):
            return form
    for name in formats:
        if formats[name].sniff(file):
            return formats[name]
    raise unknown(file)


def unknown(file: File) -> UnknownFormat:
    """What a file that no format claims seems to be, and what to do about it."""
    head = file.head.lstrip()[:64].lower()
    if file.size == 0:
        return UnknownFormat("the file is empty", "download or copy it again")
    if file.head.startswith(b"version https://git-lfs.github.com/spec/"):
        return UnknownFormat("this is a Git LFS pointer, not the file itself", "run `git lfs pull`")
    if head.startswith((b"<!doctype html", b"<html", b"<?xml")):
        return UnknownFormat("this is a web page, not a checkpoint", "download the file itself; the link may need a log-in")
    if file.path.endswith(".index.json"):
        return UnknownFormat("the index of a model in shards, which is not read yet", "give one of its shards")
    if not file.head.strip(b"\0"):
        return UnknownFormat("the file begins with nothing but zeros", "download or copy it again")
    return UnknownFormat("not a checkpoint of any known format", "`ckpt formats` lists them")


# What a folder's model is called, the likeliest first.
_MODELS = (
    "model.safetensors",
    "diffusion_pytorch_model.safetensors",
    "pytorch_model.bin",
    "diffusion_pytorch_model.bin",
    "adapter_model.safetensors",
    "adapter_model.bin",
)


def find(path: str) -> str:
    """The file that `path` means: itself, or the model in a folder. Raises ReadError where there is none, or several could be meant."""
    if not os.path.isdir(path):
        return path
    with about(path):
        inside = sorted(os.listdir(path))
    for name in _MODELS:
        if name in inside:
            return os.path.join(path, name)
    shards = [name for name in inside if name.endswith(".index.json")]
    if shards:
        raise ReadError(f"a model in shards ({shards[0]}), which is not read yet", "give one of its shards", path)
    models = [name for name in inside if name.endswith((".safetensors", ".bin", ".pt", ".pth", ".ckpt"))]
    if len(models) == 1:
        return os.path.join(path, models[0])
    if not models:
        raise ReadError("the folder holds no model", "give the file itself", path)
    raise ReadError(f"the folder holds several files: {', '.join(models[:6])}", "give one of them", path)


def format_for(path: str, name: str | None, default: str | None = None) -> Format:
    """The format to write `path` in: `name` where it is given, else by the suffix, else `default`."""
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
    if not form.writes:
        raise WriteError(f"{form.name} is read, not written", "give another --format", path)
    return form


def save(checkpoint: Checkpoint, path: str, form: Format, *, replace: bool = False, backup: str | None = None) -> None:
    """Write `checkpoint` to `path`, all or nothing. An existing file is refused unless `replace`; `backup` keeps it under that suffix.

    The same format with nothing but values changed is patched: the file is copied in the kernel, then the changed bytes are written.
    """
    with about(path):
        target = os.path.realpath(path)
        _check_target(target, replace)
        with _replacing(target) as fd:
            patched = form.patch(checkpoint) if checkpoint.origin and checkpoint.origin.format == form.name else None
            if patched is None:
                form.write(checkpoint, Sink(fd))
            else:
                _patch(fd, checkpoint, patched)
            if backup is not None:
                _keep(target, target + backup)


def write_new(path: str, data: bytes) -> None:
    """`data` as a new file, all or nothing. An existing one is refused."""
    with about(path):
        target = os.path.realpath(path)
        _check_target(target, replace=False, mend="choose another name")
        with _replacing(target) as fd:
            Sink(fd).write(data)


def _check_target(target: str, replace: bool, mend: str = "--force replaces it, or choose another name") -> None:
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise WriteError("this is no regular file", "choose another name")
    if not replace:
        raise WriteError("the file is there already", mend)


def _patch(fd: int, checkpoint: Checkpoint, pieces: Iterator[tuple[int, bytes | memoryview]]) -> None:
    from .storage import Extent

    if checkpoint.origin is None:
        raise WriteError("a checkpoint that was read from nowhere cannot be patched")
    source = File(checkpoint.origin.path)
    Sink(fd).put(Extent(source, 0, source.size))
    for at, piece in pieces:
        view = memoryview(piece)
        while view:
            done = os.pwrite(fd, view, at)
            view, at = view[done:], at + done


@contextmanager
def _replacing(target: str) -> Iterator[int]:
    """A temporary file beside `target` that takes its place at the end, or vanishes."""
    folder = os.path.dirname(target)
    stem = os.fsdecode(os.fsencode(os.path.basename(target))[:100])
    temporary = os.path.join(folder, f".{stem}.{os.urandom(6).hex()}.tmp")
    try:
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)
    except OSError as error:
        raise OSError(error.errno, error.strerror, target) from None
    try:
        try:
            os.fchmod(fd, _mode(target))
            yield fd
            os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(temporary, target)
    except BaseException:
        _quietly(lambda: os.unlink(temporary))
        raise
    _sync_folder(folder)


def _mode(target: str) -> int:
    """The mode of the file that is replaced; of a new one, what the user's umask leaves of 666."""
    try:
        return stat.S_IMODE(os.stat(target).st_mode)
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask


def _keep(target: str, backup: str) -> None:
    """The old content under another name, before the new one takes its place."""
    fresh = f"{backup}.{os.urandom(6).hex()}.tmp"
    try:
        os.link(target, fresh)
    except OSError:  # a file system without hard links
        import shutil

        shutil.copy2(target, fresh)
    try:
        os.replace(fresh, backup)
    finally:  # a rename onto another link of the same file does nothing at all
        _quietly(lambda: os.unlink(fresh))


def _quietly(step: Callable[[], None]) -> None:
    try:
        step()
    except OSError:
        pass


def _sync_folder(folder: str) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


__all__ = ["find", "format_for", "format_of", "open", "save", "unknown", "write_new"]
