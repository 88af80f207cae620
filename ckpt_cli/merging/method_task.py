"""Task arithmetic: the base, and the weighted sum of what each source has learned since.

Source: Ilharco et al., Editing models with task arithmetic (2023), https://arxiv.org/abs/2212.04089.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..numbers.float32 import scratch
from .method import How, Method, methods

if TYPE_CHECKING:
    from .method import Array, Values


class Task(Method):
    """base + Σ wᵢ·(xᵢ - base). A weight is 1 where none is given; a negative one makes the model forget."""

    name = "task"
    has_base = True
    least = 1

    def merge(self, values: Values, how: How, first: int, known: Any) -> Array:
        """The differences are summed in the order of the sources, then added to the base."""
        import numpy

        base, *sources = values
        into, difference = (scratch(index, base.size, base.dtype.name) for index in (-2, -3))
        for index, weight in enumerate(how.weights_or(1.0, len(sources))):
            target = difference if index else into
            self.weigh(numpy.subtract(sources[index], base, out=target), weight, how, index, first)
            if index:
                numpy.add(into, difference, out=into)
        return numpy.add(base, into, out=into)

    def weigh(self, difference: Array, weight: float, how: How, source: int, first: int) -> None:
        """Multiply a difference by its weight, in place.

        Args:
            difference: That of a source from the base, for a block.
            weight: The weight of the source.
            how: What is told of the tensor.
            source: The index of the source.
            first: The index of the first element of the block in the tensor.
        """
        import numpy

        if weight != 1:
            numpy.multiply(difference, weight, out=difference)


methods.add("task", Task())
