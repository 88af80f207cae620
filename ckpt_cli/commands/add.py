"""`ckpt add`: new tensors, from other files or drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UsageError, about
from ..show.answer import note
from ..show.drawing_plan import note_plan
from ..tensors.checkpoint import Checkpoint
from .editing import Destination, finish, note_new, open_to_edit
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
    Path,
    PrintRecipe,
    Seed,
    layers_of,
    random_seed,
)

if TYPE_CHECKING:
    from ..schemes.plan import Planned

Wanted = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAME=WHAT]...", help="New tensors; with --from, patterns of those that are taken over.", show_default=False),
]
From = Annotated[
    str, typer.Option("--from", metavar="OTHER", help="Take tensors over from this checkpoint, of any format.", show_default=False)
]
Renaming = Annotated[
    list[str] | None,
    typer.Option("--rename", metavar="OLD=NEW", help="With --from: rename, as `ckpt rename` does; may be repeated.", show_default=False),
]


def add_command(
    path: Path,
    wanted: Wanted = None,
    source: From = "",
    renaming: Renaming = None,
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
    """Add tensors: 'head.bias:float32[10]=zeros', 'head.weight=@array.npy', 'head.weight=@other.pt#classifier.weight'.

    WHAT is @FILE.npy, @OTHER (the tensor of the same name in another checkpoint), @OTHER#TENSOR, or a scheme (`ckpt schemes`) behind
    NAME:DTYPE[SHAPE]. NAME:DTYPE=@… casts. A name in double quotes may hold any signs: '"a[0]"=@a.npy'.
    --from OTHER takes over what the PATTERNs match, all of it without one: --from other.pt 'classifier.*' --rename 'classifier.*=head.*'.
    New tensors stand behind the others, in the order given. A name that is there already is an error: `ckpt set` changes it.
    """
    to = Destination(output, in_place, dry_run, force, backup, format_name)
    step = _step(wanted or [], source, renaming or [], seed, arch)
    before = open_to_edit(path, to, print_recipe)
    after, plan, others = _added(path, before, step)
    if not print_recipe:
        refuse_outputs(before, after, to, others.values())
    random = any(each.seed is not None for each in plan)
    finish(before, after, to, as_json, step | {"seed": step["seed"] if random else None} if print_recipe else None)
    note_new(before, after)
    if not print_recipe:
        note_plan(plan)
        if random:
            note(f"seed {step['seed']}")


def _step(wanted: list[str], source: str, renaming: list[str], seed: int | None, arch: str) -> dict[str, Any]:
    """The edit as a step of a recipe. Raises UsageError where the arguments make no sense, before any file is opened."""
    from ..edits.adding.additions import parse_addition

    if renaming and not source:
        raise UsageError("--rename goes with --from", "give a new tensor its name: NAME=@OTHER#TENSOR")
    if source and seed is not None:
        raise UsageError("--seed is for what is drawn, and --from takes values over", "leave it out")
    if not source and not wanted:
        raise UsageError("nothing says what to add", "as in 'head.bias:float32[10]=zeros', or --from OTHER")
    for text in () if source else wanted:
        parse_addition(text)
    seed = random_seed() if seed is None else seed
    return {"add": wanted, "from": source or None, "rename": renaming or None, "seed": seed, "arch": arch}


def _added(path: str, before: Checkpoint, step: dict[str, Any]) -> tuple[Checkpoint, list[Planned], Others]:
    """The checkpoint with the new tensors, how they are filled, and the checkpoints that were opened for it."""
    from ..edits.add import add_from, add_named

    others = Others()
    if step["from"]:
        other = others.open(step["from"])
        with about(path):
            after = add_from(before, other, step["add"], step["rename"] or (), layers_of(other, step["arch"]))
        return after, [], others
    with about(path):
        after, plan = add_named(before, step["add"], seed=step["seed"], open=others.open, layers=layers_of(before, step["arch"]))
    return after, plan, others
