"""DARE: of what each source has learned since the base, a random part is dropped, and the rest rescaled; then as in task arithmetic.

An element of a difference is kept with probability `density`, and divided by it, so that the expected sum is that of task arithmetic. The
paper drops before any method; here the sum follows, as in its experiments with language models (mergekit: dare_linear, which rescales to
the old l1 norm instead).

Source: Yu et al., Language models are super Mario (2024), https://arxiv.org/abs/2311.03099.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .method import How, methods
from .method_task import Task
from .random_masks import kept

if TYPE_CHECKING:
    from .method import Array


class Dare(Task):
    """base + Σ wᵢ/density · keptᵢ·(xᵢ - base). A weight is 1 where none is given."""

    name = "dare"
    has_density = True
    usual_density = 0.1
    has_seed = True

    def weigh(self, difference: Array, weight: float, how: How, source: int, first: int) -> None:
        """Drop a random part of a difference, and rescale the rest. What is NaN or infinite stays so, whether it is dropped or not."""
        import numpy

        numpy.multiply(difference, weight / how.density, out=difference)
        if how.density < 1:
            numpy.multiply(difference, kept(how.seed, how.name, source, first, difference.size, how.density), out=difference)


methods.add("dare", Dare())
