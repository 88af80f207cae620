"""Whether elements are finite, and the first that is not: a fold over blocks, at the speed at which they are read.

IEEE numbers are looked at as integers: of those without their sign, the infinities and NaNs are the largest. So the two largest, as
signed and as unsigned integers, tell of a whole block; only one in which something is found is looked at element by element.
"""

from __future__ import annotations

from math import isnan

from ..numbers.dtypes import DType

# The least bits, sign aside, that stand for no finite number: infinity, or the first NaN where there is no infinity.
_LEAST = {
    "float16": 0x7C00, "bfloat16": 0x7F80, "float32": 0x7F800000, "float64": 0x7FF0000000000000, "float8_e5m2": 0x7C, "float8_e4m3fn": 0x7F,
    "complex32": 0x7C00, "complex64": 0x7F800000, "complex128": 0x7FF0000000000000,
}  # fmt: skip
# The one NaN of a type without infinities.
_ONLY = {"float8_e4m3fnuz": b"\x80", "float8_e5m2fnuz": b"\x80", "float8_e4m3b11fnuz": b"\x80", "float8_e8m0fnu": b"\xff"}


def may_be_infinite(dtype: DType) -> bool:
    """Whether elements need be read at all: integers and bools are finite by nature, and so are sub-byte floats and quantised integers."""
    return dtype.kind in "fc" and dtype.addressable


class Finite:
    """A fold: how many elements there are, how many of them are NaN and infinite, where the first of these is, and what it is."""

    __slots__ = ("count", "dtype", "first", "inf", "nan", "value")

    def __init__(self, dtype: DType) -> None:
        self.dtype = dtype
        self.count = self.nan = self.inf = 0
        self.first, self.value = -1, 0.0

    def __bool__(self) -> bool:
        return self.first < 0

    def add(self, block: bytearray) -> None:
        if not all_finite(self.dtype, block):
            self._look(block)
        self.count += len(block) // self.dtype.nbytes

    def _look(self, block: bytearray) -> None:
        """Element by element: it is known, or not known better, that something is found."""
        import numpy

        from ..numbers.values import decoded

        values = decoded(self.dtype, bytes(block))
        wrong = numpy.flatnonzero(~numpy.isfinite(values))
        if not wrong.size:
            return
        nan = numpy.isnan(values[wrong])
        if self:
            self.first, self.value = self.count + int(wrong[0]), _which(complex(values[wrong[0]]))
        self.nan += int(numpy.count_nonzero(nan))
        self.inf += int(wrong.size - numpy.count_nonzero(nan))

    def merge(self, other: Finite, /) -> None:
        if self and not other:
            self.first, self.value = self.count + other.first, other.value
        self.count, self.nan, self.inf = self.count + other.count, self.nan + other.nan, self.inf + other.inf


def all_finite(dtype: DType, block: bytearray) -> bool:
    """False where there may be a NaN or an infinity in the block; for every type in the tables: where there is one."""
    if dtype.name in _ONLY:
        return block.find(_ONLY[dtype.name]) < 0
    if dtype.name not in _LEAST:
        return False
    import numpy

    bits = numpy.frombuffer(block, f"<u{dtype.part}")
    if not bits.size:
        return True
    least, sign = _LEAST[dtype.name], 1 << (8 * dtype.part - 1)
    return bool(numpy.maximum.reduce(bits.view(f"<i{dtype.part}")) < least and numpy.maximum.reduce(bits) < sign | least)


def _which(value: complex) -> float:
    """NaN, or the infinity that it is; of a complex number the part that is no number, the real one first."""
    if isnan(value.real) or isnan(value.imag):
        return float("nan")
    return value.real if abs(value.real) == float("inf") else value.imag
