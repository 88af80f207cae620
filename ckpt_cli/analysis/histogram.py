"""How many values lie where: counts in bins of equal width."""

from __future__ import annotations

from typing import Any

from ..numbers.dtypes import DType
from ..numbers.values import decoded
from ..storage.mapped import AT_ONCE
from .kernels import distinct

BINS = 20
_BARS = "▁▂▃▄▅▆▇█"


class Histogram:
    """A fold: counts of the finite values in `BINS` bins from `least` to `most`, each with its lower edge, the last one with both.

    Where there is one value alone the bins reach half a unit to either side of it, as numpy's do. Complex values count by their moduli.
    """

    __slots__ = ("counts", "dtype", "least", "most")

    def __init__(self, dtype: DType, least: float, most: float) -> None:
        self.dtype = dtype
        self.least, self.most = (float(least), float(most)) if least != most else (least - 0.5, most + 0.5)
        self.counts = [0] * BINS

    @property
    def edges(self) -> list[float]:
        return [self.least * (1 - k / BINS) + self.most * (k / BINS) for k in range(BINS + 1)]

    def add(self, block: bytearray) -> None:
        step = len(block) if self.dtype.nbytes <= 2 else AT_ONCE * self.dtype.nbytes
        for start in range(0, len(block), max(step, 1)):
            self._add(block[start : start + step])

    def _add(self, block: bytearray) -> None:
        import numpy

        with numpy.errstate(all="ignore"):
            values, weights = self._values(block)
            values *= 0.5  # halves: the whole range may be beyond float64
            values -= self.least / 2
            values /= self.most / 2 - self.least / 2
            values *= BINS
            places = values.astype("int64").clip(0, BINS - 1)
        self._count(numpy.bincount(places, weights, minlength=BINS).astype("int64").tolist())

    def _values(self, block: bytearray) -> tuple[Any, Any]:
        """Finite float64 values, and how often each is there, or None where each is there once."""
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
        self._count(other.counts)

    def _count(self, more: list[int]) -> None:
        self.counts = [a + b for a, b in zip(self.counts, more, strict=True)]

    def bars(self) -> str:
        """A character a bin, for a table."""
        most = max(self.counts)
        return "".join(_BARS[-(-count * 7 // most)] if count else " " for count in self.counts)


def together(histograms: list[Histogram]) -> Histogram | None:
    """Several histograms of one range as one: the first, to which the others were added."""
    for histogram in histograms[1:]:
        histograms[0].merge(histogram)
    return histograms[0] if histograms else None
