"""Microscaling formats: small floats, and for each run of them a scale of one byte (OCP Microscaling Formats 1.0, and NVIDIA's NVFP4)."""

from __future__ import annotations

from typing import Any

from ..numbers.dtypes import DTYPES, DType
from ..numbers.shapes import numel_of
from ..storage.storage import Storage
from ..tensors.tensor import Tensor
from .integers import E2M1, small_floats, table_pairs
from .matrices import BRAIN, Blocks, Matrix, as_powers, decoded, storages


def float_blocks(words: Tensor, scale: Tensor, shape: tuple[int, ...], mode: str, size: int) -> Tensor:
    """Return what the small floats of a mode of MLX make up: floats of 4 or 8 bits, low ones first, and a byte for each `size` of them.

    Args:
        words: the floats, in words of any size.
        scale: the scales.
        shape: the shape of the tensor.
        mode: mxfp4, mxfp8 (scales are powers of two) or nvfp4 (they are E4M3).
        size: how many floats share a scale.
    """
    e4m3 = Tensor(DTYPES["float8_e4m3fn"], scale.shape, scale.storage, scale.strides, scale.offset, scale.layout)
    scale = e4m3 if mode == "nvfp4" else as_powers(scale)
    if mode != "mxfp8":
        return float4_blocks(words, scale, None, shape, size)
    packed, scales = _rows_of(words, shape), Blocks(scale, shape, 1, size)

    def compute(first: int, last: int) -> Any:
        import numpy

        return scales.apply(numpy.multiply, small_floats(packed.raw((first, last)), "float8_e4m3fn"), first, last)

    return decoded(BRAIN, shape, storages(packed, scales), compute)


def float4_blocks(
    words: Tensor, scale: Tensor, whole: Tensor | None, shape: tuple[int, ...], size: int, dtype: DType = BRAIN, divided: bool = False
) -> Tensor:
    """Return what E2M1, two a byte with the low one first, and their scales make up.

    Args:
        words: the floats, in words of any size.
        scale: a float of 8 bits for each `size` of them.
        whole: one float32 that all scales are multiplied with, in float32; None where there is none.
        shape: the shape of the tensor.
        size: how many floats share a scale.
        dtype: the dtype of the result.
        divided: whether the scales are divided by `whole` instead.
    """
    packed, scales = _rows_of(words, shape), Blocks(scale, shape, 1, size)

    def compute(first: int, last: int) -> Any:
        import numpy

        each = scales.rows(first, last)
        if whole is not None:
            each = each / whole.array().reshape(()) if divided else each * whole.array().reshape(())
        values = table_pairs(E2M1, packed.raw((first, last))).reshape(last - first, -1, size)
        return numpy.multiply(values, each[:, :, None], out=values).reshape(last - first, -1)

    of: list[Storage] = storages(packed, scales)
    return decoded(dtype, shape, of, compute)


def _rows_of(words: Tensor, shape: tuple[int, ...]) -> Matrix:
    """The words of each row. A tensor of sub-byte floats is read as bytes."""
    rows = max(numel_of(shape[:-1]), 1)
    if words.dtype.nbytes == 1 or words.dtype.elements > 1:
        words = Tensor(DTYPES["uint8"], (words.nbytes,), words.elements(), None, 0, words.layout)
    return Matrix(words, rows, words.numel // rows)
