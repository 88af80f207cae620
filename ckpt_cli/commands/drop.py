"""`ckpt drop`: remove tensors and other objects."""

from __future__ import annotations

from typing import Annotated

import typer

from ..edits.drop import drop
from ..errors import about
from .editing import Destination, finish, open_to_edit
from .params import Arch, Backup, DryRun, Force, FormatName, InPlace, Json, Out, Path, PrintRecipe, layers_of

Dropped = Annotated[list[str], typer.Argument(metavar="PATTERN...", help="Tensors, and other objects by their path.", show_default=False)]


def drop_command(
    path: Path,
    patterns: Dropped,
    output: Out = None,
    in_place: InPlace = False,
    dry_run: DryRun = False,
    force: Force = False,
    backup: Backup = None,
    format_name: FormatName = None,
    print_recipe: PrintRecipe = False,
    as_json: Json = False,
    arch: Arch = "auto",
) -> None:
    """Leave out what a PATTERN matches: 'optimizer.*' takes the optimizer's tensors and its param_groups."""
    to = Destination(output, in_place, dry_run, force, backup, format_name)
    before = open_to_edit(path, to, print_recipe)
    with about(path):
        after = drop(before, patterns, layers_of(before, arch))
    finish(before, after, to, as_json, {"drop": patterns, "arch": arch} if print_recipe else None)
