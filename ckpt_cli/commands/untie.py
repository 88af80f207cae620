"""`ckpt untie`: give each name a storage of its own."""

from __future__ import annotations

from typing import Annotated

import typer

from ..edits.untie import untie
from ..errors import about
from .editing import Destination, finish, open_to_edit
from .params import Backup, DryRun, Force, FormatName, InPlace, Json, Out, Path, PrintRecipe

Names = Annotated[list[str], typer.Argument(metavar="NAME...", help="Names or patterns.", show_default=False)]


def untie_command(
    path: Path,
    names: Names,
    output: Out = None,
    in_place: InPlace = False,
    dry_run: DryRun = False,
    force: Force = False,
    backup: Backup = None,
    format_name: FormatName = None,
    print_recipe: PrintRecipe = False,
    as_json: Json = False,
) -> None:
    """Give each NAME that shares its storage with others a storage of its own, with the same values."""
    to = Destination(output, in_place, dry_run, force, backup, format_name)
    before = open_to_edit(path, to, print_recipe)
    with about(path):
        after = untie(before, names)
    finish(before, after, to, as_json, {"untie": names} if print_recipe else None)
