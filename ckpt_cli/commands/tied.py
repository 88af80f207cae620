"""`ckpt tied`: which names share one storage."""

from __future__ import annotations

from typing import Annotated

import typer

from ..show.output import Answer
from ..tensors.checkpoint import Checkpoint
from .params import Color, Colors, Json, Path, opened


def tied_command(
    path: Path,
    equal: Annotated[bool, typer.Option("--equal", help="Also separate tensors whose dtype, shape and bytes are the same.")] = False,
    as_json: Json = False,
    color: Colors = Color.auto,
) -> None:
    """List groups of names that share one storage: KIND, then the names, a group a line, tab-separated in a pipe.

    KIND is `tied` (the same elements), `views` (different views of one storage) or, with --equal, `equal` (separate, the same bytes).
    """
    checkpoint = opened(path)
    groups = [("tied" if _same_view(checkpoint, group) else "views", group) for group in checkpoint.sharing()]
    if equal:
        groups += [("equal", group) for group in equal_groups(checkpoint)]
    out = Answer(as_json, color.value)
    if as_json:
        out.json({"path": path, "groups": [{"kind": kind, "names": names} for kind, names in groups]})
    elif out.terminal:
        out.table(("KIND", "NAMES"), [(kind, " = ".join(names)) for kind, names in groups])
    else:
        out.records([(kind, *names) for kind, names in groups])


def _same_view(checkpoint: Checkpoint, group: list[str]) -> bool:
    return len({checkpoint[name].key for name in group}) == 1


def equal_groups(checkpoint: Checkpoint) -> list[list[str]]:
    """Names of separate storages with the same dtype, shape and bytes; only what could be equal is read."""
    from ..analysis.digest import digests, has_bytes

    candidates: dict[tuple[object, ...], list[str]] = {}
    for name, tensor in checkpoint.distinct().items():
        if tensor.nbytes and has_bytes(tensor):
            candidates.setdefault((tensor.dtype.name, tensor.layout, tensor.shape), []).append(name)
    kinds = {name: facts for facts, names in candidates.items() for name in names if len(names) > 1}
    found: dict[tuple[object, ...], list[str]] = {}
    for digest in digests({name: checkpoint[name] for name in kinds}):
        found.setdefault((kinds[digest.name], digest.sha256), []).append(digest.name)
    return [names for names in found.values() if len(names) > 1]
