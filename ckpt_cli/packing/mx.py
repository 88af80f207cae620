"""Microscaling formats: small floats, and for each run of them a scale of one byte (OCP Microscaling Formats 1.0, and NVIDIA's NVFP4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..numbers.dtypes import DTYPES
from ..numbers.shapes import numel_of
from ..tensors.tensor import Tensor
from .integers import E2M1, small_floats, table_pairs
from .matrices import BRAIN, Blocks, Matrix, as_powers, decoded, storages


def float_blocks(words: Tensor, scale: Tensor, shape: tuple[int, ...], mode: str, size: int) -> Tensor:
    """Return what floats of 4 or 8 bits, low ones first, and a byte for each `size` of them make up, as bfloat16."""
    e4m3 = Tensor(DTYPES["float8_e4m3fn"], scale.shape, scale.storage, scale.strides, scale.offset, scale.layout)
    packed = Matrix(words, numel_of(shape[:-1]), words.numel // max(numel_of(shape[:-1]), 1))
    scales = Blocks(e4m3 if mode == "nvfp4" else as_powers(scale), shape, 1, size)
    unpack: Callable[[Any], Any] = (lambda data: small_floats(data, "float8_e4m3fn")) if mode == "mxfp8" else lambda data: table_pairs(E2M1, data)

    def compute(first: int, last: int) -> Any:
        import numpy

        return scales.apply(numpy.multiply, unpack(packed.raw((first, last))), first, last)

    return decoded(BRAIN, shape, storages(packed, scales), compute)
