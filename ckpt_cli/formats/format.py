"""What a format is able to do, in pieces: a format's class combines those that it has.

    Format          reads; every format does
    Writer          writes a checkpoint anew
    Patcher         writes values over those in a copy of the file, or in the file itself; what else is in the file stays
    SeveralFiles    keeps a checkpoint in several files, and says which of them stands for all
    Index           (in index.py) is a list of files, each with a part of the checkpoint
    PartSet         reads the files of a folder as one checkpoint, each of which is a file of another format
    HasChecksums    has checksums of more than tensors and the members of a zip

What ought to be asked of a format that may not have a piece is asked behind `isinstance(form, PIECE)`.
"Not mine" is `sniff` returning False; "mine, but broken" is `read` raising. They are never one `except`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ..errors import CannotHold, UnknownFormat, number_of, shortened

if TYPE_CHECKING:
    from ..disk.file_to_write import FileToWrite
    from ..disk.layout import FileLayout
    from ..disk.patch import Patch
    from ..storage.file import File
    from ..storage.storage import Storage
    from ..tensors.checkpoint import Checkpoint


class Format:
    """A format that is read. A subclass sets the attributes, defines `sniff` and `read`, and is registered by `formats.add`.

    Attributes:
        name: What it is called on the command line.
        title: What it is called in the table of `ckpt formats`.
        called: What it is called in a sentence, where `name` is no word for it.
        suffixes: How the names of its files end. They decide the format of a new file, and which file of a folder may be the model.
        ties, metadata, objects: Whether a file has a place for names of one storage, for texts by key, for objects besides tensors.
        axes: The order of a weight's axes in its framework: `oi` is out × in × kernel … (torch), `io` kernel … × in × out (Keras).
        in_model_order: Whether the tensors of a file stand in the order of the model's layers.
        model_names: What the model in a folder is called, the likeliest name first.
        adapter_names: What is taken for the model where none of the folder's files has such a name.
    """

    name: str
    title: str
    called = ""
    suffixes: tuple[str, ...] = ()
    ties = False
    metadata = False
    objects = False
    axes = "oi"
    in_model_order = False
    model_names: tuple[str, ...] = ()
    adapter_names: tuple[str, ...] = ()

    @property
    def model_suffixes(self) -> tuple[str, ...]:
        """The suffixes of files that may be the model in a folder."""
        return self.suffixes

    def is_called(self, path: str) -> bool:
        """Whether a file is called as those of this format are."""
        return path.endswith(self.suffixes)

    def sniff(self, file: File) -> bool:
        """Whether `file` is of this format, from cheap facts: its first bytes, its last ones, the names of a zip's members."""
        raise NotImplementedError

    def read(self, file: File) -> Checkpoint:
        """The checkpoint in `file`: its header is read, no data are. Raises Malformed."""
        raise NotImplementedError

    def attributes(self, checkpoint: Checkpoint) -> Mapping[str, object]:
        """What the file says of single tensors and groups besides their names and values. Where it differs, `diff` notes it."""
        return {}

    def optimizer_settings(self, checkpoint: Checkpoint) -> Mapping[str, object]:
        """What a config in the file says of the optimizer of the training: `use_ema`, `ema_momentum`."""
        return {}

    def sizes_told(self, checkpoint: Checkpoint, changed: Mapping[str, tuple[int, ...]]) -> str:
        """What in the file or beside it tells the sizes of tensors besides their headers, where these change; mostly nothing."""
        return ""

    def files_read(self, checkpoint: Checkpoint) -> list[File]:
        """The files that `checkpoint` was read from."""
        return [checkpoint.origin.file] if checkpoint.origin else []

    def bytes_on_disk(self, checkpoint: Checkpoint) -> int:
        """The size in bytes of all the files that make up `checkpoint`."""
        return sum(file.size for file in self.files_read(checkpoint))

    def is_origin_of(self, checkpoint: Checkpoint) -> bool:
        """Whether `checkpoint` was read from a file of this format."""
        return checkpoint.origin is not None and checkpoint.origin.format == self.name


class Savable(Format):
    """A format that an edited checkpoint is saved in: by a Writer anything that it has a place for, by a Patcher values.

    Attributes:
        is_target: Whether a new file may be of this format because its name, or `--format`, says so.
        edits_metadata: Whether `ckpt set` changes an entry of the metadata.
        edits_objects: Whether it replaces an object by a plain one, and makes new ones.
        writes_new_objects: Whether objects that were not read are written, too, such as the state of a training.
    """

    is_target = False
    edits_metadata = False
    edits_objects = False
    writes_new_objects = False

    def new_entry(self, text: str) -> str:
        """What is kept in the metadata for a new entry whose value was written without quotes: the text; where there are types, one."""
        return text

    def write(self, checkpoint: Checkpoint, file_layout: FileLayout) -> None:
        """Lay out a file that holds `checkpoint`. Raises CannotHold before the first byte where there is no place for something."""
        raise CannotHold(
            f"of a {self.name} file values alone are edited: names, shapes and dtypes are its program's", "convert it, say to .safetensors"
        )

    def unknown_to_model(self, checkpoint: Checkpoint) -> str:
        """What the program of this format makes of new tensors, where a config or a graph of its own says which there are."""
        new = _new_names(checkpoint) if self.is_origin_of(checkpoint) else ""
        return self.told_of_new(checkpoint, new) if new else ""

    def told_of_new(self, checkpoint: Checkpoint, new: str) -> str:
        """What its program makes of tensors that were not in the file, of which `new` names the first."""
        return ""

    def patch(self, checkpoint: Checkpoint) -> Patch | None:
        """What turns the file that `checkpoint` was read from into its edited self; None where it must be written anew."""
        return None

    def check_place(self, checkpoint: Checkpoint) -> None:
        """Raise what saving `checkpoint` would raise for want of a place for something in it. Reads no data, writes nothing."""
        from ..disk.layout import Nowhere

        if not (self.is_origin_of(checkpoint) and self.patch(checkpoint) is not None):
            self.write(checkpoint, Nowhere())

    def main_file(self, path: str, checkpoint: Checkpoint | None = None) -> str:
        """The file by which `checkpoint`, written to `path`, is known: `path` itself, or the one that stands for several files."""
        return path

    def divided(self, size: int) -> Savable | None:
        """What writes files of this format with at most `size` bytes of tensors each; None where that takes an index of shards."""
        return None

    def files_to_write(self, checkpoint: Checkpoint, path: str) -> Iterator[FileToWrite]:
        """The files to be written, so that `checkpoint` is at `path`. Raises CannotHold."""
        yield self.file_to_write(checkpoint, path)

    def file_to_write(self, checkpoint: Checkpoint, path: str) -> FileToWrite:
        """The one file of `checkpoint`: a patch of the file that it was read from, where nothing but values changed, else a new one."""
        from ..disk.file_to_write import FileToWrite

        patch = self.patch(checkpoint) if self.is_origin_of(checkpoint) else None
        return FileToWrite(path, lambda file_layout: self.write(checkpoint, file_layout), patch)

    def files_to_remove(self, checkpoint: Checkpoint, path: str) -> list[str]:
        """Files that belonged to the checkpoint at `path`, and do not belong to its edited self."""
        return []

    def objects_to_write(self, checkpoint: Checkpoint) -> Iterable[str]:
        """The names of those objects that are written along with the tensors: all that were read from a file of this format."""
        return checkpoint.objects if self.objects and self.is_origin_of(checkpoint) else ()

    def losses(self, checkpoint: Checkpoint) -> list[str]:
        """What of `checkpoint` this format has no place for, though it saves the rest: a line for each kind."""
        lines, written = [], set(self.objects_to_write(checkpoint)) if checkpoint.objects or checkpoint.undecoded else set()
        lost = [name for name in {**checkpoint.objects, **checkpoint.undecoded} if name not in written]
        if lost:
            lines.append(f"{number_of(len(lost), 'object')} besides tensors ({_first(lost)})")
        metadata = sorted(set(checkpoint.metadata) - {"format"})  # the framework's name says nothing that the file does not
        if metadata and not self.metadata:
            lines.append(f"metadata ({_first(metadata)})")
        if not self.ties and (tied := checkpoint.tied_to()):
            shown = [f"{name} = {first}" for name, first in tied.items()]
            lines.append(f"ties, and each name has its own copy ({_first(shown)})")
        return lines


class Writer(Savable):
    """A format that files are written in, of whatever a checkpoint was read from.

    A subclass defines `write`; one with SeveralFiles defines `check_place` and `files_to_write` instead.
    """

    is_target = True

    def write(self, checkpoint: Checkpoint, file_layout: FileLayout) -> None:
        """Lay out a file that holds `checkpoint`. Raises CannotHold before the first byte where there is no place for something."""
        raise NotImplementedError

    def check_place(self, checkpoint: Checkpoint) -> None:
        """Raise what writing `checkpoint` would raise for want of a place for something in it. Reads no data, writes nothing."""
        from ..disk.layout import Nowhere

        self.write(checkpoint, Nowhere())


class Patcher(Savable):
    """A format whose values are edited by writing over their bytes.

    The default suits files in which every storage lies as a run of bytes that has no checksum; another format defines `patch_of` or
    `patch`. One with SeveralFiles defines `files_to_write`. Without Writer, it belongs to a program, and is saved as itself alone.
    """

    def patch(self, checkpoint: Checkpoint) -> Patch | None:
        """What turns the file that `checkpoint` was read from into its edited self; None where more than values changed."""
        from .patching import changed_storages

        pairs = changed_storages(checkpoint)
        return self.patch_of(checkpoint.origin.file, pairs) if checkpoint.origin and pairs is not None else None

    def patch_of(self, file: File, pairs: Sequence[tuple[Storage, Storage]]) -> Patch | None:
        """The patch of `file` that exchanges storages, each given before and after; None where they do not lie in it as they are."""
        from ..disk.patch import Patch, of_extents

        changes = of_extents(pairs)
        return None if changes is None else Patch(file, changes, [])


class SeveralFiles(Format):
    """A format of several files: one of them, the main file, is what is sniffed and read; it says where the others are.

    Such a format that is savable defines `files_to_write`, and `files_to_remove` and `main_file` where they apply.

    Attributes:
        by_prefix: Whether a checkpoint is called by the prefix of its files' names.
    """

    by_prefix = False

    def locate(self, path: str) -> str | None:
        """The main file of the checkpoint that is in the folder `path`, or whose prefix it is; None where there is none."""
        return None

    def part_error(self, path: str) -> UnknownFormat | None:
        """The error for one of the files that lies beside its main file, by which the checkpoint is read; None for any other file."""
        return None

    def stray_part_error(self, path: str) -> UnknownFormat | None:
        """The error for what is called as a part is, and whose main file is missing; None for any other file."""
        return None


class PartSet(SeveralFiles):
    """A set of files of other formats, which is read as one where its folder is named: the parts that ranks or a program wrote.

    `locate` gives the first part. A part that is named itself is read by its own format; `part_note` says what it is a part of.
    """

    def sniff(self, file: File) -> bool:
        """No file by itself is the set."""
        return False

    def is_main(self, path: str, folder: str) -> bool:
        """Whether the file at `path`, which was located for `folder`, stands for a set."""
        from os.path import dirname, realpath

        main = self.locate(dirname(path) or ".")
        return main is not None and realpath(main) == realpath(path)

    def part_note(self, path: str, checkpoint: Checkpoint) -> str:
        """What is said of the file at `path` that was read by itself; nothing where it is no part, or the only one."""
        return ""

    def differing_copies(self, checkpoint: Checkpoint, names: Sequence[str]) -> Iterable[tuple[str, str]]:
        """Each of `names` that several parts hold, and the path of each that holds it otherwise than the first. They are read."""
        return ()


class HasChecksums(Format):
    """A format that says by itself what there is to verify besides tensors; of others, that is every member of every zip."""

    def checksummed(self, checkpoint: Checkpoint) -> Iterable[tuple[str, Storage]]:
        """What the files of `checkpoint` have checksums of besides the tensors' own storages: what it is called, and its bytes."""
        raise NotImplementedError


def _new_names(checkpoint: Checkpoint) -> str:
    """The first names of tensors that were not in the file that `checkpoint` was read from, as one text; empty where there are none."""
    read = checkpoint.origin.read if checkpoint.origin else checkpoint
    if checkpoint.tensors is read.tensors:
        return ""
    return _first([name for name in checkpoint if checkpoint.sources.get(name, name) not in read])


def _first(names: Sequence[str]) -> str:
    """The first five of some names, long ones shortened, and a sign that there are more."""
    return ", ".join([*map(shortened, names[:5]), *(["…"] if len(names) > 5 else [])])
