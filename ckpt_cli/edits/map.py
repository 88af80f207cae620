"""`map`: names and layouts of one framework turned into those of another, by a ready map (`keras-to-torch`) or by a file of rules.

A map is FROM-to-TO, a file of rules (mapping/rules.py), or `inverse:` before that file. No data move: permuted axes are views.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from ..errors import EditError, UnknownName, UsageError, about, did_you_mean, first_few
from ..mapping.convention import Convention, convention, framework_names
from ..mapping.pairing import Template, paired
from ..mapping.rules import Rules, parse_rules
from ..mapping.ruling import ruled
from ..tensors.checkpoint import Checkpoint

if TYPE_CHECKING:
    from .steps import Verb

Map = tuple[Convention, Convention] | Rules


class Carried(NamedTuple):
    """The result of a map.

    Attributes:
        checkpoint: The checkpoint with the new names and layouts.
        said: Notes for the user, a line each.
        left: Names of the old checkpoint that have no place in the new one, and are left out.
        missing: Names that `like` has and for which there is nothing.
        sources: The old names that each new one is made of.
    """

    checkpoint: Checkpoint
    said: list[str]
    left: list[str]
    missing: list[str]
    sources: Mapping[str, tuple[str, ...]]


def ready() -> Iterator[str]:
    """List the names of the ready maps."""
    return (f"{one}-to-{two}" for one in framework_names() for two in framework_names() if one != two)


def is_map(text: str) -> bool:
    """Return whether a text names a map, and is no renaming OLD=NEW."""
    return text.endswith(".toml") or "=" not in text


def read_map(text: str) -> Map:
    """Read the map of a name, or in a file.

    Raises:
        UnknownName: There is no ready map of this name.
        UsageError: The file is not a file of rules.
    """
    if text.endswith(".toml"):
        path = text.removeprefix("inverse:")
        with about(path):
            try:
                with open(path, encoding="utf-8") as file:
                    rules = parse_rules(file.read())
            except UnicodeDecodeError:
                raise UsageError("this is no TOML: it is no UTF-8 text", "a map is a text file") from None
        return rules.inverse() if path != text else rules
    one, to, two = text.partition("-to-")
    if not to or one not in framework_names() or two not in framework_names() or one == two:
        known = list(ready())
        mend = did_you_mean(text, known) or f"the ready ones are {', '.join(known)}; or name a file of rules, RULES.toml"
        raise UnknownName(f"no map is called {text!r}", mend)
    return convention(one), convention(two)


def carry(checkpoint: Checkpoint, by: Map, like: Template | None = None, rest: str = "") -> Carried:
    """Give a checkpoint the names and layouts that the map `by` has for it.

    Args:
        checkpoint: The checkpoint.
        by: The map.
        like: The names that the result should have, for ready maps.
        rest: What becomes of tensors that the map does not cover, if its rules do not say it: keep, drop, or error, which is the default.

    Raises:
        EditError: The map does not cover a tensor, two would have one name, or none would be left.
    """
    tensors, unknown, left, said, sources = ruled(checkpoint, by) if isinstance(by, Rules) else paired(checkpoint, *by, like)
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
    made = checkpoint.replacing(tensors=tensors | kept, layers={}, layer_of={}, sources={}, fixed={}, remarks={}, separator=separator)
    needless = set(uncompared(by, like)) if like else set()
    missing = [name for name in like.shapes if name not in made.tensors and name not in needless] if like else []
    return Carried(made, said, left + [name for name in unknown if policy == "drop"], missing, sources)


def mapped(checkpoint: Checkpoint, by: Map, like: Template | None = None, rest: str = "") -> Checkpoint:
    """Do what `carry` does, and require all names of `like`. The notes of the result say what was left out.

    Raises:
        EditError: There is nothing for a name of `like`; and see `carry`.
    """
    made = carry(checkpoint, by, like, rest)
    if made.missing:
        shown = ", ".join(made.missing[:5]) + (", …" if len(made.missing) > 5 else "")
        raise EditError(f"nothing here becomes {shown} of what it is to be like", "are they one network, of the same sizes?")
    left = [f"left out: {listed(made.left)}"] if made.left else []
    return made.checkpoint.replacing(notes=(*checkpoint.notes, *made.said, *left))


def uncompared(by: Map, like: Template) -> list[str]:
    """List names in `like` that no map makes, in its order: training state, and counters, which not every framework keeps."""
    if isinstance(by, Rules):
        return []
    theirs = by[1]
    made = {
        fit.tensors[key]
        for layer in theirs.layers(like.shapes, told=like.told)
        for fit in layer.candidates[:1]
        for key in fit.tensors
        if fit.kind.variables[key].dtype
    }
    return [name for name in like.shapes if name in made or theirs.is_training(name)]


def _unknown(names: list[str], like: Template | None) -> EditError:
    where = " in what it is to be like" if like else ""
    return EditError(
        f"the map has no place for {first_few(names, 10)}{where}", "--rest drop leaves them out, --rest keep keeps them as they are"
    )


def listed(names: list[str]) -> str:
    """Shorten names for a note: each number becomes `*`, and names that are then the same are listed once."""
    short = list(dict.fromkeys(re.sub(r"\d+", "*", name) for name in names))
    return ", ".join(short[:5]) + (", …" if len(short) > 5 else "")


def recipe_step() -> Verb:
    """The step `map = MAP` of a recipe, with `like` and `rest`."""
    from .steps import TEXT, Context, Outcome, Table, Verb, one_of

    def make(checkpoint: Checkpoint, table: Table, context: Context) -> Outcome:
        like = context.like(table["map"], table.get("like"), table.get("arch", "auto"))
        return Outcome(mapped(checkpoint, read_map(table["map"]), like, table.get("rest", "")))

    keys = {"map": TEXT, "like": TEXT, "rest": one_of("keep", "drop", "error"), "arch": TEXT}
    return Verb(keys, make, lambda table: read_map(table["map"]))
