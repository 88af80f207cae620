"""The figures of a run of elements, and how those of two runs merge."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt


@dataclass(slots=True)
class Figures:
    """Of the `count` finite elements: extremes, mean and `m2`, the sum of squared distances from the mean; and how many are special.

    Elements that are NaN or infinite are counted and kept out of the rest. Complex elements: `min` and `max` are of their moduli, `mean` is
    complex, one with a NaN part is NaN. Extremes are exact in every dtype; integers are Python's. Moments are float64; squares beyond its
    range (magnitudes over 1e154) are infinite.
    """

    count: int = 0
    min: float | None = None
    max: float | None = None
    mean: complex = 0.0
    m2: float = 0.0
    zeros: int = 0
    nan: int = 0
    inf: int = 0

    @property
    def std(self) -> float | None:
        """The standard deviation of all there is (divided by n, as numpy's; torch's default divides by n − 1)."""
        return sqrt(self.m2 / self.count) if self.count else None

    @property
    def l2(self) -> float:
        """The Euclidean norm."""
        return sqrt(self.m2 + self.count * _square(self.mean))

    def merge(self, other: Figures) -> None:
        """Add those of other elements: Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample
        Variances" (1979)."""
        self.zeros, self.nan, self.inf = self.zeros + other.zeros, self.nan + other.nan, self.inf + other.inf
        if not other.count:
            return
        if not self.count:
            self.count, self.min, self.max, self.mean, self.m2 = other.count, other.min, other.max, other.mean, other.m2
            return
        both = self.count + other.count
        apart = other.mean - self.mean
        self.m2 += other.m2 + _square(apart) * (self.count * other.count / both)
        self.mean += apart * (other.count / both)
        self.count = both
        self.min, self.max = _least(self.min, other.min), _most(self.max, other.max)


def _square(number: complex) -> float:
    """|number|²; infinite, not an error, where it is too large."""
    return number.real * number.real + number.imag * number.imag


def _least(a: float | None, b: float | None) -> float | None:
    return a if b is None or (a is not None and a <= b) else b


def _most(a: float | None, b: float | None) -> float | None:
    return a if b is None or (a is not None and a >= b) else b
