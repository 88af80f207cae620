"""How a list of tensors looks: `ckpt ls`. Everything here comes from headers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from operator import add
from typing import Any

from ..errors import number_of
from ..numbers.shapes import record_shape
from ..tensors.checkpoint import Checkpoint, Kind
from .answer import Answer, readable_size
from .escape import escape

_HEADER = ("NAME", "DTYPE", "SHAPE", "PARAMS", "BYTES", "TIED TO")
_STATE_HEADER = (*_HEADER[:-1], "OF")
_RIGHT = ("PARAMS", "BYTES")


def show_list(out: Answer, checkpoint: Checkpoint, names: list[str]) -> None:
    """Write a table on a terminal or as CSV, records in a pipe."""
    if out.terminal or out.as_csv:
        out.table(_HEADER, _rows(checkpoint, names), right=_RIGHT, footer=_footer(out, checkpoint, names))
    else:
        _show_records(out, checkpoint, names)


def show_folded(out: Answer, checkpoint: Checkpoint, names: list[str]) -> None:
    """Write the list with repeated blocks on one line, their parameters and bytes added up."""
    from .tree import folded

    kinds = checkpoint.kinds()
    cells = {kind: _cells(kind) for kind in {*kinds.values()}}
    groups = folded((name, cells[kinds[name]]) for name in names)
    rows = [
        (f"{name} ×{count}" if count > 1 else name, dtype, shape, params * count, nbytes * count, "")
        for name, count, (dtype, shape, params, nbytes) in groups
    ]
    out.table(_HEADER, rows, right=_RIGHT, footer=_footer(out, checkpoint, names))


def show_tree(out: Answer, checkpoint: Checkpoint, names: list[str]) -> None:
    """Write the names as a tree of their parts."""
    from .tree import tree_lines

    tied, kinds = checkpoint.tied_to(), checkpoint.kinds()
    texts = {kind: "  {} {}".format(*_cells(kind)).rstrip() for kind in {*kinds.values()}}

    def label(name: str) -> str:
        return texts[kinds[name]] + (f" = {tied[name]}" if name in tied else "")

    out.lines(tree_lines(names, label, checkpoint.separator))


def show_states(out: Answer, checkpoint: Checkpoint, names: list[str], owners: Mapping[str, str | None]) -> None:
    """Write the tensors that optimizers and averages keep; `owners` has the parameter that each belongs to, None where it is not known."""
    kinds = checkpoint.kinds()
    rows = [(name, *_cells(kinds[name]), owners[name] or "") for name in names]
    out.table(_STATE_HEADER, rows, right=_RIGHT, footer=_footer(out, checkpoint, names))


def list_document(path: str, checkpoint: Checkpoint, names: list[str], owners: Mapping[str, str | None] | None = None) -> dict[str, Any]:
    """Return the JSON document; with `owners`, each tensor says which parameter it belongs to."""
    params, nbytes = _totals(checkpoint, names)
    entries = _entries(checkpoint, names)
    return {
        "path": path,
        "format": checkpoint.origin.format if checkpoint.origin else "",
        "tensors": entries if owners is None else ({**entry, "of": owners[entry["name"]]} for entry in entries),
        "params": params,
        "bytes": nbytes,
    }


def _cells(kind: Kind) -> tuple[str, str, int, int]:
    """Return dtype (and layout, if sparse), shape, parameters, bytes."""
    sparse = f" ({kind.layout})" if kind.layout.startswith("sparse") else ""
    return kind.dtype.name + sparse, record_shape(kind.shape), kind.numel, kind.nbytes


def _rows(checkpoint: Checkpoint, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    tied, kinds = checkpoint.tied_to(), checkpoint.kinds()
    cells = {kind: _cells(kind) for kind in {*kinds.values()}}
    return ((name, *cells[kinds[name]], tied.get(name, "")) for name in names)


class _Rests(dict[Kind, str]):
    """What follows the name in a pipe, made once for all tensors of one kind."""

    def __missing__(self, kind: Kind) -> str:
        text = self[kind] = "\t".join(["", *(escape(str(cell)) for cell in _cells(kind)), ""])
        return text


def _show_records(out: Answer, checkpoint: Checkpoint, names: list[str]) -> None:
    tied, kinds = checkpoint.tied_to(), checkpoint.kinds()
    listed = kinds.values() if names == list(kinds) else map(kinds.__getitem__, names)
    rests = map(_Rests().__getitem__, listed)
    out.name_lines(names, map(add, rests, [escape(tied.get(name, "")) for name in names]) if tied else rests)


def _entries(checkpoint: Checkpoint, names: list[str]) -> Iterator[dict[str, Any]]:
    tied, kinds = checkpoint.tied_to(), checkpoint.kinds()
    for name, kind in zip(names, map(kinds.__getitem__, names), strict=True):
        facts = {"dtype": kind.dtype.name, "shape": kind.shape, "params": kind.numel, "bytes": kind.nbytes}
        yield {"name": name, **facts, "tied_to": tied.get(name)}


def _totals(checkpoint: Checkpoint, names: list[str]) -> tuple[int, int]:
    """Return the parameters and bytes of `names`; what is tied is counted once."""
    counted, ties, kinds = set(names), checkpoint.ties(), checkpoint.kinds()
    for group in ties:
        counted.difference_update([name for name in group if name in counted][1:])
    return sum(kinds[name].numel for name in counted), sum(kinds[name].nbytes for name in counted)


def _footer(out: Answer, checkpoint: Checkpoint, names: list[str]) -> str:
    if not out.terminal:
        return ""
    params, nbytes = _totals(checkpoint, names)
    return f"{number_of(len(names), 'tensor')}, {params:,} parameters, {readable_size(nbytes)}"
