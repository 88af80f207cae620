"""The table of figures: every statistic that the program knows of a tensor is one entry of `FIGURES`.

From the table come the columns and the piped records of `ckpt stats`, its JSON and its help page, the keys by which a spec bounds a figure,
and the tables of figures in docs/. To add a statistic, add an entry.

Most figures are computed from the sums in `Figures`, which `kernels` makes in one pass over each block. An entry that needs other sums
brings a pass of its own (`measure`), and says how the results of two blocks become one (`merge`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from math import sqrt
from operator import add
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy


@dataclass(slots=True, repr=False)
class Figures:
    """Sums over the elements of a tensor, or of a part of it, from which every figure is computed.

    NaN and infinite elements are counted, and kept out of the other sums. A complex element with a NaN part is NaN. Moments are float64:
    squares beyond its range (magnitudes over 1e154) are infinite.

    Attributes:
        count: The number of finite elements.
        min: The smallest finite element, exact in every dtype (a Python int for integers); of complex elements, the smallest modulus.
        max: The largest finite element, or modulus.
        mean: The mean of the finite elements; complex for complex elements.
        m2: The sum of the squared distances from the mean.
        zeros: The number of elements that are 0 or -0.
        nan: The number of NaN elements.
        inf: The number of infinite elements.
        measured: By name, the results of figures that have a pass of their own.
    """

    count: int = 0
    min: float | None = None
    max: float | None = None
    mean: complex = 0.0
    m2: float = 0.0
    zeros: int = 0
    nan: int = 0
    inf: int = 0
    measured: dict[str, Any] = field(default_factory=dict)

    @property
    def std(self) -> float | None:
        """The population standard deviation (divided by n, as numpy's; torch's default divides by n − 1)."""
        return sqrt(self.m2 / self.count) if self.count else None

    @property
    def l2(self) -> float:
        """The Euclidean norm: Σx² = m2 + n·mean²."""
        return sqrt(self.m2 + self.count * _squared(self.mean))

    def __repr__(self) -> str:
        values = ((name, figure.of(self)) for name, figure in FIGURES.items())
        return f"Figures({', '.join(f'{name}={value:.6g}' for name, value in values if value is not None)})"

    def keys(self) -> Iterable[str]:
        """Return the names of the figures, so that `dict(figures)` and `{**figures}` have them all."""
        return FIGURES

    def __getitem__(self, name: str) -> Any:
        return FIGURES[name].of(self)

    def __iter__(self) -> Iterator[str]:
        return iter(FIGURES)

    def merge(self, other: Figures) -> None:
        """Add the sums over other elements.

        Means and squared distances merge as in Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample
        Variances" (1979): with δ the difference of the means, M2 = M2a + M2b + δ²·na·nb/(na + nb).
        """
        self.zeros, self.nan, self.inf = self.zeros + other.zeros, self.nan + other.nan, self.inf + other.inf
        for name, value in other.measured.items():
            self.measured[name] = FIGURES[name].merge(self.measured[name], value) if name in self.measured else value
        if not other.count:
            return
        if not self.count:
            self.count, self.min, self.max, self.mean, self.m2 = other.count, other.min, other.max, other.mean, other.m2
            return
        count = self.count + other.count
        delta = other.mean - self.mean
        self.m2 += other.m2 + _squared(delta) * (self.count * other.count / count)
        self.mean += delta * (other.count / count)
        self.count = count
        self.min, self.max = _smaller(self.min, other.min), _larger(self.max, other.max)


def _squared(number: complex) -> float:
    """|number|²; infinite, not an error, where it is too large."""
    return number.real * number.real + number.imag * number.imag


def _smaller(a: float | None, b: float | None) -> float | None:
    return a if b is None or (a is not None and a <= b) else b


def _larger(a: float | None, b: float | None) -> float | None:
    return a if b is None or (a is not None and a >= b) else b


@dataclass(frozen=True)
class Figure:
    """A statistic of a tensor's elements: an entry of `FIGURES`.

    Attributes:
        name: The key in JSON and in a spec; in capitals, the title of the column.
        meaning: What it is, in a few words, for docs/.
        type: The type of its value in JSON where there are elements, as docs/scripts.md writes types: `real | null`, `integer`.
        finish: The figure from the sums over all elements. Left out where `measure` gives the figure itself.
        is_count: Whether it counts elements. It is then 0 where there are none, and a terminal shows 0 as an empty cell.
        bounded: Whether a spec may bound it: `NAME = [low, high]`.
        measure: A pass of its own over each block, for what the sums in `Figures` do not tell. It gets the elements of the block as a flat
            numpy array, NaN and infinities included: in their own dtype, or in float32 where numpy lacks it.
        merge: The results of `measure` for two blocks as one.
    """

    name: str
    meaning: str
    type: str = "real | null"
    finish: Callable[[Figures], complex | None] | None = None
    is_count: bool = False
    bounded: bool = False
    measure: Callable[[numpy.ndarray[Any, Any]], Any] | None = None
    merge: Callable[[Any, Any], Any] = add

    def of(self, figures: Figures) -> complex | None:
        """The figure of a tensor, from its sums; None where it has none."""
        if self.finish:
            return self.finish(figures)
        value: complex | None = figures.measured.get(self.name, 0 if self.is_count else None)
        return value


FIGURES = {
    figure.name: figure
    for figure in (
        Figure("min", "the smallest element", finish=lambda sums: sums.min, bounded=True),
        Figure("max", "the largest element", finish=lambda sums: sums.max, bounded=True),
        Figure("mean", "the mean", "real | complex | null", finish=lambda sums: sums.mean if sums.count else None, bounded=True),
        Figure("std", "the standard deviation, divided by n", finish=lambda sums: sums.std, bounded=True),
        Figure("l2", "the Euclidean norm", "real", finish=lambda sums: sums.l2, bounded=True),
        Figure("zeros", "how many elements are 0", "integer", finish=lambda sums: sums.zeros, is_count=True),
        Figure("nan", "how many elements are NaN", "integer", finish=lambda sums: sums.nan, is_count=True),
        Figure("inf", "how many elements are infinite", "integer", finish=lambda sums: sums.inf, is_count=True),
    )
}
MEASURED = tuple(figure for figure in FIGURES.values() if figure.measure)
