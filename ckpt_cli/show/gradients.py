"""How the gradients of `ckpt grad` look: a table with a row for each parameter, or for each use of one, and JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..numbers.shapes import record_shape
from ..training.gradients import Figures, Gradient, figures
from .answer import Answer

_HEADER = ("NAME", "SHAPE", "NORM", "MIN", "MAX", "TIED TO")
_USES_HEADER = ("NAME", "USE", "SHAPE", "NORM", "MIN", "MAX", "BY")
_RIGHT = ("NORM", "MIN", "MAX")


def show_gradients(out: Answer, gradients: Sequence[Gradient]) -> None:
    """Write a row for each parameter: the norm and the extremes of its gradient."""
    rows = [(each.name, _shape(each), *_cells(each.value, out.terminal), each.tied_to) for each in gradients]
    out.table(_HEADER, rows, right=_RIGHT)


def show_uses(out: Answer, gradients: Sequence[Gradient]) -> None:
    """Write a row for each use of each parameter. What is tied is listed under its first name alone."""
    rows = [row for gradient in gradients if not gradient.tied_to for row in _use_rows(gradient, out.terminal)]
    out.table(_USES_HEADER, rows, right=_RIGHT)


def gradient_document(gradient: Gradient, by_use: bool) -> dict[str, Any]:
    """Return the JSON object of one parameter, with its uses if asked for."""
    facts = {"name": gradient.name, "shape": list(gradient.shape), **_figures(gradient.value), "tied_to": gradient.tied_to or None}
    return facts | ({"uses": [{"by": use.by, **_figures(use.term)} for use in gradient.uses]} if by_use else {})


def _use_rows(gradient: Gradient, brief: bool) -> Iterator[tuple[Any, ...]]:
    """Yield a row for each use, and one of their sum unless there is exactly one."""
    for number, use in enumerate(gradient.uses, 1):
        yield gradient.name, number, _shape(gradient), *_cells(use.term, brief), use.by
    if len(gradient.uses) != 1:
        yield gradient.name, "sum", _shape(gradient), *_cells(gradient.value, brief), ""


def _shape(gradient: Gradient) -> str:
    return record_shape(gradient.shape)


def _cells(value: Any, brief: bool) -> tuple[str, ...]:
    """Return norm, minimum and maximum of a torch tensor, or of no gradient, as text."""
    if value is None:
        return "None", "", ""
    return tuple("" if number is None else f"{number:.4g}" if brief else repr(number) for number in figures(value))


def _figures(value: Any) -> dict[str, Any]:
    return dict(zip(Figures._fields, (None, None, None) if value is None else figures(value), strict=True))
