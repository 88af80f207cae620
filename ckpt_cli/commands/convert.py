"""`ckpt convert`: any readable format to any writable one."""

from __future__ import annotations

from typing import Annotated

import typer

from .. import files
from ..checkpoint import Checkpoint
from .editing import write
from .params import Arch, DryRun, Force, FormatName, Json, layers_of

_Rules = Annotated[list[str] | None, typer.Option("--rename", metavar="OLD=NEW", help="Rename, as `ckpt rename` does; may be repeated.")]


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
    dtype: Annotated[
        str | None, typer.Option("--dtype", metavar="DTYPE", help="Cast the floating-point tensors.", show_default=False)
    ] = None,
    format_name: FormatName = None,
    force: Force = False,
    dry_run: DryRun = False,
    arch: Arch = "auto",
    as_json: Json = False,
) -> None:
    """Write SRC as DST, in another format or the same one. What the format has no place for is said and left behind."""
    from .diff import show_differences

    before = files.open(source)
    after = _edited(before, selected or [], dropped or [], rules or [], dtype, arch)
    form = files.format_for(target, format_name)
    if dry_run:
        show_differences(before, after, as_json=as_json)
    else:
        write(after, target, form.name, replace=force)


def _edited(before: Checkpoint, selected: list[str], dropped: list[str], rules: list[str], dtype: str | None, arch: str) -> Checkpoint:
    from ..dtypes import named
    from ..edits.cast import cast
    from ..edits.drop import drop, keep
    from ..edits.rename import rename

    layers = layers_of(before, arch)
    after = keep(before, selected, layers) if selected else before
    after = drop(after, dropped, layers) if dropped else after
    after = rename(after, rules) if rules else after
    return cast(after, named(dtype)) if dtype else after
