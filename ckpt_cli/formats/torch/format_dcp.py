"""torch.distributed.checkpoint: a folder that says in `.metadata` what is in it, and where in its `__RANK_N.distcp` files.

    .metadata       a pickle: every tensor with its dtype, shape and chunks; other objects; for each a file, an offset, a length
    __0_0.distcp    items one after another, each as torch.save writes it: a whole zip, whose own offsets count from where it begins

As in torch/distributed/checkpoint (filesystem.py, metadata.py, default_planner.py). Peculiarities:
- A tensor that was sharded lies in boxes, which have to tile it.
- Names are flattened paths (`model.0.weight`); the paths themselves are in `planner_data`.
- There are no ties: what is tied is written twice.
- Written: one file, with one chunk for each tensor. Not read: streams that went through an extension (compressed ones).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ...disk.opening import open_file
from ...errors import Malformed, UnknownFormat, about
from ...storage.file import File
from ...storage.storage import Extent, Storage
from ...tensors.checkpoint import Checkpoint
from .. import HasChecksums, Patcher, SeveralFiles, Writer, formats

if TYPE_CHECKING:
    from ...disk.file_to_write import FileToWrite
    from ...disk.layout import FileLayout
    from ...disk.patch import Patch
    from .dcp_metadata import Metadata, Run

_NAME = ".metadata"
_MOST = 1 << 30  # bytes of .metadata


class DistributedCheckpoint(SeveralFiles, Writer, Patcher, HasChecksums):
    """Folders of `torch.distributed.checkpoint.save`."""

    name = "dcp"
    title = "torch.distributed.checkpoint (a folder)"
    objects = edits_objects = True

    def locate(self, path: str) -> str | None:
        """The metadata of the folder `path`."""
        metadata = os.path.join(path, _NAME)
        return metadata if os.path.isfile(metadata) and self.sniff(open_file(metadata)) else None

    def part_error(self, path: str) -> UnknownFormat | None:
        """The error for a `.distcp` file beside metadata."""
        folder = os.path.dirname(path)
        if not path.endswith(".distcp") or not os.path.isfile(os.path.join(folder, _NAME)):
            return None
        return UnknownFormat("this is a part of a distributed checkpoint, which is the folder", f"give {folder or '.'}")

    def sniff(self, file: File) -> bool:
        """A pickle whose first global is that of the metadata."""
        return file.head[:1] == b"\x80" and b"torch.distributed.checkpoint.metadata" in file.head[:64]

    def read(self, file: File) -> Checkpoint:
        """The tensors and the objects that the metadata list; of the other files nothing is read."""
        from .dcp_metadata import metadata_of
        from .dcp_tensors import Objects, Tensors, UndecodedObjects

        if file.size > _MOST:
            raise Malformed(f"the metadata have {file.size:,} bytes; over {_MOST:,} are not read")
        folder = os.path.dirname(os.path.abspath(file.path))
        listed = metadata_of(file.read(0, file.size), lambda name: _open(folder, name))
        return Checkpoint(Tensors(listed), objects=Objects(listed.objects), rest=listed, undecoded=UndecodedObjects(listed.objects))

    def main_file(self, path: str, checkpoint: Checkpoint | None = None) -> str:
        """The metadata in the folder `path`, or `path` itself where it is that."""
        return path if os.path.basename(path) == _NAME else os.path.join(path, _NAME)

    def objects_to_write(self, checkpoint: Checkpoint) -> Iterable[str]:
        """All that were read from such a folder, and plain values from elsewhere."""
        from .dcp_writing import written_objects

        return written_objects(checkpoint)

    def files_to_write(self, checkpoint: Checkpoint, path: str) -> Iterator[FileToWrite]:
        """The files with the values that changed, patched; where more than values changed, one file of all data and the metadata, anew."""
        from ...disk.file_to_write import FileToWrite

        main = self.main_file(path)
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

    def check_place(self, checkpoint: Checkpoint) -> None:
        """Raise CannotHold for a tensor whose dtype torch does not have."""
        from .tensor_nodes import check_dtypes

        check_dtypes(dict(checkpoint.items()))

    def files_to_remove(self, checkpoint: Checkpoint, path: str) -> list[str]:
        """The files of the other ranks, where all data are written into one."""
        origin = checkpoint.origin
        if origin is None or os.path.realpath(self.main_file(path)) != os.path.realpath(origin.path):
            return []
        if self._patches(checkpoint) is not None:
            return []
        from .dcp_writing import NewFiles

        return [file.path for file in self.files_read(checkpoint)[1:] if os.path.basename(file.path) != NewFiles.file_name]

    def _patches(self, checkpoint: Checkpoint) -> Mapping[File, Patch] | None:
        """The patch of each file that was read; None where more than values changed."""
        from ..patching import changed_storages

        pairs = changed_storages(checkpoint) if self.is_origin_of(checkpoint) else None
        if pairs is None:
            return None
        from .dcp_patch import patches

        return patches(self.files_read(checkpoint), pairs)

    def checksummed(self, checkpoint: Checkpoint) -> Iterable[tuple[str, Storage]]:
        """The members of the zip that each item is."""
        from ..encodings import zip as zips

        for run in _runs(checkpoint):
            yield from zips.within(*run).items()

    def files_read(self, checkpoint: Checkpoint) -> list[File]:
        """The metadata, then the files that they name."""
        return super().files_read(checkpoint) + list(dict.fromkeys(run.file for run in _runs(checkpoint)))


def _runs(checkpoint: Checkpoint) -> list[Run]:
    """Where the items lie: the chunks of all tensors, then the objects."""
    listed: Metadata | Any = checkpoint.rest
    return [chunk.run for chunks in listed.chunks.values() for chunk in chunks] + list(listed.objects.values())


def _open(folder: str, name: str) -> File:
    """The file `name`, which the metadata say and which must lie beside them. Raises Malformed."""
    odd = name in ("", ".", "..") or name != os.path.basename(name) or any("\ud800" <= c <= "\udfff" or c in "\\\0" for c in name)
    if odd:
        raise Malformed(f"the metadata name the file {name!r}, which is no plain file name")
    path = os.path.join(folder, name)
    if os.path.islink(path) and not _inside(os.path.realpath(path), os.path.realpath(folder)):
        raise Malformed(f"the file {name!r} is a link that leads out of the folder")
    with about(path):
        return open_file(path)


def _inside(target: str, folder: str) -> bool:
    """Whether a link's target lies beside the metadata, or among the blobs of the hub's cache (snapshots/REVISION/… → blobs/…)."""
    cache, in_cache, _ = folder.partition(f"{os.sep}snapshots{os.sep}")
    return os.path.dirname(target) in (folder, os.path.join(cache, "blobs") if in_cache else folder)


def _copy(file: File, file_layout: FileLayout) -> None:
    file_layout.put(Extent(file, 0, file.size))


formats.add(DistributedCheckpoint.name, DistributedCheckpoint())
