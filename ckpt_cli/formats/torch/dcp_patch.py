"""Edits of the values of a torch.distributed.checkpoint in place: what changes in each of its files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...disk.patch import Change, Checksum, Patch, changes, differing
from ...storage.file import File
from ...storage.storage import Storage
from ...storage.tiles import Tile, Tiled
from ...tensors.tensor import Tensor
from ..encodings.zip import Member
from ..encodings.zip_patch import checksum
from ..tile_patch import tile_changes
from .dcp_tensors import ChunkStorage


def patches(files: Sequence[File], pairs: Sequence[tuple[Storage, Storage]]) -> dict[File, Patch] | None:
    """The patch of every file.

    Args:
        files: The files of the checkpoint.
        pairs: The storages of its tensors before and after the edit.

    Returns:
        None where a tensor is not made of bytes that a file keeps as they are.
    """
    by_file: dict[File, list[Change]] = {file: [] for file in files}
    checksums: dict[File, list[Checksum]] = {file: [] for file in files}
    for before, after in pairs:
        if not all(isinstance(storage, Member) for storage in _members(before)):
            return None
        for member, changed in _changes(before, after):
            by_file[member.file] += changed
            if member.crc and changed:
                checksums[member.file].append(checksum(member))
    return {file: Patch(file, sorted(by_file[file], key=lambda change: change.at), checksums[file]) for file in files}


def _members(storage: Storage) -> list[Storage]:
    """The storages in the zips. Those of a file of the other byte order are no members: their bytes are swapped."""
    return [tensor.storage for _, tensor in _boxes(storage)] if isinstance(storage, Tiled) else [storage]


def _boxes(whole: Tiled) -> list[tuple[Tile, Tensor]]:
    """Each chunk and the view that its zip holds."""
    return [(tile, tile.storage.tensor) for tile in whole.tiles if isinstance(tile.storage, ChunkStorage)]


def _changes(before: Storage, after: Storage) -> Iterator[tuple[Member, list[Change]]]:
    """The members that an edit of one storage changes, and how."""
    if isinstance(before, Member):
        yield before, list(changes(before.place(), before, after))
    elif isinstance(before, Tiled):
        runs = differing(before, after)
        for tile, tensor in _boxes(before):
            if isinstance(tensor.storage, Member):
                yield tensor.storage, list(tile_changes(tile, tensor, tensor.storage, after, runs))
