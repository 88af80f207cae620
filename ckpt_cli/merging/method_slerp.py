"""Spherical interpolation between two tensors, each taken as one vector.

sin((1-t)θ)/sin θ · a + sin(tθ)/sin θ · b, where θ is the angle between a and b. Nearly parallel or opposite ones (|cos θ| > 0.9995), and
those of length zero, which have no direction, are interpolated linearly: (1-t)·a + t·b.

Source: Shoemake, Animating rotation with quaternion curves (1985); the limit is that of mergekit's merge_methods/slerp.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import acos, isfinite, sin, sqrt
from typing import TYPE_CHECKING, Any

from ..errors import EditError
from ..numbers.float32 import scratch
from .method import How, Method, methods
from .method_linear import weighted_sum

if TYPE_CHECKING:
    from .method import Array, Values

_NEARLY_PARALLEL = 0.9995


class Slerp(Method):
    """Interpolation along the arc from the first to the second; the second weight is t."""

    name = "slerp"
    most = 2
    orders = True
    studies = True

    def study(self, blocks: Callable[[], Iterator[Values]], how: How) -> tuple[float, ...]:
        """The factors of both, from lengths and angle, which are summed in float64.

        Raises:
            EditError: An element is infinite or NaN.
        """
        t = how.weights_or(0.5, 2)[1]
        squares_a = squares_b = product = 0.0
        for block in blocks():
            a, b = (each.astype("float64") for each in block)
            squares_a, squares_b, product = squares_a + float(a @ a), squares_b + float(b @ b), product + float(a @ b)
        if not isfinite(squares_a + squares_b):
            raise EditError("a tensor with infinite or NaN elements has no direction", "merge it by --method linear")
        lengths = sqrt(squares_a) * sqrt(squares_b)
        cosine = product / lengths if lengths else 1.0
        if abs(cosine) > _NEARLY_PARALLEL:
            return 1 - t, t
        angle = acos(cosine)
        return sin((1 - t) * angle) / sin(angle), sin(t * angle) / sin(angle)

    def merge(self, values: Values, how: How, first: int, known: Any) -> Array:
        """The weighted sum, with the factors."""
        return weighted_sum(values, known, scratch(-2, values[0].size, values[0].dtype.name))


methods.add("slerp", Slerp())
