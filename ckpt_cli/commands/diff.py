"""`ckpt diff`: compare two checkpoints; exit status 1 if they differ."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from ..analysis.besides import Besides, besides
from ..analysis.diff import Difference, diff
from ..analysis.diff_lists import Listed, Sort
from ..errors import UsageError, about
from ..show.answer import Answer, Color, note, verdict
from ..show.differences import diff_document, show_counts, show_differences, show_names
from ..show.progress import Progress
from ..tensors.checkpoint import Checkpoint
from .params import ByLayer, Colors, Csv, Dequantise, IgnoreIndex, Json, Patterns, layers_of, open_checkpoint

if TYPE_CHECKING:
    from ..tensors.selection import Named

Before = Annotated[str, typer.Argument(metavar="A", help="The checkpoint before.", show_default=False)]
After = Annotated[str, typer.Argument(metavar="B", help="The checkpoint after; its format may be another.", show_default=False)]
RTol = Annotated[float, typer.Option("--rtol", min=0.0, help="Relative tolerance: |a-b| ≤ atol + rtol·|b| is equal.")]
ATol = Annotated[float, typer.Option("--atol", min=0.0, help="Absolute tolerance.")]
Exact = Annotated[bool, typer.Option("--exact", help="Bytes decide: -0 is not 0, and NaNs are equal where their bits are.")]
Maps = Annotated[
    list[str] | None,
    typer.Option("--map", metavar="OLD=NEW|MAP", help="Rename A's names before comparing, or carry them and the layouts across."),
]
Unchanged = Annotated[bool, typer.Option("--unchanged", help="What stayed equal, instead of what differs.")]
Stat = Annotated[bool, typer.Option("--stat", help="How many of each status, `unchanged` among them.")]
NameOnly = Annotated[bool, typer.Option("--name-only", help="The names alone.")]
SortBy = Annotated[
    Sort | None,
    typer.Option("--sort", help="By name, or the largest change first: most elements changed, smallest cosine.", show_default=False),
]


def diff_command(
    a: Before,
    b: After,
    patterns: Patterns = None,
    rtol: RTol = 0.0,
    atol: ATol = 0.0,
    exact: Exact = False,
    maps: Maps = None,
    dequantise: Dequantise = False,
    sort: SortBy = None,
    by_layer: ByLayer = None,
    unchanged: Unchanged = False,
    stat: Stat = False,
    name_only: NameOnly = False,
    ignore_index: IgnoreIndex = False,
    as_json: Json = False,
    as_csv: Csv = False,
    color: Colors = Color.auto,
) -> int:
    """Compare A and B, parameter by parameter. Exit status: 0 same, 1 different, 2 an error.

    NaN equals NaN and -0 equals 0, except with --exact. Tensors of two dtypes are different, and their elements are compared by value.
    Bytes that are in no tensor are compared, too, where no PATTERN is given; those that cannot be read are `unread`, a difference.
    Objects that are no tensors, and metadata, are no difference: a note names those that are not the same.
    With --by-layer, the largest REL_L2 first, the elements of a layer count together; beside floats, integers count in CHANGED alone.
    In a pipe: STATUS, NAME, BEFORE, AFTER, CHANGED (elements changed/all), MAX_ABS, REL_L2, COSINE, FIRST (index), tab-separated.
    """
    _check_together(stat and name_only, exact and bool(rtol or atol))
    one, two = _opened(a, b, ignore_index, dequantise)
    with about(a):
        mapped = _mapped(one, two, maps or [])
        names = _names(mapped, two, patterns)
    differences = _differences(mapped, two, names, Tolerance(rtol, atol, exact))
    others, listed = besides(mapped.checkpoint, two), Listed(mapped.checkpoint, two, names, differences, sort, by_layer, unchanged)
    with verdict():
        _show(Answer(as_json, color, as_csv), {"a": a, "b": b}, listed, others, stat, name_only)
    for line in (*mapped.notes, *others.notes(), *_hint(mapped, two, differences, (a, b), bool(patterns))):
        note(line)
    return 1 if differences else 0


def _opened(a: str, b: str, ignore_index: bool, dequantise: bool) -> tuple[Checkpoint, Checkpoint]:
    one = open_checkpoint(a, ignore_index=ignore_index, dequantise=dequantise)
    return one, one if _same_path(a, b) else open_checkpoint(b, ignore_index=ignore_index, dequantise=dequantise)


def _show(out: Answer, paths: dict[str, str], listed: Listed, others: Besides, stat: bool, name_only: bool) -> None:
    if out.as_json:
        out.json(paths | diff_document(listed, others, stat))
    elif stat:
        show_counts(out, listed.counts())
    else:
        (show_names if name_only else show_differences)(out, listed.entries())


def _check_together(two_forms: bool, exact_with_tolerance: bool) -> None:
    """Raise UsageError for options that exclude each other."""
    if two_forms:
        raise UsageError("--stat and --name-only exclude each other", "choose one")
    if exact_with_tolerance:
        raise UsageError("--exact allows no tolerance", "leave out --exact, or --rtol and --atol")


def _hint(mapped: _Mapped, two: Checkpoint, differences: list[Difference], called: tuple[str, str], picked: bool) -> list[str]:
    """A note that says which renaming compares tensors that only their names keep apart. Patterns may have picked those of one side."""
    apart = {"added", "removed"} & {each.status for each in differences}
    if mapped.across or len(apart) < (1 if picked else 2):
        return []
    from ..tensors.prefix import hint

    return list(filter(None, [hint(mapped.checkpoint.kinds(), two.kinds(), called)]))


class Tolerance(NamedTuple):
    """Which elements count as equal: |a-b| ≤ atol + rtol·|b|; with `exact`, those with the same bytes."""

    rtol: float
    atol: float
    exact: bool


class _Mapped(NamedTuple):
    """A as it is compared.

    Attributes:
        checkpoint: A with other names and layouts.
        not_compared: The names that only one side can have.
        across: Whether a map leads across frameworks.
        old_names: What A calls the tensors, by the names under which they are compared, where these are others.
        notes: What the maps have to say.
    """

    checkpoint: Checkpoint
    not_compared: frozenset[str] = frozenset()
    across: bool = False
    old_names: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    notes: tuple[str, ...] = ()

    def then(self, checkpoint: Checkpoint, sources: Mapping[str, tuple[str, ...]]) -> _Mapped:
        """Return what another map makes of it: `sources` are the names before, by those after."""
        first = {name: tuple(old for each in names for old in self.old_names.get(each, (each,))) for name, names in sources.items()}
        return self._replace(checkpoint=checkpoint, old_names={**self.old_names, **first})


def _differences(mapped: _Mapped, two: Checkpoint, names: list[str] | None, tolerance: Tolerance) -> list[Difference]:
    with Progress() as progress:
        differences = list(diff(mapped.checkpoint, two, names, tolerance.rtol, tolerance.atol, tolerance.exact, progress))
    # Frameworks tie different names: that is no difference between the two networks.
    return [each for each in differences if not mapped.across or each.status not in ("tied", "untied")]


def _same_path(a: str, b: str) -> bool:
    """Whether the two are one path, or one folder: another name of one file may have other files beside it."""
    try:
        return os.path.basename(a) == os.path.basename(b) and os.path.samefile(os.path.dirname(a) or ".", os.path.dirname(b) or ".")
    except OSError:  # opening it gives the error
        return False


def _names(mapped: _Mapped, two: Checkpoint, patterns: list[str] | None) -> list[str] | None:
    """Return the names to compare; None for all."""
    from ..tensors.selection import Named, no_match, select

    one = mapped.checkpoint
    known = Named([*one, *two], one)
    if not patterns:
        return [name for name in {**one.kinds(), **two.kinds()} if name not in mapped.not_compared] if mapped.not_compared else None
    names = _picked(mapped, known, patterns) if mapped.old_names else select(known, patterns, layers_of(one))
    compared = [name for name in names if name not in mapped.not_compared]
    if not compared:
        raise no_match(known, patterns[0])
    return compared


def _picked(mapped: _Mapped, known: Named, patterns: list[str]) -> list[str]:
    """The names that patterns pick by what A, B or the map calls the tensors; `!PATTERN` takes out what those before it picked."""
    from ..tensors.selection import Named, select

    new_names: dict[str, list[str]] = {}
    for new, olds in mapped.old_names.items():
        for old in olds:
            new_names.setdefault(old, []).append(new)
    both = Named([*known, *new_names], known.like)
    picked: set[str] = set(known) if patterns[0].startswith("!") and patterns[0] not in both else set()
    for pattern in patterns:
        out = pattern.startswith("!") and pattern not in both
        found = select(both, [pattern[out:]], layers_of(known.like))
        names = {new for name in found for new in (*new_names.get(name, ()), *((name,) if name in known else ()))}
        picked = picked - names if out else picked | names
    return [name for name in known if name in picked]


def _mapped(one: Checkpoint, two: Checkpoint, maps: list[str]) -> _Mapped:
    """Apply the values of --map to A, one after another: renamings, or maps from one framework to another."""
    if not maps:
        return _Mapped(one)
    from ..edits.map import carry, is_map, listed, read_map, uncompared
    from ..edits.rename import rename
    from ..mapping.pairing import template_of
    from ..mapping.rules import Rules

    mapped = _Mapped(one)
    for text in maps:
        if not is_map(text):
            renamed = rename(mapped.checkpoint, [text])
            mapped = mapped.then(renamed, {new: (old,) for new, old in zip(renamed, mapped.checkpoint, strict=True)})
            continue
        by = read_map(text)
        like = template_of(two)
        made = carry(mapped.checkpoint, by, like, "keep")
        only_there = uncompared(by, like)
        said = (*made.said, *([f"not compared: {listed([*made.left, *only_there])}"] if made.left or only_there else []))
        mapped = mapped.then(made.checkpoint, made.sources)
        not_compared = mapped.not_compared.union(only_there)
        mapped = mapped._replace(not_compared=not_compared, across=not isinstance(by, Rules), notes=(*mapped.notes, *said))
    return mapped
