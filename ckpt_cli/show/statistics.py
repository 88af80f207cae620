"""How the figures of `ckpt stats` look: a row for each tensor, and JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..analysis.stats import FIGURES
from ..analysis.stats_rows import Row
from ..numbers.shapes import record_shape
from .answer import Answer

_HEADER = ("NAME", "DTYPE", "SHAPE", *(name.upper() for name in FIGURES))


def show_rows(out: Answer, rows: Iterable[Row], with_histogram: bool) -> None:
    """Write the rows: in a pipe each as soon as it is computed, on a terminal all at once."""
    cells = (_cells(row, with_histogram, brief=out.terminal) for row in rows)
    header = (*_HEADER, "HISTOGRAM") if with_histogram else _HEADER
    out.table(header, list(cells) if out.terminal else cells, right=_HEADER[3:])


def rows_document(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the part of the JSON document that lists the tensors."""
    return {"tensors": [{"name": row.name, "dtype": row.dtype, "shape": list(row.shape)} | _figures(row) for row in rows]}


def layers_document(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the part of the JSON document that lists the layers."""
    return {"layers": [{"name": row.name, "dtype": row.dtype, "params": _elements(row)} | _figures(row) for row in rows]}


def total_document(row: Row) -> dict[str, Any]:
    """Return the part of the JSON document that --total gives."""
    return {"total": {"dtype": row.dtype, "params": _elements(row)} | _figures(row)}


def _elements(row: Row) -> int:
    return row.figures.count + row.figures.nan + row.figures.inf if row.figures else 0


def _cells(row: Row, with_histogram: bool, brief: bool) -> tuple[str, ...]:
    """Return a row as text. `brief`, for a person: four digits, and no count that is 0; else exact numbers."""
    shape = record_shape(row.shape)
    if row.figures is None:
        return (row.name, row.dtype, shape, *[""] * (len(FIGURES) + with_histogram))
    values = [(figure, figure.of(row.figures)) for figure in FIGURES.values()]
    texts = ["" if brief and figure.is_count and not value else _number(value, brief) for figure, value in values]
    cells = (row.name, row.dtype, shape, *texts)
    if not with_histogram:
        return cells
    bins = row.histogram
    return (*cells, "" if bins is None else bins.bars() if brief else ",".join(map(str, bins.counts)))


def _number(value: complex | None, brief: bool) -> str:
    """Return a number with four digits, or with as many as give the same number back."""
    if value is None:
        return ""
    return f"{value:.4g}" if brief and not isinstance(value, int) else repr(value).strip("()")


def _figures(row: Row) -> dict[str, Any]:
    """Return the figures of a row by their keys in JSON; each is None if there is nothing to compute."""
    if row.figures is None:
        return dict.fromkeys(FIGURES)
    figures: dict[str, Any] = {name: figure.of(row.figures) for name, figure in FIGURES.items()}
    if row.histogram is not None:
        figures["histogram"] = {"edges": row.histogram.edges, "counts": row.histogram.counts}
    return figures
