"""Formats: one file each. A format says whether a file is its own, reads one into a checkpoint, and writes one.

"Not mine" is `sniff` returning False; "mine, but broken" is `read` raising. They are never one `except`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ..registry import ModuleRegistry
from ..storage.file import File
from ..storage.storage import Storage
from ..tensors.checkpoint import Checkpoint

if TYPE_CHECKING:
    from ..disk.layout import FileLayout
    from ..disk.patch import Patch
    from ..disk.saving import FileToWrite
    from .encodings.zip import Member


class Format:
    """What every format tells of itself. The class attributes make the table of `ckpt formats`."""

    name: str
    title: str
    called = ""  # in a sentence, where the name is no word for it
    suffixes: tuple[str, ...] = ()
    writes = True
    patches = False  # values are edited by overwriting their bytes in a copy of the file
    ties = False
    metadata = False
    objects = False
    sets_metadata = False  # `set` changes an entry of the metadata
    takes_objects = False  # also objects that were not read, as values of Python: the state of a training
    layout = "oi"  # how its framework lays weights out: out×in×kernel… (torch), or kernel…×in×out (Keras): `io`
    keeps = False  # an edited file stays of this format under another name of the same suffix, though another one is written to such
    alone = True  # in a folder, a file of one of its suffixes may be the model
    prefixed = False  # a checkpoint is called by the prefix of its files; the first suffix makes that the name of its main one

    def find(self, path: str) -> str | None:
        """The file that stands for `path`, where that is a folder, or the prefix of files, of this format; None where it is not."""
        return None

    def main(self, path: str) -> str:
        """The file that a checkpoint written to `path` is known by: `path` itself, that with a prefix's suffix, or one in a new folder."""
        return path if not self.prefixed or path.endswith(self.suffixes) else path + self.suffixes[0]

    def sniff(self, file: File) -> bool:
        """Whether `file` is of this format, from cheap facts: its head, its tail, the members of a zip."""
        raise NotImplementedError

    def read(self, file: File) -> Checkpoint:
        """The header, as a checkpoint. Raises Malformed."""
        raise NotImplementedError

    def write(self, checkpoint: Checkpoint, file_layout: FileLayout) -> None:
        """Stream `checkpoint`. Raises CannotHold before the first byte where there is no place for something."""
        raise NotImplementedError

    def check(self, checkpoint: Checkpoint) -> None:
        """Raises what writing `checkpoint` would raise for want of a place for something in it. Reads no data, writes nothing."""
        from ..disk.layout import Nowhere

        self.write(checkpoint, Nowhere())

    def carried(self, checkpoint: Checkpoint) -> Iterable[str]:
        """The names of the objects that are written, too: those of a file of this format."""
        own = checkpoint.origin is not None and checkpoint.origin.format == self.name
        return checkpoint.objects if self.objects and own else ()

    def left_behind(self, checkpoint: Checkpoint) -> list[str]:
        """What of `checkpoint` this format has no place for, a line each."""
        lines, kept = [], set(self.carried(checkpoint)) if checkpoint.objects else set()
        lost = [name for name in checkpoint.objects if name not in kept]
        if lost:
            lines.append(f"{len(lost):,} object{'s' * (len(lost) != 1)} besides tensors ({', '.join(_tops(lost))})")
        metadata = sorted(set(checkpoint.metadata) - {"format"})  # the framework's name says nothing that the file does not
        if metadata and not self.metadata:
            lines.append(f"metadata ({', '.join(metadata[:5])})")
        if not self.ties and (tied := checkpoint.tied_to()):
            shown = [f"{name} = {first}" for name, first in tied.items()]
            lines.append(f"ties, and each name has its own copy ({', '.join(shown[:5] + ['…'] * (len(shown) > 5))})")
        return lines

    def patch(self, checkpoint: Checkpoint) -> Patch | None:
        """What turns the file it was read from into its edited self; None where only a rebuild does."""
        return None

    def outputs(self, checkpoint: Checkpoint, path: str) -> Iterator[FileToWrite]:
        """The files that make up `checkpoint` at `path`. Most formats have one."""
        yield self.output(checkpoint, path)

    def output(self, checkpoint: Checkpoint, path: str) -> FileToWrite:
        """One file: a patch of the one that it was read from, where nothing but values changed, else written anew."""
        from ..disk.saving import FileToWrite

        origin = checkpoint.origin
        patch = self.patch(checkpoint) if origin and origin.format == self.name else None
        return FileToWrite(path, lambda file_layout: self.write(checkpoint, file_layout), patch)

    def emptied(self, checkpoint: Checkpoint, path: str) -> list[str]:
        """Files that belonged to the checkpoint at `path` and that its edited self has no use for."""
        return []

    def records(self, checkpoint: Checkpoint) -> Iterable[tuple[str, Storage]]:
        """What the files have checksums of besides the tensors' bytes (and the members of a zip), each with what it is called."""
        return ()

    def parts(self, checkpoint: Checkpoint) -> list[File]:
        """The files that a checkpoint was read from."""
        return [checkpoint.origin.file] if checkpoint.origin else []

    def code(self, checkpoint: Checkpoint) -> Iterator[tuple[str, str]]:
        """Path of a file, dotted name: the classes and functions that loading it with its framework imports, unless it loads safely."""
        return iter(())

    def archives(self, checkpoint: Checkpoint) -> Iterator[Mapping[str, Member]]:
        """The members of every zip that it was read from: all of them have checksums."""
        from .encodings import zip as zips

        yield from (zips.members(file) for file in self.parts(checkpoint) if zips.is_zip(file))

    def nbytes(self, checkpoint: Checkpoint) -> int:
        """Bytes on disk of what a checkpoint was read from."""
        return sum(file.size for file in self.parts(checkpoint))


class ValuesOnly(Format):
    """A format that belongs to a program: values are written over those in a file, nothing else of it is written."""

    writes = False
    patches = keeps = True

    def write(self, checkpoint: Checkpoint, file_layout: FileLayout) -> None:
        from ..errors import CannotHold

        raise CannotHold(
            f"of a {self.name} file values alone are edited: names, shapes and dtypes are its program's", "convert it, say to .safetensors"
        )

    def check(self, checkpoint: Checkpoint) -> None:
        if checkpoint.origin is None or checkpoint.origin.format != self.name or self.patch(checkpoint) is None:
            super().check(checkpoint)


def _tops(paths: object) -> list[str]:
    tops = list(dict.fromkeys(str(path).split(".")[0] for path in paths))  # type: ignore[attr-defined]
    return tops[:5] + (["…"] if len(tops) > 5 else [])


formats: ModuleRegistry[Format] = ModuleRegistry(
    "format",
    __name__,
    "format_",
    likely=("safetensors.format_safetensors", "torch.format_torchscript", "torch.format_torch"),
    ahead={"pickle": "paddle"},
)


def patch_of(checkpoint: Checkpoint, pairs: Sequence[tuple[Storage, Storage]] | None) -> Patch | None:
    """The patch of the one file of `checkpoint` that exchanges storages, each given before and after; None where they do not lie there."""
    from ..disk.patch import Patch, of_extents

    found = None if pairs is None else of_extents(pairs)
    return None if found is None or checkpoint.origin is None else Patch(checkpoint.origin.file, found, [])


def changed_storages(checkpoint: Checkpoint) -> list[tuple[Storage, Storage]] | None:
    """The storages that were replaced, before and after; None unless everything but the values stayed as it was read."""
    before = checkpoint.origin.read if checkpoint.origin else None
    if before is None or list(checkpoint) != list(before):
        return None
    if checkpoint.metadata is not before.metadata or checkpoint.objects is not before.objects:
        return None
    now: dict[Storage, Storage] = {}
    for name, tensor in checkpoint.tensors.items():
        old = before.tensors[name]
        if tensor is not old and (tensor.over(old.storage).key != old.key or tensor.storage.nbytes != old.storage.nbytes):
            return None
        if now.setdefault(old.storage, tensor.storage) is not tensor.storage:
            return None
    if len(set(now.values())) != len(now):
        return None
    return [(old, new) for old, new in now.items() if old is not new]
