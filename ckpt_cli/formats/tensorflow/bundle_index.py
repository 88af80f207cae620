"""The index of a tensor bundle: a table whose first value is the header, and whose others say where the bytes of a tensor are.

    ""      BundleHeaderProto   num_shards = 1, endianness = 2 (0 little), version = 3 {producer = 1, min_consumer = 2}
    NAME    BundleEntryProto    dtype = 1, shape = 2, shard_id = 3, offset = 4, size = 5, crc32c = 6 (masked), slices = 7

As in tensorflow/core/protobuf/tensor_bundle.proto. The entries of slices have keys that begin with a zero byte (see tensor_protos).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import NamedTuple

from ...errors import Malformed
from ...storage.file import File
from ..encodings.protobuf import BYTES, FIXED32, VARINT, fields, message, piece
from .sstable import Block, Table, unmasked
from .tensor_protos import DTYPE_OF, OBJECT_TYPES, TensorSlice, shape_of, slice_of

SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"  # of the keys of an object graph's variables; left out of names
_VERSION = 1  # kTensorBundleVersion; a file says in min_consumer which one it takes
_HEADER = {1: VARINT, 2: VARINT, 3: BYTES}
_ENTRY = {1: VARINT, 2: BYTES, 3: VARINT, 4: VARINT, 5: VARINT, 6: FIXED32}
_MOST_SHARDS = 99_999


class BundleEntry(NamedTuple):
    """What the index says of a key.

    Attributes:
        dtype_number: The element type, as TensorFlow numbers them.
        shape: The shape of the tensor, or of the slice.
        shard: The index of the data file.
        offset: The byte of the data file at which the elements begin.
        size: Their count of bytes.
        crc: The CRC-32C of these bytes; None where the index has none.
        slices: The slices that make up the tensor; none where it is kept whole.
        block: The block of the index that the entry stands in.
        crc_at: The byte of the index at which `crc` stands; -1 where it stands nowhere.
    """

    dtype_number: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc: int | None
    slices: tuple[TensorSlice, ...]
    block: Block
    crc_at: int


class BundleIndex(NamedTuple):
    """The index of a bundle: how many data files there are, the entries by key, and the blocks of the table."""

    shards: int
    entries: dict[bytes, BundleEntry]
    blocks: list[Block]


def read_index(file: File) -> BundleIndex:
    """Read the whole index. Raises Malformed."""
    shards: int | None = None
    entries: dict[bytes, BundleEntry] = {}
    blocks = []
    for block, data, found in Table(file).read_blocks():
        blocks.append(block)
        for key, start, stop in found:
            value = piece(data, start, stop)
            if shards is None:
                shards = _shards(key, value)
            else:
                entries[key] = _entry(key, value, block, start)
    if shards is None:
        raise Malformed("the index holds nothing, not even its header")
    return BundleIndex(shards, entries, blocks)


def _shards(key: bytes, value: bytes) -> int:
    """Return the number of data files in the header. Raises Malformed where the bundle is big-endian, or of a later version."""
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


def _entry(key: bytes, value: bytes, block: Block, at: int) -> BundleEntry:
    """Decode the entry of `key` in `value`, which lies at byte `at` of the contents of `block`."""
    try:
        found = message(value, _ENTRY)
        dtype_number = found[1].value if 1 in found else 0
        if dtype_number not in DTYPE_OF and dtype_number not in OBJECT_TYPES:
            raise Malformed(f"dtype {dtype_number} is not known")
        shape = shape_of(value, found[2].start, found[2].stop) if 2 in found else ()
        shard, offset, size = (found[number].signed if number in found else 0 for number in (3, 4, 5))
        if min(shard, offset, size) < 0:
            raise Malformed("its place is a negative number")
        slices = [slice_of(value, field.start, field.stop) for field in fields(value) if field.number == 7] if b"\x3a" in value else []
    except Malformed as error:
        raise Malformed(f"tensor {key[:200].decode(errors='replace')!r}: {error.what}") from None
    crc = unmasked(found[6].value) if 6 in found else None
    crc_at = block.at + at + found[6].start if 6 in found and not block.packed else -1
    return BundleEntry(dtype_number, shape, shard, offset, size, crc, tuple(slices), block, crc_at)


def keys_by_name(keys: Iterable[bytes]) -> dict[str, bytes]:
    """Return each key by its name, without the suffix of an object graph's variables, unless that would be the name of another."""
    try:
        full = {key.decode(): key for key in keys}
    except UnicodeDecodeError:
        raise Malformed("a name in the index is not UTF-8") from None
    return {name if (short := name.removesuffix(SUFFIX)) in full or not short else short: key for name, key in full.items()}


def check_apart(entries: Mapping[bytes, BundleEntry]) -> None:
    """Raise Malformed where entries share some of their bytes; those that share all of them are tied."""
    places = sorted(
        {(entry.shard, entry.offset, entry.offset + entry.size) for entry in entries.values() if entry.size and not entry.slices}
    )
    for (one, _, stop), (two, start, _) in pairwise(places):
        if one == two and start < stop:
            raise Malformed(f"two tensors overlap at byte {start:,} of data file {one}")
