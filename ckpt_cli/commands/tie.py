"""`ckpt tie`: give several names one storage."""

from __future__ import annotations

from typing import Annotated

import typer

from ..edits.tie import tie
from ..errors import about
from .editing import Destination, finish, open_to_edit
from .params import Backup, DryRun, Force, FormatName, InPlace, Json, Out, Path, PrintRecipe

Names = Annotated[list[str], typer.Argument(metavar="NAME NAME...", help="The later ones become the first.", show_default=False)]


def tie_command(
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
    """Tie names: the later ones become the first, one storage that is written once. Shapes and dtypes must agree.

    safetensors has no ties; there a tied name is an entry of the metadata that points to the kept one, as
    safetensors.torch.save_model has it.
    """
    to = Destination(output, in_place, dry_run, force, backup, format_name)
    before = open_to_edit(path, to, print_recipe)
    with about(path):
        after = tie(before, names)
    finish(before, after, to, as_json, {"tie": names} if print_recipe else None)
