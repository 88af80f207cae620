"""`ckpt stats`: print figures of the values of tensors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from ..analysis.contents import left_out
from ..analysis.stats import FIGURES, Figures, computable, histograms, stats, total
from ..errors import about
from ..show.answer import Answer, Color, note
from ..show.progress import Progress
from ..show.statistics import Row, rows_document, show_rows, total_document
from ..tensors.selection import select
from ..tensors.tensor import Tensor
from .params import Arch, Colors, Dequantise, IgnoreIndex, Json, Path, Patterns, layers_of, open_checkpoint

if TYPE_CHECKING:
    from ..analysis.histogram import Histogram

Hist = Annotated[bool, typer.Option("--hist", help="Also a histogram: 20 bins of equal width from MIN to MAX.")]
Total = Annotated[bool, typer.Option("--total", help="One line for all together; what is tied is counted once.")]


def stats_command(
    path: Path,
    patterns: Patterns = None,
    hist: Hist = False,
    whole: Total = False,
    dequantise: Dequantise = False,
    arch: Arch = "auto",
    ignore_index: IgnoreIndex = False,
    as_json: Json = False,
    color: Colors = Color.auto,
) -> None:
    """Print the figures of each tensor's values: extremes, mean, standard deviation, norm, and how many are zero, NaN, infinite.

    NaN and infinite elements are counted, and kept out of the other figures. STD divides by n, as numpy's does. MIN and MAX of complex
    tensors are of the moduli. Tensors that have no plain elements (sparse, quantised, objects) have empty figures.
    In a pipe: NAME, DTYPE, SHAPE, <FIGURES>, tab-separated; with --hist the 20 counts, joined by commas.
    The line of --total has the name *, the dtype where there is but one, and no shape.
    JSON: {"path", "format", "tensors": [{"name", "dtype", "shape", <figures>}]}; figures
    that there are none of are null, a complex mean is [re, im]; --hist adds "histogram": {"edges", "counts"}; with --total it is
    {"path", "format", "total": {"dtype", "params", "min", …}}, where params is the number of elements.
    """
    checkpoint = open_checkpoint(path, ignore_index=ignore_index, dequantise=dequantise)
    with about(path):
        names = select(checkpoint, patterns or [], layers_of(checkpoint, arch))
    tensors = {name: checkpoint[name] for name in names}
    rows = _computed(path, tensors, whole, hist)
    if as_json:
        all_rows = list(rows)
        head = {"path": path, "format": checkpoint.origin.format if checkpoint.origin else ""}
        Answer(True, color).json(head | (total_document(all_rows[0]) if whole else rows_document(all_rows)))
    else:
        show_rows(Answer(False, color), rows, hist)
    for name, tensor in tensors.items():
        if not computable(tensor):
            note(f"{name}: {tensor.layout or tensor.dtype.name} has no plain elements to compute with")
    if checkpoint.undecoded and not patterns:
        note(left_out(checkpoint.undecoded))


# The docstring is the help page. Under `python -OO` there is none.
_KEYS = ", ".join(f'"{name}"' for name in FIGURES)
stats_command.__doc__ = (
    (stats_command.__doc__ or "").replace("<FIGURES>", ", ".join(name.upper() for name in FIGURES)).replace("<figures>", _KEYS)
)


def _computed(path: str, tensors: dict[str, Tensor], whole: bool, hist: bool) -> Iterator[Row]:
    """Yield the rows as they are computed. The progress line is gone when the last one is."""
    with about(path), Progress() as progress:
        if whole:
            yield _total(tensors, hist, progress)
        else:
            yield from _rows(tensors, hist, progress)


def _rows(tensors: dict[str, Tensor], hist: bool, progress: Progress) -> Iterator[Row]:
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


def _total(tensors: dict[str, Tensor], hist: bool, progress: Progress) -> Row:
    """Return one row for all tensors. Complex ones are left out unless all are complex: their figures are not comparable."""
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
