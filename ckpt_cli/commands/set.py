"""`ckpt set`: set values by hand."""

from __future__ import annotations

from typing import Annotated

import typer

from ..edits.set import set_values
from ..errors import about
from .editing import Destination, finish, note_new, open_to_edit
from .other_sources import Others, refuse_outputs
from .params import Arch, Backup, DryRun, Force, FormatName, InPlace, Json, Out, Path, PrintRecipe, layers_of

Assignments = Annotated[
    list[str], typer.Argument(metavar="ASSIGNMENT...", help="'REF OP VALUE', OP one of = += -= *= /=.", show_default=False)
]


def set_command(
    path: Path,
    assignments: Assignments,
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
    """Set values: '0.weight += 1' '0.weight[0,0] = 42', applied left to right. Whatever is tied follows.

    REF is a name, a pattern, or NAME[index] with NumPy's basic indexing. VALUE is a number (nan and inf, too), a JSON list
    that broadcasts, or an expression of these with + - * / **, parentheses, abs() sqrt() exp() log() clip(X, LEAST, MOST); in it `this` is
    the tensor itself, @OTHER the tensor of the same name in another checkpoint (or the array in a .npy file), @OTHER#NAME that one:
    '*.weight = 0.5 * this + 0.5 * @b.pt'; `average` is the average that a training has kept of it (EMA, SWA): '* = average' puts all in
    place, average(PATTERN) chooses one of several, average(@OTHER) takes those of another file by name, whatever separates its parts.
    What has none stays as it is. Put a space behind @OTHER, and quotes around a name with spaces: @"my b.pt"#"a name".
    A value that the dtype cannot hold is an error; a division by zero gives inf or NaN, and a note. What stands beside the tensors:
    'epoch = 10' 'args.name = "x"' replace objects, by any JSON, 'object:seed = 3' makes one, 'metadata:author = "me"' sets a text.
    """
    to = Destination(output, in_place, dry_run, force, backup, format_name)
    before = open_to_edit(path, to, print_recipe)
    others = Others()
    with about(path):
        after = set_values(before, assignments, others.open, layers_of(before, arch))
    if not print_recipe:
        refuse_outputs(before, after, to, others.values())
    finish(before, after, to, as_json, {"set": assignments, "arch": arch} if print_recipe else None)
    if not print_recipe:
        note_new(before, after)
