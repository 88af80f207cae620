"""TensorFlow's first checkpoints, read: a table whose first value tells all tensors, and whose others are their slices.

    ""              SavedTensorSlices {meta = 1 {tensor = 1 {name = 1, shape = 2, type = 3, slice = 4}, versions = 2}}
    key of a slice  SavedTensorSlices {data = 2 {name = 1, slice = 2, data = 3 TensorProto}}

As in tensorflow/core/util/saved_tensor_slice.proto and framework/tensor.proto. Floats lie as they are; other integers, bools and the bits
of 16-bit floats are varints, and are decoded when they are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from ...errors import Malformed
from ...numbers.dtypes import DType
from ...numbers.shapes import numel_of
from ...storage.file import File
from ...storage.storage import Extent, Memory, Storage
from ...storage.tiles import check_tiling, tiled
from ...tensors.checkpoint import Foreign
from ...tensors.tensor import Tensor
from ..encodings.protobuf import BYTES, VARINT, Data, Field, fields, message
from ..encodings.protobuf import piece as cut
from ..encodings.varints import Varints
from .messages import KINDS, OBJECTS, STRING, Slice, resolved, shape_of, slice_key, slice_of
from .sstable import Block, Table

_VERSION = 1
_CONTENT = 4  # TensorProto.tensor_content: the bytes as they are
_RAW = {"float32": 5, "float64": 6, "complex64": 9, "complex128": 12}
_VARINTS = {"int64": 10, "bool": 11, "float16": 13, "bfloat16": 13, "uint32": 16, "uint64": 17}
_INTS = 7  # int_val: every other integer
_FLOAT8 = 18
_TEXTS = 8
_SHORT = 1024


class _Value(NamedTuple):
    """Where a value lies: in the contents of a block, and in the file where that is not compressed."""

    data: Data
    start: int
    stop: int
    block: Block

    def storage(self, field: Field) -> Storage:
        if self.block.packed:
            return Memory(cut(self.data, field.start, field.stop))
        return Extent(self.block.file, self.block.at + field.start, field.stop - field.start)


class _Told(NamedTuple):
    """What the first value says of a tensor."""

    name: str
    kind: int
    shape: tuple[int, ...]
    slices: tuple[Slice, ...]


class SavedSlices:
    """The tensors and objects of a file. Raises Malformed."""

    def __init__(self, file: File) -> None:
        self.file, self.values = file, dict[bytes, _Value]()
        self.table = Table(file)
        for block, data, found in self.table.opened():
            self.values |= {entry.key: _Value(data, entry.start, entry.stop, block) for entry in found}
        if b"" not in self.values:
            raise Malformed("the table does not begin with what it holds")
        self.tensors: dict[str, Tensor] = {}
        self.objects: dict[str, Any] = {}
        for one in _told(self.values[b""]):
            if one.name in self.tensors or one.name in self.objects:
                raise Malformed(f"tensor {one.name!r} is there twice")
            try:
                self._add(one)
            except Malformed as error:
                raise Malformed(f"tensor {one.name!r}: {error.what}", error.mend) from None

    def _add(self, one: _Told) -> None:
        if one.kind in OBJECTS:
            self.objects[one.name] = self._object(one)
            return
        dtype = KINDS.get(one.kind)
        if dtype is None:
            raise Malformed(f"dtype {one.kind} is not known")
        boxes = [resolved(part, one.shape) for part in one.slices]
        check_tiling(boxes, one.shape)
        pieces = []
        for part, box in zip(one.slices, boxes, strict=True):
            count = numel_of(tuple(length for _, length in box))
            storage = _decoded(*self._content(one.name, part), dtype, count)
            pieces.append((storage, box))
        whole = pieces[0][0] if len(pieces) == 1 else tiled(dtype.nbytes, one.shape, pieces)
        self.tensors[one.name] = Tensor.whole(dtype, one.shape, whole)

    def _content(self, name: str, part: Slice) -> tuple[_Value, Field | None]:
        """The TensorProto of a slice."""
        value = self.values.get(slice_key(name.encode(), part))
        if value is None:
            raise Malformed("a slice of it is not in the file")
        data = message(value.data, {2: BYTES}, value.start, value.stop).get(2)
        inner = message(value.data, {3: BYTES}, data.start, data.stop).get(3) if data else None
        return value, inner

    def _object(self, one: _Told) -> Any:
        what, count = OBJECTS[one.kind], numel_of(one.shape)
        texts = self._texts(one) if one.kind == STRING and len(one.slices) == 1 else None
        if texts is None or len(texts) != count:
            return Foreign(what, f"{count:,} {what}{'s' * (count != 1)}")
        return texts if one.shape else texts[0]

    def _texts(self, one: _Told) -> list[str] | None:
        value, inner = self._content(one.name, one.slices[0])
        if inner is None or inner.stop - inner.start > _SHORT:
            return None
        found = [field for field in fields(value.data, inner.start, inner.stop) if field.number == _TEXTS and field.kind == BYTES]
        try:
            return [cut(value.data, field.start, field.stop).decode() for field in found]
        except UnicodeDecodeError:
            return None

    def records(self) -> Iterator[tuple[str, Storage]]:
        for number, block in enumerate((*self.table.blocks(), self.table.metaindex, self.table.index)):
            yield f"block {number} of the table", block.stored()


def _told(value: _Value) -> Iterator[_Told]:
    meta = message(value.data, {1: BYTES}, value.start, value.stop).get(1)
    if meta is None:
        raise Malformed("the table does not begin with what it holds")
    for field in fields(value.data, meta.start, meta.stop):
        if field.number == 1 and field.kind == BYTES:
            yield _told_of(value.data, field)
        elif field.number == 2 and field.kind == BYTES:
            least = message(value.data, {2: VARINT}, field.start, field.stop).get(2)
            if least and least.signed > _VERSION:
                raise Malformed(f"the checkpoint is of version {least.signed}; up to {_VERSION} is known")


def _told_of(data: Data, field: Field) -> _Told:
    found = message(data, {1: BYTES, 2: BYTES, 3: VARINT}, field.start, field.stop)
    if not {1, 3} <= found.keys():
        raise Malformed("a tensor has no name, or no dtype")
    try:
        name = cut(data, found[1].start, found[1].stop).decode()
    except UnicodeDecodeError:
        raise Malformed("a name is not UTF-8") from None
    shape = shape_of(data, found[2].start, found[2].stop) if 2 in found else ()
    slices = [slice_of(data, one.start, one.stop) for one in fields(data, field.start, field.stop) if (one.number, one.kind) == (4, BYTES)]
    return _Told(name, found[3].value, shape, tuple(slices))


def _decoded(value: _Value, proto: Field | None, dtype: DType, count: int) -> Storage:
    """The elements of a TensorProto: `count` of `dtype`."""
    name, size = dtype.name, dtype.nbytes
    number = _RAW.get(name) or _VARINTS.get(name) or (_FLOAT8 if name.startswith("float8") else _INTS)
    found = [one for one in fields(value.data, proto.start, proto.stop) if one.number in (_CONTENT, number)] if proto else []
    if len(found) > 1 or any(one.kind != BYTES for one in found):
        raise Malformed("its values are written in an unusual way")
    storage = value.storage(found[0]) if found else Memory(b"")
    plain = not found or found[0].number in (_CONTENT, _FLOAT8, *_RAW.values())
    if plain and storage.nbytes != count * size:
        raise Malformed(f"{count:,} elements of {name} take {count * size:,} bytes, the data has {storage.nbytes:,}")
    if not plain and not count <= storage.nbytes <= 10 * count:
        raise Malformed(f"{count:,} elements of {name} are not in {storage.nbytes:,} bytes")
    return storage if plain else Varints(storage, dtype, count)
