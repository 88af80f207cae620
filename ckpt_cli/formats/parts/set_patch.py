"""Edits of the values of a set of parts in place: what changes in each file, in every copy of what several files hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from ...disk.patch import Change, Patch, differing
from ...storage.file import File
from ...storage.storage import Extent, Storage
from ...storage.tiles import tile
from ..encodings.zip import Member
from ..encodings.zip_patch import checksum
from ..tile_patch import tile_changes
from .wholes import Whole, Wholes


def patches(wholes: Wholes, pairs: Sequence[tuple[Storage, Storage]]) -> dict[File, Patch] | None:
    """The patch of every file that changes.

    Args:
        wholes: The tensors of the set.
        pairs: Their storages before and after the edit.

    Returns:
        None where a tensor is not made of bytes that its files keep as they are, or where bytes belong to several tensors.
    """
    by_file: dict[File, list[Change]] = {}
    members: dict[File, dict[Member, None]] = {}
    for before, after in pairs:
        whole = wholes.of.get(before)
        if whole is None:
            return None
        for file, extent, changed in _changes(whole, before, after):
            if extent is None:
                return None
            by_file.setdefault(file, []).extend(changed)
            if isinstance(extent, Member) and extent.crc and changed:
                members.setdefault(file, {})[extent] = None
    ordered = {file: sorted(found, key=lambda change: change.at) for file, found in by_file.items()}
    if any(one.stop > two.at for found in ordered.values() for one, two in pairwise(found)):
        return None
    return {file: Patch(file, found, [checksum(member) for member in members.get(file, ())]) for file, found in ordered.items()}


def _changes(whole: Whole, before: Storage, after: Storage) -> Iterator[tuple[File, Extent | None, list[Change]]]:
    """For each piece and each copy: its file, the bytes of that file that it lies in, and what changes in them."""
    runs = differing(before, after)
    for piece in (*whole.pieces, *whole.copies):
        storage = piece.tensor.storage
        if not isinstance(storage, Extent):
            yield piece.file, None, []
        elif piece.tensor.numel:
            place = tile(piece.tensor.elements(), whole.kind.dtype.nbytes, whole.frame, piece.box)
            yield piece.file, storage, list(tile_changes(place, piece.tensor, storage, after, runs))
