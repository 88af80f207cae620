"""Reads TensorFlow's tensor bundles: an index (bundle_index), and data files in which the tensors lie one after the other.

As in tensorflow/core/util/tensor_bundle/tensor_bundle.cc. Elements are little-endian.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from ...disk.opening import open_file
from ...errors import Malformed, number_of
from ...numbers.shapes import numel_of
from ...storage.file import File, leads_out
from ...storage.storage import Storage
from ...storage.tiles import check_tiling, tiled
from ...tensors.checkpoint import Foreign, Undecoded
from ...tensors.tensor import Tensor
from .bundle_index import check_apart, keys_by_name, read_index
from .sstable import ChecksummedExtent, Table
from .string_tensors import checksummed, texts_of
from .tensor_protos import DTYPE_OF, OBJECT_TYPES, STRING, resolved, slice_key

GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"  # the key of the object graph
_SHOWN = 1024  # bytes of strings that are read to be listed


class Bundle:
    """A bundle: its index and its data files, which are opened when a tensor lies in them.

    Attributes:
        file: The index.
        shards: How many data files there are.
        files: Those that were opened, by their index.
        entries: What the index says of each key.
        keys: The name of each tensor and object → its key.
        object_keys: The same of objects alone: strings, resources and variants.
        holders: The bytes of an entry → the keys of the entries that have these bytes.
    """

    def __init__(self, file: File) -> None:
        """Read the index. Raises Malformed where it does not agree with itself."""
        self.file = file
        self.shards, self.entries, self._blocks = read_index(file)
        self.files: dict[int, File] = {}
        self.holders: dict[Storage, list[bytes]] = {}
        self._extents: dict[tuple[int, int, int], ChecksummedExtent] = {}
        self.keys = keys_by_name(key for key in self.entries if not key.startswith(b"\0"))
        self.object_keys = {name: key for name, key in self.keys.items() if self.entries[key].dtype_number in OBJECT_TYPES}
        check_apart(self.entries)

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors in the order of the index. Raises Malformed where it does not agree with itself or the data files."""
        tensors, used = {}, set[bytes]()
        for name, key in self.keys.items():
            if name not in self.object_keys:
                try:
                    tensors[name] = self._sliced(key, used) if self.entries[key].slices else self._whole(key)
                except Malformed as error:
                    raise Malformed(f"tensor {name!r}: {error.what}", error.mend, error.where) from None
        stray = next((key for key in self.entries if key.startswith(b"\0") and key not in used), None)
        if stray is not None:
            raise Malformed(f"the slice {stray[1:80]!r} belongs to no tensor")
        return tensors

    def _whole(self, key: bytes) -> Tensor:
        entry = self.entries[key]
        return Tensor.whole(DTYPE_OF[entry.dtype_number], entry.shape, self.extent(key))

    def _sliced(self, key: bytes, used: set[bytes]) -> Tensor:
        """Return a tensor that is kept as slices; `used` gets the keys of these."""
        entry = self.entries[key]
        dtype = DTYPE_OF[entry.dtype_number]
        boxes = [resolved(part, entry.shape) for part in entry.slices]
        check_tiling(boxes, entry.shape)
        pieces = []
        for part, box in zip(entry.slices, boxes, strict=True):
            part_key = slice_key(key, part)
            inner = self.entries.get(part_key)
            if inner is None or part_key in used:
                raise Malformed("a slice of it is not in the index" if inner is None else "a slice of it is there twice")
            if inner.dtype_number != entry.dtype_number or inner.slices or inner.shape != tuple(length for _, length in box):
                raise Malformed("a slice of it has another shape or dtype than the whole says")
            used.add(part_key)
            pieces.append((self._whole(part_key).storage, box))
        return Tensor.whole(dtype, entry.shape, tiled(dtype.nbytes, entry.shape, pieces))

    def objects(self) -> dict[str, Any]:
        """Return what is listed of each object: a few short strings, or its type and size."""
        return {name: self._object(name, key) for name, key in self.object_keys.items()}

    def undecoded(self) -> dict[str, Undecoded]:
        """Return the objects whose values are not shown: many strings, resources, variants."""
        shown = self.objects()
        keys = {name: key for name, key in self.object_keys.items() if name != GRAPH and isinstance(shown[name], Foreign)}
        return {name: Undecoded(shown[name].text, self.extent(key)) for name, key in keys.items()}

    def _object(self, name: str, key: bytes) -> Any:
        entry, extent = self.entries[key], self.extent(key)
        count = numel_of(entry.shape)
        if entry.dtype_number == STRING and name != GRAPH and extent.nbytes <= _SHOWN:
            texts = texts_of(extent, count)
            if texts is not None:
                return texts if entry.shape else texts[0]
        if name == GRAPH:
            return Foreign("TrackableObjectGraph", f"TrackableObjectGraph, {extent.nbytes:,} bytes")
        what = OBJECT_TYPES[entry.dtype_number]
        return Foreign(what, f"{number_of(count, what)}, {extent.nbytes:,} bytes")

    def extent(self, key: bytes) -> ChecksummedExtent:
        """Return the bytes of an entry, the same object for keys that share them. Raises Malformed where they are not there."""
        entry = self.entries[key]
        place = (entry.shard, entry.offset, entry.size)
        extent = self._extents.get(place) if entry.size else None
        if extent is None:
            file = self._data_file(entry.shard)
            if entry.offset + entry.size > file.size:
                missing = entry.offset + entry.size - file.size
                raise Malformed(f"truncated: {missing:,} bytes are missing at the end", "download or copy it again", file.path)
            extent = self._extents[place] = ChecksummedExtent(file, entry.offset, entry.size, entry.crc)
        self.holders.setdefault(extent, [])
        if key not in self.holders[extent]:
            self.holders[extent].append(key)
        return extent

    def _data_file(self, shard: int) -> File:
        if shard not in self.files:
            if not 0 <= shard < self.shards:
                raise Malformed(f"it is in data file {shard:,} of {self.shards:,}")
            path = data_path(self.file.path, shard, self.shards)
            if not os.path.exists(path):
                raise Malformed(f"{os.path.basename(path)}, which holds it, is not beside the index", "copy all files of the checkpoint")
            if not _is_beside(path, self.file.path):
                raise Malformed(f"{os.path.basename(path)} is a link that leads out of the folder")
            self.files[shard] = open_file(path)
        return self.files[shard]

    def records(self) -> Iterator[tuple[str, Storage]]:
        """Yield what has a checksum besides the tensors, each with what it is called: the blocks of the index, and strings."""
        table = Table(self.file)
        for number, block in enumerate((*self._blocks, table.metaindex, table.index)):
            yield f"block {number} of the index", block.checksummed()
        for name, key in self.object_keys.items():
            if self.entries[key].dtype_number == STRING:
                yield name, checksummed(self.extent(key), numel_of(self.entries[key].shape))


def data_path(index: str, shard: int, shards: int) -> str:
    """Return the path of a data file, by the path of the index."""
    return f"{index.removesuffix('.index')}.data-{shard:05d}-of-{shards:05d}"


def _is_beside(path: str, index: str) -> bool:
    """Whether a data file lies in the folder of its index, or in the one that the index, as a link, leads to."""
    same = os.path.dirname(os.path.realpath(path)) == os.path.dirname(os.path.realpath(index))
    return same or not leads_out(path, os.path.dirname(os.path.abspath(index)))
