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
        """An element is NaN where the sum is, of what is NaN or infinite."""
        import numpy

        base, *sources = values
        weights = how.weights_or(1.0, len(sources))
        trimmed = [scratch(-5 - index, base.size, base.dtype.name) for index in range(len(sources))]
        total, magnitude = (scratch(index, base.size, base.dtype.name) for index in (-2, -3))
        for index, difference in enumerate(trimmed):
            numpy.subtract(sources[index], base, out=difference)
            if known:
                numpy.multiply(difference, numpy.abs(difference, out=magnitude) >= known[index], out=difference)
            if weights[index] != 1:
                numpy.multiply(difference, weights[index], out=difference)
            numpy.add(total if index else 0, difference, out=total)
        return numpy.add(base, _mean_of_agreeing(trimmed, weights, total), out=total)


def _mean_of_agreeing(trimmed: Values, weights: tuple[float, ...], total: Array) -> Array:
    """The weighted mean of the differences, weighted already, whose sign is that of their sum. `total` and `trimmed` are written over."""
    import numpy

    is_undefined = numpy.isnan(total)
    sign = numpy.copysign(1, numpy.add(total, 0, out=total), out=total)  # of a sum of -0 it is plus
    merged, divisor = (scratch(index, sign.size, sign.dtype.name) for index in (-3, -4))
    for index, difference in enumerate(trimmed):
        agreeing = numpy.maximum(numpy.multiply(difference, sign, out=difference), 0, out=difference)
        numpy.add(merged if index else 0, agreeing, out=merged)
        numpy.add(divisor if index else 0, numpy.multiply(agreeing > 0, weights[index], dtype=sign.dtype), out=divisor)
    numpy.add(divisor, divisor == 0, out=divisor)
    numpy.multiply(numpy.divide(merged, divisor, out=merged), sign, out=merged)
    if is_undefined.any():
        merged[is_undefined] = numpy.nan
    return merged


methods.add("ties", Ties())
