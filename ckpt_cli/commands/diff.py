"""`ckpt diff`: what differs from one checkpoint to another; exit 1 where anything does."""

from __future__ import annotations

import os
from typing import Annotated, Any, NamedTuple

import typer

from ..analysis.diff import Difference, diff
from ..errors import UsageError, about
from ..show.output import Answer, note, verdict
from ..show.progress import Progress
from ..tensors.checkpoint import Checkpoint
from .params import Color, Colors, Json, Patterns, layers_of, opened

Maps = Annotated[
    list[str] | None,
    typer.Option("--map", metavar="OLD=NEW|MAP", help="Rename A's names before comparing, or carry them and the layouts across."),
]


def diff_command(
    a: Annotated[str, typer.Argument(metavar="A", help="The checkpoint before.", show_default=False)],
    b: Annotated[str, typer.Argument(metavar="B", help="The checkpoint after; its format may be another.", show_default=False)],
    patterns: Patterns = None,
    rtol: Annotated[float, typer.Option("--rtol", min=0.0, help="Relative tolerance: |a-b| ≤ atol + rtol·|b| is equal.")] = 0.0,
    atol: Annotated[float, typer.Option("--atol", min=0.0, help="Absolute tolerance.")] = 0.0,
    exact: Annotated[bool, typer.Option("--exact", help="Bytes decide: -0 is not 0, and NaNs are equal where their bits are.")] = False,
    maps: Maps = None,
    stat: Annotated[bool, typer.Option("--stat", help="How many of each kind of difference.")] = False,
    name_only: Annotated[bool, typer.Option("--name-only", help="The names alone.")] = False,
    as_json: Json = False,
    color: Colors = Color.auto,
) -> int:
    """Compare A and B, parameter by parameter. Exit status: 0 same, 1 different, 2 an error.

    NaN equals NaN and -0 equals 0, except with --exact. Tensors of two dtypes are different, and their elements are compared by value.
    In a pipe: STATUS, NAME, BEFORE, AFTER, CHANGED (elements changed/all), MAX_ABS, REL_L2, COSINE, FIRST (index), tab-separated.
    """
    if stat and name_only:
        raise UsageError("--stat and --name-only exclude each other", "choose one")
    if exact and (rtol or atol):
        raise UsageError("--exact allows no tolerance", "leave out --exact, or --rtol and --atol")
    one = opened(a)
    two = one if _same_file(a, b) else opened(b)
    with about(a):
        mapped = _mapped(one, two, maps or [])
        one = mapped.checkpoint
        names = _names(one, two, patterns)
        names = [name for name in names or {**one.kinds(), **two.kinds()} if name not in mapped.apart] if mapped.apart else names
    with Progress() as progress:
        differences = list(diff(one, two, names, rtol, atol, exact, progress))
    differences = [each for each in differences if not mapped.across or each.status not in ("tied", "untied")]
    out = Answer(as_json, color.value)
    with verdict():
        if name_only and not as_json:
            out.lines(dict.fromkeys(difference.name for difference in differences))
            return 1 if differences else 0
        show(out, differences, stat, {"a": a, "b": b})
    if one.objects and two.objects and not _same_objects(one, two):
        note("what is in the files besides tensors differs, too; `ckpt summary` shows it")
    return 1 if differences else 0


def _same_file(a: str, b: str) -> bool:
    try:
        return os.path.samefile(a, b)
    except OSError:  # opening it says what is wrong
        return False


def _names(one: Checkpoint, two: Checkpoint, patterns: list[str] | None) -> list[str] | None:
    from ..tensors.selection import Named, select

    return select(Named([*one, *two], one), patterns, layers_of(one)) if patterns else None


def _same_objects(one: Checkpoint, two: Checkpoint) -> bool:
    """By what they say of themselves; NaN is NaN."""
    return {name: repr(value) for name, value in one.objects.items()} == {name: repr(value) for name, value in two.objects.items()}


class _Mapped(NamedTuple):
    """A as it is compared; the names that are not, since only one side can have them; and whether that is across frameworks."""

    checkpoint: Checkpoint
    apart: frozenset[str] = frozenset()
    across: bool = False


def _mapped(one: Checkpoint, two: Checkpoint, maps: list[str]) -> _Mapped:
    """A with the names and layouts that the maps, one after another, give it: renamings, or maps from one framework to another."""
    from ..edits.map import carry, is_map, listed, read_map, uncompared
    from ..edits.rename import rename
    from ..mapping.pairing import Template
    from ..mapping.rules import Rules

    found = _Mapped(one)
    for text in maps:
        if not is_map(text):
            found = found._replace(checkpoint=rename(found.checkpoint, [text]))
            continue
        by = read_map(text)
        like = Template({name: kind.shape for name, kind in two.kinds().items()}, two.ties())
        made = carry(found.checkpoint, by, like, "keep")
        apart = uncompared(by, like)
        for line in (*made.said, *([f"not compared: {listed([*made.left, *apart])}"] if made.left or apart else [])):
            note(line)
        found = _Mapped(made.checkpoint, found.apart | apart, not isinstance(by, Rules))
    return found


def show_differences(before: Checkpoint, after: Checkpoint, as_json: bool = False, color: str = "auto") -> bool:
    """What an edit would change, the answer of --dry-run; whether that is anything."""
    moved = {old: new for new, old in after.sources.items() if new != old and old in before}
    renamed = [Difference("renamed", old, before=old, after=new) for old, new in moved.items()]
    now = before.replacing(tensors={moved.get(name, name): tensor for name, tensor in before.items()}) if moved else before
    dropped = [Difference("removed", name, before="object") for name in before.objects if name not in after.objects]
    differences = [*renamed, *diff(now, after), *dropped]
    show(Answer(as_json, color), differences, False, {})
    return bool(differences)


def show(out: Answer, differences: list[Difference], stat: bool, paths: dict[str, str]) -> None:
    """The differences as a table, or counted, or as JSON."""
    if out.as_json:
        same = {"same": not differences} if paths else {}
        out.json(paths | same | {"differences": [_document(difference) for difference in differences]})
    elif stat:
        counts: dict[str, int] = {}
        for difference in differences:
            counts[difference.status] = counts.get(difference.status, 0) + 1
        out.table(("STATUS", "COUNT"), counts.items(), right=("COUNT",))
    elif differences:
        header = ("STATUS", "NAME", "BEFORE", "AFTER", "CHANGED", "MAX ABS", "REL L2", "COSINE", "FIRST")
        out.table(header, map(_row, differences), right=header[4:8])


def _row(difference: Difference) -> tuple[Any, ...]:
    status, name, before, after, numbers = difference
    if numbers is None:
        return (status, name, before, after, "", "", "", "", "")
    first = "[" + ",".join(map(str, numbers.first)) + "]"
    figures = [f"{figure:.6g}" for figure in (numbers.max_abs, numbers.rel_l2, numbers.cosine)]
    return (status, name, before, after, f"{numbers.changed}/{numbers.elements}", *figures, first)


def _document(difference: Difference) -> dict[str, Any]:
    status, name, before, after, numbers = difference
    document: dict[str, Any] = {"status": status, "name": name}
    if before:
        document["before"] = before
    if after:
        document["after"] = after
    return document | (numbers._asdict() if numbers else {})
