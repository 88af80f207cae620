"""Shapes and strides as arithmetic: sizes, strides in C order, the elements that a view spans. Python integers, so nothing overflows."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from .dtypes import DType


def numel_of(shape: tuple[int, ...]) -> int:
    """Return the number of elements; 1 for a shape without axes."""
    return prod(shape)


def nbytes_of(dtype: DType, shape: tuple[int, ...]) -> int:
    """Return the bytes of a contiguous tensor; a last block that is not full counts whole."""
    return -(-numel_of(shape) // dtype.elements) * dtype.nbytes


def contiguous_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides in C order, in elements. As in torch, an empty axis counts as one."""
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= max(n, 1)
    return tuple(reversed(strides))


def fortran_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides, in elements, of a contiguous tensor whose first axis varies fastest."""
    return tuple(reversed(contiguous_strides(shape[::-1])))


def span(shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> tuple[int, int]:
    """Return the range [low, high) of elements of a storage that a view lies within; strides may be negative."""
    if 0 in shape:
        return offset, offset
    reach = [(n - 1) * s for n, s in zip(shape, strides, strict=True)]
    return offset + sum(r for r in reach if r < 0), offset + sum(r for r in reach if r > 0) + 1


def record_shape(shape: Sequence[int]) -> str:
    """Return a shape as it stands in a record: `8x4`; of a scalar nothing."""
    return "x".join(map(str, shape))


def show_shape(shape: tuple[int, ...]) -> str:
    """Return a shape as it is printed: `8x4`, or `scalar`."""
    return record_shape(shape) or "scalar"
