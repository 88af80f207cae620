"""Reads TensorFlow's first checkpoints: a table whose first value describes all tensors, and whose others are slices of them.

    ""              SavedTensorSlices {meta = 1 {tensor = 1 {name = 1, shape = 2, type = 3, slice = 4}, versions = 2}}
    key of a slice  SavedTensorSlices {data = 2 {name = 1, slice = 2, data = 3 TensorProto}}

As in tensorflow/core/util/saved_tensor_slice.proto and framework/tensor.proto. Floats are little-endian bytes; other integers, bools and
the bits of 16-bit floats are varints, which are decoded when they are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from ...errors import Malformed, number_of
from ...numbers.dtypes import DType
from ...numbers.shapes import numel_of
from ...storage.file import File
from ...storage.storage import Extent, Memory, Storage
from ...storage.tiles import chained, check_tiling, tiled
from ...tensors.checkpoint import Foreign, Undecoded
from ...tensors.tensor import Tensor
from ..encodings.protobuf import BYTES, VARINT, Data, Field, fields, message
from ..encodings.protobuf import piece as bytes_of
from ..encodings.varints import Varints
from .sstable import Block, Table
from .tensor_protos import (
    CONTENT,
    DTYPE_OF,
    FLOAT8,
    OBJECT_TYPES,
    RAW_FIELDS,
    STRING,
    STRINGS,
    TensorSlice,
    field_of,
    resolved,
    shape_of,
    slice_key,
    slice_of,
)

_VERSION = 1  # TF_CHECKPOINT_VERSION; a file says in min_consumer which one it takes
_SHOWN = 1024  # bytes of strings that are read to be listed


class _Value(NamedTuple):
    """Where a value lies in the contents of a block, and so in the file where the block is not compressed."""

    data: Data
    start: int
    stop: int
    block: Block

    def storage(self, field: Field) -> Storage:
        """Return the bytes of one of its fields."""
        if self.block.packed:
            return Memory(bytes_of(self.data, field.start, field.stop))
        return Extent(self.block.file, self.block.at + field.start, field.stop - field.start)


class _SavedSliceMeta(NamedTuple):
    """What the first value says of a tensor."""

    name: str
    dtype_number: int
    shape: tuple[int, ...]
    slices: tuple[TensorSlice, ...]


class _ValueBytes(Storage):
    """The bytes of a value in the table."""

    __slots__ = ("value",)

    def __init__(self, value: _Value) -> None:
        self.value, self.nbytes = value, value.stop - value.start

    def readinto(self, start: int, view: memoryview) -> None:
        """Fill `view` from the table."""
        begin = self.value.start + start
        view[:] = bytes_of(self.value.data, begin, begin + len(view))


class SavedSlices:
    """The contents of a file. `tensors` and `objects` are what a Checkpoint takes."""

    def __init__(self, file: File) -> None:
        """Read the table, but no values of tensors. Raises Malformed."""
        self.table, self._values = Table(file), dict[bytes, _Value]()
        for block, data, entries in self.table.read_blocks():
            self._values |= {entry.key: _Value(data, entry.start, entry.stop, block) for entry in entries}
        if b"" not in self._values:
            raise Malformed("the table does not begin with what it holds")
        self.tensors: dict[str, Tensor] = {}
        self.objects: dict[str, Any] = {}
        self.undecoded: dict[str, Undecoded] = {}
        for meta in _metas(self._values[b""]):
            if meta.name in self.tensors or meta.name in self.objects:
                raise Malformed(f"tensor {meta.name!r} is there twice")
            try:
                self._add(meta)
            except Malformed as error:
                raise Malformed(f"tensor {meta.name!r}: {error.what}", error.mend) from None

    def _add(self, meta: _SavedSliceMeta) -> None:
        if meta.dtype_number in OBJECT_TYPES:
            self.objects[meta.name] = shown = self._object(meta)
            if isinstance(shown, Foreign):
                values = [_ValueBytes(self._tensor_proto(meta.name, part)[0]) for part in meta.slices]
                self.undecoded[meta.name] = Undecoded(shown.text, chained(values))
            return
        dtype = DTYPE_OF.get(meta.dtype_number)
        if dtype is None:
            raise Malformed(f"dtype {meta.dtype_number} is not known")
        boxes = [resolved(part, meta.shape) for part in meta.slices]
        check_tiling(boxes, meta.shape)
        pieces = []
        for part, box in zip(meta.slices, boxes, strict=True):
            count = numel_of(tuple(length for _, length in box))
            storage = _elements(*self._tensor_proto(meta.name, part), dtype, count)
            pieces.append((storage, box))
        whole = pieces[0][0] if len(pieces) == 1 else tiled(dtype.nbytes, meta.shape, pieces)
        self.tensors[meta.name] = Tensor.whole(dtype, meta.shape, whole)

    def _tensor_proto(self, name: str, part: TensorSlice) -> tuple[_Value, Field | None]:
        """Return the value of a slice, and the field in it that is the TensorProto."""
        value = self._values.get(slice_key(name.encode(), part))
        if value is None:
            raise Malformed("a slice of it is not in the file")
        data = message(value.data, {2: BYTES}, value.start, value.stop).get(2)
        proto = message(value.data, {3: BYTES}, data.start, data.stop).get(3) if data else None
        return value, proto

    def _object(self, meta: _SavedSliceMeta) -> Any:
        what, count = OBJECT_TYPES[meta.dtype_number], numel_of(meta.shape)
        texts = self._texts(meta) if meta.dtype_number == STRING and len(meta.slices) == 1 else None
        if texts is None or len(texts) != count:
            return Foreign(what, number_of(count, what))
        return texts if meta.shape else texts[0]

    def _texts(self, meta: _SavedSliceMeta) -> list[str] | None:
        value, proto = self._tensor_proto(meta.name, meta.slices[0])
        if proto is None or proto.stop - proto.start > _SHOWN:
            return None
        strings = [field for field in fields(value.data, proto.start, proto.stop) if field.number == STRINGS and field.kind == BYTES]
        try:
            return [bytes_of(value.data, field.start, field.stop).decode() for field in strings]
        except UnicodeDecodeError:
            return None

    def records(self) -> Iterator[tuple[str, Storage]]:
        """Yield the blocks of the table, which have checksums, each with what it is called."""
        for number, block in enumerate((*self.table.blocks(), self.table.metaindex, self.table.index)):
            yield f"block {number} of the table", block.checksummed()


def _metas(value: _Value) -> Iterator[_SavedSliceMeta]:
    meta = message(value.data, {1: BYTES}, value.start, value.stop).get(1)
    if meta is None:
        raise Malformed("the table does not begin with what it holds")
    for field in fields(value.data, meta.start, meta.stop):
        if field.number == 1 and field.kind == BYTES:
            yield _meta(value.data, field)
        elif field.number == 2 and field.kind == BYTES:
            least = message(value.data, {2: VARINT}, field.start, field.stop).get(2)
            if least and least.signed > _VERSION:
                raise Malformed(f"the checkpoint is of version {least.signed}; up to {_VERSION} is known")


def _meta(data: Data, field: Field) -> _SavedSliceMeta:
    found = message(data, {1: BYTES, 2: BYTES, 3: VARINT}, field.start, field.stop)
    if not {1, 3} <= found.keys():
        raise Malformed("a tensor has no name, or no dtype")
    try:
        name = bytes_of(data, found[1].start, found[1].stop).decode()
    except UnicodeDecodeError:
        raise Malformed("a name is not UTF-8") from None
    shape = shape_of(data, found[2].start, found[2].stop) if 2 in found else ()
    inner = (each for each in fields(data, field.start, field.stop) if (each.number, each.kind) == (4, BYTES))
    slices = tuple(slice_of(data, each.start, each.stop) for each in inner)
    return _SavedSliceMeta(name, found[3].value, shape, slices)


def _elements(value: _Value, proto: Field | None, dtype: DType, count: int) -> Storage:
    """Return the `count` elements of a TensorProto; without one there are none."""
    name, size = dtype.name, dtype.nbytes
    wanted = (CONTENT, field_of(dtype))
    found = [each for each in fields(value.data, proto.start, proto.stop) if each.number in wanted] if proto else []
    if len(found) > 1 or any(each.kind != BYTES for each in found):
        raise Malformed("its values are written in an unusual way")
    storage = value.storage(found[0]) if found else Memory(b"")
    plain = not found or found[0].number in (CONTENT, FLOAT8, *RAW_FIELDS.values())
    if plain and storage.nbytes != count * size:
        raise Malformed(f"{count:,} elements of {name} take {count * size:,} bytes, the data has {storage.nbytes:,}")
    if not plain and not count <= storage.nbytes <= 10 * count:
        raise Malformed(f"{count:,} elements of {name} are not in {storage.nbytes:,} bytes")
    return storage if plain else Varints(storage, dtype, count)
