"""The tensor of a `Constant` node, whichever attribute it is in.

    value = tensor, sparse_value, value_float, value_floats, value_int, value_ints, value_string, value_strings

As in docs/Operators.md and onnx.proto (AttributeProto) of onnx/onnx. Numbers in lists are packed, or have a field each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from struct import pack

from ...errors import Malformed
from ..encodings.protobuf import BYTES, Data, Field, fields, piece, varints
from .tensor_proto import SparseTensorProto, TensorProto

_FLOAT, _INT64, _STRING = 1, 7, 8  # as TensorProto.DataType numbers them
_RAW, _INT64_DATA = 9, 7  # fields of a TensorProto
_MOST = 1 << 16  # numbers that have a field each


class _Attribute:
    """Fields of an AttributeProto."""

    NAME = 1
    FLOAT = 2
    INT = 3
    STRING = 4
    TENSOR = 5
    FLOATS = 7
    INTS = 8
    STRINGS = 9
    SPARSE_TENSOR = 22


Proto = TensorProto | SparseTensorProto


class Constants:
    """Reads the attributes of Constant nodes in the message `data`; `tensor` and `sparse` read a tensor in it."""

    def __init__(self, data: Data, tensor: Callable[[Field], TensorProto], sparse: Callable[[Field], SparseTensorProto]) -> None:
        self.data = data
        self._readers: dict[bytes, tuple[int, Callable[[list[Field]], Proto]]] = {
            b"value": (_Attribute.TENSOR, lambda found: tensor(found[-1])),
            b"sparse_value": (_Attribute.SPARSE_TENSOR, lambda found: sparse(found[-1])),
            b"value_float": (_Attribute.FLOAT, lambda found: self._floats(found, ())),
            b"value_floats": (_Attribute.FLOATS, lambda found: self._floats(found, None)),
            b"value_int": (_Attribute.INT, lambda found: self._integers(found, ())),
            b"value_ints": (_Attribute.INTS, lambda found: self._integers(found, None)),
            b"value_string": (_Attribute.STRING, lambda found: self._strings(found, ())),
            b"value_strings": (_Attribute.STRINGS, lambda found: self._strings(found, (len(found),))),
        }

    def of(self, attributes: list[Field]) -> Proto | None:
        """The tensor that the attributes of a node hold; None where these are other ones, or refer to those of a function."""
        return next(self._all(attributes), None)

    def _all(self, attributes: list[Field]) -> Iterator[Proto]:
        for attribute in attributes:
            found: dict[int, list[Field]] = {}
            for field in fields(self.data, attribute.start, attribute.stop):
                found.setdefault(field.number, []).append(field)
            names = found.get(_Attribute.NAME, [])
            name = piece(self.data, names[-1].start, names[-1].stop) if names and names[-1].nbytes < 16 else b""
            number, read = self._readers.get(name, (0, None))
            if read and (found.get(number) or name.endswith(b"s")):
                yield read(found.get(number, []))

    def _floats(self, found: list[Field], dims: tuple[int, ...] | None) -> TensorProto:
        if len(found) == 1:
            [field] = found
            data = Field(_RAW, BYTES, 0, field.start, field.stop)
            return TensorProto("", _FLOAT, (field.nbytes // 4,) if dims is None else dims, data, None, where=field)
        self._check(found)
        raw = b"".join(piece(self.data, field.start, field.stop) for field in found)
        return _inline(_FLOAT, len(raw) // 4, raw)

    def _integers(self, found: list[Field], dims: tuple[int, ...] | None) -> TensorProto:
        if len(found) == 1:
            [field] = found
            data = Field(_INT64_DATA, BYTES, 0, field.start, field.stop)
            return TensorProto("", _INT64, (len(varints(self.data, field)),) if dims is None else dims, data, None, where=field)
        self._check(found)
        return _inline(_INT64, len(found), b"".join(pack("<q", field.signed) for field in found))

    def _strings(self, found: list[Field], dims: tuple[int, ...]) -> TensorProto:
        where = Field(0, BYTES, 0, found[0].start, found[-1].stop) if found else None
        return TensorProto("", _STRING, dims, None, None, where=where)

    def _check(self, found: list[Field]) -> None:
        if len(found) > _MOST or any(field.kind == BYTES for field in found):
            raise Malformed("a constant whose numbers come in pieces")


def _inline(kind: int, count: int, raw: bytes) -> TensorProto:
    return TensorProto("", kind, (count,), None, None, inline=raw)
