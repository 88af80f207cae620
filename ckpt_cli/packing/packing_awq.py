"""AWQ (AutoAWQ): qweight, qzeros and scales of integers of 4 bits; weight = (stored - zero) × scale.

GEMM: qweight is in × out, eight columns an int32 in the order 0 2 4 6 1 3 5 7; qzeros, groups × out, likewise; scales are groups × out.
GEMV: qweight is out × in, eight columns an int32 in their order; qzeros and scales are out × groups, with more columns than groups.

Sources: from_linear in awq/modules/linear/gemm.py and gemv.py.
"""

from __future__ import annotations

from typing import Any

from ..errors import Malformed
from ..tensors.tensor import Tensor
from .groups import Groups
from .headers import Headers, check_shape
from .integers import nibbles
from .matrices import FLOATS, Matrix, decoded, storages
from .packed import Packed, Packing, packings

_PLACES = (0, 4, 1, 5, 2, 6, 3, 7)  # where column 0, 1, … of eight lies: the inverse of 0 2 4 6 1 3 5 7


class AWQ(Packing):
    """qweight with an eighth of the columns of scales, or of its own."""

    name = "awq"
    leaves = ("qweight",)

    def at(self, headers: Headers, name: str) -> Packed | None:
        """The layer that `name` is the qweight of."""
        stem = name.removesuffix("qweight")
        scales, zeros = f"{stem}scales", f"{stem}qzeros"
        method = headers.config.get("quant_method")
        if method == "awq" and headers.is_a(name, "int16"):
            raise Malformed(f"{name}: the layout gemv_fast of AWQ is not decoded")
        if method == "gptq" or not headers.is_a(name, "int32 uint32"):
            return None
        words, scale = headers.checkpoint[name], headers.need(scales, FLOATS, name)
        if len(words.shape) != 2 or len(scale.shape) != 2:
            return None
        zero = headers.need(zeros, "int32 uint32", name)
        check_shape(name, zeros, (len(zero.shape),), (2,))
        by_rows = words.shape[0] == scale.shape[0] == zero.shape[0] and words.shape[1] * 8 != scale.shape[1]
        if not by_rows and words.shape[1] * 8 != scale.shape[1]:
            return None  # of GPTQ, or of something else
        check_shape(name, zeros, zero.shape, (scale.shape[0], scale.shape[1] // 8))
        if (headers.setting("bits", "w_bit") or 4) != 4:
            raise Malformed(f"{name}: AWQ of other than 4 bits is not known")
        out, columns = (words.shape[0], words.shape[1] * 8) if by_rows else (scale.shape[1], words.shape[0])
        groups = _groups(headers, name, columns, scale.shape[1] if by_rows else scale.shape[0], by_rows)
        decode = _by_rows if by_rows else _by_columns
        title = f"AWQ 4 bit, group {groups.size}"
        return Packed(f"{stem}weight", title, (out, columns), (name, scales, zeros), lambda: decode(words, zero, scale, groups))


def _groups(headers: Headers, name: str, columns: int, count: int, padded: bool) -> Groups:
    said = headers.setting("group_size", "q_group_size")
    size = said if said and said > 0 else 0 if padded else columns // max(count, 1)
    have = -(-columns // size) if size else 0
    if not have or (have > count if padded else have != count):
        raise Malformed(
            f"{name}: groups of {size:,} for {columns:,} columns, and {count:,} scales", "is the config beside the file its own?"
        )
    return Groups(name, columns, have, size)


def _by_columns(words: Tensor, zero: Tensor, scale: Tensor, groups: Groups) -> Tensor:
    packed, zeros, scales = Matrix.of(words), Matrix.of(zero), Matrix.of(scale)

    def unpacked(matrix: Matrix, first: int, last: int) -> Any:
        import numpy

        words = matrix.raw((0, matrix.rows), (first // 8, -(-last // 8))).view("<u4")
        eights = numpy.ascontiguousarray(words.T)
        values = numpy.empty((len(eights), 8, matrix.rows), "f4")
        for column, place in enumerate(_PLACES):
            values[:, column] = (eights >> numpy.uint32(4 * place)) & numpy.uint32(15)
        return values.reshape(-1, matrix.rows)[: last - first]

    def compute(first: int, last: int) -> Any:
        import numpy

        values = groups.apply(numpy.subtract, unpacked(packed, first, last), unpacked(zeros, first, last))
        return groups.apply(numpy.multiply, values, scales.window((0, groups.count), (first, last)).T)

    return decoded(scale.dtype, (scale.shape[1], groups.columns), storages(packed, zeros, scales), compute, by_columns=True)


def _by_rows(words: Tensor, zero: Tensor, scale: Tensor, groups: Groups) -> Tensor:
    packed, zeros, scales = Matrix.of(words), Matrix.of(zero), Matrix.of(scale)

    def compute(first: int, last: int) -> Any:
        import numpy

        rows = (first, last)
        values = nibbles(packed.raw(rows)).astype("f4")
        groups.apply(numpy.subtract, values, nibbles(zeros.raw(rows))[:, : groups.count].astype("f4"))
        return groups.apply(numpy.multiply, values, scales.window(rows)[:, : groups.count])

    return decoded(scale.dtype, (words.shape[0], groups.columns), storages(packed, zeros, scales), compute)


packings.add(AWQ.name, AWQ())
