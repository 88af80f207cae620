"""Storages one after another, as one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from .storage import Storage


class Pieces(Storage):
    """The bytes of storages, one after another.

    Attributes:
        pieces: The storages, without empty ones.
    """

    __slots__ = ("_begins", "nbytes", "pieces")

    def __init__(self, pieces: Sequence[Storage]) -> None:
        """Join `pieces`; empty ones are left out."""
        self.pieces = [piece for piece in pieces if piece.nbytes]
        self._begins, at = [], 0
        for piece in self.pieces:
            self._begins.append(at)
            at += piece.nbytes
        self.nbytes = at

    def parts(self) -> tuple[Storage, ...]:
        """Return the pieces."""
        return tuple(self.pieces)

    def readinto(self, start: int, view: memoryview) -> None:
        """Fill `view` with the bytes from `start` on."""
        at, done = bisect_right(self._begins, start) - 1, 0
        while done < len(view):
            piece, skip = self.pieces[at], start + done - self._begins[at]
            count = min(piece.nbytes - skip, len(view) - done)
            piece.readinto(skip, view[done : done + count])
            at, done = at + 1, done + count
