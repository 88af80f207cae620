"""Shapes and strides as arithmetic."""

from __future__ import annotations

from .dtypes import DType


def numel_of(shape: tuple[int, ...]) -> int:
    count = 1
    for n in shape:
        count *= n
    return count


def nbytes_of(dtype: DType, shape: tuple[int, ...]) -> int:
    """Bytes of a contiguous tensor; Python integers, so nothing overflows."""
    return -(-numel_of(shape) // dtype.elements) * dtype.nbytes


def contiguous_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides in C order; as torch's, an empty axis counts as one."""
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= max(n, 1)
    return tuple(reversed(strides))


def show_shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def span(shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> tuple[int, int]:
    """The elements [low, high) of a storage that a view lies within; strides may be negative."""
    if 0 in shape:
        return offset, offset
    reach = [(n - 1) * s for n, s in zip(shape, strides, strict=True)]
    return offset + sum(r for r in reach if r < 0), offset + sum(r for r in reach if r > 0) + 1
