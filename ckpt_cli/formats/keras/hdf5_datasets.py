"""The tensors of an HDF5 file: the dtype of each dataset, and a storage for its data, which are read where they lie.

Every place that the child process reports is checked against the file before it is used. Chunks are decoded in this process
(hdf5_chunks).
"""

from __future__ import annotations

from base64 import b64decode
from itertools import pairwise
from typing import Any

from ...errors import Malformed
from ...numbers.dtypes import DTYPES, DType, opaque
from ...numbers.shapes import contiguous_strides, nbytes_of
from ...storage.mapped import swapped
from ...storage.pieces import Pieces
from ...storage.storage import Extent, Fill, Memory, Slice, Storage
from ...tensors.checkpoint import Undecoded
from ...tensors.tensor import Layout, Tensor
from .hdf5_objects import DataLayout, ElementKind, Node, ObjectKind, value_of

_MOST_AXES = 32
_MOST_UNWRITTEN = 4 << 30  # bytes that a dataset may have though the file cannot hold them (nothing was written)

# numpy's names of types, without the byte order → ours
_DTYPE_NAMES = {
    "f2": "float16",
    "f4": "float32",
    "f8": "float64",
    "c8": "complex64",
    "c16": "complex128",
    "b1": "bool",
    "bfloat16": "bfloat16",
}
_DTYPE_NAMES |= {"bfloat16": "bfloat16"} | {
    f"{letter}{size}": f"{word}{8 * size}" for letter, word in (("i", "int"), ("u", "uint")) for size in (1, 2, 4, 8)
}


class Datasets:
    """Makes a tensor of each dataset of one file. Two names of one dataset get the same tensor, and so are tied."""

    def __init__(self, source: Storage) -> None:
        """Take the bytes of the whole HDF5 file."""
        self.source = source
        self._tensors: dict[tuple[int, ...], Tensor] = {}
        self._spans: list[tuple[int, int, str]] = []

    def tensor(self, node: Node) -> Tensor:
        """Return the tensor of a dataset. Raises Malformed, with the path, where its record and the file do not agree."""
        address = tuple(node.record["address"])
        if address not in self._tensors:
            try:
                self._tensors[address] = self._make_tensor(node)
            except Malformed as error:
                raise Malformed(f"dataset {node.path!r}: {error.what}", error.mend) from None
        return self._tensors[address]

    def undecoded(self, node: Node) -> Undecoded | None:
        """Return what is known of a dataset that is no tensor, or of a link to another file; None for any other object.

        Its bytes are those in the file, where all of them are there.
        """
        record = node.record
        if node.kind == ObjectKind.EXTERNAL_LINK:
            return Undecoded("a link to another file")
        if node.kind == ObjectKind.TEXT:
            texts = node.as_attribute().texts if "value" in record else None
            return Undecoded("texts", None if texts is None else Memory("\0".join(texts).encode("utf-8", "surrogatepass")), known=True)
        if node.kind not in (ObjectKind.OBJECT, ObjectKind.VIRTUAL) or record["shape"] is None:
            return None
        if node.kind == ObjectKind.VIRTUAL:
            return Undecoded("a dataset made of others (virtual)")
        what = f"a dataset, {record['type'][1]}"
        if not record.get("whole"):
            return Undecoded(what)
        places = [(record["offset"], record["nbytes"])] if "offset" in record else [(at, nbytes) for _, at, nbytes, _ in record["chunks"]]
        return Undecoded(what, Pieces([self._extent(at, nbytes, node.path) for at, nbytes in places if at is not None and nbytes]))

    def check_apart(self) -> None:
        """Raise Malformed where two datasets share bytes of the file."""
        for (_, stop, one), (start, _, two) in pairwise(sorted(self._spans)):
            if start < stop:
                raise Malformed(f"the data of {one!r} and {two!r} overlap at byte {start:,}")

    def _make_tensor(self, node: Node) -> Tensor:
        dtype, big_endian = _dtype(node)
        shape = node.record["shape"]
        if len(shape) > _MOST_AXES or any(type(n) is not int or n < 0 for n in shape):
            raise Malformed(f"a shape of {len(shape)} axes")
        shape = tuple(shape)
        storage = self._storage(node, dtype, shape)
        storage = swapped(storage, dtype.part) if big_endian and dtype.part > 1 else storage
        if dtype.kind == "O":
            return Tensor.view(dtype, shape, storage, contiguous_strides(shape), 0, Layout.OPAQUE)
        return Tensor.whole(dtype, shape, storage)

    def _storage(self, node: Node, dtype: DType, shape: tuple[int, ...]) -> Storage:
        nbytes, layout = nbytes_of(dtype, shape), node.record["layout"]
        if layout == DataLayout.COMPACT:
            return Memory(value_of(node.record))
        if layout == DataLayout.EXTERNAL:
            raise Malformed("its data are kept outside of it, and are not looked for")
        if layout == DataLayout.CONTIGUOUS and node.record["offset"] is not None and nbytes:
            return self._extent(node.record["offset"], nbytes, node.path)
        if nbytes > _MOST_UNWRITTEN and nbytes > 2000 * self.source.nbytes:
            raise Malformed(f"it has {nbytes:,} bytes, which this file cannot hold")
        fill = Fill(b64decode(node.record["fill"]), nbytes)
        if layout == DataLayout.CONTIGUOUS or not nbytes or not node.record["chunks"]:
            return fill
        return self._chunked(node, dtype, shape, fill)

    def _chunked(self, node: Node, dtype: DType, shape: tuple[int, ...], fill: Fill) -> Storage:
        from .hdf5_chunks import chunk_of, chunked
        from .hdf5_filters import Pipeline

        record = node.record
        chunks = [chunk_of(each, record["chunk"], shape) for each in record["chunks"]]
        pieces = {chunk.place: (self._extent(chunk.at, chunk.nbytes, node.path), chunk.mask) for chunk in chunks}
        pipeline = Pipeline(record["type"], tuple(record["chunk"]), record["filters"], node.fill)
        return chunked(pieces, fill, shape, dtype.nbytes, pipeline, node.path)

    def _extent(self, at: Any, nbytes: int, path: str) -> Storage:
        """Return `nbytes` bytes of the file from byte `at` on, and note that they belong to the dataset `path`."""
        if type(at) is not int or at < 0 or at + nbytes > self.source.nbytes:
            raise Malformed(f"its {nbytes:,} bytes lie outside of the file", "download or copy it again")
        self._spans.append((at, at + nbytes, path))
        if isinstance(self.source, Extent):
            return Extent(self.source.file, self.source.place() + at, nbytes)
        return Slice(self.source, at, nbytes)


def _dtype(node: Node) -> tuple[DType, bool]:
    """Return the dtype of a dataset, and whether its elements are big-endian in the file.

    Keras keeps bfloat16 as opaque bytes and names the dtype in an attribute `dtype`.
    """
    kind, name = node.record["type"][0], node.record["type"][1]
    if kind == ElementKind.PLAIN:
        return DTYPES[_DTYPE_NAMES[name.lstrip("<>|")]], name[0] == ">"
    attribute = node.attribute("dtype")
    named = DTYPES.get(attribute.text or "") if attribute else None
    if named and named.nbytes == name and named.elements == 1:
        return named, False
    return opaque(f"|V{name}", name), False
