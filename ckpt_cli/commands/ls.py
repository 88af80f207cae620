"""`ckpt ls`: list tensors, from headers alone."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

import typer

from ..errors import NoMatch, UsageError, about
from ..show.answer import Answer, Color
from ..show.code_note import note_code
from ..show.tensor_list import list_document, show_folded, show_list, show_states, show_tree
from ..tensors.checkpoint import Checkpoint
from .params import Arch, Colors, Csv, IgnoreIndex, Json, Path, Patterns, layers_of, open_checkpoint


class Sort(StrEnum):
    """The orders of the list."""

    name = "name"
    params = "params"
    bytes = "bytes"
    file = "file"


SortBy = Annotated[Sort, typer.Option("--sort", help="By name, by size (largest first), or in file order.")]
Tree = Annotated[bool, typer.Option("--tree", help="As a tree of the names' parts.")]
Fold = Annotated[bool, typer.Option("--fold", help="Repeated blocks in one line: layers.{0-47}.weight ×48.")]
States = Annotated[bool, typer.Option("--optimizer", help="What optimizers and averages keep, with the parameter that each is OF.")]


def ls_command(
    path: Path,
    patterns: Patterns = None,
    sort: SortBy = Sort.file,
    tree: Tree = False,
    fold: Fold = False,
    optimizer: States = False,
    arch: Arch = "auto",
    ignore_index: IgnoreIndex = False,
    as_json: Json = False,
    as_csv: Csv = False,
    color: Colors = Color.auto,
) -> None:
    """List the tensors of CKPT that a PATTERN picks, or all: name, dtype, shape, parameters, bytes, and the name each is tied to.

    In a pipe: NAME, DTYPE, SHAPE (8x4; a scalar's is empty), PARAMS, BYTES, TIED-TO, tab-separated; with --fold the NAME of several
    ends in ×N, their PARAMS and BYTES are added up, and TIED-TO is empty. Only the header is read.
    With --optimizer the last field is OF, empty where the file does not tell: moments, momentum, master weights as the optimizers of
    torch, Keras, TensorFlow and optax keep them, and averages (EMA, SWA) wherever programs keep them.
    """
    checkpoint = open_checkpoint(path, ignore_index=ignore_index)
    note_code(checkpoint)
    if optimizer and (tree or fold):
        raise UsageError("--optimizer is a list", "leave out --tree and --fold")
    if as_csv and tree:
        raise UsageError("--csv is a table, and --tree is none", "leave out one of them")
    out = Answer(as_json, color, as_csv)
    with about(path):
        owners = _owners(checkpoint) if optimizer else None
        names = _sorted(checkpoint, _selected(checkpoint, owners, patterns or [], arch), sort)
    if as_json:
        out.json(list_document(path, checkpoint, names, owners))
    elif owners is not None:
        show_states(out, checkpoint, names, owners)
    else:
        (show_tree if tree else show_folded if fold else show_list)(out, checkpoint, names)


def _owners(checkpoint: Checkpoint) -> dict[str, str | None]:
    """Return the tensors that optimizers and averages keep, with the parameter of each. Raises NoMatch if there are none."""
    from ..analysis.optimizer import states

    owners = states(checkpoint)
    if not owners:
        raise NoMatch("there is no state of an optimizer in it", "`ckpt ls` lists what there is")
    return owners


def _selected(checkpoint: Checkpoint, owners: Mapping[str, str | None] | None, patterns: list[str], arch: str) -> list[str]:
    listed = checkpoint if owners is None else owners
    if not patterns:
        return list(listed)
    from ..tensors.selection import select  # not needed to list everything

    return select(listed, patterns, layers_of(checkpoint, arch))


def _sorted(checkpoint: Checkpoint, names: list[str], sort: Sort) -> list[str]:
    if sort is Sort.file:
        return names
    if sort is Sort.name:
        return sorted(names)
    kinds = checkpoint.kinds()
    return sorted(names, key=lambda name: -(kinds[name].numel if sort is Sort.params else kinds[name].nbytes))
