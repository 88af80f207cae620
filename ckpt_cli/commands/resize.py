"""`ckpt resize`: give parameters other shapes."""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import reading
from ..errors import about
from ..show.answer import note
from ..show.drawing_plan import note_plan
from ..tensors.checkpoint import Checkpoint
from .editing import Destination, finish, note_new, open_to_edit
from .model_facts import facts_of
from .params import Arch, Backup, DryRun, Force, FormatName, InPlace, Json, Out, Path, PrintRecipe, Seed, layers_of, random_seed

if TYPE_CHECKING:
    from ..edits.resizing.request import Request
    from ..schemes.plan import Planned


class Side(StrEnum):
    """Which side of an axis is added or taken away."""

    end = "end"
    start = "start"


Rules = Annotated[
    list[str],
    typer.Argument(metavar="PATTERN=SHAPE...", help="Of each axis: 50304, +16, -16, or * as it is; x between them.", show_default=False),
]
Filling = Annotated[
    str,
    typer.Option(
        "--fill",
        metavar="SCHEME",
        help="What is new: zeros, mean_rows, 'normal(0, 0.02)' (`ckpt schemes`), preset:NAME; without it, as the model's preset does.",
    ),
]
At = Annotated[Side, typer.Option("--at", help="Add or take away at this side of an axis.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Keep no values: fill the whole tensor.")]


def resize_command(
    path: Path,
    rules: Rules,
    fill: Filling = "",
    at: At = Side.end,
    fresh: Fresh = False,
    seed: Seed = None,
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
    """Change the shapes of parameters: '*.wte.weight=50304x*', '+16x*' for 16 rows more, '-16x*' for 16 rows fewer.

    What is in the old and the new shape keeps its values; the rest is filled. --fill mean_rows gives new rows the mean of the old ones,
    resized_embeddings draws them near it; any other scheme is drawn as `reinit` would draw the whole new tensor.
    Tied names, the optimizer's states (with zeros) and averages of the parameter follow.
    Notes name what else may have to: a bias, an output head, the next layer.
    """
    from ..edits.resizing.request import parse_request

    to = Destination(output, in_place, dry_run, force, backup, format_name)
    request = parse_request(rules, fill, at.value, fresh, random_seed() if seed is None else seed)
    before = open_to_edit(path, to, print_recipe)
    after, plan = _resized(path, before, request, arch)
    drawn = any(step.seed is not None for step in plan)
    finish(before, after, to, as_json, _step(rules, fill, request, drawn, arch) if print_recipe else None)
    if not print_recipe:
        _tell(before, after, plan, request.seed if drawn else None)


def _resized(path: str, before: Checkpoint, request: Request, arch: str) -> tuple[Checkpoint, list[Planned]]:
    from ..edits.resize import Surroundings, resize

    with about(path):
        return resize(before, request, Surroundings(layers_of(before, arch), cache(reading.open), facts_of(before, arch)))


def _step(rules: list[str], fill: str, request: Request, drawn: bool, arch: str) -> dict[str, Any]:
    """The step of a recipe, without what has its default."""
    at = Side.start.value if request.at_start else None
    seed = request.seed if drawn else None
    return {"resize": rules, "fill": fill or None, "at": at, "fresh": request.fresh or None, "seed": seed, "arch": arch}


def _tell(before: Checkpoint, after: Checkpoint, plan: list[Planned], seed: int | None) -> None:
    """Print how tensors are filled, the seed, what followed, and what may have to follow."""
    note_plan(plan)
    if seed is not None:
        note(f"seed {seed}")
    note_new(before, after)
