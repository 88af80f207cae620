"""`ckpt ls`: one line a tensor, from headers alone."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from operator import add
from typing import Annotated, Any

import typer

from ..errors import NoMatch, UsageError, about
from ..show.escape import escape
from ..show.output import Answer, size
from ..tensors.checkpoint import Checkpoint, Kind
from ..tensors.selection import Layers, select
from .params import Arch, Color, Colors, Json, Path, Patterns, layers_of, opened


class Sort(StrEnum):
    name = "name"
    params = "params"
    bytes = "bytes"
    file = "file"


_HEADER = ("NAME", "DTYPE", "SHAPE", "PARAMS", "BYTES", "TIED TO")


def ls_command(
    path: Path,
    patterns: Patterns = None,
    sort: Annotated[Sort, typer.Option("--sort", help="By name, by size (largest first), or in file order.")] = Sort.file,
    tree: Annotated[bool, typer.Option("--tree", help="As a tree of the names' parts.")] = False,
    fold: Annotated[bool, typer.Option("--fold", help="Repeated blocks in one line: layers.{0-47}.weight ×48.")] = False,
    optimizer: Annotated[
        bool, typer.Option("--optimizer", help="What optimizers and averages keep, with the parameter that each is OF.")
    ] = False,
    arch: Arch = "auto",
    as_json: Json = False,
    color: Colors = Color.auto,
) -> None:
    """List the tensors of CKPT that a PATTERN picks, or all: name, dtype, shape, parameters, bytes, and the name each is tied to.

    In a pipe: NAME, DTYPE, SHAPE (8x4; a scalar's is empty), PARAMS, BYTES, TIED-TO, tab-separated; with --fold the NAME of several
    ends in ×N, their PARAMS and BYTES are added up, and TIED-TO is empty. Only the header is read.
    With --optimizer the last field is OF, empty where the file does not tell: moments, momentum, master weights as the optimizers of
    torch, Keras, TensorFlow and optax keep them, and averages (ema, swa).
    """
    checkpoint = opened(path)
    if optimizer:
        if tree or fold:
            raise UsageError("--optimizer is a list", "leave out --tree and --fold")
        with about(path):
            _show_states(Answer(as_json, color.value), path, checkpoint, patterns or [], sort, layers_of(checkpoint, arch))
        return
    with about(path):
        names = _sorted(checkpoint, select(checkpoint, patterns or [], layers_of(checkpoint, arch)), sort)
    out = Answer(as_json, color.value)
    if as_json:
        out.json(_document(path, checkpoint, names))
    elif tree:
        _tree(out, checkpoint, names)
    elif fold:
        _folded(out, checkpoint, names)
    elif out.terminal:
        out.table(_HEADER, _rows(checkpoint, names), right=("PARAMS", "BYTES"), footer=_footer(out, checkpoint, names))
    else:
        _plain(out, checkpoint, names)


def _cells(kind: Kind) -> tuple[str, str, int, int]:
    """Dtype (and what keeps the tensor from being a plain one), shape, parameters, bytes."""
    sparse = f" ({kind.layout})" if kind.layout.sparse else ""
    return kind.dtype.name + sparse, "x".join(map(str, kind.shape)), kind.numel, kind.nbytes


def _rows(checkpoint: Checkpoint, names: list[str]) -> list[tuple[Any, ...]]:
    tied, kinds = checkpoint.tied_to(), checkpoint.kinds()
    return [(name, *_cells(kinds[name]), tied.get(name, "")) for name in names]


class _Told(dict[Kind, str]):
    """What follows the name in a pipe: written once for all tensors that are alike."""

    def __missing__(self, kind: Kind) -> str:
        text = self[kind] = "\t".join(["", *(escape(str(cell)) for cell in _cells(kind)), ""])
        return text


def _plain(out: Answer, checkpoint: Checkpoint, names: list[str]) -> None:
    tied, kinds = checkpoint.tied_to(), checkpoint.kinds()
    found = kinds.values() if names == list(kinds) else map(kinds.__getitem__, names)
    rest = map(_Told().__getitem__, found)
    out.named(names, map(add, rest, [escape(tied.get(name, "")) for name in names]) if tied else rest)


def _show_states(out: Answer, path: str, checkpoint: Checkpoint, patterns: list[str], sort: Sort, layers: Layers) -> None:
    """What optimizers keep, each with its parameter. Raises NoMatch where there is nothing."""
    from ..analysis.optimizer import states

    of = states(checkpoint)
    if not of:
        raise NoMatch("there is no state of an optimizer in it", "`ckpt ls` lists what there is")
    names, kinds = _sorted(checkpoint, select(of, patterns, layers), sort), checkpoint.kinds()
    if out.as_json:
        found = _document(path, checkpoint, names)
        out.json(found | {"tensors": ({**entry, "of": of[entry["name"]]} for entry in found["tensors"])})
        return
    rows = [(name, *_cells(kinds[name]), of[name] or "") for name in names]
    out.table((*_HEADER[:-1], "OF"), rows, right=("PARAMS", "BYTES"), footer=_footer(out, checkpoint, names))


def _sorted(checkpoint: Checkpoint, names: list[str], sort: Sort) -> list[str]:
    kinds = checkpoint.kinds() if sort in (Sort.params, Sort.bytes) else {}
    keys = {
        Sort.name: lambda name: name,
        Sort.params: lambda name: -kinds[name].numel,
        Sort.bytes: lambda name: -kinds[name].nbytes,
    }
    return sorted(names, key=keys[sort]) if sort in keys else names


def totals(checkpoint: Checkpoint, names: list[str]) -> tuple[int, int]:
    """Parameters and bytes of `names`, what is tied counted once."""
    wanted, ties, kinds = set(names), checkpoint.ties(), checkpoint.kinds()
    for group in ties:
        wanted.difference_update([name for name in group if name in wanted][1:])
    return sum(kinds[name].numel for name in wanted), sum(kinds[name].nbytes for name in wanted)


def _footer(out: Answer, checkpoint: Checkpoint, names: list[str]) -> str:
    if not out.terminal:
        return ""
    params, count = totals(checkpoint, names)
    return f"{len(names):,} tensor{'s' * (len(names) != 1)}, {params:,} parameters, {size(count)}"


def _document(path: str, checkpoint: Checkpoint, names: list[str]) -> dict[str, Any]:
    params, count = totals(checkpoint, names)
    return {
        "path": path,
        "format": checkpoint.origin.format if checkpoint.origin else "",
        "tensors": _entries(checkpoint, names),
        "params": params,
        "bytes": count,
    }


def _entries(checkpoint: Checkpoint, names: list[str]) -> Iterator[dict[str, Any]]:
    tied, kinds = checkpoint.tied_to(), checkpoint.kinds()
    for name, kind in zip(names, map(kinds.__getitem__, names), strict=True):
        facts = {"dtype": kind.dtype.name, "shape": kind.shape, "params": kind.numel, "bytes": kind.nbytes}
        yield {"name": name, **facts, "tied_to": tied.get(name)}


def _tree(out: Answer, checkpoint: Checkpoint, names: list[str]) -> None:
    from ..show.tree import tree_lines

    tied, kinds = checkpoint.tied_to(), checkpoint.kinds()
    told = {kind: "  {} {}".format(*_cells(kind)).rstrip() for kind in {*kinds.values()}}

    def label(name: str) -> str:
        link = f" = {tied[name]}" if name in tied else ""
        return told[kinds[name]] + link

    out.lines(tree_lines(names, label, checkpoint.separator))


def _folded(out: Answer, checkpoint: Checkpoint, names: list[str]) -> None:
    from ..show.tree import folded

    kinds = checkpoint.kinds()
    cells = {kind: _cells(kind) for kind in {*kinds.values()}}
    rows = folded((name, cells[kinds[name]]) for name in names)
    shown = [(f"{name} ×{n}" if n > 1 else name, f[0], f[1], f[2] * n, f[3] * n, "") for name, n, f in rows]
    out.table(_HEADER, shown, right=("PARAMS", "BYTES"), footer=_footer(out, checkpoint, names))
