"""`ckpt convert`: write a checkpoint in another format."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Annotated, NamedTuple

import typer

from .. import writing
from ..errors import UsageError, about, number_of
from ..formats import Index, Savable, SeveralFiles, formats
from ..show.answer import note
from ..tensors.checkpoint import Checkpoint
from .config_in_line import config_in_line
from .edit_plan import show_changes
from .editing import note_new, wanted_names, write
from .model_folder import ModelFolder, is_folder, model_folder, weights_name
from .params import Arch, Dequantise, DryRun, Force, FormatName, IgnoreIndex, Json, layers_of, open_checkpoint


class Rest(StrEnum):
    """What becomes of the tensors that a map does not cover."""

    keep = "keep"
    drop = "drop"
    error = "error"


Source = Annotated[str, typer.Argument(metavar="SRC", help="The checkpoint to read.", show_default=False)]
Target = Annotated[
    str, typer.Argument(metavar="DST", help="The new file; its suffix chooses the format. DIR/: a folder.", show_default=False)
]
Selected = Annotated[list[str] | None, typer.Option("--select", metavar="PATTERN", help="Only what this matches; may be repeated.")]
Dropped = Annotated[list[str] | None, typer.Option("--drop", metavar="PATTERN", help="Without what this matches; may be repeated.")]
Rules = Annotated[list[str] | None, typer.Option("--rename", metavar="OLD=NEW", help="Rename, as `ckpt rename` does; may be repeated.")]
FrameworkMap = Annotated[
    str | None, typer.Option("--map", metavar="MAP", help="Carry names and layouts across: keras-to-torch, RULES.toml.", show_default=False)
]
LikeFile = Annotated[
    str | None, typer.Option("--like", metavar="OTHER", help="With --map: the names are to be those of this one.", show_default=False)
]
RestOption = Annotated[
    Rest | None,
    typer.Option("--rest", metavar="keep|drop|error", help="With --map: what becomes of what it does not know.", show_default=False),
]
DTypeName = Annotated[str | None, typer.Option("--dtype", metavar="DTYPE", help="Cast the floating-point tensors.", show_default=False)]
ShardSize = Annotated[
    str | None,
    typer.Option(
        "--shard-size",
        metavar="5GB",
        help="Shards of at most this size, and an index; of X.gguf, parts X-00001-of-00002.gguf.",
        show_default=False,
    ),
]


def convert_command(
    source: Source,
    target: Target,
    selected: Selected = None,
    dropped: Dropped = None,
    rules: Rules = None,
    by: FrameworkMap = None,
    like: LikeFile = None,
    rest: RestOption = None,
    dtype: DTypeName = None,
    dequantise: Dequantise = False,
    shard_size: ShardSize = None,
    format_name: FormatName = None,
    force: Force = False,
    dry_run: DryRun = False,
    arch: Arch = "auto",
    ignore_index: IgnoreIndex = False,
    as_json: Json = False,
) -> None:
    """Write SRC as DST, in another format or the same one. What the format has no place for is said and left behind.

    The order is select, drop, map, rename, dtype, however the options are written.
    """
    before = open_checkpoint(source, ignore_index=ignore_index, dequantise=dequantise)
    if by is None and (like or rest):
        raise UsageError("--like and --rest go with --map", "name a map: --map keras-to-torch")
    with about(source):
        after = _edited(before, Edits(selected or [], dropped or [], by, like, rest, rules or [], dtype, arch))
    note_new(before, after)
    target, form, folder = _place(before, target, format_name, shard_size, force)
    folder, lines = config_in_line(before, after, target, folder)
    if dry_run:
        writing.check_saving(after, target, form, replace=force, folder=folder.written() if folder else None)
        _plan(before, after, target, form, as_json)
    else:
        write(after, target, form, replace=force, as_json=as_json, folder=folder)
    for line in lines:
        note(line)


def _plan(before: Checkpoint, after: Checkpoint, target: str, form: Savable, as_json: bool) -> None:
    """Print what would be written."""
    with about(before.origin.path if before.origin else ""):
        changes = show_changes(before, after, form, as_json)
    tensors = number_of(len(after), "tensor")
    note(f"{target} would be written as {form.name}: {tensors}{'' if changes else ', none of them changed'}")


def _place(
    before: Checkpoint, target: str, format_name: str | None, size: str | None, force: bool
) -> tuple[str, Savable, ModelFolder | None]:
    """Return the path that is written, its format, and the model folder that DST names by a slash at its end.

    A format whose checkpoints are folders has DST for one of them.
    """
    form = formats[format_name] if format_name else None
    is_model = is_folder(target) and not (isinstance(form, SeveralFiles) and not isinstance(form, Index))
    path = os.path.join(target, weights_name(before, format_name)) if is_model else target.rstrip("/") or "/"
    default = before.origin.format if before.origin and is_model else None
    path, writable = _divided(path, format_name, _bytes(size)) if size else (path, writing.format_for(path, format_name, default))
    return path, writable, model_folder(before, target, os.path.relpath(path, target), force) if is_model else None


class Edits(NamedTuple):
    """What is done to the checkpoint on the way, in this order."""

    selected: list[str]
    dropped: list[str]
    by: str | None
    like: str | None
    rest: Rest | None
    rules: list[str]
    dtype: str | None
    arch: str


def _edited(before: Checkpoint, edits: Edits) -> Checkpoint:
    from ..edits.cast import cast
    from ..edits.drop import drop, keep
    from ..edits.rename import rename
    from ..numbers.dtypes import named
    from ..packing import refuse_cast

    # With a map, --arch names the architecture that the result belongs to.
    layers = layers_of(before, "auto" if edits.by else edits.arch)
    after = keep(before, edits.selected, layers) if edits.selected else before
    after = drop(after, edits.dropped, layers) if edits.dropped else after
    if edits.dtype:
        refuse_cast(before, set(after))
    after = _mapped(after, edits.by, edits) if edits.by else after
    after = rename(after, edits.rules) if edits.rules else after
    return cast(after, named(edits.dtype)) if edits.dtype else after


def _mapped(checkpoint: Checkpoint, by: str, edits: Edits) -> Checkpoint:
    from ..edits.map import mapped, read_map

    return mapped(checkpoint, read_map(by), wanted_names(by, edits.like, edits.arch), edits.rest or "")


def _divided(target: str, format_name: str | None, size: int) -> tuple[str, Savable]:
    """Return the path of a checkpoint in files of at most `size` bytes of tensors, and what writes it."""
    from ..formats.safetensors.format_sharded import Sharded
    from ..formats.safetensors.index_names import SUFFIX, is_index

    if os.path.isdir(target):
        target = os.path.join(target, f"model{(formats[format_name].suffixes or ('',))[0] if format_name else '.safetensors'}")
    own = writing.format_for(target, format_name, default=Sharded.name).divided(size)
    return (target, own) if own else (target if is_index(target) else target + SUFFIX, Sharded(size))


def _bytes(size: str) -> int:
    """Return a size such as `5GB` in bytes: kB, MB, GB and TB are powers of 1000, KiB, MiB, GiB and TiB of 1024."""
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
