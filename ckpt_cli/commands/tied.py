"""`ckpt tied`: list the names that share one storage."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from ..show.answer import Answer, Color
from ..tensors.checkpoint import Checkpoint
from .params import Colors, Csv, IgnoreIndex, Json, Path, open_checkpoint

Equal = Annotated[bool, typer.Option("--equal", help="Also separate tensors whose dtype, shape and bytes are the same.")]


class Sharing(StrEnum):
    """How the names of a group belong together."""

    tied = "tied"
    views = "views"
    equal = "equal"


def tied_command(
    path: Path,
    equal: Equal = False,
    ignore_index: IgnoreIndex = False,
    as_json: Json = False,
    as_csv: Csv = False,
    color: Colors = Color.auto,
) -> None:
    """List groups of names that share one storage: KIND, then the names, a group a line, tab-separated in a pipe.

    KIND is `tied` (the same elements), `views` (different views of one storage) or, with --equal, `equal` (separate, the same bytes).
    """
    checkpoint = open_checkpoint(path, ignore_index=ignore_index)
    groups = [(Sharing.tied if _same_view(checkpoint, group) else Sharing.views, group) for group in checkpoint.sharing()]
    if equal:
        groups += [(Sharing.equal, group) for group in _equal_groups(checkpoint)]
    out = Answer(as_json, color, as_csv)
    if as_json:
        out.json({"path": path, "groups": [{"kind": sharing, "names": names} for sharing, names in groups]})
    elif out.terminal or as_csv:
        out.table(("KIND", "NAMES"), [(sharing, " = ".join(names)) for sharing, names in groups])
    else:
        out.records([(sharing, *names) for sharing, names in groups])


def _same_view(checkpoint: Checkpoint, group: list[str]) -> bool:
    return len({checkpoint[name].key for name in group}) == 1


def _equal_groups(checkpoint: Checkpoint) -> list[list[str]]:
    """Return the names of separate storages with the same dtype, shape and bytes. Only tensors that could be equal are read."""
    from ..analysis.digest import digests

    candidates: dict[tuple[object, ...], list[str]] = {}
    for name, tensor in checkpoint.distinct().items():
        if tensor.nbytes:
            candidates.setdefault((tensor.dtype.name, tensor.layout, tensor.shape), []).append(name)
    facts_of = {name: facts for facts, names in candidates.items() for name in names if len(names) > 1}
    groups: dict[tuple[object, ...], list[str]] = {}
    for digest in digests({name: checkpoint[name] for name in facts_of}):
        groups.setdefault((facts_of[digest.name], digest.sha256), []).append(digest.name)
    return [names for names in groups.values() if len(names) > 1]
