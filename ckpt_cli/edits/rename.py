"""`rename`: `OLD=NEW`, where OLD is a name, a glob whose `*` stand for those in NEW, or `re:` and an expression with groups for NEW.

An expression replaces all its matches in a name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import EditError, UsageError
from ..tensors.checkpoint import Checkpoint
from ..tensors.globs import glob
from ..tensors.selection import no_match

if TYPE_CHECKING:
    from .steps import Verb


def rename(checkpoint: Checkpoint, rules: Sequence[str]) -> Checkpoint:
    """Rename tensors by rules `OLD=NEW`, one rule after another. Their order stays.

    Raises:
        NoMatch: A rule matches no name.
        UsageError: A rule is not of the form OLD=NEW.
        EditError: Two tensors would have one name, or one would have none.
    """
    now = {name: name for name in checkpoint}  # the name in `checkpoint` → the name after the rules so far
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
    layers: dict[str, Any] = {"layers": {}, "layer_of": {}} if any(a != b for a, b in now.items()) else {}
    return checkpoint.replacing(tensors=tensors, sources=sources, **layers)


def split_rule(text: str, names: set[str]) -> tuple[str, str]:
    """Split a rule into OLD and NEW.

    Args:
        text: The rule.
        names: The names that there are: if a name has an `=` in it, the rule is split behind that name.
            An expression is split at the first `=` before which it compiles, so that `re:(?=x)=y` has one in its lookahead.

    Raises:
        UsageError: The rule is not of the form OLD=NEW.
    """
    cuts = [at for at, char in enumerate(text) if char == "="]
    if not cuts:
        raise UsageError(f"{text!r} is no renaming", "write OLD=NEW")
    known = [at for at in cuts if text[:at] in names]
    whole = [at for at in cuts if _compiles(text[3:at])] if text.startswith("re:") else []
    cut = (known or whole or cuts)[0]
    if (text[:cut] in ("", "re:") and not known) or (not text[cut + 1 :] and not text.startswith("re:")):
        raise UsageError(f"{text!r} leaves a name empty", "write OLD=NEW")
    return text[:cut], text[cut + 1 :]


def _compiles(expression: str) -> bool:
    try:
        re.compile(expression)
    except (re.error, OverflowError, RecursionError):
        return False
    return bool(expression)


def _only(old: str, new: str) -> Callable[[str], str | None]:
    """A rule for exactly one name, which wins over the pattern that the name could also be."""
    return lambda name: new if name == old else None


def _rule(old: str, new: str) -> Callable[[str], str | None]:
    """A function from a name to its new name, or to None where the rule does not match."""
    if old.startswith("re:"):
        return _expression(old[3:], new)
    pattern = re.compile(glob(old).replace(".*", "(.*)"), re.DOTALL)
    if new.count("*") > pattern.groups:
        raise UsageError(f"{new!r} has more * than {old!r}")

    def change(name: str) -> str | None:
        match = pattern.fullmatch(name)
        if not match:
            return None
        texts = iter(match.groups())
        return re.sub(r"\*", lambda _: next(texts), new)

    return change


def _expression(old: str, new: str) -> Callable[[str], str | None]:
    try:
        pattern = re.compile(old)
        pattern.sub(new, "")

        def change(name: str) -> str | None:
            return pattern.sub(new, name) if pattern.search(name) else None

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
