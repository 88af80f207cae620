"""`ckpt ls`: one line a tensor, from headers alone."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from ..checkpoint import Checkpoint, Tensor
from ..errors import about
from ..selection import select
from ..show.output import Output, size
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
    arch: Arch = "auto",
    as_json: Json = False,
    color: Colors = Color.auto,
) -> None:
    """List the tensors of CKPT that a PATTERN picks, or all: name, dtype, shape, parameters, bytes, and the name each is tied to.

    In a pipe: NAME, DTYPE, SHAPE (8x4; a scalar's is empty), PARAMS, BYTES, TIED-TO, tab-separated; with --fold the NAME of several
    ends in ×N, their PARAMS and BYTES are added up, and TIED-TO is empty. Only the header is read.
    """
    checkpoint = opened(path)
    with about(path):
        names = _sorted(checkpoint, select(checkpoint.tensors, patterns or [], layers_of(checkpoint, arch)), sort)
    out = Output(as_json, color.value)
    if as_json:
        out.json(_document(path, checkpoint, names))
    elif tree:
        _tree(out, checkpoint, names)
    elif fold:
        _folded(out, checkpoint, names)
    else:
        out.table(_HEADER, _rows(checkpoint, names), right=("PARAMS", "BYTES"), footer=_footer(out, checkpoint, names))


def shape_text(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape))


def _rows(checkpoint: Checkpoint, names: list[str]) -> list[tuple[Any, ...]]:
    tied = checkpoint.tied_to()
    return [
        (name, kind(t), shape_text(t), t.numel, t.nbytes, tied.get(name, "")) for name, t in ((n, checkpoint.tensors[n]) for n in names)
    ]


def kind(tensor: Tensor) -> str:
    """The dtype, and what keeps the tensor from being a plain one."""
    return f"{tensor.dtype.name} ({tensor.layout})" if tensor.layout.startswith("sparse") else tensor.dtype.name


def _sorted(checkpoint: Checkpoint, names: list[str], sort: Sort) -> list[str]:
    keys = {
        Sort.name: lambda name: name,
        Sort.params: lambda name: -checkpoint[name].numel,
        Sort.bytes: lambda name: -checkpoint[name].nbytes,
    }
    return sorted(names, key=keys[sort]) if sort in keys else names


def totals(checkpoint: Checkpoint, names: list[str]) -> tuple[int, int]:
    """Parameters and bytes of `names`, what is tied counted once."""
    distinct = {checkpoint[name].key: checkpoint[name] for name in names}.values()
    return sum(t.numel for t in distinct), sum(t.nbytes for t in distinct)


def _footer(out: Output, checkpoint: Checkpoint, names: list[str]) -> str:
    if not out.terminal:
        return ""
    params, count = totals(checkpoint, names)
    return f"{len(names):,} tensor{'s' * (len(names) != 1)}, {params:,} parameters, {size(count)}"


def _document(path: str, checkpoint: Checkpoint, names: list[str]) -> dict[str, Any]:
    params, count = totals(checkpoint, names)
    tied = checkpoint.tied_to()
    return {
        "path": path,
        "format": checkpoint.origin.format if checkpoint.origin else "",
        "tensors": [
            {"name": n, "dtype": t.dtype.name, "shape": list(t.shape), "params": t.numel, "bytes": t.nbytes, "tied_to": tied.get(n)}
            for n, t in ((n, checkpoint[n]) for n in names)
        ],
        "params": params,
        "bytes": count,
    }


def _tree(out: Output, checkpoint: Checkpoint, names: list[str]) -> None:
    from ..show.tree import drawn, tree

    tied = checkpoint.tied_to()

    def label(name: str) -> str:
        if name not in checkpoint:
            return ""
        link = f" = {tied[name]}" if name in tied else ""
        return f"  {kind(checkpoint[name])} {shape_text(checkpoint[name])}".rstrip() + link

    out.lines(drawn(tree(names), label))


def _folded(out: Output, checkpoint: Checkpoint, names: list[str]) -> None:
    from ..show.tree import folded

    rows = folded(
        (name, (kind(checkpoint[name]), shape_text(checkpoint[name]), checkpoint[name].numel, checkpoint[name].nbytes)) for name in names
    )
    shown = [(f"{name} ×{n}" if n > 1 else name, f[0], f[1], f[2] * n, f[3] * n, "") for name, n, f in rows]
    out.table(_HEADER, shown, right=("PARAMS", "BYTES"), footer=_footer(out, checkpoint, names))
