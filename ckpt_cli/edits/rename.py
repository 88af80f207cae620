"""`rename`: `OLD=NEW`, OLD a name, a glob whose `*` are carried over, or `re:` with groups for NEW."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import EditError, UsageError
from ..tensors.checkpoint import Checkpoint
from ..tensors.selection import glob, no_match

if TYPE_CHECKING:
    from .steps import Verb


def rename(checkpoint: Checkpoint, rules: Sequence[str]) -> Checkpoint:
    """New names, in the same order. Rules work one after another; two tensors that end with one name are refused."""
    now = {name: name for name in checkpoint}
    for text in rules:
        names = set(now.values())
        old, new = split_rule(text, names)
        change = _only(old, new) if old in names else _rule(old, new)
        changed = {source: change(name) for source, name in now.items()}
        if all(name is None for name in changed.values()):
            raise no_match(checkpoint.replacing(tensors={now[source]: tensor for source, tensor in checkpoint.items()}), old)
        now = {source: name if (new_name := changed[source]) is None else new_name for source, name in now.items()}
    _check_apart(now)
    sources = {name: checkpoint.sources.get(source, source) for source, name in now.items()}
    tensors = {name: checkpoint[source] for source, name in now.items()}
    told: dict[str, Any] = {"layers": {}, "layer_of": {}} if any(a != b for a, b in now.items()) else {}
    return checkpoint.replacing(tensors=tensors, sources=sources, **told)


def split_rule(text: str, names: set[str]) -> tuple[str, str]:
    """OLD and NEW. Where OLD is a name that holds `=`, the split that gives a known name is taken."""
    cuts = [at for at, char in enumerate(text) if char == "="]
    if not cuts:
        raise UsageError(f"{text!r} is no renaming", "write OLD=NEW")
    known = [at for at in cuts if text[:at] in names]
    cut = (known or cuts)[0]
    if (not text[:cut] and not known) or (not text[cut + 1 :] and not text.startswith("re:")):
        raise UsageError(f"{text!r} leaves a name empty", "write OLD=NEW")
    return text[:cut], text[cut + 1 :]


def _only(old: str, new: str) -> Callable[[str], str | None]:
    """An exact name wins over the pattern that it could be, too."""
    return lambda name: new if name == old else None


def _rule(old: str, new: str) -> Callable[[str], str | None]:
    """A function from a name to its new one, or None where the rule does not concern it."""
    if old.startswith("re:"):
        return _expression(old[3:], new)
    pattern = re.compile(glob(old).replace(".*", "(.*)"), re.DOTALL)
    if new.count("*") > pattern.groups:
        raise UsageError(f"{new!r} has more * than {old!r}")

    def change(name: str) -> str | None:
        found = pattern.fullmatch(name)
        if not found:
            return None
        carried = iter(found.groups())
        return re.sub(r"\*", lambda _: next(carried), new)

    return change


def _expression(old: str, new: str) -> Callable[[str], str | None]:
    try:
        pattern = re.compile(old)
        pattern.sub(new, "")

        def change(name: str) -> str | None:
            return pattern.sub(new, name, count=1) if pattern.search(name) else None

    except (re.error, IndexError) as error:
        raise UsageError(f"'{old}={new}' is no renaming: {error}") from None
    return change


def _check_apart(now: dict[str, str]) -> None:
    seen: dict[str, str] = {}
    for source, name in now.items():
        if not name and source:
            raise EditError(f"{source!r} would have no name left")
        if name in seen:
            raise EditError(f"{seen[name]!r} and {source!r} would both be called {name!r}")
        seen[name] = source


def recipe_step() -> Verb:
    """The step `rename = [OLD=NEW…]` of a recipe."""
    from .steps import TEXTS, Outcome, Verb

    return Verb({"rename": TEXTS}, lambda checkpoint, table, context: Outcome(rename(checkpoint, table["rename"])))
