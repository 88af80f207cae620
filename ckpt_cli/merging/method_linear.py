"""The weighted sum of the sources; their mean where no weights are given.

Source: Wortsman et al., Model soups (2022), https://arxiv.org/abs/2203.05482, the uniform soup.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..numbers.float32 import scratch
from .method import How, Method, methods

if TYPE_CHECKING:
    from .method import Array, Values


class Linear(Method):
    """Σ wᵢ·xᵢ; without weights (Σ xᵢ)/n, so that the mean of equal values is that value."""

    name = "linear"

    def merge(self, values: Values, how: How, first: int, known: Any) -> Array:
        """The sum, in the order of the sources."""
        import numpy

        into = scratch(-2, values[0].size, values[0].dtype.name)
        if how.weights is None:
            numpy.add(values[0], values[1], out=into)
            for each in values[2:]:
                numpy.add(into, each, out=into)
            count = len(values)
            is_power_of_two = count & (count - 1) == 0  # then the product is the quotient, and takes less time
            return numpy.multiply(into, 1 / count, out=into) if is_power_of_two else numpy.divide(into, count, out=into)
        return weighted_sum(values, how.weights, into)


def weighted_sum(values: Values, weights: tuple[float, ...], into: Array) -> Array:
    """Return `into`, filled with Σ wᵢ·xᵢ."""
    import numpy

    numpy.multiply(values[0], weights[0], out=into)
    product = scratch(-3, into.size, into.dtype.name)
    for each, weight in zip(values[1:], weights[1:], strict=True):
        numpy.add(into, numpy.multiply(each, weight, out=product), out=into)
    return into


methods.add("linear", Linear())
