"""Elements as bytes, and as Python numbers or numpy arrays: conversion both ways, and the checks of what a dtype can hold.

One number needs no numpy (but for small floats); arrays do.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..errors import EditError
from .dtypes import DType, to_numpy
from .float32 import narrowed, widened

if TYPE_CHECKING:
    import numpy


_LETTERS = {
    "bool": "?", "uint8": "B", "int8": "b", "uint16": "H", "int16": "h", "uint32": "I", "int32": "i",
    "uint64": "Q", "int64": "q", "float16": "e", "float32": "f", "float64": "d",
}  # fmt: skip


_IN_FLOAT32 = ("float16", "bfloat16", "float32")  # converted through it, with kernels that are many times as fast as numpy's


def item(dtype: DType, raw: bytes) -> Any:
    """Return the Python number that the bytes of one element stand for."""
    if dtype.name in _LETTERS:
        return struct.unpack("<" + _LETTERS[dtype.name], raw)[0]
    if dtype.name == "bfloat16":
        return struct.unpack("<f", b"\0\0" + raw)[0]
    if dtype.name == "complex32":
        return complex(*struct.unpack("<ee", raw))
    import numpy

    value = numpy.frombuffer(raw, to_numpy(dtype))[0]
    return complex(value) if dtype.kind == "c" else float(value)


def element(dtype: DType, value: Any) -> bytes:
    """Return the bytes of a number as one element, rounded to nearest even.

    Raises:
        EditError: `dtype` cannot hold it: it is out of range, no integer, or complex.
    """
    check_holds(dtype, value)
    if dtype.kind in "biu":
        return struct.pack("<" + _LETTERS[dtype.name], int(value))
    limit, largest = _LARGEST.get(dtype.name, (float("inf"), 0.0))
    if any(limit < abs(part) != float("inf") for part in ((value.real, value.imag) if isinstance(value, complex) else (value,))):
        shown = str(value)[:20] if isinstance(value, int) else f"{value:g}"
        raise EditError(f"{dtype.name} cannot hold {shown}: its largest number is {largest!r}", "write inf if that is meant")
    return rounded(dtype, real(value))


def rounded(dtype: DType, value: Any) -> bytes:
    """Return the bytes of the element nearest to a float or a complex number; beyond the largest it is infinite."""
    if dtype.name in _LETTERS:
        return _float(_LETTERS[dtype.name], value)
    if dtype.name == "complex32":
        return _float("e", value.real) + _float("e", value.imag)
    if dtype.name == "bfloat16":
        return _bfloat16(value)
    import numpy

    given = numpy.array([value])
    raw = encoded(dtype, given)
    check_kept(dtype, given, raw)
    return raw


# The largest number that is not rounded to infinity (half a step beyond the largest element), and the largest element.
# Small floats are not here: `rounded` checks them once they are encoded.
_LARGEST = {
    "float16": (65519.99, 65504.0), "bfloat16": (3.396177e38, 3.3895314e38), "float32": (3.4028235677973362e38, 3.4028235e38),
    "float64": (1.7976931348623157e308, 1.7976931348623157e308),
}  # fmt: skip
_LARGEST |= {"complex32": _LARGEST["float16"], "complex64": _LARGEST["float32"], "complex128": _LARGEST["float64"]}


def _float(letter: str, value: float) -> bytes:
    try:
        return struct.pack("<" + letter, value)
    except OverflowError:  # beyond the largest: infinity, as numpy rounds
        return struct.pack("<" + letter, float("inf") if value > 0 else float("-inf"))


def _bfloat16(value: float) -> bytes:
    """The upper half of a float32, rounded to nearest even."""
    bits = int.from_bytes(_float("f", value), "little")
    half = (bits >> 16) | 0x40 if value != value else (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return half.to_bytes(2, "little")


def real(value: Any) -> Any:
    """Return a number as a float, or as it is where it is complex. An integer beyond all floats becomes infinite."""
    if isinstance(value, complex):
        return value
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def decoded(dtype: DType, data: bytes | memoryview) -> numpy.ndarray[Any, Any]:
    """Return elements as an array to compute with, of one axis: small floats become float32, complex32 becomes complex64."""
    import numpy

    if dtype.name == "complex32":
        return numpy.frombuffer(data, "<f2").astype("float32").view("complex64")
    values = numpy.frombuffer(data, to_numpy(dtype))
    return values.astype("float32") if dtype.kind == "f" and dtype.nbytes < 4 else values


def encoded(dtype: DType, values: numpy.ndarray[Any, Any]) -> bytes:
    """Return the bytes of `values` as elements of `dtype`, rounded to nearest even; beyond the largest they become infinite, or NaN."""
    import numpy

    with numpy.errstate(all="ignore"):
        if dtype.name == "complex32":
            return bytes(values.astype("complex64").reshape(-1).view("float32").astype("<f2").tobytes())
        if values.dtype == "float32" and dtype.kind == "f" and dtype.nbytes == 2:
            return narrowed(numpy.ascontiguousarray(values).reshape(-1), dtype).tobytes()
        return bytes(values.astype(to_numpy(dtype)).tobytes())


def odd(values: numpy.ndarray[Any, Any]) -> numpy.ndarray[Any, Any]:
    """Return float64 values as float32, rounded to odd: rounded once more to a shorter float, to nearest even, they are as if rounded once.

    What float32 cannot hold exactly is cut off, and the last bit set (Boldo and Melquiond, Emulation of FMA and correctly rounded sums).
    """
    import numpy

    near = values.astype("<f4")
    bits = near.view("<u4") - (numpy.abs(near) > numpy.abs(values))
    inexact = numpy.isfinite(values) & (near != values)
    return numpy.where(inexact, bits | 1, near.view("<u4")).astype("<u4").view("<f4")


def check_kept(dtype: DType, values: numpy.ndarray[Any, Any], raw: bytes) -> None:
    """Check that rounding left every finite value finite.

    Args:
        dtype: the type that `values` were rounded to.
        values: the array before.
        raw: its elements in `dtype`, as `encoded` returns them.

    Raises:
        EditError: a value became infinite or NaN.
    """
    import numpy

    before, after = values.reshape(-1), decoded(dtype, raw)
    lost = numpy.flatnonzero((numpy.isfinite(before) & ~numpy.isfinite(after)) | ((before == before) & (after != after)))
    if lost.size:
        at = lost[0]
        raise EditError(f"{dtype.name} cannot hold {before[at].item():g}", f"it would become {show_nonfinite(after[at])}")


def show_nonfinite(value: Any) -> str:
    """Return what a numpy value that is not finite is called: NaN, inf or -inf."""
    return "NaN" if value != value else f"{value.item():g}"


def check_holds(dtype: DType, value: Any) -> None:
    """Check that a number is one that an element may be, but for the range of floats.

    Raises:
        EditError: it is complex and `dtype` is not, or `dtype` holds integers (or 0 and 1) and it is none, or none in their range.
    """
    if isinstance(value, complex) and dtype.kind != "c":
        raise EditError(f"{dtype.name} cannot hold the complex {value}")
    if dtype.kind == "b" and value not in (0, 1):
        raise EditError(f"bool cannot hold {value}", "give 0, 1, false or true")
    if dtype.kind not in "iu":
        return
    if value != value or value in (float("inf"), float("-inf")) or value != int(value):
        raise EditError(f"{dtype.name} cannot hold {value}", "give an integer")
    bits = dtype.nbytes * 8
    low, high = (0, 2**bits) if dtype.kind == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1))
    if not low <= int(value) < high:
        raise EditError(f"{dtype.name} cannot hold {int(value)}: it goes from {low} to {high - 1}", "cast it first")


def of_ml_dtypes(dtype: numpy.dtype[Any]) -> bool:
    """Return whether a type is one that ml_dtypes adds to numpy's own; their `kind` does not say so (that of float8_e5m2 is `f`)."""
    return dtype.isbuiltin == 2


def caster(before: DType, after: DType) -> Callable[[bytes | memoryview], memoryview]:
    """Return a function that converts elements of one dtype to another, to nearest even. It raises EditError for integers that do not fit.

    Raises:
        EditError: a complex type is cast to one that is not, or a type has no plain elements.
    """
    source, target = to_numpy(before), to_numpy(after)
    if before.kind == "c" and after.kind != "c":
        raise EditError(f"{before.name} cannot be cast to {after.name}: the imaginary part would be lost")

    def change(data: bytes | memoryview) -> memoryview:
        import numpy

        values = numpy.frombuffer(data, source)
        if after.kind in "iu":
            check_fits(values, after)
        with numpy.errstate(all="ignore"):
            if before.name in _IN_FLOAT32 and after.name in _IN_FLOAT32:
                wide = widened(data, before)
                return narrowed(wide, after) if after.nbytes == 2 else wide.copy().view("u1").data
            # ml_dtypes converts one small float to another through float32 only
            through = values.astype(numpy.float32) if of_ml_dtypes(source) and of_ml_dtypes(target) else values
            return through.astype(target).view("u1").data

    return change


def check_fits(values: numpy.ndarray[Any, Any], dtype: DType) -> None:
    """Raise EditError where an element of the array `values` is out of the range of the integers of `dtype`, or infinite or NaN."""
    if not values.size:
        return
    wide = values.astype("float64") if of_ml_dtypes(values.dtype) else values
    for value in (wide.min(), wide.max()):
        if value != value or value in (float("inf"), float("-inf")):
            raise EditError(f"{dtype.name} cannot hold {value}", "replace it first")
        check_holds(dtype, int(value))
