"""`ckpt rename`: give tensors other names."""

from __future__ import annotations

from typing import Annotated

import typer

from ..edits.rename import rename
from ..errors import about
from .editing import Destination, finish, open_to_edit
from .params import Backup, DryRun, Force, FormatName, InPlace, Json, Out, Path, PrintRecipe

Rules = Annotated[
    list[str], typer.Argument(metavar="OLD=NEW...", help="A name, a glob whose * carry over, or re: with groups.", show_default=False)
]


def rename_command(
    path: Path,
    rules: Rules,
    output: Out = None,
    in_place: InPlace = False,
    dry_run: DryRun = False,
    force: Force = False,
    backup: Backup = None,
    format_name: FormatName = None,
    print_recipe: PrintRecipe = False,
    as_json: Json = False,
) -> None:
    r"""Rename parameters. Rules work one after another; two tensors that would get one name are an error.

    'module.*=*' strips a prefix, 'h.*.attn.*=layers.*.attention.*' carries over what each * matched,
    're:^h[.]([0-9]+)=layers.\1' uses groups, and 're:ln_1=norm' replaces every ln_1 in a name.
    """
    to = Destination(output, in_place, dry_run, force, backup, format_name)
    before = open_to_edit(path, to, print_recipe)
    with about(path):
        after = rename(before, rules)
    finish(before, after, to, as_json, {"rename": rules} if print_recipe else None)
