"""`ckpt apply`: the edits of a recipe, in order, in one pass."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import about
from ..show.answer import Answer, note, verdict
from ..show.drawing_plan import note_plan
from ..tensors.checkpoint import Checkpoint
from .editing import AllowCode, Destination, finish, note_new, open_to_edit, wanted_names
from .model_facts import facts_of
from .other_sources import Others, refuse_outputs
from .params import Backup, DryRun, Force, FormatName, InPlace, Json, Out, Path, layers_of, random_seed

if TYPE_CHECKING:
    from ..edits.recipes import Made

RecipeFile = Annotated[str, typer.Argument(metavar="RECIPE.toml", help="Steps in TOML; - reads standard input.", show_default=False)]


def apply_command(
    path: Path,
    recipe: RecipeFile,
    output: Out = None,
    in_place: InPlace = False,
    dry_run: DryRun = False,
    force: Force = False,
    backup: Backup = None,
    format_name: FormatName = None,
    allow_code: AllowCode = False,
    as_json: Json = False,
) -> int:
    """Make the edits of RECIPE, one after another, and write the result in one pass. Exit status: 0 done, 1 an assertion does not hold.

    A step is [[step]] and a line such as set = ["0.weight += 1"]; any editing command prints itself as one with --print-recipe.
    Verbs: set, reinit (with preset, seed, rng), resize (with fill, at, fresh, seed), add (with from, rename, seed), merge (with method,
    weights, base, density, lora, common, seed), tie, untie, rename, map (with like, rest), drop, cast (with patterns); arch where @Type is
    used.
    assert = {exists, absent, shape, dtype, tied, finite} holds the result so far against what it says; where it fails nothing is written.
    Paths in a recipe are seen from the current folder, as on the command line. Code that it names runs with --allow-code only.
    """
    from ..configs.code_allowed import code_allowed

    with code_allowed(allow_code):
        return _apply(path, recipe, Destination(output, in_place, dry_run, force, backup, format_name), as_json)


def _apply(path: str, recipe: str, to: Destination, as_json: bool) -> int:
    """Make the steps, write or show the result, and return the exit status."""
    others = Others()
    before, steps = _made(path, recipe, to, others)
    last = steps[-1]
    if not last.broken:
        refuse_outputs(before, last.checkpoint, to, others.values(), () if recipe == "-" else (recipe,))
        finish(before, last.checkpoint, to, as_json)
    note_new(before, last.checkpoint)
    for step in steps:
        _note_step(step)
    if last.broken:
        _show_broken(last, path, as_json)
    return 1 if last.broken else 0


def _made(path: str, recipe: str, to: Destination, others: Others) -> tuple[Checkpoint, list[Made]]:
    """Return the checkpoint, and what each step of the recipe makes of it."""
    from ..edits.recipes import Context, made, read_steps

    shown = "standard input" if recipe == "-" else recipe
    with about(shown):
        steps = read_steps(_text(recipe), shown, random_seed)
    before = open_to_edit(path, to)
    return before, list(made(before, steps, Context(layers_of, others.open, wanted_names, facts_of)))


def _text(recipe: str) -> str:
    """Return the text of the recipe, from the file or from standard input."""
    from ..edits.recipes import text_of

    if recipe == "-":
        return text_of(sys.stdin.buffer.read())
    with open(recipe, "rb") as file:
        return text_of(file.read())


def _note_step(done: Made) -> None:
    """Print what a step of random values draws, and its seed."""
    if done.plan:
        note_plan(done.plan, f"{done.step.where}: ")
    if any(step.seed is not None for step in done.plan) or (done.plan and done.step.table.get("rng") == "torch"):
        note(f"{done.step.where}: seed {done.step.table['seed']}")


def _show_broken(done: Made, path: str, as_json: bool) -> None:
    """Print the assertions that do not hold, as notes; with --json they are the answer too."""
    for line in done.broken:
        note(f"{done.step.where}: {line}")
    note(f"{path}: nothing is written")
    if as_json:
        with verdict():
            Answer(True).json({"path": path, "holds": False, "step": done.step.where, "broken": done.broken})
