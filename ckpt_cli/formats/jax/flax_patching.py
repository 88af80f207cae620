"""What changes in a msgpack file of Flax where values are edited: arrays lie in it as they are, large ones in several chunks."""

from __future__ import annotations

from collections.abc import Iterator

from ...disk.patch import Change, changes
from ...storage.storage import Extent, Slice, Storage
from ...storage.tiles import Tiled


def patchable(storage: Storage) -> bool:
    """Return whether all bytes of a storage lie in a file as they are."""
    return all(isinstance(part, Extent) for part in (storage.parts() if isinstance(storage, Tiled) else (storage,)))


def changes_of(before: Storage, after: Storage) -> Iterator[Change]:
    """Yield the changes of the file where `before`, which is patchable, becomes `after`."""
    if isinstance(before, Extent):
        yield from changes(before.place(), before, after)
    elif isinstance(before, Tiled):
        for change in changes(0, before, after):
            for tile, low, high in before.covering(change.at, change.stop):
                if isinstance(tile.storage, Extent):
                    yield Change(tile.storage.place() + low, Slice(change.contents, tile.offset + low - change.at, high - low))
