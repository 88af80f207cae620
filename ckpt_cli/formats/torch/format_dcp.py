"""torch.distributed.checkpoint: a folder that says in `.metadata` what is in it, and where in its `__RANK_N.distcp` files.

    .metadata       a pickle: every tensor with its dtype, shape and chunks; other objects; for each a file, an offset, a length
    __0_0.distcp    items one after another, each as torch.save writes it: a whole zip, whose own offsets count from where it begins

As in torch/distributed/checkpoint (filesystem.py, metadata.py, default_planner.py). Peculiarities: a tensor that was sharded lies in boxes,
which have to tile it; names are the flattened paths (`model.0.weight`), the paths themselves are `planner_data`; there are no ties, what
is tied is written twice. Written: one file, one chunk a tensor. Not read: streams that went through an extension (compressed).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ...errors import Malformed, about
from ...storage.file import File
from ...storage.storage import Extent
from ...tensors.checkpoint import Checkpoint
from .. import Format, changed_storages, formats

if TYPE_CHECKING:
    from ...disk.layout import FileLayout
    from ...disk.patch import Patch
    from ...disk.saving import FileToWrite
    from ..encodings.zip import Member
    from .dcp_metadata import Metadata

_NAME = ".metadata"
_MOST = 1 << 30  # bytes of .metadata


class DistributedCheckpoint(Format):
    name = "dcp"
    title = "torch.distributed.checkpoint (a folder)"
    patches = objects = True

    def find(self, path: str) -> str | None:
        inside = os.path.join(path, _NAME)
        return inside if os.path.isfile(inside) and self.sniff(File(inside)) else None

    def sniff(self, file: File) -> bool:
        return file.head[:1] == b"\x80" and b"torch.distributed.checkpoint.metadata" in file.head[:64]

    def read(self, file: File) -> Checkpoint:
        from ...storage.descriptors import allow_many
        from .dcp_metadata import metadata_of
        from .dcp_tensors import Objects, Tensors

        if file.size > _MOST:
            raise Malformed(f"the metadata have {file.size:,} bytes; over {_MOST:,} are not read")
        allow_many()
        folder = os.path.dirname(os.path.abspath(file.path))
        found = metadata_of(file.read(0, file.size), lambda name: _opened(folder, name))
        return Checkpoint(Tensors(found), objects=Objects(found.objects), rest=found)

    def main(self, path: str) -> str:
        return path if os.path.basename(path) == _NAME else os.path.join(path, _NAME)

    def carried(self, checkpoint: Checkpoint) -> Iterable[str]:
        """Its own, and plain values of others'."""
        from .dcp_writing import written_objects

        return written_objects(checkpoint)

    def outputs(self, checkpoint: Checkpoint, path: str) -> Iterator[FileToWrite]:
        """Copies of the files with the values that changed; where more than values did, one file and the metadata, anew."""
        from ...disk.saving import FileToWrite

        main = self.main(path)
        patches = self._patches(checkpoint)
        if patches is not None and checkpoint.origin:
            same_place = os.path.realpath(main) == os.path.realpath(checkpoint.origin.path)
            for file, patch in patches.items():
                if patch.changes or not same_place:
                    target = os.path.join(os.path.dirname(main), os.path.basename(file.path))
                    yield FileToWrite(target, lambda file_layout, file=file: _copy(file, file_layout), patch)  # type: ignore[misc]
            return
        from .dcp_writing import NewFiles

        writing = NewFiles(checkpoint)
        yield FileToWrite(os.path.join(os.path.dirname(main), writing.file_name), writing.data)
        yield FileToWrite(main, lambda file_layout: file_layout.write(writing.metadata()))

    def check(self, checkpoint: Checkpoint) -> None:
        from .tensor_nodes import check_dtypes

        check_dtypes(dict(checkpoint.items()))

    def emptied(self, checkpoint: Checkpoint, path: str) -> list[str]:
        """The files of other ranks, where all is in one now."""
        origin = checkpoint.origin
        if origin is None or os.path.realpath(self.main(path)) != os.path.realpath(origin.path) or self._patches(checkpoint) is not None:
            return []
        from .dcp_writing import NewFiles

        return [file.path for file in self.parts(checkpoint)[1:] if os.path.basename(file.path) != NewFiles.file_name]

    def _patches(self, checkpoint: Checkpoint) -> Mapping[File, Patch] | None:
        """What changes in each file, where nothing but values does."""
        if checkpoint.origin is None or checkpoint.origin.format != self.name:
            return None
        pairs = changed_storages(checkpoint)
        if pairs is None:
            return None
        from .dcp_patch import patches

        return patches(self.parts(checkpoint), pairs)

    def archives(self, checkpoint: Checkpoint) -> Iterator[Mapping[str, Member]]:
        from ..encodings import zip as zips

        found: Metadata | Any = checkpoint.rest
        for run in [*(chunk.run for chunks in found.chunks.values() for chunk in chunks), *found.objects.values()]:
            yield zips.within(*run)

    def parts(self, checkpoint: Checkpoint) -> list[File]:
        found: Metadata | Any = checkpoint.rest
        runs = [chunk.run for chunks in found.chunks.values() for chunk in chunks] + list(found.objects.values())
        return super().parts(checkpoint) + list(dict.fromkeys(run.file for run in runs))


def _opened(folder: str, name: str) -> File:
    """The file that the metadata name, which must lie beside them."""
    odd = name in ("", ".", "..") or name != os.path.basename(name) or any("\ud800" <= c <= "\udfff" or c in "\\\0" for c in name)
    if odd:
        raise Malformed(f"the metadata name the file {name!r}, which is no plain file name")
    path = os.path.join(folder, name)
    if os.path.islink(path) and not _inside(os.path.realpath(path), os.path.realpath(folder)):
        raise Malformed(f"the file {name!r} is a link that leads out of the folder")
    with about(path):
        return File(path)


def _inside(target: str, folder: str) -> bool:
    """Beside the metadata, or among the blobs of the hub's cache (snapshots/REVISION/… → blobs/…)."""
    cache, found, _ = folder.partition(f"{os.sep}snapshots{os.sep}")
    return os.path.dirname(target) in (folder, os.path.join(cache, "blobs") if found else folder)


def _copy(file: File, file_layout: FileLayout) -> None:
    file_layout.put(Extent(file, 0, file.size))


formats.add(DistributedCheckpoint.name, DistributedCheckpoint())
