"""Recipes: rules in a TOML file, in the order in which they stand there.

seed = 0              # these two may be left out; what the command line says comes first
preset = "pytorch"

[rules]
"*.bias" = "zeros"
"2.weight" = "constant(42)"
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..errors import UsageError, about, did_you_mean
from .rules import Rule, parse_call

_KEYS: dict[str, tuple[type, str]] = {
    "seed": (int, "a whole number"),
    "preset": (str, "a name"),
    "rules": (dict, 'a table of "PATTERN" = "SCHEME"'),
}


class Recipe(NamedTuple):
    rules: tuple[Rule, ...] = ()
    seed: int | None = None
    preset: str = ""


def read_recipe(path: str) -> Recipe:
    """The recipe in the file at `path`. Raises UsageError, which says what in it makes no sense."""
    import tomllib

    with about(path):
        with open(path, "rb") as file:
            try:
                held = tomllib.load(file)
            except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
                raise UsageError(f"this is no TOML: {error}", 'patterns stand in quotes: "*.bias" = "zeros"') from None
        _check(held)
        rules = tuple(_rule(pattern, scheme) for pattern, scheme in held.get("rules", {}).items())
        return Recipe(rules, held.get("seed"), held.get("preset", ""))


def _check(held: Mapping[str, Any]) -> None:
    for key, value in held.items():
        if key not in _KEYS:
            raise UsageError(f"a recipe has no {key}", did_you_mean(key, _KEYS) or f"it has {', '.join(_KEYS)}")
        kind, wanted = _KEYS[key]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise UsageError(f"{key} is {wanted}, not {value!r}")


def _rule(pattern: str, scheme: Any) -> Rule:
    if not isinstance(scheme, str):
        raise UsageError(f"{pattern} has no scheme", 'write the whole pattern and the scheme in quotes: "0.weight" = "zeros"')
    return Rule(pattern, parse_call(scheme))
