"""GPTQ (AutoGPTQ, GPTQModel): qweight, qzeros, scales and g_idx of integers of 2, 3, 4 or 8 bits.

qweight is in × out, packed along `in` from the lowest bit of an int32 upwards, over the ends of words where the bits do not divide 32;
qzeros is groups × out, packed along `out`. weight = scale × (stored - zero), a column of qweight for each row of the plain weight.
A zero point is kept less 1, unless the config's checkpoint_format is gptq_v2.

Source: pack and forward of QuantLinear in auto_gptq/nn_modules/qlinear/qlinear_cuda_old.py.
"""

from __future__ import annotations

from typing import Any

from ..errors import Malformed
from ..numbers.shapes import show_shape
from ..tensors.tensor import Tensor
from .groups import Groups
from .headers import Headers, check_shape
from .integers import fields
from .matrices import FLOATS, Matrix, decoded, storages
from .packed import Packed, Packing, packings

_BITS = (2, 3, 4, 8)


class GPTQ(Packing):
    """qweight whose columns are those of scales."""

    name = "gptq"
    leaves = ("qweight",)

    def at(self, headers: Headers, name: str) -> Packed | None:
        """The layer that `name` is the qweight of."""
        stem = name.removesuffix("qweight")
        scales, zeros, order = (f"{stem}{leaf}" for leaf in ("scales", "qzeros", "g_idx"))
        if headers.config.get("quant_method") == "awq" or not headers.is_a(name, "int32 uint32"):
            return None
        words, scale = headers.checkpoint[name], headers.need(scales, FLOATS, name)
        if len(words.shape) != 2 or len(scale.shape) != 2 or words.shape[1] != scale.shape[1]:
            return None  # of AWQ, or of something else
        form = headers.config.get("checkpoint_format", "gptq")
        if form not in ("gptq", "gptq_v2"):
            raise Malformed(f"{name}: the layout {form!s:.40} of GPTQ is not decoded")
        zero = headers.need(zeros, "int32 uint32", name)
        g_idx = headers.need(order, "int32 int64", name) if order in headers.kinds else None
        out, bits = (
            words.shape[1],
            _bits(headers, name, zero, scale, words.shape[0] * 32 / g_idx.numel if g_idx is not None and g_idx.numel else None),
        )
        columns = words.shape[0] * 32 // bits
        check_shape(name, zeros, zero.shape, (scale.shape[0], -(-out * bits // 32)))
        if g_idx is not None:
            check_shape(name, order, g_idx.shape, (columns,))
        size = _group_size(headers, name, columns, scale.shape[0])
        groups = Groups(name, columns, scale.shape[0], size, g_idx)
        offset = 0 if form == "gptq_v2" else 1
        parts = (name, *(part for part in (scales, zeros, order) if part in headers.kinds))
        title = f"GPTQ {bits} bit, group {size}" if scale.shape[0] > 1 else f"GPTQ {bits} bit, scale per row"
        return Packed(f"{stem}weight", title, (out, columns), parts, lambda: _decoded(words, zero, scale, groups, bits, offset))


def _bits(headers: Headers, name: str, zero: Tensor, scale: Tensor, by_order: float | None) -> int:
    """The bits of an integer, which the width of the zero points tells; of a narrow matrix, the length of g_idx, or the config."""
    said = headers.setting("bits")
    fitting = [bits for bits in _BITS if len(zero.shape) == 2 and -(-scale.shape[1] * bits // 32) == zero.shape[1]]
    fitting = [bits for bits in fitting if by_order in (None, bits)]
    if said in fitting or len(fitting) == 1:
        return said if said in fitting and said else fitting[0]
    what = f"{name}: zero points of {show_shape(zero.shape)} for scales of {show_shape(scale.shape)} do not tell the bits"
    raise Malformed(what, "put the config of the model beside it")


def _group_size(headers: Headers, name: str, columns: int, count: int) -> int:
    """The columns of a group. The config's is taken where it gives as many groups as there are."""
    said = headers.setting("group_size") or 0
    if said > 0 and -(-columns // said) == count:
        return said
    if count and columns % count == 0:
        return max(columns // count, 1)
    raise Malformed(f"{name}: {count:,} groups for {columns:,} columns")


def _decoded(words: Tensor, zero: Tensor, scale: Tensor, groups: Groups, bits: int, offset: int) -> Tensor:
    packed, zeros, scales = Matrix.of(words), Matrix.of(zero), Matrix.of(scale)
    count = (0, groups.count)

    def compute(first: int, last: int) -> Any:
        import numpy

        columns = packed.raw((0, packed.rows), (first, last)).view("<u4")
        values = fields(numpy.ascontiguousarray(columns.T).view("u1"), bits, groups.columns).astype("f4")
        at = (first * bits // 32, -(-last * bits // 32))
        each = fields(zeros.raw(count, at), bits, last - first).T.astype("f4") + numpy.float32(offset)
        groups.apply(numpy.subtract, values, each)
        return groups.apply(numpy.multiply, values, scales.window(count, (first, last)).T)

    shape = (words.shape[1], groups.columns)
    return decoded(scale.dtype, shape, storages(packed, zeros, scales), compute, by_columns=True)


packings.add(GPTQ.name, GPTQ())
