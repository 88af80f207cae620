"""`ckpt stats`: figures of the values, a line a tensor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from ..analysis.stats import Figures, computable, histograms, stats, total
from ..errors import about
from ..show.answer import Answer, Color, note
from ..show.progress import Progress
from ..tensors.checkpoint import Checkpoint, Tensor
from ..tensors.selection import select
from .params import Arch, Colors, Json, Path, Patterns, layers_of, open_checkpoint

if TYPE_CHECKING:
    from ..analysis.histogram import Histogram

_HEADER = ("NAME", "DTYPE", "SHAPE", "MIN", "MAX", "MEAN", "STD", "L2", "ZEROS", "NAN", "INF")


class Row(NamedTuple):
    """A line of the answer. `figures` is None where there is nothing to compute; `shape` of the total is empty."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    figures: Figures | None
    histogram: Histogram | None = None


def stats_command(
    path: Path,
    patterns: Patterns = None,
    hist: Annotated[bool, typer.Option("--hist", help="Also a histogram: 20 bins of equal width from MIN to MAX.")] = False,
    whole: Annotated[bool, typer.Option("--total", help="One line for all together; what is tied is counted once.")] = False,
    arch: Arch = "auto",
    as_json: Json = False,
    color: Colors = Color.auto,
) -> None:
    """Print the figures of each tensor's values: extremes, mean, standard deviation, norm, and how many are zero, NaN, infinite.

    NaN and infinite elements are counted, and kept out of the other figures. STD divides by n, as numpy's does. MIN and MAX of complex
    tensors are of the moduli. Tensors that have no plain elements (sparse, quantised, objects) have empty figures.
    In a pipe: NAME, DTYPE, SHAPE, MIN, MAX, MEAN, STD, L2, ZEROS, NAN, INF, tab-separated; with --hist the 20 counts, joined by commas.
    The line of --total has the name *, the dtype where there is but one, and no shape.
    JSON: {"path", "format", "tensors": [{"name", "dtype", "shape", "min", "max", "mean", "std", "l2", "zeros", "nan", "inf"}]}; figures
    that there are none of are null, a complex mean is [re, im]; --hist adds "histogram": {"edges", "counts"}; with --total it is
    {"path", "format", "total": {"dtype", "params", "min", …}}, where params is the number of elements.
    """
    checkpoint = open_checkpoint(path)
    with about(path):
        names = select(checkpoint, patterns or [], layers_of(checkpoint, arch))
    tensors = {name: checkpoint[name] for name in names}
    rows = _found(path, tensors, whole, hist)
    out = Answer(as_json, color)
    if as_json:
        out.json(_document(path, checkpoint, list(rows), whole))
    else:
        shown = (_cells(row, hist, brief=out.terminal) for row in rows)
        out.table((*_HEADER, "HISTOGRAM") if hist else _HEADER, list(shown) if out.terminal else shown, right=_HEADER[3:])
    for name, tensor in tensors.items():
        if not computable(tensor):
            note(f"{name}: {tensor.layout or tensor.dtype.name} has no plain elements to compute with")


def _found(path: str, tensors: dict[str, Tensor], whole: bool, hist: bool) -> Iterator[Row]:
    """The lines of the answer, as they are found. The progress line is gone when they are all there."""
    with about(path), Progress() as progress:
        if whole:
            yield _total(tensors, hist, progress)
        else:
            yield from _rows(tensors, hist, progress)


def _rows(tensors: dict[str, Tensor], hist: bool, progress: Progress) -> Iterator[Row]:
    plain = {name: tensor for name, tensor in tensors.items() if computable(tensor)}
    found: Iterator[tuple[str, Figures]] = stats(plain, progress=progress)
    counts: dict[str, Histogram] = {}
    if hist:
        known = dict(found)
        ranges = {name: (one.min, one.max) for name, one in known.items() if one.min is not None and one.max is not None}
        counts = dict(histograms({name: plain[name] for name in ranges}, ranges, progress=progress))
        found = iter(known.items())
    for name, tensor in tensors.items():
        figures = next(found)[1] if name in plain else None
        yield Row(name, tensor.dtype.name, tensor.shape, figures, counts.get(name))


def _total(tensors: dict[str, Tensor], hist: bool, progress: Progress) -> Row:
    """All together. Complex tensors only count where all are: their figures are of another kind."""
    plain = {tensor.key: (name, tensor) for name, tensor in reversed(tensors.items()) if computable(tensor)}
    once = dict(reversed(plain.values()))
    real = {name: tensor for name, tensor in once.items() if tensor.dtype.kind != "c"}
    for name in once if real else ():
        if name not in real:
            note(f"{name}: complex, left out of the total")
    counted = real or once
    figures = total(one for _, one in stats(counted, progress=progress))
    dtypes = {tensor.dtype.name for tensor in counted.values()}
    histogram = None
    if hist and figures.min is not None and figures.max is not None:
        from ..analysis.histogram import together

        span = dict.fromkeys(counted, (figures.min, figures.max))
        histogram = together([one for _, one in histograms(counted, span, progress=progress)])
    return Row("*", dtypes.pop() if len(dtypes) == 1 else "", (), figures, histogram)


def _cells(row: Row, hist: bool, brief: bool) -> tuple[str, ...]:
    """A row as text: for a reader four digits, and no count that is 0; for a pipe all there is."""
    shape = "x".join(map(str, row.shape))
    if row.figures is None:
        return (row.name, row.dtype, shape, *[""] * (9 if hist else 8))
    found = row.figures
    mean = found.mean if found.count else None
    numbers = [_number(figure, brief) for figure in (found.min, found.max, mean, found.std, found.l2)]
    counts = ["" if brief and not count else str(count) for count in (found.zeros, found.nan, found.inf)]
    cells = (row.name, row.dtype, shape, *numbers, *counts)
    if not hist:
        return cells
    bins = row.histogram
    return (*cells, "" if bins is None else bins.bars() if brief else ",".join(map(str, bins.counts)))


def _number(value: complex | None, brief: bool) -> str:
    """A number with four digits, or so that exactly it is read back."""
    if value is None:
        return ""
    return f"{value:.4g}" if brief and not isinstance(value, int) else repr(value).strip("()")


def _document(path: str, checkpoint: Checkpoint, rows: list[Row], whole: bool) -> dict[str, Any]:
    head = {"path": path, "format": checkpoint.origin.format if checkpoint.origin else ""}
    if whole:
        row = rows[0]
        count = row.figures.count + row.figures.nan + row.figures.inf if row.figures else 0
        return head | {"total": {"dtype": row.dtype, "params": count} | _figures(row)}
    return head | {"tensors": [{"name": row.name, "dtype": row.dtype, "shape": list(row.shape)} | _figures(row) for row in rows]}


def _figures(row: Row) -> dict[str, Any]:
    found = row.figures
    if found is None:
        return dict.fromkeys(("min", "max", "mean", "std", "l2", "zeros", "nan", "inf"))
    mean = found.mean if found.count else None
    figures: dict[str, Any] = {"min": found.min, "max": found.max, "mean": mean, "std": found.std, "l2": found.l2}
    figures |= {"zeros": found.zeros, "nan": found.nan, "inf": found.inf}
    if row.histogram is not None:
        figures["histogram"] = {"edges": row.histogram.edges, "counts": row.histogram.counts}
    return figures
