"""Whether elements are finite, and which is the first that is not: a fold over blocks, as fast as they are read.

Only a block that has elements which are not finite is searched element by element.
"""

from __future__ import annotations

from math import isnan

from ..numbers.dtypes import DType
from ..numbers.floats import all_finite

__all__ = ["Finite", "all_finite", "may_be_infinite"]


def may_be_infinite(dtype: DType) -> bool:
    """Return whether `dtype` has NaN or infinities: not integers, bools, sub-byte floats and quantised integers."""
    return dtype.kind in "fc" and dtype.addressable


class Finite:
    """A fold that finds elements that are not finite. It is true as long as there are none.

    Attributes:
        dtype: The dtype of the elements.
        count: The number of elements.
        nan: How many are NaN.
        inf: How many are infinite.
        first: The number of the first that is not finite, in C order; -1 where all are.
        value: That element: NaN or an infinity.
    """

    __slots__ = ("count", "dtype", "first", "inf", "nan", "value")

    def __init__(self, dtype: DType) -> None:
        self.dtype = dtype
        self.count = self.nan = self.inf = 0
        self.first, self.value = -1, 0.0

    def __bool__(self) -> bool:
        return self.first < 0

    def add(self, block: bytearray) -> None:
        """Add the elements of a block."""
        if not all_finite(self.dtype, block):
            self._search(block)
        self.count += len(block) // self.dtype.nbytes

    def _search(self, block: bytearray) -> None:
        """Search a block element by element."""
        import numpy

        from ..numbers.values import decoded

        values = decoded(self.dtype, bytes(block))
        wrong = numpy.flatnonzero(~numpy.isfinite(values))
        if not wrong.size:
            return
        nan = numpy.isnan(values[wrong])
        if self:
            self.first, self.value = self.count + int(wrong[0]), _not_finite_part(complex(values[wrong[0]]))
        self.nan += int(numpy.count_nonzero(nan))
        self.inf += int(wrong.size - numpy.count_nonzero(nan))

    def merge(self, other: Finite, /) -> None:
        """Add the elements behind those of this fold."""
        if self and not other:
            self.first, self.value = self.count + other.first, other.value
        self.count, self.nan, self.inf = self.count + other.count, self.nan + other.nan, self.inf + other.inf


def _not_finite_part(value: complex) -> float:
    """NaN if either part of the value is NaN; else the infinite part, the real one first."""
    if isnan(value.real) or isnan(value.imag):
        return float("nan")
    return value.real if abs(value.real) == float("inf") else value.imag
