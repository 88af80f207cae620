"""A tensor that its file keeps in several storages: each holds one box (a range of every axis) of the whole.

Boxes of a sharded tensor and storages that follow one another are the same to a reader: each is a strided view of the bytes of the whole.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

from ..errors import Malformed
from ..numbers.shapes import numel_of
from .storage import Storage
from .strides import Strided, hits

_MOST_BOXES = 4096
Box = Sequence[tuple[int, int]]  # start and length along each axis of the whole


class Tile(NamedTuple):
    """A storage and where its bytes lie in the whole: a view of `shape` and `strides` from byte `offset` on, counted in bytes.

    The last axis is a row: bytes that are contiguous in the whole.
    """

    storage: Storage
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int

    @property
    def stop(self) -> int:
        """The end of its last row, as a byte of the whole."""
        return self.offset + sum((n - 1) * stride for n, stride in zip(self.shape, self.strides, strict=True)) + 1

    @property
    def rows(self) -> int:
        """The number of rows; with one, all bytes of the tile are contiguous in the whole."""
        return numel_of(self.shape[:-1])

    def hits(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """Find the parts of rows within the bytes [start, stop) of the whole.

        Yields:
            The first byte within the tile, the number of bytes, the first byte within the whole.
        """
        if self.offset < stop and start < self.stop:
            yield from (hit[:3] for hit in hits(self.shape, self.strides, self.offset, start, stop))

    def gathered_from(self, whole: Storage) -> Storage:
        """Return the bytes that this tile has in another whole of the same shape."""
        return Strided(whole, 1, self.shape, self.strides, self.offset)


def tile(storage: Storage, size: int, whole: Sequence[int], box: Box) -> Tile:
    """Place a storage as one box of a C-contiguous whole.

    Args:
        storage: the elements of the box, C-contiguous.
        size: bytes of an element.
        whole: the shape of the whole, in elements.
        box: the ranges of the whole that the storage holds.
    """
    strides = list(accumulate([size, *reversed(whole[1:])], lambda stride, n: stride * n))[::-1] if whole else []
    offset = sum(start * stride for (start, _), stride in zip(box, strides, strict=True))
    axes, row = len(whole), size
    while axes and row == strides[axes - 1]:  # a box that covers the inner axes runs on along the next one
        axes -= 1
        row *= box[axes][1]
    return Tile(storage, (*(length for _, length in box[:axes]), row), (*strides[:axes], 1), offset)


class Tiled(Storage):
    """A whole of `nbytes` bytes made of tiles that fill it without overlap. Tiles without bytes are left out."""

    __slots__ = ("_offsets", "_reaches", "tiles")

    def __init__(self, nbytes: int, tiles: Iterable[Tile]) -> None:
        self.nbytes = nbytes
        self.tiles = sorted((tile for tile in tiles if tile.storage.nbytes), key=lambda tile: tile.offset)
        self._offsets = [tile.offset for tile in self.tiles]
        self._reaches = list(accumulate((tile.stop for tile in self.tiles), max))  # ascending, so that it can be bisected

    def parts(self) -> tuple[Storage, ...]:
        """Return the storages of the tiles, in the order in which they begin."""
        return tuple(tile.storage for tile in self.tiles)

    def readinto(self, start: int, view: memoryview) -> None:
        """Fill `view` from the tiles that it meets."""
        for tile in self._meeting(start, start + len(view)):
            _fill(tile, start, view)

    def _meeting(self, start: int, stop: int) -> Iterator[Tile]:
        first, last = bisect_right(self._reaches, start), bisect_left(self._offsets, stop)
        return (tile for tile in self.tiles[first:last] if start < tile.stop)

    def covering(self, start: int, stop: int) -> Iterator[tuple[Tile, int, int]]:
        """Find the tiles that hold bytes [start, stop) of the whole.

        Yields:
            A tile and the range of its own bytes: those within [start, stop) where it has one row, else all of them.
        """
        for tile in self._meeting(start, stop):
            if tile.rows == 1:
                yield tile, max(start - tile.offset, 0), min(stop - tile.offset, tile.storage.nbytes)
            else:
                yield tile, 0, tile.storage.nbytes


def _fill(tile: Tile, start: int, view: memoryview) -> None:
    """Copy the bytes of a tile that fall into `view`, which begins at byte `start` of the whole."""
    found = list(tile.hits(start, start + len(view)))
    if len(found) == 1:
        first, count, at = found[0]
        tile.storage.readinto(first, view[at - start : at - start + count])
    elif found:
        begin, end = found[0][0], found[-1][0] + found[-1][1]  # successive rows are contiguous in the tile: one read for all
        data = tile.storage.read(begin, end)
        for first, count, at in found:
            view[at - start : at - start + count] = data[first - begin : first - begin + count]


def tiled(size: int, shape: tuple[int, ...], boxes: Iterable[tuple[Storage, Box]]) -> Tiled:
    """Return the whole of `shape` (elements of `size` bytes) that storages make up, each given with its box."""
    return Tiled(size * numel_of(shape), [tile(storage, size, shape, box) for storage, box in boxes])


def chained(storages: Sequence[Storage]) -> Tiled:
    """Return storages, one after another, as one: tiles of one row each."""
    ends = list(accumulate(storage.nbytes for storage in storages))
    tiles = (Tile(storage, (storage.nbytes,), (1,), end - storage.nbytes) for storage, end in zip(storages, ends, strict=True))
    return Tiled(ends[-1] if ends else 0, tiles)


def check_tiling(boxes: Sequence[Box], whole: Sequence[int]) -> None:
    """Check that boxes fill the shape `whole`, each element once.

    Raises:
        Malformed: elements are missing or lie in two boxes, or there are too many boxes.
    """
    if len(boxes) > _MOST_BOXES:
        raise Malformed(f"it is kept in {len(boxes):,} slices; up to {_MOST_BOXES:,} are read")
    full = [box for box in boxes if all(length for _, length in box)]
    if sum(map(_volume, full)) != numel_of(tuple(whole)):
        raise Malformed("its slices do not make up the whole")
    axis = max(range(len(whole)), key=lambda axis: len({box[axis][0] for box in full}), default=0)
    open_boxes: list[Box] = []  # those that a box which begins later along `axis` may still overlap
    for box in sorted(full, key=lambda box: box[axis][0] if box else 0):
        open_boxes = [other for other in open_boxes if box and other[axis][0] + other[axis][1] > box[axis][0]]
        if any(_overlap(other, box) for other in open_boxes):
            raise Malformed("two of its slices overlap")
        open_boxes.append(box)


def _volume(box: Box) -> int:
    return numel_of(tuple(length for _, length in box))


def _overlap(one: Box, two: Box) -> bool:
    return all(a < b + m and b < a + n for (a, n), (b, m) in zip(one, two, strict=True))
