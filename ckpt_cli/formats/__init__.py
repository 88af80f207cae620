"""Formats: one file each. A format says whether a file is its own, reads one into a checkpoint, and writes one.

"Not mine" is `sniff` returning False; "mine, but broken" is `read` raising. They are never one `except`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from ..checkpoint import Checkpoint
from ..file import File
from ..registry import Registry
from ..sink import Nowhere, Sink
from ..storage import Extent


class Format:
    """What every format tells of itself. The class attributes make the table of `ckpt formats`."""

    name: str
    title: str
    suffixes: tuple[str, ...] = ()
    writes = True
    patches = False  # values are edited by overwriting their bytes in a copy of the file
    ties = False
    metadata = False
    objects = False

    def sniff(self, file: File) -> bool:
        """Whether `file` is of this format, from cheap facts: its head, its tail, the members of a zip."""
        raise NotImplementedError

    def read(self, file: File) -> Checkpoint:
        """The header, as a checkpoint. Raises Malformed."""
        raise NotImplementedError

    def write(self, checkpoint: Checkpoint, sink: Sink) -> None:
        """Stream `checkpoint`. Raises CannotHold before the first byte where there is no place for something."""
        raise NotImplementedError

    def check(self, checkpoint: Checkpoint) -> None:
        """Raises what writing `checkpoint` would raise for want of a place for something in it. Reads no data, writes nothing."""
        self.write(checkpoint, Nowhere())

    def left_behind(self, checkpoint: Checkpoint) -> list[str]:
        """What of `checkpoint` this format has no place for, a line each."""
        lines = []
        if checkpoint.objects and not self.objects:
            lines.append(f"{len(checkpoint.objects):,} objects besides tensors ({', '.join(_tops(checkpoint.objects))})")
        metadata = sorted(set(checkpoint.metadata) - {"format"})  # the framework's name says nothing that the file does not
        if metadata and not self.metadata:
            lines.append(f"metadata ({', '.join(metadata[:5])})")
        return lines

    def patch(self, checkpoint: Checkpoint) -> Iterator[tuple[int, bytes | memoryview]] | None:
        """The pieces (offset, bytes) that turn the file it was read from into its edited self; None where only a rebuild does."""
        return None

    def files(self, checkpoint: Checkpoint, path: str) -> Iterator[tuple[str, Callable[[int], None]]]:
        """The files that make up `checkpoint` at `path`, each with what writes it to a descriptor. Most formats have one."""
        yield path, lambda fd: self.put(checkpoint, fd)

    def put(self, checkpoint: Checkpoint, fd: int) -> None:
        """Write one file: where nothing but values changed, a copy of the original, made in the kernel, and the changed bytes over it."""
        origin = checkpoint.origin
        pieces = self.patch(checkpoint) if origin and origin.format == self.name else None
        if pieces is None or origin is None:
            self.write(checkpoint, Sink(fd))
            return
        Sink(fd).put(Extent(origin.file, 0, origin.file.size))
        for at, piece in pieces:
            view = memoryview(piece)
            while view:
                done = os.pwrite(fd, view, at)
                view, at = view[done:], at + done

    def emptied(self, checkpoint: Checkpoint, path: str) -> list[str]:
        """Files that belonged to the checkpoint at `path` and that its edited self has no use for."""
        return []

    def parts(self, checkpoint: Checkpoint) -> list[File]:
        """The files that a checkpoint was read from."""
        return [checkpoint.origin.file] if checkpoint.origin else []

    def nbytes(self, checkpoint: Checkpoint) -> int:
        """Bytes on disk of what a checkpoint was read from."""
        return sum(file.size for file in self.parts(checkpoint))


def _tops(paths: object) -> list[str]:
    tops = list(dict.fromkeys(str(path).split(".")[0] for path in paths))  # type: ignore[attr-defined]
    return tops[:5] + (["…"] if len(tops) > 5 else [])


formats: Registry[Format] = Registry("format", __name__)


def changed_storages(checkpoint: Checkpoint) -> list[str] | None:
    """The tensors whose storage was replaced, one name a storage; None unless everything but the values stayed as it was read."""
    before = checkpoint.origin.read if checkpoint.origin else None
    if before is None or list(checkpoint) != list(before):
        return None
    if checkpoint.metadata is not before.metadata or checkpoint.objects is not before.objects:
        return None
    now: dict[int, int] = {}
    changed: dict[int, str] = {}
    for name, tensor in checkpoint.tensors.items():
        old = before.tensors[name]
        if tensor is not old and (tensor.over(old.storage).key != old.key or tensor.storage.nbytes != old.storage.nbytes):
            return None
        if now.setdefault(id(old.storage), id(tensor.storage)) != id(tensor.storage):
            return None
        if tensor.storage is not old.storage:
            changed.setdefault(id(tensor.storage), name)
    return list(changed.values()) if len(set(now.values())) == len(now) else None
