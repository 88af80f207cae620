"""How far apart two tensors of one shape are: sums over their elements, in float64, block by block, that merge.

What both hold of floats is widened exactly. Integers are compared as integers, to their full range.
"""

from __future__ import annotations

from math import isfinite, sqrt
from typing import TYPE_CHECKING, Any, NamedTuple

from .dtypes import DType, to_numpy

if TYPE_CHECKING:
    import numpy


class Numbers(NamedTuple):
    """How far apart two tensors of one shape are: elements that differ, the first of them, and figures over all elements."""

    elements: int
    changed: int
    first: tuple[int, ...]
    max_abs: float
    rel_l2: float
    cosine: float


class Sums:
    """Of a run of elements of two tensors: how many differ, the first that does, the largest distance, and the sums behind the norms."""

    __slots__ = ("changed", "dot", "first", "left", "max_abs", "right", "squares")

    def __init__(self) -> None:
        self.changed, self.first, self.max_abs = 0, -1, 0.0
        self.squares = self.dot = self.left = self.right = 0.0

    def merge(self, other: Sums) -> None:
        """Add what was found in the elements behind."""
        self.first = other.first if self.first < 0 else self.first
        self.max_abs = max(self.max_abs, other.max_abs, key=lambda x: (x != x, x))
        self.changed += other.changed
        self.squares += other.squares
        self.dot += other.dot
        self.left += other.left
        self.right += other.right

    def numbers(self, shape: tuple[int, ...], elements: int) -> Numbers | None:
        """The figures; None where no element differs."""
        if not self.changed:
            return None
        root = sqrt(self.left) * sqrt(self.right)  # apart: their product may be beyond float64
        rel_l2 = sqrt(self.squares) / sqrt(self.left) if self.left else float("inf")
        return Numbers(
            elements, self.changed, _unravelled(self.first, shape), self.max_abs, rel_l2, self.dot / root if root else float("nan")
        )


class Distance:
    """Adds up `Sums` of blocks of the elements of `one` and `two`. Elements within atol + rtol·|b| are equal, and NaN is NaN."""

    def __init__(self, one: DType, two: DType, rtol: float, atol: float) -> None:
        self.one, self.two, self.rtol, self.atol = one, two, rtol, atol
        self.whole = one.kind in "biu" and two.kind in "biu"
        self.exact = not (rtol or atol or self.whole or one.kind == "c" or two.kind == "c")

    def add(self, sums: Sums, start: int, left: bytes | bytearray, right: bytes | bytearray) -> None:
        """The elements from number `start` on, as the bytes `left` and `right`."""
        import numpy

        a, b = as_wide(left, self.one), as_wide(right, self.two)
        with numpy.errstate(all="ignore"):
            gap = a - b
            squares = float(numpy.vdot(gap, gap).real)
            if self.exact and isfinite(squares):
                self._finite(sums, start, gap)
            else:
                self._any(sums, start, a, b, left, right)
            sums.squares += squares
            sums.left += float(numpy.vdot(a, a).real)
            sums.right += float(numpy.vdot(b, b).real)
            sums.dot += float(numpy.vdot(a, b).real)

    def _finite(self, sums: Sums, start: int, gap: numpy.ndarray[Any, Any]) -> None:
        """Nothing is NaN or infinite: elements differ where their difference is not 0."""
        import numpy

        count = int(numpy.count_nonzero(gap))
        if count:
            sums.first = start + int((gap != 0).argmax()) if sums.first < 0 else sums.first
            sums.changed += count
            sums.max_abs = max(sums.max_abs, float(gap.max()), -float(gap.min()), key=lambda x: (x != x, x))

    def _any(self, sums: Sums, start: int, a: Any, b: Any, left: bytes | bytearray, right: bytes | bytearray) -> None:
        import numpy

        if self.whole:
            distance = _integer_distance(numpy.frombuffer(left, to_numpy(self.one)), numpy.frombuffer(right, to_numpy(self.two)))
            differs = distance != 0
        else:
            distance = numpy.abs(a - b)
            differs = ~_equal(a, b)
        if self.rtol or self.atol:
            near = distance <= self.atol + self.rtol * numpy.abs(b)
            differs &= ~(near & numpy.isfinite(a) & numpy.isfinite(b))
        count = int(differs.sum())
        if count:
            found = distance[differs]
            largest = float("nan") if numpy.isnan(found).any() else float(found.max())
            sums.first = start + int(differs.argmax()) if sums.first < 0 else sums.first
            sums.changed += count
            sums.max_abs = max(sums.max_abs, largest, key=lambda x: (x != x, x))


def _integer_distance(a: numpy.ndarray[Any, Any], b: numpy.ndarray[Any, Any]) -> Any:
    """|a - b|, with no way through floats: int64 beyond 2^53 and both ends of a range."""
    import numpy

    if a.dtype != b.dtype:
        return numpy.abs(a.astype(object) - b.astype(object)).astype("float64")
    if a.dtype.kind == "b":
        return a != b
    gap = numpy.maximum(a, b) - numpy.minimum(a, b)  # wraps, as a signed number, to the right unsigned one
    return gap.view(f"u{gap.itemsize}")


def _equal(a: numpy.ndarray[Any, Any], b: numpy.ndarray[Any, Any]) -> Any:
    """Where elements are equal, NaN and NaN included; a complex number is both of its parts."""
    import numpy

    if a.dtype.kind == "c" or b.dtype.kind == "c":
        return _equal(a.real, b.real) & _equal(a.imag, b.imag)
    return (a == b) | (numpy.isnan(a) & numpy.isnan(b))


def as_wide(data: bytes | bytearray, dtype: DType) -> numpy.ndarray[Any, Any]:
    """Elements as float64 (complex128 where they are complex)."""
    import numpy

    if dtype.name == "complex32":
        halves = numpy.frombuffer(data, "<f2").astype("float64")
        return halves[::2] + 1j * halves[1::2]
    values = numpy.frombuffer(data, to_numpy(dtype))
    return values.astype("complex128" if dtype.kind == "c" else "float64")


def _unravelled(index: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    found: list[int] = []
    for n in reversed(shape):
        index, rest = divmod(index, n)
        found.append(rest)
    return tuple(reversed(found))
