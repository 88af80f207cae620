"""DARE: of what each source has learned since the base, a random part is dropped, and the rest rescaled; then as in task arithmetic.

An element of a difference is kept with probability `density`, and divided by it, so that the expected sum is that of task arithmetic. The
paper drops before any method; here the sum follows, as in its experiments with language models (mergekit: dare_linear, which rescales to
the old l1 norm instead).

Source: Yu et al., Language models are super Mario (2024), https://arxiv.org/abs/2311.03099.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..numbers.float32 import scratch
from .method import How, Method, methods
from .random_masks import kept

if TYPE_CHECKING:
    from .method import Array, Values


class Dare(Method):
    """base + Σ wᵢ/density · keptᵢ·(xᵢ - base). A weight is 1 where none is given."""

    name = "dare"
    has_base = True
    least = 1
    has_density = True
    usual_density = 0.1
    has_seed = True

    def merge(self, values: Values, how: How, first: int, known: Any) -> Array:
        """What is NaN or infinite stays so, whether it is dropped or not."""
        import numpy

        base, *sources = values
        into, difference = (scratch(index, base.size, base.dtype.name) for index in (-2, -3))
        for index, weight in enumerate(how.weights_or(1.0, len(sources))):
            target = difference if index else into
            numpy.subtract(sources[index], base, out=target)
            numpy.multiply(target, weight / how.density, out=target)
            if how.density < 1:
                numpy.multiply(target, kept(how.seed, how.name, index, first, base.size, how.density), out=target)
            if index:
                numpy.add(into, difference, out=into)
        return numpy.add(base, into, out=into)


methods.add("dare", Dare())
