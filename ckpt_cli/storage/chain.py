"""One storage after another, as one: an array that its file keeps in pieces."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .storage import Extent, Slice, Storage

if TYPE_CHECKING:
    from ..disk.patch import Change


class Chain(Storage):
    """The bytes of `pieces`, one after another."""

    __slots__ = ("_begins", "pieces")

    def __init__(self, pieces: Sequence[Storage]) -> None:
        self.pieces = tuple(pieces)
        self._begins, self.nbytes = [], 0
        for piece in self.pieces:
            self._begins.append(self.nbytes)
            self.nbytes += piece.nbytes

    def parts(self) -> tuple[Storage, ...]:
        return self.pieces

    def over(self, start: int, stop: int) -> Iterator[tuple[Storage, int, int, int]]:
        """The pieces that [start, stop) lies in: each with the part of it, and where in [start, stop) that begins."""
        at = max(0, bisect_right(self._begins, start) - 1)
        while start < stop and at < len(self.pieces):
            piece, begin = self.pieces[at], self._begins[at]
            end = min(stop, begin + piece.nbytes)
            if end > start:
                yield piece, start - begin, end - begin, start
                start = end
            at += 1

    def readinto(self, start: int, view: memoryview) -> None:
        for piece, low, high, at in self.over(start, start + len(view)):
            piece.readinto(low, view[at - start : at - start + high - low])


def changes_of(before: Storage, after: Storage) -> Iterator[Change]:
    """What changes in the file where `before`, an extent or a chain of extents, becomes `after`."""
    from ..disk.patch import Change, changes

    if isinstance(before, Extent):
        yield from changes(before.place(), before, after)
    elif isinstance(before, Chain):
        for change in changes(0, before, after):
            for piece, low, high, at in before.over(change.at, change.stop):
                if isinstance(piece, Extent):
                    yield Change(piece.place() + low, Slice(change.contents, at - change.at, high - low))


def patchable(storage: Storage) -> bool:
    """Whether all of its bytes lie in a file as they are."""
    return isinstance(storage, Extent) or (isinstance(storage, Chain) and all(isinstance(piece, Extent) for piece in storage.pieces))
