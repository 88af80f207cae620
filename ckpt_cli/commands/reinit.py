"""`ckpt reinit`: fill tensors anew, by rules, a recipe or a preset."""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from .. import reading
from ..errors import UsageError, about
from ..show.answer import Answer, Color, note
from ..show.drawing_plan import note_plan, show_plan
from ..tensors.checkpoint import Checkpoint
from .editing import AllowCode, Destination, finish, open_to_edit, print_step
from .model_facts import facts_of
from .params import (
    Arch,
    Backup,
    Colors,
    DryRun,
    Force,
    FormatName,
    InPlace,
    Json,
    Out,
    Path,
    PrintRecipe,
    Seed,
    layers_of,
    random_seed,
)

if TYPE_CHECKING:
    from ..edits.wishes import ChosenPreset
    from ..schemes.plan import Planned
    from ..schemes.rules import Rule
    from ..schemes.rules_file import Recipe


class Rng(StrEnum):
    """Where the random numbers come from: a generator for each tensor, or torch's one generator for all."""

    tensor = "tensor"
    torch = "torch"


Rules = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[RULE]...", help="PATTERN=SCHEME or PATTERN=SCHEME(ARG, KEY=VALUE); the last that matches wins.", show_default=False
    ),
]
Preset = Annotated[
    str,
    typer.Option(
        "--preset",
        metavar="NAME",
        help="A scheme for each role, before the rules: pytorch, bert … (`ckpt schemes`), or own: what the model's library does.",
    ),
]
Select = Annotated[
    list[str] | None,
    typer.Option("--select", metavar="PATTERN", help="What the preset fills; may be repeated.", show_default=False),
]
RecipeFile = Annotated[str, typer.Option("--recipe", metavar="FILE.toml", help="Rules in a file: [rules] with lines 'PATTERN' = 'SCHEME'.")]
Generator = Annotated[Rng, typer.Option("--rng", help="A generator for each tensor, by its name; or torch's one for all, in file order.")]


def reinit_command(
    path: Path,
    rules: Rules = None,
    preset: Preset = "",
    select: Select = None,
    recipe: RecipeFile = "",
    seed: Seed = None,
    rng: Generator = Rng.tensor,
    arch: Arch = "auto",
    output: Out = None,
    in_place: InPlace = False,
    dry_run: DryRun = False,
    force: Force = False,
    backup: Backup = None,
    format_name: FormatName = None,
    print_recipe: PrintRecipe = False,
    allow_code: AllowCode = False,
    as_json: Json = False,
    color: Colors = Color.auto,
) -> None:
    """Fill tensors of CKPT anew: 'PATTERN=SCHEME', as in '*.bias=zeros' or '0.weight=normal(0, 0.01)'. `ckpt schemes` lists the schemes.

    A tensor's values depend on the seed, its name, shape, dtype and scheme alone. What matches no rule stays as it is.
    -n prints the plan: NAME, SCHEME, what is drawn, SUB-SEED, WHY; when the result is written, the plan is told on standard error.
    """
    to = Destination(output, in_place, dry_run, force, backup, format_name)
    request = _request(rules or [], _from_file(recipe, allow_code), (preset, tuple(select or ())), seed, rng)
    before = open_to_edit(path, to, print_recipe)
    after, plan = _reinitialised(path, before, request, arch)
    if print_recipe:
        print_step(_step(request, plan, arch))
        return
    if not dry_run:
        finish(before, after, to)
    _answer(Answer(as_json, color) if dry_run or as_json else None, request, plan)


class Request(NamedTuple):
    """What the command line and the recipe ask for."""

    rules: list[Rule]
    preset: ChosenPreset
    seed: int
    rng: Rng


def _from_file(path: str, allow_code: bool) -> Recipe:
    """Return the rules of the file at `path`, if there is one. Code that it names runs only if that is allowed."""
    from ..configs.code_allowed import code_allowed
    from ..schemes.rules_file import Recipe, read_recipe

    with code_allowed(allow_code):
        return read_recipe(path) if path else Recipe()


def _request(rules: list[str], from_file: Recipe, given: tuple[str, tuple[str, ...]], seed: int | None, rng: Rng) -> Request:
    """Join the recipe and the command line. The command line wins in seed and preset, and its rules come last."""
    from ..edits.wishes import ChosenPreset
    from ..schemes.rules import parse_rule

    all_rules, preset = [*from_file.rules, *map(parse_rule, rules)], ChosenPreset(given[0] or from_file.preset, given[1])
    if not all_rules and not preset.text:
        raise UsageError("nothing says what to draw", "give a rule such as '*.bias=zeros', --preset or --recipe")
    seed = from_file.seed if seed is None else seed
    return Request(all_rules, preset, random_seed() if seed is None else seed, rng)


def _reinitialised(path: str, before: Checkpoint, request: Request, arch: str) -> tuple[Checkpoint, list[Planned]]:
    from ..edits.reinit import reinit

    rules, preset, seed, rng = request
    with about(path):
        return reinit(
            before,
            rules,
            seed=seed,
            preset=preset.text,
            select=preset.select,
            rng=rng.value,
            layers=layers_of(before, arch),
            open=cache(reading.open),
            facts=facts_of(before, arch),
        )


def _step(request: Request, plan: list[Planned], arch: str) -> dict[str, Any]:
    """The step of a recipe. What the library of the model does is written out, a rule a tensor, so that it replays without the library."""
    from ..schemes.presets.own import OWN

    rules, (name, patterns) = list(map(str, request.rules)), request.preset
    if name == OWN:
        if patterns and request.rng is Rng.torch:
            raise UsageError("a part of what one generator draws makes no recipe", "leave out --select, or --rng torch")
        rules = [f"{step.name}={step.scheme}" for step in plan]
        name, patterns = "", ()
    return {"reinit": rules, "preset": name, "select": list(patterns) or None, "seed": request.seed, "rng": str(request.rng), "arch": arch}


def _answer(out: Answer | None, request: Request, plan: list[Planned]) -> None:
    """Show the plan, as the answer or as notes, and note the seed if anything is random."""
    if out is not None:
        show_plan(out, plan, request.seed, request.rng, request.preset.text)
    else:
        note_plan(plan)
    if any(step.seed is not None for step in plan) or request.rng is Rng.torch:
        note(f"seed {request.seed}")
