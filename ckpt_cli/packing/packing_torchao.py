"""torchao: tensor subclasses, whose inner tensors are listed under the parameter's name.

X.qdata, X.scale, X.zero_point                 Int8Tensor, IntxUnpackedToInt8Tensor, Float8Tensor; Int4Tensor, see below
X.tensor_impl.int_data, …scale, …zero_point    AffineQuantizedTensor with a plain layout, of releases before 0.16
PATH._NAME_qdata, …                            the same in safetensors, as torchao's safetensors_support names them

A value is (stored - zero point) × scale, in the dtype of the parameter; what a scale holds for follows from the shapes. Int4Tensor keeps
two integers a byte, the low one first, and groups × out scales and zero points, which are floats: stored × scale + zero point. NVFP4Tensor
and MXTensor keep floats of 4 or 8 bits. Other layouts (tiles of tensor cores) are left as they are.

Sources: dequantize_affine and _dequantize_affine_float8 in torchao/quantization/quant_primitives.py; the classes in
torchao/quantization/quantize_/workflows and torchao/prototype/mx_formats.
"""

from __future__ import annotations

import re
from typing import Any

from ..errors import Malformed
from ..numbers.dtypes import DTYPES, DType
from ..numbers.shapes import numel_of, show_shape
from ..tensors.checkpoint import Foreign
from ..tensors.tensor import Tensor
from .headers import Headers, check_shape
from .integers import nibbles
from .matrices import FLOATS, Matrix, affine, as_powers, decoded, laid_over, storages
from .mx import float4_blocks
from .packed import Packed, Packing, packings

_INTEGERS = "int8 uint8 int16 int32"
_FLOAT8 = "float8_e4m3fn float8_e5m2"
_ZEROS = "int8 uint8 int16 int32 int64 float32 float16 bfloat16"
_OTHERS = ("scale", "zero_point", "act_quant_scale", "act_quant_zero_point", "act_pre_scale", "per_tensor_scale", "act_per_tensor_scale")


class TorchAO(Packing):
    """Inner tensors of a subclass."""

    name = "torchao"
    leaves = ("qdata", "int_data", "_qdata")

    def at(self, headers: Headers, name: str) -> Packed | None:
        """The parameter whose integers `name` is."""
        stem, leaf, plain = _names(name)
        stored, scale_name = headers.get(name), f"{stem}scale"
        if stored is None or scale_name not in headers.kinds:
            return None
        parts = (name, *(f"{stem}{other}" for other in _OTHERS if f"{stem}{other}" in headers.kinds))
        about = headers.checkpoint.objects.get(plain)
        made = about if isinstance(about, Foreign) else Foreign("", "")
        if stored.dtype.name in ("float4_e2m1fn_x2", "float4_e2m1fn") or made.type.endswith(("NVFP4Tensor", "MXTensor")):
            return _small_floats(headers, name, stem, plain, parts, made)
        scale = headers.need(scale_name, FLOATS, plain)
        zero = headers.need(f"{stem}zero_point", _ZEROS, plain) if f"{stem}zero_point" in headers.kinds else None
        dtype = _dtype_of(made, scale.dtype)
        if zero is not None and zero.dtype.kind == "f":
            return _int4(headers, plain, parts, zero, dtype) if leaf == "qdata" else _float_zeros(plain)
        if not headers.is_a(name, f"{_INTEGERS} {_FLOAT8}"):
            raise Malformed(f"{plain}: {name} is {stored.dtype.name}, not integers")
        return _affine(headers, plain, parts, zero, dtype)


def _names(name: str) -> tuple[str, str, str]:
    """What the names of all parts begin with, how the integers are called, and the name of the parameter."""
    above, dot, leaf = name.rpartition(".")
    if leaf.endswith("_qdata") and leaf.startswith("_"):
        return name.removesuffix("qdata"), "qdata", f"{above}{dot}{leaf.removeprefix('_').removesuffix('_qdata')}"
    return f"{above}{dot}", leaf, re.sub(r"\.(tensor_impl|layout_tensor)$", "", above)


def _dtype_of(made: Foreign, otherwise: DType) -> DType:
    """The dtype that the parameter has for torch: the second argument of the call that makes the subclass."""
    found = re.search(r"\[[\w.]+, torch\.(float32|float16|bfloat16)\b", made.text)
    return DTYPES[found[1]] if found else otherwise


def _affine(headers: Headers, plain: str, parts: tuple[str, ...], zero: Tensor | None, dtype: DType) -> Packed:
    stored, scale = headers.checkpoint[parts[0]], headers.checkpoint[parts[1]]
    scales = laid_over(plain, parts[1], scale, stored.shape)
    zeros = laid_over(plain, parts[2], zero, stored.shape) if zero is not None else None
    matrix = Matrix.of(stored)

    def compute(first: int, last: int) -> Any:
        return affine(matrix.window((first, last)), zeros, scales, first, last)

    kind = stored.dtype.name
    how = "scale per row" if scales.width >= stored.shape[-1] else f"group {scales.width}"
    title = f"torchao {kind}, {'scale per tensor' if scale.numel == 1 else how}"
    return Packed(plain, title, stored.shape, parts, lambda: decoded(dtype, stored.shape, storages(matrix, scales, zeros), compute))


def _float_zeros(plain: str) -> Packed:
    raise Malformed(f"{plain}: zero points that are floats, of an early torchao, are not decoded", "save it with a newer torchao")


def _int4(headers: Headers, plain: str, parts: tuple[str, ...], zero: Tensor, dtype: DType) -> Packed:
    stored, scale = headers.checkpoint[parts[0]], headers.checkpoint[parts[1]]
    if len(stored.shape) != 2 or len(scale.shape) != 2 or stored.dtype.nbytes != 1 or not scale.shape[0]:
        raise Malformed(f"{plain}: {show_shape(stored.shape)} and scales of {show_shape(scale.shape)} are of no layout that is known")
    shape, size = (stored.shape[0], stored.shape[1] * 2), stored.shape[1] * 2 // scale.shape[0]
    check_shape(plain, parts[1], scale.shape, (shape[1] // max(size, 1), shape[0]))
    check_shape(plain, parts[2], zero.shape, scale.shape)
    packed, scales, zeros = Matrix.of(stored), Matrix.of(scale), Matrix.of(zero)

    def compute(first: int, last: int) -> Any:
        import numpy

        values = (nibbles(packed.raw((first, last))) ^ 8).astype("f4") - numpy.float32(8)
        groups = values.reshape(last - first, -1, size)
        over = [matrix.window((0, matrix.rows), (first, last)).T[:, :, None] for matrix in (scales, zeros)]
        return (groups * over[0] + over[1]).reshape(last - first, -1)

    return Packed(
        plain,
        f"torchao int4, group {size}",
        shape,
        parts,
        lambda: decoded(dtype, shape, storages(packed, scales, zeros), compute, by_columns=True),
    )


def _small_floats(headers: Headers, name: str, stem: str, plain: str, parts: tuple[str, ...], made: Foreign) -> Packed:
    if "'is_swizzled_scales': True" in made.text:
        raise Malformed(f"{plain}: its scales are in the order of a GPU's tensor cores, which is not undone")
    stored, scale = headers.checkpoint[name], headers.need(f"{stem}scale", "float8_e4m3fn float8_e8m0fnu uint8", plain)
    whole = headers.need(f"{stem}per_tensor_scale", "float32", plain) if f"{stem}per_tensor_scale" in headers.kinds else None
    halves = 2 if stored.dtype.nbytes == 1 and stored.dtype.kind == "u" else 1
    shape = (*stored.shape[:-1], stored.shape[-1] * halves) if stored.shape else ()
    rows = numel_of(shape[:-1])
    if not shape or not rows or scale.numel % rows or stored.nbytes not in (numel_of(shape), numel_of(shape) // 2):
        raise Malformed(f"{plain}: {show_shape(stored.shape)} and scales of {show_shape(scale.shape)} are of no layout that is known")
    if headers.is_a(name, _FLOAT8):
        return _affine_powers(headers, plain, parts, _dtype_of(made, DTYPES["bfloat16"]))
    scale = scale if scale.dtype.name == "float8_e4m3fn" else as_powers(scale)
    kind = "NVFP4" if scale.dtype.name == "float8_e4m3fn" else "MXFP4"
    size = shape[-1] // max(scale.numel // rows, 1)
    check_shape(plain, f"{stem}scale", (scale.numel * size,), (numel_of(shape),))
    dtype = _dtype_of(made, DTYPES["bfloat16"])
    return Packed(plain, f"torchao {kind}, group {size}", shape, parts, lambda: float4_blocks(stored, scale, whole, shape, size, dtype))


def _affine_powers(headers: Headers, plain: str, parts: tuple[str, ...], dtype: DType) -> Packed:
    """MXFP8: float8 whose scales are powers of two."""
    stored, scale = headers.checkpoint[parts[0]], as_powers(headers.checkpoint[parts[1]])
    scales, matrix = laid_over(plain, parts[1], scale, stored.shape), Matrix.of(stored)

    def compute(first: int, last: int) -> Any:
        return affine(matrix.window((first, last)), None, scales, first, last)

    title = f"torchao MXFP8, group {scales.width}"
    return Packed(plain, title, stored.shape, parts, lambda: decoded(dtype, stored.shape, storages(matrix, scales), compute))


packings.add(TorchAO.name, TorchAO())
