"""`ckpt merge`: one checkpoint of several."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ..edits.merge import recipe_step
from ..edits.steps import Context
from ..errors import about
from ..merging import methods
from .editing import Destination, finish, note_new, open_to_edit, print_step, wanted_names
from .model_facts import facts_of
from .other_sources import Others, refuse_outputs
from .params import (
    Arch,
    Backup,
    DryRun,
    Force,
    FormatName,
    InPlace,
    Json,
    Out,
    PrintRecipe,
    Seed,
    layers_of,
    random_seed,
)

First = Annotated[str, typer.Argument(metavar="A", help="The first checkpoint: names, dtypes and all else are its.", show_default=False)]
OtherPaths = Annotated[list[str] | None, typer.Argument(metavar="[B]...", help="The others, of any format.", show_default=False)]
MethodName = Annotated[
    str, typer.Option("--method", metavar="linear|slerp|task|ties|dare", help="Weighted sum, arc, or base + what was learned since.")
]
WeightTexts = Annotated[
    list[str] | None,
    typer.Option(
        "--weights",
        metavar="W,…|PATTERN=W,…",
        help="A number for each of A B…, taken as it is; for slerp the second is t. May be repeated: the last that matches wins.",
        show_default=False,
    ),
]
Base = Annotated[
    str | None, typer.Option("--base", metavar="BASE", help="What A B… were trained from: for task, ties, dare.", show_default=False)
]
Density = Annotated[
    float | None, typer.Option("--density", metavar="D", help="The part of each difference that ties and dare keep.", show_default=False)
]
Adapters = Annotated[
    list[str] | None,
    typer.Option("--lora", metavar="ADAPTER[:SCALE]", help="Fold this adapter in; may be repeated.", show_default=False),
]
Common = Annotated[bool, typer.Option("--common", help="Keep A's tensor where it is not in all checkpoints.")]


def merge_command(
    path: First,
    others: OtherPaths = None,
    method: MethodName = "linear",
    weights: WeightTexts = None,
    base: Base = None,
    density: Density = None,
    lora: Adapters = None,
    common: Common = False,
    seed: Seed = None,
    arch: Arch = "auto",
    output: Out = None,
    in_place: InPlace = False,
    dry_run: DryRun = False,
    force: Force = False,
    backup: Backup = None,
    format_name: FormatName = None,
    print_recipe: PrintRecipe = False,
    as_json: Json = False,
) -> None:
    """Merge checkpoints of one model: their mean, or by --weights and --method; --lora folds adapters in.

    linear is the weighted sum, slerp goes t of the way along the arc from A to B. task adds to the base the weighted sum of the differences
    from it; ties keeps the largest part of each difference, and of those the ones that agree in sign; dare drops a random part. Integers,
    and what an optimizer keeps, are those of A. What is tied in all stays tied.
    """
    step = {"merge": others or [], "method": method, "weights": weights, "base": base, "density": density, "lora": lora}
    step |= {"common": common or None, "seed": _seed(method, seed), "arch": arch}
    to = Destination(output, in_place, dry_run, force, backup, format_name)
    _merge(path, {key: value for key, value in step.items() if value is not None}, to, as_json, print_recipe)


def _seed(method: str, seed: int | None) -> int | None:
    """The seed, where the method has one; a random one where none is given."""
    return (random_seed() if seed is None else seed) if methods[method].has_seed else None


def _merge(path: str, step: dict[str, Any], to: Destination, as_json: bool, print_recipe: bool) -> None:
    """Make the step, and write the result or print the step."""
    verb, others = recipe_step(), Others()
    verb.validate(step)
    before = open_to_edit(path, to, print_recipe)
    with about(path):
        after = verb.make(before, step, Context(layers_of, others.open, wanted_names, facts_of)).checkpoint
    if print_recipe:
        print_step(step)
        return
    refuse_outputs(before, after, to, others.values())
    finish(before, after, to, as_json)
    note_new(before, after)
