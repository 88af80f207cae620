"""The k-th largest magnitude of a tensor that is read in blocks, exactly and in little memory: by its bits, from the top.

Floats without a sign have the order of their bits (IEEE 754, 5.10). A pass over the values counts how many have which 16 bits; the next
pass looks only at those that share the bits found so far. float32 takes two passes, float64 four.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

_AT_ONCE = 16  # bits that a pass finds


def kth_largest(magnitudes: Callable[[], Iterator[Sequence[Array]]], part: float) -> list[float]:
    """Return, for each source, the least of its int(part·n) largest magnitudes; of one at least.

    Args:
        magnitudes: Reads those of all sources in blocks: arrays of one float dtype, without signs. Called once a pass.
        part: The part that is looked at, over 0.

    Returns:
        A magnitude for each source; none where there are no elements.
    """
    blocks = magnitudes()
    first = [values.copy() for values in next(blocks, ())]
    if not first or next(blocks, None) is None:
        return [_in_memory(values, part) for values in first]
    searches = [_Search(values) for values in first]
    while searches[0].below:
        for block in magnitudes():
            for search, values in zip(searches, block, strict=True):
                search.count(values)
        for search in searches:
            search.descend(part)
    return [search.magnitude for search in searches]


def _wanted(part: float, count: int) -> int:
    """How many magnitudes are looked at, of `count`."""
    return max(1, int(part * count))


def _in_memory(values: Array, part: float) -> float:
    """The magnitude that is searched for, among those of one block. NaN counts as the largest."""
    import numpy

    place = values.size - _wanted(part, values.size)
    return float(numpy.partition(values, place)[place])


class _Search:
    """The search among the magnitudes of one source.

    Attributes:
        below: How many bits are not found yet; the sign bit is 0.
    """

    def __init__(self, like: Array) -> None:
        self._dtype, self._bits = like.dtype.name, f"u{like.dtype.itemsize}"
        self.below, self._found, self._wanted = 8 * like.dtype.itemsize - 1, 0, 0
        self._begin()

    def _begin(self) -> None:
        import numpy

        self._width = min(_AT_ONCE, self.below)
        self._counts: Array = numpy.zeros(1 << self._width, "int64")

    def count(self, values: Array) -> None:
        """Count, of those that begin with the bits found, how many have which bits next."""
        import numpy

        bits = values.view(self._bits)
        if self._wanted:  # not in the first pass, in which no bits are found
            bits = bits[(bits >> self.below) == self._found]
        next_bits = (bits >> (self.below - self._width)) & ((1 << self._width) - 1)
        self._counts += numpy.bincount(next_bits.astype("int64"), minlength=1 << self._width)

    def descend(self, part: float) -> None:
        """Find the next bits: those at which the counts, from the largest down, reach the number that is wanted."""
        import numpy

        self._wanted = self._wanted or _wanted(part, int(self._counts.sum()))
        sums = numpy.cumsum(self._counts[::-1])
        place = int(numpy.searchsorted(sums, self._wanted))
        self._wanted -= int(sums[place - 1]) if place else 0
        self.below -= self._width
        self._found = self._found << self._width | (len(sums) - 1 - place)
        self._begin()

    @property
    def magnitude(self) -> float:
        """The magnitude, once all bits are found."""
        import numpy

        return float(numpy.array([self._found], self._bits).view(self._dtype)[0])
