"""A GGUF in parts, as llama.cpp's gguf-split makes them: their folder is one checkpoint, a part by its own path is that part alone.

Peculiarities (names and key/values are those of parts.py):
- There is no index: the names say how many parts there are.
- Written: all key/values in the first part; each part has tensors up to a size, and at least one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from ...errors import CannotHold, Malformed, about
from ...storage.file import File
from ...tensors.checkpoint import Checkpoint
from ...tensors.tensor import Tensor
from .. import Patcher, Savable, SeveralFiles, Writer, formats
from .part_names import COUNT, NUMBER, TENSORS, PartName, part_name

if TYPE_CHECKING:
    from ...disk.file_to_write import FileToWrite
    from ...disk.layout import FileLayout

_PART_SIZE = 5_000_000_000  # bytes
_MOST_PARTS = 0xFFFF  # split.count is a uint16


class GgufSplit(SeveralFiles, Writer, Patcher):
    """Sets of GGUF files; the first of them stands for all."""

    name = "gguf-split"
    title = "GGUF in parts (gguf-split)"
    called = "GGUF"
    metadata = objects = edits_metadata = True

    def __init__(self, part_size: int | None = None) -> None:
        """`part_size`: the most bytes of tensors in one part of a new set; None keeps the parts that there are."""
        self.part_size = part_size

    def is_called(self, path: str) -> bool:
        """Whether a file is called as the first part of several is."""
        name = part_name(path)
        return name is not None and name.number == 1 and name.total > 1

    def locate(self, path: str) -> str | None:
        """The first part of the set in the folder `path`, where that is the only GGUF in it."""
        names = [name for name in os.listdir(path) if name.endswith(".gguf")] if os.path.isdir(path) else []
        parts = [part_name(os.path.join(path, name)) for name in names]
        sets = {part._replace(number=1) if part else None for part in parts}
        found = sets.pop() if len(sets) == 1 else None
        if found is None or found.total == 1:
            return None
        if not os.path.lexists(found.path(1)):
            what = f"part 1 of {found.total} is missing: {os.path.basename(found.path(1))}"
            raise Malformed(what, "download or copy it, too, or give one of the parts", path)
        return found.path(1)

    def sniff(self, file: File) -> bool:
        """GGUF's magic, in the first of several parts for which a folder was given."""
        return bool(file.stands_for) and file.head[:4] == b"GGUF" and self.is_called(file.path)

    def read(self, file: File) -> Checkpoint:
        """The tensors of all parts; the key/values of the first one."""
        from .parts import read_parts  # it takes the header, which a folder without GGUF does not

        return read_parts(file)

    def divided(self, size: int) -> Savable | None:
        """Parts of another size."""
        return GgufSplit(size)

    def main_file(self, path: str, checkpoint: Checkpoint | None = None) -> str:
        """The first part, whose name says how many there will be."""
        if checkpoint is None or not self._is_new(checkpoint, path):
            return path
        with about(path):
            return next(iter(self._new_parts(checkpoint, path)))

    def check_place(self, checkpoint: Checkpoint) -> None:
        """Raise CannotHold for what a GGUF has no place for."""
        form = formats["gguf"]
        if isinstance(form, Savable):
            form.check_place(checkpoint)

    def new_entry(self, text: str) -> str:
        """A number or a boolean of its type, else a text."""
        from .header_writing import Typed

        return Typed.of(text)

    def objects_to_write(self, checkpoint: Checkpoint) -> Iterable[str]:
        """The arrays that were read from a GGUF."""
        form = formats["gguf"]
        return form.objects_to_write(checkpoint) if isinstance(form, Savable) else ()

    def files_to_write(self, checkpoint: Checkpoint, path: str) -> Iterator[FileToWrite]:
        """The parts that changed, where the set is edited in its place; else all parts."""
        from .parts import edited_parts

        form = formats["gguf"]
        if self._is_new(checkpoint, path):
            yield from self._files_of_new(checkpoint, path)
        elif isinstance(form, Savable):
            for file, part in edited_parts(checkpoint).items():
                if part.origin and (part.origin.read.tensors is not part.tensors or part.metadata is not part.origin.read.metadata):
                    yield form.file_to_write(part, os.path.join(os.path.dirname(path), file))

    def files_read(self, checkpoint: Checkpoint) -> list[File]:
        """All parts."""
        from .parts import WholeHeader

        parts = checkpoint.rest.parts.values() if isinstance(checkpoint.rest, WholeHeader) else ()
        return [part.origin.file for part in parts if part.origin]

    def _is_new(self, checkpoint: Checkpoint, path: str) -> bool:
        """Whether a set is written that is not the one that was read, in its place and its parts."""
        same = self.is_origin_of(checkpoint) and checkpoint.origin and os.path.realpath(path) == os.path.realpath(checkpoint.origin.path)
        return not same or self.part_size is not None

    def _files_of_new(self, checkpoint: Checkpoint, path: str) -> Iterator[FileToWrite]:
        """The parts of a new set."""
        from ...disk.file_to_write import FileToWrite
        from .format_gguf import frame_of, pairs_of, write_file
        from .header_writing import encoded_number

        frame, pairs = frame_of(checkpoint), pairs_of(checkpoint.replacing(metadata=_plain(checkpoint.metadata)))
        parts = self._new_parts(checkpoint, path)
        later = [encoded_number("general.alignment", 4, frame.alignment, frame.order)] if frame.alignment != 32 else []
        for number, (file, tensors) in enumerate(parts.items()):
            own = [
                encoded_number(NUMBER, 2, number, frame.order),
                encoded_number(COUNT, 2, len(parts), frame.order),
                encoded_number(TENSORS, 5, len(checkpoint), frame.order),
            ]

            def write(
                file_layout: FileLayout, tensors: Mapping[str, Tensor] = tensors, pairs: list[bytes] = (later if number else pairs) + own
            ) -> None:
                write_file(tensors, pairs, frame, file_layout)

            yield FileToWrite(file, write)

    def _new_parts(self, checkpoint: Checkpoint, path: str) -> dict[str, dict[str, Tensor]]:
        """The tensors of each part of a new set, by its path. Raises CannotHold."""
        groups = self._groups(checkpoint)
        name = part_name(path)
        if name and self.part_size is None and name.total != len(groups):
            raise CannotHold(f"the name says {name.total} parts, and there would be {len(groups)}", "give PREFIX.gguf and --shard-size")
        if len(groups) > _MOST_PARTS:
            raise CannotHold(f"{len(groups):,} parts are more than {_MOST_PARTS:,}", "give a larger --shard-size")
        new = PartName(name.prefix if name else path.removesuffix(".gguf"), 1, len(groups))
        return {new.path(number): group for number, group in enumerate(groups, 1)}

    def _groups(self, checkpoint: Checkpoint) -> list[dict[str, Tensor]]:
        """The tensors of each part: as they lie in the parts that were read, or up to a size."""
        from .parts import WholeHeader, edited_parts

        if self.part_size is None and isinstance(checkpoint.rest, WholeHeader):
            return [dict(part.tensors) for part in edited_parts(checkpoint).values()]
        groups: list[dict[str, Tensor]] = [{}]
        room = size = self.part_size or _PART_SIZE
        for name, tensor in checkpoint.items():
            if groups[-1] and tensor.nbytes > room:
                groups.append({})
                room = size
            groups[-1][name] = tensor
            room -= tensor.nbytes
        return groups


def _plain(metadata: Mapping[str, str]) -> dict[str, str]:
    """The metadata without what says that a file is a part."""
    return {key: text for key, text in metadata.items() if key not in (NUMBER, COUNT, TENSORS)}


formats.add(GgufSplit.name, GgufSplit())
