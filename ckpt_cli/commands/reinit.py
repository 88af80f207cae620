"""`ckpt reinit`: fill tensors anew, by rules, a recipe, a preset."""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from .. import reading
from ..errors import UsageError, about
from ..show.output import Answer, note
from ..show.tree import folded
from .editing import NOWHERE, Places, finish, placed, show_step
from .params import Arch, Color, Colors, Json, Path, PrintRecipe, layers_of, opened

if TYPE_CHECKING:
    from ..edits.reinit import Planned
    from ..schemes.rules import Rule


class Rng(StrEnum):
    tensor = "tensor"
    torch = "torch"


Rules = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[RULE]...", help="PATTERN=SCHEME or PATTERN=SCHEME(ARG, KEY=VALUE); the last that matches wins.", show_default=False
    ),
]
Preset = Annotated[
    str, typer.Option("--preset", metavar="NAME", help="A scheme for each role, before the rules: pytorch, keras, mxnet, gpt2, bert.")
]
RecipeFile = Annotated[str, typer.Option("--recipe", metavar="FILE.toml", help="Rules in a file: [rules] with lines 'PATTERN' = 'SCHEME'.")]
Seed = Annotated[
    int | None,
    typer.Option("--seed", metavar="N", min=0, max=2**63 - 1, help="Where none is given, one is chosen and told.", show_default=False),
]
Source = Annotated[Rng, typer.Option("--rng", help="A generator for each tensor, by its name; or torch's one for all, in file order.")]


@placed
def reinit_command(
    path: Path,
    rules: Rules = None,
    preset: Preset = "",
    recipe: RecipeFile = "",
    seed: Seed = None,
    rng: Source = Rng.tensor,
    arch: Arch = "auto",
    places: Places = NOWHERE,
    print_recipe: PrintRecipe = False,
    as_json: Json = False,
    color: Colors = Color.auto,
) -> None:
    """Fill tensors of CKPT anew: 'PATTERN=SCHEME', as in '*.bias=zeros' or '0.weight=normal(0, 0.01)'. `ckpt schemes` lists the schemes.

    A tensor's values depend on the seed, its name, shape, dtype and scheme alone. What matches no rule stays as it is.
    -n prints the plan: NAME, SCHEME, what is drawn, SUB-SEED, WHY; when the result is written, the plan is told on standard error.
    """
    from ..edits.reinit import reinit

    asked = _asked(rules or [], recipe, preset, seed)
    before = opened(path, places.in_place and not print_recipe)
    with about(path):
        layers = layers_of(before, arch)
        after, plan = reinit(
            before, asked.rules, seed=asked.seed, preset=asked.preset, rng=rng.value, layers=layers, open=cache(reading.open)
        )
    if print_recipe:
        show_step({"reinit": list(map(str, asked.rules)), "preset": asked.preset, "seed": asked.seed, "rng": rng.value, "arch": arch})
        return
    if not places.dry_run:
        finish(before, after, places)
    _answer(Answer(as_json, color.value) if places.dry_run or as_json else None, asked, rng, plan)


class Asked(NamedTuple):
    rules: list[Rule]
    preset: str
    seed: int


def _asked(rules: list[str], recipe: str, preset: str, seed: int | None) -> Asked:
    """The recipe, then the command line, which comes first in seed and preset and last in rules."""
    from ..schemes.rules import parse_rule
    from ..schemes.rules_file import Recipe, read_recipe

    written = read_recipe(recipe) if recipe else Recipe()
    every, preset = [*written.rules, *map(parse_rule, rules)], preset or written.preset
    if not every and not preset:
        raise UsageError("nothing says what to draw", "give a rule such as '*.bias=zeros', --preset or --recipe")
    return Asked(every, preset, next((given for given in (seed, written.seed) if given is not None), any_seed()))


def any_seed() -> int:
    """A new one each time, short enough to be copied by hand."""
    import secrets

    return secrets.randbits(32)


_FEW = 24  # lines that one reads one by one


def _answer(out: Answer | None, asked: Asked, rng: Rng, plan: list[Planned]) -> None:
    """The plan, as the answer or as notes, and the seed where chance played a part."""
    if out is not None:
        _show(out, asked, rng, plan)
    else:
        tell(plan)
    if any(step.seed is not None for step in plan) or rng is Rng.torch:
        note(f"seed {asked.seed}")


def tell(plan: list[Planned], where: str = "") -> None:
    """What was drawn for what; where that is much, repeated blocks in one line."""
    told = [(step.name, (step.scheme, step.draw, step.reason)) for step in plan]
    lines = folded(told) if len(told) > _FEW else [(name, 1, facts) for name, facts in told]
    for name, count, (scheme, draw, reason) in lines:
        note(f"{where}{name}{f' ×{count:,}' if count > 1 else ''}: {scheme}: {draw} ({reason})")


def _show(out: Answer, asked: Asked, rng: Rng, plan: list[Planned]) -> None:
    if out.as_json:
        steps: list[dict[str, Any]] = [step._asdict() | {"seed": None if step.seed is None else str(step.seed)} for step in plan]
        out.json({"seed": str(asked.seed), "rng": rng.value, "preset": asked.preset or None, "tensors": steps})
    else:
        out.table(("NAME", "SCHEME", "DRAWN", "SUB-SEED", "WHY"), [["" if cell is None else cell for cell in step] for step in plan])
