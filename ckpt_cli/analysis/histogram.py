"""Histograms: counts of values in bins of equal width."""

from __future__ import annotations

from typing import Any

from ..numbers.dtypes import DType
from ..numbers.values import decoded
from ..storage.mapped import AT_ONCE
from .kernels import distinct

BINS = 20
_BARS = "▁▂▃▄▅▆▇█"


class Histogram:
    """A fold that counts the finite values in `BINS` bins of equal width.

    A bin includes its lower edge; the last one includes both. Where all values are the same, the bins reach half a unit to either side of
    it, as those of numpy.histogram do. Complex values count by their moduli.

    Attributes:
        dtype: The dtype of the elements.
        least: The lower edge of the first bin.
        most: The upper edge of the last bin.
        counts: The count of each bin.
    """

    __slots__ = ("counts", "dtype", "least", "most")

    def __init__(self, dtype: DType, least: float, most: float) -> None:
        self.dtype = dtype
        self.least, self.most = (float(least), float(most)) if least != most else (least - 0.5, most + 0.5)
        self.counts = [0] * BINS

    @property
    def edges(self) -> list[float]:
        """The `BINS` + 1 edges of the bins."""
        return [self.least * (1 - k / BINS) + self.most * (k / BINS) for k in range(BINS + 1)]

    def add(self, block: bytearray) -> None:
        """Count the values of a block."""
        step = len(block) if self.dtype.nbytes <= 2 else AT_ONCE * self.dtype.nbytes
        for start in range(0, len(block), max(step, 1)):
            self._add(block[start : start + step])

    def _add(self, block: bytearray) -> None:
        import numpy

        with numpy.errstate(all="ignore"):
            values, weights = self._values(block)
            values *= 0.5  # the width of the whole range may be beyond float64; half of it is not
            values -= self.least / 2
            values /= self.most / 2 - self.least / 2
            values *= BINS
            places = values.astype("int64").clip(0, BINS - 1)
        self._count(numpy.bincount(places, weights, minlength=BINS).astype("int64").tolist())

    def _values(self, block: bytearray) -> tuple[Any, Any]:
        """Finite values as float64, and how often each occurs, or None where each is listed as often as it occurs."""
        import numpy

        if self.dtype.nbytes <= 2 and len(block) >= 1 << 16:
            values, weights = distinct(self.dtype, block)
            finite = numpy.isfinite(values)
            return values[finite], weights[finite]
        values = decoded(self.dtype, bytes(block))
        values = (numpy.abs(values) if self.dtype.kind == "c" else values).astype("float64")
        finite = numpy.isfinite(values)
        return values if finite.all() else values[finite], None

    def merge(self, other: Histogram, /) -> None:
        """Add the counts of another histogram of the same range."""
        self._count(other.counts)

    def _count(self, more: list[int]) -> None:
        self.counts = [a + b for a, b in zip(self.counts, more, strict=True)]

    def bars(self) -> str:
        """Draw one character per bin, for a table."""
        most = max(self.counts)
        return "".join(_BARS[-(-count * 7 // most)] if count else " " for count in self.counts)


def together(histograms: list[Histogram]) -> Histogram | None:
    """Add histograms of one range to the first of them, and return it; None where there are none."""
    for histogram in histograms[1:]:
        histograms[0].merge(histogram)
    return histograms[0] if histograms else None
