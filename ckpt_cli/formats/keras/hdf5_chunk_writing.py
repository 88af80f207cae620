"""Writes datasets in chunks, as they were in the file that a checkpoint was read from: of one shape, with the same filters.

A chunk that no edit touches is copied as it lies in the file. One that changes is encoded by the library and waits in a temporary file,
since its size must be known before the file is laid out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from ...numbers.shapes import numel_of
from ...storage.grid import Grid
from ...storage.mapped import Mapped
from ...storage.storage import Slice, Storage
from ...tensors.checkpoint import Checkpoint
from ...tensors.tensor import Tensor
from .hdf5_attributes import keep_attribute_order
from .hdf5_boxes import Box, boxes
from .hdf5_chunks import Filtered
from .hdf5_filters import OF_ONE_TYPE, Pipeline
from .hdf5_objects import DataLayout, HDF5Tree, Node
from .hdf5_patching import as_in_file

_IN_MEMORY = 64 << 20  # bytes of encoded chunks


class EncodedChunks(Storage):
    """Chunks one after another: in memory, and from a size on in a temporary file, which goes with this object."""

    __slots__ = ("_file", "nbytes")

    def __init__(self) -> None:
        from tempfile import SpooledTemporaryFile

        self._file = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 (it lives as long as its chunks)
        self.nbytes = 0

    def add(self, data: bytes) -> Storage:
        """Keep a chunk, and return it as a storage."""
        self._file.seek(self.nbytes)
        self._file.write(data)
        self._file.flush()
        self.nbytes += len(data)
        return Slice(self, self.nbytes - len(data), len(data))

    def portable(self) -> bool:
        """Return False: forked workers would share the position in the file."""
        return False

    def readinto(self, start: int, view: memoryview) -> None:
        """Fill `view` from memory or the file."""
        self._file.seek(start)
        view[:] = self._file.read(len(view))


class Chunk(NamedTuple):
    """A chunk to be written: the index of its first element, the mask of filters that it did not pass, and its encoded bytes."""

    begin: tuple[int, ...]
    mask: int
    data: Storage


class ChunkedDataset:
    """A dataset to be written in chunks.

    Attributes:
        element_type: The description of its element type.
        pipeline: The shape of its chunks, and its filters.
        most: The size up to which each axis may grow; None where it has no limit.
    """

    def __init__(self, node: Node, before: Tensor, tensor: Tensor, element_type: list[Any]) -> None:
        """Plan a dataset.

        Args:
            node: The dataset in chunks that the tensor was read from.
            before: The tensor as it was read.
            tensor: The tensor as it is now.
            element_type: The description of its type, where it is not as it was.
        """
        self.node, self.before, self.tensor = node, before, tensor
        self.same = (tensor.dtype, tensor.shape, tensor.layout) == (before.dtype, before.shape, before.layout)
        self.element_type = node.record["type"] if self.same else element_type
        most = [None if n is None else max(n, size) for n, size in zip(node.record["most"], tensor.shape, strict=True)]
        shape = tuple(chunk if n is None else max(1, min(chunk, n)) for n, chunk in zip(most, node.record["chunk"], strict=True))
        self.most = tuple(most)
        self.pipeline = Pipeline(node.record["type"], tuple(node.record["chunk"]), node.record["filters"], node.fill)
        if not self.same:
            self.pipeline = self.pipeline.of_type(element_type, shape)

    def chunks(self, encoded: EncodedChunks) -> Iterator[Chunk]:
        """Yield all chunks; those that are encoded are added to `encoded`."""
        chunk_shape, size = self.pipeline.chunk_shape, self.tensor.dtype.nbytes
        old = _in_file(self.before.storage) if self.same else {}
        begun: set[tuple[int, ...]] = set()
        before = self.before.storage if self.same else None
        for box in boxes(self.tensor.shape, size, chunk_shape, before, self.tensor.elements()):
            begun.add(box.begin)
            box = box._replace(data=as_in_file(self.node, self.tensor, box.data) if self.same else box.data)
            mask, data = self.pipeline.encoded(self._whole(box, size))
            yield Chunk(box.begin, mask, encoded.add(data))
        for index, chunk in old.items():
            begin = tuple(i * n for i, n in zip(index, chunk_shape, strict=True))
            if begin not in begun and all(at < n for at, n in zip(begin, self.tensor.shape, strict=True)):
                storage, mask = chunk.filtered
                yield Chunk(begin, mask, storage)

    def _whole(self, box: Box, size: int) -> bytes:
        """Return the elements of a chunk that begins with those of `box`; the others lie outside of the array."""
        import numpy

        shape = self.pipeline.chunk_shape
        if box.shape == shape:
            return box.data
        fill = self.pipeline.fill or bytes(size)
        whole = numpy.frombuffer(bytearray(fill * numel_of(shape)), f"V{size}").reshape(shape)
        whole[tuple(slice(n) for n in box.shape)] = numpy.frombuffer(box.data, f"V{size}").reshape(box.shape)
        return whole.tobytes()

    def create(self, parent: Any, name: bytes) -> Any:
        """Create the dataset in a group, without any chunk."""
        from h5py import h5d, h5s

        from .hdf5_types import file_type

        most = tuple(h5s.UNLIMITED if n is None else n for n in self.most)
        space = h5s.create_simple(self.tensor.shape, most)
        plist = self.pipeline.properties()
        keep_attribute_order(plist, self.node)
        return h5d.create(parent, name, file_type(self.element_type), space, plist)


def is_chunked(node: Node | None, tensor: Tensor) -> bool:
    """Whether a tensor was read from a dataset in chunks, and has as many axes as it had."""
    return node is not None and node.record.get("layout") == DataLayout.CHUNKED and len(node.record["chunk"]) == len(tensor.shape)


def filters_lost(tree: HDF5Tree, checkpoint: Checkpoint) -> list[str]:
    """Return a line for each tensor of another type than it was read with, whose filters are made for that one."""
    lines = []
    for name, tensor in checkpoint.items():
        source = checkpoint.sources.get(name, name)
        node, before = tree.nodes.get(source), tree.tensors.get(source)
        if node is not None and before is not None and is_chunked(node, tensor) and tensor.dtype != before.dtype:
            filters = [each[1] or str(each[0]) for each in node.record["filters"] if each[0] in OF_ONE_TYPE]
            lines += [f"{', '.join(filters)} of {name}, made for {before.dtype.name}, and the data grow"] if filters else []
    return lines


def _in_file(storage: Storage) -> dict[tuple[int, ...], Filtered]:
    """Return the chunks that a dataset has in its file, by their index in the grid. Those of the other byte order are swapped when read."""
    grid = storage.of if isinstance(storage, Mapped) else storage
    chunks = grid.chunks.items() if isinstance(grid, Grid) else ()
    return {index: chunk for index, chunk in chunks if isinstance(chunk, Filtered)}


def reserve(dataset: Any, chunk: Chunk) -> int:
    """Reserve room for a chunk; return the byte of the file at which it goes."""
    dataset.write_direct_chunk(chunk.begin, bytes(chunk.data.nbytes), chunk.mask)
    return int(dataset.get_chunk_info_by_coord(chunk.begin).byte_offset)
