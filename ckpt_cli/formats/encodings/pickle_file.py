"""A file of pickles, or a pickle within a file, as a checkpoint. Only the opcodes are read; long runs of bytes stay in the file."""

from __future__ import annotations

from collections.abc import Callable
from mmap import ACCESS_READ, mmap
from typing import Any

from ...errors import Malformed
from ...numbers.dtypes import DType
from ...storage.file import File, FileWindow
from ...storage.storage import Extent, Storage
from ...tensors.checkpoint import Checkpoint
from .object_nodes import BytesInFile, List
from .pickle_machine import Truncated
from .pickle_reader import Unpickler
from .pickle_sniffing import is_compressed
from .pickle_tree import objects_of, sorted_leaves, undecoded_of
from .pickled_tensors import TensorReader

_MOST_READ = 1 << 30  # bytes of a pickle that cannot be mapped
_LONG = 4096  # bytes: shorter runs are copied
_CUT_OFF = "truncated: the pickle goes on after the end of the file", "download or copy it again"


class FilePickle(Unpickler):
    """Reads the opcodes of the pickle that begins at byte `at` of a file, which is mapped into memory."""

    __slots__ = ("file",)

    def __init__(self, file: File, at: int = 0) -> None:
        super().__init__(file.fact("mapped", _mapped), at)
        self.file = file

    def bulk(self, count: int, make: Callable[[bytes], Any]) -> Any:
        """The next `count` bytes: what `make` makes of them, or where they lie."""
        if count < _LONG:
            return super().bulk(count, make)
        at = self.at
        if at + count > len(self.data):
            raise Truncated("truncated pickle")
        self.at = at + count
        return BytesInFile(Extent(self.file, at, count), make)


def _mapped(file: File) -> Any:
    """All bytes of a file, mapped into memory; a member of an archive is read."""
    if file.is_mappable:
        with file.held_open() as fd:
            return mmap(fd, file.size, access=ACCESS_READ)
    if file.size > _MOST_READ:
        raise Malformed(f"a pickle of {file.size:,} bytes in an archive", "unpack it first")
    return file.read(0, file.size)


def no_storage(key: str, dtype: DType | None, nbytes: int) -> Storage:
    """The storage of a TensorReader for pickles that have none. Raises Malformed."""
    raise Malformed("a pickle of torch's without its storages", "give the file that torch.save wrote")


def read_pickles(file: File, reader: TensorReader) -> Checkpoint:
    """Read a file that is one pickle, or several, one after another.

    Args:
        file: The file, from its first byte to its last one; what joblib compressed is decompressed.
        reader: Says which nodes are tensors and makes them.

    Returns:
        Every tensor under the path by which it is reached, and everything else as objects. Of several pickles each has a number.

    Raises:
        Malformed: The file ends within a pickle, goes on after it with something else, or is broken.
    """
    roots: list[Any] = []
    data, at = _decompressed(file), 0
    size = file.size if data is None else len(data)
    while at < size:
        machine = FilePickle(file, at) if data is None else Unpickler(data, at)
        try:
            roots.append(machine.load())
        except Malformed as error:
            if roots:
                raise Malformed(f"{size - at:,} bytes stand after the end of the pickle") from None
            if isinstance(error, Truncated):
                raise Malformed(*_CUT_OFF) from None
            raise
        at = machine.at
    return checkpoint_of(roots[0] if len(roots) == 1 else List(roots), reader)


def _decompressed(file: File) -> bytes | None:
    """What a file that joblib compressed holds; None where it is not compressed."""
    if not is_compressed(file):
        return None
    from .compressed_pickle import decompressed

    return decompressed(file)


def load_within(file: File, at: int, stop: int) -> tuple[Any, int]:
    """Read the pickle that begins at byte `at` of a file and ends before byte `stop`.

    Returns:
        The root of its tree, and the byte behind its end.

    Raises:
        Malformed: It does not end before `stop`, or is broken.
    """
    start = 0
    while isinstance(file, FileWindow):
        start, file = start + file.start, file.file
    machine = FilePickle(file, start + at)
    try:
        root = machine.load()
    except Truncated:
        raise Malformed(*_CUT_OFF) from None
    if machine.at > start + stop:
        raise Malformed(*_CUT_OFF)
    return root, machine.at - start


def checkpoint_of(root: Any, reader: TensorReader) -> Checkpoint:
    """Every tensor in the tree below `root` under the path by which it is reached, and everything else as objects. Raises Malformed."""
    leaves = sorted_leaves(root, reader)
    return Checkpoint(
        leaves.tensors, objects=objects_of(leaves), layers=leaves.layers, undecoded=undecoded_of(leaves, reader, numbers=True)
    )
