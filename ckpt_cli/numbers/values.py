"""Values: between bytes, Python numbers and text. One number needs no numpy; arrays do."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..errors import EditError
from .dtypes import DType, to_numpy

if TYPE_CHECKING:
    import numpy


_LETTERS = {
    "bool": "?", "uint8": "B", "int8": "b", "uint16": "H", "int16": "h", "uint32": "I", "int32": "i",
    "uint64": "Q", "int64": "q", "float16": "e", "float32": "f", "float64": "d",
}  # fmt: skip


def item(dtype: DType, raw: bytes) -> Any:
    """The Python number that one element's bytes stand for."""
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
    """The bytes of one element. Raises EditError where `dtype` cannot hold `value` (overflow or a fraction in integers)."""
    check_holds(dtype, value)
    if dtype.kind in "biu":
        return struct.pack("<" + _LETTERS[dtype.name], int(value))
    limit, largest = _LARGEST.get(dtype.name, (float("inf"), 0.0))
    if any(limit < abs(part) != float("inf") for part in ((value.real, value.imag) if isinstance(value, complex) else (value,))):
        shown = str(value)[:20] if isinstance(value, int) else f"{value:g}"
        raise EditError(f"{dtype.name} cannot hold {shown}: its largest number is {largest!r}", "write inf if that is meant")
    return rounded(dtype, real(value))


def rounded(dtype: DType, value: Any) -> bytes:
    """A float or a complex number as the nearest element; beyond the largest it is infinite."""
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


# From where on a number is rounded to infinity (half a step beyond the largest), and the largest. Small floats are checked when encoded.
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
    """A Python number as a float, where it is not complex; an integer beyond all floats is infinite."""
    if isinstance(value, complex):
        return value
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def decoded(dtype: DType, data: bytes | memoryview) -> numpy.ndarray[Any, Any]:
    """Elements as an array to compute with: small floats as float32, complex32 as complex64."""
    import numpy

    if dtype.name == "complex32":
        return numpy.frombuffer(data, "<f2").astype("float32").view("complex64")
    values = numpy.frombuffer(data, to_numpy(dtype))
    return values.astype("float32") if dtype.kind == "f" and dtype.nbytes < 4 else values


def encoded(dtype: DType, values: numpy.ndarray[Any, Any]) -> bytes:
    """The bytes of `values` as elements of `dtype`, rounded to nearest even; beyond the largest they are infinite, or NaN."""
    import numpy

    with numpy.errstate(all="ignore"):
        if dtype.name == "complex32":
            return bytes(values.astype("complex64").reshape(-1).view("float32").astype("<f2").tobytes())
        return bytes(values.astype(to_numpy(dtype)).tobytes())


def check_kept(dtype: DType, values: numpy.ndarray[Any, Any], raw: bytes) -> None:
    """Raises EditError where one of `values` is a number, and none any more in `raw`, its elements in `dtype`."""
    import numpy

    given, found = values.reshape(-1), decoded(dtype, raw)
    lost = numpy.flatnonzero((numpy.isfinite(given) & ~numpy.isfinite(found)) | ((given == given) & (found != found)))
    if lost.size:
        at = lost[0]
        raise EditError(f"{dtype.name} cannot hold {given[at].item():g}", f"it would become {as_none(found[at])}")


def as_none(value: Any) -> str:
    """How a value that is no number is called."""
    return "NaN" if value != value else f"{value.item():g}"


def check_holds(dtype: DType, value: Any) -> None:
    """Raises EditError where the number `value` is not one that an element of integers, bool or real floats may take."""
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


def foreign(dtype: numpy.dtype[Any]) -> bool:
    """True for the types that ml_dtypes adds to numpy's own; their `kind` does not tell (float8_e5m2 says `f`)."""
    return dtype.isbuiltin == 2


def caster(before: DType, after: DType) -> Callable[[bytes | memoryview], memoryview]:
    """A function from elements of one dtype to those of another: round to nearest even; integers must fit."""
    source, target = to_numpy(before), to_numpy(after)
    if before.kind == "c" and after.kind != "c":
        raise EditError(f"{before.name} cannot be cast to {after.name}: the imaginary part would be lost")

    def change(data: bytes | memoryview) -> memoryview:
        import numpy

        values = numpy.frombuffer(data, source)
        if after.kind in "iu":
            check_fits(values, after)
        with numpy.errstate(all="ignore"):
            # ml_dtypes knows no way from one small float to another but through float32
            through = values.astype(numpy.float32) if foreign(source) and foreign(target) else values
            return through.astype(target).view("u1").data

    return change


def check_fits(values: numpy.ndarray[Any, Any], dtype: DType) -> None:
    """Raises EditError where an element of `values` is not within the integers of `dtype`."""
    if not values.size:
        return
    wide = values.astype("float64") if foreign(values.dtype) else values
    for value in (wide.min(), wide.max()):
        if value != value or value in (float("inf"), float("-inf")):
            raise EditError(f"{dtype.name} cannot hold {value}", "replace it first")
        check_holds(dtype, int(value))
