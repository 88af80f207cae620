"""What an ONNX model says of one tensor (TensorProto and SparseTensorProto of onnx.proto)."""

from __future__ import annotations

from typing import NamedTuple

from ..encodings.protobuf import Field


class TensorProto(NamedTuple):
    """What a TensorProto says of a tensor.

    Attributes:
        name: The tensor's name.
        type: Its data type, as TensorProto.DataType numbers them.
        dims: Its shape.
        data: The field of the elements: 4 float, 5 int32, 6 string, 7 int64, 9 raw, 10 double, 11 uint64; None where it has none.
        external: Where the elements are in another file (keys as in ExternalData.md); None where they are not.
        where: The message, or the field of a constant, that holds it.
        inline: The elements, where they are put together from many fields.
    """

    name: str
    type: int
    dims: tuple[int, ...]
    data: Field | None
    external: dict[str, str] | None
    where: Field | None = None
    inline: bytes | None = None


class SparseTensorProto(NamedTuple):
    """What a SparseTensorProto says: the values, and the shape of the whole."""

    values: TensorProto
    dims: tuple[int, ...]
    where: Field | None = None
