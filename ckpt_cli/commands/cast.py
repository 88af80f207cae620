"""`ckpt cast`: convert tensors to another dtype."""

from __future__ import annotations

from typing import Annotated

import typer

from ..edits.cast import cast
from ..errors import about
from ..numbers.dtypes import named
from .editing import Destination, finish, open_to_edit
from .params import Arch, Backup, Dequantise, DryRun, Force, FormatName, InPlace, Json, Out, Path, Patterns, PrintRecipe, layers_of

DTypeName = Annotated[
    str,
    typer.Argument(
        metavar="DTYPE", help="float32, bfloat16, int8, float8_e4m3fn, …; fp32, bf16, i8, fp8, … for short.", show_default=False
    ),
]


def cast_command(
    path: Path,
    dtype: DTypeName,
    patterns: Patterns = None,
    dequantise: Dequantise = False,
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
    """Convert parameters to DTYPE: those that a PATTERN matches, else every floating-point one but an optimizer's
    count of its steps. Rounds to nearest even.

    Integers that do not fit are an error; what is tied to a parameter follows it. Parts of a packed parameter (integers with scales) are
    cast with --dequantise alone, which makes them one plain parameter.
    """
    to = Destination(output, in_place, dry_run, force, backup, format_name)
    before = open_to_edit(path, to, print_recipe)
    with about(path):
        after = cast(before, named(dtype), patterns or [], layers_of(before, arch), dequantise)
    step = {"cast": dtype, "patterns": patterns, "dequantise": dequantise or None, "arch": arch}
    finish(before, after, to, as_json, step if print_recipe else None)
