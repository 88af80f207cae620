"""`ckpt apply`: the edits of a recipe, in order, in one pass."""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import files
from ..checkpoint import Checkpoint
from ..errors import UsageError, about
from ..show.output import Output, note
from .editing import finish
from .params import Backup, DryRun, Force, FormatName, InPlace, Json, Out, Path, layers_of, opened
from .reinit import any_seed, tell

if TYPE_CHECKING:
    from ..edits.steps import Made


def apply_command(
    path: Path,
    recipe: Annotated[str, typer.Argument(metavar="RECIPE.toml", help="Steps in TOML; - reads standard input.", show_default=False)],
    output: Out = None,
    in_place: InPlace = False,
    dry_run: DryRun = False,
    force: Force = False,
    backup: Backup = None,
    format_name: FormatName = None,
    as_json: Json = False,
) -> int:
    """Make the edits of RECIPE, one after another, and write the result in one pass. Exit status: 0 done, 1 an assertion does not hold.

    A step is [[step]] and a line such as set = ["0.weight += 1"]; any editing command prints itself as one with --print-recipe.
    Verbs: set, reinit (with preset, seed, rng), tie, untie, rename, drop, cast (with patterns), and arch where @Type is used.
    assert = {exists, absent, shape, dtype, tied, finite} holds the result so far against what it says; where it fails nothing is written.
    Paths in a recipe are seen from the current folder, as on the command line.
    """
    before, after = _edited(path, recipe, in_place, as_json)
    if after is None:
        return 1
    places: dict[str, Any] = {"output": output, "in_place": in_place, "backup": backup, "format_name": format_name}
    finish(before, after, **places, dry_run=dry_run, force=force, as_json=as_json)
    return 0


def _edited(path: str, recipe: str, lock: bool, as_json: bool) -> tuple[Checkpoint, Checkpoint | None]:
    """The checkpoint and what the recipe makes of it; None where an assertion does not hold, which is said."""
    from ..edits.steps import Means, made, read_steps

    shown = "standard input" if recipe == "-" else recipe
    with about(shown):
        steps = read_steps(_text(recipe), shown, any_seed)
    before = after = opened(path, lock)
    for done in made(before, steps, Means(layers_of, cache(files.open))):
        _tell(done)
        if done.broken:
            _show_broken(done, path, as_json)
            return before, None
        after = done.checkpoint
    return before, after


def _text(recipe: str) -> str:
    """What stands in the file, or comes in by the pipe."""
    try:
        if recipe == "-":
            return sys.stdin.buffer.read().decode()
        with open(recipe, encoding="utf-8") as file:
            return file.read()
    except UnicodeDecodeError:
        raise UsageError("this is no TOML: it is no UTF-8 text", "a recipe is a text file") from None


def _tell(done: Made) -> None:
    if done.plan:
        tell(done.plan, f"{done.step.where}: ")
        note(f"{done.step.where}: seed {done.step.table['seed']}")


def _show_broken(done: Made, path: str, as_json: bool) -> None:
    """Each thing that does not hold, for the reader; as JSON it is the answer."""
    for line in done.broken:
        note(f"{done.step.where}: {line}")
    note(f"{path}: nothing is written")
    if as_json:
        Output(True).json({"path": path, "holds": False, "step": done.step.where, "broken": done.broken})
