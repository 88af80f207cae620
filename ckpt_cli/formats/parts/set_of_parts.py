"""What the sets of parts have in common: their files are opened by their own formats, and values are edited in the files they lie in."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ...disk.opening import open_file
from ...errors import CannotHold, Malformed, about
from ...storage.file import File
from ...storage.storage import Extent
from ...tensors.checkpoint import Checkpoint, Origin
from .. import PartSet, Patcher, SeveralFiles, formats
from ..unrecognised import unknown_error
from .wholes import Whole, Wholes

if TYPE_CHECKING:
    from ...disk.file_to_write import FileToWrite
    from ...disk.layout import FileLayout
    from ...disk.patch import Patch


class Gathered(NamedTuple):
    """What a kind of sets finds in its files.

    Attributes:
        wholes: The tensors by name.
        files: The files that were read, the first part before the others.
        objects: What is in them besides tensors.
        notes: What is to be said to the user.
    """

    wholes: Mapping[str, Whole]
    files: Sequence[File]
    objects: Mapping[str, Any]
    notes: Sequence[str] = ()


class SetOfParts(PartSet, Patcher):
    """A kind of sets. A subclass defines `locate` and `gather`, and `part_note` where its parts do not say by themselves what they are.

    Attributes:
        frozen: Why values are not edited in place; empty where they are.
    """

    is_target = False
    ties = objects = True
    frozen = ""

    @abstractmethod
    def gather(self, main: File) -> Gathered:
        """The tensors of the set whose first part is `main`. Raises Malformed where a part is missing, or of another set."""

    def read(self, file: File) -> Checkpoint:
        """The set, as one checkpoint."""
        found = self.gather(file)
        return Checkpoint(Wholes(found.wholes), objects=dict(found.objects), rest=found, notes=tuple(found.notes))

    def files_read(self, checkpoint: Checkpoint) -> list[File]:
        """All parts."""
        rest = checkpoint.origin.read.rest if checkpoint.origin else None
        return list(dict.fromkeys(rest.files)) if isinstance(rest, Gathered) else super().files_read(checkpoint)

    def differing_copies(self, checkpoint: Checkpoint, names: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Each of `names` that several parts hold, and the path of each that holds it otherwise than the first."""
        from .copies import differing

        rest = checkpoint.origin.read.rest if checkpoint.origin else None
        yield from differing(rest.wholes, names) if isinstance(rest, Gathered) else ()

    def check_place(self, checkpoint: Checkpoint) -> None:
        """Raise CannotHold where more than values changed."""
        self._patches(checkpoint)

    def files_to_write(self, checkpoint: Checkpoint, path: str) -> Iterator[FileToWrite]:
        """The parts that changed, patched. Raises CannotHold where more than values changed, and where the set would go elsewhere."""
        from ...disk.file_to_write import FileToWrite

        found = self._patches(checkpoint)
        if checkpoint.origin is None or os.path.realpath(path) != os.path.realpath(checkpoint.origin.path):
            raise CannotHold(f"a set of {self.name} parts is edited where it is", "-i, or convert it, say to .safetensors")
        for file, patch in found.items():
            if patch.changes:
                yield FileToWrite(file.path, lambda file_layout, file=file: _copy(file, file_layout), patch)  # type: ignore[misc]

    def _patches(self, checkpoint: Checkpoint) -> Mapping[File, Patch]:
        from ..patching import changed_storages
        from .set_patch import patches

        read = checkpoint.origin.read if checkpoint.origin and self.is_origin_of(checkpoint) else None
        pairs = changed_storages(checkpoint) if read else None
        if pairs and self.frozen:
            raise CannotHold(self.frozen, "convert it, say to .safetensors, and edit that")
        found = patches(read.tensors, pairs) if read and pairs is not None and isinstance(read.tensors, Wholes) else None
        if found is None:
            raise CannotHold(
                f"of a set of {self.name} parts values alone are edited: names, shapes and dtypes are those of its program",
                "convert it, say to .safetensors, and edit that",
            )
        return found


def open_part(path: str, main: File | None = None) -> Checkpoint:
    """The checkpoint in one part, by its own format. `main`: the first part, which is open already."""
    with about(path):
        file = main if main is not None and os.path.realpath(main.path) == os.path.realpath(path) else open_file(path)
        form = next((form for form in formats.built_in() if not isinstance(form, SeveralFiles) and form.sniff(file)), None)
        if form is None:
            raise unknown_error(file)
        part = form.read(file)
    return part.replacing(origin=Origin(form.name, file, part))


def file_of(part: Checkpoint) -> File:
    """The file of a part that `open_part` opened."""
    if part.origin is None:
        raise Malformed("a part was read from no file")
    return part.origin.file


def missing_part(folder: str, name: str, of: int) -> Malformed:
    """The error for a part that is not there."""
    return Malformed(f"part {name} of {of} is missing", "download or copy it, too; each part opens by its own path", folder)


def _copy(file: File, file_layout: FileLayout) -> None:
    file_layout.put(Extent(file, 0, file.size))
