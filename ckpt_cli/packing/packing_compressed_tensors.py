"""compressed-tensors (llm-compressor, vLLM): X.weight_packed with X.weight_scale, or int8 in X.weight itself.

pack-quantized   int32, integers of 1 to 8 bits, less 2^(bits-1), from the lowest bit upwards over the ends of words; X.weight_shape holds
                 the shape; X.weight_zero_point is packed likewise along the rows; X.weight_g_idx is the group of each column
int-quantized    int8 in X.weight, zero points (int8) beside
nvfp4, mxfp4     uint8, two E2M1 a byte, the low one first. nvfp4: scales are E4M3 divided by X.weight_global_scale, computed in float32
                 and rounded to bfloat16. mxfp4: scales are powers of two, a byte each
A value is (stored - zero point) × scale, in the dtype of the scales.

Sources: compressed_tensors/compressors/{pack_quantized,nvfp4,mxfp4,naive_quantized}, dequantize in
compressed_tensors/quantization/lifecycle/forward.py.
"""

from __future__ import annotations

from typing import Any

from ..errors import Malformed
from ..numbers.shapes import numel_of, show_shape
from ..tensors.tensor import Tensor
from .groups import Groups
from .headers import Headers, check_shape
from .integers import fields
from .matrices import FLOATS, Blocks, Matrix, affine, decoded, laid_over, storages
from .mx import float4_blocks, float_blocks
from .packed import Packed, Packing, packings
from .packing_fp8 import beside, block_size, described

_INTEGERS = "int8 uint8 int32 int64"


class CompressedTensors(Packing):
    """weight_packed, or int8 with weight_scale."""

    name = "compressed-tensors"
    leaves = ("weight_packed", "weight_scale")

    def at(self, headers: Headers, name: str) -> Packed | None:
        """The layer that `name` is a part of."""
        stem, dot, leaf = name.rpartition(".")
        weight = f"{stem}{dot}weight"
        if leaf == "weight_scale":
            return _int8(headers, weight, name)
        if headers.is_a(name, "uint8"):
            return _fp4(headers, weight, name)
        return _integers(headers, weight, name) if headers.is_a(name, "int32") else None


def _parts(headers: Headers, weight: str, *names: str) -> tuple[str, ...]:
    """The main part, and what there is of the others."""
    found = dict.fromkeys((*names, *beside(headers, weight)))
    return tuple(name for name in found if name in headers.kinds)


def _int8(headers: Headers, weight: str, name: str) -> Packed | None:
    if not headers.is_a(weight, "int8"):
        return None
    stored, scale = headers.checkpoint[weight], headers.need(name, FLOATS, weight)
    scales = laid_over(weight, name, scale, stored.shape, block_size(headers))
    zero_name = f"{weight}_zero_point"
    has_zeros = zero_name in headers.kinds
    zero = headers.need(zero_name, _INTEGERS, weight) if has_zeros else None
    zeros = laid_over(weight, zero_name, zero, stored.shape, block_size(headers)) if zero is not None else None
    matrix = Matrix.of(stored)

    def compute(first: int, last: int) -> Any:
        return affine(matrix.window((first, last)), zeros, scales, first, last)

    title = f"compressed-tensors int8, scale {described(scales, stored.shape)}"
    parts = _parts(headers, weight, weight, name, zero_name)
    return Packed(weight, title, stored.shape, parts, lambda: decoded(scale.dtype, stored.shape, storages(matrix, scales, zeros), compute))


def _fp4(headers: Headers, weight: str, name: str) -> Packed:
    packed, scale = headers.checkpoint[name], headers.need(f"{weight}_scale", "float8_e4m3fn uint8 float8_e8m0fnu", name)
    if len(packed.shape) < 2 or len(scale.shape) != len(packed.shape) or not scale.shape[-1]:
        raise Malformed(f"{name}: its part {weight}_scale is {show_shape(scale.shape)}")
    shape = (*packed.shape[:-1], packed.shape[-1] * 2)
    size = shape[-1] // scale.shape[-1]
    check_shape(name, f"{weight}_scale", scale.shape, (*shape[:-1], -(-shape[-1] // max(size, 1))))
    parts = _parts(headers, weight, name, f"{weight}_scale", f"{weight}_global_scale")
    if scale.dtype.name != "float8_e4m3fn":
        return Packed(weight, f"MXFP4, group {size}", shape, parts, lambda: float_blocks(packed, scale, shape, "mxfp4", size))
    whole = headers.need(f"{weight}_global_scale", "float32", name)
    check_shape(name, f"{weight}_global_scale", (whole.numel,), (1,))
    return Packed(weight, f"NVFP4, group {size}", shape, parts, lambda: float4_blocks(packed, scale, whole, shape, size, divided=True))


def _integers(headers: Headers, weight: str, name: str) -> Packed:
    words, scale = headers.checkpoint[name], headers.need(f"{weight}_scale", FLOATS, name)
    shape = tuple(headers.integers(f"{weight}_shape"))
    if len(shape) < 2 or len(words.shape) != len(shape) or min(shape) < 0 or shape[:-1] != words.shape[:-1]:
        raise Malformed(f"{name}: {weight}_shape is {show_shape(shape)}, and its rows are {show_shape(words.shape)}")
    bits = _bits(headers, name, words.shape[-1], shape[-1])
    scales = laid_over(name, f"{weight}_scale", scale, shape)
    order = f"{weight}_g_idx"
    groups = None
    if order in headers.kinds:
        g_idx = headers.need(order, "int32 int64", name)
        check_shape(name, order, g_idx.shape, shape[-1:])
        groups = Groups(name, shape[-1], scale.shape[-1], scales.width, g_idx)
    zeros = _zeros(headers, name, f"{weight}_zero_point", shape, bits, scales)
    how = described(scales, shape).removeprefix("per ")
    title = (
        f"compressed-tensors {bits} bit, {how.replace(' of ', ' ')}"
        if how.startswith("group")
        else f"compressed-tensors {bits} bit, scale per {how}"
    )
    parts = _parts(headers, weight, name, f"{weight}_scale", f"{weight}_shape", order)
    return Packed(weight, title, shape, parts, lambda: _decoded(words, scale, shape, bits, scales, groups, zeros))


def _bits(headers: Headers, name: str, words: int, columns: int) -> int:
    """The bits of an integer: as many as make so many words of a row; the config's where several do."""
    fitting = [bits for bits in range(1, 9) if -(-columns * bits // 32) == words]
    said = headers.setting("num_bits")
    groups = headers.config.get("config_groups")
    for group in groups.values() if isinstance(groups, dict) else ():
        weights = group.get("weights") if isinstance(group, dict) else None
        if said is None and isinstance(weights, dict) and weights.get("num_bits") in fitting:
            said = weights["num_bits"]
    if said in fitting or len(fitting) == 1:
        return said if said in fitting and said else fitting[0]
    if 4 in fitting or 8 in fitting:
        return 4 if 4 in fitting else 8
    raise Malformed(f"{name}: {words:,} words a row for {columns:,} columns are of no bits that are known")


class _Zeros:
    """Zero points, packed along the rows of the weight: groups as columns of words, or int8 as they are."""

    def __init__(self, tensor: Tensor, count: int, bits: int) -> None:
        self.matrix, self.count, self.bits = Matrix.of(tensor), count, bits
        self.elements = self.matrix.elements

    def rows(self, first: int, last: int) -> Any:
        """Return the zero points of the rows [first, last) as float32."""
        import numpy

        if self.matrix.dtype.name == "int8":
            return self.matrix.window((first, last)).astype("f4")
        words = self.matrix.raw((first * self.bits // 32, -(-last * self.bits // 32))).view("<u4")
        integers = fields(numpy.ascontiguousarray(words.T).view("u1"), self.bits, last - first)
        return integers.T.astype("f4") - numpy.float32(1 << self.bits - 1)


def _zeros(headers: Headers, name: str, zero_name: str, shape: tuple[int, ...], bits: int, scales: Blocks) -> _Zeros | None:
    if zero_name not in headers.kinds:
        return None
    zero = headers.need(zero_name, "int32 int8", name)
    across = -(-shape[-1] // scales.width)
    rows = shape[-2] if zero.dtype.name == "int8" else -(-shape[-2] * bits // 32)
    if len(shape) != 2 or scales.height != 1:
        raise Malformed(f"{name}: zero points of a stack, or of a whole tensor, are not known")
    check_shape(name, zero_name, zero.shape, (rows, across))
    return _Zeros(zero, across, bits)


def _decoded(
    words: Tensor, scale: Tensor, shape: tuple[int, ...], bits: int, scales: Blocks, groups: Groups | None, zeros: _Zeros | None
) -> Tensor:
    matrix = Matrix(words, numel_of(shape[:-1]), words.shape[-1])
    groups = groups or Groups("", shape[-1], -(-shape[-1] // scales.width), scales.width)

    def compute(first: int, last: int) -> Any:
        import numpy

        values = fields(matrix.raw((first, last)), bits, shape[-1]).astype("f4")
        values -= numpy.float32(1 << bits - 1)
        if zeros:
            groups.apply(numpy.subtract, values, zeros.rows(first, last))
        return groups.apply(numpy.multiply, values, scales.rows(first, last))

    of = [matrix.elements, scales.elements, *([zeros.elements] if zeros else ())]
    return decoded(scale.dtype, shape, of, compute)


packings.add(CompressedTensors.name, CompressedTensors())
