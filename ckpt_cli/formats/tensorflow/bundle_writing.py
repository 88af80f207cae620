"""Writes tensor bundles anew: one data file with the tensors in the order of the index, then the index with their checksums.

As BundleWriter in tensorflow/core/util/tensor_bundle/tensor_bundle.cc. The strings and the object graph of a bundle that was read are
written again; the graph is changed where keys were renamed or dropped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ...disk.file_to_write import FileToWrite
from ...disk.layout import FileLayout, Placed
from ...errors import CannotHold, Malformed
from ...storage.crc32c import CRC32C
from ...storage.storage import Memory, Storage
from ...tensors.checkpoint import Checkpoint
from ...tensors.tensor import Tensor
from ..encodings.protobuf import fixed32, integer, nested
from .bundle import GRAPH, Bundle, data_path
from .bundle_index import SUFFIX
from .object_graph import rekeyed
from .sstable import ChecksummedExtent, masked
from .sstable_writing import table
from .string_tensors import encoded_text, text_of
from .tensor_protos import DTYPE_NUMBERS, encoded_shape

_HEADER = integer(1, 1) + nested(3, integer(1, 1))  # one data file; version 1 of the format


class _Item(NamedTuple):
    """What is written under a key. `crc`: its checksum, where that is not of the bytes as they stand (strings)."""

    dtype_number: int
    shape: tuple[int, ...]
    storage: Storage
    crc: int | None = None

    def entry(self, placed: Placed) -> bytes:
        """Encode the BundleEntryProto."""
        crc = masked(placed.crc if self.crc is None else self.crc)
        place = integer(4, placed.at) + integer(5, self.storage.nbytes)
        return integer(1, self.dtype_number) + nested(2, encoded_shape(self.shape)) + place + fixed32(6, crc)


class Plan:
    """A checkpoint as the items of a bundle, by key."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Raise CannotHold for a name or a dtype that a bundle cannot hold."""
        bundle = checkpoint.rest if isinstance(checkpoint.rest, Bundle) else None
        items: dict[bytes, _Item] = {}
        tied = checkpoint.tied_to()
        for name, tensor in checkpoint.items():
            if name not in tied:
                _check_holdable(name, tensor)
        storages = {name: tensor.elements() for name, tensor in checkpoint.items() if name not in tied}
        keys = {name: _key(name, checkpoint, bundle) for name in checkpoint}
        for name, tensor in checkpoint.items():
            items[keys[name]] = _Item(DTYPE_NUMBERS[tensor.dtype], tensor.shape, storages[tied.get(name, name)])
        objects = carried(checkpoint)
        items |= objects.values()
        if bundle and GRAPH in objects:
            items[objects[GRAPH][0]] = _with_new_keys(objects[GRAPH][1], _changed_keys(checkpoint, bundle, keys))
        if len(items) < len(checkpoint) + len(objects):
            raise CannotHold(f"two names are the same to TensorFlow, which adds {SUFFIX} to one of them", "rename it")
        self.items = dict(sorted(items.items()))
        self.placed: dict[Storage, Placed] = {}

    def write_data(self, file_layout: FileLayout) -> None:
        """Write the data file, each storage once."""
        self.placed = {}
        for item in self.items.values():
            if item.storage not in self.placed:
                self.placed[item.storage] = file_layout.put(item.storage, CRC32C)

    def write_index(self, file_layout: FileLayout) -> None:
        """Write the index, once the data are written and their checksums known."""
        entries = ((key, item.entry(self.placed[item.storage])) for key, item in self.items.items())
        for piece in table(iter([(b"", _HEADER), *entries])):
            file_layout.write(piece)


def written_anew(checkpoint: Checkpoint, path: str) -> Iterator[FileToWrite]:
    """Yield the data file, then the index at `path`. Raises CannotHold."""
    plan = Plan(checkpoint)
    yield FileToWrite(data_path(path, 0, 1), plan.write_data)
    yield FileToWrite(path, plan.write_index)


def carried(checkpoint: Checkpoint) -> dict[str, tuple[bytes, _Item]]:
    """Return the objects of the bundle that the checkpoint was read from, by name: key, and bytes as they stand there."""
    bundle = checkpoint.rest
    if not isinstance(bundle, Bundle):
        return {}
    objects = {}
    for name, key in _kept_objects(checkpoint, bundle).items():
        entry = bundle.entries[key]
        objects[name] = key, _Item(entry.dtype_number, entry.shape, bundle.extent(key), entry.crc)
    return objects


def _kept_objects(checkpoint: Checkpoint, bundle: Bundle) -> dict[str, bytes]:
    return {name: key for name, key in bundle.object_keys.items() if name in checkpoint.objects}


def _changed_keys(checkpoint: Checkpoint, bundle: Bundle, keys: dict[str, bytes]) -> dict[bytes, bytes | None]:
    """Return each key that was read and is no more → the new one, or None where it was dropped."""
    now = _kept_objects(checkpoint, bundle)
    now |= {source: keys[name] for name in reversed(keys) if (source := checkpoint.sources.get(name, name)) in bundle.keys}
    return {key: now.get(name) for name, key in bundle.keys.items() if now.get(name) != key}


def _with_new_keys(graph: _Item, changed: Mapping[bytes, bytes | None]) -> _Item:
    """Return the object graph with other keys; one that cannot be read stays as it is."""
    if not changed or not isinstance(graph.storage, ChecksummedExtent):
        return graph
    try:
        data, crc = encoded_text(rekeyed(text_of(graph.storage), changed))
    except Malformed:
        return graph
    return graph._replace(storage=Memory(data), crc=crc)


def _check_holdable(name: str, tensor: Tensor) -> None:
    if tensor.layout or tensor.dtype not in DTYPE_NUMBERS:
        kind = tensor.layout or tensor.dtype.name
        raise CannotHold(f"a TensorFlow checkpoint cannot hold {name}, which is {kind}", f"leave it out: --drop '{name}'")


def _key(name: str, checkpoint: Checkpoint, bundle: Bundle | None) -> bytes:
    """Return the key of a tensor: its name, with the suffix that was left out when it was read."""
    source = bundle.keys.get(checkpoint.sources.get(name, name), b"") if bundle else b""
    suffix = SUFFIX if source.endswith(SUFFIX.encode()) and not name.endswith(SUFFIX) else ""
    try:
        key = (name + suffix).encode()
    except UnicodeEncodeError:
        raise CannotHold("a name that is no valid Unicode has no place in a TensorFlow checkpoint", "rename it") from None
    if not key or key.startswith(b"\0"):
        raise CannotHold(f"a TensorFlow checkpoint cannot hold a tensor called {name!r}", "rename it")
    return key
