"""`ckpt stats`: print figures of the values of tensors."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from ..analysis.contents import left_out
from ..analysis.layer_paths import of_one
from ..analysis.stats import FIGURES, computable
from ..analysis.stats_rows import COLUMNS, Row, layer_rows, ordered, tensor_rows, whole_row
from ..errors import UsageError, about
from ..show.answer import Answer, Color, note, note_later
from ..show.progress import Progress
from ..show.statistics import layers_document, rows_document, show_rows, total_document
from ..tensors.checkpoint import Checkpoint
from ..tensors.selection import select
from .params import Arch, ByLayer, Colors, Csv, Dequantise, IgnoreIndex, Json, Path, Patterns, layers_of, open_checkpoint

if TYPE_CHECKING:
    Column = str
else:
    Column = StrEnum("Column", COLUMNS)  # the choices of --sort

Hist = Annotated[bool, typer.Option("--hist", help="Also a histogram: 20 bins of equal width from MIN to MAX.")]
Total = Annotated[bool, typer.Option("--total", help="One line for the model; what is tied is counted once.")]
SortBy = Annotated[
    Column | None,
    typer.Option("--sort", metavar="COLUMN", help="By a column: numbers from the largest, names from A.", show_default=False),
]


def stats_command(
    path: Path,
    patterns: Patterns = None,
    hist: Hist = False,
    whole: Total = False,
    by_layer: ByLayer = None,
    sort: SortBy = None,
    dequantise: Dequantise = False,
    arch: Arch = "auto",
    ignore_index: IgnoreIndex = False,
    as_json: Json = False,
    as_csv: Csv = False,
    color: Colors = Color.auto,
) -> None:
    """Print the figures of each tensor's values: extremes, mean, standard deviation, norm, and how many are zero, NaN, infinite.

    NaN and infinite elements are counted, and kept out of the other figures. STD divides by n, as numpy's does. MIN and MAX of complex
    tensors are of the moduli. Tensors that have no plain elements (sparse, quantised, objects) have empty figures.
    In a pipe: NAME, DTYPE, SHAPE, <FIGURES>, tab-separated; with --hist the 20 counts, joined by commas.
    The line of --total has the name *, the dtype where there is but one, and no shape. What an optimizer keeps, and averages of the
    weights, are no part of it, unless a PATTERN picks them. With --by-layer, integers beside floats are left out.
    JSON: {"path", "format", "tensors": [{"name", "dtype", "shape", <figures>}]}; figures that there are none of are null, a complex mean
    is [re, im]; --hist adds "histogram": {"edges", "counts"}; with --total it is {"path", "format", "total": {"dtype", "params", "min",
    …}}, where params is the number of elements, and with --by-layer {"path", "format", "layers": [{"name", "dtype", "params", …}]}.
    """
    wanted = Wanted(whole, by_layer, hist).checked()
    checkpoint = open_checkpoint(path, ignore_index=ignore_index, dequantise=dequantise)
    with about(path):
        names = select(checkpoint, patterns or [], layers_of(checkpoint, arch))
    names = _of_model(checkpoint, names) if whole and not patterns else names
    rows = _computed(path, checkpoint, names, wanted)
    rows = iter(ordered(rows, str(sort))) if sort else rows
    if as_json:
        head = {"path": path, "format": checkpoint.origin.format if checkpoint.origin else ""}
        Answer(True, color).json(head | _document(list(rows), whole, by_layer is not None))
    else:
        show_rows(Answer(False, color, as_csv), rows, hist)
    _note_left_out(checkpoint, names, not patterns)


# The docstring is the help page. Under `python -OO` there is none.
_KEYS = ", ".join(f'"{name}"' for name in FIGURES)
stats_command.__doc__ = (
    (stats_command.__doc__ or "").replace("<FIGURES>", ", ".join(name.upper() for name in FIGURES)).replace("<figures>", _KEYS)
)


def _note_left_out(checkpoint: Checkpoint, names: list[str], everything: bool) -> None:
    for name in names:
        if not computable(tensor := checkpoint[name]):
            note(f"{name}: {tensor.layout or tensor.dtype.name} has no plain elements to compute with")
    if checkpoint.undecoded and everything:
        note(left_out(checkpoint.undecoded))


class Wanted(NamedTuple):
    """Which rows are wanted: one for the whole, one a layer that is told by `depth` parts of its path, or one a tensor."""

    whole: bool
    depth: int | None
    hist: bool

    def checked(self) -> Wanted:
        """Return it. Raises UsageError for options that exclude each other."""
        if self.whole and self.depth is not None:
            raise UsageError("--total is one line, and --by-layer one a layer", "choose one")
        return self


def _computed(path: str, checkpoint: Checkpoint, names: list[str], wanted: Wanted) -> Iterator[Row]:
    """Yield the rows as they are computed. The progress line is gone when the last one is."""
    tensors = {name: checkpoint[name] for name in names}
    left: list[str] = []
    with about(path), Progress() as progress:
        if wanted.whole:
            row, left = whole_row(tensors, wanted.hist, progress)
            yield row
        elif wanted.depth is not None:
            rows, left = layer_rows(tensors, of_one(checkpoint, names, wanted.depth), wanted.hist, progress)
            yield from rows
        else:
            yield from tensor_rows(tensors, wanted.hist, progress)
    if left:
        why = "complex, left out of the total" if wanted.whole else "other numbers than the rest of their layers, left out"
        note_later([f"{_some(left)}: {why}"])


def _document(rows: list[Row], whole: bool, by_layer: bool) -> dict[str, Any]:
    return total_document(rows[0]) if whole else (layers_document if by_layer else rows_document)(rows)


def _of_model(checkpoint: Checkpoint, names: list[str]) -> list[str]:
    """The names of the model's tensors. What is left out is told."""
    from ..analysis.optimizer import of_model

    own = of_model(checkpoint, names)
    if others := set(names).difference(own):
        left = [name for name in names if name in others]
        note_later([f"not part of the model, and left out of the total: {_some(left)} ('*' picks them, too)"])
    return own


def _some(names: Collection[str]) -> str:
    """The first names, and how many there are."""
    return f"{', '.join(islice(names, 3))}{f', … ({len(names):,} tensors)' if len(names) > 3 else ''}"
