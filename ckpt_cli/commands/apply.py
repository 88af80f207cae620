"""`ckpt apply`: the edits of a recipe, in order, in one pass."""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING, Annotated

import typer

from .. import reading
from ..errors import UsageError, about
from ..show.output import Answer, note, verdict
from ..tensors.checkpoint import Checkpoint
from .editing import NOWHERE, Places, finish, placed
from .params import Json, Path, layers_of, like_of, opened
from .reinit import any_seed, tell

if TYPE_CHECKING:
    from ..edits.recipes import Made


@placed
def apply_command(
    path: Path,
    recipe: Annotated[str, typer.Argument(metavar="RECIPE.toml", help="Steps in TOML; - reads standard input.", show_default=False)],
    places: Places = NOWHERE,
    as_json: Json = False,
) -> int:
    """Make the edits of RECIPE, one after another, and write the result in one pass. Exit status: 0 done, 1 an assertion does not hold.

    A step is [[step]] and a line such as set = ["0.weight += 1"]; any editing command prints itself as one with --print-recipe.
    Verbs: set, reinit (with preset, seed, rng), tie, untie, rename, map (with like, rest), drop, cast (with patterns); arch where @Type is
    used.
    assert = {exists, absent, shape, dtype, tied, finite} holds the result so far against what it says; where it fails nothing is written.
    Paths in a recipe are seen from the current folder, as on the command line.
    """
    before, steps = _made(path, recipe, places.in_place)
    broken = bool(steps[-1].broken)
    if not broken:
        finish(before, steps[-1].checkpoint, places, as_json)
    for line in steps[-1].checkpoint.notes[len(before.notes) :]:
        note(line)
    for step in steps:
        _tell(step)
    if broken:
        _show_broken(steps[-1], path, as_json)
    return 1 if broken else 0


def _made(path: str, recipe: str, lock: bool) -> tuple[Checkpoint, list[Made]]:
    """The checkpoint, and what the steps of the recipe make of it."""
    from ..edits.recipes import Context, made, read_steps

    shown = "standard input" if recipe == "-" else recipe
    with about(shown):
        steps = read_steps(_text(recipe), shown, any_seed)
    before = opened(path, lock)
    return before, list(made(before, steps, Context(layers_of, cache(reading.open), like_of)))


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
        with verdict():
            Answer(True).json({"path": path, "holds": False, "step": done.step.where, "broken": done.broken})
