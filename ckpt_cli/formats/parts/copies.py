"""Which of the copies that several files of a set hold are not alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ...storage.storage import READ_SIZE, Storage
from ...storage.tiles import tile
from .wholes import Whole, together


def differing(wholes: Mapping[str, Whole], names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each of `names`, with the path of a copy that has other bytes than the piece that counts. The copies are read."""
    for name in names:
        whole = wholes.get(name)
        if whole is None or not whole.copies:
            continue
        storage = together(whole)
        for piece in whole.copies:
            before = tile(piece.tensor.elements(), whole.kind.dtype.nbytes, whole.frame, piece.box).gathered_from(storage)
            if not equal(before, piece.tensor.elements()):
                yield name, piece.file.path


def equal(one: Storage, two: Storage) -> bool:
    """Whether two storages of one size hold the same bytes. They are read up to the first that differs."""
    places = ((at, min(at + READ_SIZE, one.nbytes)) for at in range(0, one.nbytes, READ_SIZE))
    return all(one.read(*place) == two.read(*place) for place in places)
