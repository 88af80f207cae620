"""A patch: the few bytes that turn a file into its edited self, where names, dtypes and shapes stay what they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple
from zlib import crc32

from ..storage.checksums import CRC32, Crc
from ..storage.file import File
from ..storage.mapped import Mapped
from ..storage.sequential import Drawn
from ..storage.storage import Extent, Fill, Memory, Overlay, Slice, Storage
from ..storage.strides import Scattered, runs
from .layout import FileLayout, Placed

_NEAR = 4096  # runs that are closer are one change: a disk writes whole pages
_AT_ONCE = 16 << 20  # bytes that are held
_MOST = 4096  # runs; more of them are one change from the first to the last


class Change(NamedTuple):
    """`contents` in place of what the file holds from `at` on."""

    at: int
    contents: Storage

    @property
    def stop(self) -> int:
        return self.at + self.contents.nbytes


class Checksum(NamedTuple):
    """The CRC-32 of the bytes [start, stop) of the file, kept little-endian at each of `places`."""

    start: int
    stop: int
    value: int
    places: Sequence[int]


class Patch(NamedTuple):
    """Changes of `file`, disjoint and in file order, and the checksums over them."""

    file: File
    changes: list[Change]
    checksums: list[Checksum]

    @property
    def nbytes(self) -> int:
        return sum(change.contents.nbytes for change in self.changes)

    def covered(self) -> Iterator[tuple[Checksum | None, Change]]:
        """Each change and the checksum over it."""
        by_start = sorted(self.checksums)
        at = 0
        for change in self.changes:
            while at < len(by_start) and by_start[at].stop < change.stop:
                at += 1
            over = at < len(by_start) and by_start[at].start <= change.at
            yield (by_start[at] if over else None), change


def changes(at: int, before: Storage, after: Storage) -> Iterator[Change]:
    """What changes where `before`, which lies at `at`, becomes `after`."""
    if isinstance(after, Overlay) and after.of is before:
        yield Change(at + after.offset, after.contents)
        return
    for start, stop in differing(before, after):
        yield Change(at + start, after if stop - start == after.nbytes else Slice(after, start, stop - start))


def of_extents(pairs: Sequence[tuple[Storage, Storage]]) -> list[Change] | None:
    """The changes, in file order, that exchange storages of a file, each given before and after; None where one is no run of its bytes."""
    found: list[Change] = []
    for before, after in pairs:
        if not isinstance(before, Extent):
            return None
        found += changes(before.place(), before, after)
    return sorted(found, key=lambda change: change.at)


def differing(before: Storage, after: Storage) -> list[tuple[int, int]]:
    """The runs of bytes in which the two may differ, by what `after` is made of."""
    if after is before:
        return []
    if isinstance(after, Overlay):
        return _merged([*differing(before, after.of), (after.offset, after.offset + after.contents.nbytes)])
    if isinstance(after, Scattered):
        view = after.view
        found = [(at * view.size, (at + n) * view.size) for at, n in runs(view.shape, view.strides, view.offset, limit=_MOST)]
        if sum(stop - start for start, stop in found) == view.nbytes:
            return _merged([*differing(before, after.of), *found])
    return [(0, after.nbytes)] if after.nbytes else []


def _merged(found: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(found):
        if merged and start <= merged[-1][1] + _NEAR:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        elif stop > start:
            merged.append((start, stop))
    return merged


def in_place(patch: Patch) -> Patch | None:
    """The patch, fit to be written over the file that its contents are read from; None where that would take much memory.

    What reads other bytes of the file than those that it replaces is read before any is.
    """
    room, found = _AT_ONCE, []
    for change in patch.changes:
        if not _stays(change.contents, patch.file, change.at):
            room -= change.contents.nbytes
            if room < 0:
                return None
            change = Change(change.at, Memory(change.contents.read()))
        found.append(change)
    return patch._replace(changes=found)


def _stays(storage: Storage, file: File, at: int) -> bool:
    """Whether each byte of `storage`, which is to be written to `at`, is made of no byte of `file` but the one that it replaces."""
    if isinstance(storage, Extent):
        return storage.file.identity != file.identity or storage.place() == at
    if isinstance(storage, Slice):
        return _stays(storage.of, file, at - storage.offset)
    if isinstance(storage, Overlay):
        return _stays(storage.of, file, at) and _stays(storage.contents, file, at + storage.offset)
    if isinstance(storage, Mapped):
        return storage.before == storage.after and _stays(storage.of, file, at)
    return isinstance(storage, (Memory, Fill)) or (isinstance(storage, Drawn) and storage.portable())


def copy(patch: Patch, file_layout: FileLayout) -> None:
    """Write the edited file anew: what stays is shared with the old one, or copied in the kernel; what changes is written once."""
    puts = placed(patch, file_layout) if file_layout.clone(patch.file) else _in_gaps(patch, file_layout)
    file_layout.settle()
    for at, contents in mended(patch, [put.crc for put in puts]):
        file_layout.fill(at, contents.read())


def placed(patch: Patch, file_layout: FileLayout) -> list[Placed]:
    """The changes, each over what is there."""
    return [file_layout.place(change.at, change.contents, CRC32 if checksum else None) for checksum, change in patch.covered()]


def _in_gaps(patch: Patch, file_layout: FileLayout) -> list[Placed]:
    at, puts = 0, []
    for checksum, change in patch.covered():
        file_layout.put(Extent(patch.file, at, change.at - at))
        puts.append(file_layout.put(change.contents, CRC32 if checksum else None))
        at = change.stop
    file_layout.put(Extent(patch.file, at, patch.file.size - at))
    return puts


def mended(patch: Patch, new: Sequence[int]) -> list[Change]:
    """The checksums brought up to date, as changes of their own. `new`: the CRC-32 of each change.

    The file is as it was, or a change that is not all of what its checksum covers has no CRC-32 to be exchanged for.
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


class Told(NamedTuple):
    """What is known of a change before it is written: the CRC-32 of it all, and those of its pieces, little-endian, one after the other."""

    crc: int
    pieces: bytes


def told(change: Change, size: int) -> Told:
    """The checksums of a change; pieces end where the file is a multiple of `size` long."""
    whole, pieces, at, crc = 0, bytearray(), change.at, 0
    for block in change.contents.blocks():
        whole = crc32(block, whole)
        while block:
            part = block[: size - at % size]
            crc, at, block = crc32(part, crc), at + len(part), block[len(part) :]
            if at % size == 0:
                pieces += crc.to_bytes(4, "little")
                crc = 0
    if at % size:
        pieces += crc.to_bytes(4, "little")
    return Told(whole, bytes(pieces))


def crc_of(storage: Storage, sums: Crc) -> int:
    """The checksum of all its bytes."""
    crc = 0
    for block in storage.blocks():
        crc = sums.update(block, crc)
    return crc
