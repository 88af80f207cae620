"""Figures and histograms of tensors, as folds over their blocks. `figures` has the table of figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from ..tensors.blocks import Progress, fold
from ..tensors.tensor import Tensor
from .figures import FIGURES, Figure, Figures

if TYPE_CHECKING:
    from .histogram import Histogram

__all__ = ["FIGURES", "Figure", "Figures", "computable", "histograms", "stats", "total"]


def computable(tensor: Tensor) -> bool:
    """Return whether each element is a number, if need be after decoding blocks: not for sparse, sub-byte and object tensors."""
    return tensor.numeric


def stats(tensors: Mapping[str, Tensor], workers: int | None = None, progress: Progress | None = None) -> Iterator[tuple[str, Figures]]:
    """Compute the sums behind the figures of tensors. Tied tensors are read once.

    Args:
        tensors: Tensors by name; each must be `computable`.
        workers: How many processes to use; None leaves it to `blocks.each`.
        progress: Called with the bytes done and the bytes in all.

    Returns:
        Each name and the sums over its tensor, in the order of `tensors`.
    """
    _import_numpy()
    from .kernels import FiguresFold

    folds = fold(_decoded(tensors), lambda tensor: FiguresFold(tensor.dtype), workers=workers, progress=progress)
    return ((name, folded.figures) for name, folded in folds)


def histograms(
    tensors: Mapping[str, Tensor],
    ranges: Mapping[str, tuple[float, float]],
    workers: int | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[str, Histogram]]:
    """Count the finite values of tensors (of a complex tensor, their moduli) in bins of equal width.

    Args:
        tensors: Tensors by name; each must be `computable`.
        ranges: By name, the smallest and the largest finite value.
        workers: How many processes to use; None leaves it to `blocks.each`.
        progress: Called with the bytes done and the bytes in all.

    Returns:
        Each name and the histogram of its tensor, in the order of `tensors`.
    """
    _import_numpy()
    from .histogram import Histogram

    numbers = _decoded(tensors)
    by_key = {tensor.key: ranges[name] for name, tensor in numbers.items()}
    return fold(numbers, lambda tensor: Histogram(tensor.dtype, *by_key[tensor.key]), workers=workers, progress=progress)


def _decoded(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.decoded(name) for name, tensor in tensors.items()}


def total(figures: Iterable[Figures]) -> Figures:
    """Merge the sums over several tensors."""
    merged = Figures()
    for each in figures:
        merged.merge(each)
    return merged


def _import_numpy() -> None:
    """Import numpy before workers are forked, so that they share it; without BLAS threads, whose start takes longer than they save."""
    import os

    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    import numkong  # noqa: F401
    import numpy  # noqa: F401
