"""The figures of tensors as rows: one a tensor, one a layer, or one for all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ..tensors.blocks import Progress
from ..tensors.tensor import Tensor
from .stats import FIGURES, Figures, computable, histograms, stats

if TYPE_CHECKING:
    from .histogram import Histogram

_WHOLE = "*"
COLUMNS = ("name", "dtype", *FIGURES)


class Row(NamedTuple):
    """The figures of a tensor, or of several together.

    Attributes:
        name: The name of the tensor; the path of a layer; `*` for all.
        dtype: The dtype of all of them; empty where there are several.
        shape: The shape of the tensor; empty for several.
        figures: The sums over the elements; None if there is nothing to compute.
        histogram: How the elements are distributed, where that was asked for.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    figures: Figures | None
    histogram: Histogram | None = None


def tensor_rows(tensors: Mapping[str, Tensor], hist: bool = False, progress: Progress | None = None) -> Iterator[Row]:
    """Yield a row for each tensor, as it is computed."""
    plain = {name: tensor for name, tensor in tensors.items() if computable(tensor)}
    figures: Iterator[tuple[str, Figures]] = stats(plain, progress=progress)
    counts: dict[str, Histogram] = {}
    if hist:
        known = dict(figures)
        ranges = {name: (one.min, one.max) for name, one in known.items() if one.min is not None and one.max is not None}
        counts = dict(histograms({name: plain[name] for name in ranges}, ranges, progress=progress))
        figures = iter(known.items())
    for name, tensor in tensors.items():
        of_tensor = next(figures)[1] if name in plain else None
        yield Row(name, tensor.dtype.name, tensor.shape, of_tensor, counts.get(name))


def whole_row(tensors: Mapping[str, Tensor], hist: bool = False, progress: Progress | None = None) -> tuple[Row, list[str]]:
    """Return one row for all tensors, those that are tied once, and the names that are left out of it.

    Complex ones are left out unless all are complex: their figures are not comparable.
    """
    once = _once(tensors, tensors)
    real = [name for name, tensor in once.items() if tensor.dtype.kind != "c"]
    (row,) = _merged({_WHOLE: real or list(once)}, once, hist, progress)
    return row, [name for name in once if real and once[name].dtype.kind == "c"]


def layer_rows(
    tensors: Mapping[str, Tensor], layers: Mapping[str, list[str]], hist: bool = False, progress: Progress | None = None
) -> tuple[list[Row], list[str]]:
    """Return one row a layer, what is tied within it once, and the names that are left out of their layers.

    Integers of a layer that has floats are left out: a counter of batches would outweigh the weights of a normalisation. So are complex
    tensors where there are others.

    Args:
        tensors: The tensors by name.
        layers: The names of the tensors of each layer.
        hist: Whether to make histograms.
        progress: Called with the bytes done and the bytes in all.
    """
    once = {path: _once(tensors, names) for path, names in layers.items()}
    counted = {path: _of_one_kind(members) for path, members in once.items()}
    kept = {name for names in counted.values() for name in names}
    left = [name for members in once.values() for name in members if name not in kept]
    return _merged(counted, tensors, hist, progress), left


def _once(tensors: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
    """The tensors that can be computed with, tied ones under their first name."""
    first: dict[Any, str] = {}
    for name in names:
        if computable(tensors[name]):
            first.setdefault(tensors[name].key, name)
    return {name: tensors[name] for name in first.values()}


def _of_one_kind(tensors: Mapping[str, Tensor]) -> list[str]:
    """The floats; the integers where there are none; complex ones where there are none of these."""
    by_kind: dict[str, list[str]] = {"float": [], "integer": [], "complex": []}
    for name, tensor in tensors.items():
        by_kind["complex" if tensor.dtype.kind == "c" else "integer" if tensor.dtype.kind in "biu" else "float"].append(name)
    return next(filter(None, by_kind.values()), [])


def _merged(groups: Mapping[str, list[str]], tensors: Mapping[str, Tensor], hist: bool, progress: Progress | None) -> list[Row]:
    """A row for each group of tensors."""
    group_of = {name: group for group, names in groups.items() for name in names}
    figures = {group: Figures() for group, names in groups.items() if names or group == _WHOLE}
    for name, one in stats({name: tensors[name] for name in group_of}, progress=progress):
        figures[group_of[name]].merge(one)
    rows: list[Row] = []
    for group, names in groups.items():
        dtypes = {tensors[name].dtype.name for name in names}
        merged = figures.get(group)
        histogram = _histogram({name: tensors[name] for name in names}, merged, progress) if hist and merged else None
        rows.append(Row(group, dtypes.pop() if len(dtypes) == 1 else "", (), merged, histogram))
    return rows


def _histogram(tensors: Mapping[str, Tensor], figures: Figures, progress: Progress | None) -> Histogram | None:
    if figures.min is None or figures.max is None:
        return None
    from .histogram import together

    span = dict.fromkeys(tensors, (figures.min, figures.max))
    return together([one for _, one in histograms(tensors, span, progress=progress)])


def ordered(rows: Iterable[Row], by: str) -> list[Row]:
    """Sort rows by one of `COLUMNS`: numbers from the largest, complex ones by their modulus, NaN and none last; texts from A."""
    if by not in FIGURES:
        return sorted(rows, key=lambda row: str(getattr(row, by)))

    def key(row: Row) -> tuple[bool, float]:
        value = FIGURES[by].of(row.figures) if row.figures else None
        size = abs(value) if isinstance(value, complex) else value
        return (True, 0.0) if size is None or size != size else (False, -size)

    return sorted(rows, key=key)
