"""`ckpt merge`: one checkpoint of several."""

from __future__ import annotations

from functools import cache
from typing import Annotated, NamedTuple

import typer

from .. import reading
from ..edits.merge import merge
from ..edits.merge_adapters import parse_adapter, read_adapters
from ..errors import about
from ..merging.request import Request
from ..merging.weights import parse_weights
from ..show.answer import note
from ..tensors.checkpoint import Checkpoint
from .editing import Destination, finish, open_to_edit
from .other_sources import refuse_outputs
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
    open_checkpoint,
    random_seed,
)

First = Annotated[str, typer.Argument(metavar="A", help="The first checkpoint: names, dtypes and all else are its.", show_default=False)]
Others = Annotated[list[str] | None, typer.Argument(metavar="[B]...", help="The others, of any format.", show_default=False)]
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
Common = Annotated[bool, typer.Option("--common", help="Leave what not all have as A has it.")]


def merge_command(
    path: First,
    others: Others = None,
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
    to = Destination(output, in_place, dry_run, force, backup, format_name)
    by_pattern = parse_weights(weights) if weights else None
    Request(method, by_pattern, base is not None, density, 1 + len(others or ()), bool(lora)).checked()
    list(map(parse_adapter, lora or ()))
    opened = _opened(path, others or [], base, to, print_recipe)
    seed = random_seed() if seed is None else seed
    with about(path):
        after = merge(
            [opened.first, *opened.others],
            method,
            weights=by_pattern,
            base=opened.base,
            density=density,
            common=common,
            lora=read_adapters(lora or (), cache(reading.open)),
            seed=seed,
            layers=layers_of(opened.first, arch),
        )
    step = {"merge": others or [], "method": method, "weights": weights, "base": base, "density": density, "lora": lora}
    step |= {"common": common or None, "seed": seed if method == "dare" else None, "arch": arch}
    if not print_recipe:
        refuse_outputs(opened.first, after, to, [*opened.others, *([opened.base] if opened.base else [])])
    finish(opened.first, after, to, as_json, step if print_recipe else None)
    for line in after.notes[len(opened.first.notes) :] if not print_recipe else ():
        note(line)


class _Opened(NamedTuple):
    first: Checkpoint
    others: list[Checkpoint]
    base: Checkpoint | None


def _opened(path: str, others: list[str], base: str | None, to: Destination, print_recipe: bool) -> _Opened:
    """The checkpoints, the first one to be edited."""
    first = open_to_edit(path, to, print_recipe)
    return _Opened(first, [open_checkpoint(other) for other in others], open_checkpoint(base) if base else None)
