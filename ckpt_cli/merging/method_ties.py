"""TIES: of what each source has learned since the base, the largest part is kept, a sign is elected, and what has that sign is averaged.

1. Trim: of each source's differences from the base, tensor by tensor, the `density`·n of largest magnitude are kept, one at least; where
   several have the magnitude of the last one, all of these.
2. Elect: the sign of an element is that of the weighted sum of what is kept; of a sum of 0 it is plus.
3. Merge: the weighted mean of what is kept and has the elected sign, Σ wᵢ·dᵢ / Σ wᵢ, is added to the base.

Source: Yadav et al., TIES-merging (2023), https://arxiv.org/abs/2306.01708. Weights, trimming by tensor and dividing by their sum are as
in mergekit's merge_methods/generalized_task_arithmetic.py; the authors' program has no weights, and trims the model as one vector.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ..numbers.float32 import scratch
from .magnitudes import kth_largest
from .method import How, Method, methods

if TYPE_CHECKING:
    from .method import Array, Values


class Ties(Method):
    """base + Σ wᵢ·dᵢ / Σ wᵢ over the sources that agree. A weight is 1 where none is given."""

    name = "ties"
    has_base = True
    least = 1
    has_density = True
    usual_density = 0.2
    orders = True
    studies = True

    def study(self, blocks: Callable[[], Iterator[Values]], how: How) -> list[float]:
        """The least magnitude that each source keeps; 0 where it keeps all."""

        def magnitudes() -> Iterator[list[Array]]:
            import numpy

            for base, *sources in blocks():
                yield [numpy.abs(each - base) for each in sources]

        return kth_largest(magnitudes, how.density) if how.density < 1 else []

    def merge(self, values: Values, how: How, first: int, known: Any) -> Array:
        """An element of which any source is NaN is NaN."""
        import numpy

        base, *sources = values
        weights = how.weights_or(1.0, len(sources))
        trimmed = []
        total = scratch(-2, base.size, base.dtype.name)
        total[:] = 0
        for index, (each, weight) in enumerate(zip(sources, weights, strict=True)):
            difference = numpy.subtract(each, base, out=scratch(-4 - index, base.size, base.dtype.name))
            if known:
                numpy.copyto(difference, 0, where=numpy.abs(difference) < known[index])
            numpy.multiply(difference, weight, out=difference)
            numpy.add(total, difference, out=total)
            trimmed.append(difference)
        return numpy.add(base, _mean_of_agreeing(trimmed, weights, total), out=total)


def _mean_of_agreeing(trimmed: Values, weights: tuple[float, ...], total: Array) -> Array:
    """The weighted mean of the differences, weighted already, whose sign is that of their sum; NaN where the sum is."""
    import numpy

    minus = total < 0
    merged, divisor = numpy.zeros_like(total), numpy.zeros_like(total)
    for difference, weight in zip(trimmed, weights, strict=True):
        agrees = numpy.where(minus, difference < 0, difference > 0)
        numpy.add(merged, difference, out=merged, where=agrees)
        numpy.add(divisor, weight, out=divisor, where=agrees)
    numpy.divide(merged, divisor, out=merged, where=divisor != 0)
    numpy.copyto(merged, total, where=numpy.isnan(total))
    return merged


methods.add("ties", Ties())
