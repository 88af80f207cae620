"""A pickle that is a file of its own, as a checkpoint: long runs of bytes stay where they lie, only the opcodes are read."""

from __future__ import annotations

from collections.abc import Callable
from mmap import ACCESS_READ, mmap
from typing import Any

from ...errors import Malformed
from ...numbers.dtypes import DType
from ...storage.file import File
from ...storage.storage import Extent, Storage
from ...tensors.checkpoint import Checkpoint
from .foreign import plain
from .object_nodes import Held
from .pickle_reader import Truncated, Unpickler
from .pickle_tree import find
from .pickled_tensors import Reader

_LONG = 4096  # bytes: shorter runs are copied


class _FilePickle(Unpickler):
    """Reads the opcodes of a file that is mapped."""

    __slots__ = ("file",)

    def __init__(self, file: File) -> None:
        super().__init__(mmap(file.fileno(), file.size, access=ACCESS_READ))  # type: ignore[arg-type]
        self.file = file

    def bulk(self, count: int, make: Callable[[bytes], Any]) -> Any:
        if count < _LONG:
            return super().bulk(count, make)
        at = self.at
        if at + count > len(self.data):
            raise Truncated("truncated pickle")
        self.at = at + count
        return Held(Extent(self.file, at, count))


def no_storage(key: str, dtype: DType | None, nbytes: int) -> Storage:
    raise Malformed("a pickle of torch's without its storages", "give the file that torch.save wrote")


def read_pickle(file: File, reader: Reader) -> Checkpoint:
    """Every array that `reader` knows under the path by which it is reached, and what else there is as objects."""
    machine = _FilePickle(file)
    try:
        root = machine.load()
    except Truncated:
        raise Malformed("truncated: the pickle goes on after the end of the file", "download or copy it again") from None
    if machine.at != file.size:
        raise Malformed(f"{file.size - machine.at:,} bytes stand after the end of the pickle")
    found = find(root, reader)
    objects = {name: plain(place.node) for name, place in found.others.items()}
    return Checkpoint(found.tensors, objects=objects)
