"""How far apart two tensors of one shape are: sums over their elements, block by block, which merge.

Floats of up to 32 bits are widened to float32, which is exact. Their differences are rounded to float32 (relative error 6e-8), so that the
norm of the differences and the cosine are off by no more than twice that. Which elements differ, and the largest distance, come from the
elements themselves. All sums are float64. Integers are compared as integers, over their full range.
"""

from __future__ import annotations

from math import copysign, isfinite, sqrt
from typing import TYPE_CHECKING, Any, NamedTuple

from ..numbers.dtypes import DType, to_numpy
from ..numbers.float32 import scratch, widened
from ..numbers.values import item

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]
    from ..numbers.float32 import Block

_AT_ONCE = 8192  # elements: too few for BLAS to start threads, and for malloc to map and unmap their arrays each time
_ROUNDING = 1e-6  # of a cosine


class Numbers(NamedTuple):
    """How far apart two tensors a and b of one shape are.

    Attributes:
        elements: The number of elements.
        changed: The number of elements that differ.
        first: The index of the first element that differs; None for several tensors together.
        max_abs: The largest |a - b|.
        rel_l2: ‖a - b‖ / ‖a‖.
        cosine: a·b / (‖a‖ ‖b‖).
    """

    elements: int
    changed: int
    first: tuple[int, ...] | None
    max_abs: float
    rel_l2: float
    cosine: float

    def __str__(self) -> str:
        first = "" if self.first is None else f", the first at [{','.join(map(str, self.first))}]"
        figures = f"max abs {self.max_abs:.6g}, rel l2 {self.rel_l2:.6g}, cosine {self.cosine:.6g}"
        return f"{self.changed:,} of {self.elements:,} elements, {figures}{first}"


class Sums:
    """Sums over a run of elements of two tensors a and b.

    Attributes:
        changed: How many elements differ.
        first: The number of the first that differs, in C order; -1 where none does.
        max_abs: The largest |a - b|.
        squares: Σ|a - b|².
        dot: Σ a·b.
        left: Σ|a|².
        right: Σ|b|².
    """

    __slots__ = ("changed", "dot", "first", "left", "max_abs", "right", "squares")

    def __init__(self) -> None:
        self.changed, self.first, self.max_abs = 0, -1, 0.0
        self.squares = self.dot = self.left = self.right = 0.0

    def merge(self, other: Sums) -> None:
        """Add the sums over other elements."""
        self.first = min((first for first in (self.first, other.first) if first >= 0), default=-1)
        self.max_abs = max(self.max_abs, other.max_abs, key=_size)
        self.changed += other.changed
        self.squares += other.squares
        self.dot += other.dot
        self.left += other.left
        self.right += other.right

    def note(self, start: int, differs: Array, count: int) -> None:
        """Count elements that differ: `count` of those from number `start` on, where `differs` is true."""
        if count and self.first < 0:
            self.first = start + int(differs.argmax())
        self.changed += count

    def numbers(self, shape: tuple[int, ...], elements: int) -> Numbers | None:
        """Return the numbers of two tensors of `shape`; None where no element differs."""
        if not self.changed:
            return None
        return Numbers(elements, self.changed, unravelled(self.first, shape), *self.figures())

    def figures(self) -> tuple[float, float, float]:
        """Return the largest distance, the relative norm of the differences and the cosine, of elements of which some differ."""
        root = sqrt(self.left) * sqrt(self.right)  # the product of the squares may be beyond float64
        rel_l2 = sqrt(self.squares) / sqrt(self.left) if self.left else float("inf")
        cosine = self.dot / root if root else float("nan")
        return self.max_abs, rel_l2, copysign(1.0, cosine) if 1 < abs(cosine) < 1 + _ROUNDING else cosine  # acos takes no more than 1


class Distance:
    """Adds blocks of elements of the dtypes `one` and `two` to `Sums`.

    Elements within atol + rtol·|b| are equal, and NaN equals NaN. With `exact`, elements of one dtype are equal where their bytes are.
    """

    def __init__(self, one: DType, two: DType, rtol: float = 0.0, atol: float = 0.0, exact: bool = False) -> None:
        self.one, self.two, self.rtol, self.atol = one, two, rtol, atol
        self.exact = exact and one == two
        self.whole = one.kind in "biu" and two.kind in "biu"
        self.floats = one.kind == two.kind == "f" and not (rtol or atol)
        self.wide = "float32" if max(one.nbytes, two.nbytes) <= 4 else "float64"

    def add(self, sums: Sums, start: int, left: Block, right: Block) -> None:
        """Add to `sums` the elements from number `start` on, whose bytes are `left` and `right`."""
        import numpy

        one, two = self.one.nbytes, self.two.nbytes
        with numpy.errstate(all="ignore"):
            if self.floats and self._finite(sums, start, left, right):
                return
            for at in range(0, len(left) // one, _AT_ONCE):
                stop = at + _AT_ONCE
                self._any(sums, start + at, left[at * one : stop * one], right[at * two : stop * two])

    def same(self, sums: Sums, block: Block) -> None:
        """Add to `sums` elements whose bytes are the same on both sides: only the norms change."""
        import numpy

        with numpy.errstate(all="ignore"):
            if self.floats:
                squares = _squares(widened(block, self.one, self.wide))
            elif self.one.kind in "iu" and self.one.nbytes <= 2:  # squares of wider ones do not fit into the sum
                squares = _squares(numpy.frombuffer(block, to_numpy(self.one)))
            else:
                step = _AT_ONCE * self.one.nbytes
                parts = (as_wide(block[at : at + step], self.one) for at in range(0, len(block), step))
                squares = sum(float(numpy.vdot(part, part).real) for part in parts)
        sums.left += squares
        sums.right += squares
        sums.dot += squares

    def _finite(self, sums: Sums, start: int, left: Block, right: Block) -> bool:
        """Add finite floats. Where one is NaN or infinite, nothing is added and False is returned."""
        import numpy

        a, b = widened(left, self.one, self.wide, 0), widened(right, self.two, self.wide, 1)
        norms = _squares(a), _squares(b)
        gap = numpy.subtract(a, b, out=scratch(1, a.size, self.wide))  # overwrites b, where that is no view of the block
        squares = _squares(gap)
        if not isfinite(squares):
            return False
        self._largest(sums, gap, left, right)
        self._count(sums, start, gap, left, right)
        # |a|² + |b|² - |a - b|² = 2a·b saves a pass, as long as the rounding of a - b is negligible against it.
        dot = (norms[0] + norms[1] - squares) / 2
        sums.dot += dot if dot > squares / 4 else _dot(a, widened(right, self.two, self.wide, 1))
        sums.squares += squares
        sums.left += norms[0]
        sums.right += norms[1]
        return True

    def _largest(self, sums: Sums, gap: Array, left: Block, right: Block) -> None:
        """The exact distance of the two elements whose rounded difference is the largest."""
        import numpy

        most, least = numpy.maximum.reduce(gap), numpy.minimum.reduce(gap)
        if max(most, -least) > sums.max_abs:
            at, sides = int(gap.argmax() if most > -least else gap.argmin()), ((self.one, left), (self.two, right))
            a, b = (item(dtype, bytes(block[at * dtype.nbytes : (at + 1) * dtype.nbytes])) for dtype, block in sides)
            sums.max_abs = max(sums.max_abs, abs(a - b), key=_size)

    def _count(self, sums: Sums, start: int, gap: Array, left: Block, right: Block) -> None:
        """Count the elements that differ, by their difference or by their bits, and note the first."""
        import numpy

        a, b = (_bits(left, self.one), _bits(right, self.two)) if self.exact else (gap, numpy.zeros((), gap.dtype))
        differs = numpy.not_equal(a, b, out=scratch(2, gap.size, "bool"))
        sums.note(start, differs, int(numpy.count_nonzero(differs)))

    def _any(self, sums: Sums, start: int, left: Block, right: Block) -> None:
        import numpy

        a, b = as_wide(left, self.one), as_wide(right, self.two)
        if self.whole:
            distance = _integer_distance(numpy.frombuffer(left, to_numpy(self.one)), numpy.frombuffer(right, to_numpy(self.two)))
        else:
            distance = numpy.abs(a - b)
        differs = self._differ(a, b, distance, left, right)
        sums.note(start, differs, int(differs.sum()))
        distances = distance[differs]
        largest = float("nan") if numpy.isnan(distances).any() else float(distances.max(initial=0))
        sums.max_abs = max(sums.max_abs, largest, key=_size)
        gap = a - b
        sums.squares += float(numpy.vdot(gap, gap).real)
        sums.left += float(numpy.vdot(a, a).real)
        sums.right += float(numpy.vdot(b, b).real)
        sums.dot += float(numpy.vdot(a, b).real)

    def _differ(self, a: Array, b: Array, distance: Array, left: Block, right: Block) -> Array:
        import numpy

        if self.exact:
            apart = numpy.not_equal(_bits(left, self.one), _bits(right, self.two)).reshape(a.size, -1)
            return numpy.asarray(apart.any(1))
        differs: Array = distance != 0 if self.whole else ~_equal(a, b)
        if self.rtol or self.atol:
            near = distance <= self.atol + self.rtol * numpy.abs(b)
            differs &= ~(near & numpy.isfinite(a) & numpy.isfinite(b))
        return differs


def _squares(values: Array) -> float:
    """The sum of squares, in float64."""
    import numkong

    return float(numkong.moments(values)[1])


def _dot(a: Array, b: Array) -> float:
    import numkong

    dot: Any = numkong.dot(a, b)
    return float(dot)


def _bits(block: Block, dtype: DType) -> Array:
    """Elements as unsigned integers; one of 16 bytes is two."""
    import numpy

    return numpy.frombuffer(block, f"<u{min(dtype.nbytes, 8)}")


def _size(distance: float) -> tuple[bool, float]:
    """The key by which distances are ordered: NaN is the largest."""
    return distance != distance, distance


def _integer_distance(a: Array, b: Array) -> Any:
    """|a - b|, exact over the full range of the dtype: it does not go through floats."""
    import numpy

    if a.dtype != b.dtype:
        return numpy.abs(a.astype(object) - b.astype(object)).astype("float64")
    if a.dtype.kind == "b":
        return a != b
    gap = numpy.maximum(a, b) - numpy.minimum(a, b)  # overflows, as a signed number, to the right unsigned one
    return gap.view(f"u{gap.itemsize}")


def _equal(a: Array, b: Array) -> Any:
    """Where elements are equal, or both NaN. Complex numbers are equal where both parts are."""
    import numpy

    if a.dtype.kind == "c" or b.dtype.kind == "c":
        return _equal(a.real, b.real) & _equal(a.imag, b.imag)
    return (a == b) | (numpy.isnan(a) & numpy.isnan(b))


def as_wide(data: Block, dtype: DType) -> Array:
    """Convert elements to float64 (complex128 where they are complex)."""
    import numpy

    if dtype.name == "complex32":
        halves = numpy.frombuffer(data, "<f2").astype("float64")
        return halves[::2] + 1j * halves[1::2]
    values = numpy.frombuffer(data, to_numpy(dtype))
    return values.astype("complex128" if dtype.kind == "c" else "float64")


def unravelled(index: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the index along each axis of element number `index`, in C order."""
    axes: list[int] = []
    for n in reversed(shape):
        index, rest = divmod(index, n)
        axes.append(rest)
    return tuple(reversed(axes))
