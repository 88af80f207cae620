"""A file that is one pickle, as a checkpoint. Only the opcodes are read; long runs of bytes stay in the file."""

from __future__ import annotations

from collections.abc import Callable
from mmap import ACCESS_READ, mmap
from typing import Any

from ...errors import Malformed
from ...numbers.dtypes import DType
from ...storage.file import File
from ...storage.storage import Extent, Storage
from ...tensors.checkpoint import Checkpoint
from .object_nodes import BytesInFile
from .pickle_machine import Truncated
from .pickle_reader import Unpickler
from .pickle_tree import objects_of, sorted_leaves, undecoded_of
from .pickled_tensors import TensorReader

_LONG = 4096  # bytes: shorter runs are copied


class _FilePickle(Unpickler):
    """Reads the opcodes of a file, which is mapped into memory."""

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
        return BytesInFile(Extent(self.file, at, count))


def no_storage(key: str, dtype: DType | None, nbytes: int) -> Storage:
    """The storage of a TensorReader for pickles that have none. Raises Malformed."""
    raise Malformed("a pickle of torch's without its storages", "give the file that torch.save wrote")


def read_pickle(file: File, reader: TensorReader) -> Checkpoint:
    """Read a file that is one pickle.

    Args:
        file: The file, from its first byte to its last one.
        reader: Says which nodes are tensors and makes them.

    Returns:
        Every tensor under the path by which it is reached, and everything else as objects.

    Raises:
        Malformed: The file ends within the pickle, goes on after it, or is broken.
    """
    machine = _FilePickle(file)
    try:
        root = machine.load()
    except Truncated:
        raise Malformed("truncated: the pickle goes on after the end of the file", "download or copy it again") from None
    if machine.at != file.size:
        raise Malformed(f"{file.size - machine.at:,} bytes stand after the end of the pickle")
    leaves = sorted_leaves(root, reader)
    return Checkpoint(leaves.tensors, objects=objects_of(leaves), undecoded=undecoded_of(leaves, reader))
