"""`map`: names and layouts of one framework carried to another, by a ready map (`keras-to-torch`) or by rules of one's own.

A map is FROM-to-TO, a file of rules (mapping/rules.py), or `inverse:` before that file. No data move: other axes are views.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from ..errors import EditError, UnknownName, UsageError, about, did_you_mean
from ..mapping.layers import Convention, convention, names
from ..mapping.pairing import Like, paired
from ..mapping.rules import Rules, read, ruled
from ..tensors.checkpoint import Checkpoint

if TYPE_CHECKING:
    from .steps import Verb

Map = tuple[Convention, Convention] | Rules


class Carried(NamedTuple):
    """The checkpoint as the map makes it, and a line for each thing to be said of that; names that have no place there and are left out;
    names of what it is to be like that it has nothing for."""

    checkpoint: Checkpoint
    said: list[str]
    left: list[str]
    missing: list[str]


def ready() -> Iterator[str]:
    """The names of the ready maps."""
    return (f"{one}-to-{two}" for one in names() for two in names() if one != two)


def is_map(text: str) -> bool:
    """Whether it is a map at all, and no renaming OLD=NEW."""
    return text.endswith(".toml") or "=" not in text


def read_map(text: str) -> Map:
    """The map of that name or in that file. Raises UnknownName, UsageError."""
    if text.endswith(".toml"):
        path = text.removeprefix("inverse:")
        with about(path):
            try:
                with open(path, encoding="utf-8") as file:
                    rules = read(file.read())
            except UnicodeDecodeError:
                raise UsageError("this is no TOML: it is no UTF-8 text", "a map is a text file") from None
        return rules.inverse() if path != text else rules
    one, to, two = text.partition("-to-")
    if not to or one not in names() or two not in names() or one == two:
        known = list(ready())
        mend = did_you_mean(text, known) or f"the ready ones are {', '.join(known)}; or name a file of rules, RULES.toml"
        raise UnknownName(f"no map is called {text!r}", mend)
    return convention(one), convention(two)


def carry(checkpoint: Checkpoint, by: Map, like: Like | None = None, rest: str = "") -> Carried:
    """`checkpoint` with names and layouts as `by` has them.

    `like` says what the names are to be, and is for ready maps. `rest` is what becomes of tensors that the map does not know, where its
    rules do not say it: keep, drop, or error, which lists them. Raises EditError.
    """
    tensors, unknown, left, said = ruled(checkpoint, by) if isinstance(by, Rules) else paired(checkpoint, *by, like)
    policy = (by.rest if isinstance(by, Rules) else "") or rest or "error"
    if unknown and policy == "error":
        raise _unknown(unknown, like)
    kept = {name: checkpoint[name] for name in unknown if policy == "keep"}
    twice = next((name for name in kept if name in tensors), None)
    if twice is not None:
        raise EditError(f"two tensors would both be called {twice!r}", "drop or rename the other one")
    if not tensors and not kept:
        raise EditError("no tensor would be left", "name another map")
    separator = checkpoint.separator if isinstance(by, Rules) else by[1].separator
    made = checkpoint.replacing(tensors=tensors | kept, layers={}, sources={}, separator=separator)
    missing = [name for name in like.shapes if name not in made.tensors and name not in uncompared(by, like)] if like else []
    return Carried(made, said, left + [name for name in unknown if policy == "drop"], missing)


def mapped(checkpoint: Checkpoint, by: Map, like: Like | None = None, rest: str = "") -> Checkpoint:
    """`carry`, with all names of `like`; its notes say what was left out. Raises EditError where there is nothing for one of them."""
    made = carry(checkpoint, by, like, rest)
    if made.missing:
        shown = ", ".join(made.missing[:5]) + (", …" if len(made.missing) > 5 else "")
        raise EditError(f"nothing here becomes {shown} of what it is to be like", "are they one network, of the same sizes?")
    left = [f"left out: {listed(made.left)}"] if made.left else []
    return made.checkpoint.replacing(notes=(*checkpoint.notes, *made.said, *left))


def uncompared(by: Map, like: Like) -> set[str]:
    """Names of the other side that have no counterpart by nature: the training's, and what is not kept everywhere (counters)."""
    if isinstance(by, Rules):
        return set()
    theirs = by[1]
    made = {
        fit.tensors[key]
        for layer in theirs.layers(like.shapes)
        for fit in layer.fits[:1]
        for key in fit.tensors
        if fit.kind.variables[key].dtype
    }
    return made | {name for name in like.shapes if theirs.is_training(name)}


def _unknown(names: list[str], like: Like | None) -> EditError:
    listed = ", ".join(names[:10]) + (f" and {len(names) - 10:,} more" if len(names) > 10 else "")
    where = " in what it is to be like" if like else ""
    return EditError(f"the map has no place for {listed}{where}", "--rest drop leaves them out, --rest keep keeps them as they are")


def listed(names: list[str]) -> str:
    """Names as a note says them: numbers of a layer's variables stand for all of them."""
    short = list(dict.fromkeys(re.sub(r"\d+", "*", name) for name in names))
    return ", ".join(short[:5]) + (", …" if len(short) > 5 else "")


def recipe_step() -> Verb:
    """The step `map = MAP` of a recipe, with `like` and `rest`."""
    from .steps import TEXT, Accepted, Context, Outcome, Table, Verb

    rest = Accepted(lambda value: value in ("keep", "drop", "error"), '"keep", "drop" or "error"')

    def make(checkpoint: Checkpoint, table: Table, context: Context) -> Outcome:
        like = context.like(table["map"], table.get("like"), table.get("arch", "auto"))
        return Outcome(mapped(checkpoint, read_map(table["map"]), like, table.get("rest", "")))

    return Verb({"map": TEXT, "like": TEXT, "rest": rest, "arch": TEXT}, make, lambda table: read_map(table["map"]))
