"""A patch: the few bytes that turn a file into its edited self, where names, dtypes and shapes stay what they are."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple
from zlib import crc32

from ..storage.checksums import CRC32, Crc
from ..storage.combined import Combined
from ..storage.file import File
from ..storage.mapped import Mapped
from ..storage.sequential import Drawn
from ..storage.storage import Extent, Fill, Memory, Overlay, Slice, Storage
from ..storage.strides import Scattered, runs
from ..storage.workers import BLOCK
from .layout import FileLayout, Placed

_NEAR = 4096  # runs that are closer are one change: a disk writes whole pages
_AT_ONCE = 16 << 20  # bytes that are held
_MOST = 4096  # runs; more of them are one change from the first to the last


class Change(NamedTuple):
    """`contents` in place of what the file holds from offset `at` on."""

    at: int
    contents: Storage

    @property
    def stop(self) -> int:
        """The offset behind it."""
        return self.at + self.contents.nbytes


class Checksum(NamedTuple):
    """The CRC-32 of the bytes [start, stop) of the file, kept little-endian at each of `places`."""

    start: int
    stop: int
    value: int
    places: Sequence[int]


class Patch(NamedTuple):
    """What turns a file into its edited self.

    Attributes:
        file: The file as it was read.
        changes: Disjoint, and in file order.
        checksums: The checksums that the file keeps of bytes that change.
    """

    file: File
    changes: list[Change]
    checksums: list[Checksum]

    @property
    def nbytes(self) -> int:
        """The bytes that change."""
        return sum(change.contents.nbytes for change in self.changes)

    @property
    def grows(self) -> bool:
        """Whether the file becomes longer."""
        return bool(self.changes) and self.changes[-1].stop > self.file.size

    def covered(self) -> Iterator[tuple[Checksum | None, Change]]:
        """Each change with the checksum over it."""
        by_start = sorted(self.checksums)
        at = 0
        for change in self.changes:
            while at < len(by_start) and by_start[at].stop < change.stop:
                at += 1
            over = at < len(by_start) and by_start[at].start <= change.at
            yield (by_start[at] if over else None), change


def changes(at: int, before: Storage, after: Storage) -> Iterator[Change]:
    """The changes of the file where `before`, which lies at offset `at`, becomes `after`."""
    if isinstance(after, Overlay) and after.of is before:
        yield Change(at + after.offset, after.contents)
        return
    for start, stop in differing(before, after):
        yield Change(at + start, after if stop - start == after.nbytes else Slice(after, start, stop - start))


def of_extents(pairs: Sequence[tuple[Storage, Storage]]) -> list[Change] | None:
    """The changes, in file order, that replace storages of a file by others.

    Args:
        pairs: Each old storage with the new one.

    Returns:
        The changes; None where one of the old storages is no run of the file's bytes.
    """
    result: list[Change] = []
    for before, after in pairs:
        if not isinstance(before, Extent):
            return None
        result += changes(before.place(), before, after)
    return sorted(result, key=lambda change: change.at)


def differing(before: Storage, after: Storage) -> list[tuple[int, int]]:
    """The runs of bytes [start, stop) in which two storages may differ, by what `after` is made of: none of it is read."""
    if after is before:
        return []
    if isinstance(after, Overlay):
        return _merged([*differing(before, after.of), (after.offset, after.offset + after.contents.nbytes)])
    if isinstance(after, Scattered):
        view = after.view
        changed = [(at * view.size, (at + n) * view.size) for at, n in runs(view.shape, view.strides, view.offset, limit=_MOST)]
        if sum(stop - start for start, stop in changed) == view.nbytes:
            return _merged([*differing(before, after.of), *changed])
    return [(0, after.nbytes)] if after.nbytes else []


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The runs in order; what is nearer than a page is one."""
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(spans):
        if merged and start <= merged[-1][1] + _NEAR:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        elif stop > start:
            merged.append((start, stop))
    return merged


def in_place(patch: Patch, changing: Collection[tuple[int, ...]] = ()) -> Patch | None:
    """The patch, fit to be written over the file that its contents are read from; None where that would take much memory.

    A change that is made of other bytes of the file than those that it replaces is read now, before any byte is written, and so is one
    that is made of another file of the edit: `changing` has the identities of those that are overwritten.
    """
    others = {identity for identity in changing if identity != patch.file.identity}
    room, safe = _AT_ONCE, []
    for change in patch.changes:
        if not _stays(change.contents, patch.file, change.at, others):
            room -= change.contents.nbytes
            if room < 0:
                return None
            change = Change(change.at, Memory(change.contents.read()))
        safe.append(change)
    return patch._replace(changes=safe)


def _stays(storage: Storage, file: File, at: int, others: Collection[tuple[int, ...]]) -> bool:
    """Whether a byte of `storage`, to be written to `at`, is made of no byte of `file` or of `others` but the one that it replaces."""
    if isinstance(storage, Extent):
        return storage.file.identity not in others and (storage.file.identity != file.identity or storage.place() == at)
    if isinstance(storage, Slice):
        return _stays(storage.of, file, at - storage.offset, others)
    if isinstance(storage, Overlay):
        return _stays(storage.of, file, at, others) and _stays(storage.contents, file, at + storage.offset, others)
    if isinstance(storage, Mapped):
        return storage.before == storage.after and _stays(storage.of, file, at, others)
    if isinstance(storage, Combined):
        return all(width == storage.size and _stays(source, file, at, others) for source, width in storage.sources)
    return isinstance(storage, (Memory, Fill)) or (isinstance(storage, Drawn) and storage.portable())


def copy(patch: Patch, file_layout: FileLayout) -> None:
    """Write the edited file anew: what stays is shared with the old one, or copied in the kernel; what changes is written once."""
    places = placed(patch, file_layout) if file_layout.clone(patch.file) else _between_copies(patch, file_layout)
    file_layout.settle()
    for at, contents in mended(patch, [place.crc for place in places]):
        file_layout.fill(at, contents.read())


def placed(patch: Patch, file_layout: FileLayout) -> list[Placed]:
    """Place the changes, each over what is there."""
    return [file_layout.place(change.at, change.contents, CRC32 if checksum else None) for checksum, change in patch.covered()]


def _between_copies(patch: Patch, file_layout: FileLayout) -> list[Placed]:
    """Lay out the changes, and between them what stays of the old file."""
    at, places = 0, []
    for checksum, change in patch.covered():
        file_layout.put(Extent(patch.file, at, change.at - at))
        places.append(file_layout.put(change.contents, CRC32 if checksum else None))
        at = change.stop
    if at < patch.file.size:
        file_layout.put(Extent(patch.file, at, patch.file.size - at))
    return places


def mended(patch: Patch, new: Sequence[int]) -> list[Change]:
    """The checksums brought up to date, as changes of their own.

    Args:
        patch: Its file is as it was wherever a change is not all of what its checksum covers: those old bytes are read.
        new: The CRC-32 of each change.
    """
    values: dict[Checksum, int] = {}
    for (checksum, change), crc in zip(patch.covered(), new, strict=True):
        if checksum is None:
            continue
        if (change.at, change.stop) == (checksum.start, checksum.stop):
            values[checksum] = crc
        else:
            before = crc_of(Extent(patch.file, change.at, change.contents.nbytes), CRC32)
            values[checksum] = CRC32.exchanged(values.get(checksum, checksum.value), before, crc, checksum.stop - change.stop)
    return [Change(place, Memory(value.to_bytes(4, "little"))) for checksum, value in values.items() for place in checksum.places]


class PatchChecksums(NamedTuple):
    """What is known of a change before it is written.

    Attributes:
        crc: The CRC-32 of all its bytes.
        kept: What a journal keeps of them: all, or the CRC-32 of each piece, 4 bytes little-endian, one after another.
    """

    crc: int
    kept: bytes


def checksums_of(change: Change, size: int, held: int) -> PatchChecksums:
    """The checksums of a change.

    Args:
        change: The change.
        size: A piece ends where the offset in the file is a multiple of so many bytes, and where a block that is written ends.
        held: A change of up to so many bytes is kept itself.
    """
    if change.contents.nbytes <= held:
        data = change.contents.read()
        return PatchChecksums(crc32(data), data)
    whole, pieces, at = 0, bytearray(), change.at
    for block in change.contents.blocks(BLOCK):
        whole = crc32(block, whole)
        while block:
            part = block[: size - at % size]
            pieces += crc32(part).to_bytes(4, "little")
            at, block = at + len(part), block[len(part) :]
    return PatchChecksums(whole, bytes(pieces))


def crc_of(storage: Storage, sums: Crc) -> int:
    """The checksum, of the kind `sums`, of all bytes of a storage."""
    crc = 0
    for block in storage.blocks():
        crc = sums.update(block, crc)
    return crc
