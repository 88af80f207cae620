"""A number as text, with as few digits as give the same element back."""

from __future__ import annotations

from typing import Any

from .dtypes import DType
from .values import rounded


def text(dtype: DType, value: Any, precision: int | None = None) -> str:
    """Return a number as numpy prints it alone.

    Args:
        dtype: the type that the number is an element of.
        value: the number.
        precision: the digits behind the point; without it, the fewest that give the same element back.
    """
    if dtype.kind == "b":
        return str(bool(value))
    if dtype.kind in "iu":
        return str(int(value))
    if dtype.kind == "c":
        value = complex(value)
        half = DType("float64" if dtype.nbytes == 16 else "float32" if dtype.nbytes == 8 else "float16", "f", 1, dtype.part)
        imaginary = text(half, value.imag, precision)
        return f"({text(half, value.real, precision)}{'' if imaginary[0] in '-' else '+'}{imaginary}j)"
    value = float(value)
    if precision is not None:
        return f"{value:.{precision}g}" if value and not 1e-4 <= abs(value) < 1e16 else f"{value:.{precision}f}"
    return _shortest(dtype, value)


def _shortest(dtype: DType, value: float) -> str:
    if dtype.name == "float64" or value != value or value in (float("inf"), float("-inf")):
        return repr(value)
    raw = rounded(dtype, value)
    whole = len(str(int(abs(value)))) if abs(value) < 1e16 else 1  # all digits of an integer: the bfloat16 nearest to 12000 is 12032
    for digits in range(whole, 10):
        short = float(f"{value:.{digits}g}")
        if rounded(dtype, short) == raw:
            return repr(short)
    return repr(value)
