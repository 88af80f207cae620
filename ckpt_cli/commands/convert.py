"""`ckpt convert`: any readable format to any writable one."""

from __future__ import annotations

import os
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from typing import Annotated

import typer

from .. import writing
from ..errors import UsageError, about
from ..formats import Savable
from ..show.output import note
from ..tensors.checkpoint import Checkpoint
from .editing import show_plan, write
from .params import Arch, DryRun, Force, FormatName, Json, layers_of, like_of, opened


class Rest(StrEnum):
    keep = "keep"
    drop = "drop"
    error = "error"


_Rules = Annotated[list[str] | None, typer.Option("--rename", metavar="OLD=NEW", help="Rename, as `ckpt rename` does; may be repeated.")]
_Map = Annotated[
    str | None, typer.Option("--map", metavar="MAP", help="Carry names and layouts across: keras-to-torch, RULES.toml.", show_default=False)
]
_Like = Annotated[
    str | None, typer.Option("--like", metavar="OTHER", help="With --map: the names are to be those of this one.", show_default=False)
]
_Rest = Annotated[
    Rest | None,
    typer.Option("--rest", metavar="keep|drop|error", help="With --map: what becomes of what it does not know.", show_default=False),
]


def convert_command(
    source: Annotated[str, typer.Argument(metavar="SRC", help="The checkpoint to read.", show_default=False)],
    target: Annotated[str, typer.Argument(metavar="DST", help="The new file; its suffix chooses the format.", show_default=False)],
    selected: Annotated[
        list[str] | None, typer.Option("--select", metavar="PATTERN", help="Only what this matches; may be repeated.")
    ] = None,
    dropped: Annotated[
        list[str] | None, typer.Option("--drop", metavar="PATTERN", help="Without what this matches; may be repeated.")
    ] = None,
    rules: _Rules = None,
    by: _Map = None,
    like: _Like = None,
    rest: _Rest = None,
    dtype: Annotated[
        str | None, typer.Option("--dtype", metavar="DTYPE", help="Cast the floating-point tensors.", show_default=False)
    ] = None,
    shard_size: Annotated[
        str | None, typer.Option("--shard-size", metavar="5GB", help="Shards of at most this size, and an index.", show_default=False)
    ] = None,
    format_name: FormatName = None,
    force: Force = False,
    dry_run: DryRun = False,
    arch: Arch = "auto",
    as_json: Json = False,
) -> None:
    """Write SRC as DST, in another format or the same one. What the format has no place for is said and left behind."""
    before = opened(source)
    if by is None and (like or rest):
        raise UsageError("--like and --rest go with --map", "name a map: --map keras-to-torch")
    carried = partial(_carried, by=by, like=like, rest=rest.value if rest else "", arch=arch) if by else None
    with about(source):
        after = _edited(before, selected or [], dropped or [], carried, rules or [], dtype, arch)
    for line in after.notes[len(before.notes) :]:
        note(line)
    if shard_size is not None:
        target = os.path.join(target, "model.safetensors") if os.path.isdir(target) else target
        target = f"{target.removesuffix('.index.json')}.index.json"
    form = writing.format_for(target, format_name)
    form = _sharded(shard_size) if shard_size is not None else form
    if dry_run:
        writing.check(after, target, form, replace=force)
        with about(source):
            changes = show_plan(before, after, form, as_json)
        many = f"{len(after):,} tensor{'s' * (len(after) != 1)}"
        note(f"{target} would be written as {form.name}: {many}{'' if changes else ', none of them changed'}")
    else:
        write(after, target, form, replace=force, as_json=as_json)


def _sharded(size: str) -> Savable:
    from ..formats.safetensors.format_sharded import Sharded

    return Sharded(_bytes(size))


def _bytes(size: str) -> int:
    """`5GB` in bytes: kB, MB, GB and TB are thousands, KiB, MiB, GiB and TiB are 1024s."""
    units = {"": 1, "b": 1}
    for power, letter in enumerate("kmgt", 1):
        units |= {f"{letter}b": 1000**power, f"{letter}ib": 1024**power}
    digits = size.rstrip("BKMGTIbkmgti ")
    try:
        count = int(float(digits) * units[size[len(digits) :].strip().lower()])
    except (KeyError, ValueError, OverflowError):
        count = 0
    if count <= 0:
        raise UsageError(f"{size!r} is no size", "for instance --shard-size 5GB")
    if size == digits and count < 1_000_000:
        raise UsageError(f"{size!r} would be bytes", "give a unit: --shard-size 5GB")
    return count


def _edited(
    before: Checkpoint,
    selected: list[str],
    dropped: list[str],
    carried: Callable[[Checkpoint], Checkpoint] | None,
    rules: list[str],
    dtype: str | None,
    arch: str,
) -> Checkpoint:
    from ..edits.cast import cast
    from ..edits.drop import drop, keep
    from ..edits.rename import rename
    from ..numbers.dtypes import named

    layers = layers_of(before, "auto" if carried else arch)
    after = keep(before, selected, layers) if selected else before
    after = drop(after, dropped, layers) if dropped else after
    after = carried(after) if carried else after
    after = rename(after, rules) if rules else after
    return cast(after, named(dtype)) if dtype else after


def _carried(checkpoint: Checkpoint, by: str, like: str | None, rest: str, arch: str) -> Checkpoint:
    from ..edits.map import mapped, read_map

    return mapped(checkpoint, read_map(by), like_of(by, like, arch), rest)
