"""Views of packed values: torch counts the shape of `float4_e2m1fn_x2` in bytes of two values (the low four bits first), ckpt in values.

The values of a byte follow each other along the last axis, as in torch/headeronly/util/Float4_e2m1fn_x2.h.
"""

from __future__ import annotations

from typing import NamedTuple

from .dtypes import DType


class Geometry(NamedTuple):
    """Where the elements of a view lie: shape, strides and offset, in elements of one kind."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int


def in_values(dtype: DType, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> Geometry | None:
    """Return a view that is counted in blocks of `dtype`, counted in values; None where values do not run along the last axis."""
    many = dtype.elements
    if not shape:
        return Geometry((many,), (1,), offset * many)
    if strides[-1] != 1 and shape[-1] > 1:
        return None
    return Geometry((*shape[:-1], shape[-1] * many), (*(stride * many for stride in strides[:-1]), 1), offset * many)


def in_blocks(dtype: DType, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> Geometry | None:
    """Return a view that is counted in values, counted in blocks of `dtype`; None where a block would not be whole."""
    many = dtype.elements
    if not shape or strides[-1] != 1 or any(n % many for n in (shape[-1], offset, *strides[:-1])):
        return None
    return Geometry((*shape[:-1], shape[-1] // many), (*(stride // many for stride in strides[:-1]), 1), offset // many)
