"""Figures of tensors: extremes, moments, what is zero, NaN or infinite; and histograms. Folds over `blocks`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from ..tensors.blocks import Progress, fold
from ..tensors.tensor import Tensor
from .figures import Figures

if TYPE_CHECKING:
    from .histogram import Histogram

__all__ = ["Figures", "computable", "histograms", "stats", "total"]


def computable(tensor: Tensor) -> bool:
    """True where each element is a number, blocks that are decoded included: not for sparse, sub-byte and object tensors."""
    return tensor.numeric


def stats(tensors: Mapping[str, Tensor], workers: int | None = None, progress: Progress | None = None) -> Iterator[tuple[str, Figures]]:
    """Each name and the figures of its tensor, which must be computable. What is tied is read once."""
    _import_numpy()
    from .kernels import Summary

    folds = fold(_decoded(tensors), lambda tensor: Summary(tensor.dtype), workers=workers, progress=progress)
    return ((name, summary.figures) for name, summary in folds)


def histograms(
    tensors: Mapping[str, Tensor],
    ranges: Mapping[str, tuple[float, float]],
    workers: int | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[str, Histogram]]:
    """Each name and the histogram of its finite values (of a complex tensor: their moduli) over its range (least, most)."""
    _import_numpy()
    from .histogram import Histogram

    numbers = _decoded(tensors)
    by_key = {tensor.key: ranges[name] for name, tensor in numbers.items()}
    return fold(numbers, lambda tensor: Histogram(tensor.dtype, *by_key[tensor.key]), workers=workers, progress=progress)


def _decoded(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.decoded(name) for name, tensor in tensors.items()}


def total(figures: Iterable[Figures]) -> Figures:
    """The figures of all tensors together."""
    whole = Figures()
    for some in figures:
        whole.merge(some)
    return whole


def _import_numpy() -> None:
    """Before workers are forked, so that they share it; without BLAS's threads, which take longer to start than they help."""
    import os

    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    import numkong  # noqa: F401
    import numpy  # noqa: F401
