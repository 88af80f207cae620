"""The sums behind the figures of one block: a kernel for each kind of dtype.

Blocks of IEEE floats are read as integers first. Seen as signed integers, the largest bits are those of the maximum; seen as unsigned ones,
they are those of the minimum if any element is negative. The same four numbers tell whether there is an infinity, a NaN or a zero, so that
such elements are searched for only where there are some. numkong computes the sums in float64; 16-bit floats are widened to float32, which
holds them exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..numbers.dtypes import DType, to_numpy
from ..numbers.float32 import halves, widened
from ..numbers.values import decoded, item
from .figures import MEASURED, Figures

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

# The bits of +infinity. All larger bits, the sign aside, are NaNs.
_INFINITY = {"float16": 0x7C00, "bfloat16": 0x7F80, "float32": 0x7F800000, "float64": 0x7FF0000000000000}
# A sum of squares minus n·mean² loses as many digits as the two are larger than their difference; beyond this factor, the squared
# distances from the mean are summed instead.
_CANCELLATION = 1e7


class FiguresFold:
    """A fold over the blocks of a tensor of `dtype` that keeps its `figures`."""

    __slots__ = ("dtype", "figures")

    def __init__(self, dtype: DType) -> None:
        self.dtype, self.figures = dtype, Figures()

    def add(self, block: bytearray) -> None:
        """Add the elements of a block, which may be overwritten."""
        self.figures.merge(figures_of(self.dtype, block))

    def merge(self, other: FiguresFold, /) -> None:
        """Add the elements that another fold has seen."""
        self.figures.merge(other.figures)


def figures_of(dtype: DType, block: bytearray) -> Figures:
    """The sums over a block of one or more elements of `dtype`. The block may be overwritten."""
    measured = _measured(dtype, block) if MEASURED else {}  # first: kernels may overwrite the block
    if dtype.name in _INFINITY:
        figures = _floats(dtype, block)
    else:
        with _unwarned():
            figures = _kernel(dtype)(dtype, block)
    figures.measured = measured
    return figures


def _measured(dtype: DType, block: bytearray) -> dict[str, Any]:
    """The results of the figures that have a pass of their own."""
    with _unwarned():
        values = decoded(dtype, bytes(block))
        return {figure.name: figure.measure(values) for figure in MEASURED if figure.measure}


def _kernel(dtype: DType) -> Callable[[DType, bytearray], Figures]:
    if dtype.nbytes == 1:
        return _bytes
    return _complexes if dtype.kind == "c" else _integers


def _unwarned() -> numpy.errstate:
    """Silence numpy: NaN and infinities are counted, not warned of."""
    import numpy

    return numpy.errstate(all="ignore")


def _floats(dtype: DType, block: bytearray) -> Figures:
    import numpy

    bits = numpy.frombuffer(block, f"<u{dtype.nbytes}")
    signed = bits.view(f"<i{dtype.nbytes}")
    low, high = int(numpy.minimum.reduce(signed)), int(numpy.maximum.reduce(signed))
    first, last = int(numpy.minimum.reduce(bits)), int(numpy.maximum.reduce(bits))
    infinity, sign = _INFINITY[dtype.name], 1 << (8 * dtype.nbytes - 1)
    if high >= infinity or last >= sign | infinity:
        with _unwarned():
            return _of_values(_wide(dtype, block))
    least, most = (_value(dtype, at) for at in (last if last >= sign else first, high if high >= 0 else first))
    zeros = bits.size - int(numpy.count_nonzero(bits)) if first == 0 else 0
    if low == -sign:
        zeros += int(numpy.count_nonzero(bits == sign))
    if first == last:
        return Figures(bits.size, least, most, least, 0.0, zeros)
    return Figures(bits.size, least, most, *_moments(dtype, block), zeros)


def _value(dtype: DType, bits: int) -> float:
    return float(item(dtype, bits.to_bytes(dtype.nbytes, "little")))


def _moments(dtype: DType, block: bytearray) -> tuple[float, float]:
    """The mean of finite floats, and the sum of the squared distances from it."""
    import numkong
    import numpy

    count = len(block) // dtype.nbytes
    parts = halves(block) if dtype.name == "bfloat16" else (widened(block, dtype, "float64" if dtype.nbytes == 8 else "float32"),)
    total, squares = (sum(sums) for sums in zip(*map(numkong.moments, parts), strict=True))
    mean = total / count
    m2 = squares - total * mean
    if m2 * _CANCELLATION > squares:  # false for NaN too, where the squares are beyond float64
        return mean, m2
    with _unwarned():
        return _about_the_mean(numpy.concatenate(parts)[:count].astype("float64"))


def _about_the_mean(values: Array) -> tuple[Any, float]:
    """The same in two passes over float64 or complex128 values."""
    import numpy

    mean = values.mean()
    if not numpy.isfinite(mean):  # the sum is beyond float64, the mean is not
        mean = (values / values.size).sum()
    distances = numpy.abs(values - mean)
    return mean.item(), float(numpy.square(distances, out=distances).sum())


def _wide(dtype: DType, block: bytearray) -> Array:
    return decoded(dtype, bytes(block)).astype("complex128" if dtype.kind == "c" else "float64")


def _of_values(values: Array) -> Figures:
    """The sums over float64 or complex128 values, NaN and infinities among them."""
    import numpy

    finite = values[numpy.isfinite(values)]
    nan = int(numpy.isnan(values).sum())
    figures = Figures(nan=nan, inf=values.size - finite.size - nan)
    if finite.size:
        sizes = numpy.abs(finite) if finite.dtype.kind == "c" else finite
        zeros = finite.size - int(numpy.count_nonzero(finite))
        figures.merge(Figures(finite.size, float(sizes.min()), float(sizes.max()), *_about_the_mean(finite), zeros))
    return figures


def _complexes(dtype: DType, block: bytearray) -> Figures:
    return _of_values(_wide(dtype, block))


def _integers(dtype: DType, block: bytearray) -> Figures:
    """Extremes and the sum are exact over the full range of the dtype: they never go through floats."""
    import numpy

    values = numpy.frombuffer(block, to_numpy(dtype))
    total = int(values.sum()) if dtype.nbytes < 8 else (int((values >> 32).sum()) << 32) + int((values & 0xFFFFFFFF).sum())
    mean = total / values.size
    distances = values.astype("float64") - mean
    zeros = values.size - int(numpy.count_nonzero(values))
    return Figures(values.size, int(values.min()), int(values.max()), mean, float(numpy.square(distances).sum()), zeros)


def _bytes(dtype: DType, block: bytearray) -> Figures:
    """For a dtype with 256 values: the number of times that each occurs tells everything."""
    import numpy

    values, counts = distinct(dtype, block)
    finite = numpy.isfinite(values)
    figures = Figures(nan=int(counts[numpy.isnan(values)].sum()), inf=int(counts[numpy.isinf(values)].sum()))
    values, counts = values[finite], counts[finite]
    if values.size:
        kind = float if dtype.kind == "f" else int
        mean = float((values * counts).sum() / counts.sum())
        m2 = float((numpy.square(values - mean) * counts).sum())
        zeros = int(counts[values == 0].sum())
        figures.merge(Figures(int(counts.sum()), kind(values.min()), kind(values.max()), mean, m2, zeros))
    return figures


def distinct(dtype: DType, block: bytearray) -> tuple[Array, Array]:
    """Return the distinct values in a block of one- or two-byte elements, as float64, and how often each occurs."""
    import numpy

    counts = _byte_counts(block) if dtype.nbytes == 1 else numpy.bincount(numpy.frombuffer(block, "<u2"), minlength=1 << 16)
    present = numpy.flatnonzero(counts)
    return decoded(dtype, present.astype(f"<u{dtype.nbytes}").tobytes()).astype("float64"), counts[present]


def _byte_counts(block: bytearray) -> Array:
    """How often each byte occurs. Bytes are counted in pairs, at twice the speed."""
    import numpy

    if len(block) < 1 << 16:
        return numpy.bincount(numpy.frombuffer(block, "uint8"), minlength=256)
    pairs = numpy.bincount(numpy.frombuffer(block, "<u2", len(block) // 2), minlength=1 << 16).reshape(256, 256)
    counts: Array = pairs.sum(0) + pairs.sum(1)
    if len(block) % 2:
        counts[block[-1]] += 1
    return counts
