"""TensorFlow bundles built by hand, right or wrong: entries of any kind, and the table around them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy

from ckpt_cli.formats.encodings.protobuf import fixed32, integer, nested
from ckpt_cli.formats.tensorflow import sstable, sstable_writing
from ckpt_cli.formats.tensorflow.tensor_protos import DTYPE_NUMBERS, TensorSlice, encoded_shape, slice_key
from ckpt_cli.numbers.dtypes import DTYPES
from ckpt_cli.storage.crc32c import CRC32C

HEADER = integer(1, 1) + nested(3, integer(1, 1))


class Part(NamedTuple):
    """A key, what its entry says besides its place, its bytes, and what comes with it."""

    key: bytes
    said: bytes
    data: bytes
    more: tuple[Part, ...] = ()


def entry(dtype: int = 1, shape: Sequence[int] = (1,), shard: int = 0, offset: int = 0, size: int = 4, crc: int = 1) -> bytes:
    """A BundleEntryProto with anything in it."""
    place = integer(3, shard) + integer(4, offset) + integer(5, size)
    return integer(1, dtype) + nested(2, encoded_shape(shape)) + place + fixed32(6, crc)


def part(key: bytes, array: numpy.ndarray[Any, Any], boxes: Sequence[TensorSlice] = ()) -> Part:
    """An array under a key; with `boxes`, in slices."""
    said = integer(1, DTYPE_NUMBERS[DTYPES[array.dtype.name]]) + nested(2, encoded_shape(array.shape))
    if not boxes:
        return Part(key, said, array.tobytes())
    cuts = [array[tuple(slice(start, None if length < 0 else start + length) for start, length in box)] for box in boxes]
    said += b"".join(nested(7, slice_proto(box)) for box in boxes)
    return Part(key, said, b"", tuple(part(slice_key(key, box), cut) for box, cut in zip(boxes, cuts, strict=True)))


def slice_proto(box: TensorSlice) -> bytes:
    return b"".join(nested(1, integer(1, start) + (integer(2, length) if length >= 0 else b"")) for start, length in box)


def bundle(path: Path, parts: Sequence[Part], header: bytes = HEADER) -> None:
    """PREFIX.index and its one data file."""
    data, items = bytearray(), {}
    for one in (inner for outer in parts for inner in (outer, *outer.more)):
        crc = fixed32(6, sstable.masked(CRC32C.of(one.data)))
        items[one.key] = one.said + integer(4, len(data)) + integer(5, len(one.data)) + crc
        data += one.data
    index(path, items, header)
    data_of(path).write_bytes(data)


def index(path: Path, items: dict[bytes, bytes], header: bytes | None = HEADER) -> None:
    """The table alone: any keys, any values."""
    everything = ({} if header is None else {b"": header}) | items
    path.write_bytes(b"".join(sstable_writing.table(iter(sorted(everything.items())))))


def data_of(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(".index") + ".data-00000-of-00001")
