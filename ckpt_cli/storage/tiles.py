"""A tensor that is kept as slices: a storage made of pieces, each a box of the whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..errors import Malformed
from .storage import Storage, Strided, hits

_MOST_PIECES = 4096
Box = Sequence[tuple[int, int]]  # start and length of each axis


class Piece(NamedTuple):
    """What `of` holds, and the lines of it, in bytes of the whole: the last axis of `shape` lies in one."""

    of: Storage
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int

    @property
    def stop(self) -> int:
        """The byte of the whole that it does not reach any more."""
        return self.offset + sum((n - 1) * step for n, step in zip(self.shape, self.strides, strict=True)) + 1

    @property
    def lines(self) -> int:
        """How many there are: where it is one, all of it lies in one run."""
        count = 1
        for n in self.shape[:-1]:
            count *= n
        return count

    def of_whole(self, whole: Storage) -> Storage:
        """What it is of another whole of the same shape."""
        return Strided(whole, 1, self.shape, self.strides, self.offset)


def piece(of: Storage, size: int, whole: Sequence[int], box: Box) -> Piece:
    """`of` as the `box` of a tensor of shape `whole`, `size` bytes an element."""
    axis, run = len(whole), size
    strides = [0] * len(whole)
    for i in reversed(range(len(whole))):
        strides[i], run = run, run * whole[i]
    while axis and tuple(box[axis - 1]) == (0, whole[axis - 1]):
        axis -= 1
    inner = strides[axis - 1] if axis else run
    line = inner * (box[axis - 1][1] if axis else 1)
    outer = max(axis - 1, 0)
    offset = sum(start * step for (start, _), step in zip(box, strides, strict=True))
    return Piece(of, (*(length for _, length in box[:outer]), line), (*strides[:outer], 1), offset)


def check_tiling(boxes: Sequence[Box], whole: Sequence[int]) -> None:
    """Raises Malformed unless the boxes fill the shape `whole`, each element once."""
    if len(boxes) > _MOST_PIECES:
        raise Malformed(f"it is kept in {len(boxes):,} slices; up to {_MOST_PIECES:,} are read")
    full = [box for box in boxes if all(length for _, length in box)]
    if sum(map(_volume, full)) != _volume([(0, n) for n in whole]):
        raise Malformed("its slices do not make up the whole")
    axis = max(range(len(whole)), key=lambda axis: len({box[axis][0] for box in full}), default=0)
    waiting: list[Box] = []
    for box in sorted(full, key=lambda box: box[axis][0] if box else 0):
        waiting = [one for one in waiting if box and one[axis][0] + one[axis][1] > box[axis][0]]
        if any(_meet(one, box) for one in waiting):
            raise Malformed("two of its slices overlap")
        waiting.append(box)


def _volume(box: Box) -> int:
    volume = 1
    for _, length in box:
        volume *= length
    return volume


def _meet(one: Box, two: Box) -> bool:
    return all(a < b + m and b < a + n for (a, n), (b, m) in zip(one, two, strict=True))


class Assembled(Storage):
    """The whole."""

    __slots__ = ("pieces",)

    def __init__(self, nbytes: int, pieces: Sequence[Piece]) -> None:
        self.nbytes = nbytes
        self.pieces = sorted((piece for piece in pieces if piece.of.nbytes), key=lambda piece: piece.offset)

    def parts(self) -> tuple[Storage, ...]:
        return tuple(piece.of for piece in self.pieces)

    def readinto(self, start: int, view: memoryview) -> None:
        for part in self.pieces:
            if part.offset < start + len(view) and start < part.stop:
                _fill(part, start, view)

    def changed(self, at: int, stop: int) -> Iterator[tuple[Piece, int, int]]:
        """The pieces that hold bytes of [at, stop), and which of their own bytes: all of a piece of several lines."""
        for part in self.pieces:
            if part.offset < stop and at < part.stop:
                alone = part.lines == 1
                low = max(at - part.offset, 0) if alone else 0
                yield part, low, min(stop - part.offset, part.of.nbytes) if alone else part.of.nbytes


def _fill(part: Piece, start: int, view: memoryview) -> None:
    """Put what falls on it into `view`, which begins at byte `start` of the whole."""
    found = list(hits(part.shape, part.strides, part.offset, start, start + len(view)))
    if not found:
        return
    first, last = found[0][0], found[-1][0] + found[-1][1]
    if len(found) == 1:
        _, count, place, _ = found[0]
        part.of.readinto(first, view[place - start : place - start + count])
        return
    data = part.of.read(first, last)
    for number, count, place, _ in found:
        view[place - start : place - start + count] = data[number - first : number - first + count]


__all__ = ["Assembled", "Box", "Piece", "check_tiling", "piece"]
