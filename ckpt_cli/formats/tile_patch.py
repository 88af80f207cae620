"""What changes in a file that holds a tile of a tensor, where values of the whole are edited."""

from __future__ import annotations

from collections.abc import Iterator

from ..disk.patch import Change, changes
from ..storage.storage import Extent, Slice, Storage
from ..storage.tiles import Tile
from ..tensors.tensor import Tensor

_MOST_LINES = 4096  # changes within one tile; if there are more, the tile is one change


def tile_changes(tile: Tile, tensor: Tensor, extent: Extent, after: Storage, runs: list[tuple[int, int]]) -> Iterator[Change]:
    """What changes in the file of one tile: the lines that the changed runs meet, or all of it where those are many.

    Args:
        tile: The elements of `tensor`, in the place that they have in the whole.
        tensor: The view that the file holds.
        extent: Its storage.
        after: The whole after the edit.
        runs: The runs of bytes of the whole that may differ.
    """
    met: list[Change] = []
    for number, count, place in (hit for start, stop in runs for hit in tile.hits(start, stop)):
        met.append(Change(extent.place() + tensor.start + number, Slice(after, place, count)))
        if len(met) > _MOST_LINES or not tensor.contiguous:
            gathered = tile.gathered_from(after)
            yield from changes(extent.place(), extent, tensor.storage_with(gathered))
            return
    yield from met
