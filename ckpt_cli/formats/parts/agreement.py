"""Tensors that several files of a set hold alike, compared as they are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...errors import Malformed
from ...storage.storage import Storage

if TYPE_CHECKING:
    from .wholes import Piece


class Agreed(Storage):
    """The elements of a tensor, compared with the copies of it as they are read."""

    __slots__ = ("copies", "name", "of", "storages")

    def __init__(self, name: str, of: Storage, copies: Sequence[Piece]) -> None:
        self.name, self.of, self.copies, self.nbytes = name, of, copies, of.nbytes
        self.storages = [piece.tensor.elements() for piece in copies]

    def parts(self) -> tuple[Storage, ...]:
        """The elements that count, and the copies."""
        return (self.of, *self.storages)

    def readinto(self, start: int, view: memoryview) -> None:
        """Fill `view`. Raises Malformed where a copy has other bytes."""
        self.of.readinto(start, view)
        for piece, storage in zip(self.copies, self.storages, strict=True):
            if storage.read(start, start + len(view)) != view:
                raise Malformed(
                    f"{self.name} is to be the same in all parts, and its values here are others",
                    f"edit this part by itself, or leave the tensor out: `ckpt convert SRC DST --drop '{self.name}'`",
                    piece.file.path,
                )
