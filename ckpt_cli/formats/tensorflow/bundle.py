"""TensorFlow's tensor bundles, read: the index as a table of entries, the tensors where they lie in the data files.

    ""      BundleHeaderProto   num_shards = 1, endianness = 2 (0 little), version = 3 {producer = 1, min_consumer = 2}
    NAME    BundleEntryProto    dtype = 1, shape = 2, shard_id = 3, offset = 4, size = 5, crc32c = 6 (masked), slices = 7

As in tensorflow/core/protobuf/tensor_bundle.proto and util/tensor_bundle/tensor_bundle.cc. Strings are kept as their lengths (varints), a
checksum of the lengths, and their bytes; the checksum of the entry is over the lengths as 4 bytes each.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from ...errors import Malformed
from ...numbers.shapes import numel_of
from ...storage.crc32c import CRC32C
from ...storage.file import File, leads_out
from ...storage.storage import Extent, Memory, Storage
from ...storage.tiles import check_tiling, tiled
from ...tensors.checkpoint import Foreign
from ...tensors.tensor import Tensor
from ..encodings.protobuf import BYTES, FIXED32, VARINT, fields, message, number, varint
from ..encodings.protobuf import piece as cut
from .messages import KINDS, OBJECTS, STRING, Slice, resolved, shape_of, slice_key, slice_of
from .sstable import Block, Stored, Table, masked, unmasked

SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"  # of what an object graph calls a variable; left out of names
GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_VERSION = 1
_HEADER = {1: VARINT, 2: VARINT, 3: BYTES}
_ENTRY = {1: VARINT, 2: BYTES, 3: VARINT, 4: VARINT, 5: VARINT, 6: FIXED32}
_MOST_SHARDS = 99_999
_SHORT = 1024  # bytes of strings that are read to be shown
_MOST_STRINGS = 64 << 20


class Entry(NamedTuple):
    """What the index says of a key. `crc_at`: the byte of the index at which the checksum stands; -1 where it stands nowhere."""

    kind: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc: int | None
    slices: tuple[Slice, ...]
    block: Block
    crc_at: int


class Bundle:
    """The index of a bundle and its data files. `keys`: each tensor's and object's name → its key. `carried`: the bytes of objects."""

    def __init__(self, file: File) -> None:
        self.file, self.blocks = file, list[Block]()
        self.entries: dict[bytes, Entry] = {}
        self.files: dict[int, File] = {}
        self.storages: dict[tuple[int, int, int], Stored] = {}
        self.holders: dict[Storage, list[bytes]] = {}
        self._read()
        self.keys = _names(key for key in self.entries if not key.startswith(b"\0"))
        self.carried = {name: key for name, key in self.keys.items() if self.entries[key].kind in OBJECTS}
        _check_apart(self.entries)

    def _read(self) -> None:
        header = None
        for block, data, found in Table(self.file).opened():
            self.blocks.append(block)
            for key, start, stop in found:
                value = cut(data, start, stop)
                if header is None:
                    header = key
                    self.shards = _header(key, value)
                else:
                    self.entries[key] = _entry(key, value, block, start)
        if header is None:
            raise Malformed("the index holds nothing, not even its header")

    def tensors(self) -> dict[str, Tensor]:
        """By name, in the order of the index. Raises Malformed where the index does not agree with itself or the data files."""
        found, used = {}, set[bytes]()
        for name, key in self.keys.items():
            if name not in self.carried:
                try:
                    found[name] = self._sliced(key, used) if self.entries[key].slices else self._whole(key)
                except Malformed as error:
                    raise Malformed(f"tensor {name!r}: {error.what}", error.mend, error.where) from None
        stray = next((key for key in self.entries if key.startswith(b"\0") and key not in used), None)
        if stray is not None:
            raise Malformed(f"the slice {stray[1:80]!r} belongs to no tensor")
        return found

    def _whole(self, key: bytes) -> Tensor:
        entry = self.entries[key]
        return Tensor.whole(KINDS[entry.kind], entry.shape, self.stored(key))

    def _sliced(self, key: bytes, used: set[bytes]) -> Tensor:
        entry = self.entries[key]
        boxes = [resolved(part, entry.shape) for part in entry.slices]
        check_tiling(boxes, entry.shape)
        pieces = []
        for part, box in zip(entry.slices, boxes, strict=True):
            own = slice_key(key, part)
            inner = self.entries.get(own)
            if inner is None or own in used:
                raise Malformed("a slice of it is not in the index" if inner is None else "a slice of it is there twice")
            if inner.kind != entry.kind or inner.slices or inner.shape != tuple(length for _, length in box):
                raise Malformed("a slice of it has another shape or dtype than the whole says")
            used.add(own)
            pieces.append((self._whole(own).storage, box))
        dtype = KINDS[entry.kind]
        return Tensor.whole(dtype, entry.shape, tiled(dtype.nbytes, entry.shape, pieces))

    def objects(self) -> dict[str, Any]:
        return {name: self._object(name, key) for name, key in self.carried.items()}

    def _object(self, name: str, key: bytes) -> Any:
        entry, stored = self.entries[key], self.stored(key)
        count = numel_of(entry.shape)
        if entry.kind == STRING and name != GRAPH and stored.nbytes <= _SHORT:
            texts = _texts(stored, count)
            if texts is not None:
                return texts if entry.shape else texts[0]
        what = OBJECTS[entry.kind]
        if name == GRAPH:
            return Foreign("TrackableObjectGraph", f"TrackableObjectGraph, {stored.nbytes:,} bytes")
        return Foreign(what, f"{count:,} {what}{'s' * (count != 1)}, {stored.nbytes:,} bytes")

    def stored(self, key: bytes) -> Stored:
        """The bytes of an entry; the same for keys that share them."""
        entry = self.entries[key]
        place = (entry.shard, entry.offset, entry.size)
        stored = self.storages.get(place) if entry.size else None
        if stored is None:
            file = self._data(entry.shard)
            if entry.offset + entry.size > file.size:
                missing = entry.offset + entry.size - file.size
                raise Malformed(f"truncated: {missing:,} bytes are missing at the end", "download or copy it again", file.path)
            stored = self.storages[place] = Stored(file, entry.offset, entry.size, entry.crc)
        self.holders.setdefault(stored, [])
        if key not in self.holders[stored]:
            self.holders[stored].append(key)
        return stored

    def _data(self, shard: int) -> File:
        if shard not in self.files:
            if not 0 <= shard < self.shards:
                raise Malformed(f"it is in data file {shard:,} of {self.shards:,}")
            path = data_path(self.file.path, shard, self.shards)
            if not os.path.exists(path):
                raise Malformed(f"{os.path.basename(path)}, which holds it, is not beside the index", "copy all files of the checkpoint")
            if not _beside(path, self.file.path):
                raise Malformed(f"{os.path.basename(path)} is a link that leads out of the folder")
            self.files[shard] = File(path)
        return self.files[shard]

    def records(self) -> Iterator[tuple[str, Storage]]:
        """What has a checksum besides the tensors: the blocks of the index, and strings."""
        table = Table(self.file)
        for place, block in enumerate((*self.blocks, table.metaindex, table.index)):
            yield f"block {place} of the index", block.stored()
        for name, key in self.carried.items():
            if self.entries[key].kind == STRING:
                yield name, _sworn(self.stored(key), numel_of(self.entries[key].shape))


def prefix_of(path: str) -> str:
    return path.removesuffix(".index")


def data_path(index: str, shard: int, shards: int) -> str:
    return f"{prefix_of(index)}.data-{shard:05d}-of-{shards:05d}"


def _beside(path: str, index: str) -> bool:
    """Whether a data file lies where its index does, or where that, being a link, leads to."""
    same = os.path.dirname(os.path.realpath(path)) == os.path.dirname(os.path.realpath(index))
    return same or not leads_out(path, os.path.dirname(os.path.abspath(index)))


def _header(key: bytes, value: bytes) -> int:
    """The number of data files. Raises Malformed where they are of another kind of machine or of a version to come."""
    if key:
        raise Malformed("the index does not begin with its header")
    header = message(value, _HEADER)
    shards = header[1].signed if 1 in header else 0
    if not 0 < shards <= _MOST_SHARDS:
        raise Malformed(f"the index says that there are {shards:,} data files")
    if 2 in header and header[2].value:
        raise Malformed("the checkpoint is big-endian: it was written on another kind of machine", "save it again on a common one")
    version = message(value, {2: VARINT}, header[3].start, header[3].stop) if 3 in header else {}
    if 2 in version and version[2].signed > _VERSION:
        raise Malformed(f"the bundle is of version {version[2].signed}; up to {_VERSION} is known")
    return shards


def _entry(key: bytes, value: bytes, block: Block, at: int) -> Entry:
    """What is said of `key` by `value`, which lies at byte `at` of the contents of `block`."""
    try:
        found = message(value, _ENTRY)
        kind = found[1].value if 1 in found else 0
        if kind not in KINDS and kind not in OBJECTS:
            raise Malformed(f"dtype {kind} is not known")
        shape = shape_of(value, found[2].start, found[2].stop) if 2 in found else ()
        shard, offset, size = (found[at].signed if at in found else 0 for at in (3, 4, 5))
        if min(shard, offset, size) < 0:
            raise Malformed("its place is a negative number")
        slices = [slice_of(value, field.start, field.stop) for field in fields(value) if field.number == 7] if b"\x3a" in value else []
    except Malformed as error:
        raise Malformed(f"tensor {_shown(key)}: {error.what}") from None
    crc = unmasked(found[6].value) if 6 in found else None
    crc_at = block.at + at + found[6].start if 6 in found and not block.packed else -1
    return Entry(kind, shape, shard, offset, size, crc, tuple(slices), block, crc_at)


def _shown(key: bytes) -> str:
    return repr(key[:200].decode(errors="replace"))


def _names(keys: Iterable[bytes]) -> dict[str, bytes]:
    """Name → key: without the suffix that variables of an object graph have, unless that would be another's name."""
    try:
        full = {key.decode(): key for key in keys}
    except UnicodeDecodeError:
        raise Malformed("a name in the index is not UTF-8") from None
    return {name if (short := name.removesuffix(SUFFIX)) in full or not short else short: key for name, key in full.items()}


def _check_apart(entries: Mapping[bytes, Entry]) -> None:
    """Entries that share all their bytes are tied; any other overlap is an error."""
    places = sorted(
        {(entry.shard, entry.offset, entry.offset + entry.size) for entry in entries.values() if entry.size and not entry.slices}
    )
    for (one, _, stop), (two, start, _) in pairwise(places):
        if one == two and start < stop:
            raise Malformed(f"two tensors overlap at byte {start:,} of data file {one}")


def _lengths(raw: bytes, count: int) -> tuple[list[int], int]:
    """The lengths of `count` strings, and where the checksum over them begins. Raises Malformed where the strings do not fill `raw`."""
    if count > len(raw):
        raise Malformed("the strings are cut off")
    lengths, at = [], 0
    for _ in range(count):
        length, at = varint(raw, at, len(raw))
        lengths.append(length)
    if at + 4 + sum(lengths) != len(raw):
        raise Malformed("the strings do not fill their place")
    return lengths, at


def _texts(stored: Stored, count: int) -> list[str] | None:
    """Short strings, where they are whole and text."""
    raw = stored.read()
    try:
        lengths, at = _lengths(raw, count)
        at += 4
        found = []
        for length in lengths:
            found.append(raw[at : at + length].decode())
            at += length
    except (Malformed, UnicodeDecodeError):
        return None
    return found


class _Sworn(Memory):
    """Bytes that a checksum was made of, which stand nowhere as such."""

    __slots__ = ("crc",)
    sums = CRC32C

    def __init__(self, data: bytes, crc: int | None) -> None:
        super().__init__(data)
        self.crc = crc


def _sworn(stored: Stored, count: int) -> Storage:
    """What the checksum of strings is made of; their bytes as they stand, which have another one, where they are broken."""
    if stored.nbytes > _MOST_STRINGS:
        return Extent(stored.file, stored.offset, stored.nbytes)
    raw = stored.read()
    try:
        lengths, at = _lengths(raw, count)
    except Malformed:
        return stored
    return _Sworn(_widths(lengths) + raw[at:], stored.crc)


def text_of(stored: Stored) -> bytes:
    """The one string that an entry holds. Raises Malformed."""
    raw = stored.read()
    _, at = _lengths(raw, 1)
    return raw[at + 4 :]


def written_text(text: bytes) -> tuple[bytes, int]:
    """One string as an entry holds it, and the checksum that the entry has."""
    width = _widths([len(text)])
    checksum = masked(CRC32C.of(width)).to_bytes(4, "little")
    return number(len(text)) + checksum + text, CRC32C.of(width + checksum + text)


def _widths(lengths: Sequence[int]) -> bytes:
    return b"".join(length.to_bytes(4 if length < 1 << 32 else 8, "little") for length in lengths)
