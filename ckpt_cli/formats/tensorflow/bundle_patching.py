"""Patches tensor bundles: where nothing but values changed, the data files and the index keep their layout.

The checksum of a changed tensor is replaced in its entry of the index, and so is the checksum of the block around the entry.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence

from ...disk.file_to_write import FileToWrite
from ...disk.patch import Change, Patch, changes, crc_of
from ...storage.crc32c import CRC32C
from ...storage.storage import Extent, Slice, Storage
from ...storage.tiles import Tiled
from ...tensors.checkpoint import Checkpoint
from .bundle import Bundle, data_path
from .sstable import Block, ChecksummedExtent, masked

Pairs = Sequence[tuple[Storage, Storage]]  # storages that were replaced, before and after
Changes = Mapping[ChecksummedExtent, list[Change]]  # the bytes of an entry → what changes in them


def patched(checkpoint: Checkpoint, pairs: Pairs | None, path: str) -> list[FileToWrite] | None:
    """Return the files of the bundle at `path` as patches of those that were read.

    Args:
        checkpoint: The edited checkpoint.
        pairs: The storages that were replaced, before and after; None where more than values changed.
        path: The index. Where it is the one that was read, files in which nothing changes are left out.

    Returns:
        None where only a rebuild gives the files.
    """
    bundle = checkpoint.rest
    changed = _changes(bundle, pairs) if isinstance(bundle, Bundle) else None
    if changed is None:
        return None
    in_place = os.path.realpath(path) == os.path.realpath(bundle.file.path)
    files = []
    for shard, file in sorted(bundle.files.items()):
        inside = sorted((change for extent in changed if extent.file is file for change in changed[extent]), key=lambda change: change.at)
        if inside or not in_place:
            files.append(_patched_file(data_path(path, shard, bundle.shards), Patch(file, inside, [])))
    if in_place and not files:
        return []
    return [*files, _patched_file(path, Patch(bundle.file, _IndexChecksums(bundle, changed).changes(), []))]


def superseded(checkpoint: Checkpoint, pairs: Pairs | None) -> list[str]:
    """Return the data files that are not part of the edited bundle once it is rebuilt in the same place."""
    bundle = checkpoint.rest
    if not isinstance(bundle, Bundle) or bundle.shards == 1 or _changes(bundle, pairs) is not None:
        return []
    return [path for shard in range(bundle.shards) if os.path.isfile(path := data_path(bundle.file.path, shard, bundle.shards))]


def _patched_file(path: str, patch: Patch) -> FileToWrite:
    return FileToWrite(path, lambda file_layout: None, patch)


def _changes(bundle: Bundle, pairs: Pairs | None) -> Changes | None:
    """Return what changes in the data files; None where more than values changed, or the index has no place for a checksum."""
    if pairs is None:
        return None
    changed: dict[ChecksummedExtent, list[Change]] = {}
    for before, after in pairs:
        for extent, change in _changes_of(before, after):
            changed.setdefault(extent, []).append(change)
    if any(bundle.entries[key].crc_at < 0 for extent in changed for key in bundle.holders[extent]):
        return None
    return changed


def _changes_of(before: Storage, after: Storage) -> Iterator[tuple[ChecksummedExtent, Change]]:
    """Yield what changes in the bytes of entries where `before` becomes `after`."""
    if isinstance(before, ChecksummedExtent):
        yield from ((before, change) for change in changes(before.place(), before, after))
    elif isinstance(before, Tiled):
        seen = set()
        for change in changes(0, before, after):
            for tile, low, high in before.covering(change.at, change.stop):
                stored = tile.storage
                if isinstance(stored, ChecksummedExtent) and (stored, low) not in seen:
                    contents = Slice(after, tile.offset + low, high - low) if tile.rows == 1 else tile.gathered_from(after)
                    seen.add((stored, low))
                    yield stored, Change(stored.place() + low, contents)


class _IndexChecksums:
    """The checksums of changed entries, and of the blocks of the index that hold them: computed together when one is asked for."""

    def __init__(self, bundle: Bundle, changed: Changes) -> None:
        self.bundle, self.changed = bundle, changed
        self.entries = [bundle.entries[key] for extent in changed for key in bundle.holders[extent]]
        self._computed: dict[int, bytes] = {}

    def changes(self) -> list[Change]:
        places = [entry.crc_at for entry in self.entries] + [block.crc_at for block in {entry.block for entry in self.entries}]
        return [Change(at, _LateChecksum(self.computed, at)) for at in sorted(places)]

    def computed(self) -> dict[int, bytes]:
        """Return the four bytes that go to each place of the index."""
        if not self._computed and self.entries:
            for extent, changed in self.changed.items():
                value = masked(_crc_of_changed(extent, changed)).to_bytes(4, "little")
                self._computed |= {self.bundle.entries[key].crc_at: value for key in self.bundle.holders[extent]}
            for block in {entry.block for entry in self.entries}:
                self._computed[block.crc_at] = self._block(block)
        return self._computed

    def _block(self, block: Block) -> bytes:
        data = bytearray(block.file.read(block.at, block.nbytes + 1))
        for at, value in self._computed.items():
            if block.at <= at < block.at + block.nbytes:
                data[at - block.at : at - block.at + 4] = value
        return masked(CRC32C.of(data)).to_bytes(4, "little")


def _crc_of_changed(extent: ChecksummedExtent, changed: list[Change]) -> int:
    """Return the CRC-32C of `extent` after the changes; bytes that stay are not read."""
    crc = extent.crc or 0
    for change in changed:
        new = crc_of(change.contents, CRC32C)
        if change.contents.nbytes == extent.nbytes:
            return new
        old = crc_of(Extent(extent.file, change.at, change.contents.nbytes), CRC32C)
        crc = CRC32C.exchanged(crc, old, new, extent.place() + extent.nbytes - change.stop)
    return crc


class _LateChecksum(Storage):
    """Four bytes that are known once the data were read."""

    __slots__ = ("at", "compute")

    def __init__(self, compute: Callable[[], Mapping[int, bytes]], at: int) -> None:
        self.compute, self.at, self.nbytes = compute, at, 4

    def portable(self) -> bool:
        return False

    def readinto(self, start: int, view: memoryview) -> None:
        view[:] = self.compute()[self.at][start : start + len(view)]
