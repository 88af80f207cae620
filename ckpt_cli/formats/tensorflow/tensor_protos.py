"""What TensorFlow's protocol buffers say of tensors: element types, shapes, slices, and the keys that slices are kept under.

    DataType            the numbers of types.proto; references (100 and more) are never in a file
    TensorShapeProto    dim = 2 {size = 1}, unknown_rank = 3
    TensorSliceProto    extent = 1 {start = 1, length = 2}; without a length it is all of the axis
    key of a slice      0, the name, the count of axes, start and length of each, as OrderedCode: so that bytes sort as values do

As in tensorflow/core/framework/{types,tensor_shape,tensor_slice}.proto and lib/strings/ordered_code.cc.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from ...errors import Malformed
from ...numbers.dtypes import DTYPES, DType, opaque
from ...numbers.shapes import numel_of
from ..encodings.protobuf import BYTES, VARINT, Data, fields, integer, message, nested, piece

_NAMES = {
    1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 8: "complex64", 9: "int64", 10: "bool",
    11: "qint8", 12: "quint8", 13: "qint32", 14: "bfloat16", 15: "qint16", 16: "quint16", 17: "uint16", 18: "complex128",
    19: "float16", 22: "uint32", 23: "uint64", 24: "float8_e5m2", 25: "float8_e4m3fn", 26: "float8_e4m3fnuz",
    27: "float8_e4m3b11fnuz", 28: "float8_e5m2fnuz",
}  # fmt: skip
_BYTE_EACH = {29: "int4", 30: "uint4", 31: "int2", 32: "uint2"}  # an element takes a byte, most bits of it unused
DTYPE_OF: dict[int, DType] = {number: DTYPES[name] for number, name in _NAMES.items()}
DTYPE_OF |= {number: opaque(name, 1) for number, name in _BYTE_EACH.items()}
DTYPE_NUMBERS = {dtype: number for number, dtype in DTYPE_OF.items()}
OBJECT_TYPES = {7: "string", 20: "resource", 21: "variant"}  # element types that are no numbers
STRING = 7
# Fields of a TensorProto, by the names of dtypes (tensorflow/core/framework/tensor.proto).
CONTENT = 4  # tensor_content: the bytes of any dtype
STRINGS = 8
RAW_FIELDS = {"float32": 5, "float64": 6, "complex64": 9, "complex128": 12}
VARINT_FIELDS = {"int64": 10, "bool": 11, "float16": 13, "bfloat16": 13, "uint32": 16, "uint64": 17}
INTS = 7  # int_val: every other integer
FLOAT8 = 18
_MOST_AXES = 254  # TensorShape::MaxDimensions

_ESCAPED = {0: b"\0\xff", 255: b"\xff\0"}  # bytes that OrderedCode writes as two in a string

TensorSlice = tuple[tuple[int, int], ...]  # start and length of each axis; a length of -1 is all of it


def shape_of(data: Data, start: int, stop: int) -> tuple[int, ...]:
    """Decode the TensorShapeProto in the bytes [start, stop). Raises Malformed where the shape is not known in full."""
    return _shape(piece(data, start, stop))


@lru_cache(4096)  # most shapes of a model occur many times
def _shape(data: bytes) -> tuple[int, ...]:
    sizes = []
    for field in fields(data):
        if field.number == 3 and field.value:
            raise Malformed("its shape is not known")
        if field.number == 2 and field.kind == BYTES:
            size = message(data, {1: VARINT}, field.start, field.stop).get(1)
            sizes.append(size.signed if size else 0)
    if len(sizes) > _MOST_AXES or any(size < 0 for size in sizes):
        raise Malformed("its shape has too many axes" if len(sizes) > _MOST_AXES else "its shape is not known")
    if numel_of(tuple(sizes)) >> 63:
        raise Malformed("its shape has more elements than there can be")
    return tuple(sizes)


def slice_of(data: Data, start: int, stop: int) -> TensorSlice:
    """Decode the TensorSliceProto in the bytes [start, stop). Raises Malformed where it is broken."""
    extents = []
    for field in fields(data, start, stop):
        if field.number == 1 and field.kind == BYTES:
            extent = message(data, {1: VARINT, 2: VARINT}, field.start, field.stop)
            first, length = extent[1].signed if 1 in extent else 0, extent[2].signed if 2 in extent else -1
            extents.append((first, length))
    return tuple(extents)


def resolved(part: TensorSlice, shape: Sequence[int]) -> TensorSlice:
    """Return the slice with the length of every axis in numbers. Raises Malformed where it does not lie within `shape`."""
    if len(part) != len(shape):
        raise Malformed(f"a slice of it has {len(part)} axes instead of {len(shape)}")
    box = tuple((start, size if length < 0 else length) for (start, length), size in zip(part, shape, strict=True))
    if any(start < 0 or start + length > size for (start, length), size in zip(box, shape, strict=True)):
        raise Malformed("a slice of it reaches beyond its shape")
    return box


def encoded_shape(shape: Sequence[int]) -> bytes:
    """Encode a shape as a TensorShapeProto."""
    return b"".join(nested(2, integer(1, size)) for size in shape)


def slice_key(name: bytes, part: TensorSlice) -> bytes:
    """Return the key under which a slice of the tensor `name` is kept (EncodeTensorNameSlice in saved_tensor_slice_util.cc)."""
    text = b"".join(_ESCAPED.get(byte, bytes([byte])) for byte in name)
    count = len(part).to_bytes((len(part).bit_length() + 7) // 8, "big")
    return b"\0" + text + b"\0\1" + bytes([len(count)]) + count + b"".join(_ordered(n) for axis in part for n in axis)


def _ordered(value: int) -> bytes:
    """Encode a signed number as OrderedCode: the count of leading ones is the count of bytes, each of which holds 7 bits."""
    length = (value if value >= 0 else ~value).bit_length() // 7 + 1
    head = (((1 << length) - 1) << (16 - length)) & 0xFFFF
    raw = bytearray(value.to_bytes(10, "big", signed=True)[10 - length :])
    raw[0] ^= head >> 8
    if length > 1:
        raw[1] ^= head & 0xFF
    return bytes(raw)


def field_of(dtype: DType) -> int:
    """Return the field of a TensorProto that has the elements of a dtype, where they are not in its content."""
    name = dtype.name
    return RAW_FIELDS.get(name) or VARINT_FIELDS.get(name) or (FLOAT8 if name.startswith("float8") else INTS)
